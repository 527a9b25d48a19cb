"""Theorem 4.2 against quadrature, against refits simulated here image by image, and against the simulator."""

from functools import cache

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from coevo import State, System, UserContent, circle, replicate, text_diversity
from coevo.simulation import image_update, text_update
from coevo.theory import acceleration, text

Array = NDArray[np.float64]
SIX = 6.1
P5 = np.array([0.4, 0.3, 0.15, 0.1, 0.05])


def mean_and_error(sample: Array) -> tuple[float, float]:
    return float(sample.mean()), float(sample.std(ddof=1) / np.sqrt(len(sample)))


@pytest.mark.parametrize("seed", range(8))
def test_posterior_diversity_bound_against_quadrature(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_texts = int(rng.integers(2, 5))
    p = rng.dirichlet(np.full(n_texts, 0.7))
    mean = rng.normal(size=(n_texts, 2)) * rng.uniform(0.1, 4)
    half = rng.normal(size=(n_texts, 2, 2))
    cov = half @ half.mT + 0.3 * np.eye(2)
    exact = text.expected_posterior_diversity(p, mean, cov)
    assert exact <= acceleration.posterior_diversity_bound(p, mean, cov) <= text_diversity(p) * (1 + 1e-12)
    low, high = acceleration.expected_text_diversity_bounds(p, mean, cov, 7)
    assert low == pytest.approx(6 / 7 * text_diversity(p))
    assert low <= text.expected_text_diversity(p, mean, cov, 7) <= high


def test_posterior_diversity_bound_by_hand() -> None:
    p, mean = [0.9, 0.1], [[0.0, 0.0], [3.0, 0.0]]
    assert acceleration.posterior_diversity_bound(p, mean, 0.25 * np.eye(2)) == pytest.approx(0.3 * np.exp(-4.5))
    # Diffuse images: the sum exceeds the diversity, which is then the bound; and it is attained by equal laws.
    assert acceleration.posterior_diversity_bound(p, mean, 1e4 * np.eye(2)) == pytest.approx(0.18)
    same = acceleration.expected_text_diversity_bounds(p, np.zeros((2, 2)), np.eye(2), 10)
    assert same.upper == pytest.approx(text.expected_text_diversity(p, np.zeros((2, 2)), np.eye(2), 10))
    # One text, or one text with mass, has nothing to lose.
    assert acceleration.posterior_diversity_bound([1.0], [[0.0]], [[1.0]]) == 0
    assert acceleration.posterior_diversity_bound([1.0, 0.0], mean, np.eye(2)) == 0


def test_separated_bound_holds_for_the_worst_law_of_the_spread() -> None:
    # In one dimension, for equal spreads and equal masses: spread 0 or y, with the mean C rho^s. The exact mean of
    # E_x D(r) is P(y) times a quadrature.
    p, gap, m = [0.5, 0.5], 1.5, 0.05
    values = []
    for y in np.linspace(0.1, 3, 30):
        exact = text.expected_posterior_diversity(p, [[0.0], [gap]], [[y**2]])
        values.append(m / y * exact)
    bound = acceleration.separated_overlap_bound(p, m, 1.0, gap, 0)
    assert max(values) <= bound
    assert bound <= 0.5 * np.sqrt(8 / np.e) * m / gap * (1 + 1e-12)
    # Not loose by more than a small factor: the spread is bounded by the sum of two roots, and BC is not E D(r).
    assert bound < 3 * max(values)


def test_separated_bound_shape_and_cap() -> None:
    s = np.array([[0, 50], [100, 400]])
    value = acceleration.separated_overlap_bound(P5, 2.0, 0.97, 1.0, s)
    assert value.shape == (2, 2)
    assert value[0, 0] == pytest.approx(text_diversity(P5))
    weight = sum(np.sqrt(P5[i] * P5[j]) for i in range(5) for j in range(i))
    assert value[1, 1] == pytest.approx(np.sqrt(8 / np.e) * 2 * 0.97**400 * weight)
    assert acceleration.separated_overlap_bound(P5, 0.0, 0.97, 1.0, 3) == 0


@pytest.mark.parametrize("delta", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("p", [[0.5, 0.5], list(P5), [0.0, 0.999, 0.001]])
def test_sufficient_separated_is_the_least_number(p: list[float], delta: float) -> None:
    arguments = (40.0, 0.95, 0.5)
    s = acceleration.sufficient_image_updates_separated(p, delta, *arguments)
    goal = delta * text_diversity(p)
    assert acceleration.separated_overlap_bound(p, *arguments, s) <= goal * (1 + 1e-12)
    pairs = sum(np.sqrt(p[i] * p[j]) for i in range(len(p)) for j in range(i))
    assert np.sqrt(8 / np.e) * 40 * 0.95 ** (s - 1) * pairs / 0.5 > goal


def test_sufficient_separated_digits_and_growth() -> None:
    assert acceleration.sufficient_image_updates_separated([0.5, 0.5], 0.1, 2.0, 0.97, 1.0) == 117
    # Images that separate the texts from the start need no update.
    assert acceleration.sufficient_image_updates_separated([0.5, 0.5], 0.1, 1e-3, 0.97, 1.0) == 0
    # Towards one-hot the number grows like ln(1 / p_2) / (2 ln(1 / rho)).
    few, many = (acceleration.sufficient_image_updates_separated([1 - x, x], 0.1, 2.0, 0.97, 1.0) for x in (1e-4, 1e-8))
    assert many - few == pytest.approx(2 * np.log(10) / -np.log(0.97), abs=1)


def refitted_pair(
    p: tuple[float, float], n_images: int, steps: int, runs: int, spread: tuple[float, float], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Refit two one-dimensional texts with equal means; return gaps (steps + 1, runs) and spreads (..., 2)."""
    mean, scale = np.zeros((runs, 2)), np.tile(spread, (runs, 1)).astype(float)
    gaps, scales = [mean[:, 0] - mean[:, 1]], [scale.copy()]
    for _ in range(steps):
        n = rng.multinomial(n_images, p, runs)
        seen = n >= 2
        size = np.where(seen, n, 2)
        mean = mean + np.where(seen, scale * rng.standard_normal((runs, 2)) / np.sqrt(size), 0.0)
        scale = scale * np.where(seen, np.sqrt(rng.chisquare(size - 1) / (size - 1)), 1.0)
        gaps.append(mean[:, 0] - mean[:, 1])
        scales.append(scale.copy())
    return np.array(gaps), np.array(scales)


@pytest.mark.parametrize(
    ("p", "n_images", "spread"),
    [((0.5, 0.5), 20, (1.0, 1.0)), ((0.8, 0.2), 20, (1.0, 30.0)), ((0.9, 0.1), 6, (1.0, 1.0)), ((0.5, 0.5), 2, (1, 1))],
)
def test_assumption_free_overlap_against_simulation(
    p: tuple[float, float], n_images: int, spread: tuple[float, float]
) -> None:
    gaps, scales = refitted_pair(p, n_images, 150, 8_000, spread, np.random.default_rng(n_images))
    square = (scales**2).sum(axis=-1)
    overlap = np.sqrt(2 * scales.prod(axis=-1) / square) * np.exp(-(gaps**2) / (4 * square))
    weight, d = np.sqrt(p[0] * p[1]), text_diversity(p)
    bound = acceleration.expected_overlap_bound(p, n_images, np.arange(151))
    assert (np.diff(bound) <= 0).all()
    assert bound[0] == pytest.approx(d)
    for s in (0, 5, 20, 60, 150):
        mean, error = mean_and_error(np.minimum(d, weight * overlap[s]))
        assert mean - SIX * error <= bound[s]


def test_assumption_free_overlap_is_not_idle() -> None:
    # Negative control: a bound smaller by a factor of thirty is violated.
    gaps, scales = refitted_pair((0.5, 0.5), 20, 60, 8_000, (1.0, 1.0), np.random.default_rng(1))
    square = (scales[-1] ** 2).sum(axis=-1)
    overlap = np.sqrt(2 * scales[-1].prod(axis=-1) / square) * np.exp(-(gaps[-1] ** 2) / (4 * square))
    mean, error = mean_and_error(0.5 * overlap)
    assert mean - SIX * error > acceleration.expected_overlap_bound([0.5, 0.5], 20, 60) / 30


@pytest.mark.parametrize(("dim", "n_images"), [(2, 24), (3, 40), (3, 8)])
def test_overlap_bound_in_several_dimensions_against_simulation(dim: int, n_images: int) -> None:
    system = System(State.create([0.5, 0.5], np.zeros((2, dim)), np.eye(dim)), 1, n_images, text_updates=0)
    rng = np.random.default_rng(2)
    times = [0, 5, 20, 40, 80]
    one_image = {"kept": lambda state: text_diversity(text_update(state, 1, rng).p)}
    result = replicate(system, 80, 1500, rng=7, statistics=one_image, times=times)
    bound = acceleration.expected_overlap_bound([0.5, 0.5], n_images, times, dim)
    assert (bound <= acceleration.expected_overlap_bound([0.5, 0.5], n_images, times)).all()
    assert (result.mean["kept"] - SIX * result.standard_error["kept"] <= bound * (1 + 1e-12)).all()


@cache
def fourth_root_of_chi_square(free: int) -> float:
    """E X^{1/4} by quadrature."""
    return float(stats.chi2(free).expect(lambda x: x**0.25))


@pytest.mark.parametrize(
    ("p", "n", "s", "dim"),
    # Rare texts are missed; of common ones the volume goes, here with a factor (2 N)^{k/2} for k = 1, 2 and 3.
    [(list(P5), 12, 600, 2), ([0.4, 0.35, 0.25], 40, 500, 1), ([0.5, 0.5], 30, 90, 2), ([0.6, 0.4], 12, 60, 3)],
)
def test_expected_overlap_bound_is_the_stated_sum(p: list[float], n: int, s: int, dim: int) -> None:
    counts = np.arange(n + 1)

    def gamma(count: int, k: int) -> float:
        if count < 2:
            return 1.0
        if count <= k:
            return 0.0
        return float(np.prod([fourth_root_of_chi_square(count - 1 - a) / (count - 1) ** 0.25 for a in range(k)]))

    def pair(i: int, j: int) -> float:
        weights = [stats.binom.pmf(counts, n, p[k]) for k in (i, j)]
        q = [w[:2].sum() ** s for w in weights]
        volume = [
            (2 * n) ** (k / 2) * np.prod([np.sqrt(w @ np.array(factors[k]) ** 2) for w in weights]) ** s
            for k in range(1, dim + 1)
        ]
        return float(min(1.0, sum(q) + min(volume)))

    factors = {k: [gamma(int(count), k) for count in counts] for k in range(1, dim + 1)}
    total = sum(np.sqrt(p[i] * p[j]) * pair(i, j) for i in range(len(p)) for j in range(i))
    assert total < text_diversity(p)
    assert acceleration.expected_overlap_bound(p, n, s, dim) == pytest.approx(total, rel=1e-6, abs=0)
    # A single image per update refits nothing.
    assert acceleration.expected_overlap_bound(P5, 1, 10**6) == pytest.approx(text_diversity(P5))


@pytest.mark.parametrize(("p", "n"), [([0.5, 0.5], 20), (list(P5), 100), ([0.97, 0.03], 30)])
def test_sufficient_image_updates_is_the_least_number(p: list[float], n: int) -> None:
    s = acceleration.sufficient_image_updates(p, n, 0.1)
    goal = 0.1 * text_diversity(p)
    assert acceleration.expected_overlap_bound(p, n, s) <= goal < acceleration.expected_overlap_bound(p, n, s - 1)
    assert acceleration.sufficient_image_updates(p, n, 1.0) == 0


def test_a_rare_text_keeps_its_digits() -> None:
    # A text of mass 1e-8 receives two images of 20 with probability 1.9e-14: a last digit of q_2 = 1 - 1.9e-14. The
    # other text is refitted at every update, and its volume is gone.
    rare, n, s = 1e-8, 20, 10**15
    missed = np.exp(-s * n * (n - 1) / 2 * rare**2)
    bound = acceleration.expected_overlap_bound([1 - rare, rare], n, s)
    assert bound == pytest.approx(np.sqrt(rare) * missed, rel=1e-5, abs=0)
    least = np.log(np.sqrt(rare) / (0.1 * 2 * rare)) / (n * (n - 1) / 2 * rare**2)
    assert acceleration.sufficient_image_updates([1 - rare, rare], n, 0.1) == pytest.approx(least, rel=1e-5)


@cache
def log_root_moment(free: int) -> mpmath.mpf:
    """Log of E (X / 2)^{1/4}, X ~ chi^2 with so many degrees of freedom, to 40 digits."""
    return mpmath.loggamma(mpmath.mpf(free) / 2 + 0.25) - mpmath.loggamma(mpmath.mpf(free) / 2)


@pytest.mark.parametrize(
    ("n", "mass", "dim"), [(3, 0.9, 3), (60, 0.5, 2), (60, 1.0, 3), (10**6, 0.3, 1), (500, 0.5, 200)]
)
def test_kept_volume_against_many_digits(n: int, mass: float, dim: int) -> None:
    kept = mpmath.mpf(0)
    with mpmath.workdps(40):
        centre, reach = n * mass, 60 + 12 * np.sqrt(n * mass * (1 - mass))
        odds = mpmath.mpf(mass) / (1 - mpmath.mpf(mass)) if mass < 1 else 0
        first = max(0, int(centre - reach)) if mass < 1 else n
        chance = mpmath.binomial(n, first) * mpmath.mpf(mass) ** first * (1 - mpmath.mpf(mass)) ** (n - first)
        for count in range(first, min(n, int(centre + reach)) + 1):
            nu = mpmath.mpf(count - 1)
            square = mpmath.mpf(1) if count < 2 else mpmath.mpf(0)
            if count > dim:
                square = mpmath.exp(2 * sum(log_root_moment(count - 1 - a) for a in range(dim)))
                square *= (2 / nu) ** (mpmath.mpf(dim) / 2)
            kept += chance * square
            chance *= odds * (n - count) / (count + 1)
        exact = float(mpmath.log(kept + mpmath.mpf(10) ** -300))
    value = acceleration._log_kept_volume(n, mass, dim)[-1]
    # The binomial probabilities of scipy have an error of about 1e-12.
    assert value == pytest.approx(exact, rel=3e-12, abs=0)


def test_an_overlap_counts_for_one_at_most() -> None:
    overlap = np.zeros((3, 3))
    overlap[1, 2] = overlap[2, 1] = 2.0
    assert acceleration._pair_bound(np.array([0.4, 0.3, 0.3]), overlap) == pytest.approx(0.3)


def test_many_images_and_dimensions() -> None:
    # (2 N)^{k/2} overflows for k = 250, and the determinant of a refit is below a rounding of 1.
    assert acceleration.expected_overlap_bound([0.5, 0.5], 1000, 1, 250) == 0.5
    assert acceleration.sufficient_image_updates([0.5, 0.5], 1000, 0.1, 250) == 26
    # A million images: with one dimension 1 - gamma^2 is about 3 / (8 N p).
    s = acceleration.sufficient_image_updates([0.5, 0.5], 10**6, 0.1)
    assert s == pytest.approx(np.log(np.sqrt(2e6) * 0.5 / 0.05) * 8 * 5e5 / 3, rel=1e-5)
    # One image update of two dimensions and two images: the covariance is singular at once.
    assert acceleration.expected_overlap_bound([1.0, 0.0], 2, [0, 1], 2).tolist() == [0, 0]


def test_separated_bounds_at_extreme_scales() -> None:
    # sqrt(8/e) C rho^s / Delta = 1/10, with C / Delta beyond the largest float.
    least = (np.log(10 * np.sqrt(8 / np.e)) + 318 * np.log(10)) / -np.log(0.9)
    assert acceleration.sufficient_image_updates_separated([0.5, 0.5], 0.1, 1e308, 0.9, 1e-10) == np.ceil(least)
    assert acceleration.separated_overlap_bound([0.5, 0.5], 1e308, 0.0, 1e-10, [0, 3]).tolist() == [0.5, 0]


def after_updates(user: UserContent | None) -> Array:
    """Diversity of the text model after enough image updates and one text update from M = 10 images; equal laws."""
    p, n = [0.6, 0.4], 20
    s = acceleration.sufficient_image_updates(p, n, 0.1)
    rng = np.random.default_rng(5)
    state = State.create(p, np.zeros((2, 2)), np.eye(2), runs=1500)
    for _ in range(s):
        state = image_update(state, n, rng, user)
    return text_diversity(text_update(state, 10, rng).p)


def test_promise_is_kept_by_the_simulator_from_equal_laws() -> None:
    d = 0.48
    mean, error = mean_and_error(after_updates(None))
    assert (1 - 1 / 10) * d - SIX * error <= mean <= (1 - 0.9 / 10) * d + SIX * error
    # Negative control: user images hold the image model open, and the promise is broken.
    mean, error = mean_and_error(after_updates(UserContent(5)))
    assert mean - SIX * error > (1 - 0.9 / 10) * d


def test_bounds_hold_for_image_models_that_have_been_updated() -> None:
    start = circle(3, 1.5, p=[0.5, 0.3, 0.2])
    system = System(start, 1, 200, text_updates=0)

    def excess(state: State) -> Array:
        bound = [
            acceleration.posterior_diversity_bound(*arrays)
            for arrays in zip(state.p, state.mean, state.cov, strict=True)
        ]
        one_image = text_diversity(text_update(state, 1, np.random.default_rng(8)).p)
        return np.array(bound) - one_image

    result = replicate(system, 60, 512, rng=6, statistics={"excess": excess}, times=[0, 20, 60])
    assert (result.mean["excess"] > -SIX * result.standard_error["excess"]).all()


def test_relative_loss_vanishes_for_a_rare_text() -> None:
    # No number of updates made before p_2 is known suffices for every p_2: for fixed images E D(r) / D tends to 1.
    mean, cov = [[0.0], [4.0]], [[[1.0]], [[1.0]]]
    kept = []
    for rare in (1e-1, 1e-3, 1e-6, 1e-9):
        p = [1 - rare, rare]
        kept.append(text.expected_posterior_diversity(p, mean, cov) / float(text_diversity(p)))
    assert (np.diff(kept) > 0).all()
    assert kept[0] < 0.11
    assert kept[-1] > 0.99
    counts = [acceleration.sufficient_image_updates([1 - x, x], 20, 0.1) for x in (0.1, 0.01, 0.001)]
    assert counts[0] < counts[1] < counts[2]


P2, MEAN, COV = [0.5, 0.5], [[0.0, 0.0], [1.0, 0.0]], np.eye(2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: acceleration.posterior_diversity_bound([0.5, 0.6], MEAN, COV), ValueError, "p must sum to 1"),
        (lambda: acceleration.posterior_diversity_bound([1.0], MEAN, COV), ValueError, "mean must have shape"),
        (lambda: acceleration.posterior_diversity_bound(P2, MEAN, 0 * COV), ValueError, "cov must be positive"),
        (lambda: acceleration.expected_text_diversity_bounds(P2, MEAN, COV, 0), ValueError, "text_samples must"),
        (lambda: acceleration.separated_overlap_bound(P2, -1.0, 0.9, 1.0, 3), ValueError, "amplitude must"),
        (lambda: acceleration.separated_overlap_bound(P2, 1.0, 1.1, 1.0, 3), ValueError, "rate must"),
        (lambda: acceleration.separated_overlap_bound(P2, 1.0, 0.9, 0.0, 3), ValueError, "separation must"),
        (lambda: acceleration.separated_overlap_bound(P2, 1.0, 0.9, 1.0, 0.5), TypeError, "image_updates must"),
        (
            lambda: acceleration.sufficient_image_updates_separated([1.0, 0.0], 0.1, 1.0, 0.9, 1.0),
            ValueError,
            "p must have at least two",
        ),
        (lambda: acceleration.sufficient_image_updates_separated(P2, 0.0, 1.0, 0.9, 1.0), ValueError, "delta must"),
        (lambda: acceleration.sufficient_image_updates_separated(P2, 0.1, 1.0, 1.0, 1.0), ValueError, "rate must"),
        (lambda: acceleration.expected_overlap_bound(P2, 0, 3), ValueError, "image_samples must"),
        (lambda: acceleration.expected_overlap_bound(P2, 5, -1), ValueError, "image_updates must"),
        (lambda: acceleration.expected_overlap_bound(P2, 5, 3, 0), ValueError, "dim must"),
        (lambda: acceleration.sufficient_image_updates(P2, 1, 0.1), ValueError, "image_samples must"),
        (lambda: acceleration.sufficient_image_updates(P2, 10, 1.5), ValueError, "delta must"),
        (lambda: acceleration.sufficient_image_updates([0.0, 1.0], 10, 0.1), ValueError, "p must have at least two"),
        (lambda: acceleration.sufficient_image_updates([1 - 1e-12, 1e-12, 0.0], 9, 0.1), ValueError, "few, got 1e-12"),
    ],
)
def test_bad_input(call, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        call()
