"""The Wright-Fisher chain against simulation, its own matrix, and exact fractions."""

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import factorial, log, prod
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special, stats

from coevo import State, System, simulate
from coevo.theory import corpus, text
from coevo.theory import wright_fisher as wf

SIX = 6.1
Counts = tuple[int, ...]


def multinomial(m: int, p: list[float]) -> dict[Counts, float]:
    """The multinomial law, listed."""
    law: dict[Counts, float] = {}
    for counts in product(range(m + 1), repeat=len(p)):
        if sum(counts) == m:
            ways = factorial(m) // prod(factorial(c) for c in counts)
            law[counts] = ways * prod(q**c for q, c in zip(p, counts, strict=True))
    return law


def listed_law(m: int, p: list[float], t: int) -> dict[Counts, float]:
    """The whole law of M p_t for any K, by going through all counts."""
    law = multinomial(m, p)
    for _ in range(t - 1):
        later: dict[Counts, float] = defaultdict(float)
        for counts, weight in law.items():
            for new, chance in multinomial(m, [c / m for c in counts]).items():
                later[new] += weight * chance
        law = later
    return law


def test_transition_matrix_is_stochastic_and_a_martingale() -> None:
    m = 13
    matrix = wf.transition_matrix(m)
    assert matrix.shape == (m + 1, m + 1)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-13)
    np.testing.assert_allclose(matrix @ np.arange(m + 1), np.arange(m + 1), rtol=1e-13, atol=1e-13)
    # The eigenvalues are the falling factorials M(M-1).../M^k; sorted, with 1 twice.
    eigenvalues = np.sort(np.linalg.eigvals(matrix).real)[::-1]
    falling = np.cumprod(np.concatenate([[1.0], 1 - np.arange(m) / m]))
    np.testing.assert_allclose(eigenvalues, falling, atol=1e-11)


def test_law_against_simulation() -> None:
    m, p0, t, runs = 12, 0.23, 4, 200_000
    rng = np.random.default_rng(1)
    count = np.full(runs, p0 * m)
    for _ in range(t):
        count = rng.binomial(m, count / m)
    share = np.bincount(count, minlength=m + 1) / runs
    exact = wf.law(m, p0, t)
    assert (np.abs(share - exact) < SIX * np.sqrt(exact * (1 - exact) / runs)).all()
    # Negative control: one step more is another law.
    other = wf.law(m, p0, t + 1)
    assert (np.abs(share - other) > SIX * np.sqrt(other * (1 - other) / runs)).any()


def test_law_vectorised_and_unsorted() -> None:
    times = np.array([[5, 1], [2, 5]])
    laws = wf.law(7, 0.4, times)
    assert laws.shape == (2, 2, 8)
    for index in np.ndindex(2, 2):
        np.testing.assert_allclose(laws[index], wf.law(7, 0.4, int(times[index])), rtol=1e-13)


def test_check_numbers_of_fifty_samples() -> None:
    assert wf.mean_absorption_time(50, 0.2) == pytest.approx(48.457, abs=5e-4)
    assert wf.diffusion_absorption_time(50, 0.2) == pytest.approx(50.04, abs=5e-3)
    assert wf.absorption_probability(50, 0.2, 10) == pytest.approx(0.14518, abs=5e-6)


def test_absorption_time_is_the_sum_of_the_survival_probabilities() -> None:
    m, p0 = 10, 0.37
    survival = 1 - wf.absorption_probability(m, p0, np.arange(400))
    assert wf.mean_absorption_time(m, p0) == pytest.approx(survival.sum(), rel=1e-10)
    assert survival[0] == 1


def test_absorption_time_in_exact_fractions() -> None:
    # M = 2: from 1/2 the chain leaves with probability 1/2 each step, so the time is 2.
    assert wf.mean_absorption_time(2, 0.5) == pytest.approx(2.0, rel=1e-14)
    assert wf.mean_absorption_time(1, 0.3) == 1.0
    p0 = Fraction(1, 4)
    assert wf.mean_absorption_time(2, 0.25) == pytest.approx(float(1 + 2 * p0 * (1 - p0) * 2), rel=1e-14)


def test_absorbed_from_the_start() -> None:
    for p0 in (0.0, 1.0):
        assert wf.mean_absorption_time(9, p0) == 0
        assert wf.diffusion_absorption_time(9, p0) == 0
        np.testing.assert_allclose(wf.absorption_probability(9, p0, [0, 3]), 1, rtol=1e-14)
    assert isinstance(wf.absorption_probability(9, 0.5, 0), float)
    assert wf.absorption_probability(9, 0.5, 0) == 0


@pytest.mark.parametrize("m", [1, 2, 3, 4, 7, 50])
def test_diversity_moments_against_the_matrix(m: int) -> None:
    p0 = 0.23
    x = np.arange(m + 1) / m
    diversity = 2 * x * (1 - x)
    times = np.array([1, 2, 9, 60])
    laws = wf.law(m, p0, times)
    mean, variance = wf.diversity_moments(m, p0, times)
    np.testing.assert_allclose(mean, laws @ diversity, atol=1e-13)
    np.testing.assert_allclose(variance, laws @ diversity**2 - (laws @ diversity) ** 2, atol=1e-13)
    start = wf.diversity_moments(m, p0, 0)
    assert isinstance(start.mean, float)
    assert start.mean == pytest.approx(2 * p0 * (1 - p0))
    assert start.variance == pytest.approx(0, abs=1e-16)


def test_expected_diversity_of_many_texts_against_simulation() -> None:
    m, p, t, runs = 20, np.array([0.5, 0.3, 0.2]), 15, 20_000
    rng = np.random.default_rng(2)
    now = np.tile(p, (runs, 1))
    for _ in range(t):
        now = rng.multinomial(m, now) / m
    diversity = 1 - np.sum(now**2, axis=1)
    error = diversity.std() / np.sqrt(runs)
    assert abs(diversity.mean() - wf.expected_diversity(m, p, t)) < SIX * error
    # Negative control: a factor 1 - 1/(M + 1) per step is visibly wrong.
    assert abs(diversity.mean() - wf.expected_diversity(m + 1, p, t)) > SIX * error
    np.testing.assert_allclose(wf.expected_diversity(m, p, [0, 1]), np.array([1, 0.95]) * 0.62, rtol=1e-13)


@pytest.mark.parametrize(
    "function",
    [wf.law, wf.absorption_probability, wf.diversity_moments],
)
def test_bad_input_in_time(function) -> None:  # type: ignore[no-untyped-def]
    for args, error, message in (
        ((0, 0.5, 1), ValueError, "text_samples must be an integer >= 1, got 0"),
        ((2.0, 0.5, 1), TypeError, "text_samples must be an integer >= 1"),
        ((5, 1.2, 1), ValueError, r"p0 must lie in \[0, 1\], got 1.2"),
        ((5, float("nan"), 1), ValueError, r"p0 must lie in \[0, 1\], got nan"),
        ((5, [0.5], 1), TypeError, "p0 must be a number"),
        ((5, 0.5, -1), ValueError, "t must hold integers >= "),
        ((5, 0.5, 1.5), TypeError, "t must hold integers"),
    ):
        with pytest.raises(error, match=message):
            function(*args)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="t must hold integers >= 1, got 0"):
        wf.law(5, 0.5, 0)
    with pytest.raises(ValueError, match="text_samples must be an integer >= 1, got -3"):
        wf.transition_matrix(-3)
    for function in (wf.mean_absorption_time, wf.diffusion_absorption_time):
        with pytest.raises(ValueError, match="text_samples"):
            function(0, 0.5)
        with pytest.raises(ValueError, match=r"p0 must lie in \[0, 1\], got -0.1"):
            function(5, -0.1)
        with pytest.raises(TypeError, match="text_samples"):
            function("5", 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="p must sum to 1"):
        wf.expected_diversity(5, [0.5, 0.4], 1)
    with pytest.raises(ValueError, match="p must have shape"):
        wf.expected_diversity(5, [[0.5, 0.5]], 1)
    with pytest.raises(ValueError, match="text_samples"):
        wf.expected_diversity(0, [0.5, 0.5], 1)
    with pytest.raises(ValueError, match="t must hold"):
        wf.expected_diversity(5, [0.5, 0.5], [-1])


@pytest.mark.parametrize(
    ("m", "p", "t"), [(5, [0.5, 0.3, 0.2], 3), (4, [0.4, 0.3, 0.2, 0.1], 2), (1, [0.6, 0.4], 2), (3, [1.0], 2)]
)
def test_any_number_of_texts_against_the_listed_law(m: int, p: list[float], t: int) -> None:
    """Law 1.2, from the two-allele matrix, against all multinomial outcomes."""
    listed = listed_law(m, p, t)
    left, k = np.zeros(len(p) + 1), len(p)
    for counts, weight in listed.items():
        left[np.count_nonzero(counts)] += weight
    np.testing.assert_allclose(wf.surviving_texts_law(m, p, t), left, atol=1e-13)
    assert wf.expected_surviving_texts(m, p, t) == pytest.approx(left @ np.arange(k + 1), rel=1e-12)
    diversity = {c: 1 - sum((x / m) ** 2 for x in c) for c in listed}
    mean = sum(w * diversity[c] for c, w in listed.items())
    variance = sum(w * (diversity[c] - mean) ** 2 for c, w in listed.items())
    moments = wf.text_diversity_moments(m, p, t)
    assert moments.mean == pytest.approx(mean, rel=1e-12, abs=1e-14)
    assert moments.variance == pytest.approx(variance, rel=1e-11, abs=1e-14)
    for power in (1, 2, 3, 7):
        value = sum(w * sum((x / m) ** power for x in c) for c, w in listed.items())
        assert wf.power_sum(m, p, power, t) == pytest.approx(value, rel=1e-12)


def test_at_time_zero() -> None:
    p = [0.5, 0.0, 0.5]
    np.testing.assert_array_equal(wf.surviving_texts_law(9, p, 0), [0, 0, 1, 0])
    np.testing.assert_array_equal(wf.expected_surviving_texts(9, p, [0]), [2])
    assert wf.surviving_texts_law(9, p, 4).sum() == pytest.approx(1, rel=1e-12)
    assert wf.surviving_texts_law(9, p, 4)[3] == 0
    np.testing.assert_array_equal(wf.ancestor_law(9, 3, 0), [0, 0, 0, 1])
    moments = wf.text_diversity_moments(9, p, [0, 2])
    assert moments.mean[0] == pytest.approx(0.5)
    assert moments.variance[0] == pytest.approx(0, abs=1e-15)


def test_moments_of_many_texts_against_another_recursion() -> None:
    """`corpus.diversity_moments` without injection has E D^2 from three draws; this one from four draws traced back."""
    p = np.array([0.3, 0.25, 0.2, 0.15, 0.07, 0.03])
    times = np.array([[1, 5], [40, 300]])
    ours, theirs = wf.text_diversity_moments(25, p, times), corpus.diversity_moments(p, 25, 0.0, 0.0, times)
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(ours.variance, theirs.variance, rtol=1e-9, atol=1e-13)
    two, classic = wf.text_diversity_moments(25, [0.3, 0.7], times), wf.diversity_moments(25, 0.3, times)
    np.testing.assert_allclose(two.variance, classic.variance, atol=1e-13)


def test_ancestors_are_stirling_numbers() -> None:
    m, k = 7, 9
    stirling = [special.stirling2(k, j, exact=True) for j in range(k + 1)]
    expected = [float(Fraction(s * prod(range(m - j + 1, m + 1)), m**k)) for j, s in enumerate(stirling)]
    expected[m + 1 :] = [0.0] * (k - m)
    np.testing.assert_allclose(wf.ancestor_law(m, k, 1), expected, rtol=1e-12)
    laws = wf.ancestor_law(m, k, [[0, 1], [3, 200]])
    assert laws.shape == (2, 2, k + 1)
    np.testing.assert_allclose(laws.sum(axis=-1), 1, rtol=1e-12)
    assert laws[1, 1, 1] == pytest.approx(1, abs=1e-10)
    # No ancestor in common: the product (1 - 1/M)(1 - 2/M) in each step.
    assert wf.ancestor_law(20, 3, 6)[3] == pytest.approx((0.95 * 0.9) ** 6, rel=1e-12)


def test_collapse_times_are_sums_of_survival_probabilities() -> None:
    m, p = 8, [0.4, 0.3, 0.2, 0.1]
    laws = [wf.surviving_texts_law(m, p, t) for t in range(250)]
    for remaining in (1, 2, 3):
        summed = sum(1 - law[: remaining + 1].sum() for law in laws)
        assert wf.collapse_time(m, p, remaining) == pytest.approx(summed, rel=1e-9)
    assert wf.collapse_time(50, [0.2, 0.8]) == pytest.approx(wf.mean_absorption_time(50, 0.2), rel=1e-12)
    assert wf.collapse_time(m, [*p, 0.0], 4) == 0
    assert wf.collapse_time(1, p) == pytest.approx(1, rel=1e-14)
    assert wf.collapse_time(m, [1.0]) == 0
    times = wf.winning_times(m, [*p, 0.0])
    assert np.isnan(times[4])
    assert times[:4] @ p == pytest.approx(wf.collapse_time(m, p), rel=1e-12)
    assert (np.diff(times[:4]) > 0).all()  # a rarer text that wins takes longer
    assert wf.winning_times(m, [1.0, 0.0])[0] == 0


def test_collapse_times_against_simulation() -> None:
    m, p, runs = 20, np.array([0.6, 0.3, 0.1]), 8000
    rng = np.random.default_rng(3)
    now, two_left, one_left = np.tile(p, (runs, 1)), np.zeros(runs), np.zeros(runs)
    for _ in range(400):
        alive = np.count_nonzero(now, axis=1)
        two_left += alive > 2
        one_left += alive > 1
        now = rng.multinomial(m, now) / m
    for times, remaining in ((two_left, 2), (one_left, 1)):
        assert abs(times.mean() - wf.collapse_time(m, p, remaining)) < SIX * times.std() / np.sqrt(runs)
        # Negative control: M + 3 images are visibly slower.
        assert abs(times.mean() - wf.collapse_time(m + 3, p, remaining)) > SIX * times.std() / np.sqrt(runs)
    for i, exact in enumerate(wf.winning_times(m, p)):
        times = one_left[now[:, i] == 1]
        assert abs(times.mean() - exact) < SIX * times.std() / np.sqrt(times.size)


def test_diffusion_times_of_littler() -> None:
    p = [0.4, 0.3, 0.2, 0.1]
    for m, error in ((50, 0.06), (400, 0.01)):
        for remaining in (1, 2):
            ratio = wf.diffusion_collapse_time(m, p, remaining) / wf.collapse_time(m, p, remaining)
            assert 1 < ratio < 1 + error * remaining**2
    assert wf.diffusion_collapse_time(50, p) == pytest.approx(-100 * sum((1 - q) * log(1 - q) for q in p), rel=1e-13)
    # Two of three left, with the alternating sum written out: pairs count once, single texts once with a minus.
    three = [0.5, 0.3, 0.2]
    pairs = sum(-100 * (1 - q) * log(1 - q) for q in (0.8, 0.7, 0.5))
    singles = sum(-100 * (1 - q) * log(1 - q) for q in three)
    assert wf.diffusion_collapse_time(50, three, 2) == pytest.approx(pairs - singles, rel=1e-12)


def test_drift_is_the_worst_case() -> None:
    """Law 1.1, part 4, for one update and one convex function, by quadrature over overlapping images."""
    m, p, gap = 2, 0.3, 1.2

    def posterior(x: float) -> float:
        one, other = p * stats.norm.pdf(x - gap), (1 - p) * stats.norm.pdf(x)
        return float(one / (one + other))

    def mixture(x: float) -> float:
        return float(p * stats.norm.pdf(x - gap) + (1 - p) * stats.norm.pdf(x))

    x = np.linspace(-8, 9, 801)
    r = np.array([posterior(v) for v in x])
    weight = np.array([mixture(v) for v in x]) * (x[1] - x[0])
    overlapping = weight @ (((r[:, None] + r[None, :]) / m) ** 4) @ weight
    drift = wf.law(m, p, 1) @ (np.arange(m + 1) / m) ** 4
    assert p**4 < overlapping < drift


def test_drift_is_the_worst_case_for_a_run_with_moving_images() -> None:
    """Law 1.1, part 4, for two updates from two images, whose laws move between them: nested quadrature."""
    p, first, second = 0.3, 1.2, 0.5
    x = np.linspace(-7, 9, 161)

    def moments(mass: np.ndarray, gap: float, powers: tuple[int, ...]) -> list[np.ndarray]:
        one = mass[:, None] * stats.norm.pdf(x, gap)
        density = one + (1 - mass[:, None]) * stats.norm.pdf(x)
        return [((one / density) ** k * density).sum(axis=1) * (x[1] - x[0]) for k in powers]

    one = p * stats.norm.pdf(x, first)
    density = one + (1 - p) * stats.norm.pdf(x)
    weight, r = density * (x[1] - x[0]), one / density
    middle = ((r[:, None] + r[None, :]) / 2).ravel()
    chance = (weight[:, None] * weight[None, :]).ravel()
    assert chance @ middle == pytest.approx(p, rel=1e-9)
    m1, m2, m3, m4 = moments(middle, second, (1, 2, 3, 4))
    fourth = (2 * m4 + 8 * m3 * m1 + 6 * m2**2) / 16  # of the mean of two posteriors
    drift = wf.law(2, p, [1, 2]) @ (np.arange(3) / 2) ** 4
    assert chance @ middle**4 < drift[0]
    assert chance @ fourth < drift[1]
    # One-hot posteriors reach it.
    share = np.arange(3) / 2
    reached = wf.law(2, p, 1) @ ((2 * share + 8 * share * share + 6 * share**2) / 16)
    assert reached == pytest.approx(drift[1], rel=1e-12)


def test_drift_is_the_worst_case_when_the_images_depend_on_the_past() -> None:
    """Law 1.1, part 4, by listing all histories of black and white images whose error rate depends on p_t."""
    m, p0 = 3, 0.3
    functions: list[Callable[[Any], Any]] = [
        lambda x: x**4,
        lambda x: abs(x - 0.4),
        lambda x: np.exp(5 * x),
        lambda x: -np.minimum(1, m * x),
    ]
    share = np.arange(m + 1) / m
    now = {p0: 1.0}
    for t in range(1, 5):
        later: dict[float, float] = defaultdict(float)
        for p, weight in now.items():
            error = 0.25 * (1 + np.sin(40 * p))  # chance of the other text's colour
            white = p * (1 - error) + (1 - p) * error
            ratios = p * (1 - error) / white, p * error / (1 - white)
            for k, chance in enumerate(stats.binom.pmf(share * m, m, white)):
                later[(k * ratios[0] + (m - k) * ratios[1]) / m] += weight * chance
        now = later
        assert sum(p * w for p, w in now.items()) == pytest.approx(p0, rel=1e-12)
        for function in functions:
            assert sum(w * function(p) for p, w in now.items()) < wf.law(m, p0, t) @ function(share)
    # Negative control: more images drift less, so the same runs are not below the law of twice as many.
    assert sum(w * p**4 for p, w in now.items()) > wf.law(8 * m, p0, 4) @ (np.arange(8 * m + 1) / (8 * m)) ** 4


def test_a_rare_text_fades_at_the_exponent() -> None:
    """Law 1.4 in the package's simulator; at separation the same text would be lost at once."""
    m, gap, steps, runs = 10, 1.0, 60, 600
    start = State.create([1e-6, 1 - 1e-6], [[gap], [0.0]], [[1.0]])
    path = simulate(System(start, m, 1, image_updates=0), steps, runs, rng=5, every=steps)
    rate = np.log(path.p[:, -1, 0] / 1e-6) / steps
    assert abs(rate.mean() - wf.rare_text_exponent(m, gap)) < SIX * rate.std() / np.sqrt(runs)
    # Negative control: the exponent of half as many images.
    assert abs(rate.mean() - wf.rare_text_exponent(m // 2, gap)) > SIX * rate.std() / np.sqrt(runs)


def test_rare_text_exponent() -> None:
    for gap in (0.01, 0.5, 1.0, 3.0, 20.0):
        assert wf.rare_text_exponent(1, gap) == pytest.approx(-(gap**2) / 2, rel=1e-10)
    # Two images: E ln cosh(Delta Z / sqrt 2) - Delta^2 / 2.
    for gap in (0.3, 1.0, 2.5):

        def integrand(z: float, gap: float = gap) -> float:
            return float(2 * stats.norm.pdf(z) * log(np.cosh(gap * z / np.sqrt(2))))

        value = integrate.quad(integrand, 0, 40, epsabs=1e-13, limit=200)[0] - gap**2 / 2
        assert wf.rare_text_exponent(2, gap) == pytest.approx(value, abs=1e-11)
    rng = np.random.default_rng(4)
    sample = np.log(np.exp(1.5 * rng.standard_normal((40_000, 20)) - 1.5**2 / 2).mean(axis=1))
    assert abs(sample.mean() - wf.rare_text_exponent(20, 1.5)) < SIX * sample.std() / 200
    assert wf.rare_text_exponent(10**6, 1.0) * 2e6 / np.expm1(1.0) == pytest.approx(-1, abs=1e-3)


def test_effective_size_near_a_vertex() -> None:
    """Law 1.4, part 3: M_e p (exp(Delta^2) - 1) -> M; for separated images M_e stays M."""
    for gap in (0.5, 1.0, 1.5):
        size = text.effective_text_samples([1e-5, 1 - 1e-5], [[0.0], [gap]], [[1.0]], 30)
        assert size * 1e-5 * np.expm1(gap**2) == pytest.approx(30, rel=2e-3)
    assert text.effective_text_samples([1e-5, 1 - 1e-5], [[0.0], [40.0]], [[1.0]], 30) == pytest.approx(30, rel=1e-6)
    # The floor M / (chi^2 p) holds for every mass; the share of drift from Var r by quadrature.
    for gap, p in ((1.0, 0.3), (2.0, 0.01), (3.0, 1e-3)):

        def square(x: float, gap: float = gap, p: float = p) -> float:
            one = p * stats.norm.pdf(x, gap)
            return float(one**2 / (one + (1 - p) * stats.norm.pdf(x)))

        variance = integrate.quad(square, -12, 16, points=[0, gap, 2 * gap], limit=300)[0] - p**2
        size = text.effective_text_samples([p, 1 - p], [[gap], [0.0]], [[1.0]], 30)
        assert size == pytest.approx(30 * p * (1 - p) / variance, rel=1e-8)
        assert size > 30 / (p * np.expm1(gap**2))


def test_bad_input_for_any_number_of_texts() -> None:
    calls = {
        "expected_surviving_texts": (wf.expected_surviving_texts, (1,)),
        "surviving_texts_law": (wf.surviving_texts_law, (1,)),
        "text_diversity_moments": (wf.text_diversity_moments, (1,)),
        "collapse_time": (wf.collapse_time, ()),
        "diffusion_collapse_time": (wf.diffusion_collapse_time, ()),
        "winning_times": (wf.winning_times, ()),
    }
    for function, rest in calls.values():
        with pytest.raises(ValueError, match="text_samples must be an integer >= 1, got 0"):
            function(0, [0.5, 0.5], *rest)  # type: ignore[operator]
        with pytest.raises(ValueError, match="p must sum to 1"):
            function(5, [0.5, 0.4], *rest)  # type: ignore[operator]
    many = np.full(15, 1 / 15)
    for call in (lambda: wf.surviving_texts_law(5, many, 1), lambda: wf.collapse_time(5, many, 2)):
        with pytest.raises(ValueError, match="p must have at most 14 positive entries, got 15"):
            call()
    assert wf.collapse_time(5, many) > 0
    with pytest.raises(ValueError, match="remaining must be an integer >= 1, got 0"):
        wf.collapse_time(5, [0.5, 0.5], 0)
    with pytest.raises(ValueError, match="power must be"):
        wf.power_sum(5, [0.5, 0.5], 0, 1)
    for draws in (0, 1001):
        with pytest.raises(ValueError, match="draws must be"):
            wf.ancestor_law(5, draws, 1)
    with pytest.raises(ValueError, match="t must"):
        wf.surviving_texts_law(5, [0.5, 0.5], -1)
    for gap in (0.0, 20.5):
        with pytest.raises(ValueError, match=r"separation must lie in \(0, 20\]"):
            wf.rare_text_exponent(5, gap)
