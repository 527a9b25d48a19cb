"""Log-densities of Gaussians as linear functions of the features 1, x_k and x_k x_l (l <= k) of a point x.

With the precision P = Sigma^{-1} the logarithm of p N(x; mu, Sigma) is, up to a constant,

    log p - log det(Sigma)/2 - mu^T P mu / 2  +  (P mu)^T x  -  x^T P x / 2.

What the arrays run over fastest stands on their last axis, so that each operation is one long loop. `_compiled` holds
the same four functions for numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coevo._validation import Array

__all__ = ["Prepared", "collect", "draw", "log_densities", "prepare"]

Counts = NDArray[np.int64]

#: Largest tr(Sigma_j^{-1}) |x|^2 for which features are used, where x is an image that may well be of text j. Its
#: log-density there is a sum of terms whose sizes add up to at most twice this, so rounding moves it by about 1e-16
#: times it and the number of terms: some 1e-10 at d = 2.
NEAR = 1e5

#: Such images are at most so many standard deviations from the mean. Farther away the density itself vanishes faster
#: than its error grows.
REACH = 6.0

#: The texts that make images have a log p - log det(Sigma)/2 at most this far below the largest of their run: beside
#: it the density of no image is lost.
LOW = 100.0

#: Densities are multiplied by e^LIFT: those of far texts then vanish only once they are divided by their sum.
LIFT = 600.0

#: e^{-NOTHING} is zero beside 1, even as the smallest number above zero.
NOTHING = 746.0


class Prepared(NamedTuple):
    """What features need to know of R runs, and in which of them they are exact up to rounding.

    Attributes
    ----------
    near : bool array (R,), where features are exact
    mean : array (R, K, d), means from the centre of their run, which is the origin of the images
    factor : array (R, K, d, d), factors L of the covariances
    height : array (R, K), log p - log det(Sigma)/2, less the largest finite one of the run; -inf for a text that does
        not count, not finite for one that is singular
    coefficients : array (F, R', K) of the F features in the R' runs where `near` is true
    """

    near: NDArray[np.bool_]
    mean: Array
    factor: Array
    height: Array
    coefficients: Array


def prepare(p: Array, mean: Array, unit: Array, log_scale: Array, counts: Counts) -> Prepared:
    """Prepare runs for their features.

    Texts of mass zero do not count, nor do those with singular image models where none of these makes an image: only
    they make images on a support. What does not count gets the density e^{-NOTHING}.

    Parameters
    ----------
    p : array (R, K), masses of the texts
    mean : array (R, K, d)
    unit, log_scale : arrays (R, K, d, d) and (R, K, d), factors of the covariances (see `coevo.factors`)
    counts : int array (R, K), images that each text makes

    Returns
    -------
    Prepared
    """
    dim = mean.shape[-1]
    mean = mean - np.einsum("rk,rkd->rd", p, mean)[:, None]
    active = _active(p, log_scale, counts)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # mass zero, singular texts, tiny scales
        precision = np.exp(-log_scale)  # of each direction: one over its standard deviation
        factor = unit / precision[..., None, :]
        height = np.log(p) - np.einsum("rkd->rk", log_scale)
        size = np.sqrt(np.einsum("rkd,rkd->rk", mean, mean))
        size += REACH * np.sqrt(np.einsum("rkij,rkij->rk", factor, factor))
        # Scales bound the trace of the precision from below: they say cheaply where features will not do.
        fine = size * precision.max(axis=-1) <= np.sqrt(NEAR)
        if active is None:
            height -= height.max(axis=1, keepdims=True)
            near = fine.all(axis=1)
        else:
            height[~active] = -np.inf
            height -= np.where(height < np.inf, height, -np.inf).max(axis=1, keepdims=True)
            near = (fine | ~active).all(axis=1)
            near &= np.count_nonzero(active, axis=1) > 1  # of a single text every posterior is 1, exactly
        if height.min() < -LOW:
            near &= np.where(counts > 0, height, 0.0).min(axis=1) >= -LOW
        rows = slice(None) if near.all() else near
        coefficients = _coefficients(
            height[rows].ravel() + LIFT,
            mean[rows].reshape(-1, dim),
            unit[rows].reshape(-1, dim, dim),
            precision[rows].reshape(-1, dim),
        ).reshape(1 + dim + dim * (dim + 1) // 2, -1, p.shape[1])
    if active is not None:
        idle = ~active[rows]
        coefficients[:, idle] = 0.0
        coefficients[0, idle] = -NOTHING
    trace = coefficients[1 + dim].copy()
    for k in range(1, dim):
        trace += coefficients[dim + (k + 1) * (k + 2) // 2]
    exact = (trace * size[rows] ** 2 >= -0.5 * NEAR).all(axis=1)
    if exact.all():
        return Prepared(near, mean, factor, height, coefficients)
    near[near] = exact
    return Prepared(near, mean, factor, height, coefficients[:, exact])


def _active(p: Array, log_scale: Array, counts: Counts) -> NDArray[np.bool_] | None:
    """Which texts (R, K) count; None if all do."""
    if p.min() > 0 and log_scale.min() > -np.inf:
        return None
    singular = log_scale.min(axis=-1) == -np.inf
    on_support = (singular & (counts > 0)).any(axis=1, keepdims=True)
    active: NDArray[np.bool_] = (p > 0) & (~singular | on_support)
    return active


def _coefficients(height: Array, mean: Array, unit: Array, precision: Array) -> Array:
    """Return the coefficients (F, n) of the features, for arrays (n,), (n, d), (n, d, d) and (n, d)."""
    n, dim = mean.shape
    rows = np.ascontiguousarray(unit.reshape(n, dim * dim).T).reshape(dim, dim, n)
    mu = np.ascontiguousarray(mean.T)
    scale = np.ascontiguousarray(precision.T)
    product = np.empty((dim, n))
    result = np.empty((1 + dim + dim * (dim + 1) // 2, n))
    constant, linear, square = result[0], result[1 : 1 + dim], result[1 + dim :]
    first = [k * (k + 1) // 2 for k in range(dim)]
    constant[:] = 0.0
    inverse = np.empty((dim, dim, n))  # U^{-1} by forward substitution, then its rows scaled: L^{-1}
    for m in range(dim):
        row = inverse[m, : m + 1]
        row[m] = 1.0
        np.negative(rows[m, :m], out=row[:m])
        for i in range(1, m):
            row[:i] -= np.multiply(inverse[i, :i], rows[m, i], out=product[:i])
    for m in range(dim):
        row = inverse[m, : m + 1]
        row *= scale[m]
        residual = (row * mu[: m + 1]).sum(axis=0)
        constant -= residual * residual
        # A row of L^{-1} adds its outer product to P; the last row of that is the first to come to this place.
        linear[m] = 0.0
        linear[: m + 1] += np.multiply(row, residual, out=product[: m + 1])
        for k in range(m):
            square[first[k] : first[k] + k + 1] -= np.multiply(row[: k + 1], row[k], out=product[: k + 1])
        np.multiply(row, -row[m], out=square[first[m] : first[m] + m + 1])
    for k in range(dim):
        square[first[k] + k] *= 0.5
    constant *= 0.5
    constant += height
    return result


def draw(z: Array, counts: Counts, mean: Array, factor: Array) -> None:
    """Turn normal numbers `z` (d, R, M) into images mu_i + L_i z, in place; text i of a run makes `counts` (R, K)."""
    dim, *shape = z.shape
    number = counts.ravel()
    product = np.empty(shape)

    def of_image(per_text: Array) -> Array:
        return np.repeat(per_text.ravel(), number).reshape(shape)

    for k in reversed(range(dim)):  # coordinate k needs the numbers up to k, and nothing after it does
        x = z[k]
        x *= of_image(factor[:, :, k, k])
        for i in range(k):
            x += np.multiply(of_image(factor[:, :, k, i]), z[i], out=product)
        x += of_image(mean[:, :, k])


def log_densities(result: Array, coefficients: Array, x: Array) -> None:
    """Write the log-densities of images `x` (d, R, M) at all texts into `result` (K, R, M)."""
    dim, runs, number = x.shape
    features = np.empty((len(coefficients), runs, number))
    features[0] = 1.0
    features[1 : 1 + dim] = x
    first = 1 + dim
    for k in range(dim):
        np.multiply(features[1 : 2 + k], features[1 + k], out=features[first : first + k + 1])
        first += k + 1
    np.matmul(coefficients.transpose(1, 2, 0), features.swapaxes(0, 1), out=result.swapaxes(0, 1))


def collect(posterior: Array, density: Array) -> None:
    """Add the posteriors of images, `density` (K, R, M) over its sum over the texts, to `posterior` (R, K)."""
    weight = 1 / density.sum(axis=0)
    posterior += (density.swapaxes(0, 1) @ weight[..., None])[..., 0]
