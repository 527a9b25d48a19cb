"""How slowly the text model collapses when its images are diffuse: Gao & Li 2025, Theorem 4.1, made explicit.

All texts share one covariance; distances between means are measured in standard deviations of the images. One
identity carries everything. Write E D(r_s) for the expected diversity of the posterior when the common covariance is
Sigma / s, and Q(r) = sum_i r_i^2 ||mu_i - sum_j r_j mu_j||^2. Then

    d/ds E D(r_s) = -E Q(r_s),     Q(r) <= (Delta^2 / 4) D(r),     Delta = the largest distance of two means.

So E D(r) >= exp(-Delta^2 / 4) D(p) for every text model p: a floor that knows the blur, and the sigma that
Theorem 4.1 asks for. At s = 0 the identity gives the leading order of the loss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, optimize

from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked
from coevo.theory._shared import after_losses
from coevo.theory.text import expected_posterior_diversity

__all__ = [
    "LeadingLoss",
    "diffuse_floor",
    "diffuse_limit",
    "guaranteed_sigma",
    "leading_loss",
    "least_sigma",
    "relative_loss",
    "relative_loss_bound",
    "widest_gap",
]

# The quadrature is asked for all it can give, because a loss is the small difference of two diversities.
_RTOL = 1e-12
# A relative loss below this would drown in its rounding.
_LEAST_SHARE = 1e-6
# Two texts so many standard deviations apart have an overlap exp(-80^2 / 8) of no account.
_APART = 80.0


class LeadingLoss(NamedTuple):
    """The loss of one update for diffuse images, and how far the exact loss can be from it."""

    value: float
    error: float


def widest_gap(mean: ArrayLike, cov: ArrayLike) -> float:
    """Return Delta, the largest distance between two means in standard deviations of the images.

    Gao & Li 2025, Theorem 4.1: Delta^2 is the maximum of (mu_i - mu_j)' Sigma^{-1} (mu_i - mu_j), and images are
    diffuse if it is small.

    Parameters
    ----------
    mean : array, shape (K, d)
    cov : array, shape (d, d)
        The covariance of every text, positive definite.

    Returns
    -------
    float
        At least 0; 0 if all means agree.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape or type, or `cov` is not positive definite.
    """
    return _diameter(_whitened(mean, cov))


def relative_loss(p: ArrayLike, mean: ArrayLike, cov: ArrayLike, text_samples: int) -> float:
    """Return (D_t - E[D_{t+1} | p_t = p]) / D_t, the exact share of the diversity that one text update loses.

    Gao & Li 2025, Theorem 4.1 asks for an image model that makes this at most delta. By quadrature, to an absolute
    error of about 1e-12 / M, however rare a text is.

    Parameters
    ----------
    p : array, shape (K,)
        Text model, not one-hot.
    mean : array, shape (K, d)
    cov : array, shape (K, d, d) or (d, d)
        Image models, as in `coevo.theory.text.expected_posterior_diversity`.
    text_samples : int
        M >= 1.

    Returns
    -------
    float
        Between 0 (the images say nothing) and 1/M (they separate the texts).

    Raises
    ------
    TypeError, ValueError
        As `coevo.theory.text.expected_posterior_diversity`; if p is one-hot; if `text_samples` is not an integer
        of at least 1.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p = _spread_text_model(p)
    kept = expected_posterior_diversity(p, mean, cov, rtol=_RTOL) / float(text_diversity_unchecked(p))
    return max(0.0, 1 - kept) / m


def relative_loss_bound(gap: float, text_samples: int) -> float:
    """Return (1 - exp(-Delta^2 / 4)) / M, which the relative loss of one update never exceeds, for any text model.

    Beyond the paper (Gao & Li 2025, Theorem 4.1, made explicit and uniform in p). It needs one covariance for all
    texts. For Delta -> infinity it is the 1/M of Corollary 3.2.

    Parameters
    ----------
    gap : float
        Delta >= 0, from `widest_gap`.
    text_samples : int
        M >= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    size = check.number("gap", gap, minimum=0.0)
    m = check.integer("text_samples", text_samples, minimum=1)
    return float(-np.expm1(-0.25 * size * size)) / m


def diffuse_floor(initial_diversity: float, gap: float, text_samples: int, t: ArrayLike, text_updates: int = 1) -> Any:
    """Return (1 - (1 - exp(-Delta^2 / 4)) / M)^{S_T t} D_0, below which E[D_t] never falls.

    Beyond the paper (Gao & Li 2025, Theorem 4.1 for a whole run): the image model is frozen and all texts share one
    covariance. It lies above the floor of Corollary 3.2 and tends to it for Delta -> infinity.

    Parameters
    ----------
    initial_diversity : float
        D_0 in [0, 1].
    gap : float
        Delta >= 0, from `widest_gap`.
    text_samples, text_updates : int
        M >= 1 images per text update, S_T >= 0 text updates per macro step.
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
    d0 = check.probability("initial_diversity", initial_diversity)
    steps = check.integer_array("t", t, minimum=0)
    updates = check.integer("text_updates", text_updates, minimum=0)
    return after_losses(d0, relative_loss_bound(gap, text_samples), updates, steps)


def guaranteed_sigma(mean: ArrayLike, text_samples: int, delta: float, shape: ArrayLike | None = None) -> float:
    """Return a sigma for which one update loses at most the share delta of the diversity, for every text model.

    Beyond the paper (Gao & Li 2025, Theorem 4.1, eq. (4.2), with an explicit sigma that does not depend on p and so
    serves a whole run): sigma = Delta_1 / (2 sqrt(-ln(1 - M delta))) with Delta_1, the widest gap at sigma = 1.

    Parameters
    ----------
    mean : array, shape (K, d)
    text_samples : int
        M >= 1.
    delta : float
        In (0, 1), the share that one update may lose.
    shape : array, shape (d, d), optional
        The covariance of every text is sigma^2 times this positive definite matrix; the identity if not given.

    Returns
    -------
    float
        In the units of the images. 0 means that every sigma > 0 will do: M delta >= 1 up to rounding
        (Corollary 3.2), or all means agree.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    share = _share(m, delta)
    diameter = _diameter(_whitened(mean, shape, "shape"))
    return 0.0 if share == 1 else float(diameter / (2 * np.sqrt(-np.log1p(-share))))


def least_sigma(
    p: ArrayLike, mean: ArrayLike, text_samples: int, delta: float, shape: ArrayLike | None = None
) -> float:
    """Return the smallest sigma for which one update of the text model p loses at most the share delta.

    Gao & Li 2025, Theorem 4.1, eq. (4.2), solved for sigma: the root of the exact `relative_loss`, which falls
    strictly as sigma grows. It depends on p, so it makes a promise for one update only; for a whole run use
    `guaranteed_sigma`.

    Parameters
    ----------
    p : array, shape (K,)
        Text model, not one-hot.
    mean : array, shape (K, d)
    text_samples : int
        M >= 1.
    delta : float
        In (0, 1), and at least 1e-6 / M: below, the quadrature has too few digits left.
    shape : array, shape (d, d), optional
        The covariance of every text is sigma^2 times this positive definite matrix; the identity if not given.

    Returns
    -------
    float
        To a relative error of about 1e-6. 0 means that every sigma > 0 will do.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range; if p is one-hot; if the means of texts with mass span
        more than two dimensions.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    share = _share(m, delta)
    if share < _LEAST_SHARE:
        raise ValueError(f"delta must be at least {_LEAST_SHARE:g} / text_samples = {_LEAST_SHARE / m:g}, got {delta}")
    p = _spread_text_model(p)
    white = _whitened(mean, shape, "shape")
    _same_texts(p, white)
    p, white = p[p > 0], _in_their_span(white[p > 0])
    gaps = _distances(white)
    if share == 1 or not gaps.any():
        return 0.0

    def excess(log_sigma: float) -> float:
        cov = np.exp(2 * log_sigma) * np.eye(white.shape[1])
        return relative_loss(p, white, cov, 1) - share

    # At the guarantee the excess is negative; a little further out rounding cannot hide it.
    low = high = float(np.log(gaps.max() / (2 * np.sqrt(-np.log1p(-share))))) + 1e-6
    sharp = float(np.log(gaps[gaps > 0].min() / _APART))
    while excess(low) <= 0:
        if low < sharp:  # texts that coincide keep some diversity whatever sigma is
            return 0.0
        high, low = low, low - np.log(2)
    return float(np.exp(optimize.brentq(excess, low, high, xtol=1e-9)))


def leading_loss(p: ArrayLike, mean: ArrayLike, cov: ArrayLike, text_samples: int) -> LeadingLoss:
    """Return the loss D_t - E[D_{t+1} | p_t = p] for diffuse images to leading order, with a proved error.

    Beyond the paper (Gao & Li 2025, Theorem 4.1, with its rate): (1/M) sum_i p_i^2 ||mu_i - mubar||^2 with
    mubar = sum_j p_j mu_j and the norm of Sigma^{-1}. The exact loss differs from it by at most
    (5/8) Delta^4 D / M; for Sigma = sigma^2 I that is of order sigma^{-4}.

    Parameters
    ----------
    p : array, shape (K,)
        Text model.
    mean : array, shape (K, d)
    cov : array, shape (d, d)
        The covariance of every text, positive definite.
    text_samples : int
        M >= 1.

    Returns
    -------
    LeadingLoss
        (value, error): |exact loss - value| <= error.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p = check.probability_vector("p", p)
    white = _whitened(mean, cov)
    _same_texts(p, white)
    p, white = p[p > 0], white[p > 0]
    value = float(p**2 @ ((white - p @ white) ** 2).sum(axis=1)) / m
    square = _diameter(white) * _diameter(white)
    return LeadingLoss(value, 0.625 * square * square * float(text_diversity_unchecked(p)) / m)


def diffuse_limit(p: ArrayLike, mean: ArrayLike, cov: ArrayLike, text_samples: int, t: ArrayLike) -> Any:
    """Return E D(r) for images of covariance (M/t) Sigma: the mean diversity E[D_t] of a run in the diffuse limit.

    Beyond the paper (Gao & Li 2025, Theorem 4.1, for the whole run): t updates from M diffuse images each lose as
    much as t/M such images tell a Bayesian about one hidden text. For Sigma = sigma^2 I and sigma -> infinity the
    difference from E[D_t] vanishes, uniformly over t <= T M sigma^2 for every T.

    Parameters
    ----------
    p : array, shape (K,)
        Text model at time 0.
    mean : array, shape (K, d)
    cov : array, shape (d, d)
        The covariance of every text, positive definite.
    text_samples : int
        M >= 1.
    t : int or array of int, shape (...)
        Text updates, at least 0.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        As `coevo.theory.text.expected_posterior_diversity`, or if an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    steps = check.integer_array("t", t, minimum=0)
    p = check.probability_vector("p", p)
    white = _whitened(mean, cov)
    _same_texts(p, white)
    p, white = p[p > 0], _in_their_span(white[p > 0])
    unit = np.eye(white.shape[1])
    known = {
        step: expected_posterior_diversity(p, white, m / step * unit) if step else float(text_diversity_unchecked(p))
        for step in np.unique(steps).tolist()
    }
    return check.plain(np.array([known[step] for step in steps.ravel().tolist()]).reshape(steps.shape))


def _share(text_samples: int, delta: float) -> float:
    """Return M delta, at most 1; a product that falls short of 1 by rounding is 1."""
    tolerance = check.number("delta", delta, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)
    share = text_samples * tolerance
    return 1.0 if share >= 1 - 4 * np.finfo(float).eps else share


def _spread_text_model(p: ArrayLike) -> Array:
    p = check.spread_text_model("p", p)
    normalised: Array = p / p.sum()
    return normalised


def _whitened(mean: ArrayLike, cov: ArrayLike | None, name: str = "cov") -> Array:
    """Return the means in coordinates in which every text has covariance I, shape (K, d)."""
    mean = check.real_array("mean", mean, (None, None))
    if cov is None:
        return mean
    dim = mean.shape[1]
    cov = check.covariance(name, cov, dim=dim, definite=True)
    if cov.ndim != 2:
        raise ValueError(f"{name} must have shape ({dim}, {dim}), one covariance for all texts, got {cov.shape}")
    white: Array = linalg.solve_triangular(np.linalg.cholesky(cov), (mean - mean[0]).T, lower=True).T
    return white


def _same_texts(p: Array, mean: Array) -> None:
    if len(mean) != p.size:
        raise ValueError(f"mean must have shape ({p.size}, d), got {mean.shape}")


def _in_their_span(white: Array) -> Array:
    """Return means of dimension d > 2 in coordinates of the directions (at least one) along which they differ.

    Before any scale is chosen: means on a line or in a plane leave it by rounding, and sharp images would see that.
    """
    if white.shape[1] <= 2:
        return white
    centred = white - white[0]
    _, size, directions = np.linalg.svd(centred, full_matrices=False)
    rank = int((size > 10 * max(white.shape) * np.finfo(float).eps * size[0]).sum())
    span: Array = centred @ directions[: max(1, rank)].T
    return span


def _distances(white: Array) -> Array:
    distances: Array = np.linalg.norm(white[:, None] - white[None, :], axis=-1)
    return distances


def _diameter(white: Array) -> float:
    return float(_distances(white).max())
