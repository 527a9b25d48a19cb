"""The text model when the images separate the texts: the Wright-Fisher model of population genetics.

Then the posterior is one-hot and M p_{t+1} ~ Multinomial(M, p_t): text diversity is the heterozygosity, and the
floor of Gao & Li 2025, Corollary 3.2 is an equality. Beyond the paper; the results for K = 2 are classical
(Wright 1931, Kimura 1955), and those for any K follow from them, since a group of texts against the rest is a
corpus of two (Law 1.2). Functions with an argument p0 are about K = 2 texts, p0 the probability of the first.
`rare_text_exponent` says what takes the place of extinction when images overlap (Law 1.4).
"""

from __future__ import annotations

from itertools import product
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked
from coevo.theory._shared import after_losses

__all__ = [
    "DiversityMoments",
    "absorption_probability",
    "ancestor_law",
    "collapse_time",
    "diffusion_absorption_time",
    "diffusion_collapse_time",
    "diversity_moments",
    "expected_diversity",
    "expected_surviving_texts",
    "law",
    "mean_absorption_time",
    "power_sum",
    "rare_text_exponent",
    "surviving_texts_law",
    "text_diversity_moments",
    "transition_matrix",
    "winning_times",
]

# The functions that sum over groups of texts go through 2^K groups, with alternating signs.
_MOST_TEXTS = 14


class DiversityMoments(NamedTuple):
    """Mean and variance of the text diversity, floats or arrays."""

    mean: Any
    variance: Any


def transition_matrix(text_samples: int) -> Array:
    """Return the matrix P_ij = P(M p_{t+1} = j | M p_t = i) of the Wright-Fisher chain, K = 2.

    Beyond the paper: the exact law behind Gao & Li 2025, Corollary 3.2, for separated texts.

    Parameters
    ----------
    text_samples : int
        M >= 1.

    Returns
    -------
    ndarray, shape (M + 1, M + 1)
        Rows are Binomial(M, i / M).

    Raises
    ------
    TypeError, ValueError
        If `text_samples` is not an integer of at least 1.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    counts = np.arange(m + 1)
    return np.asarray(stats.binom.pmf(counts[None, :], m, counts[:, None] / m))


def law(text_samples: int, p0: float, t: ArrayLike) -> Array:
    """Return the law of M p_t after t text updates from the probability p0, K = 2.

    Beyond the paper; Law 1.2: powers of `transition_matrix` after a first step Binomial(M, p0); p0 need not be a
    multiple of 1/M. With p0 the mass of a group of texts it is the law of that group, for any number of texts.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p0 : float
        In [0, 1].
    t : int or array of int, shape (...)
        Text updates, at least 1.

    Returns
    -------
    ndarray, shape (..., M + 1)
        Probabilities of M p_t = 0, ..., M.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p = check.probability("p0", p0)
    times = check.integer_array("t", t, minimum=1)
    wanted, place = np.unique(times, return_inverse=True)
    matrix, now = transition_matrix(m), 1
    row = np.asarray(stats.binom.pmf(np.arange(m + 1), m, p))
    laws = np.empty((wanted.size, m + 1))
    for k, time in enumerate(wanted):
        row = row @ np.linalg.matrix_power(matrix, int(time) - now)
        now, laws[k] = int(time), row
    return laws[place.reshape(times.shape)]


def absorption_probability(text_samples: int, p0: float, t: ArrayLike) -> Any:
    """Return P(p_t is one-hot), the probability that one of two texts is lost by time t.

    Beyond the paper, see `law`.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p0 : float
        In [0, 1].
    t : int or array of int, shape (...)
        Text updates, at least 0.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p = check.probability("p0", p0)
    times = check.integer_array("t", t, minimum=0)
    laws = law(m, p, np.maximum(times, 1))
    value = np.where(times == 0, float(p in (0.0, 1.0)), laws[..., 0] + laws[..., -1])
    return check.plain(value)


def mean_absorption_time(text_samples: int, p0: float) -> float:
    """Return the expected number of text updates until one of two texts is lost.

    Beyond the paper: one linear system for the expected times from the states 1/M, ..., (M-1)/M, then the first
    step from p0.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p0 : float
        In [0, 1].

    Returns
    -------
    float
        0 if p0 is 0 or 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p = check.probability("p0", p0)
    if p in (0.0, 1.0):
        return 0.0
    inner = transition_matrix(m)[1:-1, 1:-1]
    times = np.linalg.solve(np.eye(m - 1) - inner, np.ones(m - 1))
    return float(1 + stats.binom.pmf(np.arange(1, m), m, p) @ times)


def diffusion_absorption_time(text_samples: int, p0: float) -> float:
    """Return -2 M [p ln p + (1 - p) ln(1 - p)], the diffusion approximation of `mean_absorption_time`.

    Beyond the paper (Kimura 1955, diffusion approximation); accurate to a few per cent for M p and M (1 - p) above 10.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p0 : float
        In [0, 1].

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p = check.probability("p0", p0)
    return float(2 * m * (special.entr(p) + special.entr(1 - p)))


def expected_diversity(text_samples: int, p: ArrayLike, t: ArrayLike) -> Any:
    """Return E[D_t] = (1 - 1/M)^t D(p), exact for any number of separated texts.

    Gao & Li 2025, Corollary 3.2, eq. (3.5), where the inequality becomes an equality (beyond the paper; Law 1.2).

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p : array, shape (K,)
        Text model at time 0.
    t : int or array of int, shape (...)
        Text updates, at least 0.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p = check.probability_vector("p", p)
    times = check.integer_array("t", t, minimum=0)
    return after_losses(float(text_diversity_unchecked(p)), 1 / m, 1, times)


def diversity_moments(text_samples: int, p0: float, t: ArrayLike) -> DiversityMoments:
    """Return mean and variance of the text diversity D_t = 2 p_t (1 - p_t) of two separated texts.

    Beyond the paper: with x = p (1 - p), l2 = 1 - 1/M and l4 = l2 (1 - 2/M)(1 - 3/M),

        E x_t = l2^t x_0,   E x_t^2 = l4^t x_0^2 + x_0 l2 (l2^t - l4^t) / (5 - 6/M).

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p0 : float
        In [0, 1].
    t : int or array of int, shape (...)
        Text updates, at least 0.

    Returns
    -------
    DiversityMoments
        (mean, variance), floats or arrays of the shape of `t`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p = check.probability("p0", p0)
    times = check.integer_array("t", t, minimum=0)
    x, l2 = p * (1 - p), 1 - 1 / m
    l4 = l2 * (1 - 2 / m) * (1 - 3 / m)
    mean = 2 * x * l2**times
    square = 4 * (x**2 * l4**times + x * l2 * (l2**times - l4**times) / (5 - 6 / m))
    variance = np.maximum(square - mean**2, 0.0)
    if times.ndim == 0:
        return DiversityMoments(float(mean), float(variance))
    return DiversityMoments(mean, variance)


def expected_surviving_texts(text_samples: int, p: ArrayLike, t: ArrayLike) -> Any:
    """Return the expected number of texts that still have mass after t updates of K separated texts.

    Beyond the paper; Law 1.2: the sum of 1 - P(text i is gone), each text against the rest. By Law 1.1 it is also
    a floor under E sum_i min(1, M p_{t,i}) for any images, frozen or moving.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p : array, shape (K,)
        Text model at time 0.
    t : int or array of int, shape (...)
        Text updates, at least 0.

    Returns
    -------
    float or ndarray, shape (...)
        Between 1 and min(K, M) for t >= 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    masses = check.probability_vector("p", p)
    times = check.integer_array("t", t, minimum=0)
    alive = [1 - law(m, min(1.0, float(mass)), np.maximum(times, 1))[..., 0] for mass in masses]
    return check.plain(np.where(times == 0, float(np.count_nonzero(masses)), np.sum(alive, axis=0)))


def surviving_texts_law(text_samples: int, p: ArrayLike, t: int) -> Array:
    """Return the law of the number of texts that still have mass after t updates of K separated texts.

    Beyond the paper; Law 1.2: P(all mass in the group B) is the chance that B, one allele against the rest, is
    fixed. With S_r its sum over the groups of r texts,

        P(at most m texts left) = sum_{r=1}^m (-1)^{m-r} C(K-1-r, m-r) S_r,   m < K.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p : array, shape (K,)
        Text model at time 0; at most 14 positive entries.
    t : int
        Text updates, at least 0.

    Returns
    -------
    ndarray, shape (K + 1,)
        Probabilities of 0, ..., K texts, to an absolute error of about 1e-11 or better.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    n_texts = check.probability_vector("p", p).size
    masses = _few_texts(p)
    step = check.integer("t", t, minimum=0)
    probabilities = np.zeros(n_texts + 1)
    if step == 0:
        probabilities[masses.size] = 1.0
        return probabilities
    fixed = np.linalg.matrix_power(transition_matrix(m), step - 1)[:, -1]
    group_fixed = [(_first_step(m, groups) @ fixed).sum() for groups in _groups(masses)]
    at_most = [_from_groups(group_fixed, left) for left in range(masses.size)] + [1.0]
    probabilities[1 : masses.size + 1] = np.clip(np.diff(at_most), 0.0, 1.0)
    return probabilities


def collapse_time(text_samples: int, p: ArrayLike, remaining: int = 1) -> float:
    """Return the expected number of text updates until at most `remaining` of K separated texts are left.

    Beyond the paper; Law 1.2. Let w(x) be the expected time until an allele of mass x is fixed, counted 0 if it is
    lost: one linear system. With W_r the sum of w over the masses of all groups of r texts, the time is
    sum_{r=1}^m (-1)^{m-r} C(K-1-r, m-r) W_r, for m = 1 the sum of w(p_i).

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p : array, shape (K,)
        Text model at time 0; at most 14 positive entries if `remaining` > 1.
    remaining : int
        At least 1.

    Returns
    -------
    float
        0 if no more texts than that have mass at the start.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    return _time_of_groups(p, remaining, lambda masses: _fixation_weights(m, masses))


def diffusion_collapse_time(text_samples: int, p: ArrayLike, remaining: int = 1) -> float:
    """Return the diffusion approximation of `collapse_time`: for one text left, -2 M sum_i (1 - p_i) ln(1 - p_i).

    Beyond the paper; Law 1.2, classical (Kimura & Ohta 1969, Littler 1975): w(x) = -2 M (1 - x) ln(1 - x).

    Parameters
    ----------
    text_samples, p, remaining
        As in `collapse_time`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    return _time_of_groups(p, remaining, lambda masses: 2 * m * special.entr(1 - masses))


def winning_times(text_samples: int, p: ArrayLike) -> Array:
    """Return the expected time of collapse of K separated texts given which text is the one left.

    Beyond the paper; Law 1.2: w(p_i) / p_i with the w of `collapse_time`.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p : array, shape (K,)
        Text model at time 0.

    Returns
    -------
    ndarray, shape (K,)
        0 for a text of mass 1, NaN for a text of mass 0, which never wins.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    masses = check.probability_vector("p", p)
    times = np.full(masses.size, np.nan)
    can_win = masses > 0
    times[can_win] = _fixation_weights(m, np.minimum(masses[can_win], 1.0)) / masses[can_win]
    return times


def ancestor_law(text_samples: int, draws: int, t: ArrayLike) -> Array:
    """Return the law of the number of ancestors at time 0 of k texts drawn independently from p_t.

    Beyond the paper; Law 1.2. One step back, k draws from p_t fall on j of the M images with probability
    S(k, j) M (M-1) ... (M-j+1) / M^k (S: Stirling numbers of the second kind), and these j images drew their texts
    independently from p_{t-1}. So the law is a row of the t-th power of this triangular matrix.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    draws : int
        k from 1 to 1000.
    t : int or array of int, shape (...)
        Text updates, at least 0.

    Returns
    -------
    ndarray, shape (..., k + 1)
        Probabilities of 0, ..., k ancestors.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    k = check.integer("draws", draws, minimum=1, maximum=1000)
    times = check.integer_array("t", t, minimum=0)
    matrix = np.zeros((k + 1, k + 1))
    matrix[0, 0] = 1.0
    images = np.arange(k + 1)
    for drawn in range(k):  # one more draw falls on an image already drawn, or on another
        matrix[drawn + 1] = matrix[drawn] * np.minimum(images / m, 1.0)
        matrix[drawn + 1, 1:] += matrix[drawn, :-1] * np.maximum(1 - images[:-1] / m, 0.0)
    rows = [np.linalg.matrix_power(matrix, int(time))[k] for time in times.ravel()]
    return np.array(rows).reshape(*times.shape, k + 1)


def power_sum(text_samples: int, p: ArrayLike, power: int, t: ArrayLike) -> Any:
    """Return E sum_i p_{t,i}^k, the chance that k texts drawn from p_t are one text, for K separated texts.

    Beyond the paper; Law 1.2: the ancestors of the draws must all be of one text. By Law 1.1 it is also a ceiling
    for any images, frozen or moving.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p : array, shape (K,)
        Text model at time 0.
    power : int
        k from 1 to 1000.
    t : int or array of int, shape (...)
        Text updates, at least 0.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    masses = check.probability_vector("p", p)
    k = check.integer("power", power, minimum=1, maximum=1000)
    at_start = (masses[:, None] ** np.arange(k + 1)).sum(axis=0)
    return check.plain(np.asarray(ancestor_law(text_samples, k, t) @ at_start))


def text_diversity_moments(text_samples: int, p: ArrayLike, t: ArrayLike) -> DiversityMoments:
    """Return mean and variance of the text diversity D_t of K >= 1 separated texts, from the genealogy of four draws.

    Beyond the paper; Law 1.2. E (1 - D)^2 is the chance that draws 1 and 2 agree and draws 3 and 4 agree. Traced
    back, either some ancestor is common to the two pairs, or the pairs have i, j in {1, 2} separate ancestors.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    p : array, shape (K,)
        Text model at time 0.
    t : int or array of int, shape (...)
        Text updates, at least 0.

    Returns
    -------
    DiversityMoments
        (mean, variance), floats or arrays of the shape of `t`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    masses = check.probability_vector("p", p)
    times = check.integer_array("t", t, minimum=0)
    sums = (masses[:, None] ** np.arange(5)).sum(axis=0)
    # Entry (i, j) -> (k, l): the draws of two texts keep apart; S(2,1) = S(2,2) = S(1,1) = 1, S(1,2) = 0.
    states = list(product((1, 2), repeat=2))
    falling = np.cumprod(np.concatenate([[1.0], 1 - np.arange(4) / m]))
    step = np.array(
        [
            [falling[k + el] / float(m) ** (i + j - k - el) if k <= i and el <= j else 0.0 for k, el in states]
            for i, j in states
        ]
    )
    apart = np.array([sums[k] * sums[el] - sums[k + el] for k, el in states])
    two_texts = np.array([np.linalg.matrix_power(step, int(time))[-1] @ apart for time in times.ravel()])
    square = power_sum(m, masses, 4, times) + two_texts.reshape(times.shape)
    same = power_sum(m, masses, 2, times)
    variance = np.maximum(square - same**2, 0.0)
    return DiversityMoments(check.plain(np.asarray(1 - same)), check.plain(np.asarray(variance)))


def rare_text_exponent(text_samples: int, separation: float) -> float:
    """Return lambda = E ln((1/M) sum_m L_m), the rate at which ln p of a losing text falls when images overlap.

    Beyond the paper; Law 1.4. The image laws are N(mu_1, Sigma) for the winning text and N(mu_2, Sigma), and L_m
    are independent likelihood ratios of text 2 to text 1 of images of text 1: ln L ~ N(-Delta^2 / 2, Delta^2).
    From ln s = int_0^inf (exp(-u) - exp(-u s)) du / u, by two nested trapezoid sums, to about 1e-12.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    separation : float
        Delta in (0, 20], the distance of the means in the norm of Sigma^{-1}: in units of sigma if Sigma = sigma^2 I.

    Returns
    -------
    float
        Negative; -Delta^2 / 2 for M = 1, about -(exp(Delta^2) - 1) / (2 M) for large M.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    gap = check.number("separation", separation, minimum=0.0, maximum=20.0, open_minimum=True)
    # The integrands are analytic in strips of half-width pi / 2 (in ln u) and pi / (2 Delta) (in z): with these
    # steps the trapezoid rule errs by less than exp(-35).
    log_u = np.arange(-45.0, gap**2 / 2 + 10 * gap + 5.0, 0.2)
    step = min(0.25, 0.25 / gap)
    z = np.arange(-10.0, 10.0 + step, step)
    weight = stats.norm.pdf(z) * step
    # 1 - E exp(-u L), so that no digits are lost where u is small.
    missing = -np.expm1(-np.exp(np.minimum(log_u[:, None] + gap * z - gap**2 / 2, 700.0))) @ weight
    kept = np.where(missing < 1, special.xlog1py(float(m), -np.minimum(missing, 1.0)), -np.inf)
    return float(0.2 * (np.expm1(-np.exp(log_u)) - np.expm1(kept)).sum() - np.log(m))


def _few_texts(p: ArrayLike) -> Array:
    """Return the positive entries of a text model, normalised; at most 14."""
    p = check.probability_vector("p", p)
    masses = p[p > 0] / p.sum()
    if masses.size > _MOST_TEXTS:
        raise ValueError(f"p must have at most {_MOST_TEXTS} positive entries, got {masses.size}")
    return np.asarray(masses)


def _groups(masses: Array) -> list[Array]:
    """Return, for r = 0, ..., K, the masses of all groups of r texts."""
    sums, sizes = np.zeros(1), np.zeros(1, dtype=int)
    for mass in masses:
        sums, sizes = np.concatenate([sums, sums + mass]), np.concatenate([sizes, sizes + 1])
    return [np.minimum(sums[sizes == r], 1.0) for r in range(masses.size + 1)]


def _from_groups(sums: list[Any], left: int) -> Any:
    """Return sum_{r=1}^m (-1)^{m-r} C(K-1-r, m-r) S_r for m = `left` < K."""
    last = len(sums) - 2  # K - 1
    return sum((-1) ** (left - r) * comb(last - r, left - r) * sums[r] for r in range(1, left + 1))


def _first_step(text_samples: int, masses: Array) -> Array:
    """Return the laws Binomial(M, mass) of the images of groups of texts, shape (n, M + 1)."""
    return np.asarray(stats.binom.pmf(np.arange(text_samples + 1), text_samples, masses[:, None]))


def _fixation_weights(text_samples: int, masses: Array) -> Array:
    """Return E[time of fixation; the text is fixed] for texts of given mass against the rest, shape (n,)."""
    m = text_samples
    matrix = transition_matrix(m)[1:-1, 1:-1]
    inner = np.linalg.solve(np.eye(m - 1) - matrix, np.arange(1, m) / m)
    weights = masses + _first_step(m, masses)[:, 1:-1] @ inner
    return np.where(masses < 1, weights, 0.0)


def _time_of_groups(p: ArrayLike, remaining: int, weight: Any) -> float:
    left = check.integer("remaining", remaining, minimum=1)
    p = check.probability_vector("p", p)
    if left >= np.count_nonzero(p):
        return 0.0
    if left == 1:
        return float(weight(np.minimum(p, 1.0)).sum())
    return float(_from_groups([weight(groups).sum() for groups in _groups(_few_texts(p))], left))
