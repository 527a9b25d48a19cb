"""Theorem 6.1 against exact enumeration, scipy's optimiser, the infinite-alleles limit, and simulation."""

from itertools import product
from math import factorial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize

from coevo import CorpusInjection, State, System, replicate, simulate
from coevo.theory import corpus, text, wright_fisher

Array = NDArray[np.float64]
SIX = 6.1


def separated(m: int, alpha: float, eps: float, p: Any, updates: int = 1) -> System:
    """Images on a line, a hair wide, at means far apart."""
    k = len(p)
    start = State.create(p, np.arange(k)[:, None] * 10.0 - 5.0 * k, np.eye(1) * 1e-12)
    new = CorpusInjection(alpha, eps, mean=[0.0], cov=np.eye(1) * 1e-12, mean_cov=np.eye(1) * 1e4)
    return System(start, m, image_samples=1, text_updates=updates, image_updates=0, corpus=new)


def partitions(total: int, largest: int | None = None) -> list[tuple[int, ...]]:
    largest = total if largest is None else largest
    if total == 0:
        return [()]
    return [(k, *rest) for k in range(min(total, largest), 0, -1) for rest in partitions(total - k, k)]


def enumerated_chain(m: int, alpha: float, eps: float) -> tuple[list[tuple[int, ...]], Array]:
    """The chain of the counts of the M images, up to the names of the texts, by listing all outcomes."""
    states = partitions(m)
    matrix = np.zeros((len(states), len(states)))
    for row, state in enumerate(states):
        masses = np.array(state) / m
        for chance, p in ((1 - alpha, masses), (alpha, np.append((1 - eps) * masses, eps))):
            for counts in product(range(m + 1), repeat=len(p)):
                if sum(counts) == m:
                    ways = factorial(m) / np.prod([factorial(c) for c in counts])
                    key = tuple(sorted((c for c in counts if c), reverse=True))
                    matrix[row, states.index(key)] += chance * ways * np.prod(p ** np.array(counts))
    return states, matrix


@pytest.mark.parametrize(("alpha", "eps"), [(0.3, 0.4), (1.0, 0.2), (0.0, 0.5), (0.6, 1.0)])
def test_mean_and_variance_against_all_outcomes(alpha: float, eps: float) -> None:
    m = 4
    states, matrix = enumerated_chain(m, alpha, eps)
    assert matrix.sum(axis=1) == pytest.approx(1)
    diversity = np.array([1 - sum(c**2 for c in s) / m**2 for s in states])
    start = states.index((2, 1, 1))
    for t in (0, 1, 2, 7, 400):
        law = np.linalg.matrix_power(matrix, t)[start]
        mean = law @ diversity
        exact = corpus.diversity_moments([0.5, 0.25, 0.25], m, alpha, eps, t)
        assert exact.mean == pytest.approx(mean, abs=1e-12)
        assert exact.variance == pytest.approx(law @ (diversity - mean) ** 2, abs=1e-12)
        assert corpus.diversity_floor(0.625, m, alpha, eps, t) == pytest.approx(mean, abs=1e-12)
    limit = corpus.stationary_moments(m, alpha, eps)
    assert (limit.mean, limit.variance) == pytest.approx(tuple(exact), abs=1e-12)
    assert corpus.sharp_floor(m, alpha, eps) == pytest.approx(limit.mean, abs=1e-12)
    if alpha > 0 and eps < 1:  # negative control: the paper's floor holds, and is not the limit
        assert corpus.injection_floor(m, alpha, eps) < limit.mean - 0.01


NUMBERS = [(0.05, 0.1, 0.1497, 0.4592), (0.2, 0.3, 0.3998, 0.7493), (0.5, 0.5, 0.4901, 0.6492)]


@pytest.mark.parametrize(("alpha", "eps", "paper", "sharp"), NUMBERS)
def test_quoted_numbers(alpha: float, eps: float, paper: float, sharp: float) -> None:
    assert corpus.injection_floor(100, alpha, eps) == pytest.approx(paper, abs=6e-5)
    assert corpus.sharp_floor(100, alpha, eps) == pytest.approx(sharp, abs=6e-5)
    kept = 0.99
    literal = alpha * kept * 2 * eps * (1 - eps)
    assert corpus.injection_floor(100, alpha, eps) == pytest.approx(literal / (1 - (1 - alpha) * kept))
    again = literal / (1 - kept * ((1 - alpha) + alpha * (1 - eps) ** 2))
    assert corpus.sharp_floor(100, alpha, eps) == pytest.approx(again)
    theta = 99 * alpha * eps * (2 - eps)
    assert again == pytest.approx(corpus.limiting_ceiling(eps) * theta / (1 + theta))


@pytest.mark.parametrize(("alpha", "eps", "updates"), [(0.1, 0.2, 1), (0.5, 0.5, 1), (0.3, 0.3, 3)])
def test_separated_texts_follow_the_sharp_law(alpha: float, eps: float, updates: int) -> None:
    p, m, runs = [0.6, 0.3, 0.1], 20, 1500
    system = separated(m, alpha, eps, p, updates)
    path = simulate(system, 30, runs, rng=1, every=10)
    for k, t in enumerate(path.t[1:], start=1):
        diversity = path.text_diversity[:, k]
        exact = corpus.diversity_moments(p, m, alpha, eps, int(t), updates)
        error = diversity.std(ddof=1) / np.sqrt(runs)
        assert exact.mean == pytest.approx(corpus.diversity_floor(0.54, m, alpha, eps, int(t), updates))
        assert abs(diversity.mean() - exact.mean) < SIX * error
        square = (diversity - exact.mean) ** 2
        assert abs(square.mean() - exact.variance) < SIX * square.std(ddof=1) / np.sqrt(runs)
    # Negative control: without the kept term (1 - eps)^2 D the limit would be (6.5).
    assert diversity.mean() - corpus.injection_floor(m, alpha, eps, updates) > 20 * error


def test_overlapping_and_moving_images_stay_between_floor_and_ceiling() -> None:
    p, m, alpha, eps = [0.5, 0.3, 0.2], 20, 0.2, 0.3
    start = State.create(p, [[-1.0], [0.0], [1.0]], np.eye(1))
    new = CorpusInjection(alpha, eps, mean=[0.0], cov=np.eye(1), mean_cov=np.eye(1))
    times = [5, 40]
    for image_updates in (0, 1):
        system = System(start, m, image_samples=20, image_updates=image_updates, corpus=new)
        result = replicate(system, 40, 500, rng=2, times=times)
        value, error = result.mean["text_diversity"], result.standard_error["text_diversity"]
        assert (value > corpus.diversity_floor(0.62, m, alpha, eps, times) + 6 * error).all()
        assert (value < corpus.diversity_ceiling(0.62, alpha, eps, times) - 6 * error).all()


def test_ceiling_is_attained_by_coinciding_images() -> None:
    p, alpha, eps = [0.7, 0.3], 0.3, 0.4
    start = State.create(p, [[0.0], [0.0]], np.eye(1))
    new = CorpusInjection(alpha, eps, mean=[0.0], cov=np.eye(1))
    system = System(start, 5, image_samples=1, image_updates=0, corpus=new)
    result = replicate(system, 20, 4000, rng=3, times=[1, 5, 20])
    ceiling = corpus.diversity_ceiling(0.42, alpha, eps, result.t)
    distance = result.mean["text_diversity"] - ceiling
    assert (np.abs(distance) < SIX * result.standard_error["text_diversity"]).all()
    assert corpus.diversity_ceiling(0.42, alpha, eps, 10_000) == pytest.approx(corpus.limiting_ceiling(eps))
    assert corpus.diversity_ceiling(0.42, 0.0, eps, 7) == pytest.approx(0.42)


@pytest.mark.parametrize("cov", [0.3 * np.eye(2), np.stack([0.2 * np.eye(2), 0.5 * np.eye(2)])])
def test_next_diversity_against_one_simulated_step(cov: Array) -> None:
    p, mean, m, runs = [0.7, 0.3], [[-0.5, 0.0], [0.5, 0.2]], 10, 40_000
    new_mean, new_cov = [0.4, -0.6], np.array([[0.4, 0.1], [0.1, 0.3]])
    start = State.create(p, mean, cov)
    new = CorpusInjection(0.4, 0.35, mean=new_mean, cov=new_cov)
    result = replicate(System(start, m, 1, image_updates=0, corpus=new), 1, runs, rng=4, times=[1])
    exact = corpus.expected_next_diversity(p, mean, cov, m, 0.4, 0.35, new_mean, new_cov)
    error = result.standard_error["text_diversity"][0]
    assert abs(result.mean["text_diversity"][0] - exact) < SIX * error
    # Negative controls: the two bounds are far away.
    assert exact > corpus.diversity_floor(0.42, m, 0.4, 0.35, 1) + 20 * error
    assert exact < corpus.diversity_ceiling(0.42, 0.4, 0.35, 1) - 20 * error
    alone = corpus.expected_next_diversity(p, mean, cov, m, 0.0, 0.35, new_mean, new_cov)
    assert alone == text.expected_text_diversity(p, mean, cov, m)


@pytest.mark.parametrize(("m", "alpha", "updates"), [(100, 0.2, 1), (20, 1.0, 1), (50, 0.05, 4)])
def test_best_fraction_against_an_optimiser(m: int, alpha: float, updates: int) -> None:
    found = optimize.minimize_scalar(
        lambda e: -corpus.sharp_floor(m, alpha, e, updates), bounds=(0, 1), method="bounded", options={"xatol": 1e-10}
    )
    best = corpus.best_injection_fraction(m, alpha, updates)
    assert best == pytest.approx(found.x, abs=1e-6)
    assert corpus.best_floor(m, alpha, updates) == pytest.approx(-found.fun, rel=1e-12)
    assert corpus.sharp_floor(m, alpha, best, updates) == pytest.approx(-found.fun, rel=1e-12)
    assert best < 0.5  # where (6.5) is largest
    if updates == 1:
        assert corpus.best_floor(m, alpha) == pytest.approx(1 - (1 + alpha * (m - 1)) ** -0.5)


def test_least_injection_prob_inverts_the_sharp_floor() -> None:
    for eps in (0.05, 0.3, 0.5):
        alpha = corpus.least_injection_prob(0.4, 100, eps)
        assert corpus.sharp_floor(100, alpha, eps) == pytest.approx(0.4, rel=1e-12)
        assert alpha >= corpus.least_injection_prob(0.4, 100)
    alpha = corpus.least_injection_prob(0.5, 100)
    assert alpha == pytest.approx(3 / 99)
    assert corpus.best_floor(100, alpha) == pytest.approx(0.5)
    assert corpus.best_injection_fraction(100, alpha) == pytest.approx(1 / 3)
    alpha = corpus.least_injection_prob(0.6, 200, 0.2, text_updates=5)
    assert corpus.sharp_floor(200, alpha, 0.2, 5) == pytest.approx(0.6, rel=1e-12)
    # More than the ceiling, or more than alpha = 1 can do, is out of reach; nothing needs nothing.
    assert corpus.least_injection_prob(0.7, 10**6, 0.5) == np.inf
    assert corpus.least_injection_prob(0.5, 2, 0.3) == np.inf
    assert corpus.least_injection_prob(0.1, 1) == np.inf
    assert corpus.least_injection_prob(0.3, 100, 0.0) == np.inf
    assert corpus.least_injection_prob(0.0, 1, 1.0) == 0
    assert corpus.least_injection_prob(0.8, 25) == 1  # exactly, whatever rounding says


def test_convergence_time() -> None:
    for updates in (1, 3):
        factor = 0.99**updates * (0.8 + 0.2 * 0.49)
        assert corpus.convergence_time(100, 0.2, 0.3, updates) == pytest.approx(1 / (1 - factor))
    assert corpus.convergence_time(100, 0.0, 0.3) == pytest.approx(100)


def test_small_injections_are_mutation() -> None:
    # Infinite alleles: E sum p^2 = 1/(1 + theta), and Ewens' sampling formula gives the variance.
    m = 10**6
    for theta in (0.5, 2.0, 10.0):
        limit = corpus.stationary_moments(m, 1.0, theta / (2 * m))
        assert 1 - limit.mean == pytest.approx(1 / (1 + theta), rel=(1 + theta) ** 2 / m)
        variance = 2 * theta / ((1 + theta) ** 2 * (2 + theta) * (3 + theta))
        assert limit.variance == pytest.approx(variance, rel=(1 + theta) ** 2 / m)


def test_without_injection_this_is_genetic_drift() -> None:
    t = np.array([[0, 1], [10, 60]])
    here = corpus.diversity_moments([0.2, 0.8], 50, 0.0, 0.3, t)
    drift = wright_fisher.diversity_moments(50, 0.2, t)
    np.testing.assert_allclose(here.mean, drift.mean, rtol=1e-12)
    np.testing.assert_allclose(here.variance, drift.variance, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(
        corpus.diversity_floor(0.32, 50, 0.0, 0.3, t), text.text_diversity_floor(0.32, 50, t), rtol=1e-12
    )


def test_single_image_keeps_nothing() -> None:
    assert corpus.sharp_floor(1, 0.5, 0.3) == corpus.injection_floor(1, 0.5, 0.3) == 0
    assert corpus.best_floor(1, 0.5) == 0
    assert corpus.best_injection_fraction(1, 0.5) == 0.5
    limit = corpus.stationary_moments(1, 0.5, 0.3)
    assert limit.mean == pytest.approx(0, abs=1e-15)
    assert limit.variance == 0


def test_digits_near_collapse_and_of_weak_injections() -> None:
    assert corpus.diversity_ceiling(1e-20, 0.0, 0.5, 3) == 1e-20
    assert corpus.diversity_floor(1e-20, 10, 0.0, 0.5, [0, 3]) == pytest.approx([1e-20, 0.729e-20], rel=1e-14, abs=0)
    assert corpus.diversity_floor(1e-20, 10, 0.0, 0.5, 1, 3) == pytest.approx(0.729e-20, rel=1e-14, abs=0)
    assert corpus.diversity_floor(0.5, 10, 0.0, 0.5, 10**15, 10**4) == 0
    assert corpus.diversity_floor(0.5, 1, 0.3, 0.5, [0, 1]).tolist() == [0.5, 0]
    # alpha eps (2 - eps) = 1e-18 (2 - 1e-18) is lost next to 1, not after 10^15 steps.
    assert corpus.diversity_ceiling(0.0, 1.0, 1e-18, 10**15) == pytest.approx(-np.expm1(-2e-3), rel=1e-12)
    assert corpus.best_floor(2, 1e-18) == pytest.approx(5e-19, rel=1e-14, abs=0)
    # Without injection the mean is D_0 (1 - 1/M)^t to the last digits, and for two texts the variance is known.
    drift = corpus.diversity_moments([0.5, 0.5], 4, 0.0, 0.5, 400)
    assert drift.mean == pytest.approx(0.5 * 0.75**400, rel=1e-12, abs=0)
    assert drift.variance == pytest.approx(wright_fisher.diversity_moments(4, 0.5, 400).variance, rel=1e-12, abs=0)
    # Near collapse, to leading order in the mass x: one of four images shows the rare text with probability 4 x, and
    # then D = 3/8.
    for rare in ([1.0, 1e-20], [1e-20, 1.0]):
        once = corpus.diversity_moments(rare, 4, 0.0, 0.5, 1)
        assert once.mean == pytest.approx(1.5e-20, rel=1e-12, abs=0)
        assert once.variance == pytest.approx(4e-20 * (3 / 8) ** 2, rel=1e-12, abs=0)
    # The order of the texts does not matter.
    orders = [corpus.diversity_moments(p, 3, 0.2, 0.4, 5) for p in ([0.7, 0.2, 0.1], [0.1, 0.7, 0.2])]
    assert tuple(orders[0]) == pytest.approx(tuple(orders[1]), rel=1e-13)


@pytest.mark.parametrize(("alpha", "eps", "updates"), [(1e-12, 0.2, 1), (1e-12, 1.0, 1), (1.0, 1e-12, 3)])
def test_stationary_mean_is_the_sharp_floor_for_very_many_images(alpha: float, eps: float, updates: int) -> None:
    limit = corpus.stationary_moments(10**12, alpha, eps, updates)
    assert limit.mean == pytest.approx(corpus.sharp_floor(10**12, alpha, eps, updates), rel=1e-13)
    if alpha == 1:  # Ewens' sampling formula, theta = 2 M eps / S_T
        theta = 2 / updates
        assert limit.variance == pytest.approx(2 * theta / ((1 + theta) ** 2 * (2 + theta) * (3 + theta)), rel=1e-10)


def test_no_injection_does_not_ask_for_the_new_text() -> None:
    # A third direction is beyond the quadrature; with alpha = 0 it does not matter.
    arguments = ([0.5, 0.3, 0.2], np.eye(3)[:, :3] * [1, 1, 0], np.eye(3), 5)
    new = (0.3, [0.0, 0.0, 1.0], np.eye(3))
    assert corpus.expected_next_diversity(*arguments, 0.0, *new) == text.expected_text_diversity(*arguments)
    with pytest.raises(ValueError, match="at most 2 directions"):
        corpus.expected_next_diversity(*arguments, 0.1, *new)


def test_arrays_broadcast() -> None:
    alpha, eps = np.array([0.1, 0.2, 0.3]), np.array([[0.2], [0.4]])
    table = corpus.sharp_floor(100, alpha, eps)
    assert table.shape == corpus.injection_floor(100, alpha, eps).shape == (2, 3)
    assert (corpus.injection_floor(100, alpha, eps) < table).all()
    assert (table < corpus.limiting_ceiling(eps)).all()
    assert table[1, 2] == corpus.sharp_floor(100, 0.3, 0.4)
    assert corpus.sharp_floor(100, np.array([]), 0.1).size == 0


@pytest.mark.parametrize("sigma", [1e-6, 0.5, 1e3])
def test_kept_texts_bound_holds_at_every_time(sigma: float) -> None:
    alpha, eps, tau = 0.5, 0.4, 1e-6
    start = State.create([1.0], [[0.0]], np.eye(1) * sigma**2)
    new = CorpusInjection(alpha, eps, mean=[0.0], cov=np.eye(1) * sigma**2, mean_cov=np.eye(1))
    system = System(start, 10, 1, image_updates=0, corpus=new)
    count = {"kept": lambda state: (state.p >= tau).sum(axis=1).astype(float)}
    result = replicate(system, 120, 60, rng=5, statistics=count, times=[20, 60, 120])
    bound = corpus.kept_texts_bound(1, alpha, eps, tau)
    assert (result.mean["kept"] + 6 * result.standard_error["kept"] < bound).all()
    if sigma > 1:  # the bound is not far: blurred images keep their texts, each injection takes 40 %
        assert result.mean["kept"][-1] > 0.6 * bound


def test_moving_images_do_not_change_the_bound() -> None:
    # The floor at finite t is an inequality for every image law: here means and covariances are refitted.
    start = State.create([0.5, 0.5], [[-0.2], [0.2]], np.eye(1))
    new = CorpusInjection(0.3, 0.2, mean=[0.0], cov=np.eye(1))
    system = System(start, 10, image_samples=10, text_updates=2, image_updates=5, corpus=new)
    result = replicate(system, 25, 1000, rng=6, times=[25])
    value, error = result.mean["text_diversity"][0], result.standard_error["text_diversity"][0]
    assert value > corpus.diversity_floor(0.5, 10, 0.3, 0.2, 25, text_updates=2) - SIX * error


TWO = ([0.5, 0.5], [[0.0], [1.0]], [[1.0]])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: corpus.injection_floor(0, 0.1, 0.1), ValueError, "text_samples"),
        (lambda: corpus.injection_floor(10, 1.1, 0.1), ValueError, r"injection_prob must hold numbers in \[0, 1\]"),
        (lambda: corpus.sharp_floor(10, 0.1, -0.1), ValueError, "injection_fraction"),
        (lambda: corpus.sharp_floor(10, "a", 0.1), TypeError, "injection_prob"),
        (lambda: corpus.sharp_floor(10, [0.1, 0.2], [0.1, 0.2, 0.3]), ValueError, "broadcast"),
        (lambda: corpus.sharp_floor(10, 0.1, 0.1, 0), ValueError, "text_updates"),
        (lambda: corpus.limiting_ceiling(2.0), ValueError, "injection_fraction"),
        (lambda: corpus.convergence_time(0, 0.1, 0.1), ValueError, "text_samples"),
        (lambda: corpus.convergence_time(10, 0.1, 3), ValueError, "injection_fraction"),
        (lambda: corpus.diversity_floor(1.2, 10, 0.1, 0.1, 3), ValueError, "initial_diversity"),
        (lambda: corpus.diversity_floor(0.2, 10, 0.1, 0.1, -3), ValueError, "t must"),
        (lambda: corpus.diversity_ceiling(0.2, 0.1, 1.1, 3), ValueError, "injection_fraction"),
        (lambda: corpus.diversity_ceiling(-0.2, 0.1, 0.1, 3), ValueError, "initial_diversity"),
        (lambda: corpus.best_injection_fraction(10, 2.0), ValueError, "injection_prob"),
        (lambda: corpus.best_floor(10, 0.5, -1), ValueError, "text_updates"),
        (lambda: corpus.least_injection_prob(1.0, 10), ValueError, "wanted"),
        (lambda: corpus.least_injection_prob(0.5, 10, 1.2), ValueError, "injection_fraction"),
        (lambda: corpus.least_injection_prob(0.5, 0), ValueError, "text_samples"),
        (lambda: corpus.diversity_moments([0.5, 0.6], 10, 0.1, 0.1, 3), ValueError, "p must sum"),
        (lambda: corpus.diversity_moments([1.0], 10, 0.1, 0.1, 0.5), TypeError, "t must"),
        (lambda: corpus.diversity_moments([1.0], 10, 0.1, 0.1, 1, 0), ValueError, "text_updates"),
        (lambda: corpus.stationary_moments(10, -0.1, 0.1), ValueError, "injection_prob"),
        (lambda: corpus.stationary_moments(0, 0.1, 0.1), ValueError, "text_samples"),
        (lambda: corpus.expected_next_diversity(*TWO, 5, 2.0, 0.1, [0.0], [[1.0]]), ValueError, "injection_prob"),
        (lambda: corpus.expected_next_diversity(*TWO, 5, 0.2, 0.1, [0.0, 1.0], [[1.0]]), ValueError, "new_mean"),
        (lambda: corpus.expected_next_diversity(*TWO, 5, 0.2, 0.1, [0.0], [[0.0]]), ValueError, "new_cov"),
        (lambda: corpus.expected_next_diversity(*TWO, 5, 0.2, 0.1, [0.0], [[[1.0]]]), ValueError, "new_cov must have"),
        (lambda: corpus.expected_next_diversity([1.0], *TWO[1:], 5, 0.2, 0.1, [0.0], [[1.0]]), ValueError, "mean"),
        (lambda: corpus.kept_texts_bound(0, 0.1, 0.1, 1e-9), ValueError, "n_texts"),
        (lambda: corpus.kept_texts_bound(1, 1.1, 0.1, 1e-9), ValueError, "injection_prob"),
        (lambda: corpus.kept_texts_bound(1, 0.1, 0.0, 1e-9), ValueError, "injection_fraction"),
        (lambda: corpus.kept_texts_bound(1, 0.1, 0.1, 0.2), ValueError, "threshold"),
    ],
)
def test_bad_input_is_named(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
