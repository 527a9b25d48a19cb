"""Distances between the models of a network, and pictures of them (Wang et al. 2025, eqs. 2 and 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from coevo import _validation as check
from coevo._validation import Array

__all__ = ["classical_scaling", "distance_matrix", "distance_norm"]


def distance_matrix(x: Any) -> Array:
    """Euclidean distances D_ij = ||x_i - x_j|| between n models (Wang et al. 2025, eqs. 2 and 4).

    Parameters
    ----------
    x : array (..., n, m), one row per model: its mixture weights, or its mean response

    Returns
    -------
    array (..., n, n), symmetric with a zero diagonal

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    x = _rows(x)
    distances: Array = np.linalg.norm(x[..., :, None, :] - x[..., None, :, :], axis=-1)
    return distances


def distance_norm(x: Any) -> Array:
    """Frobenius norm ||D||_F of the distance matrix of n models, over ordered pairs (Wang et al. 2025, eqs. 2 and 4).

    Every pair counts twice, as in the paper. By Lagrange's identity ||D||_F^2 = 2 n sum_i ||x_i - xbar||^2 with the
    mean xbar over the models, and so it is computed.

    Parameters
    ----------
    x : array (..., n, m), one row per model

    Returns
    -------
    array (...), in the units of `x`

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    x = _rows(x)
    centred = x - x.mean(axis=-2, keepdims=True)
    norm: Array = np.sqrt(2 * x.shape[-2]) * np.linalg.norm(centred, axis=(-2, -1))
    return norm


def classical_scaling(distances: Any, dim: int = 2) -> Array:
    """Points in few dimensions whose distances come close to given ones: classical multidimensional scaling.

    It is scikit-learn's, with a fixed sign: along each axis the coordinate of largest absolute value is positive (the
    first of several, up to rounding). Axes are sorted by spread; the centroid is the origin. Axes of zero spread, up
    to rounding, are zero. Needs the extra ``book``.

    Parameters
    ----------
    distances : array (n, n), symmetric, >= 0, zero on the diagonal
    dim : int in [1, n], dimension of the points

    Returns
    -------
    array (n, dim), in the units of `distances`

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    distances = check.real_array("distances", distances, (None, None))
    if distances.shape[0] != distances.shape[1]:
        raise ValueError(f"distances must have shape (n, n), got {distances.shape}")
    size = distances.max()
    if distances.min() < 0:
        raise ValueError(f"distances must be >= 0, got {distances.min():g}")
    if np.abs(distances - distances.T).max() > check.ROUNDING * size:
        raise ValueError(f"distances must be symmetric, got an asymmetry of {np.abs(distances - distances.T).max():g}")
    if np.diag(distances).max() > check.ROUNDING * size:
        raise ValueError(f"distances must be 0 on the diagonal, got {np.diag(distances).max():g}")
    dim = check.integer("dim", dim, minimum=1, maximum=len(distances))
    if size == 0:
        return np.zeros((len(distances), dim))
    from sklearn.manifold import ClassicalMDS  # type: ignore[import-untyped]  # slow to import, and optional

    symmetric = (distances + distances.T) / (2 * size)
    np.fill_diagonal(symmetric, 0.0)
    scaling = ClassicalMDS(n_components=dim, metric="precomputed")
    with np.errstate(invalid="ignore"):  # rounding may leave a zero eigenvalue below zero
        points: Array = np.asarray(scaling.fit_transform(symmetric), dtype=np.float64)
    points[:, scaling.eigenvalues_ <= check.ROUNDING] = 0.0
    magnitude = np.abs(points)
    lead = (magnitude >= (1 - check.ROUNDING) * magnitude.max(axis=0)).argmax(axis=0)
    points *= np.where(points[lead, np.arange(dim)] < 0, -size, size)
    return points


def _rows(x: Any) -> Array:
    rows = check.real_array("x", x)
    if rows.ndim < 2 or rows.shape[-1] == 0 or rows.shape[-2] == 0:
        raise ValueError(f"x must have shape (..., n, m) with n, m >= 1, got {rows.shape}")
    return rows
