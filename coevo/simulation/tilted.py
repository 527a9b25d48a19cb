"""Exact importance sampling of a collapsing image model: make the rare runs that carry the mean, and weigh them.

Beyond Gao & Li 2025; Law 2.6. A refit multiplies a factor of the covariance by a Bartlett factor A of a Wishart matrix
with nu = n - 1 degrees of freedom, over sqrt(nu). The mean of the image diversity is carried by runs in which A_11,
along one direction, is chi_{nu+1} instead of chi_nu. Draw these, in a direction that is itself drawn uniformly, and
weigh each run with the density of the honest law. Nothing is approximated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from coevo import _validation as check
from coevo._validation import Array
from coevo.wishart import contraction_constant

__all__ = ["TiltedRuns", "tilted_refits"]


class TiltedRuns(NamedTuple):
    """Runs of one image model under the tilted law, and their weights.

    For any function f of the covariance (or of its path) the mean of ``weight * f`` over the tilted runs is the mean of
    f over honest runs, and so is that of ``direction_weight * f``.

    Attributes
    ----------
    t : int array (T,), image updates
    singular_values : array (R, T, d), roots of the eigenvalues of the covariance, in decreasing order
    weight : array (R, T), c_1^t / h(B_t): averaged over directions, so that weight * diversity is bounded
    direction_weight : array (R, T), c_1^t / |(B_t)_11|: unbiased too, but of unbounded relative variance for d >= 2
    """

    t: NDArray[np.int64]
    singular_values: Array
    weight: Array
    direction_weight: Array

    @property
    def image_diversity(self) -> Array:
        """Array (R, T): tr Sigma^{1/2} of the tilted runs, without the weights."""
        return np.asarray(self.singular_values.sum(axis=-1))


def tilted_refits(
    cov: ArrayLike, images: Any, steps: int, runs: int, *, rng: Any, times: ArrayLike | None = None, tilted: bool = True
) -> TiltedRuns:
    """Refit one Gaussian `steps` times under the law that carries the mean of its image diversity.

    Beyond the paper; Law 2.6. The covariance is Sigma_t = L_0 O B_t B_t' O' L_0' with Sigma_0 = L_0 L_0', a uniform
    rotation O and the product B_t of the Bartlett factors over sqrt(nu). With n < 2 images nothing changes.

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite.
    images : int or frozen discrete law of `scipy.stats`
        n, the number of images of every update, or its law; an integer is at least 2.
    steps : int
        Image updates, at least 1.
    runs : int
        R >= 1.
    rng : int, SeedSequence or Generator
    times : int array (T,), optional
        Increasing times to record, from 0 to `steps`; all of them unless given.
    tilted : bool
        With False the runs are honest and all weights are one.

    Returns
    -------
    TiltedRuns

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    start = check.single_covariance("cov", cov)
    values, probability = check.count_law("images", images, minimum=0 if check.is_count_law(images) else 2)
    last = check.integer("steps", steps, minimum=1)
    count = check.integer("runs", runs, minimum=1)
    generator = check.generator(rng)
    recorded = check.integer_array("times", np.arange(last + 1) if times is None else times, minimum=0)
    if recorded.ndim != 1 or recorded.size == 0 or (np.diff(recorded) <= 0).any() or recorded[-1] > last:
        raise ValueError(f"times must increase from at least 0 to at most steps = {last}, got {recorded}")
    if not isinstance(tilted, bool):
        raise TypeError(f"tilted must be True or False, got {tilted!r}")

    dim = len(start)
    dof = np.maximum(values - 1, 1)
    factor = np.where(values < 2, 1.0, contraction_constant(dof, 1))
    rate = float(probability @ factor) / float(probability.sum())
    law = probability * factor if tilted else probability
    law = law / law.sum()

    eigenvalues, axes = np.linalg.eigh(start)
    root = axes * np.sqrt(np.maximum(eigenvalues, 0.0))  # L_0
    frame = root @ _rotations(dim, count, generator)
    product = np.broadcast_to(np.eye(dim), (count, dim, dim)).copy()  # B_t e^{-log_scale}
    log_scale = np.zeros(count)
    spread = np.empty((count, recorded.size, dim))
    weight, direction_weight = np.ones((2, count, recorded.size))
    k = 0
    for s in range(int(recorded[-1]) + 1):
        if s > 0:
            drawn = generator.choice(values.size, count, p=law)
            step = _bartlett(dof[drawn], dim, int(tilted), generator) / np.sqrt(dof[drawn])[:, None, None]
            step[values[drawn] < 2] = np.eye(dim)
            product = product @ step
            size = np.abs(product).max(axis=(-2, -1))  # B_11 > 0, so the size is positive
            product /= size[:, None, None]
            log_scale += np.log(size)
        if s == recorded[k]:
            scale = np.exp(log_scale)
            spread[:, k] = np.linalg.svd(frame @ product, compute_uv=False) * scale[:, None]
            if tilted:
                fall = np.exp(s * np.log(rate) - log_scale)
                weight[:, k] = fall / _directional_root(product)
                direction_weight[:, k] = fall / product[:, 0, 0]
            k += 1
    return TiltedRuns(recorded, spread, weight, direction_weight)


def _rotations(dim: int, count: int, generator: np.random.Generator) -> Array:
    """Draw uniform orthogonal matrices (count, d, d)."""
    q, r = np.linalg.qr(generator.standard_normal((count, dim, dim)))
    return np.asarray(q * np.sign(np.einsum("rkk->rk", r))[:, None, :])


def _bartlett(dof: NDArray[np.int64], dim: int, extra: int, generator: np.random.Generator) -> Array:
    """Draw lower triangular A with A_kk = chi_{nu-k} (k from 0; A_00 with `extra` more), zero where nu <= k."""
    matrix = np.tril(generator.standard_normal((dof.size, dim, dim)), -1)
    free = dof[:, None] - np.arange(dim)
    chosen = np.maximum(free, 1) + extra * (np.arange(dim) == 0)
    chi = np.sqrt(2 * generator.standard_gamma(chosen / 2))
    k = np.arange(dim)
    matrix[:, k, k] = chi
    return np.where((free > 0)[:, None, :], matrix, 0.0)  # a column without degrees of freedom is not there


def _directional_root(product: Array) -> Array:
    """Return h = E_u |B' u| with u uniform on the unit sphere, for matrices B (R, d, d)."""
    singular_values = np.linalg.svd(product, compute_uv=False)
    dim = singular_values.shape[-1]
    top = singular_values[:, 0]
    if dim == 1:
        return np.asarray(top)
    share = (singular_values / top[:, None]) ** 2
    if dim == 2:
        return np.asarray(2 / np.pi * top * special.ellipe(1 - share[:, 1]))
    # |diag(s) g| with g Gaussian, over E |g|: E sqrt(X) = (4 pi)^{-1/2} int (1 - E e^{-sX}) s^{-3/2} ds with s = e^w.
    # The integrand is analytic for |Im w| < pi, so the step 1/2 errs by e^{-4 pi^2}; the ends are below 1e-15.
    step = 0.5
    w = np.arange(-72, 72, step)
    log_transform = np.zeros((share.shape[0], w.size))
    for k in range(dim):
        log_transform -= 0.5 * np.log1p(2 * np.exp(w) * share[:, k, None])
    root = step * (-np.expm1(log_transform) @ np.exp(-w / 2)) / np.sqrt(4 * np.pi)
    length = np.sqrt(2) * np.exp(special.gammaln((dim + 1) / 2) - special.gammaln(dim / 2))
    return np.asarray(top * root / length)
