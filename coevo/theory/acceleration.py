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
from numpy.typing import ArrayLike
from scipy import special, stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked
from coevo.theory._shared import likely_counts
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
    # In logarithms, where C / Delta may overflow and rho^s may vanish.
    level = np.log(2 * _TANGENT) - np.log(gap) + special.xlogy(1.0, c) + special.xlogy(steps, rho)
    pairs = np.ones((p.size, p.size))
    values = [_pair_bound(p, overlap * pairs) for overlap in np.exp(np.minimum(level, 0.0)).flat]
    return check.plain(np.reshape(values, steps.shape))


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
    p = check.spread_text_model("p", p)
    tolerance = check.number("delta", delta, minimum=0.0, maximum=1.0, open_minimum=True)
    c = check.number("amplitude", amplitude, minimum=0.0, open_minimum=True)
    rho = check.number("rate", rate, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)
    gap = check.number("separation", separation, minimum=0.0, open_minimum=True)
    root = _pair_bound(p, np.ones((p.size, p.size)), capped=False)
    excess = np.log(2 * _TANGENT * root / text_diversity_unchecked(p)) - np.log(tolerance) + np.log(c) - np.log(gap)
    return max(0, int(np.ceil(excess / -np.log(rho))))


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
    return check.plain(np.reshape([bound(int(s)) for s in steps.flat], steps.shape))


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
    p = check.spread_text_model("p", p)
    n = check.integer("image_samples", image_samples, minimum=2)
    tolerance = check.number("delta", delta, minimum=0.0, maximum=1.0, open_minimum=True)
    goal = tolerance * float(text_diversity_unchecked(p))
    bound = _any_images(p, n, dim)
    low, high = -1, 0  # the bound does not increase with s: double, then halve
    while bound(high) > goal:
        if high == check.LARGEST:
            rarest = p[p > 0].min()
            raise ValueError(f"p must have no text so rare that 10^15 image updates are too few, got {rarest:g}")
        low, high = high, min(2 * high + 1, check.LARGEST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bound(middle) > goal else (low, middle)
    return high


def _any_images(p: Array, image_samples: int, dim: int) -> Callable[[int], float]:
    """Return the function s -> min{D, sum_{i<j} sqrt(p_i p_j) b_ij} of `expected_overlap_bound`."""
    dim = check.integer("dim", dim, minimum=1)
    # q_i = 1 in almost every digit for a rare text, 1 - q_i for a common one.
    unseen, seen = (np.asarray(f(1, image_samples, p), dtype=np.float64) for f in (stats.binom.cdf, stats.binom.sf))
    log_volume = np.array([_log_kept_volume(image_samples, float(mass), dim) for mass in p]).T
    prefactor = np.log(2.0 * image_samples) * (np.arange(1, dim + 1) / 2)

    def bound(s: int) -> float:
        missed = np.exp(np.where(seen < 0.5, special.xlog1py(s, -seen), special.xlogy(s, unseen)))
        shrunk = s / 2 * log_volume
        # In logarithms: (2 N)^{k/2} may overflow where the factor after it vanishes.
        volume = np.min(prefactor[:, None, None] + shrunk[:, :, None] + shrunk[:, None, :], axis=0)
        return _pair_bound(p, missed[:, None] + missed + np.exp(np.minimum(volume, 0.0)))

    return bound


def _log_kept_volume(image_samples: int, mass: float, dim: int) -> Array:
    """Return the logarithm of gamma^2 = E_n[gamma(n)^2] in 1, ..., `dim` dimensions.

    gamma(n) is the product over a < k of E (X / nu)^{1/4}, X ~ chi^2 with nu - a degrees of freedom; it is 0 for
    2 <= n <= k and 1 for n < 2. Counts of probability below 1e-300 altogether are replaced by this number.
    """
    n = likely_counts(image_samples, mass, 700.0)
    rest = float(stats.binom.cdf(1, image_samples, mass)) + 1e-300
    weight = np.asarray(stats.binom.pmf(n, image_samples, mass), dtype=np.float64)
    log_gamma, log_volume = np.zeros(n.size), np.empty(dim)
    for a in range(dim):
        free = np.maximum(n - 1 - a, 1).astype(float)
        factor = _log_root_ratio(free / 2) + 0.25 * np.log1p((free - (n - 1)) / (n - 1))
        log_gamma = log_gamma + np.where(n > a + 1, factor, -np.inf)
        # 1 - gamma^2 has the digits of a rare or slow text, gamma^2 those of one whose volume vanishes at once.
        lost, kept = -np.expm1(2 * log_gamma) @ weight, rest + np.exp(2 * log_gamma) @ weight
        log_volume[a] = np.log1p(-lost) if lost < 0.5 else np.log(kept)
    return log_volume


def _log_root_ratio(x: Array) -> Array:
    """Return the logarithm of Gamma(x + 1/4) / (Gamma(x) x^{1/4}), to a relative error of about 1e-13."""
    small = np.minimum(x, 32.0)
    direct = np.log(special.gamma(small + 0.25) / special.gamma(small)) - 0.25 * np.log(small)
    # A difference of log-gammas would lose digits in proportion to x^2. The Stirling series of the difference loses
    # none, and around w = x - 3/8 has even powers only; from x = 32 on its first omitted term is below 2e-18.
    y = 1 / (np.maximum(x, 32.0) - 0.375) ** 2
    tail = y * (5 / 512 + y * (-109 / 65536 + y * (38255 / 44040192 - y * 500089 / 536870912)))
    return np.asarray(np.where(x < 32.0, direct, 0.25 * np.log1p(-0.375 / np.maximum(x, 32.0)) + tail))


def _pair_bound(p: Array, overlap: Array, *, capped: bool = True) -> float:
    """Return sum_{i<j} sqrt(p_i p_j) overlap_ij; `capped`, with overlaps of at most 1 and a sum of at most D."""
    i, j = np.triu_indices(p.size, 1)
    pairs = overlap[i, j]
    total = float(np.sqrt(p[i] * p[j]) @ (np.minimum(pairs, 1.0) if capped else pairs))
    return min(total, float(text_diversity_unchecked(p))) if capped else total
