"""The Matthew effect: rates of the image diversity of the dominant and the rarest text. Gao & Li 2025, Theorem 5.2.

With the approximate rates rho(p) = 1 - a/p, a = (d + 1) / (8 N), of Theorem 5.1, the ratio rho(p_max) / rho(p_min)
is bounded from below by a number that grows like 1/D as the diversity D of the text model falls: eq. (5.3). Here are
this bound, its sharp form, and the ratio of the exact rates, which is bounded and falls below 1 as D tends to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from coevo import _validation as check
from coevo._validation import Array
from coevo.theory import image
from coevo.wishart import contraction_constant

__all__ = [
    "LargestRatio",
    "largest_rarest_mass",
    "largest_rate_ratio",
    "least_unequal_text_model",
    "matthew_bound",
    "rate_ratio",
    "rate_ratio_ceiling",
    "sharp_matthew_bound",
]

_EXACT = ("first step", "mean")


class LargestRatio(NamedTuple):
    """The largest ratio of two rates, and the mass of the rarest text where it is reached."""

    ratio: float
    rarest_mass: float


def largest_rarest_mass(diversity: float, n_texts: int) -> float:
    """Return p*(D), the largest mass that the rarest text can have in a text model of diversity D.

    Gao & Li 2025, Theorem 5.2 (the step before eq. 5.3): p* = [1 - sqrt((K(1 - D) - 1) / (K - 1))] / K, reached by
    one dominant text and K - 1 texts of equal mass only. About D / (2 (K - 1)) for small D.

    Parameters
    ----------
    diversity : float
        D in (0, 1 - 1/K].
    n_texts : int
        K >= 2.

    Returns
    -------
    float
        In (0, 1/K].

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    k = check.integer("n_texts", n_texts, minimum=2)
    d = _diversity(diversity, k)
    # 1 - sqrt(1 - x) = x / (1 + sqrt(1 - x)) keeps the digits of a small diversity.
    return d / ((k - 1) * (1 + float(np.sqrt(max(0.0, 1 - k * d / (k - 1))))))


def matthew_bound(diversity: float, n_texts: int, image_samples: int, dim: int) -> float:
    """Return 1 + (d + 1) / (8 N) (1 / p*(D) - 1 / (1 - D)), below which no ratio of rates of the form (5.1) lies.

    Gao & Li 2025, Theorem 5.2, eq. (5.3), about 1 + (d + 1)(K - 1) / (4 N D) for small D. It bounds
    `rate_ratio` with ``rate="approximate"`` for every text model of diversity D that has p_min > (d + 1) / (8 N).
    If p*(D) <= (d + 1) / (8 N) there is no such text model; the formula is then returned as it is.

    Parameters
    ----------
    diversity : float
        D in (0, 1 - 1/K].
    n_texts, image_samples, dim : int
        K >= 2, N >= 1, d >= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    a = _scale(image_samples, dim)
    return 1 + a * (1 / largest_rarest_mass(diversity, n_texts) - 1 / (1 - float(diversity)))


def least_unequal_text_model(diversity: float, n_texts: int, image_samples: int, dim: int) -> Array:
    """Return the text model of diversity D for which the ratio of the rates of form (5.1) is least.

    Beyond the paper (Theorem 5.2 made sharp): a minimiser has two levels, j texts of one mass and K - j of another
    (see the chapter on Theorem 5.2 for the proof), and j <= K/2, so it is found among K/2 candidates. For
    D <= 1 - 2/K it has one dominant text.

    Parameters
    ----------
    diversity : float
        D in (0, 1 - 1/K].
    n_texts, image_samples, dim : int
        K >= 2, N >= 1, d >= 1.

    Returns
    -------
    ndarray, shape (K,)
        Masses in falling order.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range, or no text model of diversity D has p_min > (d + 1) / (8 N).
    """
    m_star = largest_rarest_mass(diversity, n_texts)
    a = _scale(image_samples, dim)
    k, d = int(n_texts), float(diversity)
    if m_star <= a:
        raise ValueError(
            f"diversity must leave p_min > (dim + 1) / (8 image_samples) = {a:g}, got {d:g} where p_min <= {m_star:g}"
        )
    spread = float(np.sqrt(max(0.0, k * (1 - d) - 1)))
    candidates = [np.r_[1 - (k - 1) * m_star, np.full(k - 1, m_star)]]
    # The ratio is 1 + a (1/low - 1/high) / (1 - a/low). Exchanging j with K - j takes u to 1/u: it keeps high - low,
    # and both low and low high are larger for u < 1. So no j > K/2 is better.
    for j in range(2, k // 2 + 1):
        u = np.sqrt(j / (k - j))
        if (1 - spread * u) / k > a:
            candidates.append(np.r_[np.full(j, (1 + spread / u) / k), np.full(k - j, (1 - spread * u) / k)])
    best: Array = min(candidates, key=lambda p: (1 - a / p[0]) / (1 - a / p[-1]))
    return best


def sharp_matthew_bound(diversity: float, n_texts: int, image_samples: int, dim: int) -> float:
    """Return the least ratio of two rates of the form (5.1) over all text models of diversity D.

    Beyond the paper: the sharp form of Theorem 5.2, eq. (5.3); see `least_unequal_text_model`. It is over the
    text models with p_min > (d + 1) / (8 N), where both rates are positive.

    Parameters
    ----------
    diversity : float
        D in (0, 1 - 1/K].
    n_texts, image_samples, dim : int
        K >= 2, N >= 1, d >= 1.

    Returns
    -------
    float
        Infinity if there is no such text model: D is too small for (5.1).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    if largest_rarest_mass(diversity, n_texts) <= _scale(image_samples, dim):
        return float("inf")
    p = least_unequal_text_model(diversity, n_texts, image_samples, dim)
    return rate_ratio(p, image_samples, dim, "approximate")


def rate_ratio(p: ArrayLike, image_samples: int, dim: int, rate: str = "first step") -> float:
    """Return rho(p_max) / rho(p_min), the ratio of the rates of the dominant and the rarest text.

    Gao & Li 2025, Theorem 5.2, for `rate` = "approximate", the rates of the form (5.1). Beyond the paper: for the
    exact rates it is bounded (`rate_ratio_ceiling`) and tends to a number below 1 as the diversity of p tends to 0.

    Parameters
    ----------
    p : array, shape (K,)
        Text model, K >= 2; for "approximate" with p_min > (d + 1) / (8 N).
    image_samples, dim : int
        N >= 1, d >= 1.
    rate : {"first step", "mean", "typical", "approximate"}
        Which rate: `image.first_step_rate`, the long-run `image.mean_rate` or `image.typical_rate`, or
        `image.approximate_rate`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    check.choice("rate", rate, (*_EXACT, "typical", "approximate"))
    masses = check.probability_vector("p", p)
    if masses.size < 2:
        raise ValueError(f"p must have at least two entries, got {masses.size}")
    a = _scale(image_samples, dim)
    low, high = float(masses.min()), min(1.0, float(masses.max()))
    if rate == "approximate" and low <= a:
        raise ValueError(f"p must have all entries > (dim + 1) / (8 image_samples) = {a:g}, got {low:g}")
    of = _rate(rate, image_samples, dim)
    return of(high) / of(low)


def rate_ratio_ceiling(dim: int, rate: str = "first step") -> float:
    """Return a number that the ratio of the exact rates never reaches, whatever the text model and N.

    Beyond the paper, against the divergence in Theorem 5.2: c_d grows with its argument, so every exact rate lies in
    [c_d(1), 1] and a ratio of two is at most 1 / c_d(1). For the long-run mean c_1 takes the place of c_d: sqrt(pi/2)
    in every dimension.

    Parameters
    ----------
    dim : int
        d >= 1.
    rate : {"first step", "mean"}

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    check.choice("rate", rate, _EXACT)
    d = check.integer("dim", dim, minimum=1)
    return float(1 / contraction_constant(1, d if rate == "first step" else 1))


def largest_rate_ratio(n_texts: int, image_samples: int, dim: int, rate: str = "first step") -> LargestRatio:
    """Return the largest ratio of the exact rates over all text models of K texts.

    Beyond the paper, against the divergence in Theorem 5.2. An exact rate falls and then rises as p grows (Law 4.1),
    so a ratio above 1 is largest, for a given rarest mass, with one dominant text and the others equal; the rarest
    mass is then searched on a grid of 2 % steps from 0.01 / N up and refined. (Below it the rarest text is frozen:
    its rate differs from 1 by less than 1e-4 / 2.)

    Parameters
    ----------
    n_texts, image_samples, dim : int
        K >= 2, N >= 1, d >= 1.
    rate : {"first step", "mean"}

    Returns
    -------
    LargestRatio
        (ratio, rarest_mass); the ratio is 1, at the uniform text model, if no text model has a larger one.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    k = check.integer("n_texts", n_texts, minimum=2)
    check.choice("rate", rate, _EXACT)
    of = _rate(rate, image_samples, dim)
    start = min(0.01 / image_samples, 0.5 / k)
    grid = np.append(start * 1.02 ** np.arange(np.log(1 / k / start) / np.log(1.02)), 1 / k)

    def loss(mass: float) -> float:
        return -of(1 - (k - 1) * mass) / of(mass)

    values = [loss(float(mass)) for mass in grid]
    best = int(np.argmin(values))
    if values[best] >= -1 - 1e-12:  # rounding at the uniform text model is no effect
        return LargestRatio(1.0, 1 / k)
    near = (float(grid[best - 1]), float(grid[best + 1]))
    found = optimize.minimize_scalar(loss, bounds=near, method="bounded", options={"xatol": 1e-10})
    return LargestRatio(-float(found.fun), float(found.x))


def _diversity(value: float, n_texts: int) -> float:
    """Check a diversity of K texts; that of the uniform text model may exceed 1 - 1/K by rounding."""
    most = 1 - 1 / n_texts
    return check.number("diversity", value, minimum=0.0, maximum=most * (1 + 1e-12), open_minimum=True)


def _scale(image_samples: int, dim: int) -> float:
    """Return a = (d + 1) / (8 N), the mass at which the rate of the form (5.1) is zero."""
    n = check.integer("image_samples", image_samples, minimum=1)
    return (check.integer("dim", dim, minimum=1) + 1) / (8 * n)


def _rate(rate: str, image_samples: int, dim: int) -> Callable[[float], float]:
    """Return the rate as a function of the mass of a text."""
    functions: dict[str, Callable[[float], float]] = {
        "first step": lambda p: image.first_step_rate(image_samples, p, dim),
        "mean": lambda p: image.mean_rate(image_samples, p),
        "typical": lambda p: image.typical_rate(image_samples, p),
        "approximate": lambda p: image.approximate_rate(image_samples, p, dim),
    }
    _scale(image_samples, dim)
    return functions[rate]
