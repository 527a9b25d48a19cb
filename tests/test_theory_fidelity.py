"""Theorem 3.4 and the law of the drift against simulated refits, scipy's F and t laws, and the published digits."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, interpolate, special, stats

from coevo.theory import fidelity, image

Array = NDArray[np.float64]
SIX = 6.1


def drift(counts: NDArray[np.int64], cov: Array, seed: int, bias: float = 0.0) -> Array:
    """Return mu_t - mu_0, shape (runs, d), for counts of images, shape (t, runs), by literal Gaussian refits.

    The covariance is divided by n - 1 + bias.
    """
    rng = np.random.default_rng(seed)
    runs, dim = counts.shape[1], len(cov)
    mean, factor = np.zeros((runs, dim)), np.broadcast_to(np.linalg.cholesky(cov), (runs, dim, dim)).copy()
    for row in counts:
        for n in np.unique(row[row >= 2]):
            where = np.flatnonzero(row == n)
            images = np.einsum("rab,rnb->rna", factor[where], rng.standard_normal((where.size, n, dim)))
            centre = images.mean(axis=1)
            mean[where] += centre
            # Any factor of the sample covariance will do: the residuals, brought to triangular form.
            residual = (images - centre[:, None]) / np.sqrt(n - 1 + bias)
            upper = np.asarray(np.linalg.qr(residual, mode="r"))
            factor[where] = 0.0
            factor[where, :, : upper.shape[1]] = np.swapaxes(upper, 1, 2)
    return mean


def perpetuity(n: int, steps: int, runs: int, seed: int, bias: float = 0.0) -> Array:
    """Return draws of V = (1/n) (1 + Y_1 + Y_1 Y_2 + ...), Y ~ chi2_{n-1} / (n - 1 + bias), summed by brute force."""
    rng = np.random.default_rng(seed)
    scale, total = np.full(runs, 1 / n), np.zeros(runs)
    for _ in range(steps):
        total += scale
        scale *= rng.chisquare(n - 1, runs) / (n - 1 + bias)
    return total


def fit(draws: Array, cdf: Callable[[Array], Array]) -> float:
    """Return the Kolmogorov-Smirnov p-value, with the cdf interpolated between 500 of the draws (off by < 1e-3)."""
    at = np.quantile(draws, np.linspace(0, 1, 500))
    table = interpolate.PchipInterpolator(np.log(at), cdf(at))
    middle = np.sqrt(at[:-1] * at[1:])[::20]
    np.testing.assert_allclose(table(np.log(middle)), cdf(middle), atol=1e-3)
    return float(stats.kstest(np.asarray(table(np.log(draws))), "uniform").pvalue)


def test_bound_holds_in_simulation() -> None:
    cov, n_images, p, runs, t = np.diag([1.0, 0.3]), 20, 0.25, 1500, 60
    counts = np.random.default_rng(1).binomial(n_images, p, (t, runs))
    length = np.linalg.norm(drift(counts, cov, seed=2), axis=1)
    start = np.sqrt(cov).trace()
    simple = fidelity.fidelity_bound(n_images, p, start)
    exact = fidelity.fidelity_bound_exact_counts(n_images, p, start)
    assert length.mean() + SIX * length.std() / np.sqrt(runs) < exact < simple
    # Negative control: without the factor 1 / (1 - rho), the bound of a single step, it fails.
    one_step = fidelity.fidelity_bound(n_images, p, start, rate=0.0)
    assert length.mean() - SIX * length.std() / np.sqrt(runs) > 0.5 * one_step


def test_bound_digits_and_ingredients() -> None:
    assert fidelity.fidelity_bound_exact_counts(100, 0.2, 2.0) == pytest.approx(33.16, abs=0.005)
    assert fidelity.fidelity_bound(100, 0.2, 2.0) == pytest.approx(45.92, abs=0.005)
    rho = image.mean_rate(100, 0.2)
    for bound in (fidelity.fidelity_bound, fidelity.fidelity_bound_exact_counts):
        assert bound(100, 0.2, 2.0, rate=rho) == pytest.approx(bound(100, 0.2, 2.0), rel=1e-12)
        assert bound(100, 0.2, 0.0) == 0
    assert fidelity.fidelity_bound(9, 0.5, 1.0, rate=0.5) == pytest.approx(2 * np.sqrt(2 / 5))
    counts = np.random.default_rng(3).binomial(9, 0.5, 400_000).astype(float)
    step = np.where(counts >= 2, 1 / np.sqrt(np.maximum(counts, 1)), 0.0)
    exact = fidelity.fidelity_bound_exact_counts(9, 0.5, 1.0, rate=0.0)
    assert abs(step.mean() - exact) < SIX * step.std() / np.sqrt(counts.size)
    # Refits of a rare text hardly ever happen; 1 - rho must not drown in rounding: two images, one refit.
    rare = fidelity.fidelity_bound_exact_counts(2, 1e-9, 1.0)
    assert rare == pytest.approx(2**-0.5 / (1 - np.sqrt(2 / np.pi)), rel=1e-9)
    # More images per update: the bound grows, like the square root of their number.
    ratio = fidelity.fidelity_bound(40_000, 0.2, 2.0) / fidelity.fidelity_bound(10_000, 0.2, 2.0)
    assert ratio == pytest.approx(2, rel=1e-3)


def test_expected_squared_drift() -> None:
    cov, n, t, runs = np.array([[1.0, 0.2], [0.2, 0.5]]), 6, 3, 20_000
    square = np.sum(drift(np.full((t, runs), n), cov, seed=4) ** 2, axis=1)
    error = square.std() / np.sqrt(runs)
    assert abs(square.mean() - fidelity.expected_squared_drift(cov, n, t)) < SIX * error
    assert abs(square.mean() - fidelity.expected_squared_drift(cov, n, t - 1)) > SIX * error
    np.testing.assert_allclose(fidelity.expected_squared_drift(cov, n, [0, 4]), [0, 1.0], rtol=1e-14)


@pytest.mark.parametrize("dim", [1, 2, 3, 7])
def test_student_drift_is_scipys_f_law(dim: int) -> None:
    x = np.array([0.0, 0.1, 1.0, 5.0, 1e4])
    np.testing.assert_allclose(fidelity.student_drift_cdf(x, dim), stats.f(dim, 2).cdf(x**2 / dim), rtol=1e-12)
    median = fidelity.student_drift_median(dim)
    assert fidelity.student_drift_cdf(median, dim) == pytest.approx(0.5, rel=1e-14)
    tail_mean = integrate.quad(lambda v: 1 - fidelity.student_drift_cdf(v, dim), 0, np.inf)[0]
    assert fidelity.student_drift_mean(dim) == pytest.approx(tail_mean, rel=1e-7)


def test_student_drift_digits() -> None:
    assert fidelity.student_drift_mean(1) == pytest.approx(np.sqrt(2), rel=1e-14)
    assert fidelity.student_drift_mean(2) == pytest.approx(2.2214, abs=5e-5)
    assert fidelity.student_drift_median(1) == pytest.approx(0.8165, abs=5e-5)
    assert fidelity.student_drift_median(2) == pytest.approx(np.sqrt(2), rel=1e-14)
    x = np.linspace(0, 4, 9)
    np.testing.assert_allclose(fidelity.student_drift_cdf(x, 1), 1 - 2 * stats.t(2).sf(x), atol=1e-14)


@pytest.mark.parametrize(
    ("n", "mean", "median"),
    [(5, 2.098, 1.352), (10, 2.158, 1.381), (20, 2.189, 1.397), (40, 2.205, 1.405), (80, 2.213, 1.410)],
)
def test_drift_law_holds_the_published_digits_in_the_plane(n: int, mean: float, median: float) -> None:
    law = fidelity.drift_law(n)
    assert law.mean(2) == pytest.approx(mean, abs=6e-4)
    assert law.median(2) == pytest.approx(median, abs=6e-4)


@pytest.mark.parametrize(("n", "median"), [(3, 0.7690), (5, 0.7836), (10, 0.7984), (40, 0.8117)])
def test_drift_law_medians_on_the_line(n: int, median: float) -> None:
    law = fidelity.drift_law(n)
    assert law.median(1) == pytest.approx(median, abs=6e-5)
    assert law.cdf(law.median(1), 1) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize(("n", "steps"), [(2, 120), (3, 150), (6, 300)])
def test_scale_law_against_the_brute_force_sum(n: int, steps: int) -> None:
    draws = perpetuity(n, steps, 5000, seed=n)
    law = fidelity.drift_law(n)
    assert fit(draws, law.scale_cdf) > 1e-9
    if n <= 3:  # negative controls: the law of four times as many images, and the limit law 1 / Exp(1)
        assert fit(draws, fidelity.drift_law(4 * n).scale_cdf) < 1e-9
        assert stats.kstest(draws, lambda v: np.exp(-1 / v)).pvalue < 1e-9


def test_drift_law_against_simulated_refits_in_two_dimensions() -> None:
    n, runs = 5, 4000
    length = np.linalg.norm(drift(np.full((100, runs), n), np.eye(2), seed=6), axis=1)
    assert fit(length, lambda x: fidelity.drift_law(n).cdf(x, 2)) > 1e-9
    assert fit(length, lambda x: fidelity.drift_law(n).cdf(x, 1)) < 1e-9


@pytest.mark.parametrize("n", [2, 5, 40])
def test_tail_of_the_scale_follows_goldies_constant(n: int) -> None:
    law, v = fidelity.drift_law(n), np.exp([8.0, 11.0, 14.0])
    # The tail of the node weights is prescribed from e^20 on; these points lie well before.
    relative = (1 - law.scale_cdf(v)) * v / fidelity.tail_constant(n) - 1
    assert (np.abs(relative) < 1 / v).all()
    x = 1e4
    assert (1 - law.cdf(x, 3)) * x**2 == pytest.approx(3 * fidelity.tail_constant(n), rel=1e-6)


def test_tail_constant() -> None:
    assert fidelity.tail_constant(5) == pytest.approx(0.87094, abs=5e-6)
    assert fidelity.tail_constant(10) == pytest.approx(0.934, abs=6e-4)
    assert fidelity.tail_constant(10**6) == pytest.approx(1, abs=1e-5)
    # E[Y ln Y] for Y = chi2_nu / nu, the quantity in Goldie's theorem.
    moment = stats.chi2(4).expect(lambda x: x / 4 * np.log(x / 4))
    assert fidelity.tail_constant(5) == pytest.approx(1 / (5 * moment), rel=1e-7)
    assert special.digamma(3.0) - np.log(2.0) == pytest.approx(moment, rel=1e-7)


def test_drift_law_approaches_the_student_law_from_below() -> None:
    means = np.array([fidelity.drift_law(n).mean(2) for n in (20, 80, 320)])
    limit = fidelity.student_drift_mean(2)
    assert (np.diff(means) > 0).all()
    np.testing.assert_allclose((1 - means / limit) * np.array([20, 80, 320]), 7 / 24, rtol=0.02)
    gap = np.abs(
        fidelity.drift_law(600).cdf(np.linspace(0, 9, 50), 2) - fidelity.student_drift_cdf(np.linspace(0, 9, 50), 2)
    )
    assert gap.max() < 0.3 / 600


def test_drift_law_object() -> None:
    law = fidelity.drift_law(6)
    assert law is fidelity.drift_law(6)
    assert law.weight.sum() == pytest.approx(1, abs=1e-12)
    assert law.weight.min() > -1e-15
    with pytest.raises(ValueError, match="read-only"):
        law.weight[0] = 1.0
    assert law.scale_cdf([0.0, 1 / 6]).tolist() == [0.0, 0.0]
    assert isinstance(law.scale_cdf(1.0), float)
    assert law.cdf(np.zeros((2, 2)), 2).shape == (2, 2)
    assert law.cdf(0.0, 2) == 0
    chi = stats.chi(3)
    assert law.mean(3) == pytest.approx(law.scale_mean() * chi.mean(), rel=1e-13)


def richardson(values: list[float]) -> float:
    """Return the limit of values at n, 2n, 4n, ... with an error in powers of 1/n."""
    for k in range(1, len(values)):
        values = [(2**k * b - a) / (2**k - 1) for a, b in pairwise(values)]
    return values[0]


@pytest.mark.parametrize(("dim", "bias"), [(1, 0.5), (2, 1.0), (3, -0.4), (2, 4.0)])
def test_student_drift_with_a_bias_is_scipys_f_law(dim: int, bias: float) -> None:
    # ||e||^2 (1 + b) / d is F with d and 2 + 2b degrees of freedom.
    law, x = stats.f(dim, 2 + 2 * bias), np.array([0.0, 0.3, 1.0, 20.0])
    np.testing.assert_allclose(fidelity.student_drift_cdf(x, dim, bias), law.cdf(x**2 * (1 + bias) / dim), rtol=1e-11)
    median = fidelity.student_drift_median(dim, bias)
    assert median == pytest.approx(np.sqrt(law.ppf(0.5) * dim / (1 + bias)), rel=1e-10)
    mean = law.expect(lambda f: np.sqrt(f * dim / (1 + bias)))
    assert fidelity.student_drift_mean(dim, bias) == pytest.approx(mean, rel=1e-4 if bias < 0 else 1e-6)
    assert fidelity.student_drift_mean(dim, -0.5) == np.inf


def test_student_drift_on_the_line_is_students_t() -> None:
    x = np.linspace(0.1, 5, 7)
    for bias in (0.0, 1.0, -0.5):
        t = stats.t(2 + 2 * bias, scale=(1 + bias) ** -0.5)
        np.testing.assert_allclose(1 - fidelity.student_drift_cdf(x, 1, bias), 2 * t.sf(x), atol=1e-14)
        assert fidelity.student_drift_median(1, bias) == pytest.approx(t.ppf(0.75), rel=1e-10)


@pytest.mark.parametrize(("n", "bias"), [(2, 1.0), (5, 1.0), (10, 0.5), (40, 3.0), (5, 20.0)])
def test_drift_law_with_a_bias_has_the_exact_moments(n: int, bias: float) -> None:
    law = fidelity.drift_law(n, bias)
    nu = n - 1
    first = (nu + bias) / (n * bias)
    assert law.weight.sum() == pytest.approx(1, abs=1e-12)
    assert law.weight @ law.variance == pytest.approx(first, rel=1e-6)
    assert fidelity.expected_squared_drift([[1.0]], n, 10**6, bias) == pytest.approx(first, rel=1e-9)
    if (n, bias) == (2, 1.0):  # E V^2 = 2n - 1 for maximum likelihood
        assert law.weight @ law.variance**2 == pytest.approx(3, rel=1e-6)
    x = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, 1500)])
    mean = integrate.simpson(1 - law.cdf(x, 2), x=x)
    assert law.mean(2) == pytest.approx(mean, rel=1e-3)


@pytest.mark.parametrize(("n", "bias", "steps"), [(4, 1.0, 200), (3, 2.0, 150), (5, -0.5, 400)])
def test_drift_law_with_a_bias_against_the_brute_force_sum(n: int, bias: float, steps: int) -> None:
    draws = perpetuity(n, steps, 2500, seed=n, bias=bias)
    law = fidelity.drift_law(n, bias)
    assert law.bias == bias
    assert fit(draws, law.scale_cdf) > 1e-9
    assert fit(draws, fidelity.drift_law(n).scale_cdf) < 1e-9


def test_drift_law_with_a_bias_against_simulated_refits() -> None:
    n, runs = 4, 2000
    length = np.linalg.norm(drift(np.full((60, runs), n), np.eye(2), seed=7, bias=1.0), axis=1)
    assert fit(length, lambda x: fidelity.drift_law(n, 1.0).cdf(x, 2)) > 1e-9
    assert fit(length, lambda x: fidelity.drift_law(n).cdf(x, 2)) < 1e-9


def test_drift_law_with_an_inflated_covariance() -> None:
    heavy = fidelity.drift_law(8, fidelity.tail_bias(8, 1.0) - 1e-6)
    assert heavy.mean(1) == np.inf
    # Just above, the mean is finite but far beyond the last node of an ordinary quadrature.
    law = fidelity.drift_law(8, fidelity.tail_bias(8, 1.2))
    assert np.isfinite(law.mean(1))
    v = np.exp([8.0, 12.0])
    survival = 1 - law.scale_cdf(v)
    assert np.log(survival[0] / survival[1]) / 4 == pytest.approx(0.6, rel=1e-4)
    direct = law.weight @ np.sqrt(law.variance)
    assert law.mean(1) > np.sqrt(2 / np.pi) * direct
    # Solved by the median too: far out for a heavy tail.
    far = fidelity.drift_law(30, fidelity.tail_bias(30, 0.2))
    assert far.median(1) > 4 * fidelity.student_drift_median(1)
    assert far.cdf(far.median(1), 1) == pytest.approx(0.5, abs=1e-9)


def _power_times(density: Callable[[float], float], scale: float, power: float) -> Callable[[float], float]:
    return lambda y: density(y) * (y / scale) ** power


@pytest.mark.parametrize("n", [2, 5, 30, 60])
def test_tail_bias_and_tail_index(n: int) -> None:
    nu = n - 1
    assert fidelity.tail_bias(n, 2) == pytest.approx(0, abs=1e-12)
    assert fidelity.tail_bias(n, 4) == pytest.approx(np.sqrt(nu * (nu + 2)) - nu, rel=1e-12)
    assert fidelity.tail_index(n) == pytest.approx(2, rel=1e-11)
    assert 4 < fidelity.tail_index(n, 1.0) < 5
    for bias in (-0.4, 0.3, 7.0):
        k = fidelity.tail_index(n, bias)
        assert fidelity.tail_bias(n, k) == pytest.approx(bias, rel=1e-10)
        density = stats.chi2(nu).pdf
        moment = integrate.quad(_power_times(density, nu + bias, k / 2), 0, np.inf, limit=200)[0]
        assert moment == pytest.approx(1, rel=1e-6)
    # k = 0: E ln Y = 0 there; and the series for small k meets the quotient.
    log_mean = special.digamma(nu / 2) + np.log(2)
    assert fidelity.tail_bias(n, 0) == pytest.approx(np.exp(log_mean) - nu, rel=1e-12)
    assert fidelity.tail_bias(n, 0.99e-4) == pytest.approx(fidelity.tail_bias(n, 1.01e-4), abs=3e-5)
    assert fidelity.tail_bias(n, 0.99e-4) < fidelity.tail_bias(n, 1.01e-4)
    assert fidelity.tail_index(10**6, 0.7) == pytest.approx(3.4, rel=1e-5)


def test_tail_constant_for_random_counts() -> None:
    counts, weight = np.arange(2, 13), stats.binom(12, 0.25).pmf(np.arange(2, 13))
    entropy = [special.digamma((n + 1) / 2) - np.log((n - 1) / 2) for n in counts]
    expected = (weight / counts).sum() / (weight @ entropy)
    assert fidelity.tail_constant(stats.binom(12, 0.25)) == pytest.approx(expected, rel=1e-6)
    assert fidelity.tail_constant(stats.randint(5, 6)) == pytest.approx(fidelity.tail_constant(5), rel=1e-14)
    n = 1000
    assert fidelity.tail_constant(n) == pytest.approx(1 - 2 / (3 * n) + 1 / (9 * n**2), abs=1e-9)


def test_moment_correction_is_the_stated_covariance() -> None:
    assert fidelity.moment_correction(0.5) == pytest.approx(-7 / 24, rel=1e-14)
    for bias in (0.5, 1.0, 3.0):  # E V = (n - 1 + b) / (n b), exactly
        assert fidelity.moment_correction(1.0, bias) == pytest.approx(bias - 1, abs=1e-13)
    for s, b in ((0.5, 0.0), (-1.5, 0.0), (0.5, 1.0), (1.2, 0.6), (0.3, -0.4)):
        # Means under Gamma(1 + b), by a sum over ln x, where both ends are tame.
        x = np.exp(np.arange(-150, 8, 0.01))
        density = stats.gamma(1 + b).pdf(x) * x
        density /= density.sum()
        excess = (1 - 5 * b / 6) * x - x**2 / 6 + b * (b + 2) / 6 * np.log(x)
        expected = (density * x**-s) @ excess / (density @ x**-s) - density @ excess
        assert fidelity.moment_correction(s, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("power", "bias"), [(0.5, 0.0), (-1.0, 0.0), (-0.5, 1.0), (-1.0, -0.25)])
def test_moment_correction_against_the_exact_laws(power: float, bias: float) -> None:
    limit = special.gamma(1 + bias - power) / special.gamma(1 + bias)
    laws = [fidelity.drift_law(n, bias) for n in (20, 40, 80, 160)]
    seen = richardson([float(law.samples * (law.weight @ law.variance**power / limit - 1)) for law in laws])
    assert seen == pytest.approx(fidelity.moment_correction(power, bias), abs=1e-5)


def test_moment_correction_against_exact_rational_moments() -> None:
    # V = 1/n + Y V' expanded: E V^j (1 - E Y^j) = sum_i<j binom(j, i) n^{i-j} E Y^i E V^i.
    for bias, power in ((2, 2), (3, 2), (3, 3), (5, 3)):
        seen = []
        for n in (40, 80, 160, 320):
            of_y = [Fraction(1)]
            for i in range(power):
                of_y.append(of_y[-1] * (n - 1 + 2 * i) / (n - 1 + bias))
            of_v = [Fraction(1)]
            for j in range(1, power + 1):
                terms = (math.comb(j, i) * Fraction(1, n) ** (j - i) * of_y[i] * of_v[i] for i in range(j))
                of_v.append(sum(terms, Fraction(0)) / (1 - of_y[j]))
            limit = Fraction(math.factorial(bias - power), math.factorial(bias))
            seen.append(float(n * (of_v[power] / limit - 1)))
        assert richardson(seen) == pytest.approx(fidelity.moment_correction(power, bias), rel=1e-6)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_quantile_correction_against_the_exact_laws(dim: int) -> None:
    limit = fidelity.student_drift_median(dim)
    laws = [fidelity.drift_law(n) for n in (20, 40, 80, 160)]
    seen = richardson([law.samples * (law.median(dim) / limit - 1) for law in laws])
    assert seen == pytest.approx(fidelity.quantile_correction(0.5, dim), abs=2e-6)
    x = np.sqrt(stats.f(dim, 2).ppf(0.9) * dim)
    law = fidelity.drift_law(320)
    moved = x * (1 + fidelity.quantile_correction(0.9, dim) / 320)
    assert law.cdf(moved, dim) == pytest.approx(0.9, abs=1e-5)
    assert abs(law.cdf(x, dim) - 0.9) > 1e-4


def test_quantile_correction_digits() -> None:
    assert fidelity.quantile_correction(0.5, 1) == pytest.approx(-23 / 96, rel=1e-14)
    assert fidelity.quantile_correction(0.5, 2) == pytest.approx(-1 / 4, rel=1e-14)
    np.testing.assert_allclose(fidelity.quantile_correction([[1 - 1e-9]], 3), [[-1 / 3]], atol=1e-8)
    assert fidelity.quantile_correction([], 3).shape == (0,)
    # Negative for every median and up to d = 6; small drifts in many dimensions get a positive one.
    assert max(fidelity.quantile_correction(0.5, d) for d in range(1, 50)) < 0
    assert fidelity.quantile_correction(np.geomspace(1e-12, 0.999, 99), 6).max() < 0
    assert fidelity.quantile_correction(0.001, 10) > 0
    prob, law = stats.f(10, 2).cdf(0.01), fidelity.drift_law(80)
    assert law.cdf(np.sqrt(0.1), 10) < prob


def test_expected_squared_drift_with_a_bias() -> None:
    cov, n, t, runs, bias = np.array([[1.0, 0.2], [0.2, 0.5]]), 6, 3, 20_000, 1.0
    square = np.sum(drift(np.full((t, runs), n), cov, seed=8, bias=bias) ** 2, axis=1)
    error = square.std() / np.sqrt(runs)
    assert abs(square.mean() - fidelity.expected_squared_drift(cov, n, t, bias)) < SIX * error
    assert abs(square.mean() - fidelity.expected_squared_drift(cov, n, t)) > SIX * error
    assert fidelity.expected_squared_drift(cov, n, 2, bias) == pytest.approx(1.5 * (1 / 6 + 5 / 36), rel=1e-13)
    assert fidelity.expected_squared_drift(cov, n, 2, -1.0) == pytest.approx(1.5 / 6 * (1 + 5 / 4), rel=1e-13)


def test_bad_bias_index_power_and_probability() -> None:
    for with_bias in (
        lambda b: fidelity.student_drift_mean(2, b),
        lambda b: fidelity.student_drift_median(2, b),
        lambda b: fidelity.student_drift_cdf(1.0, 2, b),
        lambda b: fidelity.moment_correction(-2.0, b),
    ):
        with pytest.raises(ValueError, match=r"bias must lie in \(-1, inf\), got -1"):
            with_bias(-1.0)
        with pytest.raises(TypeError, match="bias must be a number"):
            with_bias("1")
    with pytest.raises(ValueError, match=r"bias must lie in \(-4, inf\), got -4"):
        fidelity.expected_squared_drift(np.eye(2), 5, 1, -4)
    with pytest.raises(ValueError, match=r"bias must be above -0\.94759 for 5 samples, .* got -0\.95"):
        fidelity.tail_index(5, -0.95)
    with pytest.raises(ValueError, match=r"bias must be at least -0\.8\d+ for 5 samples, got -0\.9"):
        fidelity.drift_law(5, -0.9)
    with pytest.raises(TypeError, match="bias must be a number"):
        fidelity.drift_law(5, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"index must lie in \[0, inf\), got -1"):
        fidelity.tail_bias(5, -1)
    with pytest.raises(ValueError, match="samples must be an integer >= 2, got 1"):
        fidelity.tail_bias(1, 1)
    with pytest.raises(ValueError, match="samples must be an integer >= 2, got 1"):
        fidelity.tail_index(1)
    with pytest.raises(ValueError, match=r"power must lie in \(-inf, 1\), got 1"):
        fidelity.moment_correction(1.0)
    for prob in (0.0, 1.0, [0.5, 2.0]):
        with pytest.raises(ValueError, match=r"prob must hold numbers in \(0, 1\)"):
            fidelity.quantile_correction(prob, 2)
    with pytest.raises(ValueError, match="dim must be an integer >= 1, got 0"):
        fidelity.quantile_correction(0.5, 0)
    with pytest.raises(ValueError, match="samples must allow a refit"):
        fidelity.tail_constant(stats.bernoulli(0.5))
    with pytest.raises(ValueError, match="samples must have a law on integers >= 0"):
        fidelity.tail_constant(stats.randint(-1, 4))


def test_bad_input() -> None:
    for bound in (fidelity.fidelity_bound, fidelity.fidelity_bound_exact_counts):
        for args, error, message in (
            ((0, 0.5, 1.0), ValueError, "image_samples must be an integer >= 1, got 0"),
            ((10.0, 0.5, 1.0), TypeError, "image_samples must be an integer >= 1"),
            ((10, 0.0, 1.0), ValueError, r"p must lie in \(0, 1\], got 0"),
            ((10, 1.5, 1.0), ValueError, r"p must lie in \(0, 1\], got 1.5"),
            ((10, np.nan, 1.0), ValueError, r"p must lie in \(0, 1\], got nan"),
            ((10, 0.5, -1.0), ValueError, r"initial_diversity must lie in \[0, inf\), got -1"),
            ((10, 0.5, 1.0, 1.0), ValueError, r"rate must lie in \[0, 1\), got 1"),
            ((10, 0.5, 1.0, -0.1), ValueError, r"rate must lie in \[0, 1\), got -0.1"),
            ((1, 0.5, 1.0), ValueError, "image_samples and p must allow a refit"),
        ):
            with pytest.raises(error, match=message):
                bound(*args)
    with pytest.raises(ValueError, match="cov must be positive semidefinite"):
        fidelity.expected_squared_drift(-np.eye(2), 5, 1)
    with pytest.raises(ValueError, match=r"cov must have shape \(d, d\), got \(1, 2, 2\)"):
        fidelity.expected_squared_drift(np.eye(2)[None], 5, 1)
    with pytest.raises(ValueError, match="t must hold integers >= 0, got -1"):
        fidelity.expected_squared_drift(np.eye(2), 5, -1)
    for with_samples in (
        lambda n: fidelity.expected_squared_drift(np.eye(2), n, 1),
        fidelity.tail_constant,
        fidelity.drift_law,
    ):
        with pytest.raises(ValueError, match="samples must be an integer >= 2, got 1"):
            with_samples(1)
        fidelity.drift_law(2)  # cached, and still 2.0 is refused
        with pytest.raises(TypeError, match="samples must be an integer >= 2"):
            with_samples(2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"samples must lie in \[2, 1000\], got 1001"):
        fidelity.drift_law(1001)
    law = fidelity.drift_law(5)
    for with_dim in (
        fidelity.student_drift_mean,
        fidelity.student_drift_median,
        lambda d: fidelity.student_drift_cdf(1.0, d),
        law.mean,
        law.median,
        lambda d: law.cdf(1.0, d),
    ):
        with pytest.raises(ValueError, match="dim must be an integer >= 1, got 0"):
            with_dim(0)
        with pytest.raises(TypeError, match="dim must be an integer >= 1"):
            with_dim(2.0)  # type: ignore[arg-type]
    for with_x in (lambda x: fidelity.student_drift_cdf(x, 2), lambda x: law.cdf(x, 2), law.scale_cdf):
        with pytest.raises(ValueError, match="must hold numbers >= 0, got -1"):
            with_x([1.0, -1.0])
        with pytest.raises(ValueError, match="must hold finite numbers"):
            with_x(np.nan)
        with pytest.raises(TypeError, match="must be an array of real numbers"):
            with_x("1")
