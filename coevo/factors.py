"""Covariances that shrink for ever: triangular factors with one log-scale per direction, and exact refits.

A covariance is kept as Sigma = U diag(e^{2s}) U^T with U unit lower triangular (`unit`) and s one log-scale per
direction (`log_scale`). Under repeated refits each direction collapses at its own exponential rate, so the
condition number of Sigma grows without limit; in this form it is only the numbers s that drift apart. A lost
direction (a singular covariance) has s = -inf, and its column of U carries no meaning.

A refit needs no images. Given n draws from N(mu, Sigma) with factor L, the sample mean is mu + L z / sqrt(n) and the
unbiased sample covariance is L A A^T L^T / (n - 1), with z standard normal and A an independent Bartlett factor
of a Wishart matrix with n - 1 degrees of freedom. The cost does not depend on n, and nothing is approximated.
Only given images (`refit_with_images`) are taken one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coevo._validation import Array

__all__ = ["Refit", "factorise", "invert", "multiply", "refit", "refit_pooled", "refit_with_images"]

Counts = NDArray[np.int64]

#: An eigenvalue of a correlation matrix below this is a rounded zero: the covariance is singular.
ZERO_EIGENVALUE = 1e-13

#: A standard deviation below this fraction of the largest in its coordinate is rounding: the direction is lost.
LOST = 1e-10


class Refit(NamedTuple):
    """Result of a refit: `shift` of the mean (..., d), new `unit` (..., d, d) and `log_scale` (..., d)."""

    shift: Array
    unit: Array
    log_scale: Array


def factorise(cov: Array) -> tuple[Array, Array]:
    """Return (unit, log_scale) of positive semidefinite matrices `cov` of shape (..., d, d).

    Elimination on `cov` itself would mistake rounding for a small pivot; the eigenvalues of the correlation matrix
    tell the rank whatever the units of the coordinates.
    """
    size = np.sqrt(np.einsum("...kk->...k", cov))
    size = np.where(size > 0, size, 1.0)
    eigenvalues, eigenvectors = np.linalg.eigh(cov / size[..., :, None] / size[..., None, :])
    root = np.sqrt(np.where(eigenvalues > ZERO_EIGENVALUE, eigenvalues, 0.0))
    return _triangularise(size[..., :, None] * eigenvectors * root[..., None, :])


def multiply(unit: Array, log_scale: Array, z: Array) -> Array:
    """Return L z for L = U diag(e^s): arrays (..., d, d), (..., d), (..., d) give (..., d)."""
    product: Array = (unit * (np.exp(log_scale) * z)[..., None, :]).sum(axis=-1)
    return product


def invert(unit: Array) -> Array:
    """Return the inverses of unit lower triangular matrices (..., d, d), by forward substitution."""
    inverse = np.zeros_like(unit)
    for k in range(unit.shape[-1]):
        inverse[..., k, k] = 1.0
        for i in range(k):
            inverse[..., k, :k] -= unit[..., k, i, None] * inverse[..., i, :k]
    return inverse


def _bartlett(kept: NDArray[np.bool_], dof: Counts, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw Bartlett factors A on the kept directions: log-diagonals (..., d) and A diag(A)^{-1} (..., d, d).

    The j-th kept direction (from 0) has A_kk = chi with dof - j degrees of freedom; without any left it is
    lost and its log-diagonal is -inf.
    """
    dim = kept.shape[-1]
    left = dof[..., None] - (np.cumsum(kept, axis=-1) - 1)
    drawn = kept & (left >= 1)
    chi = np.sqrt(2.0 * rng.standard_gamma(0.5 * np.where(drawn, left, 1)))
    log_diagonal = np.where(drawn, np.log(chi), -np.inf)
    below = rng.standard_normal((*kept.shape[:-1], dim * (dim - 1) // 2))
    inverse = np.where(drawn, 1 / chi, 0.0)
    factor = np.zeros((*kept.shape, dim))
    for k in range(dim):
        first = k * (k - 1) // 2
        factor[..., k, :k] = below[..., first : first + k] * inverse[..., :k] * kept[..., k, None]
        factor[..., k, k] = 1.0
    return log_diagonal, factor


def _conjugate(factor: Array, log_scale: Array) -> Array:
    """Return diag(e^s) F diag(e^{-s}) for unit lower triangular F: entries e^{s_k - s_l} F_kl, 0 where s is -inf."""
    finite = np.isfinite(log_scale)
    s = np.where(finite, log_scale, 0.0)
    scaled = factor.copy()
    for k in range(1, factor.shape[-1]):
        # An entry at a lost direction is zero, and could overflow for nothing.
        difference = np.where(finite[..., :k] & finite[..., k, None], s[..., k, None] - s[..., :k], 0.0)
        scaled[..., k, :k] *= np.exp(difference)
    return scaled


def refit(unit: Array, log_scale: Array, n: Counts, rng: np.random.Generator) -> Refit:
    """Refit Gaussians to n of their own images each: the image update (Gao & Li 2025, eqs. 2.5-2.7).

    Parameters
    ----------
    unit, log_scale : arrays (..., d, d) and (..., d)
    n : int array (...), images of each; with n < 2 a Gaussian stays as it was
    rng : numpy Generator; the number of draws does not depend on n

    Returns
    -------
    Refit
    """
    dof = np.maximum(n - 1, 1)
    z = rng.standard_normal(log_scale.shape)
    log_diagonal, factor = _bartlett(np.isfinite(log_scale), dof, rng)
    again = (n >= 2)[..., None]
    shift = np.where(again, multiply(unit, log_scale, z) / np.sqrt(np.maximum(n, 1))[..., None], 0.0)
    # -inf + finite stays -inf: a lost direction stays lost.
    new_scale = np.where(again, log_scale + log_diagonal - 0.5 * np.log(dof)[..., None], log_scale)
    if log_scale.shape[-1] == 1:
        return Refit(shift, unit, new_scale)
    new_unit = np.where(again[..., None], unit @ _conjugate(factor, log_scale), unit)
    return Refit(shift, new_unit, new_scale)


def refit_pooled(
    unit: Array,
    log_scale: Array,
    n: Counts,
    user_offset: Array,
    user_unit: Array,
    user_log_scale: Array,
    m: Counts,
    rng: np.random.Generator,
) -> Refit:
    """Refit Gaussians to n of their own images pooled with m user images (Gao & Li 2025, eqs. 6.8-6.10).

    The pooled scatter (n-1) S_x + (m-1) S_y + (nm/s)(xbar - ybar)(xbar - ybar)^T is a sum of outer products; its
    factor comes from the columns by modified Gram-Schmidt, so no covariance is ever squared. Standard deviations below
    `LOST` times the largest in their coordinate count as lost, and so limit what a singular user law can show.

    Parameters
    ----------
    unit, log_scale : arrays (..., d, d) and (..., d), the image models
    n : int array (...), own images of each
    user_offset : array (..., d), user mean minus image mean
    user_unit, user_log_scale : arrays (..., d, d) and (..., d), factors of the user covariances
    m : int array (...), user images of each; with n + m < 2 a Gaussian stays as it was
    rng : numpy Generator

    Returns
    -------
    Refit
    """
    own = _sample(unit, log_scale, n, rng)
    user_mean, user_columns = _sample(user_unit, user_log_scale, m, rng)
    return _pool(unit, log_scale, n, own, m, (user_offset + user_mean, user_columns))


def refit_with_images(
    mean: Array, unit: Array, log_scale: Array, n: Counts, images: Array, m: Counts, rng: np.random.Generator
) -> Refit:
    """Refit Gaussians to n of their own images pooled with given user images (Gao & Li 2025, eqs. 6.8-6.10).

    The scatter of the m images is a sum of m - 1 outer products: the j-th of the distance of image j + 1 from the mean
    of the first j, times j / (j + 1). Equal images have distance zero, exactly.

    Parameters
    ----------
    mean, unit, log_scale : arrays (..., d), (..., d, d) and (..., d), the image models
    n : int array (...), own images of each
    images : array (..., c, d), user images, of which each model takes the first m; c >= 1
    m : int array (...), at most c; with n + m < 2 a Gaussian stays as it was
    rng : numpy Generator

    Returns
    -------
    Refit
    """
    own = _sample(unit, log_scale, n, rng)
    user_mean = images[..., 0, :]
    steps = [np.zeros_like(user_mean)]
    for j in range(1, images.shape[-2]):
        step = np.where((j < m)[..., None], images[..., j, :] - user_mean, 0.0)
        user_mean = user_mean + step / (j + 1)
        steps.append(np.sqrt(j / (j + 1)) * step)
    return _pool(unit, log_scale, n, own, m, (user_mean - mean, np.stack(steps, axis=-1)))


def _sample(unit: Array, log_scale: Array, n: Counts, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the mean of n images drawn from N(0, L L^T), of one if n = 0, and columns of their scatter."""
    mean = multiply(unit, log_scale, rng.standard_normal(log_scale.shape))
    mean /= np.sqrt(np.maximum(n, 1))[..., None]
    return mean, _scatter_columns(unit, log_scale, n, rng)


def _pool(
    unit: Array, log_scale: Array, n: Counts, own: tuple[Array, Array], m: Counts, user: tuple[Array, Array]
) -> Refit:
    """Refit to the pooled samples `own` and `user`: a mean each, from the image mean, and columns of the scatter."""
    own_mean, own_columns = own
    user_mean, user_columns = user
    total = n + m
    weight = np.sqrt(n / np.maximum(total, 1)) * np.sqrt(m)  # the product n m could overflow
    between = weight[..., None] * (own_mean - user_mean)
    columns = np.concatenate([own_columns, user_columns, between[..., :, None]], axis=-1)
    columns /= np.sqrt(np.maximum(total - 1, 1))[..., None, None]
    pooled_unit, pooled_scale = _triangularise(columns)
    shift = (n[..., None] * own_mean + m[..., None] * user_mean) / np.maximum(total, 1)[..., None]
    again = (total >= 2)[..., None]
    return Refit(
        np.where(again, shift, 0.0),
        np.where(again[..., None], pooled_unit, unit),
        np.where(again, pooled_scale, log_scale),
    )


def _scatter_columns(unit: Array, log_scale: Array, n: Counts, rng: np.random.Generator) -> Array:
    """Return L A (..., d, d), whose outer product is the scatter (n - 1) S of n images; zero for n < 2."""
    log_diagonal, factor = _bartlett(np.isfinite(log_scale), np.maximum(n - 1, 1), rng)
    bartlett = factor * np.exp(log_diagonal)[..., None, :]
    columns = (unit * np.exp(log_scale)[..., None, :]) @ bartlett
    scatter: Array = np.where((n >= 2)[..., None, None], columns, 0.0)
    return scatter


def _triangularise(columns: Array) -> tuple[Array, Array]:
    """Return (unit, log_scale) of C C^T for `columns` C (..., d, c), by modified Gram-Schmidt on the rows of C.

    The rank is at most the number of columns that are not zero; what the last rows keep beyond it is rounding.
    """
    dim = columns.shape[-2]
    top = np.abs(columns).max(axis=-1)  # rows of length about one: squares of small numbers would underflow
    unit_of_row = np.where(top > 0, top, 1.0)
    rows = columns / unit_of_row[..., None]
    size = np.linalg.norm(rows, axis=-1)
    left = np.count_nonzero((rows != 0).any(axis=-2), axis=-1)
    unit = np.zeros((*rows.shape[:-1], dim))
    unit[..., np.arange(dim), np.arange(dim)] = 1.0
    log_scale = np.full(rows.shape[:-1], -np.inf)
    for k in range(dim):
        length = np.linalg.norm(rows[..., k, :], axis=-1)
        kept = (length > LOST * size[..., k]) & (left > 0)
        left = left - kept
        length = np.where(kept, length, 1.0)
        log_scale[..., k] = np.where(kept, np.log(length) + np.log(unit_of_row[..., k]), -np.inf)
        direction = np.where(kept[..., None], rows[..., k, :] / length[..., None], 0.0)
        product = (rows[..., k + 1 :, :] * direction[..., None, :]).sum(axis=-1)
        rows[..., k + 1 :, :] -= product[..., None] * direction[..., None, :]
        stretch = unit_of_row[..., k + 1 :] / unit_of_row[..., k, None]
        unit[..., k + 1 :, k] = product / length[..., None] * stretch
    return unit, log_scale
