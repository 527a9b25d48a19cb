"""Laws 2.3 to 2.5: late means against scipy laws, mpmath, quadrature and simulated products of Bartlett factors."""

from collections.abc import Callable
from typing import Any

import mpmath  # type: ignore[import-untyped]  # ships no types
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, special, stats

from coevo.theory import image, late_means
from coevo.wishart import contraction_constant

Array = NDArray[np.float64]
SIX = 6.1


def refitted(root: Array, dof: int, t: int, runs: int, seed: int) -> Array:
    """Return the singular values of roots of the covariance after t refits, from the images themselves."""
    rng = np.random.default_rng(seed)
    factor = np.broadcast_to(root, (runs, *root.shape))
    for _ in range(t):
        images = factor @ rng.standard_normal((runs, len(root), dof + 1))
        images = images - images.mean(axis=-1, keepdims=True)
        cov = images @ images.mT / dof
        variance, axes = np.linalg.eigh(cov)
        factor = axes * np.sqrt(np.maximum(variance, 0))[:, None, :]
    return np.asarray(np.linalg.svd(factor, compute_uv=False))


@pytest.mark.parametrize("dof", [2, 3, 9, 99, 10**5])
def test_settling_rate_from_its_definition(dof: int) -> None:
    with mpmath.workdps(40):
        x = mpmath.mpf(dof) / 2
        literal = mpmath.loggamma(x + 0.5) + mpmath.loggamma(x - 0.5) - 2 * mpmath.loggamma(x)
        assert late_means.settling_rate(dof) == pytest.approx(float(literal), rel=1e-10)
    if dof > 50:
        assert late_means.settling_rate(dof) == pytest.approx(1 / (2 * dof) + 1 / (2 * dof**2), rel=1 / dof**2)


def test_one_update_makes_two_images_a_stick() -> None:
    assert late_means.settling_rate(1) == np.inf
    np.testing.assert_allclose(late_means.late_excess(1, [0, 1, 7]), [4 / np.pi - 1, 0, 0], atol=1e-15)
    bounds = late_means.late_excess_bounds(1, 3)
    assert bounds == (0, 0)


@pytest.mark.parametrize("dof", [2, 9, 30])
def test_late_excess_is_the_exact_mean_over_its_law(dof: int) -> None:
    t = np.array([0, 1, 2, 10, 40])
    mean = image.expected_image_diversity_plane(dof, t)
    law = np.pi / 2 * contraction_constant(dof, 1) ** t
    np.testing.assert_allclose(late_means.late_excess(dof, t), mean / law - 1, rtol=1e-9, atol=1e-13)
    one = late_means.late_excess(dof, 10)
    assert isinstance(one, float)


def test_late_excess_far_out_against_mpmath() -> None:
    def term(r: Any) -> Any:
        z = (9 + 1j * r) / 2
        log_ratio = 2 * mpmath.loggamma(z).real - mpmath.loggamma(5) - mpmath.loggamma(4)
        return mpmath.exp(5000 * log_ratio) / ((1 + r**2) * mpmath.cosh(mpmath.pi * r))

    with mpmath.workdps(25):
        value = 2 / mpmath.pi * mpmath.quad(term, [0, 0.05, 0.2, 0.5])
    assert late_means.late_excess(9, 5000) == pytest.approx(float(value), rel=1e-9)


@pytest.mark.parametrize("dof", [2, 4, 9, 60])
def test_bounds_on_the_excess_hold_and_close_in(dof: int) -> None:
    t = np.unique(np.geomspace(1, 100 * dof, 40).round().astype(int))
    lower, upper = late_means.late_excess_bounds(dof, t)
    exact = late_means.late_excess(dof, t)
    assert (lower <= exact).all()
    assert (exact <= upper * (1 + 1e-12)).all()
    far = 40_000 if dof < 60 else 10**5
    one = late_means.late_excess_bounds(2, 400)
    assert isinstance(one.lower, float)
    # In logarithms, since the excess itself underflows: the ratio of the two bounds tends to one.
    slope = special.polygamma(1, dof / 2)
    ratio = 2 * np.sqrt(slope * far / 4 + 1 + np.pi**2 / 2) / np.sqrt(slope) / special.poch(far - 0.5, 0.5)
    assert 1 < ratio < 1.02
    # Negative control: the Gaussian approximation alone is no lower bound at t = 1.
    assert 2 * np.exp(-late_means.settling_rate(dof)) / np.sqrt(np.pi * slope) > exact[0]


@pytest.mark.parametrize("sigma", [(1.0,), (2.0, 2.0), (1.0, 0.3, 0.3)])
def test_log_diversity_between_its_bounds(sigma: tuple[float, ...]) -> None:
    dof, t, runs = 4, 25, 2500
    log = np.log(refitted(np.diag(sigma), dof, t, runs, seed=7 + len(sigma)).sum(axis=-1))
    lower, upper = late_means.log_diversity_bounds(np.diag(np.square(sigma)), dof, t)
    error = log.std() / np.sqrt(runs)
    assert lower - SIX * error < log.mean() < upper + SIX * error
    if len(sigma) == 1:
        assert lower == upper
        spread = (log - lower) ** 2
        claim = t * late_means.log_diversity_variance(dof)
        assert abs(spread.mean() - claim) < SIX * spread.std() / np.sqrt(runs)
    else:
        assert upper - lower == pytest.approx({2: 2 * np.log(2), 3: np.log(3) + 1}[len(sigma)])
    several = late_means.log_diversity_bounds(np.eye(2), dof, [0, 3])
    assert several.upper.shape == (2,)


def test_variance_of_a_log_chi() -> None:
    w = np.linspace(-45, 3.5, 6000)  # x = e^w: the trapezoid rule converges geometrically
    for dof in (1, 2, 9):
        mass = stats.chi.pdf(np.exp(w), dof) * np.exp(w) * (w[1] - w[0])
        variance = w**2 @ mass - (w @ mass) ** 2
        assert late_means.log_diversity_variance(dof) == pytest.approx(variance, rel=1e-11)


@pytest.mark.parametrize("dof", [1, 2, 9, 300])
def test_information_is_the_divergence_of_chi_laws(dof: int) -> None:
    tilted, honest = stats.chi(dof + 1), stats.chi(dof)
    low, high = tilted.ppf([1e-14, 1 - 1e-14])

    def term(x: float) -> float:
        return float(tilted.pdf(x) * (tilted.logpdf(x) - honest.logpdf(x)))

    divergence = integrate.quad(term, low, high, limit=200, epsabs=1e-13)[0]
    assert late_means.information_rate(dof) == pytest.approx(divergence, rel=1e-6)
    bounds = special.polygamma(1, np.array([dof + 1, dof]) / 2) / 8
    assert bounds[0] < late_means.information_rate(dof) < bounds[1]


@pytest.mark.parametrize("dof", [1, 9, 60])
def test_information_of_the_mean_square(dof: int) -> None:
    tilted, honest = stats.chi(dof + 2), stats.chi(dof)

    def term(x: float) -> float:
        return float(tilted.pdf(x) * (tilted.logpdf(x) - honest.logpdf(x)))

    low, high = tilted.ppf([1e-14, 1 - 1e-14])
    divergence = integrate.quad(term, low, high, limit=200, epsabs=1e-13)[0]
    assert late_means.information_rate(dof, 2) == pytest.approx(divergence, rel=1e-6)
    assert late_means.last_time_seen(dof, 50, 2) == pytest.approx(np.log(50) / divergence, rel=1e-6)
    assert late_means.information_rate(10**4, 2) == pytest.approx(1e-4 - 1e-8 / 3, rel=1e-9)


def test_information_for_many_images() -> None:
    for dof in (1000, 1001, 5000):
        with mpmath.workdps(40):
            x = mpmath.mpf(dof) / 2
            literal = mpmath.psi(0, x + 0.5) / 2 - mpmath.loggamma(x + 0.5) + mpmath.loggamma(x)
            assert late_means.information_rate(dof) == pytest.approx(float(literal), rel=1e-11)


@pytest.mark.parametrize("dof", [1, 3, 40])
@pytest.mark.parametrize("level", [-1.5, -0.3, -0.001, 0.0, 0.001, 0.2, 1.0])
def test_tail_of_one_step_is_a_chi_law(dof: int, level: float) -> None:
    place = np.exp(level) * np.sqrt(dof) * contraction_constant(dof, 1)
    for weighted in (False, True):
        tail = stats.chi(dof + weighted).sf(place)
        ours = late_means.log_weight_tail(dof, 1, level, weighted=weighted)
        assert ours == pytest.approx(tail, rel=1e-9, abs=1e-300)


def test_tail_of_two_steps_by_quadrature() -> None:
    dof, level = 4, 0.3
    scale = dof * contraction_constant(dof, 1) ** 2
    for weighted in (False, True):
        law = stats.chi(dof + weighted)
        literal = integrate.quad(lambda x, law=law: law.pdf(x) * law.sf(np.exp(level) * scale / x), 0, 30)[0]
        assert late_means.log_weight_tail(dof, 2, level, weighted=weighted) == pytest.approx(literal, rel=1e-8)


@pytest.mark.parametrize("t", [1, 50, 400, 3000])
def test_the_weighted_tail_is_the_mean_of_the_weights(t: int) -> None:
    """E[X; ln X > y] = Q(ln X > y): integrate the honest tail by parts."""
    y = 0.8 * late_means.information_rate(9) * t
    scale = np.sqrt(t * late_means.log_diversity_variance(9))
    grid = np.linspace(y, y + t * late_means.information_rate(9) + 12 * scale, 301)
    honest = np.array([late_means.log_weight_tail(9, t, float(x)) for x in grid])
    literal = np.exp(y) * honest[0] + integrate.simpson(np.exp(grid) * honest, x=grid)
    assert late_means.log_weight_tail(9, t, y, weighted=True) == pytest.approx(literal, rel=1e-6)


@pytest.mark.parametrize(("t", "share"), [(1, 0.3), (50, 0.5), (400, 0.9), (1000, 0.5), (3, 1 - 1e-6)])
def test_runs_needed_and_share_are_inverse(t: int, share: float) -> None:
    runs = late_means.runs_needed(9, t, share)
    assert late_means.share_of_top_runs(9, t, runs) == pytest.approx(share, rel=1e-8)


def test_half_of_the_mean_needs_the_divergence() -> None:
    # The median of ln X_t under the weighted law is I t - psi'' / (12 psi') up to O(1/t): its third cumulant.
    median = -special.polygamma(2, 5) / special.polygamma(1, 5) / 12
    for t in (1000, 4000):
        spread = np.sqrt(2 * np.pi * t * special.polygamma(1, 5) / 4)
        claim = spread * np.exp(late_means.information_rate(9) * t + median)
        assert late_means.runs_needed(9, t) / claim == pytest.approx(1, abs=0.8 / np.sqrt(t))
    assert late_means.runs_needed(9, 10**5) == np.inf
    assert late_means.last_time_seen(9, 100) == pytest.approx(np.log(100) / late_means.information_rate(9))
    assert late_means.last_time_seen(9, 100) / (4 * 9 * np.log(100)) == pytest.approx(1, abs=0.04)


def too_few(dof: int, t: int, runs: float, level: float, dim: int) -> float:
    """First bound of Law 2.5 from a round start, literally, at the best of some y: P(average >= level mean)."""
    stick = image.late_time_amplitude(np.eye(dim))  # a_d
    y = np.linspace(np.log(runs), np.log(runs) + t * late_means.information_rate(dof), 40)
    below = [1 - late_means.log_weight_tail(dof, t, float(x), weighted=True) for x in y + np.log(stick)]
    return float(np.min(runs * np.exp(-y) + dim / stick / level * np.array(below)))


def enough(dof: int, t: int, runs: float, dim: int) -> float:
    """Second bound of Law 2.5 from a round start, literally, at the best of some y and l: E |average / mean - 1|."""
    factor, rate = dim / image.late_time_amplitude(np.eye(dim)), t * late_means.information_rate(dof)
    y = np.linspace(rate - 5, rate + 15 + rate / 5, 60)
    above = np.array([late_means.log_weight_tail(dof, t, float(x), weighted=True) for x in y])
    if dim > 1:
        above = (above[:, None] + np.exp(np.minimum(y[:, None] - y, 0.0))).min(axis=0)  # rows: y - l
    return float(np.min(factor * np.exp(0.5 * (y - np.log(runs))) + 2 * factor * above))


@pytest.mark.parametrize("dim", [1, 2])
def test_bounds_on_averages(dim: int) -> None:
    dof, t, runs = 2, 80, 1500
    mean = dim if dim == 1 else image.expected_image_diversity_plane(dof, t) / contraction_constant(dof, 1) ** t
    averages = refitted(np.eye(dim), dof, t, runs, seed=9).sum(axis=-1).reshape(-1, 3).mean(axis=1)
    reached = (averages >= 0.5 * mean * contraction_constant(dof, 1) ** t).mean()
    assert reached <= too_few(dof, t, 3, 0.5, dim) < 0.5
    # Enough runs: at t = 2 averages over 3,000 runs of one dimension, over 500 of the plane.
    few = 3000 if dim == 1 else 500
    diversity = refitted(np.eye(dim), 40, 2, 20 * few, seed=4).sum(axis=-1).reshape(20, few).mean(axis=1)
    mean = contraction_constant(40, 1) ** 2 if dim == 1 else image.expected_image_diversity_plane(40, 2)
    assert np.abs(diversity / mean - 1).mean() <= enough(40, 2, few, dim) < (0.1 if dim == 1 else 1)


def test_bounds_on_averages_are_sharp_on_the_logarithmic_scale() -> None:
    t, rate = 20_000, late_means.information_rate(9)
    for dim in (1, 2):
        assert too_few(9, t, float(np.exp(0.8 * rate * t)), 0.1, dim) < 0.02
        assert enough(9, t, float(np.exp(1.2 * rate * t)), dim) < 0.05
    # Negative control: on the other side of ln R = I t both bounds say nothing.
    assert too_few(9, t, float(np.exp(1.2 * rate * t)), 0.1, 1) > 1
    assert enough(9, t, float(np.exp(0.8 * rate * t)), 1) > 1


BAD: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: late_means.settling_rate(0), ValueError, "dof must be"),
    (lambda: late_means.late_excess(9, -1), ValueError, "t must hold integers >= 0"),
    (lambda: late_means.late_excess(9.5, 1), TypeError, "dof must be"),  # type: ignore[arg-type]
    (lambda: late_means.late_excess_bounds(9, 0), ValueError, "t must hold integers >= 1"),
    (lambda: late_means.log_diversity_bounds(np.zeros((2, 2)), 3, 1), ValueError, "cov must not be zero"),
    (lambda: late_means.log_diversity_variance(0), ValueError, "dof must be"),
    (lambda: late_means.information_rate(0), ValueError, "dof must be"),
    (lambda: late_means.information_rate(9, 3), ValueError, "moment must be"),
    (lambda: late_means.last_time_seen(9, 0.5), ValueError, "runs must lie"),
    (lambda: late_means.log_weight_tail(9, 0, 0.0), ValueError, "t must be"),
    (lambda: late_means.log_weight_tail(9, 1, 0.0, weighted=1), TypeError, "weighted must be"),  # type: ignore[arg-type]
    (lambda: late_means.runs_needed(9, 5, 1.0), ValueError, "share must lie"),
    (lambda: late_means.share_of_top_runs(9, 5, 1.0), ValueError, "runs must lie"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
