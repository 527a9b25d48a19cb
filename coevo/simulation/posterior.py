"""Mean posterior of images: what the text model learns (Gao & Li 2025, eqs. 2.3-2.4).

The posterior of a text at an image is its mass times its density there, normalised over the texts. Three ways lead
to it, and every run takes the first that is exact to rounding for it:

* Where no scale is small against the distances, the log-densities of all texts are linear in the features 1, x_k,
  x_k x_l of an image x, and one matrix product gives them all.
* Where texts are so far apart that every posterior is 1 at the text that made the image, nothing is left to compute.
* Else every density is computed in the coordinates of the text that made the image, where nothing cancels, however
  small the scales have become. This costs K^2 maps a run.

Rules that the algorithms leave open: a text of mass exactly zero has posterior zero. A singular image model has its
images on an affine space, its support. An image of a text with full covariance lies outside every such support almost
surely, so singular texts have density zero there; an image of a singular text has posterior zero for every text with
another support; among texts with the same support, the densities on that support decide. Nothing is ever added to a
covariance.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from coevo import factors
from coevo._validation import Array
from coevo.simulation import _features
from coevo.simulation._features import NOTHING, Counts
from coevo.simulation.state import ImageModel

__all__ = ["kernels", "mean_posterior"]

Rows = NDArray[np.bool_]

#: Numbers in the largest array of one pass, for the coefficients of the texts and for the features of the images:
#: with more, they leave the processor's cache.
TEXT_NUMBERS = 1 << 17
IMAGE_NUMBERS = 1 << 17

#: A mass this close to a whole number of images is that: rounding stays well below it.
WHOLE = 1e-14

#: Logarithm of the largest residual: its square is still a number, and far more than any density survives.
FAR = 340.0

#: Two affine supports closer than this, relative to the coordinates, are the same one.
SAME_SUPPORT = 1e-9


def kernels(compiled: bool) -> Any:
    """Return the module that computes features: plain numpy, or compiled by numba on its first use.

    Raises
    ------
    ModuleNotFoundError
        If numba is wanted and not installed.
    """
    if not compiled:
        return _features
    try:
        return importlib.import_module("coevo.simulation._compiled")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("compiled=True needs numba; install it with: pip install 'coevo[speed]'") from error


def mean_posterior(p: Array, images: ImageModel, counts: Counts, z: Array, *, compiled: bool = False) -> Array:
    """Return the mean posterior of M images per run.

    Parameters
    ----------
    p : array (R, K), masses of the texts
    images : ImageModel of R runs and K texts
    counts : int array (R, K), how many of the M images each text makes
    z : array (d, R, M), standard normal: image m of run r is mu_i + L_i z[:, r, m], the images of each text in a row
        and the texts in order; what it holds afterwards has no meaning
    compiled : whether to use kernels compiled by numba; they give the same numbers up to rounding

    Returns
    -------
    array (R, K)

    Raises
    ------
    ModuleNotFoundError
        If numba is wanted and not installed.
    """
    engine = kernels(compiled)
    posterior = np.empty_like(p)
    width = max(1, TEXT_NUMBERS // images.unit[0].size)
    # The last digits of a large product depend on the number of threads, and small ones gain nothing from them.
    with _blas().limit(limits=1):
        for start in range(0, len(p), width):
            rows = slice(start, start + width)
            part = ImageModel(images.mean[rows], images.unit[rows], images.log_scale[rows])
            posterior[rows] = _of_rows(p[rows], part, counts[rows], z[:, rows], engine)
    return _rounded(posterior, z.shape[-1])


def _rounded(posterior: Array, number: int) -> Array:
    """Take what is a whole number of images up to rounding as that number.

    Far from all others a text receives a whole number. The library draws the next counts in another way if two texts
    are equal, or if one holds a half: rounding, which differs from machine to machine, must not decide about that.
    """
    whole = np.rint(number * posterior)
    close = (whole > 0) & (np.abs(number * posterior - whole) <= WHOLE * number)
    rounded: Array = np.where(close, whole / number, posterior)
    return rounded


@cache
def _blas() -> ThreadpoolController:
    """Return the switch for the threads of matrix products; finding the libraries takes milliseconds."""
    return ThreadpoolController().select(user_api="blas")


def _of_rows(p: Array, images: ImageModel, counts: Counts, z: Array, engine: Any) -> Array:
    """Return the mean posterior of runs that fit into one pass."""
    near, mean, factor, height, coefficients = engine.prepare(p, images.mean, images.unit, images.log_scale, counts)
    if near.all():
        return _by_features(coefficients, mean, factor, counts, z, engine)
    posterior = np.empty_like(p)
    if near.any():
        posterior[near] = _by_features(coefficients, mean[near], factor[near], counts[near], z[:, near], engine)
    apart = ~near
    apart[apart] = _apart(mean[apart], _select(images, apart), factor[apart], height[apart], counts[apart], z[:, apart])
    posterior[apart] = counts[apart] / z.shape[-1]
    rest = ~(near | apart)
    if rest.any():
        posterior[rest] = _by_residuals(p[rest], _select(images, rest), counts[rest], z[:, rest])
    return posterior


def _select(images: ImageModel, rows: Rows) -> ImageModel:
    """Return the image models of some runs."""
    return ImageModel(images.mean[rows], images.unit[rows], images.log_scale[rows])


def _by_features(coefficients: Array, mean: Array, factor: Array, counts: Counts, z: Array, engine: Any) -> Array:
    """Return the mean posterior by matrix products of coefficients (F, R, K) and features; `z` becomes the images."""
    engine.draw(z, counts, mean, factor)
    number = z.shape[-1]
    n_features, runs, n_texts = coefficients.shape
    length = min(number, max(256, IMAGE_NUMBERS // (n_features + n_texts)))
    width = min(runs, max(1, IMAGE_NUMBERS // (length * (n_features + n_texts))))
    features = np.empty((n_features, width, length))
    features[0] = 1.0
    density = np.empty((n_texts, width, length))
    posterior = np.zeros((runs, n_texts))
    for start in range(0, runs, width):
        rows = slice(start, min(runs, start + width))
        matrix = coefficients[:, rows].transpose(1, 2, 0)
        for first in range(0, number, length):
            x = z[:, rows, first : first + length]
            part, values = features[:, : x.shape[1], : x.shape[2]], density[:, : x.shape[1], : x.shape[2]]
            engine.fill(part, x)
            np.matmul(matrix, part.swapaxes(0, 1), out=values.swapaxes(0, 1))
            np.exp(values, out=values)
            engine.collect(posterior[rows], values)
    shares: Array = posterior / number
    return shares


def _apart(mean: Array, images: ImageModel, factor: Array, height: Array, counts: Counts, z: Array) -> Rows:
    """Say in which runs every image has posterior 1, to the last digit, at the text that made it.

    With L_i of norm at most s_i, an image mu_i + L_i z is at least |mu_i - mu_j| - s_i |z| away from mu_j, and that is
    at least 1/s_j of it in standard deviations of text j. Between a singular text and one that is not, the supports
    decide; about two singular ones nothing is said here.
    """
    longest = np.sqrt((z * z).sum(axis=0).max(axis=1))[:, None, None]
    norm = np.sqrt(np.einsum("rkij,rkij->rk", factor, factor))
    distance = np.sqrt(((mean[:, :, None] - mean[:, None, :]) ** 2).sum(axis=-1))
    singular = (images.log_scale == -np.inf).any(axis=-1)
    makes = counts > 0
    counting = height != -np.inf
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # points, and texts that do not count
        least = np.maximum(distance - norm[:, :, None] * longest, 0.0) / norm[:, None, :]
        gap = 0.5 * (least**2 - longest**2) + height[:, :, None] - height[:, None, :]
        settled: Any = gap > NOTHING
    settled |= singular[:, :, None] != singular[:, None, :]
    settled |= ~(makes[:, :, None] & counting[:, None, :])
    settled[:, np.arange(mean.shape[1]), np.arange(mean.shape[1])] = True
    result: Rows = settled.all(axis=(1, 2))
    return result


def _by_residuals(p: Array, images: ImageModel, counts: Counts, z: Array) -> Array:
    """Return the mean posterior from residuals in the coordinates of the text that made the image."""
    runs, n_texts = p.shape
    dim, *shape = z.shape

    def of_image(per_text: Array) -> Array:
        return np.repeat(per_text.ravel(), counts.ravel()).reshape(shape)

    kept = np.isfinite(images.log_scale)
    singular = not kept.all()
    scale = np.where(kept, images.log_scale, 0.0)
    inverse = factors.invert(images.unit)
    with np.errstate(divide="ignore"):  # a text of mass zero has log-mass -inf, and posterior zero
        height = np.log(p) - scale.sum(axis=-1)
    log_density = np.empty((n_texts, *shape))
    product = np.empty(shape)
    for j in range(n_texts):
        square = log_density[j]
        for k in range(dim):
            offset, linear = _residual_map(images.mean, images.unit, scale, inverse, j, k)
            if singular:  # a lost direction has no noise, and no say in a density
                offset = np.where(kept[:, j, k, None], offset, 0.0)
                linear = [np.where(kept[:, j, k, None] & kept[..., i], c, 0.0) for i, c in enumerate(linear)]
            residual = of_image(offset)
            for i, coefficient in enumerate(linear):
                residual += np.multiply(of_image(coefficient), z[i], out=product)
            if k == 0:
                np.multiply(residual, residual, out=square)
            else:
                square += np.multiply(residual, residual, out=product)
        np.multiply(square, -0.5, out=square)
        square += height[:, j, None]
    if singular:
        text = np.repeat(np.tile(np.arange(n_texts), runs), counts.ravel()).reshape(shape)
        _restrict_to_supports(log_density, text, images, kept, inverse)
    log_density -= log_density.max(axis=0)
    density = np.exp(log_density, out=log_density)
    posterior: Array = np.einsum("krm,rm->rk", density, 1 / density.sum(axis=0)) / shape[-1]
    return posterior


def _residual_map(mean: Array, unit: Array, scale: Array, inverse: Array, j: int, k: int) -> tuple[Array, list[Array]]:
    """Coordinate k of the residual L_j^{-1} (x - mu_j) of an image x = mu_i + L_i z at text j, for every text i.

    It is offset + sum of linear[l] z_l over l <= k, with one number (R, K) each for every run and text i. The images
    themselves are never formed: their coordinates could not hold a scale that has shrunk to nothing. Exponents are
    added before they are raised, and what lies beyond `FAR` counts as `FAR`: the density is zero either way.
    """
    row, own = inverse[:, j, k, :, None], scale[:, j, k, None]
    distance = mean[..., k] - mean[:, j, k, None]
    for i in range(k):
        distance += row[:, i] * (mean[..., i] - mean[:, j, i, None])
    with np.errstate(divide="ignore"):  # texts with equal means have distance zero
        exponent = np.log(np.abs(distance)) - own
    offset = np.copysign(np.exp(np.minimum(exponent, FAR)), distance)
    linear = [np.exp(np.minimum(scale[..., i] - own, FAR)) for i in range(k + 1)]
    for i in range(k):
        # U_j^{-1} U_i = I + U_j^{-1} (U_i - U_j): exactly I for equal directions, whatever the scales then multiply.
        turn = unit[..., k, i] - unit[:, j, None, k, i]
        for e in range(i + 1, k):
            turn += row[:, e] * (unit[..., e, i] - unit[:, j, None, e, i])
        linear[i] *= turn
    return offset, linear


def _restrict_to_supports(
    log_density: Array, text: NDArray[np.int64], images: ImageModel, kept: NDArray[np.bool_], inverse: Array
) -> None:
    """Give density zero, in place, to every text whose support is not that of the text that made the image.

    Texts with the same support need no other factor: their kept columns of U differ by a unit triangular matrix, so
    they span the same volume.
    """
    same = _same_support(images, kept, inverse)
    run = np.arange(text.shape[0])[:, None]
    for j in range(log_density.shape[0]):
        log_density[j][~same[run, text, j]] = -np.inf


def _same_support(images: ImageModel, kept: NDArray[np.bool_], inverse: Array) -> NDArray[np.bool_]:
    """Whether texts i and j of a run have the same affine support, array (R, K, K)."""
    mean, unit = images.mean, images.unit
    rank = kept.sum(axis=-1)
    size = np.abs(mean).max(axis=-1) + np.exp(images.log_scale.max(axis=-1))
    # In the coordinates of j: does the difference of the means, and does every kept column of i, stay inside?
    offset = (inverse[:, None] * (mean[:, :, None] - mean[:, None, :])[..., None, :]).sum(axis=-1)
    reach = np.abs(inverse).sum(axis=-1)
    scale = reach[:, None] * (size[:, :, None] + size[:, None, :])[..., None]
    lost = ~kept
    inside = (~lost[:, None] | (np.abs(offset) <= SAME_SUPPORT * scale)).all(axis=-1)
    same: NDArray[np.bool_] = (rank[:, :, None] == rank[:, None, :]) & inside
    # Hardly ever does a singular text get this far with another, and a full one has nothing left to compare.
    run, i, j = np.nonzero(same & (rank[:, None, :] < mean.shape[-1]))
    columns = inverse[run, j] @ np.where(kept[run, i, None, :], unit[run, i], 0.0)
    steep = reach[run, j, :, None] * np.abs(unit[run, i]).max(axis=-2)[:, None, :]
    parallel = (~lost[run, j, :, None] | (np.abs(columns) <= SAME_SUPPORT * steep)).all(axis=(-2, -1))
    same[run, i, j] = parallel
    diagonal = np.arange(mean.shape[1])
    same[:, diagonal, diagonal] = True
    return same
