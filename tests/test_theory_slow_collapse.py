"""Theorem 4.1 against simulation, adaptive quadrature of the identity behind it, and exact special cases."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, special, stats

from coevo import State, System, circle, replicate, text_diversity
from coevo.simulation import text_update
from coevo.theory import slow_collapse as slow
from coevo.theory import text

Array = NDArray[np.float64]
# A normal estimate exceeds 6.1 standard errors with probability 1e-9.
SIX = 6.1

CIRCLE = circle(5).mean[0]
P = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
PAIR = np.array([[-1.0], [1.0]])


def isotropic(sigma: float, dim: int = 2) -> Array:
    return sigma**2 * np.eye(dim)


def squared_moves(p: Array, mean: Array, cov: Array, runs: int, seed: int) -> Array:
    """Return ||r(x) - p||^2 of simulated images: its mean is the loss of an update from one image, as E r = p."""
    state = State.create(p, mean, cov, runs)
    return np.asarray(((text_update(state, 1, np.random.default_rng(seed)).p - p) ** 2).sum(axis=1))


@pytest.mark.parametrize(("sigma", "exact", "leading"), [(5.0, 0.007314, 0.007373), (10.0, 0.001840, 0.001843)])
def test_check_numbers_on_the_circle(sigma: float, exact: float, leading: float) -> None:
    # Half a unit of the last printed digit.
    assert slow.relative_loss(P, CIRCLE, isotropic(sigma), 1) * text_diversity(P) == pytest.approx(exact, abs=6e-7)
    assert slow.leading_loss(P, CIRCLE, isotropic(sigma), 1).value == pytest.approx(leading, abs=6e-7)
    assert slow.leading_loss(P, CIRCLE, isotropic(sigma), 7).value == pytest.approx(leading / 7, abs=6e-7)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 8.0])
def test_loss_of_one_update_against_simulation(sigma: float) -> None:
    moves = squared_moves(P, CIRCLE, isotropic(sigma), 40_000, seed=1)
    error = moves.std(ddof=1) / np.sqrt(moves.size)
    exact = slow.relative_loss(P, CIRCLE, isotropic(sigma), 1) * text_diversity(P)
    assert abs(moves.mean() - exact) < SIX * error
    assert error < 0.02 * exact  # the check sees an error of an eighth


def test_identity_behind_it_against_adaptive_quadrature() -> None:
    """The loss is the integral of E Q(r_u) over the precision u, three texts on a line."""
    p, mean = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 2.5])

    def expected_q(u: float) -> float:
        def integrand(y: float) -> float:
            density = p * stats.norm(u * mean, np.sqrt(u)).pdf(y)
            r = density / density.sum()
            return float(density.sum() * (r**2 @ (mean - r @ mean) ** 2))

        spread = 9 * np.sqrt(u)
        return integrate.quad(integrand, -spread, 2.5 * u + spread, epsabs=1e-9)[0]

    integral = integrate.fixed_quad(np.vectorize(expected_q), 0.0, 1.5, n=7)[0]
    loss = slow.relative_loss(p, mean[:, None], np.eye(1) / 1.5, 1) * text_diversity(p)
    assert loss == pytest.approx(integral, rel=1e-5)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0, 6.0])
def test_bound_holds_for_every_text_model(sigma: float) -> None:
    rng = np.random.default_rng(2)
    for alpha in (0.1, 1.0, 10.0):
        for _ in range(2):
            mean = rng.standard_normal((4, 2))
            cov = sigma**2 * np.array([[2.0, 0.5], [0.5, 1.0]])
            p = rng.dirichlet(np.full(4, alpha))
            bound = slow.relative_loss_bound(slow.widest_gap(mean, cov), 3)
            assert slow.relative_loss(p, mean, cov, 3) <= bound <= 1 / 3


def test_bound_is_sharp_for_two_equal_texts() -> None:
    # Between the linear and the exponential law in snr = Delta^2 / 4, which agree to first order.
    for sigma in (0.5, 1.0, 3.0, 10.0):
        snr = (2 / sigma) ** 2 / 4
        worst = slow.relative_loss([0.5, 0.5], PAIR, isotropic(sigma, 1), 1)
        assert snr / (1 + snr) < worst < slow.relative_loss_bound(2 / sigma, 1) == pytest.approx(1 - np.exp(-snr))
    assert worst / snr == pytest.approx(1, abs=0.01)


def test_different_covariances_break_the_bound() -> None:
    # Every covariance is at least that of the control, and the means are the same.
    wide = (1000 * np.array([1.0, 1.5, 2.0, 2.5, 3.0]))[:, None, None] ** 2 * np.eye(2)
    bound = slow.relative_loss_bound(slow.widest_gap(CIRCLE, isotropic(1000.0)), 1)
    assert slow.relative_loss(P, CIRCLE, isotropic(1000.0), 1) < bound < 1e-5
    assert slow.relative_loss(P, CIRCLE, wide, 1) > 0.05


def test_leading_loss_and_its_error() -> None:
    rng = np.random.default_rng(3)
    scaled = []
    for sigma in (0.5, 1.0, 4.0, 8.0, 16.0):
        exact = slow.relative_loss(P, CIRCLE, isotropic(sigma), 2) * text_diversity(P)
        leading = slow.leading_loss(P, CIRCLE, isotropic(sigma), 2)
        assert abs(exact - leading.value) < leading.error
        scaled.append((exact - leading.value) * sigma**4)
    assert scaled[-1] == pytest.approx(scaled[-2], rel=0.02)  # the remainder is of order sigma^-4, and not smaller
    assert abs(scaled[-1]) > 0.01
    for _ in range(5):
        p, mean, cov = rng.dirichlet(np.ones(3)), rng.standard_normal((3, 2)), np.array([[3.0, 1.0], [1.0, 2.0]])
        exact = slow.relative_loss(p, mean, cov, 1) * text_diversity(p)
        leading = slow.leading_loss(p, mean, cov, 1)
        assert abs(exact - leading.value) < leading.error
    # A text without mass counts for nothing, wherever its mean is.
    assert slow.leading_loss([0.5, 0.5, 0.0], [[0.0], [1.0], [1e3]], np.eye(1), 1) == pytest.approx((1 / 8, 0.625 / 2))


@pytest.mark.parametrize(("text_samples", "delta"), [(20, 0.02), (3, 0.3), (1, 2e-6)])
def test_least_sigma_is_the_root_and_the_guarantee_lies_above(text_samples: int, delta: float) -> None:
    p, mean = np.array([0.5, 0.3, 0.2]), np.array([[0.0], [1.0], [2.5]])
    least = slow.least_sigma(p, mean, text_samples, delta)
    safe = slow.guaranteed_sigma(mean, text_samples, delta)
    assert slow.relative_loss(p, mean, isotropic(least, 1), text_samples) == pytest.approx(delta, rel=3e-6)
    assert least < safe
    assert slow.relative_loss(p, mean, isotropic(safe, 1), text_samples) < delta
    # In the worst text model, two equal texts far apart, the guarantee is met to first order in M delta.
    worst = slow.least_sigma([0.5, 0, 0.5], mean, text_samples, delta)
    assert worst < safe * (1 + 2e-6)
    assert worst / safe > 1 / (1 + text_samples * delta)


def test_sigma_zero_where_every_sigma_will_do() -> None:
    same = np.ones((3, 2))
    assert slow.guaranteed_sigma(CIRCLE, 20, 0.05) == 0
    assert slow.least_sigma(P, CIRCLE, 20, 0.05) == 0
    assert slow.guaranteed_sigma(same, 20, 0.01) == slow.least_sigma(np.full(3, 1 / 3), same, 20, 0.01) == 0
    # Texts 1 and 2 coincide: sharp images lose (D - 0.9 / 2) / D = 0.2308 of the diversity D = 0.585, never more.
    p, mean = [0.45, 0.45, 0.1], [[0.0], [0.0], [1.0]]
    assert slow.least_sigma(p, mean, 1, 0.231) == 0
    assert slow.least_sigma(p, mean, 1, 0.230) > 0


def test_shape_of_the_covariance_only_changes_coordinates() -> None:
    linear = np.array([[2.0, 0.0], [1.0, 0.5]])
    p, mean = [0.5, 0.3, 0.2], CIRCLE[:3]
    shape, mapped = linear @ linear.T, mean @ linear.T
    assert slow.widest_gap(mapped, shape) == pytest.approx(2 * np.sin(2 * np.pi / 5))
    assert slow.guaranteed_sigma(mapped, 20, 0.01, shape) == pytest.approx(slow.guaranteed_sigma(mean, 20, 0.01))
    assert slow.least_sigma(p, mapped, 20, 0.01, shape) == pytest.approx(slow.least_sigma(p, mean, 20, 0.01))
    assert slow.leading_loss(p, mapped, shape, 5) == pytest.approx(slow.leading_loss(p, mean, np.eye(2), 5))
    assert slow.diffuse_limit(p, mapped, shape, 5, 4) == pytest.approx(slow.diffuse_limit(p, mean, np.eye(2), 5, 4))


def test_floor_that_knows_the_blur_in_whole_runs() -> None:
    gap, steps, m = slow.widest_gap(CIRCLE, isotropic(1.5)), 60, 5
    floor = slow.diffuse_floor(0.8, gap, m, steps)
    assert floor > 4 * text.text_diversity_floor(0.8, m, steps)

    def final(state: State) -> tuple[float, float]:
        result = replicate(System(state, m, 1, image_updates=0), steps, 2000, rng=4, times=[steps])
        return float(result.mean["text_diversity"][0]), float(result.standard_error["text_diversity"][0])

    mean, error = final(circle(5, 1.5))
    assert mean > floor - SIX * error
    # Negative control: wider images of unequal width fall through the floor.
    wide = (1.5 * np.array([1.0, 3.0, 9.0, 27.0, 81.0]))[:, None, None] ** 2 * np.eye(2)
    mean, error = final(State.create(np.full(5, 0.2), CIRCLE, wide))
    assert mean < floor - SIX * error


def test_floor_values() -> None:
    assert slow.diffuse_floor(0.8, 0.0, 10, 50) == 0.8
    assert slow.diffuse_floor(0.8, 1e3, 10, 50) == text.text_diversity_floor(0.8, 10, 50)
    assert slow.diffuse_floor(0.5, 1.0, 4, 3, text_updates=2) == pytest.approx(0.5 * (1 - (1 - np.exp(-0.25)) / 4) ** 6)
    np.testing.assert_allclose(slow.diffuse_floor(1.0, 2.0, 1, [0, 1, 2]), np.exp([0.0, -1.0, -2.0]))


def test_least_sigma_promises_one_update_only() -> None:
    p, mean, m, delta, t = np.array([0.98, 0.02]), PAIR, 10, 0.004, 150
    line = text_diversity(p) * (1 - delta) ** t
    results = []
    for sigma in (slow.least_sigma(p, mean, m, delta), slow.guaranteed_sigma(mean, m, delta)):
        system = System(State.create(p, mean, isotropic(sigma, 1)), m, 1, image_updates=0)
        result = replicate(system, t, 2000, rng=5, times=[t])
        results.append((result.mean["text_diversity"][0] - line) / result.standard_error["text_diversity"][0])
    assert results[0] < -SIX
    assert results[1] > SIX


def test_diffuse_limit_against_simulation() -> None:
    sigma, m, times = 6.0, 1, [18, 72, 144]
    result = replicate(System(circle(5, sigma, p=P), m, 1, image_updates=0), 144, 2000, rng=6, times=times)
    limit = slow.diffuse_limit(P, CIRCLE, isotropic(sigma), m, times)
    assert np.all(np.abs(result.mean["text_diversity"] - limit) < SIX * result.standard_error["text_diversity"])
    # Negative control: the floor, and the leading order carried on for the whole time, are both far off.
    straight = text_diversity(P) - 144 * slow.leading_loss(P, CIRCLE, isotropic(sigma), m).value
    for other in (
        straight,
        slow.diffuse_floor(float(text_diversity(P)), slow.widest_gap(CIRCLE, isotropic(6)), m, 144),
    ):
        assert abs(result.mean["text_diversity"][2] - other) > SIX * result.standard_error["text_diversity"][2]


def test_diffuse_limit_values() -> None:
    assert slow.diffuse_limit(P, CIRCLE, np.eye(2), 3, 0) == text_diversity(P)
    # After M updates as much is lost as one image tells.
    assert slow.diffuse_limit(P, CIRCLE, np.eye(2), 3, 3) == pytest.approx(0.560147, abs=6e-7)
    value = slow.diffuse_limit(P, CIRCLE, np.eye(2), 3, [[0, 3], [3, 12]])
    assert value.shape == (2, 2)
    assert value[0, 1] == value[1, 0]
    assert value[1, 1] == pytest.approx(0.287398, abs=6e-7)


@pytest.mark.parametrize("rare", [1e-6, 1e-32, 1e-250])
def test_rare_texts_keep_their_share(rare: float) -> None:
    # Half of the rare text's images are told apart at Delta = sqrt(2 ln(1/p)), by symmetry, and the share lost is
    # E_{x ~ N_2} of a posterior: against adaptive quadrature around N_2.
    for gap in (1.0, 5.0, np.sqrt(-2 * np.log(rare)), 2 * np.sqrt(-2 * np.log(rare))):
        centre = gap / 2 + np.log(rare) / gap
        share = integrate.quad(
            lambda y, gap=gap, centre=centre: stats.norm.pdf(y) * special.expit(gap * (y + centre)),
            -40,
            40,
            points=[0, float(np.clip(-centre, -39, 39))],
            epsabs=1e-13,
            limit=500,
        )[0]
        exact = slow.relative_loss([1 - rare, rare], [[0.0], [gap]], [[1.0]], 1)
        assert 0 <= exact == pytest.approx(share, abs=2 * rare + 3e-12)
    least = slow.least_sigma([1 - rare, rare], [[0.0], [1.0]], 1, 0.1)
    assert slow.relative_loss([1 - rare, rare], [[0.0], [1.0]], [[least**2]], 1) == pytest.approx(0.1, rel=1e-6)


def test_floors_at_extreme_arguments() -> None:
    assert slow.diffuse_floor(0.5, 1.0, 10, 10**15, 10**4) == 0
    assert text.text_diversity_floor(0.5, 10, [0, 10**15], 10**15).tolist() == [0.5, 0]
    assert text.text_diversity_floor(0.5, 1, [0, 1], 1).tolist() == [0.5, 0]
    assert slow.diffuse_floor(1.0, 1e-8, 1, 10**15) == pytest.approx(np.exp(-0.025), rel=1e-14)
    assert slow.diffuse_floor(0.5, 1e200, 10, 5) == text.text_diversity_floor(0.5, 10, 5)
    assert slow.leading_loss([0.5, 0.5], [[0.0], [1e100]], np.eye(1), 1).error == np.inf
    # 49 (1 / 49) falls short of 1 by a rounding.
    assert slow.guaranteed_sigma(PAIR, 49, 1 / 49) == slow.least_sigma([0.5, 0.5], PAIR, 49, 1 / 49) == 0
    assert slow.guaranteed_sigma(PAIR, 49, 1 / 49 - 1e-15) > 0


def test_means_on_a_line_in_space() -> None:
    p, place = [0.5, 0.3, 0.2], np.array([0.0, 70.0, 100.0])
    direction = np.array([0.3, 0.7, 0.61])
    line, length = np.outer(place, direction), np.linalg.norm(direction)
    assert slow.diffuse_limit(p, line, np.eye(3), 1, [0, 10**14]).tolist() == pytest.approx([0.62, 0], abs=1e-15)
    flat = slow.diffuse_limit(p, place[:, None] * length, 1e4 * np.eye(1), 1, 3)
    assert slow.diffuse_limit(p, line, 1e4 * np.eye(3), 1, 3) == pytest.approx(flat, rel=1e-9)
    near = np.outer([0.0, 1e-8, 1e3], direction)
    least = slow.least_sigma([0.4, 0.4, 0.2], near, 1, 0.5)
    assert least == pytest.approx(
        slow.least_sigma([0.4, 0.4, 0.2], near @ direction[:, None] / length, 1, 0.5), rel=1e-6
    )
    # Means that agree have no direction; one is kept.
    assert slow.diffuse_limit(p, np.ones((3, 4)), np.eye(4), 1, 9) == pytest.approx(0.62, rel=1e-12)


def test_digits_of_means_and_masses() -> None:
    far = 2.0**50 + np.array([[0.0], [1.0]])
    assert slow.widest_gap(far, [[3.0]]) == pytest.approx(3**-0.5, rel=1e-14)
    for off in (-4e-10, 4e-10):  # a sum of 1 within the rounding allowed: coinciding texts still lose nothing
        assert slow.relative_loss([0.5 + off, 0.5 + off], np.zeros((2, 1)), np.eye(1), 1) < 1e-12
    # A text without mass has no say, wherever it is.
    with_one = slow.least_sigma([0.5, 0.5, 0.0], [[-1.0], [1.0], [1e300]], 1, 0.1)
    assert with_one == slow.least_sigma([0.5, 0.5], PAIR, 1, 0.1)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"mean must have shape \(2, d\), got \(5, 2\)"):
        slow.diffuse_limit([0.5, 0.5], CIRCLE, np.eye(2), 5, 0)
    calls: tuple[Callable[[Any], object], ...]
    calls = (
        lambda p: slow.relative_loss(p, CIRCLE, np.eye(2), 5),
        lambda p: slow.least_sigma(p, CIRCLE, 5, 0.01),
        lambda p: slow.leading_loss(p, CIRCLE, np.eye(2), 5),
        lambda p: slow.diffuse_limit(p, CIRCLE, np.eye(2), 5, 1),
    )
    for p_taking in calls:
        with pytest.raises(ValueError, match="p must sum to 1"):
            p_taking([0.5, 0.4])
        with pytest.raises(ValueError, match=r"mean must have shape \(2, d\), got \(5, 2\)"):
            p_taking([0.5, 0.5])
    calls = (
        lambda p: slow.relative_loss(p, CIRCLE, np.eye(2), 5),
        lambda p: slow.least_sigma(p, CIRCLE, 5, 0.01),
    )
    for one_hot in calls:
        with pytest.raises(ValueError, match="p must have at least two positive entries"):
            one_hot([1, 0, 0, 0, 0])
    calls = (
        lambda m: slow.relative_loss(P, CIRCLE, np.eye(2), m),
        lambda m: slow.relative_loss_bound(1.0, m),
        lambda m: slow.diffuse_floor(0.5, 1.0, m, 1),
        lambda m: slow.guaranteed_sigma(CIRCLE, m, 0.01),
        lambda m: slow.least_sigma(P, CIRCLE, m, 0.01),
        lambda m: slow.leading_loss(P, CIRCLE, np.eye(2), m),
        lambda m: slow.diffuse_limit(P, CIRCLE, np.eye(2), m, 1),
    )
    for m_taking in calls:
        with pytest.raises(ValueError, match="text_samples must be an integer >= 1, got 0"):
            m_taking(0)
        with pytest.raises(TypeError, match="text_samples must be an integer >= 1"):
            m_taking(2.0)
    calls = (
        lambda delta: slow.guaranteed_sigma(CIRCLE, 5, delta),
        lambda delta: slow.least_sigma(P, CIRCLE, 5, delta),
    )
    for delta_taking in calls:
        for delta in (0.0, 1.0, -0.1, np.nan):
            with pytest.raises(ValueError, match=r"delta must lie in \(0, 1\)"):
                delta_taking(delta)
    with pytest.raises(ValueError, match="delta must be at least 1e-06 / text_samples = 2e-07, got 1e-07"):
        slow.least_sigma(P, CIRCLE, 5, 1e-7)
    calls = (
        lambda shape: slow.guaranteed_sigma(CIRCLE, 5, 0.01, shape),
        lambda shape: slow.least_sigma(P, CIRCLE, 5, 0.01, shape),
    )
    for shape_taking in calls:
        with pytest.raises(ValueError, match="shape must be positive definite"):
            shape_taking(np.zeros((2, 2)))
    calls = (
        lambda cov: slow.widest_gap(CIRCLE, cov),
        lambda cov: slow.leading_loss(P, CIRCLE, cov, 5),
        lambda cov: slow.diffuse_limit(P, CIRCLE, cov, 5, 1),
    )
    for cov_taking in calls:
        with pytest.raises(ValueError, match=r"cov must have shape \(2, 2\), one covariance for all texts"):
            cov_taking(np.tile(np.eye(2), (5, 1, 1)))
    calls = (
        lambda mean: slow.widest_gap(mean, np.eye(2)),
        lambda mean: slow.guaranteed_sigma(mean, 5, 0.01),
    )
    for mean_taking in calls:
        with pytest.raises(ValueError, match="mean must have shape"):
            mean_taking([1.0, 2.0])
    calls = (lambda gap: slow.relative_loss_bound(gap, 5), lambda gap: slow.diffuse_floor(0.5, gap, 5, 1))
    for gap_taking in calls:
        with pytest.raises(ValueError, match=r"gap must lie in \[0, inf"):
            gap_taking(-1.0)
    with pytest.raises(ValueError, match=r"initial_diversity must lie in \[0, 1\], got 2"):
        slow.diffuse_floor(2.0, 1.0, 5, 1)
    with pytest.raises(ValueError, match="t must hold integers >= 0, got -1"):
        slow.diffuse_floor(0.5, 1.0, 5, -1)
    with pytest.raises(ValueError, match="text_updates must be an integer >= 0, got -1"):
        slow.diffuse_floor(0.5, 1.0, 5, 1, -1)
    with pytest.raises(ValueError, match="t must hold integers >= 0, got -2"):
        slow.diffuse_limit(P, CIRCLE, np.eye(2), 5, [1, -2])
