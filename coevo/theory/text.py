"""The text model under a frozen image model: Gao & Li 2025, Theorem 3.1 and Corollary 3.2.

The text model p is a martingale. The expected loss of its diversity D(p) = 1 - sum_i p_i^2 in one text update
is governed by the diversity of the posterior r(x) of an image x drawn from the mixture:

    E[D_{t+1} | p_t] = (1 - 1/M) D_t + (1/M) E_x[D(r(x))].                                            (3.1)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, special, stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked
from coevo.theory._shared import after_losses

__all__ = [
    "Estimate",
    "bhattacharyya_coefficients",
    "effective_text_samples",
    "expected_posterior_diversity",
    "expected_text_diversity",
    "fixation_probabilities",
    "half_life",
    "posterior_diversity_estimate",
    "text_diversity_floor",
]

# Least half-width of the quadrature grid in standard deviations: the Gaussian mass outside is below 1e-18.
_REACH = 9.0
# A grid of more nodes is refused rather than waited for.
_MOST_NODES = 1 << 24
_CHUNK = 1 << 15


class Estimate(NamedTuple):
    """A Monte Carlo value and its standard error."""

    value: float
    standard_error: float


def expected_posterior_diversity(
    p: ArrayLike, mean: ArrayLike, cov: ArrayLike, *, rtol: float = 1e-9, atol: float | None = None
) -> float:
    """Return E_x[D(r(x))], the expected diversity of the posterior of an image, by quadrature.

    Gao & Li 2025, Theorem 3.1, eq. (3.1); the form in terms of the posterior is beyond the paper.

    The integral is a sum over pairs of texts of 2 p_i p_j int N_i N_j / mixture. Each term is the expectation of
    a smooth ratio in [0, 1/2] under the Gaussian proportional to sqrt(N_i N_j), computed by the trapezoid rule,
    whose step is halved until two successive sums agree. Images in more than two dimensions are first projected
    on the directions that tell the texts apart, which loses nothing: equal covariances and means in one plane
    need two directions at most. The cost grows like K^3.

    Parameters
    ----------
    p : array, shape (K,)
        Text model.
    mean : array, shape (K, d)
    cov : array, shape (K, d, d) or (d, d)
        Image models; the covariances must be positive definite.
    rtol, atol : float
        Aimed error: rtol times the value plus atol, which is 1e-15 D(p) if not given. The rule converges like
        exp(-c/step), so halving the step squares the relative error: the last two sums differ by at most the root
        of rtol, times the value.

    Returns
    -------
    float
        Between 0 (the images separate the texts) and D(p) (they say nothing).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range; if the images tell the texts apart along more than
        two directions, or have scales so different that the grid would need more than 2^24 nodes (then use
        `posterior_diversity_estimate`).
    """
    p, mean, cov = _system(p, mean, cov)
    rtol = check.number("rtol", rtol, minimum=1e-13, maximum=1.0)
    smallest, diversity = 1e-300, float(text_diversity_unchecked(p))
    if atol is None:
        atol = max(smallest, 1e-15 * diversity)
    atol = check.number("atol", atol, minimum=smallest)
    mean, cov = _telling_directions(mean, cov)
    dim = mean.shape[1]
    if dim > 2:
        raise ValueError(
            "mean and cov must tell the texts apart along at most 2 directions for quadrature, "
            f"got {dim}; use posterior_diversity_estimate"
        )
    # A pair is worth at most its bound, so pairs that together stay below atol are left out.
    pairs = [pair for pair in _pairs(p, mean, cov) if pair.bound > atol / len(p) ** 2]
    step = np.array([pair.first_step for pair in pairs])
    # What a grid cuts off is small against D, not only against the bound of the pair, which is larger for a rare text.
    reach = [float(np.sqrt(_REACH**2 + 2 * np.log(max(1.0, pair.bound / diversity)))) for pair in pairs]
    value = np.array([pair.trapezoid(h, far) for pair, h, far in zip(pairs, step, reach, strict=True)])
    change = np.full(len(pairs), np.inf)
    while (moving := np.flatnonzero(change > (rtol**0.5 * value.sum() + atol) / max(len(pairs), 1))).size:
        for k in moving:
            step[k] /= 2
            refined = pairs[k].trapezoid(step[k], reach[k])
            value[k], change[k] = refined, abs(refined - value[k])
    return float(value.sum())


def posterior_diversity_estimate(
    p: ArrayLike, mean: ArrayLike, cov: ArrayLike, *, rng: Any, samples: int = 4096, scramblings: int = 16
) -> Estimate:
    """Return a quasi-Monte Carlo estimate of E_x[D(r(x))] in any dimension, with its standard error.

    Gao & Li 2025, Theorem 3.1, eq. (3.1). The pairs of `expected_posterior_diversity`, each averaged over
    scrambled Sobol points of the Gaussian proportional to sqrt(N_i N_j): pairs of texts that the images nearly
    separate are sampled where they overlap.

    Parameters
    ----------
    p, mean, cov : arrays, shapes (K,), (K, d), (K, d, d) or (d, d)
        As in `expected_posterior_diversity`.
    rng : int or numpy.random.Generator
    samples : int
        Points per scrambling and pair, a power of two of at least 2.
    scramblings : int
        Independent scramblings, at least 2; the standard error is measured over them.

    Returns
    -------
    Estimate
        (value, standard_error).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape, type or range.
    """
    p, mean, cov = _system(p, mean, cov)
    samples = check.integer("samples", samples, minimum=2)
    if samples & (samples - 1):
        raise ValueError(f"samples must be a power of two, got {samples}")
    scramblings = check.integer("scramblings", scramblings, minimum=2)
    generator = check.generator(rng)
    mean, cov = _telling_directions(mean, cov)
    sums = np.zeros(scramblings)
    for pair in _pairs(p, mean, cov):
        for s in range(scramblings):
            points = stats.qmc.Sobol(mean.shape[1], rng=generator).random(samples)
            # Sobol points have 30 bits and may hit 0: the middle of the cell keeps the quantile finite.
            sums[s] += 2 * pair.bound * pair.ratio(special.ndtri(points + 2.0**-31)).mean()
    return Estimate(float(sums.mean()), float(sums.std(ddof=1) / np.sqrt(scramblings)))


def bhattacharyya_coefficients(mean: ArrayLike, cov: ArrayLike) -> Array:
    """Return BC_ij = int sqrt(N_i N_j), the overlap of every two image laws.

    Beyond the paper (a computable form of Gao & Li 2025, Theorem 4.2): by the inequality of the means,
    E_x[D(r(x))] <= (1/2) sum_{i != j} sqrt(p_i p_j) BC_ij.

    Parameters
    ----------
    mean : array, shape (K, d)
    cov : array, shape (K, d, d) or (d, d)
        Positive definite.

    Returns
    -------
    ndarray, shape (K, K)
        Symmetric, 1 on the diagonal.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong shape or type, or a covariance is not positive definite.
    """
    mean, cov = _image_models(mean, cov)
    middle = 0.5 * (cov[:, None] + cov[None, :])
    gap = (mean[:, None] - mean[None, :])[..., None]
    distance = np.sum(gap * np.linalg.solve(middle, gap), axis=(-2, -1))
    log_det = np.linalg.slogdet(cov)[1]
    shape = 0.25 * (log_det[:, None] + log_det[None, :]) - 0.5 * np.linalg.slogdet(middle)[1]
    return np.asarray(np.exp(shape - distance / 8))


def expected_text_diversity(p: ArrayLike, mean: ArrayLike, cov: ArrayLike, text_samples: int) -> float:
    """Return E[D_{t+1} | p_t = p], the expected text diversity after one text update, exactly.

    Gao & Li 2025, Theorem 3.1, eq. (3.1), as (1 - 1/M) D + (1/M) E_x[D(r(x))].

    Parameters
    ----------
    p, mean, cov : arrays, shapes (K,), (K, d), (K, d, d) or (d, d)
        As in `expected_posterior_diversity`.
    text_samples : int
        M >= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As `expected_posterior_diversity`, or if `text_samples` is not an integer of at least 1.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p, mean, cov = _system(p, mean, cov)
    return float((1 - 1 / m) * text_diversity_unchecked(p) + expected_posterior_diversity(p, mean, cov) / m)


def effective_text_samples(p: ArrayLike, mean: ArrayLike, cov: ArrayLike, text_samples: int) -> float:
    """Return M D / (D - E_x[D(r(x))]) >= M, the number of images a separated system would need to drift as slowly.

    Beyond the paper; Law 1.1: with overlapping images one update loses diversity like that of a Wright-Fisher
    population of this size. Near a one-hot p it grows without bound, like 1/p for the rare text (Law 1.4).

    Parameters
    ----------
    p, mean, cov : arrays, shapes (K,), (K, d), (K, d, d) or (d, d)
        As in `expected_posterior_diversity`; p must not be one-hot.
    text_samples : int
        M >= 1.

    Returns
    -------
    float
        inf if the loss is below 1e-9 D, the accuracy of the quadrature (all image laws agree, say).

    Raises
    ------
    TypeError, ValueError
        As `expected_posterior_diversity`; if `text_samples` is not an integer of at least 1; if p is one-hot.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    p, mean, cov = _system(check.spread_text_model("p", p), mean, cov)
    diversity = float(text_diversity_unchecked(p))
    loss = diversity - expected_posterior_diversity(p, mean, cov)
    return m * diversity / loss if loss > 1e-9 * diversity else float("inf")


def text_diversity_floor(initial_diversity: float, text_samples: int, t: ArrayLike, text_updates: int = 1) -> Any:
    """Return (1 - 1/M)^{S_T t} D_0, below which the expected text diversity E[D_t] never falls.

    Gao & Li 2025, Corollary 3.2, eq. (3.5); an equality when the images separate the texts. It holds whether
    the image model moves or not.

    Parameters
    ----------
    initial_diversity : float
        D_0 in [0, 1].
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
    m = check.integer("text_samples", text_samples, minimum=1)
    steps = check.integer_array("t", t, minimum=0)
    updates = check.integer("text_updates", text_updates, minimum=0)
    return after_losses(d0, 1 / m, updates, steps)


def half_life(text_samples: int, text_updates: int = 1) -> float:
    """Return the macro steps after which the floor of the expected text diversity has halved.

    Gao & Li 2025, Corollary 3.2: ln 2 / (-S_T ln(1 - 1/M)), about 0.693 M / S_T. Before this time at least half
    of the diversity is left in expectation.

    Parameters
    ----------
    text_samples, text_updates : int
        M >= 1 and S_T >= 1.

    Returns
    -------
    float
        0 for M = 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not an integer of at least 1.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    updates = check.integer("text_updates", text_updates, minimum=1)
    return 0.0 if m == 1 else float(-np.log(2) / (updates * np.log1p(-1 / m)))


def fixation_probabilities(p: ArrayLike, classes: ArrayLike | None = None) -> Array:
    """Return the probability that each text, or each class of coinciding texts, is the one left in the limit.

    Gao & Li 2025, Theorem 3.1 (p_t is a martingale); the probabilities are beyond the paper (optional
    stopping). Texts with pairwise distinct image laws: P(limit = e_i) = p_i. If the laws of some texts
    coincide, the limit is one class of coinciding texts, in the proportions of p.

    Parameters
    ----------
    p : array, shape (K,)
        Text model.
    classes : array of int, shape (K,), optional
        Label of the class of each text, 0, ..., C-1; texts with the same label have the same image law.

    Returns
    -------
    ndarray, shape (K,) or (C,)

    Raises
    ------
    TypeError, ValueError
        If p is not a probability vector, or `classes` is not a vector of K labels that uses each of 0, ..., C-1.
    """
    p = check.probability_vector("p", p)
    if classes is None:
        return p.copy()
    labels = check.integer_array("classes", classes, minimum=0)
    if labels.shape != p.shape:
        raise ValueError(f"classes must have shape {p.shape}, got {labels.shape}")
    found = np.unique(labels)
    if found[-1] != found.size - 1:
        raise ValueError(f"classes must use every label from 0 to {found[-1]}, got {found.tolist()}")
    return np.bincount(labels, weights=p).astype(float)


def _image_models(mean: ArrayLike, cov: ArrayLike) -> tuple[Array, Array]:
    mean = check.real_array("mean", mean, (None, None))
    n_texts, dim = mean.shape
    cov = check.covariance("cov", cov, dim=dim, definite=True)
    if cov.shape[:-2] not in {(), (n_texts,)}:
        raise ValueError(f"cov must have shape ({n_texts}, {dim}, {dim}) or ({dim}, {dim}), got {cov.shape}")
    return mean, np.broadcast_to(cov, (n_texts, dim, dim))


def _system(p: ArrayLike, mean: ArrayLike, cov: ArrayLike) -> tuple[Array, Array, Array]:
    """Check a text model and its image models; keep the texts with mass, p normalised to machine precision."""
    p = check.probability_vector("p", p)
    mean, cov = _image_models(mean, cov)
    if mean.shape[0] != p.size:
        raise ValueError(f"mean must have shape ({p.size}, d), got {mean.shape}")
    mass = p > 0  # a text that is never drawn tells nothing apart
    return p[mass] / p.sum(), mean[mass], cov[mass]


def _telling_directions(mean: Array, cov: Array) -> tuple[Array, Array]:
    """Project image laws of dimension d > 2 on the directions along which they differ (at least one).

    In coordinates where the first law is N(0, I), the log-ratio of law i to it is a polynomial in x with
    coefficients P_i - I and P_i mu_i (P_i the precision), so it depends on x only through the span of their
    columns. A direction along which all of them are below 1e-8 moves the result by less than about 1e-16: every
    law is N(s, 1) along it with |s| < 1e-8, and the effect is of second order in s.
    """
    if mean.shape[1] <= 2:
        return mean, cov
    root = np.linalg.cholesky(cov[0])
    white_mean = linalg.solve_triangular(root, (mean - mean[0]).T, lower=True).T
    inverse = linalg.solve_triangular(root, np.eye(len(root)), lower=True)
    white_cov = inverse @ cov @ inverse.T
    precision = np.linalg.inv(white_cov)
    columns = [precision - np.eye(len(root)), precision @ white_mean[..., None]]
    directions, size, _ = np.linalg.svd(np.concatenate([c for block in columns for c in block], axis=1))
    basis = directions[:, : max(1, int((size > 1e-8).sum()))]
    return white_mean @ basis, basis.T @ white_cov @ basis


@dataclass(frozen=True)
class _Pair:
    """Two texts i, j in coordinates z where the Gaussian proportional to sqrt(N_i N_j) is N(0, I).

    There p_k N_k is proportional to exp(height_k - |slope_k z + offset_k|^2 / 2).
    """

    i: int
    j: int
    bound: float
    height: Array
    slope: Array
    offset: Array

    def ratio(self, z: Array) -> Array:
        """Return sqrt(p_i p_j N_i N_j) / mixture at z, shape (n, d) -> (n,); at most 1/2."""
        residual = self.slope @ z.T + self.offset[:, :, None]
        log_term = self.height[:, None] - 0.5 * np.sum(residual**2, axis=1)
        middle = 0.5 * (log_term[self.i] + log_term[self.j])
        with np.errstate(over="ignore"):  # a third text may dominate by any factor: the ratio is 0 there
            return np.asarray(1 / np.exp(log_term - middle).sum(axis=0))

    @property
    def first_step(self) -> float:
        """Return a step no longer than the width of the narrowest density."""
        # The pair's own slopes are below sqrt 2 in these coordinates; a narrower third text cuts a dip. Any
        # step that sees the dip at all will do: the halving then goes on until it is resolved.
        return float(0.25 / max(1.0, np.linalg.norm(self.slope, ord=2, axis=(-2, -1)).max()))

    def trapezoid(self, step: float, reach: float) -> float:
        """Return the contribution 2 bound E[ratio(z)], z ~ N(0, I), by the trapezoid rule on [-reach, reach]^d."""
        total = sum(
            float(np.exp(-0.5 * np.sum(z**2, axis=1)) @ self.ratio(z)) for z in _grid(step, reach, self.slope.shape[-1])
        )
        return float(2 * self.bound * total * (step / np.sqrt(2 * np.pi)) ** self.slope.shape[-1])


def _grid(step: float, reach: float, dim: int) -> Iterator[Array]:
    axis = step * np.arange(-np.ceil(reach / step), np.ceil(reach / step) + 1)
    if axis.size**dim > _MOST_NODES:
        raise ValueError(
            "mean and cov must have comparable scales for quadrature, got image laws that need "
            f"{float(axis.size) ** dim:.1e} nodes; use posterior_diversity_estimate"
        )
    rows = max(1, _CHUNK // axis.size) if dim == 2 else _CHUNK
    for start in range(0, axis.size, rows):
        block = axis[start : start + rows]
        if dim == 1:
            yield block[:, None]
        else:
            yield np.stack(np.meshgrid(block, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def _pairs(p: Array, mean: Array, cov: Array) -> Iterator[_Pair]:
    """Yield the pairs of texts that have mass, with bound = sqrt(p_i p_j) BC_ij."""
    overlap = bhattacharyya_coefficients(mean, cov)
    precision = np.linalg.inv(cov)
    roots = np.linalg.cholesky(cov)
    height = np.log(p) - np.log(np.diagonal(roots, axis1=-2, axis2=-1)).sum(axis=-1)
    for i in range(len(p)):
        for j in range(i):
            middle = np.linalg.inv(0.5 * (precision[i] + precision[j]))
            centre = 0.5 * middle @ (precision[i] @ mean[i] + precision[j] @ mean[j])
            axes = np.linalg.cholesky(middle)
            slope = np.linalg.solve(roots, axes)
            offset = np.linalg.solve(roots, (centre - mean)[..., None])[..., 0]
            yield _Pair(i, j, float(np.sqrt(p[i] * p[j]) * overlap[i, j]), height, slope, offset)
