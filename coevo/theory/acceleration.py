"""A collapsing image model speeds up the collapse of the text model: Gao & Li 2025, Theorem 4.2.

By Theorem 3.1 one text update keeps the expected diversity (1 - 1/M) D + (1/M) E_x[D(r(x))]. Image updates sharpen
the posterior r(x), so that the second term goes away and the floor (1 - 1/M) D of Corollary 3.2 is approached. The
functions here bound the second term: for image models that are known, under the paper's hypotheses on their shrinking
and their separation, and without any hypothesis on either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked
from coevo.theory.image import Bounds
from coevo.theory.text import bhattacharyya_coefficients

__all__ = [
    "expected_overlap_bound",
    "expected_text_diversity_bounds",
    "posterior_diversity_bound",
    "separated_overlap_bound",
    "sufficient_image_updates",
    "sufficient_image_updates_separated",
]

# a exp(-a^2 / 4) <= sqrt(2 / e) for every a > 0, with equality at a = sqrt 2.
_TANGENT = float(np.sqrt(2 / np.e))


def posterior_diversity_bound(p: ArrayLike, mean: ArrayLike, cov: ArrayLike) -> float:
    """Return min{D, (1/2) sum_{i != j} sqrt(p_i p_j) BC_ij}, an upper bound of E_x[D(r(x))].

    Beyond the paper (a computable form of Gao & Li 2025, Theorem 4.2): the mixture density is at least
    2 sqrt(p_i p_j N_i N_j), by the inequality of the means. BC_ij is the overlap of two image laws
    (`coevo.theory.text.bhattacharyya_coefficients`).

    Parameters
    ----------
    p : array, shape (K,)
        Text model.
    mean : array, shape (K, d)
    cov : array, shape (K, d, d) or (d, d)
        Positive definite.

    Returns
    -------
    float
        Between 0 and D(p).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range.
    """
    p = check.probability_vector("p", p)
    overlap = bhattacharyya_coefficients(mean, cov)
    if len(overlap) != p.size:
        raise ValueError(f"mean must have shape ({p.size}, d), got {np.shape(mean)}")
    return _pair_bound(p, overlap)


def expected_text_diversity_bounds(p: ArrayLike, mean: ArrayLike, cov: ArrayLike, text_samples: int) -> Bounds:
    """Return (1 - 1/M) D <= E[D_{t+1} | p_t = p] <= (1 - 1/M) D + (1/M) min{D, sum_{i<j} sqrt(p_i p_j) BC_ij}.

    Beyond the paper: a computable, non-asymptotic form of Gao & Li 2025, Theorem 4.2, eq. (4.5), for image models
    that are known. The bounds meet when the images separate the texts.

    Parameters
    ----------
    p, mean, cov : arrays, shapes (K,), (K, d), (K, d, d) or (d, d)
        As in `posterior_diversity_bound`.
    text_samples : int
        M >= 1.

    Returns
    -------
    Bounds
        (lower, upper), floats.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    excess = posterior_diversity_bound(p, mean, cov) / m
    lower = (1 - 1 / m) * float(text_diversity_unchecked(np.asarray(p, dtype=np.float64)))
    return Bounds(lower, lower + excess)


def separated_overlap_bound(
    p: ArrayLike, amplitude: float, rate: float, separation: float, image_updates: ArrayLike
) -> Any:
    """Return min{D, sum_{i<j} sqrt(p_i p_j) min(1, sqrt(8/e) C rho^s / Delta)}, a bound of the mean E_x[D(r(x))].

    Gao & Li 2025, Theorem 4.2, made explicit: if E tr Sigma_i^{1/2} <= C rho^s after s image updates (4.3) and the
    means are at least Delta apart (4.4), each overlap has mean at most sqrt(8/e) C rho^s / Delta.

    Parameters
    ----------
    p : array, shape (K,)
        Text model.
    amplitude : float
        C >= 0, in the units of the images.
    rate : float
        rho in [0, 1].
    separation : float
        Delta > 0, in the units of the images.
    image_updates : int or array of int, shape (...)
        s >= 0.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range.
    """
    p = check.probability_vector("p", p)
    c = check.number("amplitude", amplitude, minimum=0.0)
    rho = check.number("rate", rate, minimum=0.0, maximum=1.0)
    gap = check.number("separation", separation, minimum=0.0, open_minimum=True)
    steps = check.integer_array("image_updates", image_updates, minimum=0)
    pairs = np.ones((p.size, p.size))
    values = [_pair_bound(p, 2 * _TANGENT * c / gap * rho**s * pairs) for s in steps.flat]
    return _shaped(values, steps)


def sufficient_image_updates_separated(
    p: ArrayLike, delta: float, amplitude: float, rate: float, separation: float
) -> int:
    """Return a number S_I of image updates with E[D_{t+1} | p_t = p] <= (1 - (1 - delta) / M) D, explicitly.

    Gao & Li 2025, Theorem 4.2, eq. (4.5), made non-asymptotic: under (4.3) and (4.4) it is enough that

        rho^{S_I} <= delta D Delta / (sqrt(8/e) C B),    B = sum_{i<j} sqrt(p_i p_j).

    Parameters
    ----------
    p : array, shape (K,)
        Text model, not one-hot.
    delta : float
        Tolerance in (0, 1].
    amplitude, rate, separation : float
        C > 0, rho in (0, 1) and Delta > 0 of the hypotheses (4.3) and (4.4).

    Returns
    -------
    int
        The least such number, at least 0. It grows without bound as p tends to one-hot.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range, or p is one-hot.
    """
    p = _alive("p", p)
    tolerance = check.number("delta", delta, minimum=0.0, maximum=1.0, open_minimum=True)
    c = check.number("amplitude", amplitude, minimum=0.0, open_minimum=True)
    rho = check.number("rate", rate, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)
    gap = check.number("separation", separation, minimum=0.0, open_minimum=True)
    goal = tolerance * float(text_diversity_unchecked(p))
    root = _pair_bound(p, np.ones((p.size, p.size)), capped=False)
    needed = np.log(2 * _TANGENT * c * root / (goal * gap)) / -np.log(rho)
    return max(0, int(np.ceil(needed)))


def expected_overlap_bound(p: ArrayLike, image_samples: int, image_updates: ArrayLike, dim: int = 1) -> Any:
    """Return a bound of the mean E_x[D(r(x))] after s image updates, whatever the image models were before.

    Beyond the paper (Gao & Li 2025, Theorem 4.2, without its hypotheses). For two image models whose covariances
    have rank k at least,

        E BC_ij <= q_i^s + q_j^s + (2 N)^{k/2} (gamma_i gamma_j)^s,

    with q_i the probability that text i receives n < 2 images, gamma_i^2 = E_n[gamma(n)^2], and gamma(n) the mean of
    (det W / nu^k)^{1/4}, W ~ Wishart_k(nu, I), nu = n - 1 (1 for n < 2, 0 for 2 <= n <= k). Neither the means nor
    the covariances enter: they may be equal. The bound returned is min{D, sum_{i<j} sqrt(p_i p_j) b_ij}, b_ij the
    least of 1 and these numbers for k = 1, ..., `dim`.

    Parameters
    ----------
    p : array, shape (K,)
        Text model, frozen during the image updates.
    image_samples : int
        N >= 1. With N = 1 no text is ever refitted, and the bound is D.
    image_updates : int or array of int, shape (...)
        s >= 0.
    dim : int
        Least rank of the covariances before the updates, at least 1: d if they are positive definite. The default
        holds for every image model that is not a point.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range.
    """
    p = check.probability_vector("p", p)
    steps = check.integer_array("image_updates", image_updates, minimum=0)
    bound = _any_images(p, check.integer("image_samples", image_samples, minimum=1), dim)
    return _shaped([bound(int(s)) for s in steps.flat], steps)


def sufficient_image_updates(p: ArrayLike, image_samples: int, delta: float, dim: int = 1) -> int:
    """Return a number S_I of image updates with E[D_{t+1} | p_t = p] <= (1 - (1 - delta) / M) D, for any images.

    Beyond the paper (Gao & Li 2025, Theorem 4.2, without its hypotheses): the least s at which
    `expected_overlap_bound` is at most delta D. The image models must not be points; nothing else is asked of them.

    Parameters
    ----------
    p : array, shape (K,)
        Text model, not one-hot.
    image_samples : int
        N >= 2.
    delta : float
        Tolerance in (0, 1].
    dim : int
        Least rank of the covariances before the updates, at least 1.

    Returns
    -------
    int
        At least 0. It grows without bound as p tends to one-hot.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range, p is one-hot, or more than 10^15 updates are needed.
    """
    p = _alive("p", p)
    n = check.integer("image_samples", image_samples, minimum=2)
    tolerance = check.number("delta", delta, minimum=0.0, maximum=1.0, open_minimum=True)
    goal = tolerance * float(text_diversity_unchecked(p))
    bound = _any_images(p, n, dim)
    low, high = -1, 0  # the bound does not increase with s: double, then halve
    while bound(high) > goal:
        if high == check.LARGEST:
            raise ValueError(f"p must have no text so rare that 10^15 image updates are too few, got {p.min():g}")
        low, high = high, min(2 * high + 1, check.LARGEST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bound(middle) > goal else (low, middle)
    return high


def _any_images(p: Array, image_samples: int, dim: int) -> Callable[[int], float]:
    """Return the function s -> min{D, sum_{i<j} sqrt(p_i p_j) b_ij} of `expected_overlap_bound`."""
    dim = check.integer("dim", dim, minimum=1)
    n = np.arange(image_samples + 1)
    weight: Array = np.asarray(stats.binom.pmf(n, image_samples, p[:, None]), dtype=np.float64)
    # 1 - q_i and 1 - gamma_i^2, not q_i and gamma_i: for a rare text these are 1 in almost every digit.
    seen = np.asarray(stats.binom.sf(1, image_samples, p), dtype=np.float64)
    lost = np.array([np.minimum(1.0, weight @ (1 - _root_volume_factor(n, k) ** 2)) for k in range(1, dim + 1)])

    def bound(s: int) -> float:
        missed, shrunk = np.exp(special.xlog1py(s, -seen)), np.exp(special.xlog1py(s / 2, -lost))
        prefactor = (2.0 * image_samples) ** (np.arange(1, dim + 1) / 2)
        volume = np.min(prefactor[:, None, None] * shrunk[:, :, None] * shrunk[:, None, :], axis=0)
        return _pair_bound(p, missed[:, None] + missed + volume)

    return bound


def _root_volume_factor(n: NDArray[np.int64], dim: int) -> Array:
    """Return gamma(n), the mean factor of det(Sigma)^{1/4} in `dim` dimensions when a text receives n images."""
    factor = np.where(n < 2, 1.0, 0.0)
    nu = n[n > dim] - 1.0
    free = nu[:, None] - np.arange(dim)
    log_mean = special.gammaln(free / 2 + 0.25) - special.gammaln(free / 2)
    factor[n > dim] = np.exp(log_mean.sum(axis=1) + dim / 4 * np.log(2 / nu))
    return factor


def _pair_bound(p: Array, overlap: Array, *, capped: bool = True) -> float:
    """Return sum_{i<j} sqrt(p_i p_j) overlap_ij; `capped`, with overlaps of at most 1 and a sum of at most D."""
    i, j = np.triu_indices(p.size, 1)
    pairs = overlap[i, j]
    total = float(np.sqrt(p[i] * p[j]) @ (np.minimum(pairs, 1.0) if capped else pairs))
    return min(total, float(text_diversity_unchecked(p))) if capped else total


def _alive(name: str, value: ArrayLike) -> Array:
    p = check.probability_vector(name, value)
    if np.count_nonzero(p) == 1:
        raise ValueError(f"{name} must have at least two positive entries, got {p}")
    return p


def _shaped(values: list[float], steps: Any) -> Any:
    return values[0] if steps.ndim == 0 else np.reshape(np.array(values, dtype=np.float64), steps.shape)
