"""The functions of `_features` compiled by numba: one text, or one image, after the other."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from coevo._validation import Array
from coevo.simulation import _features
from coevo.simulation._features import LIFT, LOW, NEAR, NOTHING, REACH, Counts, Prepared

__all__ = ["collect", "draw", "log_densities", "prepare"]


def prepare(p: Array, mean: Array, unit: Array, log_scale: Array, counts: Counts) -> Prepared:
    """See `_features.prepare`."""
    prepared = Prepared(*_prepare(p, mean, unit, log_scale, counts))
    near = prepared.near
    return prepared if near.all() else prepared._replace(coefficients=prepared.coefficients[:, near])


@njit(cache=True, error_model="numpy")
def _prepare(
    p: Array, mean: Array, unit: Array, log_scale: Array, counts: Counts
) -> tuple[NDArray[np.bool_], Array, Array, Array, Array]:
    """Return what `Prepared` holds, with coefficients of all runs: those of a run that is not near have no meaning."""
    runs, n_texts, dim = mean.shape
    near = np.empty(runs, dtype=np.bool_)
    shifted = np.empty_like(mean)
    factor = np.empty_like(unit)
    height = np.empty_like(p)
    coefficients = np.empty((1 + dim + dim * (dim + 1) // 2, runs, n_texts))
    size, linear = np.empty(n_texts), np.empty(dim)
    inverse, precision = np.empty((dim, dim)), np.empty((dim, dim))
    for r in range(runs):
        for k in range(dim):
            centre = 0.0
            for j in range(n_texts):
                centre += p[r, j] * mean[r, j, k]
            for j in range(n_texts):
                shifted[r, j, k] = mean[r, j, k] - centre
        on_support = False  # whether a singular text makes images
        for j in range(n_texts):
            for k in range(dim):
                on_support |= counts[r, j] > 0 and log_scale[r, j, k] == -np.inf
        near[r], top, drawn, active = True, -np.inf, np.inf, 0
        for j in range(n_texts):
            place, spread, height[r, j], smallest, singular = 0.0, 0.0, np.log(p[r, j]), np.inf, False
            for k in range(dim):
                height[r, j] -= log_scale[r, j, k]
                place += shifted[r, j, k] ** 2
                scale = np.exp(log_scale[r, j, k])
                smallest = min(smallest, scale)
                singular |= log_scale[r, j, k] == -np.inf
                for i in range(dim):
                    factor[r, j, i, k] = unit[r, j, i, k] * scale
                    spread += factor[r, j, i, k] ** 2
            if p[r, j] == 0 or (singular and not on_support):
                height[r, j] = -np.inf
                continue
            active += 1
            size[j] = np.sqrt(place) + REACH * np.sqrt(spread)
            near[r] &= size[j] <= np.sqrt(NEAR) * smallest
            if not singular:
                top = max(top, height[r, j])
            if counts[r, j] > 0:
                drawn = min(drawn, height[r, j])
        for j in range(n_texts):
            height[r, j] -= top
        near[r] &= active > 1 and drawn - top >= -LOW
        if not near[r]:
            continue
        for j in range(n_texts):
            if height[r, j] == -np.inf:
                coefficients[:, r, j] = 0.0
                coefficients[0, r, j] = -NOTHING
                continue
            precision[:] = 0.0
            linear[:] = 0.0
            constant = trace = 0.0
            for m in range(dim):
                inverse[m, m] = 1.0
                for i in range(m):
                    inverse[m, i] = -unit[r, j, m, i]
                for i in range(1, m):
                    for e in range(i):
                        inverse[m, e] -= unit[r, j, m, i] * inverse[i, e]
            for m in range(dim):
                scale = 1.0 / factor[r, j, m, m]
                residual = 0.0
                for i in range(m + 1):
                    inverse[m, i] *= scale
                    residual += inverse[m, i] * shifted[r, j, i]
                constant += residual * residual
                for k in range(m + 1):
                    linear[k] += inverse[m, k] * residual
                    trace += inverse[m, k] ** 2
                    for i in range(k + 1):
                        precision[k, i] += inverse[m, k] * inverse[m, i]
            coefficients[0, r, j] = LIFT + height[r, j] - 0.5 * constant
            first = 1 + dim
            for k in range(dim):
                coefficients[1 + k, r, j] = linear[k]
                for i in range(k):
                    coefficients[first + i, r, j] = -precision[k, i]
                coefficients[first + k, r, j] = -0.5 * precision[k, k]
                first += k + 1
            near[r] &= trace * size[j] ** 2 <= NEAR
    return near, shifted, factor, height, coefficients


@njit(cache=True)
def draw(z: Array, counts: Counts, mean: Array, factor: Array) -> None:
    """See `_features.draw`."""
    dim, runs, _ = z.shape
    for r in range(runs):
        start = 0
        for j in range(counts.shape[1]):
            end = start + counts[r, j]
            for k in range(dim - 1, -1, -1):
                if k:  # coordinate k needs the numbers up to k, and nothing after it does
                    for m in range(start, end):
                        z[k, r, m] = z[k, r, m] * factor[r, j, k, k] + z[0, r, m] * factor[r, j, k, 0] + mean[r, j, k]
                else:
                    for m in range(start, end):
                        z[0, r, m] = z[0, r, m] * factor[r, j, 0, 0] + mean[r, j, 0]
                for i in range(1, k):
                    for m in range(start, end):
                        z[k, r, m] += factor[r, j, k, i] * z[i, r, m]
            start = end


def log_densities(result: Array, coefficients: Array, x: Array) -> None:
    """See `_features.log_densities`; in the plane, where the papers' images lie, no feature is even stored."""
    if len(x) == 2:
        _log_densities_in_the_plane(result, coefficients, x)
    else:
        _features.log_densities(result, coefficients, x)


@njit(cache=True)
def _log_densities_in_the_plane(result: Array, coefficients: Array, x: Array) -> None:
    n_texts, runs, number = result.shape
    for r in range(runs):
        for j in range(n_texts):
            constant, a, b, aa, ab, bb = coefficients[:, r, j]
            for m in range(number):
                u, v = x[0, r, m], x[1, r, m]
                result[j, r, m] = constant + u * (a + aa * u + ab * v) + v * (b + bb * v)


@njit(cache=True, fastmath={"reassoc"})
def collect(posterior: Array, density: Array) -> None:
    """See `_features.collect`; the sums may be taken in any order."""
    n_texts, runs, number = density.shape
    weight = np.empty(number)
    for r in range(runs):
        weight[:] = 0.0
        for j in range(n_texts):
            for m in range(number):
                weight[m] += density[j, r, m]
        for m in range(number):
            weight[m] = 1.0 / weight[m]
        for j in range(n_texts):
            total = 0.0
            for m in range(number):
                total += density[j, r, m] * weight[m]
            posterior[r, j] += total
