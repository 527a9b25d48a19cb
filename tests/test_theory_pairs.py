"""Networks of pairs: recursions against enumeration and literal loops, factors against powers and closed forms."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from coevo._validation import Array
from coevo.theory import pairs
from coevo.theory.fidelity import expected_squared_drift
from coevo.theory.text import text_diversity_floor
from coevo.theory.user_moments import moments as user_moments

RNG = np.random.default_rng(0)


def random_coupling(n: int) -> Array:
    return RNG.dirichlet(np.ones(n), n)


def complete(n: int, share: float) -> Array:
    matrix: Array = (1 - share) * np.eye(n) + share / n
    return matrix


def ring(n: int, share: float) -> Array:
    one = np.roll(np.eye(n), 1, axis=1)
    matrix: Array = (1 - share) * np.eye(n) + share / 2 * (one + one.T)
    return matrix


def transitions(coupling: Array, samples: tuple[int, int]) -> Array:
    """Chances to go from the counts (x, y) of text 0 in two pairs to all others, by enumeration."""
    sizes = [m + 1 for m in samples]
    matrix = np.empty((*sizes, *sizes))
    for x, y in itertools.product(*map(range, sizes)):
        q = coupling @ [x / samples[0], y / samples[1]]
        first, second = (stats.binom.pmf(np.arange(m + 1), m, share) for m, share in zip(samples, q, strict=True))
        matrix[x, y] = np.outer(first, second)
    return matrix.reshape(np.prod(sizes), -1)


@pytest.mark.parametrize("samples", [(5, 5), (4, 6)])
def test_text_moments_against_enumeration(samples: tuple[int, int]) -> None:
    coupling = np.array([[0.7, 0.3], [0.1, 0.9]])
    law = np.zeros((samples[0] + 1, samples[1] + 1))
    law[1, 3] = 1.0
    step = transitions(coupling, samples)
    p = np.array([[1 / samples[0], 1 - 1 / samples[0]], [3 / samples[1], 1 - 3 / samples[1]]])
    exact = pairs.text_moments(coupling, samples if samples[0] != samples[1] else samples[0], range(7), p)
    x, y = np.arange(samples[0] + 1)[:, None] / samples[0], np.arange(samples[1] + 1) / samples[1]
    for t in range(7):
        assert exact.diversity[t] == pytest.approx([(law * 2 * x * (1 - x)).sum(), (law * 2 * y * (1 - y)).sum()])
        assert exact.distance[t, 0, 1] == pytest.approx((law * 2 * (x - y) ** 2).sum())
        middle = (x + y) / 2
        assert exact.mean_diversity[t] == pytest.approx((law * 2 * middle * (1 - middle)).sum())
        assert exact.disagreement[t] == pytest.approx((law * (x - y) ** 2 / 2).sum())
        law = (law.ravel() @ step).reshape(law.shape)
    law = (law.ravel() @ np.linalg.matrix_power(step, 500)).reshape(law.shape)
    assert law[-1, -1] == pytest.approx(pairs.consensus_law(coupling, p)[0], rel=1e-8)
    assert law[0, -1] + law[-1, 0] == pytest.approx(0, abs=1e-8)


def test_text_moments_against_msprime() -> None:
    # Two gene copies from two places, with the coupling as migration matrix: no common ancestor for t generations.
    msprime = pytest.importorskip("msprime")
    coupling, m = np.array([[0.9, 0.1, 0.0], [0.3, 0.6, 0.1], [0.0, 0.5, 0.5]]), 10
    places = msprime.Demography()
    for i in range(3):
        places.add_population(name=f"pair_{i}", initial_size=m // 2)
    for i, j in itertools.permutations(range(3), 2):
        places.set_migration_rate(f"pair_{i}", f"pair_{j}", coupling[i, j])
    exact = pairs.text_moments(coupling, m, range(42), np.full((3, 2), 0.5)).differ / 0.5
    copies = [msprime.SampleSet(1, population=f"pair_{k}", ploidy=1) for k in (0, 2)]
    trees = msprime.sim_ancestry(copies, demography=places, model="dtwf", num_replicates=2000, random_seed=3)
    ancestor = np.array([tree.node(tree.first().root).time for tree in trees])
    for t in (2, 10, 40):
        chance = exact[t + 1, 0, 2]
        assert (ancestor > t).mean() == pytest.approx(chance, abs=6 * np.sqrt(chance * (1 - chance) / 2000))


def test_text_moments_of_uncoupled_and_of_mixed_pairs() -> None:
    p = RNG.dirichlet(np.ones(4), 3)
    alone = pairs.text_moments(np.eye(3), 20, [0, 1, 50], p)
    for i in range(3):
        assert alone.diversity[:, i] == pytest.approx(text_diversity_floor(1 - p[i] @ p[i], 20, [0, 1, 50]))
    same = np.repeat(p[:1], 3, axis=0)  # complete mixing: the average is one text model of nM images
    mixed = pairs.text_moments(complete(3, 1.0), 20, [0, 1, 50], same)
    assert mixed.mean_diversity == pytest.approx(text_diversity_floor(1 - p[0] @ p[0], 60, [0, 1, 50]))


def test_identities_of_the_recursion() -> None:
    coupling, p = random_coupling(5), RNG.dirichlet(np.ones(3), 5)
    law, m = pairs.stationary_law(coupling), 7
    path = pairs.text_moments(coupling, m, range(30), p)
    weighted = np.einsum("i,tij,j->t", law, path.differ, law)
    loss = (law**2 * path.diversity[1:]).sum(axis=1) / (m - 1)
    assert weighted[:-1] - weighted[1:] == pytest.approx(loss, rel=1e-10)
    assert pairs.leading_factor(coupling, m) >= 1 - law.max() / m
    assert np.linalg.matrix_power(coupling, 500)[2] == pytest.approx(law, abs=1e-12)


def test_stationary_law() -> None:
    assert pairs.stationary_law([[1.0, 0.0], [0.3, 0.7]]) == pytest.approx([1, 0])
    assert pairs.stationary_law([[0.8, 0.2], [0.6, 0.4]]) == pytest.approx([0.75, 0.25])
    for bad in (np.eye(2), [[0.0, 1.0], [1.0, 0.0]], [[1.0, 0, 0], [0, 1.0, 0], [0.3, 0.3, 0.4]]):
        with pytest.raises(ValueError, match="one closed class"):
            pairs.stationary_law(bad)
    slow = np.eye(6, k=1)  # a cycle with one shortcut: its first positive power comes late
    slow[5, 0], slow[5, 1] = 0.5, 0.5
    assert pairs.stationary_law(slow) @ slow == pytest.approx(pairs.stationary_law(slow))


@pytest.mark.parametrize("m", [2, 10, 1000])
def test_leading_factor(m: int) -> None:
    coupling = random_coupling(4)
    factor = pairs.leading_factor(coupling, m)
    j = np.ones((4, 4))  # power iteration, literally
    for _ in range(2000):
        new = coupling @ j @ coupling.T
        new[np.diag_indices(4)] *= 1 - 1 / m
        norm, j = new.max() / j.max(), new / new.max()
    assert factor == pytest.approx(norm, rel=1e-12)
    law = pairs.stationary_law(coupling)
    assert m * (1 - factor) == pytest.approx(law @ law, abs=3 / m)
    assert pairs.effective_pairs(coupling, m) == pytest.approx(1 / (m * (1 - factor)))
    assert pairs.effective_pairs(coupling) == pytest.approx(1 / (law @ law))
    assert pairs.leading_factor(np.eye(3), m) == pytest.approx(1)


@pytest.mark.parametrize(("n", "share", "m"), [(2, 0.1, 2), (3, 0.5, 10), (6, 1.0, 7), (6, 0.01, 100)])
def test_islands(n: int, share: float, m: int) -> None:
    coupling, c = complete(n, share), (1 - share) ** 2
    factors = pairs.island_factors(n, m, c)
    assert factors.leading == pytest.approx(pairs.leading_factor(coupling, m), abs=1e-12)
    assert (1 - factors.leading) * (1 - factors.other) == pytest.approx((1 - c) / (n * m))
    assert factors.leading * factors.other == pytest.approx((1 - 1 / m) * c)
    late = pairs.text_moments(coupling, m, 400 if share > 0.05 else 8000, np.full((n, 2), 0.5))
    if late.mean_diversity[0] > 1e-280:
        share_lost = late.disagreement / late.mean_diversity
        assert share_lost == pytest.approx(pairs.island_disagreement(n, m, c), rel=1e-8)
    low, high = pairs.factor_bounds(coupling, m)
    assert high == pytest.approx(factors.leading, abs=1e-14)
    assert low <= factors.leading + 1e-15
    assert pairs.ring_factor(coupling[0], m) == pytest.approx(factors.leading, abs=1e-12)


def test_wrights_formula_is_the_limit() -> None:
    m = 10**7
    for w in (0.2, 1.0, 5.0):
        for n in (2, 4):
            got = pairs.island_disagreement(n, m, 1 - w / m)
            assert got == pytest.approx(max(np.roots([1, n * w + n - 2, 1 - n])), rel=1e-5)
        assert pairs.island_disagreement(2000, m, 1 - w / m) == pytest.approx(1 / (1 + w), rel=2e-3)
    assert pairs.island_disagreement(3, 10, 1.0) == 1.0


def test_bounds_and_rings() -> None:
    for n, share, m in ((5, 0.3, 4), (8, 0.9, 50), (9, 0.02, 3)):
        coupling = ring(n, share)
        factor = pairs.leading_factor(coupling, m)
        assert pairs.ring_factor(coupling[0], m) == pytest.approx(factor, abs=1e-12)
        low, high = pairs.factor_bounds(coupling, m)
        assert low <= factor <= high
    directed = np.array([0.5, 0.5, 0.0, 0.0])
    matrix = np.array([np.roll(directed, i) for i in range(4)])
    assert pairs.ring_factor(directed, 6) == pytest.approx(pairs.leading_factor(matrix, 6), abs=1e-12)
    assert pairs.ring_factor([1.0], 5) == 0.8
    for _ in range(20):  # mixtures of permutations: all doubly stochastic matrices
        weights = RNG.dirichlet(np.ones(5))
        mixture = sum(w * np.eye(4)[RNG.permutation(4)] for w in weights) * 0.99 + 0.0025
        low, high = pairs.factor_bounds(mixture, 5)
        assert low - 1e-12 <= pairs.leading_factor(mixture, 5) <= high + 1e-12


def test_bounds_of_any_network() -> None:
    for _ in range(40):
        coupling, m = random_coupling(int(RNG.integers(2, 7))), int(RNG.integers(2, 30))
        low, high = pairs.factor_bounds(coupling, m)
        assert low <= pairs.leading_factor(coupling, m) <= high < 1


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.8, 1.0])
def test_two_pairs(share: float) -> None:
    p, t = [[0.9, 0.1, 0.0], [0.2, 0.3, 0.5]], [0, 1, 2, 7, 60]
    recursion = pairs.text_moments([[1 - share, share], [share, 1 - share]], 8, t, p)
    closed = pairs.two_pairs(share, 8, t, p)
    assert closed.differ == pytest.approx(recursion.differ, abs=1e-13)
    assert closed.times.tolist() == t


def test_image_moments_against_literal_expectation() -> None:
    # One step from given means: exact moments of the pooled sample by summing over all sources of N = 3 images.
    coupling, mean = np.array([[0.6, 0.4], [0.25, 0.75]]), np.array([[0.0], [2.0]])
    cov = np.array([[[1.0]], [[0.5]]])
    got = pairs.image_moments(coupling, 3, [0, 1], mean, cov)
    assert got.variance[0] == pytest.approx([1, 0.5])
    for i in range(2):
        square = variance = 0.0
        for sources in itertools.product(range(2), repeat=3):
            chance = np.prod(coupling[i, list(sources)])
            m, v = mean[list(sources), 0], cov[list(sources), 0, 0]
            square += chance * (m.mean() ** 2 + v.sum() / 9)
            variance += chance * (((m - m.mean()) ** 2).sum() + v.sum() * 2 / 3) / 2
        assert got.products[1, i, i] == pytest.approx(square)
        assert got.variance[1, i] == pytest.approx(variance)
    moved = coupling @ mean[:, 0]
    assert got.products[1, 0, 1] == pytest.approx(moved[0] * moved[1])


def test_fixed_sources_against_user_content() -> None:
    # A pair that takes m of s images from a pair that never moves is Theorem 6.3 with user images.
    n, m = 6, 4
    frozen = pairs.image_moments(
        [[n / 10, m / 10], [0.0, 1.0]], 10, [0, 1], [[0.0], [3.0]], [[[2.0]], [[1.5]]], sources="fixed"
    )
    exact = user_moments([-3.0], [[2.0]], [[1.5]], n, m, 1)
    about = np.array([-3.0, 0.0])
    shifted = pairs.image_moments(
        [[n / 10, m / 10], [0.0, 1.0]], 10, [1], about[:, None], [[[2.0]], [[1.5]]], sources="fixed"
    )
    assert frozen.variance[1, 0] == pytest.approx(exact.cov.item())
    assert shifted.products[0, 0, 0] == pytest.approx(exact.error.item())


def test_image_moments_of_one_pair() -> None:
    cov = np.diag([2.0, 1.0])
    got = pairs.image_moments([[1.0]], 5, [0, 3, 9], [[0.0, 0.0]], [cov])
    assert got.variance[:, 0] == pytest.approx([3, 3, 3])
    assert got.products[:, 0, 0] == pytest.approx(expected_squared_drift(cov, 5, [0, 3, 9]))
    biased = pairs.image_moments([[1.0]], 5, [9], [[0.0, 0.0]], [cov], divisor=0)
    assert biased.variance[0, 0] == pytest.approx(3 * 0.8**9)
    assert got.spread == pytest.approx([0, 0, 0])


def test_images_fitted_by_maximum_likelihood_are_texts() -> None:
    # Half the mean squared distance of two draws obeys the recursion of the texts, for any coupling.
    coupling, mean = random_coupling(4), RNG.standard_normal((4, 2))
    cov = np.array([np.eye(2) * v for v in (0.5, 1.0, 2.0, 0.1)])
    got = pairs.image_moments(coupling, 6, range(5), mean, cov, divisor=0)
    own = np.einsum("tii->ti", got.products)
    apart = own[:, :, None] + own[:, None] - 2 * got.products
    differ = (got.variance[:, :, None] + got.variance[:, None] + apart) / 2
    for now, new in itertools.pairwise(differ):
        step = coupling @ now @ coupling.T
        step[np.diag_indices(4)] *= 5 / 6
        assert new == pytest.approx(step)


def test_random_counts() -> None:
    law = stats.binom(6, 0.4)
    args = [[0.8, 0.2], [0.5, 0.5]], [[0.0], [1.0]], [[[1.0]], [[2.0]]]
    one = pairs.image_moments(args[0], law, [1], *args[1:])
    weights = law.pmf(np.arange(7))
    parts = [pairs.image_moments(args[0], k, [1], *args[1:]) for k in range(7)]
    assert one.variance[0] == pytest.approx(sum(w * x.variance[0] for w, x in zip(weights, parts, strict=True)))
    own = [np.diag(x.products[0]) for x in parts]
    assert np.diag(one.products[0]) == pytest.approx(sum(w * x for w, x in zip(weights, own, strict=True)))
    refit = weights[2:].sum()  # the two pairs refit or not, independently
    stay, move = np.array([0.0, 1.0]), np.array(args[0]) @ [0.0, 1.0]
    assert one.products[0, 0, 1] == pytest.approx(np.prod((1 - refit) * stay + refit * move))


@pytest.mark.parametrize(("n", "share", "size", "divisor"), [(2, 0.3, 5, 1.0), (4, 1.0, 20, 0.0), (5, 0.05, 8, 0.5)])
def test_image_factors(n: int, share: float, size: int, divisor: float) -> None:
    start = np.zeros((n, 1)), np.ones((n, 1, 1))
    late = pairs.image_moments(complete(n, share), size, [600, 601], *start, divisor=divisor)
    factors = pairs.image_factors(n, size, (1 - share) ** 2, divisor)
    assert late.variance[1, 0] / late.variance[0, 0] == pytest.approx(factors.leading, abs=1e-9)
    assert late.spread[1] / late.spread[0] == pytest.approx(factors.leading, abs=1e-9)
    if divisor == 1:
        k, c, x = (1 - 1 / n) / size, (1 - share) ** 2, factors.leading
        assert 1 < x <= 1 + k
        assert (x - 1) * (x - c) == pytest.approx(k * (1 - c) * x)
        assert factors.leading * factors.other == pytest.approx(c)


def test_growth_of_every_doubly_stochastic_network() -> None:
    for _ in range(20):
        weights = RNG.dirichlet(np.ones(5))
        mixture = sum(w * np.eye(4)[RNG.permutation(4)] for w in weights)
        late = pairs.image_moments(mixture, 9, [800, 801], np.zeros((4, 1)), np.ones((4, 1, 1)))
        growth = late.variance[1].sum() / late.variance[0].sum()
        second = float(np.linalg.norm(mixture - 1 / 4, 2) ** 2)
        assert pairs.image_factors(4, 9, min(second, 1.0)).leading - 1e-9 <= growth <= 1 + 3 / 36 + 1e-9


def test_complete_mixing_of_images() -> None:
    n, size = 4, 20
    assert pairs.image_factors(n, size, 0.0, 0).leading == pytest.approx(1 - 1 / (n * size))
    assert pairs.image_factors(n, size, 0.0).leading == pytest.approx(1 + (n - 1) / (n * size))
    fair = pairs.fair_divisor(n, size)
    assert pairs.image_factors(n, size, 0.0, fair).leading == pytest.approx(1, abs=1e-14)
    assert fair == pytest.approx(1 / n, rel=0.05)
    assert pairs.fair_divisor(1, 7) == 1


P2, A2 = [[0.5, 0.5], [0.2, 0.8]], [[0.9, 0.1], [0.1, 0.9]]
MEAN, COV = [[0.0], [1.0]], [[[1.0]], [[1.0]]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pairs.stationary_law([0.5, 0.5]), "coupling must have shape"),
        (lambda: pairs.stationary_law([[0.5, 0.6], [0.5, 0.5]]), "coupling must sum to 1"),
        (lambda: pairs.consensus_law(A2, [0.5, 0.5]), "p must have shape"),
        (lambda: pairs.text_moments(A2, 0, 1, P2), "text_samples must hold integers >= 1"),
        (lambda: pairs.text_moments(A2, [3, 3, 3], 1, P2), "text_samples must be one number"),
        (lambda: pairs.text_moments(A2, 5, -1, P2), "t must hold integers >= 0"),
        (lambda: pairs.text_moments(A2, 5, [[1]], P2), "t must be a row"),
        (lambda: pairs.text_moments(A2, 5, 10**7, P2), "t must be a row"),
        (lambda: pairs.leading_factor(np.eye(61), 5), "at most 60 rows"),
        (lambda: pairs.effective_pairs(A2, 1), "text_samples must be an integer >= 2"),
        (lambda: pairs.island_factors(1, 5, 0.5), "pairs must be an integer >= 2"),
        (lambda: pairs.island_factors(2, 0, 0.5), "text_samples must be"),
        (lambda: pairs.island_disagreement(2, 5, 1.5), "kept_distance must lie"),
        (lambda: pairs.factor_bounds([[1.0, 0.0], [0.2, 0.8]], 5), "all hear of each other"),
        (lambda: pairs.factor_bounds([[1.0]], 5), "at least 2 pairs"),
        (lambda: pairs.factor_bounds(A2, 1), "text_samples must be"),
        (lambda: pairs.ring_factor([0.5, 0.6], 5), "shares must sum to 1"),
        (lambda: pairs.ring_factor([0.5, 0.0, 0.5, 0.0], 5), "falls into parts"),
        (lambda: pairs.two_pairs(1.5, 5, 1, P2), "share must lie"),
        (lambda: pairs.two_pairs(0.5, 5, 1, [[1.0]]), "p must have shape"),
        (lambda: pairs.image_moments(A2, 1.5, 1, MEAN, COV), "image_samples must be an integer"),
        (lambda: pairs.image_moments(A2, 5, 1, [[0.0]], COV), "mean must have shape"),
        (lambda: pairs.image_moments(A2, 5, 1, MEAN, [[1.0]]), "cov must have shape"),
        (lambda: pairs.image_moments(A2, 5, 1, MEAN, COV, sources="all"), "sources must be one of"),
        (lambda: pairs.image_moments(A2, 5, 1, MEAN, COV, divisor=2), "divisor must lie"),
        (lambda: pairs.image_factors(1, 5, 0.5), "pairs must be"),
        (lambda: pairs.image_factors(2, 1, 0.5), "image_samples must be"),
        (lambda: pairs.image_factors(2, 5, 0.5, 3.0), "divisor must lie"),
        (lambda: pairs.fair_divisor(0, 5), "pairs must be"),
        (lambda: pairs.fair_divisor(2, 1), "image_samples must be"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
