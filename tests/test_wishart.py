"""The constant c_d(nu) against Monte Carlo, quadrature, another closed form, and its two dualities."""

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from scipy import integrate, stats

from coevo import wishart
from coevo.wishart import contraction_constant

# A normal estimate exceeds 6.1 standard errors with probability 1e-9.
SIX = 6.1


@pytest.mark.parametrize("dof", [1, 2, 5, 63, 64, 65, 400, 10**5, 10**7])
def test_one_dimension_is_the_mean_of_a_chi(dof: int) -> None:
    with mpmath.workdps(40):
        exact = mpmath.sqrt(mpmath.mpf(2) / dof) * mpmath.gammaprod([mpmath.mpf(dof + 1) / 2], [mpmath.mpf(dof) / 2])
    # Two roundings: the docstring allows "a few units of double rounding".
    assert contraction_constant(dof, 1) == pytest.approx(float(exact), rel=1e-15, abs=0)
    if dof <= 400:  # scipy takes a difference of log-gammas as large as 1e3, each good to 1e-16 of itself
        assert contraction_constant(dof, 1) == pytest.approx(stats.chi(dof).mean() / np.sqrt(dof), rel=1e-12)


def test_two_dimensions_hold_the_published_digits() -> None:
    values = contraction_constant(np.array([1, 4, 9, 19, 39, 99]), 2)
    digits = [0.62665707, 0.90523349, 0.95808208, 0.98020219, 0.99036966, 0.99620976]
    np.testing.assert_allclose(values, digits, rtol=0, atol=5e-9)  # half a unit of the last digit


def test_two_dimensions_against_quadrature_over_the_eigenvalues() -> None:
    dof = 6

    def density(y: float, x: float) -> float:
        return float((x * y) ** ((dof - 3) / 2) * np.exp(-(x + y) / 2) * (x - y))

    mass, mass_error = integrate.dblquad(density, 0, 120, 0, lambda x: x)  # beyond 120 there is e^-60 of it
    root, root_error = integrate.dblquad(lambda y, x: (x**0.5 + y**0.5) * density(y, x), 0, 120, 0, lambda x: x)
    scale = 1 / (2 * np.sqrt(dof) * mass)
    error = scale * (root_error + root / mass * mass_error)
    assert error < 1e-8
    assert contraction_constant(dof, 2) == pytest.approx(scale * root, rel=0, abs=error)


# 1e-14 is the error that the docstring of `contraction_constant` allows.
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("dof", [2, 3, 4, 9, 39, 500])
def test_pfaffian_agrees_with_the_closed_forms(dof: int, dim: int) -> None:
    assert wishart._pfaffian_constant(dof, dim) == pytest.approx(contraction_constant(dof, dim), rel=1e-14)


@pytest.mark.parametrize(("dof", "dim"), [(3, 3), (7, 3), (4, 4), (9, 4), (8, 5), (7, 6), (2, 5), (1, 3)])
def test_higher_dimensions_against_singular_values(dof: int, dim: int) -> None:
    x = np.random.default_rng(dof + 100 * dim).standard_normal((60_000, dim, dof))
    mean_root = np.linalg.svd(x, compute_uv=False).sum(axis=1) / dim / np.sqrt(dof)
    error = mean_root.std(ddof=1) / np.sqrt(len(x))
    assert abs(mean_root.mean() - contraction_constant(dof, dim)) < SIX * error
    if dof == dim:  # negative control: the leading term 1 - (d + 1) / (8 nu) of the paper is far off
        assert abs(mean_root.mean() - (1 - (dim + 1) / (8 * dof))) > SIX * error


def test_three_dimensions_against_scrambled_sobol_bartlett_factors() -> None:
    dof, dim, estimates = 9, 3, []
    for seed in range(8):
        u = stats.qmc.Sobol(6, rng=np.random.default_rng(seed)).random(4096) + 2.0**-31
        factor = np.zeros((len(u), dim, dim))
        for k in range(dim):
            factor[:, k, k] = np.sqrt(stats.chi2(dof - k).ppf(u[:, k]))
        factor[:, [1, 2, 2], [0, 0, 1]] = stats.norm.ppf(u[:, 3:])
        estimates.append(np.linalg.svd(factor, compute_uv=False).sum(axis=1).mean() / dim / np.sqrt(dof))
    error = np.std(estimates, ddof=1) / np.sqrt(8)
    # Student's t with 7 degrees of freedom: one false alarm in 10^9.
    assert abs(np.mean(estimates) - contraction_constant(dof, dim)) < stats.t.isf(0.5e-9, 7) * error
    assert error < 1e-5  # so the check sees 4e-4; the constant and 1 - (d + 1) / (8 nu) differ by more
    assert abs(np.mean(estimates) - (1 - 4 / 8 / dof)) > stats.t.isf(0.5e-9, 7) * error


def test_singular_case_is_the_dual_one() -> None:
    assert contraction_constant(2, 5) == pytest.approx(np.sqrt(2 / 5) * contraction_constant(5, 2), rel=1e-15)
    assert contraction_constant(1, 2) == pytest.approx(np.sqrt(np.pi / 8), rel=1e-15)
    assert contraction_constant(1, 4) == pytest.approx(stats.chi(4).mean() / 4, rel=1e-14)


def test_many_dimensions_are_those_of_marchenko_and_pastur() -> None:
    """d = 10 and 20 at d / nu = 2 / 3: the limit, its correction of order 1 / d, and a rest of order 1 / d^2."""
    ratio = 2 / 3
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    limit = integrate.quad(
        lambda x: np.sqrt(x) * np.sqrt(max((high - x) * (x - low), 0.0)) / (2 * np.pi * ratio * x), low, high
    )[0]
    # Real matrices (Bai & Silverstein 2004): the mean of f at the two ends less its mean under the arcsine law, halved.
    arcsine = integrate.quad(lambda a: np.sqrt(1 + ratio + 2 * ratio**0.5 * np.cos(a)), 0, np.pi)[0] / np.pi
    correction = (np.sqrt(low) + np.sqrt(high)) / 4 - arcsine / 2
    rest = [contraction_constant(3 * d // 2, d) - limit - correction / d for d in (10, 20)]
    assert abs(rest[1]) < 0.1 * abs(correction / 20)
    assert rest[0] / rest[1] == pytest.approx(4, rel=1 / 20)


def test_many_degrees_of_freedom() -> None:
    """c_3(nu) = 1 - (d + 1) / (8 nu) and a rest of order 1 / nu^2: a quarter of it at twice nu."""
    rest = [contraction_constant(nu, 3) - (1 - 4 / 8 / nu) for nu in (1500, 3000)]
    assert rest[0] / rest[1] == pytest.approx(4, rel=1 / 1500)
    assert abs(rest[1]) < 1 / 3000**2


def test_shapes_and_caching() -> None:
    dof = np.array([[1, 2, 3], [4, 5, 6]])
    for dim in (1, 2, 3):
        values = contraction_constant(dof, dim)
        assert values.shape == dof.shape
        assert values[1, 0] == contraction_constant(4, dim)
        assert isinstance(contraction_constant(4, dim), float)
        assert contraction_constant(np.zeros(0, dtype=int), dim).shape == (0,)


@pytest.mark.parametrize(
    ("dof", "dim", "error", "message"),
    [
        (0, 2, ValueError, "dof must hold integers >= 1, got 0"),
        ([3, -1], 1, ValueError, "dof must hold integers >= 1, got -1"),
        (2.5, 1, TypeError, "dof must hold integers"),
        (float("nan"), 3, TypeError, "dof must hold integers"),
        (3, 0, ValueError, "dim must be an integer >= 1, got 0"),
        (3, 2.0, TypeError, "dim must be an integer >= 1"),
        (3, True, TypeError, "dim must be an integer >= 1"),
    ],
)
def test_bad_input(dof: object, dim: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        contraction_constant(dof, dim)  # type: ignore[arg-type]
