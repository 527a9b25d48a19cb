"""Mean posterior of images: what the text model learns (Gao & Li 2025, eqs. 2.3-2.4).

The posterior of a text at an image is its mass times its density there, normalised over the texts. Three ways lead
to it, and every run takes the first that is exact to rounding for it:

* Where no scale is small against the distances, the log-densities of all texts are linear in the features 1, x_k,
  x_k x_l of an image x, and one matrix product gives them all.
* Where texts are so far apart that every posterior is 1 at the text that made the image, nothing is left to compute.
* Else the residuals of the images at every text are computed one text after the other: from the coordinates of the
  images where these hold the scales, and if not in the coordinates of the text that made the image, where nothing
  cancels, however small the scales have become. This costs K^2 maps a run.

Rules that the algorithms leave open: a text of mass exactly zero has posterior zero. A singular image model has its
images on an affine space, its support. An image of a text with full covariance lies outside every such support almost
surely, so singular texts have density zero there; an image of a singular text has posterior zero for every text with
another support; among texts with the same support, the densities on that support decide. Nothing is ever added to a
covariance.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from coevo import factors
from coevo._validation import Array
from coevo.simulation import _features
from coevo.simulation._features import NOTHING, REACH, Counts
from coevo.simulation.state import ImageModel

__all__ = ["kernels", "mean_posterior"]

Rows = NDArray[np.bool_]
Squares = Callable[..., Array]

#: Numbers in the largest array of one pass, for the coefficients of the texts and for the features of the images:
#: with more, they leave the processor's cache.
TEXT_NUMBERS = 1 << 17
IMAGE_NUMBERS = 1 << 17

#: Largest length of a row of L_j^{-1}, times the |x| of an image that may well be of text j, for which residuals are
#: computed from the coordinates of images: rounding moves them by about 1e-16 times this.
FORMED = 1e5

#: Matrix products of more multiplications than this may be shared out to threads, and their last digits then depend on
#: how many there are: they are held to one.
ONE_THREAD = 1 << 12

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
    large = p.shape[1] * images.unit[0, 0].size * z.shape[-1] > ONE_THREAD
    with _blas().limit(limits=1) if large else nullcontext():
        for start in range(0, len(p), width):
            rows = slice(start, start + width)
            part = ImageModel(images.mean[rows], images.unit[rows], images.log_scale[rows])
            posterior[rows] = _of_rows(p[rows], part, counts[rows], z[:, rows], engine)
    return _rounded(posterior, z.shape[-1])


def _rounded(posterior: Array, number: int) -> Array:
    """Take what is a whole number of images up to rounding as that number, in place.

    Far from all others a text receives a whole number. The library draws the next counts in another way if two texts
    are equal, or if one holds a half: rounding, which differs from machine to machine, must not decide about that.
    """
    images = number * posterior
    whole = np.rint(images)
    close = (np.abs(images - whole) <= WHOLE * number) & (whole > 0)
    np.copyto(posterior, whole / number, where=close)
    return posterior


@cache
def _blas() -> ThreadpoolController:
    """Return the switch for the threads of matrix products; finding the libraries takes milliseconds."""
    return ThreadpoolController().select(user_api="blas")


def _of_rows(p: Array, images: ImageModel, counts: Counts, z: Array, engine: Any) -> Array:
    """Return the mean posterior of runs that fit into one pass."""
    near, mean, factor, height, coefficients = engine.prepare(p, images.mean, images.unit, images.log_scale, counts)
    if near.all():
        return _by_features(coefficients, mean, factor, counts, z, engine)
    posterior: Array = counts / z.shape[-1]  # of texts far apart
    if near.any():
        posterior[near] = _by_features(coefficients, mean[near], factor[near], counts[near], z[:, near], engine)
    rest = ~near
    settled = _settled(mean[rest], images.log_scale[rest], factor[rest], height[rest], counts[rest], z[:, rest])
    apart = settled.all(axis=(1, 2))
    # A text that makes no image, and that no image can come from, is left out.
    p = p.copy()
    p[rest] = np.where((counts[rest] == 0) & settled.all(axis=1), 0.0, p[rest])
    rest[rest] = ~apart
    if not rest.any():
        return posterior
    inverse = factors.invert(images.unit[rest])
    formed = rest.copy()
    formed[rest] = _can_be_formed(p[rest], mean[rest], images.log_scale[rest], factor[rest], inverse)
    # Shifted to the centre of their run, means could not hold distances that are tiny beside it.
    ways = ((formed, _squares_of_images, mean), (rest & ~formed, _squares_of_maps, images.mean))
    for rows, squares, place in ways:
        if rows.any():
            part = ImageModel(place[rows], images.unit[rows], images.log_scale[rows])
            posterior[rows] = _by_residuals(p[rows], part, counts[rows], z[:, rows], squares)
    return posterior


def _by_features(coefficients: Array, mean: Array, factor: Array, counts: Counts, z: Array, engine: Any) -> Array:
    """Return the mean posterior by matrix products of coefficients (F, R, K) and features; `z` becomes the images."""
    engine.draw(z, counts, mean, factor)
    number = z.shape[-1]
    n_features, runs, n_texts = coefficients.shape
    length = min(number, max(256, IMAGE_NUMBERS // (n_features + n_texts)))
    width = min(runs, max(1, IMAGE_NUMBERS // (length * (n_features + n_texts))))
    density = np.empty((n_texts, width, length))
    posterior = np.zeros((runs, n_texts))
    for start in range(0, runs, width):
        rows = slice(start, min(runs, start + width))
        for first in range(0, number, length):
            x = z[:, rows, first : first + length]
            values = density[:, : x.shape[1], : x.shape[2]]
            engine.log_densities(values, coefficients[:, rows], x)
            np.exp(values, out=values)
            engine.collect(posterior[rows], values)
    shares: Array = posterior / number
    return shares


def _settled(mean: Array, log_scale: Array, factor: Array, height: Array, counts: Counts, z: Array) -> Rows:
    """Say which text j, for sure, has posterior 0 to the last digit at the images of text i: array (R, K, K) of i, j.

    With L_i of norm at most s_i, an image mu_i + L_i z is at least |mu_i - mu_j| - s_i |z| away from mu_j, and that is
    at least 1/s_j of it in standard deviations of text j. Between a singular text and one that is not, the supports
    decide; about two singular ones nothing is said here. Of texts that make no image, that do not count, and of a text
    with itself it holds for want of a case.
    """
    longest = np.sqrt((z * z).sum(axis=0).max(axis=1))[:, None, None]
    norm = np.sqrt(np.einsum("rkij,rkij->rk", factor, factor))
    distance = np.sqrt(((mean[:, :, None] - mean[:, None, :]) ** 2).sum(axis=-1))
    singular = (log_scale == -np.inf).any(axis=-1)
    makes, counting = counts > 0, height != -np.inf
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # points, and texts that do not count
        least = np.maximum(distance - norm[:, :, None] * longest, 0.0) / norm[:, None, :]
        gap = 0.5 * (least**2 - longest**2) + height[:, :, None] - height[:, None, :]
        settled = gap > NOTHING
    settled |= singular[:, :, None] != singular[:, None, :]
    settled |= ~(makes[:, :, None] & counting[:, None, :])
    settled |= np.eye(mean.shape[1], dtype=np.bool_)
    result: Rows = settled
    return result


def _can_be_formed(p: Array, mean: Array, log_scale: Array, factor: Array, inverse: Array) -> Rows:
    """Say in which runs (R,) the coordinates of images hold the scales of all texts that have mass."""
    size = np.sqrt(np.einsum("rkd,rkd->rk", mean, mean)) + REACH * np.sqrt(np.einsum("rkij,rkij->rk", factor, factor))
    kept = np.isfinite(log_scale)
    with np.errstate(over="ignore", invalid="ignore"):  # scales too small for a number
        steep = np.sqrt((inverse**2).sum(axis=-1)) * np.exp(-np.where(kept, log_scale, 0.0))
        result: Rows = ((np.where(kept, steep, 0.0).max(axis=-1) * size <= FORMED) | (p == 0)).all(axis=1)
    return result


def _by_residuals(p: Array, images: ImageModel, counts: Counts, z: Array, squares: Squares) -> Array:
    """Return the mean posterior from the residuals L_j^{-1} (x - mu_j) of every image x at every text j.

    `squares` says how their squared lengths are computed.
    """
    runs, n_texts = p.shape
    live = p > 0
    kept = np.isfinite(images.log_scale) | ~live[..., None]  # a text of mass zero may be as it likes
    scale = np.where(kept & live[..., None], images.log_scale, 0.0)
    inverse = factors.invert(images.unit)
    with np.errstate(divide="ignore"):  # a text of mass zero has log-mass -inf, and posterior zero
        height = np.log(p) - scale.sum(axis=-1)
    log_density = squares(live, images, scale, kept, inverse, counts, z)
    log_density *= -0.5
    log_density += height.T[..., None]
    if not kept.all():
        text = np.repeat(np.tile(np.arange(n_texts), runs), counts.ravel()).reshape(z.shape[1:])
        _restrict_to_supports(log_density, text, images, kept, inverse)
    log_density -= log_density.max(axis=0)
    density = np.exp(log_density, out=log_density)
    posterior: Array = np.einsum("krm,rm->rk", density, 1 / density.sum(axis=0)) / z.shape[-1]
    return posterior


def _squares_of_images(
    live: Rows, images: ImageModel, scale: Array, kept: Rows, inverse: Array, counts: Counts, z: Array
) -> Array:
    """Squared lengths (K, R, M) of residuals, from the coordinates of the images; a lost direction has no say."""
    whitening = inverse * np.where(kept, np.exp(-scale), 0.0)[..., None]
    centre = (whitening @ images.mean[..., None])[..., 0]
    x = z.copy()
    _features.draw(x, counts, images.mean, images.unit * np.where(kept, np.exp(scale), 0.0)[..., None, :])
    x = np.ascontiguousarray(x.swapaxes(0, 1))
    squares = np.zeros((live.shape[1], *z.shape[1:]))
    for j in np.flatnonzero(live.any(axis=0)):
        residual = whitening[:, j] @ x
        residual -= centre[:, j, :, None]
        np.einsum("rdm,rdm->rm", residual, residual, out=squares[j])
    return squares


def _squares_of_maps(
    live: Rows, images: ImageModel, scale: Array, kept: Rows, inverse: Array, counts: Counts, z: Array
) -> Array:
    """Squared lengths (K, R, M) of residuals, from K^2 maps of the normal numbers, exact at any scale."""
    dim, *shape = z.shape
    squares = np.zeros((live.shape[1], *shape))
    product = np.empty(shape)

    def of_image(per_text: Array) -> Array:
        return np.repeat(per_text.ravel(), counts.ravel()).reshape(shape)

    for j in map(int, np.flatnonzero(live.any(axis=0))):
        for k in range(dim):
            offset, linear = _residual_map(images.mean, images.unit, scale, inverse, j, k)
            if not kept.all():  # a lost direction has no noise, and no say in a density
                offset = np.where(kept[:, j, k, None], offset, 0.0)
                linear = [np.where(kept[:, j, k, None] & kept[..., i], c, 0.0) for i, c in enumerate(linear)]
            residual = of_image(offset)
            for i, coefficient in enumerate(linear):
                residual += np.multiply(of_image(coefficient), z[i], out=product)
            squares[j] += np.multiply(residual, residual, out=product)
    return squares


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
