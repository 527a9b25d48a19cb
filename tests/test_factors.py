"""Covariance factors: factorisation, inversion and the exact refits at their corners."""

import numpy as np
import pytest
from scipy import stats

from coevo import factors

RANKS = [(d, r) for d in (1, 2, 3, 4) for r in range(d + 1)]


def covariances(dim, rank, count=50):
    rng = np.random.default_rng(10 * dim + rank)
    root = rng.standard_normal((count, dim, rank))
    return root @ np.swapaxes(root, -1, -2)


def assembled(unit, log_scale):
    factor = unit * np.exp(log_scale)[..., None, :]
    return factor @ np.swapaxes(factor, -1, -2)


@pytest.mark.parametrize(("dim", "rank"), RANKS)
def test_factorise_gives_back_the_covariance_and_its_rank(dim, rank):
    cov = covariances(dim, rank)
    unit, log_scale = factors.factorise(cov)
    np.testing.assert_allclose(assembled(unit, log_scale), cov, atol=1e-13 * max(1.0, np.abs(cov).max()))
    np.testing.assert_array_equal(np.isfinite(log_scale).sum(axis=-1), rank)
    np.testing.assert_array_equal(unit, np.tril(unit))
    np.testing.assert_array_equal(np.einsum("...kk->...k", unit), 1.0)


def test_factorise_is_exact_over_many_scales():
    cov = np.diag([1e-300, 1.0, 1e200])
    np.testing.assert_allclose(2 * factors.factorise(cov)[1], np.log([1e-300, 1.0, 1e200]), rtol=1e-14)


def test_invert():
    unit, _ = factors.factorise(covariances(4, 4))
    np.testing.assert_allclose(factors.invert(unit) @ unit, np.broadcast_to(np.eye(4), unit.shape), atol=1e-9)


def test_multiply_is_a_product_with_the_factor():
    unit, log_scale = factors.factorise(covariances(3, 2))
    z = np.random.default_rng(0).standard_normal((50, 3))
    expected = np.einsum("rij,rj->ri", unit * np.exp(log_scale)[:, None, :], z)
    np.testing.assert_allclose(factors.multiply(unit, log_scale, z), expected, rtol=1e-13)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_refit_keeps_what_has_fewer_than_two_images(dim):
    unit, log_scale = factors.factorise(covariances(dim, dim))
    n = np.arange(50) % 2
    new = factors.refit(unit, log_scale, n, np.random.default_rng(0))
    np.testing.assert_array_equal(new.shift, 0.0)
    np.testing.assert_array_equal(new.unit, unit)
    np.testing.assert_array_equal(new.log_scale, log_scale)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 9])
@pytest.mark.parametrize(("dim", "rank"), RANKS)
def test_rank_after_a_refit(dim, rank, n):
    unit, log_scale = factors.factorise(covariances(dim, rank))
    new = factors.refit(unit, log_scale, np.full(50, n), np.random.default_rng(0))
    np.testing.assert_array_equal(np.isfinite(new.log_scale).sum(axis=-1), min(rank, n - 1))
    assert np.isfinite(new.unit).all()
    old = np.linalg.matrix_rank(covariances(dim, rank), hermitian=True)
    both = np.linalg.matrix_rank(covariances(dim, rank) + assembled(new.unit, new.log_scale), tol=1e-9, hermitian=True)
    np.testing.assert_array_equal(both, old)  # the new support lies in the old one


@pytest.mark.parametrize(
    ("n", "m", "rank"),
    [(0, 1, 3), (1, 0, 3), (0, 2, 1), (2, 0, 1), (1, 1, 1), (2, 1, 2), (0, 3, 2), (2, 2, 3), (9, 9, 3)],
)
def test_rank_after_a_pooled_refit(n, m, rank):
    unit, log_scale = factors.factorise(covariances(3, 3))
    counts = np.full(50, n), np.full(50, m)
    new = factors.refit_pooled(
        unit, log_scale, counts[0], np.ones((50, 3)), unit, log_scale, counts[1], np.random.default_rng(0)
    )
    np.testing.assert_array_equal(np.isfinite(new.log_scale).sum(axis=-1), rank)
    if n + m < 2:
        np.testing.assert_array_equal(new.shift, 0.0)
        np.testing.assert_array_equal(new.log_scale, log_scale)


def test_pooled_refit_without_user_images_is_a_refit():
    cov = np.broadcast_to(np.array([[1.0, 0.6], [0.6, 0.8]]), (20_000, 2, 2))
    unit, log_scale = factors.factorise(cov)
    n, none = np.full(20_000, 4), np.zeros(20_000, dtype=int)
    rng = np.random.default_rng(0)
    pooled = factors.refit_pooled(unit, log_scale, n, np.ones((20_000, 2)), unit, log_scale, none, rng)
    plain = factors.refit(unit, log_scale, n, rng)
    for a, b in zip(pooled, plain, strict=True):
        for x, y in zip(a.reshape(20_000, -1).T, b.reshape(20_000, -1).T, strict=True):
            assert stats.ks_2samp(x, y).pvalue > 1e-9


def test_pooled_refit_is_that_of_images_in_one_dimension():
    """n = m = 1: the mean and the variance of two numbers."""
    unit, log_scale = np.ones((40_000, 1, 1)), np.zeros((40_000, 1))
    one = np.ones(40_000, dtype=int)
    new = factors.refit_pooled(unit, log_scale, one, 3 * unit[..., 0], unit, log_scale, one, np.random.default_rng(1))
    # x ~ N(0, 1), y ~ N(3, 1): (x + y) / 2 ~ N(1.5, 1/2), and (x - y)^2 / 2 is non-central chi-squared
    assert stats.kstest(new.shift[:, 0], stats.norm(1.5, np.sqrt(0.5)).cdf).pvalue > 1e-9
    assert stats.kstest(np.exp(2 * new.log_scale[:, 0]), stats.ncx2(1, 4.5).cdf).pvalue > 1e-9


def test_directions_may_part_for_ever():
    """Scales e^-3000 and e^-9000 in one covariance, refitted without overflow or loss."""
    unit = np.broadcast_to(np.array([[1.0, 0.0], [0.4, 1.0]]), (2000, 2, 2))
    log_scale = np.broadcast_to([-3000.0, -9000.0], (2000, 2))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        new = factors.refit(unit, log_scale, np.full(2000, 6), np.random.default_rng(2))
    np.testing.assert_array_equal(new.unit, unit)  # e^-6000 of the first direction is nothing to the second
    assert stats.kstest(5 * np.exp(2 * (new.log_scale[:, 0] + 3000)), stats.chi2(5).cdf).pvalue > 1e-9
    assert stats.kstest(5 * np.exp(2 * (new.log_scale[:, 1] + 9000)), stats.chi2(4).cdf).pvalue > 1e-9


# Either side of the constants


@pytest.mark.parametrize("units", [1.0, 1e-100])
@pytest.mark.parametrize(("eigenvalue", "rank"), [(1e-12, 2), (1e-14, 1)])
def test_an_eigenvalue_of_a_correlation_matrix_below_1e_13_is_zero(eigenvalue, rank, units):
    """Eigenvalues e and 2 - e of [[1, 1 - e], [1 - e, 1]], whatever the units of its coordinates."""
    size = np.array([1.0, units])
    cov = np.array([[1.0, 1.0 - eigenvalue], [1.0 - eigenvalue, 1.0]]) * np.outer(size, size)
    unit, log_scale = factors.factorise(cov)
    assert np.isfinite(log_scale).sum() == rank
    if rank == 2:
        # the matrix holds e itself to 1e-16 / 1e-12, so its determinant e (2 - e) to 1e-4
        assert np.exp(2 * (log_scale[1] - np.log(units))) == pytest.approx(
            eigenvalue * (2 - eigenvalue), rel=3e-4, abs=0
        )
    assert unit[1, 0] == pytest.approx(units, rel=1e-11, abs=0)


@pytest.mark.parametrize(("width", "rank"), [(1e-9, 2), (1e-11, 1)])
def test_a_direction_below_1e_10_of_its_coordinate_is_lost(width, rank):
    """Own images on the line x_1 = x_2, user images on the axis x_2 with standard deviation `width`."""
    runs = 200
    unit = np.broadcast_to(np.array([[1.0, 0.0], [1.0, 1.0]]), (runs, 2, 2))
    line = np.broadcast_to([0.0, -np.inf], (runs, 2))
    across = np.broadcast_to([-np.inf, np.log(width)], (runs, 2))
    counts = np.full(runs, 40)
    new = factors.refit_pooled(unit, line, counts, np.zeros((runs, 2)), unit, across, counts, np.random.default_rng(3))
    np.testing.assert_array_equal(np.isfinite(new.log_scale).sum(axis=-1), rank)


@pytest.mark.parametrize(("n", "m"), [(10**10, 10**10), (10**9, 10**12), (3, 10**12)])
def test_pooled_counts_whose_product_overflows(n, m):
    """E Sigma = ((n-1) Sigma + (m-1) Sigma* + Sigma m/s + Sigma* n/s + n m / s delta delta') / (s - 1)."""
    runs = 4000
    own, user = 1.0, 4.0
    unit, zeros = np.ones((runs, 1, 1)), np.zeros((runs, 1))
    new = factors.refit_pooled(
        unit,
        zeros,
        np.full(runs, n),
        np.full((runs, 1), 10.0),
        unit,
        zeros + np.log(2.0),
        np.full(runs, m),
        np.random.default_rng(1),
    )
    s = n + m
    expected = ((n - 1) * own + (m - 1) * user + own * m / s + user * n / s + n * (m / s) * 100) / (s - 1)
    values = np.exp(2 * new.log_scale[:, 0])
    # 6.1 standard errors of a mean over the runs: one false alarm in 10^9
    assert abs(values.mean() - expected) < 6.1 * values.std() / np.sqrt(runs)
    assert abs(new.shift.mean() - m / s * 10) < 6.1 * new.shift.std() / np.sqrt(runs)
