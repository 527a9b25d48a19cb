"""The text model when the images separate the texts: the Wright-Fisher model of population genetics.

Then the posterior is one-hot and M p_{t+1} ~ Multinomial(M, p_t): text diversity is the heterozygosity, and the
floor of Gao & Li 2025, Corollary 3.2 is an equality. Beyond the paper; the results of this module are classical
(Wright 1931, Kimura 1955). Except in `expected_diversity`, the corpus has K = 2 texts and p0 is the probability
of the first.
"""

from __future__ import annotations

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
    "diffusion_absorption_time",
    "diversity_moments",
    "expected_diversity",
    "law",
    "mean_absorption_time",
    "transition_matrix",
]


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

    Beyond the paper: powers of `transition_matrix` after a first step Binomial(M, p0); p0 need not be a
    multiple of 1/M.

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

    Gao & Li 2025, Corollary 3.2, eq. (3.5), where the inequality becomes an equality (beyond the paper).

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
