"""Theorem 3.1 and Corollary 3.2 against simulation, scipy densities, and a one-dimensional integral."""

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from coevo.simulation import State, text_update
from coevo.theory import image, text, wright_fisher

Array = NDArray[np.float64]
# A normal estimate exceeds 6.1 standard errors with probability 1e-9.
SIX = 6.1

ANGLE = 2 * np.pi * np.arange(5) / 5
CIRCLE = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=-1)
P = np.array([0.4, 0.3, 0.15, 0.1, 0.05])


def isotropic(sigma: float, n_texts: int = 5, dim: int = 2) -> Array:
    return np.tile(sigma**2 * np.eye(dim), (n_texts, 1, 1))


def posteriors(p: Array, mean: Array, cov: Array, runs: int, seed: int) -> Array:
    """Draw images from the mixture and return their posteriors, with scipy's densities."""
    rng = np.random.default_rng(seed)
    label = rng.choice(len(p), runs, p=p)
    x = mean[label] + np.einsum(
        "nab,nb->na", np.linalg.cholesky(cov)[label], rng.standard_normal((runs, mean.shape[1]))
    )
    joint = np.stack([p[k] * stats.multivariate_normal(mean[k], cov[k]).pdf(x) for k in range(len(p))], axis=1)
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(("sigma", "digits"), [(1.0, 0.560147), (0.5, 0.287398), (0.2, 0.004473)])
def test_check_numbers_on_the_circle(sigma: float, digits: float) -> None:
    # Six printed decimals: half a unit of the last one, and the 1e-7 of the quadrature that printed them.
    assert text.expected_posterior_diversity(P, CIRCLE, isotropic(sigma)) == pytest.approx(digits, abs=6e-7)


def test_two_texts_against_adaptive_quadrature() -> None:
    p, mean, sd = np.array([0.7, 0.3]), np.array([[0.0], [1.5]]), np.array([1.0, 0.4])

    def integrand(x: float) -> float:
        a, b = p * stats.norm(mean[:, 0], sd).pdf(x)
        return float(2 * a * b / (a + b))

    exact = integrate.quad(integrand, -9, 9, points=[0.5, 1.5, 2.5], epsabs=1e-13)[0]
    value = text.expected_posterior_diversity(p, mean, sd[:, None, None] ** 2)
    assert value == pytest.approx(exact, rel=1e-9)  # the default rtol; the Gaussian tails beyond 9 are below 1e-18


def test_different_covariances_against_simulation() -> None:
    rng = np.random.default_rng(3)
    root = rng.standard_normal((5, 2, 4))
    cov = 0.1 * root @ root.transpose(0, 2, 1)
    r = posteriors(P, CIRCLE, cov, 200_000, seed=4)
    diversity = 1 - np.sum(r**2, axis=1)
    error = diversity.std() / np.sqrt(len(r))
    exact = text.expected_posterior_diversity(P, CIRCLE, cov)
    assert abs(diversity.mean() - exact) < SIX * error
    # Negative control: the prior's diversity, as if images said nothing.
    assert abs(diversity.mean() - (1 - P @ P)) > SIX * error


def test_a_narrow_third_text_is_resolved() -> None:
    # Its density is a spike of width 1e-5 between the other two: a fixed grid would step over it.
    p, mean, cov = np.array([0.3, 0.3, 0.4]), np.array([[0.0], [0.0], [1.0]]), np.array([1.0, 2.0, 1e-10])
    value = text.expected_posterior_diversity(p, mean, cov[:, None, None])
    # The spike takes no mass from the others: what is left is the pair of texts 0 and 1.
    pair = text.expected_posterior_diversity([0.5, 0.5], mean[:2], cov[:2, None, None])
    # Within eight of its standard deviations of 1 the harmonic means 2ab / (a + b) are at most 2 min(a, b): twice the
    # mass of the others there. Outside lies 1e-15 of the spike.
    others = float(0.3 * stats.norm(0, 1).pdf(1) + 0.3 * stats.norm(0, np.sqrt(2)).pdf(1))
    bound = 2 * 16e-5 * others
    assert bound < 2e-4 * pair
    assert value == pytest.approx(0.6 * pair, rel=0, abs=bound)


def test_extremes() -> None:
    same = np.zeros((5, 2))
    assert text.expected_posterior_diversity(P, same, isotropic(1.0)) == pytest.approx(1 - P @ P, rel=1e-12)
    assert text.expected_posterior_diversity(P, CIRCLE, isotropic(0.001)) == 0
    assert text.expected_posterior_diversity([1.0], [[0.0]], [[[1.0]]]) == 0
    shared = text.expected_posterior_diversity(P, CIRCLE, np.diag([1.0, 0.5]))
    assert shared == text.expected_posterior_diversity(P, CIRCLE, np.tile(np.diag([1.0, 0.5]), (5, 1, 1)))
    # A text without mass changes nothing, whatever its images.
    without = text.expected_posterior_diversity([0.5, 0.5], CIRCLE[:2], isotropic(0.7, 2))
    with_one = text.expected_posterior_diversity([0.5, 0.0, 0.5], CIRCLE[[0, 2, 1]], isotropic(0.7, 3))
    assert with_one == pytest.approx(without, rel=1e-12)


def test_more_dimensions_are_projected() -> None:
    rotation = stats.ortho_group(3, seed=5).rvs()
    mean = np.c_[CIRCLE, np.full(5, 0.3)] @ rotation.T
    flat = text.expected_posterior_diversity(P, CIRCLE, isotropic(0.5))
    # here and below: the default rtol of 1e-9
    assert text.expected_posterior_diversity(P, mean, isotropic(0.5, dim=3)) == pytest.approx(flat, rel=1e-9)
    identical = text.expected_posterior_diversity(P, np.ones((5, 4)), isotropic(2.0, dim=4))
    assert identical == pytest.approx(1 - P @ P, rel=1e-12)
    # Covariances that differ in one direction only: still two directions in all.
    cov = np.tile(np.diag([1.0, 1.0, 0.5, 2.0]), (2, 1, 1))
    cov[1, 0, 0] = 3.0
    mean = np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    reduced = text.expected_posterior_diversity(
        [0.5, 0.5], mean[:, [0, 2]], np.stack([np.diag([1.0, 0.5]), np.diag([3.0, 0.5])])
    )
    assert text.expected_posterior_diversity([0.5, 0.5], mean, cov) == pytest.approx(reduced, rel=1e-9)


def test_estimate_agrees_with_quadrature_and_simulation() -> None:
    exact = text.expected_posterior_diversity(P, CIRCLE, isotropic(0.5))
    value, error = text.posterior_diversity_estimate(P, CIRCLE, isotropic(0.5), rng=7, samples=512)
    # Student's t with 15 degrees of freedom: one false alarm in 10^9.
    assert abs(value - exact) < stats.t.isf(0.5e-9, 15) * error
    assert error < 1e-3 * exact  # plain Monte Carlo with as many points, 8192 a pair, would have 3e-3
    rng = np.random.default_rng(8)
    root, mean = rng.standard_normal((5, 3, 6)), rng.standard_normal((5, 3))
    cov = 0.2 * root @ root.transpose(0, 2, 1)
    estimate = text.posterior_diversity_estimate(P, mean, cov, rng=rng, samples=512)
    r = posteriors(P, mean, cov, 100_000, seed=9)
    diversity = 1 - np.sum(r**2, axis=1)
    # Student's quantile of the estimate over the normal one is 2: its error counts twice.
    assert abs(diversity.mean() - estimate.value) < SIX * np.hypot(
        diversity.std() / np.sqrt(len(r)), stats.t.isf(0.5e-9, 15) / SIX * estimate.standard_error
    )


def test_bhattacharyya_coefficients_and_their_bound() -> None:
    mean, sd = np.array([[0.0], [1.0], [-2.0]]), np.array([1.0, 0.3, 2.0])
    overlap = text.bhattacharyya_coefficients(mean, sd[:, None, None] ** 2)
    for i, j in ((0, 1), (0, 2), (1, 2), (1, 1)):
        f, g = stats.norm(mean[i, 0], sd[i]), stats.norm(mean[j, 0], sd[j])
        exact = integrate.quad(lambda x, f=f, g=g: np.sqrt(f.pdf(x) * g.pdf(x)), -12, 12, points=[0, 1], limit=200)[0]
        assert overlap[i, j] == pytest.approx(exact, rel=1e-8)  # what `quad` aims at by default is 1.5e-8
    np.testing.assert_allclose(overlap, overlap.T, rtol=1e-14)
    for sigma in (0.2, 0.5, 1.0):
        roots = np.sqrt(P)
        bound = 0.5 * (roots @ text.bhattacharyya_coefficients(CIRCLE, isotropic(sigma)) @ roots - 1)
        assert text.expected_posterior_diversity(P, CIRCLE, isotropic(sigma)) <= bound


def test_expected_text_diversity_against_one_simulated_update() -> None:
    m, runs = 8, 20_000
    r = posteriors(P, CIRCLE, isotropic(0.5), m * runs, seed=10)
    diversity = 1 - np.sum(r.reshape(runs, m, 5).mean(axis=1) ** 2, axis=1)
    error = diversity.std() / np.sqrt(runs)
    exact = text.expected_text_diversity(P, CIRCLE, isotropic(0.5), m)
    assert abs(diversity.mean() - exact) < SIX * error
    # The form of the paper, D - (sum a_i - sum p_i^2) / M, with a_i = E r_i^2 from the same draws.
    purity = np.sum(r**2, axis=1)
    other = (1 - P @ P) - (purity.mean() - P @ P) / m
    assert abs(other - exact) < SIX * purity.std() / np.sqrt(len(r)) / m
    # Negative control: the floor, exact for separated texts, is far below.
    assert diversity.mean() - text.text_diversity_floor(1 - P @ P, m, 1) > SIX * error


def test_slow_collapse_of_diffuse_images() -> None:
    # Theorem 4.1 with its leading order sum p_i^2 |mu_i - mu|^2 / (M sigma^2).
    centre = P @ CIRCLE
    leading = P**2 @ np.sum((CIRCLE - centre) ** 2, axis=1)
    for sigma, digits in ((5.0, 0.007314), (10.0, 0.001840)):
        loss = (1 - P @ P) - text.expected_posterior_diversity(P, CIRCLE, isotropic(sigma))
        assert loss == pytest.approx(digits, abs=6e-7)  # six printed decimals, as above
        # The next order is 1 / sigma^4, from means at distance 1 from each other's centre: a relative 2 / sigma^2.
        assert loss == pytest.approx(leading / sigma**2, rel=2 / sigma**2)


def test_floor_is_reached_by_separated_texts() -> None:
    m, diversity = 30, float(1 - P @ P)
    separated = text.expected_text_diversity(P, CIRCLE, isotropic(0.001), m)
    assert separated == pytest.approx(text.text_diversity_floor(diversity, m, 1), rel=1e-12)
    floor = text.text_diversity_floor(diversity, m, np.arange(4), text_updates=3)
    np.testing.assert_allclose(floor, diversity * (29 / 30) ** np.array([0, 3, 6, 9]), rtol=1e-13)
    assert text.text_diversity_floor(0.5, 1, 0) == 0.5
    assert text.text_diversity_floor(0.5, 1, 1) == 0
    assert text.text_diversity_floor(0.5, 7, 9, text_updates=0) == 0.5


def test_half_life() -> None:
    assert text.half_life(100) == pytest.approx(68.9676, abs=5e-5)
    assert text.half_life(100, 4) == pytest.approx(68.9676 / 4, abs=5e-5)
    assert text.half_life(1) == 0
    assert text.half_life(2) == pytest.approx(1)


def test_effective_text_samples() -> None:
    m = 50
    assert text.effective_text_samples(P, CIRCLE, isotropic(0.001), m) == pytest.approx(m, rel=1e-12)
    assert text.effective_text_samples(P, np.zeros((5, 2)), isotropic(1.0), m) == np.inf
    effective = text.effective_text_samples(P, CIRCLE, isotropic(0.5), m)
    diversity = 1 - P @ P
    after = text.expected_text_diversity(P, CIRCLE, isotropic(0.5), m)
    assert after == pytest.approx((1 - 1 / effective) * diversity, rel=1e-12)
    assert effective > m


def fixed_by_simulation(p: Array, mean: Array, sigma: float, runs: int, steps: int) -> Array:
    """Text models of `steps` simulated updates with 5 images each."""
    rng = np.random.default_rng(11)
    state = State.create(p, mean, sigma**2 * np.eye(2), runs)
    for _ in range(steps):
        state = text_update(state, 5, rng)
    return state.p


def test_fixation_probabilities_against_simulation() -> None:
    # Two texts with the same images, of mass 0.3 in all, against a third one far away.
    p, mean, runs = np.array([0.2, 0.1, 0.7]), np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), 6000
    exact = text.fixation_probabilities(p, [0, 0, 1])
    np.testing.assert_allclose(exact, [0.3, 0.7], rtol=1e-15)
    # A run that has not come to its end after t updates has probability (1 - 1/5)^t D_0 / (1/5), 1e-7 at t = 80.
    found = fixed_by_simulation(p, mean, 1e-6, runs, 80)
    won = found[:, 2] < 0.5
    # Each update rounds a few times at 1e-16.
    np.testing.assert_allclose(found[won], np.broadcast_to([2 / 3, 1 / 3, 0.0], (won.sum(), 3)), rtol=1e-12)
    np.testing.assert_allclose(found[~won], np.broadcast_to([0.0, 0.0, 1.0], ((~won).sum(), 3)), rtol=1e-12)
    assert abs(won.mean() - exact[0]) < SIX * np.sqrt(exact[0] * exact[1] / runs)
    # Negative control: as three classes of their own, the first text would be alone in the end in a fifth of the runs.
    assert not (found[:, 0] > 0.99).any()


def test_fixation_probabilities_of_overlapping_texts() -> None:
    p, runs = np.array([0.5, 0.3, 0.2]), 4000
    angle = 2 * np.pi * np.arange(3) / 3
    found = fixed_by_simulation(p, np.stack([np.cos(angle), np.sin(angle)], axis=-1), 0.5, runs, 150)
    assert found.max(axis=1).min() > 1 - 1e-6
    share = np.bincount(found.argmax(axis=1), minlength=3) / runs
    assert (np.abs(share - text.fixation_probabilities(p)) < SIX * np.sqrt(p * (1 - p) / runs)).all()
    # Negative control: the text in the lead does not always win, nor does each win equally often.
    assert (np.abs(share - 1 / 3) > SIX * np.sqrt(p * (1 - p) / runs)).any()
    np.testing.assert_array_equal(text.fixation_probabilities(p), p)


@pytest.mark.parametrize("q", [1e-6, 2.0**-30, 1e-12, 1e-15])
def test_diversities_near_collapse_keep_their_digits(q: float) -> None:
    """1 - p.p = 2 q (1 - q), which the difference would hold to 1e-16 / q only."""
    p = np.array([1 - q, q])
    exact = 2 * q * p[0]
    mean, cov = np.array([[0.0, 0.0], [5.0, 0.0]]), np.eye(2)
    separated = text.expected_text_diversity(p, mean, 1e-6 * cov, 4)
    assert separated == pytest.approx(0.75 * exact, rel=1e-12, abs=0)
    assert text.effective_text_samples(p, mean, 1e-6 * cov, 4) == pytest.approx(4, rel=1e-12)
    # Coinciding texts lose nothing; their quadrature leaves out what is below atol.
    assert text.expected_text_diversity(p, 0 * mean, cov, 4) == pytest.approx(exact, rel=1e-12, abs=1e-15)
    # An image of the rare text makes up for its mass about half of the time at this width: |mean|^2 / 2 = -width ln q.
    middle = 25 / (-2 * np.log(q)) * cov
    kept = text.expected_posterior_diversity(p, mean, middle)
    assert 0.1 * exact < kept < 0.9 * exact
    assert text.effective_text_samples(p, mean, middle, 4) == pytest.approx(4 * exact / (exact - kept), rel=1e-11)
    np.testing.assert_allclose(
        wright_fisher.expected_diversity(4, p, np.arange(3)), exact * 0.75 ** np.arange(3), rtol=1e-12
    )


@pytest.mark.parametrize("variance", [1e-200, 1e-160, 1.0, 1e160, 1e200])
@pytest.mark.parametrize("dim", [2, 3])
def test_the_mean_volume_keeps_its_digits_at_every_scale(variance: float, dim: int) -> None:
    """det Sigma_0 itself, 1e-400 or 1e600, is no floating-point number; its root is, in the plane."""
    nu, t = 7, np.array([0, 1, 5])
    with mpmath.workdps(40):
        root = mpmath.sqrt(mpmath.mpf(variance)) ** dim
        chi = [mpmath.sqrt(2) * mpmath.gammaprod([mpmath.mpf(k + 1) / 2], [mpmath.mpf(k) / 2]) for k in range(8)[1:]]
        rate = mpmath.fprod(chi[nu - 1 - k] / mpmath.sqrt(nu) for k in range(dim))
        exact = [float(root * rate ** int(s)) for s in t]
    assert 0 < exact[-1] < np.inf
    found = image.expected_root_determinant(variance * np.eye(dim), nu, t)
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    if dim == 2:
        np.testing.assert_allclose(found, variance * (1 - 1 / nu) ** t, rtol=1e-12)


COV = isotropic(1.0)


@pytest.mark.parametrize(
    ("p", "mean", "cov", "error", "message"),
    [
        ([0.5, 0.6], CIRCLE[:2], COV[:2], ValueError, "p must sum to 1"),
        ([1.5, -0.5], CIRCLE[:2], COV[:2], ValueError, r"p must hold probabilities in \[0, 1\]"),
        ([0.5, np.nan], CIRCLE[:2], COV[:2], ValueError, "p must hold finite numbers"),
        (["a", "b"], CIRCLE[:2], COV[:2], TypeError, "p must be an array of real numbers"),
        (P, CIRCLE[:4], COV[:4], ValueError, r"mean must have shape \(5, d\), got \(4, 2\)"),
        (P, CIRCLE[:, 0], COV, ValueError, "mean must have shape"),
        (P, CIRCLE, COV[:4], ValueError, r"cov must have shape \(5, 2, 2\) or \(2, 2\), got \(4, 2, 2\)"),
        (P, CIRCLE, isotropic(1.0, dim=3), ValueError, "cov must have shape"),
        (P, CIRCLE, 0 * COV, ValueError, "cov must be positive definite"),
        (P, CIRCLE, -COV, ValueError, "cov must be positive semidefinite"),
    ],
)
def test_bad_systems(p: Array, mean: Array, cov: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        text.expected_posterior_diversity(p, mean, cov)
    with pytest.raises(error, match=message):
        text.posterior_diversity_estimate(p, mean, cov, rng=0)
    with pytest.raises(error, match=message):
        text.expected_text_diversity(p, mean, cov, 10)
    with pytest.raises(error, match=message):
        text.effective_text_samples(p, mean, cov, 10)
    if not message.startswith(("p ", r"mean must have shape \(")):
        with pytest.raises(error, match=message):
            text.bhattacharyya_coefficients(mean, cov)


def test_bad_scales_and_dimensions_are_refused() -> None:
    rng = np.random.default_rng(1)
    root = rng.standard_normal((5, 3, 6))
    with pytest.raises(
        ValueError, match="at most 2 directions for quadrature, got 3; use posterior_diversity_estimate"
    ):
        text.expected_posterior_diversity(P, rng.standard_normal((5, 3)), root @ root.transpose(0, 2, 1))
    cov = isotropic(1.0)
    cov[4] *= 1e-8
    with pytest.raises(ValueError, match="mean and cov must have comparable scales for quadrature"):
        text.expected_posterior_diversity(P, CIRCLE, cov)


def test_bad_options() -> None:
    system = (P, CIRCLE, COV)
    for name, value in (("rtol", 0.0), ("rtol", 2.0), ("atol", -1.0), ("atol", np.inf)):
        with pytest.raises(ValueError, match=f"{name} must lie in"):
            text.expected_posterior_diversity(*system, **{name: value})
    for options, error, message in (
        ({"samples": 100}, ValueError, "samples must be a power of two, got 100"),
        ({"samples": 1}, ValueError, "samples must be an integer >= 2"),
        ({"scramblings": 1}, ValueError, "scramblings must be an integer >= 2"),
        ({"scramblings": 2.0}, TypeError, "scramblings must be an integer >= 2"),
        ({"rng": -1}, ValueError, "rng must be"),
    ):
        with pytest.raises(error, match=message):
            text.posterior_diversity_estimate(*system, **{"rng": 0, **options})  # type: ignore[arg-type]
    for function in (text.expected_text_diversity, text.effective_text_samples):
        with pytest.raises(ValueError, match="text_samples must be an integer >= 1, got 0"):
            function(*system, 0)
    with pytest.raises(ValueError, match="p must have at least two positive entries"):
        text.effective_text_samples([1.0, 0.0], CIRCLE[:2], COV[:2], 10)


def test_bad_input_of_the_floor_and_fixation() -> None:
    for args, error, message in (
        ((1.2, 10, 1), ValueError, r"initial_diversity must lie in \[0, 1\], got 1.2"),
        ((0.5, 0, 1), ValueError, "text_samples must be an integer >= 1, got 0"),
        ((0.5, 10, -1), ValueError, "t must hold integers >= 0, got -1"),
        ((0.5, 10, 0.5), TypeError, "t must hold integers"),
        ((0.5, 10, 1, -1), ValueError, "text_updates must be an integer >= 0, got -1"),
    ):
        with pytest.raises(error, match=message):
            text.text_diversity_floor(*args)
    with pytest.raises(ValueError, match="text_updates must be an integer >= 1, got 0"):
        text.half_life(10, 0)
    with pytest.raises(TypeError, match="text_samples"):
        text.half_life(10.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="p must sum to 1"):
        text.fixation_probabilities([0.5, 0.4])
    for classes, error, message in (
        ([0, 1], ValueError, r"classes must have shape \(3,\), got \(2,\)"),
        ([0, 2, 2], ValueError, r"classes must use every label from 0 to 2, got \[0, 2\]"),
        ([0, -1, 1], ValueError, "classes must hold integers >= 0, got -1"),
        ([0.0, 1.0, 1.0], TypeError, "classes must hold integers"),
    ):
        with pytest.raises(error, match=message):
            text.fixation_probabilities([0.2, 0.3, 0.5], classes)
