"""Theorems 3.3 and 5.1 against products of simulated Bartlett factors, scipy integrals, and exact special cases."""

from typing import Any

import mpmath  # type: ignore[import-untyped]  # ships no types
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, special, stats

from coevo.theory import image
from coevo.theory._shared import likely_counts
from coevo.wishart import contraction_constant

Array = NDArray[np.float64]
SIX = 6.1


def bartlett(dof: int, dim: int, runs: int, rng: np.random.Generator) -> Array:
    """Draw A with A A' ~ Wishart_d(nu, I); independent of the package's own sampler."""
    factor = np.zeros((runs, dim, dim))
    for k in range(min(dim, dof)):
        factor[:, k, k] = np.sqrt(rng.chisquare(dof - k, runs))
        factor[:, k + 1 :, k] = rng.standard_normal((runs, dim - k - 1))
    return factor


def diversity(factor: Array) -> Array:
    """Return tr Sigma^{1/2}, the sum of the singular values of a factor of Sigma."""
    return np.asarray(np.linalg.svd(factor, compute_uv=False).sum(axis=-1))


def collapse(cov: Array, dof: int, t: int, runs: int, seed: int) -> Array:
    """Return image diversities after t refits with dof + 1 images each."""
    rng = np.random.default_rng(seed)
    factor = np.broadcast_to(np.linalg.cholesky(cov), (runs, *cov.shape))
    for _ in range(t):
        factor = factor @ bartlett(dof, len(cov), runs, rng) / np.sqrt(dof)
    return diversity(factor)


def mean_and_error(sample: Array) -> tuple[float, float]:
    return float(sample.mean()), float(sample.std(ddof=1) / np.sqrt(len(sample)))


FIRST_STEP = {
    0.1: 0.99830, 0.5: 0.96917, 1: 0.91720, 2: 0.84745, 3: 0.83598,
    5: 0.87930, 10: 0.95152, 20: 0.97921, 50: 0.99225, 100: 0.99621,
}  # fmt: skip


@pytest.mark.parametrize("np_", FIRST_STEP)
def test_first_step_rate_holds_the_published_digits(np_: float) -> None:
    assert image.first_step_rate(100, np_ / 100, 2) == pytest.approx(FIRST_STEP[np_], abs=6e-6)


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_first_step_rate_against_simulation(dim: int) -> None:
    n_images, p, runs = 20, 0.15, 40_000
    rng = np.random.default_rng(dim)
    counts = rng.binomial(n_images, p, runs)
    ratio = np.ones(runs)
    for n in np.unique(counts[counts >= 2]):
        where = np.flatnonzero(counts == n)
        ratio[where] = diversity(bartlett(n - 1, dim, where.size, rng)) / np.sqrt(n - 1) / dim
    mean, error = mean_and_error(ratio)
    assert abs(mean - image.first_step_rate(n_images, p, dim)) < SIX * error
    # Negative control: (5.1) is made for N p >> 1 and fails at N p = 3.
    assert abs(mean - image.approximate_rate(n_images, p, dim)) > SIX * error


def test_rates_for_many_images_and_rare_texts() -> None:
    for dim in (1, 2):
        exact, approximate = image.first_step_rate(2000, 0.2, dim), image.approximate_rate(2000, 0.2, dim)
        assert (1 - exact) / (1 - approximate) == pytest.approx(1, abs=0.01)
    assert 1 - image.mean_rate(2000, 0.2) == pytest.approx(1 / 1600, rel=0.01)
    assert 1 - image.typical_rate(2000, 0.2) == pytest.approx(1 / 800, rel=0.01)
    # Negative control: the constant (d + 1) / 8 of the first step is not that of the long run.
    assert (1 - image.mean_rate(2000, 0.2)) / (1 - image.approximate_rate(2000, 0.2, 2)) == pytest.approx(
        2 / 3, abs=0.01
    )
    # A text that is never drawn twice keeps its images; (5.1) would turn negative.
    for rate in (image.mean_rate(100, 0.0), image.typical_rate(100, 0.0), image.first_step_rate(1, 0.9, 5)):
        assert rate == 1
    assert image.approximate_rate(100, 0.001, 2) == pytest.approx(-2.75)
    # Not monotone: the least first-step rate for d = 2 lies near N p = 2.75.
    grid = np.linspace(1, 6, 101)
    rates = [image.first_step_rate(100, x / 100, 2) for x in grid]
    assert grid[int(np.argmin(rates))] == pytest.approx(2.75, abs=0.06)
    assert min(rates) == pytest.approx(0.8349, abs=6e-5)


def test_the_root_lies_between_its_polynomials() -> None:
    """The scalar inequality behind the error of Theorem 5.1, in the variable r = sqrt(x), where it is a polynomial."""
    r = np.concatenate([np.linspace(0, 3, 3001), np.geomspace(3, 1e3, 200)])
    y = r**2 - 1
    upper = 1 + y / 2 - y**2 / 8 + y**3 / 16
    quartic = (r**2 + 4 * r + 5) / (16 * (1 + r) ** 4)  # (upper - r) / y^4, without the cancellation near r = 1
    np.testing.assert_allclose(upper - r, quartic * y**4, rtol=1e-9, atol=1e-12)
    assert quartic[0] == quartic.max() == 5 / 16


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
@pytest.mark.parametrize("dof", [2, 7])
def test_central_moments_of_the_sample_covariance(dim: int, dof: int) -> None:
    factor = bartlett(dof, dim, 60_000, np.random.default_rng(100 * dim + dof))
    deviation = factor @ factor.mT / dof - np.eye(dim)
    square = deviation @ deviation
    moments = (
        (square, (dim + 1) / dof),
        (square @ deviation, (dim**2 + 3 * dim + 4) / dof**2),
        (square @ square, (2 * dim**2 + 5 * dim + 5) / dof**2 + (dim**3 + 6 * dim**2 + 21 * dim + 20) / dof**3),
    )
    for sample, value in moments:
        mean, error = mean_and_error(sample.trace(axis1=1, axis2=2) / dim)
        assert abs(mean - value) < SIX * error


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 8])
def test_contraction_bounds_hold_and_are_sharp_to_second_order(dim: int) -> None:
    dof = np.array([1, 2, 3, 5, 9, 20, 60, 400])
    lower, upper = image.contraction_bounds(dof, dim)
    exact = contraction_constant(dof, dim)
    assert np.all(lower <= exact * (1 + 1e-14))
    assert np.all(exact <= upper * (1 + 1e-14))
    assert lower[0] == pytest.approx(exact[0], rel=1e-13)  # one singular value only: the lower bound is attained
    first_order = 1 - (dim + 1) / (8 * dof)
    assert np.all(np.abs((upper - first_order) * dof**2)[-2:] <= (dim**2 + 3 * dim + 4) / 16 + 1e-9)
    # The next coefficient, from the proof with two more terms.
    assert (exact - first_order)[-1] * 400**2 == pytest.approx((7 - dim - 2 * dim**2) / 128, rel=0.05)
    # Negative control: the constant of two more dimensions leaves the bounds.
    assert not np.all(contraction_constant(dof, dim + 2) >= lower)
    one = image.contraction_bounds(9, dim)
    assert isinstance(one.lower, float)
    assert (one.lower, one.upper) == (lower[4], upper[4])


def test_contraction_bounds_are_made_of_the_central_moments() -> None:
    # By hand. d = 2: m_2 = 3/nu, m_3 = 14/nu^2, m_4 = 23/nu^2 + 94/nu^3; d = 3: 4, 22, 38 and 164.
    for dim, two, three, four, rest in ((2, 3, 14, 23, 94), (3, 4, 22, 38, 164)):
        for nu in (50, 1000):
            lower, upper = image.contraction_bounds(nu, dim)
            third = 1 - two / nu / 8 + three / nu**2 / 16
            assert upper == pytest.approx(third, abs=1e-15)
            assert lower == pytest.approx(third - 5 / 16 * (four / nu**2 + rest / nu**3), abs=1e-15)
    # Few degrees of freedom: one direction is one-dimensional, though the polynomial exceeds 1.
    assert image.contraction_bounds(1, 2).upper == contraction_constant(1, 1) < 1
    # The product d nu may be beyond the largest count.
    for dim in (1, 2, 10**15):
        lower, upper = image.contraction_bounds([1, 10**15], dim)
        assert (lower <= upper).all()
        assert lower[1] == pytest.approx(max(1 - (dim + 1) / 8e15, dim**-0.5) if dim < 3 else dim**-0.5, rel=1e-13)


@pytest.mark.parametrize(("n_images", "p"), [(5, 0.4), (400, 0.1), (10**5, 0.3), (10**5, 1e-7), (10**5, 1.0)])
def test_counts_left_out_are_unlikely(n_images: int, p: float) -> None:
    n = likely_counts(n_images, p)
    outside = stats.binom.cdf(n[0] - 1, n_images, p) * (n[0] > 2) + stats.binom.sf(n[-1], n_images, p)
    assert outside <= 2 * np.exp(-43)
    assert n[0] >= 2
    assert n[-1] <= n_images
    assert n.size < 40 + 20 * np.sqrt(n_images)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_error_of_the_approximate_rate(dim: int) -> None:
    # The closed form: |rho - (5.1)| is at most of order (N p)^-2 for all N and p, with crude constants.
    for n_images in (2, 5, 30, 300) if dim < 3 else (2, 5, 20):
        for p in (0.003, 0.05, 0.4, 1.0):
            x = n_images * p
            exact, paper = image.first_step_rate(n_images, p, dim), image.approximate_rate(n_images, p, dim)
            lower, upper = image.first_step_rate_bounds(n_images, p, dim)
            assert lower - 1e-14 <= exact <= upper + 1e-14
            third = 0.75 * (9 * dim**2 + 22 * dim + 21) + 18.75 * (dim**3 + 6 * dim**2 + 21 * dim + 20) / x
            assert -(dim + 1 + third) / x**2 <= exact - paper
            assert exact - paper <= ((dim + 1) / 2 + 0.75 * (dim**2 + 3 * dim + 4)) / x**2
    # The next term, for many images: most of it comes from N p in place of n - 1.
    n_images, p = 400, 0.3
    x = n_images * p
    second = -(dim + 1) * (2 - p) / 8 + (7 - dim - 2 * dim**2) / 128
    error = image.first_step_rate(n_images, p, dim) - image.approximate_rate(n_images, p, dim)
    assert error * x**2 == pytest.approx(second, rel=0.08)
    # Negative control: at N p = 1 the approximation is outside the bounds.
    assert image.approximate_rate(100, 0.01, dim) < image.first_step_rate_bounds(100, 0.01, dim).lower


@pytest.mark.parametrize(("dim", "place", "value"), [(1, 2.855, 0.9053), (2, 2.746, 0.8349), (3, 2.836, 0.7767)])
def test_the_fastest_text_gets_about_three_images(dim: int, place: float, value: float) -> None:
    grid = np.linspace(2.4, 3.2, 161)
    rates = [image.first_step_rate(100, x / 100, dim) for x in grid]
    assert grid[int(np.argmin(rates))] == pytest.approx(place, abs=0.006)
    assert min(rates) == pytest.approx(value, abs=6e-5)


def test_mean_rate_digits_and_order_of_the_three_rates() -> None:
    for np_, digits in ((1, 0.9543), (3, 0.9055), (10, 0.9687)):
        p = np_ / 100
        assert image.mean_rate(100, p) == pytest.approx(digits, abs=6e-5)
        assert image.typical_rate(100, p) < image.mean_rate(100, p)
        assert image.first_step_rate(100, p, 2) < image.mean_rate(100, p)
    assert image.first_step_rate(60, 0.3, 1) == image.mean_rate(60, 0.3)


def test_dropped_binomial_weights_are_negligible() -> None:
    n = np.arange(2, 401)
    weight = stats.binom.pmf(n, 400, 0.1)
    full = stats.binom.cdf(1, 400, 0.1) + weight @ (stats.chi(n - 1).mean() / np.sqrt(n - 1))
    assert image.mean_rate(400, 0.1) == pytest.approx(full, abs=1e-12)


def test_typical_rate_against_simulated_logarithms() -> None:
    # In d = 1 the log of the diversity is a sum of independent logs.
    n_images, p, runs = 30, 0.2, 200_000
    rng = np.random.default_rng(4)
    counts = rng.binomial(n_images, p, runs)
    dof = np.maximum(counts - 1, 1)
    logs = np.where(counts >= 2, 0.5 * np.log(rng.chisquare(dof) / dof), 0.0)
    mean, error = mean_and_error(logs)
    assert abs(mean - np.log(image.typical_rate(n_images, p))) < SIX * error


def test_lyapunov_exponents() -> None:
    exponents = image.lyapunov_exponents(19, 2)
    assert exponents[0] - exponents[1] == pytest.approx(0.028548, abs=5e-7)
    for k, value in enumerate(image.lyapunov_exponents(5, 4)):
        mean_log = stats.chi2(5 - k).expect(lambda x: 0.5 * np.log(x / 5))
        assert value == pytest.approx(mean_log, abs=1e-7)
    np.testing.assert_array_equal(np.isneginf(image.lyapunov_exponents(2, 4)), [False, False, True, True])
    # Singular values of one long product, by repeated orthogonalisation.
    dof, steps = 6, 4000
    factors = bartlett(dof, 3, steps, np.random.default_rng(5)) / np.sqrt(dof)
    frame, logs = np.eye(3), np.zeros((steps, 3))
    for s in range(steps):
        frame, upper = np.linalg.qr(factors[s].T @ frame)
        logs[s] = np.log(np.abs(np.diag(upper)))
    for k, value in enumerate(image.lyapunov_exponents(dof, 3)):
        mean, error = mean_and_error(logs[:, k])
        assert abs(mean - value) < SIX * error


@pytest.mark.parametrize("cov", [np.diag([1.0, 0.2, 0.05]), np.eye(2), np.array([[2.0, 1.9], [1.9, 2.0]])])
@pytest.mark.parametrize("t", [1, 6])
def test_image_diversity_bounds_against_simulation(cov: Array, t: int) -> None:
    dof = 6
    mean, error = mean_and_error(collapse(cov, dof, t, 40_000, seed=t))
    lower, upper = image.image_diversity_bounds(cov, dof, t)
    assert lower - SIX * error < mean < upper + SIX * error
    assert contraction_constant(dof, 1) ** t * np.sqrt(np.linalg.eigvalsh(cov).max()) < lower


def test_the_papers_upper_bound_fails_for_anisotropic_covariances() -> None:
    cov, dof = np.diag([1.0, 0.01]), 6
    mean, error = mean_and_error(collapse(cov, dof, 1, 40_000, seed=7))
    claim = contraction_constant(dof, 2) * np.sqrt(cov).trace()
    assert mean > claim + SIX * error
    isotropic, error = mean_and_error(collapse(np.eye(2), dof, 1, 40_000, seed=8))
    assert abs(isotropic - 2 * contraction_constant(dof, 2)) < SIX * error


def test_bounds_with_random_counts() -> None:
    cov, n_images, p, t, runs = np.diag([1.0, 0.3]), 20, 0.2, 4, 20_000
    rng = np.random.default_rng(9)
    factor = np.broadcast_to(np.linalg.cholesky(cov), (runs, 2, 2)).copy()
    for _ in range(t):
        counts = rng.binomial(n_images, p, runs)
        for n in np.unique(counts[counts >= 2]):
            where = np.flatnonzero(counts == n)
            factor[where] = factor[where] @ bartlett(n - 1, 2, where.size, rng) / np.sqrt(n - 1)
    mean, error = mean_and_error(diversity(factor))
    lower, upper = image.image_diversity_bounds_random(cov, n_images, p, t)
    assert lower - SIX * error < mean < upper + SIX * error
    times = np.array([[0, 1], [2, 3]])
    bounds = image.image_diversity_bounds_random(cov, n_images, p, times)
    assert bounds.lower.shape == bounds.upper.shape == (2, 2)
    assert bounds.upper[0, 0] == pytest.approx(1 + 0.3**0.5)
    assert bounds.lower[0, 1] == pytest.approx(image.mean_rate(n_images, p) * special.ellipe(0.7))
    # The exact mean in the plane, from the identity, against the same loop.
    factor = np.broadcast_to(np.eye(2), (runs, 2, 2)).copy()
    for _ in range(t):
        counts = rng.binomial(n_images, p, runs)
        for n in np.unique(counts[counts >= 2]):
            where = np.flatnonzero(counts == n)
            factor[where] = factor[where] @ bartlett(n - 1, 2, where.size, rng) / np.sqrt(n - 1)
    mean, error = mean_and_error(diversity(factor))
    assert abs(mean - image.expected_image_diversity_plane_random(n_images, p, t)) < SIX * error
    one_step = image.expected_image_diversity_plane_random(n_images, p, 1, sigma=3.0)
    assert one_step == pytest.approx(6 * image.first_step_rate(n_images, p, 2), rel=1e-13)
    assert image.expected_image_diversity_plane_random(n_images, 0.0, 50) == pytest.approx(2, rel=1e-14)


@pytest.mark.parametrize("dof", [1, 2, 9, 39, 999])
def test_plane_starts_at_two_sigma_and_makes_the_known_first_step(dof: int) -> None:
    value = image.expected_image_diversity_plane(dof, [0, 1], sigma=0.7)
    np.testing.assert_allclose(value, [1.4, 1.4 * contraction_constant(dof, 2)], rtol=1e-12)


@pytest.mark.parametrize(("dof", "t"), [(9, 2), (9, 5), (4, 5), (1, 3)])
def test_plane_against_simulation(dof: int, t: int) -> None:
    mean, error = mean_and_error(collapse(np.eye(2), dof, t, 60_000, seed=10 * dof + t))
    assert abs(mean - image.expected_image_diversity_plane(dof, t)) < SIX * error
    if dof == 4:  # negative control: the first-step rate compounded is not the mean
        assert abs(mean - 2 * contraction_constant(dof, 2) ** t) > SIX * error


def test_plane_slows_from_the_first_step_rate_to_the_rate_of_the_mean() -> None:
    for dof, rates in ((9, (0.95973, 0.97119, 0.97259)), (19, (0.98056, 0.98462, 0.98637))):
        for (start, end), digits in zip(((0, 5), (20, 60), (60, 120)), rates, strict=True):
            a, b = image.expected_image_diversity_plane(dof, [start, end])
            assert (b / a) ** (1 / (end - start)) == pytest.approx(digits, abs=6e-6)
    late = image.expected_image_diversity_plane(9, 3000)
    assert isinstance(late, float)
    assert late / contraction_constant(9, 1) ** 3000 == pytest.approx(image.late_time_amplitude(np.eye(2)), rel=1e-5)


@pytest.mark.parametrize(("b", "dof", "t"), [(0.5, 4, 3), (0.9, 2, 1)])
def test_ellipse_against_mpmath_legendre_functions(b: float, dof: int, t: int) -> None:
    """Law 2.2, term by term, with functions and a quadrature that are not ours."""
    x, nu = (1 + mpmath.mpf(b) ** 2) / (2 * b), mpmath.mpf(dof)

    def term(r: Any) -> Any:
        conical = mpmath.legenp(mpmath.mpc(-0.5, r), 0, x, type=3).real
        omega = mpmath.sqrt(2 / nu) * abs(mpmath.gamma((nu + mpmath.mpc(0, r)) / 2)) ** 2
        omega /= mpmath.gamma(nu / 2) * mpmath.gamma((nu - 1) / 2)
        return conical * omega**t / ((1 + r**2) * mpmath.cosh(mpmath.pi * r))

    lasting = mpmath.pi / 2 * contraction_constant(dof, 1) ** t * mpmath.legenp(0.5, 0, x, type=3).real
    literal = float(mpmath.sqrt(b) * (lasting + mpmath.quad(term, [0, 1, 3, 9], maxdegree=4)))
    for cov in (np.diag([1, b**2]), np.array([[1 + b**2, 1 - b**2], [1 - b**2, 1 + b**2]]) / 2):
        assert image.expected_image_diversity_ellipse(cov, dof, t) == pytest.approx(literal, rel=1e-11)


@pytest.mark.parametrize("b", [1.0, 1 - 1e-12, 0.3, 1e-4, 1e-9, 1e-20, 0.0])
def test_ellipse_at_the_start_and_with_two_images(b: float) -> None:
    start, stick = image.expected_image_diversity_ellipse(4 * np.diag([1, b**2]), 1, [0, 1])
    assert start == pytest.approx(2 * (1 + b), rel=1e-13)
    assert stick == pytest.approx(2 * np.sqrt(2 / np.pi) * special.ellipe(1 - b**2), rel=1e-13)
    lower, upper = image.image_diversity_bounds(np.diag([1, b**2]), 9, [1, 30])
    exact = image.expected_image_diversity_ellipse(np.diag([1, b**2]), 9, [1, 30])
    assert (lower <= exact * (1 + 1e-13)).all()
    assert (exact <= upper * (1 + 1e-13)).all()


def test_ellipse_special_cases() -> None:
    t = np.array([[0, 3], [50, 700]])
    round_start = image.expected_image_diversity_plane(9, t, sigma=1.5)
    np.testing.assert_allclose(image.expected_image_diversity_ellipse(2.25 * np.eye(2), 9, t), round_start, rtol=1e-13)
    drawn = image.expected_image_diversity_plane_random(30, 0.2, t)
    np.testing.assert_allclose(image.expected_image_diversity_ellipse_random(np.eye(2), 30, 0.2, t), drawn, rtol=1e-13)
    assert image.expected_image_diversity_ellipse(np.zeros((2, 2)), 9, 3) == 0
    fixed = image.expected_image_diversity_ellipse(np.diag([1, 0.2]), 9, 7)
    assert image.expected_image_diversity_ellipse_random(np.diag([1, 0.2]), 10, 1.0, 7) == pytest.approx(fixed)


@pytest.mark.parametrize(("dof", "t"), [(2, 3), (9, 6)])
def test_ellipse_against_simulation(dof: int, t: int) -> None:
    cov = np.array([[1.0, 0.5], [0.5, 0.4]])
    mean, error = mean_and_error(collapse(cov, dof, t, 40_000, seed=30 + t))
    assert abs(mean - image.expected_image_diversity_ellipse(cov, dof, t)) < SIX * error
    # Negative control: a disc of the same diversity is another start.
    sigma = np.sqrt(np.linalg.eigvalsh(cov)).sum() / 2
    assert abs(mean - image.expected_image_diversity_plane(dof, t, sigma)) > SIX * error


def test_bad_ellipses() -> None:
    with pytest.raises(ValueError, match=r"cov must have shape \(..., 2, 2\)"):
        image.expected_image_diversity_ellipse(np.eye(3), 3, 1)
    with pytest.raises(ValueError, match=r"cov must have shape \(2, 2\)"):
        image.expected_image_diversity_ellipse_random(np.ones((2, 2, 2)), 10, 0.5, 1)
    with pytest.raises(ValueError, match="dof must be"):
        image.expected_image_diversity_ellipse(np.eye(2), 0, 1)
    with pytest.raises(ValueError, match="t must hold integers"):
        image.expected_image_diversity_ellipse_random(np.eye(2), 10, 0.5, -1)


def test_the_sandwich_behind_the_late_bounds() -> None:
    """(2 - pi/2) s_2 <= sum s - a_d h(s) <= s_2 + ... + s_d for ordered singular values s."""
    rng = np.random.default_rng(40)
    for dim in (2, 3, 5):
        corners = [np.array([1.0] * k + [0.0] * (dim - k)) for k in range(1, dim + 1)]
        for s in [*corners, *np.sort(rng.random((30, dim)))[:, ::-1], *np.sort(rng.random((30, dim)) ** 8)[:, ::-1]]:
            gap = s.sum() - image.late_time_amplitude(np.diag(s**2))
            assert (2 - np.pi / 2) * s[1] - 1e-12 <= gap <= s[1:].sum() + 1e-12
    # Attained by two equal values.
    assert 2 - image.late_time_amplitude(np.diag([1.0, 1.0, 0.0])) == pytest.approx(2 - np.pi / 2, rel=1e-12)


@pytest.mark.parametrize("sigma", [(1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 0.5, 0.1, 0.1), (1.0, 0.0, 0.0), (1.5,)])
def test_late_bounds_in_every_dimension(sigma: tuple[float, ...]) -> None:
    cov, dof, rng = np.diag(np.square(sigma)), 4, np.random.default_rng(len(sigma))
    factor = np.broadcast_to(np.diag(sigma), (6000, len(sigma), len(sigma)))
    for t in range(1, 13):
        factor = factor @ bartlett(dof, len(sigma), 6000, rng) / np.sqrt(dof)
        if t in (1, 12):
            mean, error = mean_and_error(diversity(factor))
            late, wide = image.late_image_diversity_bounds(cov, dof, t), image.image_diversity_bounds(cov, dof, t)
            assert late.lower - SIX * error <= mean <= late.upper + SIX * error
            assert wide.lower * (1 - 1e-12) <= late.lower <= late.upper * (1 + 1e-12) <= wide.upper * (1 + 1e-11)
    lower, upper = image.late_image_diversity_bounds(cov, dof, np.array([0, 200]))
    assert upper[0] == pytest.approx(sum(sigma))
    np.testing.assert_allclose([lower[1], upper[1]], image.image_diversity_bounds(cov, dof, 200).lower, rtol=1e-10)


def test_late_bounds_in_the_plane_have_the_rate_of_the_exact_excess() -> None:
    t = np.arange(0, 200, 7)
    for b in (1.0, 0.4, 0.01):
        cov = np.diag([b**2, 1])
        exact = image.expected_image_diversity_ellipse(cov, 9, t)
        lower, upper = image.late_image_diversity_bounds(cov, 9, t)
        assert (lower <= exact * (1 + 1e-13)).all()
        assert (upper >= exact * (1 - 1e-13)).all()
        law = image.image_diversity_bounds(cov, 9, t).lower
        np.testing.assert_allclose((exact - law)[:15], (lower - law)[:15] / (2 - np.pi / 2), rtol=1e-8)
        # omega_0 from its definition, a mean of chi with one degree of freedom less.
        fall = np.log(stats.chi(8).mean() / 3)
        assert np.log((upper - law)[20] / (upper - law)[15]) / 35 == pytest.approx(fall, rel=1e-4)
    drawn = image.late_image_diversity_bounds_random(np.eye(3), 10, 1.0, [3, 30])
    np.testing.assert_allclose(drawn, image.late_image_diversity_bounds(np.eye(3), 9, [3, 30]), rtol=1e-13)
    random = image.late_image_diversity_bounds_random(np.eye(2), 40, 0.1, t)
    mean = image.expected_image_diversity_plane_random(40, 0.1, t)
    assert (random.lower <= mean * (1 + 1e-13)).all()
    assert (mean <= random.upper * (1 + 1e-13)).all()
    assert isinstance(image.late_image_diversity_bounds(np.eye(2), 1, 3).lower, float)
    with pytest.raises(ValueError, match="dof must be"):
        image.late_image_diversity_bounds(np.eye(2), 0, 3)


def test_late_time_amplitude() -> None:
    assert image.late_time_amplitude(np.eye(1)) == pytest.approx(1, rel=1e-14)
    assert image.late_time_amplitude(4 * np.eye(2)) == pytest.approx(np.pi, rel=1e-14)
    assert image.late_time_amplitude(np.eye(3)) == pytest.approx(2, rel=1e-14)
    assert image.late_time_amplitude(np.diag([0.0, 9.0, 0.0])) == pytest.approx(3, rel=1e-14)
    assert image.late_time_amplitude(np.zeros((2, 2))) == 0
    # d = 2: an ellipse. d = 3: its integral over the sphere.
    assert image.late_time_amplitude(np.diag([1.0, 0.2])) == pytest.approx(special.ellipe(0.8), rel=1e-13)
    a, b, c = 1.0, 0.3, 1e-4

    def root(angle: float, height: float) -> float:
        flat = 1 - height**2
        return float(np.sqrt(flat * (a * np.cos(angle) ** 2 + b * np.sin(angle) ** 2) + c * height**2))

    mean = integrate.dblquad(root, 0, 1, 0, np.pi / 2)[0] / (np.pi / 2)
    assert image.late_time_amplitude(np.diag([a, b, c])) == pytest.approx(2 * mean, rel=1e-7)


def test_expected_root_determinant() -> None:
    cov = np.array([[1.0, 0.3], [0.3, 0.5]])
    start = np.sqrt(np.linalg.det(cov))
    np.testing.assert_allclose(
        image.expected_root_determinant(cov, 9, [0, 1, 5]), start * (8 / 9) ** np.array([0, 1, 5]), rtol=1e-13
    )
    factors = bartlett(5, 3, 60_000, np.random.default_rng(12)) / np.sqrt(5)
    mean, error = mean_and_error(np.abs(np.linalg.det(factors @ bartlett(5, 3, 60_000, np.random.default_rng(13)))))
    assert abs(mean / 5**1.5 - image.expected_root_determinant(np.eye(3), 5, 2)) < SIX * error / 5**1.5
    assert image.expected_root_determinant(np.eye(3), 2, 1) == 0
    assert image.expected_root_determinant(np.eye(3), 2, 0) == 1


BAD_COV = [
    ([1.0, 2.0], ValueError, "cov must have shape"),
    (np.ones((2, 3)), ValueError, "cov must have shape"),
    (np.ones((1, 2, 2)), ValueError, r"cov must have shape \(d, d\), got \(1, 2, 2\)"),
    (-np.eye(2), ValueError, "cov must be positive semidefinite"),
    ([[1.0, 0.5], [0.0, 1.0]], ValueError, "cov must be symmetric"),
    ([[np.nan]], ValueError, "cov must hold finite numbers"),
    ([["a"]], TypeError, "cov must be an array of real numbers"),
]


@pytest.mark.parametrize(("cov", "error", "message"), BAD_COV)
def test_bad_covariances(cov: object, error: type[Exception], message: str) -> None:
    for call in (
        lambda: image.image_diversity_bounds(cov, 3, 1),  # type: ignore[arg-type]
        lambda: image.image_diversity_bounds_random(cov, 10, 0.5, 1),  # type: ignore[arg-type]
        lambda: image.late_time_amplitude(cov),  # type: ignore[arg-type]
        lambda: image.expected_root_determinant(cov, 3, 1),  # type: ignore[arg-type]
    ):
        with pytest.raises(error, match=message):
            call()


def test_bad_counts_and_times() -> None:
    for rate in (
        image.mean_rate,
        image.typical_rate,
        lambda n, p: image.first_step_rate(n, p, 2),
        lambda n, p: image.first_step_rate_bounds(n, p, 2),
        lambda n, p: image.approximate_rate(n, p, 2),
        lambda n, p: image.expected_image_diversity_plane_random(n, p, 1),
        lambda n, p: image.image_diversity_bounds_random(np.eye(2), n, p, 1),
    ):
        with pytest.raises(ValueError, match="image_samples must be an integer >= 1, got 0"):
            rate(0, 0.5)
        with pytest.raises(TypeError, match="image_samples must be an integer >= 1"):
            rate(10.0, 0.5)  # type: ignore[arg-type]
        for p in (-0.1, 1.1, np.nan):
            with pytest.raises(ValueError, match=r"p must lie in .0, 1\], got"):
                rate(10, p)
        with pytest.raises(TypeError, match="p must be a number"):
            rate(10, "half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"p must lie in \(0, 1\], got 0"):
        image.approximate_rate(10, 0.0, 2)
    for with_dof in (
        lambda dof: image.lyapunov_exponents(dof, 2),
        lambda dof: image.image_diversity_bounds(np.eye(2), dof, 1),
        lambda dof: image.expected_image_diversity_plane(dof, 1),
        lambda dof: image.expected_root_determinant(np.eye(2), dof, 1),
    ):
        with pytest.raises(ValueError, match="dof must be an integer >= 1, got 0"):
            with_dof(0)
        with pytest.raises(TypeError, match="dof must be an integer >= 1"):
            with_dof(2.0)
    with pytest.raises(ValueError, match="dof must hold integers >= 1, got 0"):
        image.contraction_bounds([1, 0], 2)
    with pytest.raises(TypeError, match="dof must hold integers >= 1"):
        image.contraction_bounds(2.0, 2)
    for with_dim in (
        lambda dim: image.lyapunov_exponents(3, dim),
        lambda dim: image.first_step_rate(10, 0.5, dim),
        lambda dim: image.first_step_rate_bounds(10, 0.5, dim),
        lambda dim: image.contraction_bounds(3, dim),
        lambda dim: image.approximate_rate(10, 0.5, dim),
    ):
        with pytest.raises(ValueError, match="dim must be an integer >= 1, got 0"):
            with_dim(0)
    for with_t in (
        lambda t: image.image_diversity_bounds(np.eye(2), 3, t),
        lambda t: image.image_diversity_bounds_random(np.eye(2), 10, 0.5, t),
        lambda t: image.expected_image_diversity_plane(3, t),
        lambda t: image.expected_image_diversity_plane_random(10, 0.5, t),
        lambda t: image.expected_root_determinant(np.eye(2), 3, t),
    ):
        with pytest.raises(ValueError, match="t must hold integers >= 0, got -1"):
            with_t([1, -1])
        with pytest.raises(TypeError, match="t must hold integers >= 0"):
            with_t(0.5)
    for sigma in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=r"sigma must lie in \(0, inf"):
            image.expected_image_diversity_plane(3, 1, sigma)
        with pytest.raises(ValueError, match=r"sigma must lie in \(0, inf"):
            image.expected_image_diversity_plane_random(10, 0.5, 1, sigma)
