"""Checks of arguments: each raises an error that names the parameter, its allowed range and what it got."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Two numbers that should be equal after rounding (sums to one, symmetry) may differ by this much.
ROUNDING = 1e-9

#: Counts up to here, and sums and products with a float, are exact.
LARGEST = 10**15


def integer(name: str, value: Any, *, minimum: int, maximum: int = LARGEST) -> int:
    """Return `value` as an int between `minimum` and `maximum`; booleans and floats are refused."""
    allowed = f"an integer >= {minimum}" + (f" and <= {maximum}" if maximum < LARGEST else "")
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    result = int(value)
    if result < minimum or result > maximum:
        raise ValueError(f"{name} must be {allowed if result < minimum else f'at most {maximum}'}, got {result}")
    return result


def number(
    name: str,
    value: Any,
    *,
    minimum: float = -np.inf,
    maximum: float = np.inf,
    open_minimum: bool = False,
    open_maximum: bool = False,
) -> float:
    """Return `value` as a finite float inside the stated interval."""
    left = "(" if open_minimum or np.isinf(minimum) else "["
    right = ")" if open_maximum or np.isinf(maximum) else "]"
    allowed = f"{left}{minimum:g}, {maximum:g}{right}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number in {allowed}, got {value!r}")
    result = float(value)
    below = result <= minimum if open_minimum else result < minimum
    above = result >= maximum if open_maximum else result > maximum
    if not np.isfinite(result) or below or above:
        raise ValueError(f"{name} must lie in {allowed}, got {result:g}")
    return result


def probability(name: str, value: Any) -> float:
    """Return `value` as a float in [0, 1]."""
    return number(name, value, minimum=0.0, maximum=1.0)


def _array(name: str, value: Any) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} must be a rectangular array, got {value!r}") from error


def real_array(name: str, value: Any, shape: tuple[int | None, ...] | None = None) -> Array:
    """Return `value` as a finite float array; `None` in `shape` stands for any length of at least one."""
    array = _array(name, value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
    if shape is not None:
        fits = array.ndim == len(shape) and all(
            have >= 1 if want is None else have == want for have, want in zip(array.shape, shape, strict=True)
        )
        if not fits:
            sizes = ["any" if s is None else str(s) for s in shape]
            wanted = f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"
            raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers, got {array[~np.isfinite(array)].flat[0]}")
    return array


def integer_array(name: str, value: Any, *, minimum: int) -> NDArray[np.int64]:
    """Return `value` as an int64 array whose entries lie between `minimum` and `LARGEST`; it may be empty."""
    array = _array(name, value)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers >= {minimum}, got dtype {array.dtype}")
    if array.min() < minimum or array.max() > LARGEST:
        allowed, got = (f">= {minimum}", array.min()) if array.min() < minimum else (f"<= {LARGEST}", array.max())
        raise ValueError(f"{name} must hold integers {allowed}, got {got}")
    return array.astype(np.int64)


def is_count_law(value: Any) -> bool:
    """Return whether `value` is a frozen discrete law of `scipy.stats`, such as ``stats.poisson(3)``."""
    frozen = getattr(value, "numargs", 0) == 0  # only a law that still waits for its parameters has some
    return frozen and all(callable(getattr(value, name, None)) for name in ("pmf", "rvs", "support", "sf"))


def count_law(name: str, value: Any, *, minimum: int) -> tuple[NDArray[np.int64], Array]:
    """Return the values (Q,) and probabilities (Q,) of a count: an integer, or a frozen discrete law of `scipy.stats`.

    An infinite law is cut where less than 1e-15 is left, and values of a probability below 1e-22 are left out.
    """
    if not is_count_law(value):
        if not isinstance(value, Integral):
            raise TypeError(
                f"{name} must be an integer >= {minimum} or a frozen discrete law of scipy.stats, got {value!r}"
            )
        return np.array([integer(name, value, minimum=minimum)]), np.ones(1)
    low, high = value.support()
    if np.ndim(low) > 0:
        raise ValueError(f"{name} must be one law, got an array of them of shape {np.shape(low)}")
    if not low >= minimum:
        raise ValueError(f"{name} must have a law on integers >= {minimum}, got one on [{low:g}, {high:g}]")
    last = high
    if np.isinf(high):  # scipy's quantiles search without end where 1 - 1e-16 is never reached
        reach = low + np.minimum(2 ** np.arange(21), 10**6 - 1)
        enough = value.sf(reach) < 1e-15
        last = reach[enough.argmax()] if enough.any() else high
    if not last - low < 10**6:
        raise ValueError(f"{name} must have a law on at most 10^6 integers, got one on [{low:g}, {high:g}]")
    values = np.arange(int(low), int(last) + 1)
    weight = np.asarray(value.pmf(values), dtype=np.float64)
    if not abs(weight.sum() - 1) < 1e-8:  # scipy itself is wrong by 6e-11 for poisson(1e5)
        raise ValueError(
            f"{name} must have a law on integers with probabilities that sum to 1, got {weight.sum():g} in all"
        )
    keep = weight > 1e-22
    return values[keep], weight[keep]


def probability_vector(name: str, value: Any, *, batch: bool = False) -> Array:
    """Return `value` as probabilities whose last axis sums to one, shape (K,) or, with `batch`, (..., K)."""
    p = real_array(name, value, None if batch else (None,))
    if p.ndim < 1 or p.size == 0:
        raise ValueError(f"{name} must have at least one entry on its last axis, got shape {p.shape}")
    if p.min() < 0 or p.max() > 1 + ROUNDING:
        worst = p.min() if p.min() < 0 else p.max()
        raise ValueError(f"{name} must hold probabilities in [0, 1], got {worst:g}")
    total = p.sum(axis=-1)
    if np.abs(total - 1).max() > ROUNDING:
        raise ValueError(f"{name} must sum to 1 over its last axis, got {total.flat[np.abs(total - 1).argmax()]:g}")
    return p


def spread_text_model(name: str, value: Any) -> Array:
    """Return `value` as a text model, shape (K,), in which at least two texts have mass."""
    p = probability_vector(name, value)
    if np.count_nonzero(p) == 1:
        raise ValueError(f"{name} must have at least two positive entries, got {p}")
    return p


def covariance(name: str, value: Any, *, dim: int | None = None, definite: bool = False) -> Array:
    """Return `value` as symmetric positive semidefinite matrices of shape (..., d, d).

    With `definite`, singular matrices are refused too.
    """
    cov = real_array(name, value)
    if cov.ndim < 2 or cov.shape[-1] != cov.shape[-2] or cov.shape[-1] == 0:
        raise ValueError(f"{name} must have shape (..., d, d), got {cov.shape}")
    if dim is not None and cov.shape[-1] != dim:
        raise ValueError(f"{name} must have shape (..., {dim}, {dim}), got {cov.shape}")
    size = np.abs(cov).max(axis=(-2, -1))
    asymmetry = np.abs(cov - np.swapaxes(cov, -1, -2)).max(axis=(-2, -1))
    if (asymmetry > ROUNDING * size).any():
        raise ValueError(f"{name} must be symmetric, got an asymmetry of {asymmetry.max():g}")
    lowest = np.linalg.eigvalsh(cov)[..., 0]
    if (lowest < -ROUNDING * size).any():
        raise ValueError(f"{name} must be positive semidefinite, got an eigenvalue {lowest.min():g}")
    if definite and (lowest <= 4 * cov.shape[-1] * np.finfo(float).eps * size).any():
        raise ValueError(f"{name} must be positive definite, got a smallest eigenvalue {lowest.min():g}")
    symmetric: Array = 0.5 * cov + 0.5 * np.swapaxes(cov, -1, -2)
    return symmetric


def single_covariance(name: str, value: Any, *, dim: int | None = None, definite: bool = False) -> Array:
    """Return `value` as one covariance matrix of shape (d, d); the arguments are those of `covariance`."""
    cov = covariance(name, value, dim=dim, definite=definite)
    if cov.ndim != 2:
        wanted = "(d, d)" if dim is None else f"({dim}, {dim})"
        raise ValueError(f"{name} must have shape {wanted}, got {cov.shape}")
    return cov


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of the words in `allowed`."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def function(name: str, value: Any) -> Callable[..., Any]:
    """Return `value` if it can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {value!r}")
    return value  # type: ignore[no-any-return]  # callable() does not narrow Any


def instance(name: str, value: Any, kind: type) -> Any:
    """Return `value` if it is an instance of `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {value!r}")
    return value


def words(name: str, value: Any) -> str:
    """Return `value` if it is a text that says something."""
    text: str = instance(name, value, str)
    if not text.strip():
        raise ValueError(f"{name} must say something, got {text!r}")
    return text


def plain(value: Any) -> Any:
    """Return a float for a number or an array without axes, and any other array as it is."""
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


def floor_share(share: float, size: int) -> int:
    """Return floor(share * size); a product that is an integer up to rounding is that integer (0.29 of 100 is 29)."""
    return int(np.floor(share * size + ROUNDING))


def generator(rng: Any) -> np.random.Generator:
    """Return a Generator from a seed (a non-negative integer), a SeedSequence or a Generator."""
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(seed_sequence(rng))


def seed_sequence(rng: Any) -> np.random.SeedSequence:
    """Return the SeedSequence behind a seed; a Generator gives the next child of its own sequence."""
    if isinstance(rng, np.random.SeedSequence):  # a copy: spawning children must not change what the seed means
        return np.random.SeedSequence(rng.entropy, spawn_key=rng.spawn_key, pool_size=rng.pool_size)
    if isinstance(rng, np.random.Generator):
        child: np.random.SeedSequence = rng.bit_generator.seed_seq.spawn(1)[0]  # type: ignore[attr-defined]
        return child
    if isinstance(rng, (bool, np.bool_)) or not isinstance(rng, Integral):
        raise TypeError(f"rng must be a non-negative integer seed or a numpy Generator, got {rng!r}")
    if rng < 0:
        raise ValueError(f"rng must be a non-negative integer seed or a numpy Generator, got {rng}")
    return np.random.SeedSequence(int(rng))
