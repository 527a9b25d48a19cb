"""The text model with corpus injection: Gao & Li 2025, Theorem 6.1, and the exact laws behind it.

At the start of a macro step, with probability alpha, every mass is multiplied by 1 - eps and a new text receives eps.
Then S_T text updates follow, which together keep at least the fraction Q = (1 - 1/M)^{S_T} of the expected diversity.
An injection turns D into (1 - eps)^2 D + 2 eps (1 - eps), so the mean diversity obeys, whatever the images are,

    Q (a E D_t + b) <= E D_{t+1} <= a E D_t + b,   a = 1 - alpha eps (2 - eps),   b = 2 alpha eps (1 - eps),

with equality on the left if the images separate the texts, and on the right if all images coincide. The limits are

    ceiling C = 2 (1 - eps) / (2 - eps),  floor D* = C theta / (1 + theta),  theta = alpha eps (2 - eps) Q / (1 - Q).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked
from coevo.theory import text
from coevo.theory.wright_fisher import DiversityMoments

__all__ = [
    "best_floor",
    "best_injection_fraction",
    "convergence_time",
    "diversity_ceiling",
    "diversity_floor",
    "diversity_moments",
    "expected_next_diversity",
    "injection_floor",
    "kept_texts_bound",
    "least_injection_prob",
    "limiting_ceiling",
    "sharp_floor",
    "stationary_moments",
]


def injection_floor(
    text_samples: int, injection_prob: ArrayLike, injection_fraction: ArrayLike, text_updates: int = 1
) -> Any:
    """Return the lower bound alpha Q 2 eps (1 - eps) / (1 - (1 - alpha) Q) of lim inf E[D_t].

    Gao & Li 2025, Theorem 6.1, eq. (6.5), with Q = (1 - 1/M)^{S_T}; the paper has S_T = 1.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    injection_prob, injection_fraction : float or array, shapes that broadcast to (...)
        alpha and eps in [0, 1].
    text_updates : int
        S_T >= 1 text updates per macro step.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    alpha, eps = _injection(injection_prob, injection_fraction)
    kept, lost = _kept_and_lost(text_samples, text_updates)
    return check.plain(2 * alpha * kept * eps * (1 - eps) / (lost + alpha * kept))


def sharp_floor(
    text_samples: int, injection_prob: ArrayLike, injection_fraction: ArrayLike, text_updates: int = 1
) -> Any:
    """Return the sharp floor D* = C theta / (1 + theta) of lim inf E[D_t]: the limit itself for separated images.

    Beyond the paper; Law 5.1: it keeps the term (1 - eps)^2 D that the proof of Gao & Li 2025, Theorem 6.1, drops. No
    better constant holds for all image laws.

    Parameters
    ----------
    text_samples, injection_prob, injection_fraction, text_updates
        As in `injection_floor`.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        As `injection_floor`.
    """
    alpha, eps = _injection(injection_prob, injection_fraction)
    kept, lost = _kept_and_lost(text_samples, text_updates)
    return check.plain(2 * alpha * kept * eps * (1 - eps) / (lost + alpha * kept * eps * (2 - eps)))


def limiting_ceiling(injection_fraction: ArrayLike) -> Any:
    """Return C = 2 (1 - eps) / (2 - eps), which lim sup E[D_t] never exceeds if alpha and eps are positive.

    Beyond the paper; Law 5.1 (the other side of Gao & Li 2025, Theorem 6.1): attained if all image laws coincide.

    Parameters
    ----------
    injection_fraction : float or array, shape (...)
        eps in [0, 1].

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `injection_fraction` does not hold numbers in [0, 1].
    """
    eps = _probabilities("injection_fraction", injection_fraction)
    return check.plain(2 * (1 - eps) / (2 - eps))


def convergence_time(
    text_samples: int, injection_prob: ArrayLike, injection_fraction: ArrayLike, text_updates: int = 1
) -> Any:
    """Return 1 / (1 - lambda), the macro steps in which the distance from the sharp floor shrinks to about 37 %.

    Beyond the paper: the time scale behind Gao & Li 2025, Theorem 6.1, with lambda = Q (1 - alpha eps (2 - eps)) exact
    for separated images; never more than 1 / (1 - Q), M for S_T = 1.

    Parameters
    ----------
    text_samples, injection_prob, injection_fraction, text_updates
        As in `injection_floor`.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        As `injection_floor`.
    """
    alpha, eps = _injection(injection_prob, injection_fraction)
    kept, lost = _kept_and_lost(text_samples, text_updates)
    return check.plain(1 / (lost + kept * alpha * eps * (2 - eps)))


def diversity_floor(
    initial_diversity: float,
    text_samples: int,
    injection_prob: float,
    injection_fraction: float,
    t: ArrayLike,
    text_updates: int = 1,
) -> Any:
    """Return D* + (D_0 - D*) lambda^t, a lower bound of E[D_t] at every t, exact for separated images.

    Beyond the paper; Law 5.1: Gao & Li 2025, Theorem 6.1, at finite t and with the sharp constant.

    Parameters
    ----------
    initial_diversity : float
        D_0 in [0, 1].
    text_samples, injection_prob, injection_fraction, text_updates
        As in `injection_floor`, single numbers.
    t : int or array of int, shape (...)
        Macro steps, at least 0.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    start = check.probability("initial_diversity", initial_diversity)
    alpha, eps = _single(injection_prob, injection_fraction)
    times = check.integer_array("t", t, minimum=0)
    limit = sharp_floor(text_samples, alpha, eps, text_updates)
    log_kept = special.xlog1py(float(text_updates) * times, -1 / text_samples)
    return _towards(start, limit, log_kept + special.xlog1py(times, -alpha * eps * (2 - eps)))


def diversity_ceiling(initial_diversity: float, injection_prob: float, injection_fraction: float, t: ArrayLike) -> Any:
    """Return C + (D_0 - C) (1 - alpha eps (2 - eps))^t, an upper bound of E[D_t], exact if all images coincide.

    Beyond the paper; Law 5.1 (the other side of Gao & Li 2025, Theorem 6.1): injections act and text updates lose
    nothing.

    Parameters
    ----------
    initial_diversity : float
        D_0 in [0, 1].
    injection_prob, injection_fraction : float
        alpha and eps in [0, 1].
    t : int or array of int, shape (...)
        Macro steps, at least 0.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    start = check.probability("initial_diversity", initial_diversity)
    alpha, eps = _single(injection_prob, injection_fraction)
    times = check.integer_array("t", t, minimum=0)
    return _towards(start, limiting_ceiling(eps), special.xlog1py(times, -alpha * eps * (2 - eps)))


def best_injection_fraction(text_samples: int, injection_prob: ArrayLike, text_updates: int = 1) -> Any:
    """Return eps = 1 / (1 + s), s = sqrt(1 + alpha Q / (1 - Q)), the fraction with the highest sharp floor.

    Beyond the paper: eq. (6.5) of Gao & Li 2025, Theorem 6.1, is largest at eps = 1/2, the truth for separated images
    is largest here. For S_T = 1, s = sqrt(1 + alpha (M - 1)).

    Parameters
    ----------
    text_samples : int
        M >= 1.
    injection_prob : float or array, shape (...)
        alpha in [0, 1].
    text_updates : int
        S_T >= 1.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    return check.plain(1 / (1 + np.sqrt(1 + _best_gain(text_samples, injection_prob, text_updates))))


def best_floor(text_samples: int, injection_prob: ArrayLike, text_updates: int = 1) -> Any:
    """Return 1 - 1/s, s = sqrt(1 + alpha Q / (1 - Q)), the highest sharp floor over all fractions eps.

    Beyond the paper; Law 5.2: the best guarantee of the kind of Gao & Li 2025, Theorem 6.1, for a given alpha,
    reached at `best_injection_fraction`.

    Parameters
    ----------
    text_samples, injection_prob, text_updates
        As in `best_injection_fraction`.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        As `best_injection_fraction`.
    """
    gain = _best_gain(text_samples, injection_prob, text_updates)
    root = np.sqrt(1 + gain)
    return check.plain(gain / (root * (1 + root)))  # 1 - 1 / root, without the cancellation


def least_injection_prob(
    wanted: float, text_samples: int, injection_fraction: float | None = None, text_updates: int = 1
) -> float:
    """Return the least alpha whose sharp floor is at least `wanted`.

    Beyond the paper; Law 5.2: the inverse of the sharp form of Gao & Li 2025, Theorem 6.1. For the best fraction,
    eps = (1 - w) / (2 - w), it is ((1 - w)^{-2} - 1) (1 - Q) / Q.

    Parameters
    ----------
    wanted : float
        w in [0, 1), the limit of E[D_t] to be guaranteed for all image laws.
    text_samples : int
        M >= 1.
    injection_fraction : float, optional
        eps in [0, 1]; the best one if not given.
    text_updates : int
        S_T >= 1.

    Returns
    -------
    float
        In [0, 1]; inf if no alpha <= 1 is enough.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    w = check.number("wanted", wanted, minimum=0.0, maximum=1.0, open_maximum=True)
    eps = (1 - w) / (2 - w) if injection_fraction is None else injection_fraction
    eps = check.probability("injection_fraction", eps)
    kept, lost = _kept_and_lost(text_samples, text_updates)
    if w == 0:
        return 0.0
    gain = kept * eps * (2 * (1 - eps) - w * (2 - eps))
    # rounding may put an alpha of exactly 1 a hair too high
    return min(w * lost / gain, 1.0) if w * lost <= gain * (1 + 1e-12) else float("inf")


def diversity_moments(
    p: ArrayLike,
    text_samples: int,
    injection_prob: float,
    injection_fraction: float,
    t: ArrayLike,
    text_updates: int = 1,
) -> DiversityMoments:
    """Return mean and variance of the text diversity D_t for separated images, exactly.

    Beyond the paper: the law behind Gao & Li 2025, Theorem 6.1. The four numbers 1, E D, E W and E D^2, with W the
    probability that three draws from p are three texts, follow a closed linear recursion.

    Parameters
    ----------
    p : array, shape (K,)
        Text model at t = 0.
    text_samples, injection_prob, injection_fraction, text_updates
        As in `injection_floor`, single numbers.
    t : int or array of int, shape (...)
        Macro steps, at least 0.

    Returns
    -------
    DiversityMoments
        mean and variance, floats or arrays of shape (...), at least 0. Every term of the recursion is positive, so E D
        and E D^2 have a relative error of about 1e-15 (S_T + 1) t however near the collapse; the variance is the
        difference E D^2 - (E D)^2.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    masses = check.probability_vector("p", p)
    masses /= masses.sum()
    step = _moment_step(text_samples, injection_prob, injection_fraction, text_updates)
    times = check.integer_array("t", t, minimum=0)
    d0 = float(text_diversity_unchecked(masses))
    pairs = masses[1:] * np.cumsum(masses)[:-1]  # of a text and an earlier one
    start = np.array([1.0, d0, 6 * float(masses[2:] @ np.cumsum(pairs)[:-1]), d0**2])
    moments = np.array([np.linalg.matrix_power(step, int(k)) @ start for k in times.ravel()])
    return _mean_and_variance(moments.reshape(*times.shape, 4))


def stationary_moments(
    text_samples: int, injection_prob: float, injection_fraction: float, text_updates: int = 1
) -> DiversityMoments:
    """Return mean and variance of the text diversity in the stationary law for separated images.

    Beyond the paper: the limit of `diversity_moments`; the mean is the sharp floor of Gao & Li 2025, Theorem 6.1.

    Parameters
    ----------
    text_samples, injection_prob, injection_fraction, text_updates
        As in `injection_floor`, single numbers.

    Returns
    -------
    DiversityMoments
        mean and variance, floats.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    step = _moment_step(text_samples, injection_prob, injection_fraction, text_updates)
    # The step is lower triangular, and the text update alone contracts its last three coordinates. Their losses,
    # 1 - (product of the two factors), come from logarithms: at M = 10^12 the difference would have no digits.
    alpha, eps = _single(injection_prob, injection_fraction)
    kept = special.xlog1py(float(text_updates), -np.minimum(1.0, np.arange(1, 4) / text_samples)).cumsum()
    left = special.xlog1py(1.0, alpha * np.expm1(special.xlog1py(np.arange(2, 5), -eps)))
    lost, moments = -np.expm1(kept + left), np.ones(4)
    for k in range(1, 4):
        moments[k] = step[k, :k] @ moments[:k] / lost[k - 1]
    return _mean_and_variance(moments)


def expected_next_diversity(
    p: ArrayLike,
    mean: ArrayLike,
    cov: ArrayLike,
    text_samples: int,
    injection_prob: float,
    injection_fraction: float,
    new_mean: ArrayLike,
    new_cov: ArrayLike,
) -> float:
    """Return E[D_{t+1} | p_t = p] for one macro step with one text update and any image laws, exactly.

    Beyond the paper: Gao & Li 2025, Theorem 3.1 after an injection, of which Theorem 6.1 is a lower bound. The new
    text has a known image model.

    Parameters
    ----------
    p, mean, cov : arrays, shapes (K,), (K, d), (K, d, d) or (d, d)
        As in `coevo.theory.text.expected_posterior_diversity`: d <= 2, or texts told apart along two directions.
    text_samples : int
        M >= 1.
    injection_prob, injection_fraction : float
        alpha and eps in [0, 1].
    new_mean, new_cov : arrays, shapes (d,), (d, d)
        Image model of the new text; the covariance positive definite.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range; if the quadrature needs too many nodes.
    """
    alpha, eps = _single(injection_prob, injection_fraction)
    old = text.expected_text_diversity(p, mean, cov, text_samples)
    p, mean = check.probability_vector("p", p), check.real_array("mean", mean)
    n_texts, dim = mean.shape
    centre = check.real_array("new_mean", new_mean, (dim,))
    spread = check.single_covariance("new_cov", new_cov, dim=dim, definite=True)
    if alpha == 0:  # then nothing depends on the new text, not even whether its images allow the quadrature
        return old
    grown = text.expected_text_diversity(
        np.append((1 - eps) * p, eps),
        np.vstack([mean, centre]),
        np.concatenate([np.broadcast_to(np.asarray(cov, dtype=float), (n_texts, dim, dim)), spread[None]]),
        text_samples,
    )
    return (1 - alpha) * old + alpha * grown


def kept_texts_bound(n_texts: int, injection_prob: float, injection_fraction: float, threshold: float) -> float:
    """Return K + alpha + (1 + ln(eps / tau)) / eps: on average no more texts have a mass of at least tau, at any time.

    Beyond the paper: with injections (Gao & Li 2025, Theorem 6.1) the corpus grows for ever, but the mean mass of a
    text that entered s macro steps ago is eps (1 - alpha eps)^s for all image laws; Markov's inequality does the rest.

    Parameters
    ----------
    n_texts : int
        K >= 1 texts at the start, counted as if all were kept.
    injection_prob : float
        alpha in [0, 1].
    injection_fraction : float
        eps in (0, 1].
    threshold : float
        tau in (0, eps].

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    k = check.integer("n_texts", n_texts, minimum=1)
    alpha = check.probability("injection_prob", injection_prob)
    eps = check.number("injection_fraction", injection_fraction, minimum=0.0, maximum=1.0, open_minimum=True)
    tau = check.number("threshold", threshold, minimum=0.0, maximum=eps, open_minimum=True)
    return float(k + alpha + (1 + np.log(eps / tau)) / eps)


def _kept_and_lost(text_samples: int, text_updates: int) -> tuple[float, float]:
    """Return Q = (1 - 1/M)^{S_T} and 1 - Q."""
    m = check.integer("text_samples", text_samples, minimum=1)
    updates = check.integer("text_updates", text_updates, minimum=1)
    log_kept = special.xlog1py(updates, -1 / m)
    return float(np.exp(log_kept)), float(-np.expm1(log_kept))


def _best_gain(text_samples: int, injection_prob: ArrayLike, text_updates: int) -> Array:
    """Return alpha Q / (1 - Q)."""
    kept, lost = _kept_and_lost(text_samples, text_updates)
    return _probabilities("injection_prob", injection_prob) * (kept / lost)


def _towards(start: float, limit: float, log_left: Any) -> Any:
    """Return start + (1 - left) (limit - start), left = exp(log_left), with the digits of a small start or limit."""
    return check.plain(start * np.exp(log_left) - limit * np.expm1(log_left))


def _moment_step(text_samples: int, injection_prob: float, injection_fraction: float, text_updates: int) -> Array:
    """Return the matrix of one macro step on (1, E D, E W, E D^2), W = 6 sum_{i<j<k} p_i p_j p_k; it is positive."""
    m = check.integer("text_samples", text_samples, minimum=1)
    updates = check.integer("text_updates", text_updates, minimum=1)
    alpha, eps = _single(injection_prob, injection_fraction)
    two, three = (m - 1) / m, (m - 1) * (m - 2) / m**2
    four = three * (m - 3) / m
    # D' and W' are the shares of the pairs and triples of the M images that show different texts. D'^2 is a share of
    # pairs of pairs, which have two images in common, or one (then with mean (D + W) / 2), or none.
    update = np.array(
        [
            [1, 0, 0, 0],
            [0, two, 0, 0],
            [0, 0, three, 0],
            [0, 2 * two / m**2 + 2 * three / m, 2 * three / m, four],
        ]
    )
    rest = 1 - eps
    injection = np.array(
        [
            [1, 0, 0, 0],
            [2 * eps * rest, rest**2, 0, 0],
            [0, 3 * eps * rest**2, rest**3, 0],
            [4 * eps**2 * rest**2, 4 * eps * rest**3, 0, rest**4],
        ]
    )
    step: Array = np.linalg.matrix_power(update, updates) @ ((1 - alpha) * np.eye(4) + alpha * injection)
    return step


def _mean_and_variance(moments: Array) -> DiversityMoments:
    # Rounding may leave a variance of zero slightly negative.
    variance = np.maximum(moments[..., 3] - moments[..., 1] ** 2, 0.0)
    return DiversityMoments(check.plain(moments[..., 1]), check.plain(variance))


def _injection(injection_prob: ArrayLike, injection_fraction: ArrayLike) -> tuple[Array, Array]:
    alpha = _probabilities("injection_prob", injection_prob)
    eps = _probabilities("injection_fraction", injection_fraction)
    try:
        np.broadcast_shapes(alpha.shape, eps.shape)
    except ValueError as error:
        raise ValueError(
            f"injection_prob and injection_fraction must have shapes that broadcast, got {alpha.shape} and {eps.shape}"
        ) from error
    return alpha, eps


def _single(injection_prob: float, injection_fraction: float) -> tuple[float, float]:
    return (
        check.probability("injection_prob", injection_prob),
        check.probability("injection_fraction", injection_fraction),
    )


def _probabilities(name: str, value: ArrayLike) -> Array:
    array = check.real_array(name, value)
    if array.size and (array.min() < 0 or array.max() > 1):
        worst = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"{name} must hold numbers in [0, 1], got {worst:g}")
    return array
