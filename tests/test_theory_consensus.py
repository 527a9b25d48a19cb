"""Appendix A of Wang et al. 2025 against exact enumeration, Polya's urn and a simulation of labels."""

import math
from collections import defaultdict
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from coevo.theory import consensus

Array = NDArray[np.float64]


def ordered_samples(counts: tuple[int, ...], k: int) -> dict[tuple[int, ...], float]:
    """Label sequences of k points of the pool, drawn without replacement, with their probabilities."""
    labels = [b for b, count in enumerate(counts) for _ in range(count)]
    law: dict[tuple[int, ...], float] = defaultdict(float)
    draws = list(permutations(labels, k))
    for draw in draws:
        law[draw] += 1 / len(draws)
    return law


def pushed(pi: tuple[float, ...], draw: tuple[int, ...], a: float, c: float) -> tuple[float, ...]:
    """Algorithm 2, lines 2 to 6, for points that tell their component."""
    b = len(pi)
    for x in draw:
        pi = tuple((1 - a) * p + a * ((i == x) - c) / (1 - b * c) for i, p in enumerate(pi))
    return pi


@pytest.mark.parametrize(("k", "a", "c"), [(1, None, 0.0), (3, None, 0.0), (4, 0.2, 0.05), (5, 0.7, 0.0)])
def test_one_step_against_all_draws(k: int, a: float | None, c: float) -> None:
    counts, pi = (2, 0, 3), (0.2, 0.5, 0.3)
    step = 1 / k if a is None else a
    draws = ordered_samples(counts, k)
    after = np.array([pushed(pi, draw, step, c) for draw in draws])
    chance = np.array(list(draws.values()))
    mean = chance @ after
    moments = consensus.weight_moments(pi, counts, k, a, c)
    assert moments.mean == pytest.approx(mean, abs=1e-14)
    assert moments.cov == pytest.approx((chance[:, None] * (after - mean)).T @ (after - mean), abs=1e-14)
    w = step * (1 - step) ** np.arange(k)
    assert consensus.push_sums(k, step) == pytest.approx(((1 - step) ** k, w.sum(), (w**2).sum()), abs=1e-15)


def enumerated(
    weights: Any, counts: Any, samples: int, beta: float, steps: int, a: Any, c: Any, replace: bool, human: Any
) -> list[dict[tuple[Any, ...], float]]:
    """The law of (weights of the models, counts of the pool) at each step, by listing all outcomes."""
    n, b = len(weights), len(counts)
    state = {(tuple(map(tuple, weights)), tuple(counts)): 1.0}
    laws: list[dict[tuple[Any, ...], float]] = [state]
    for t in range(steps):
        new: dict[tuple[Any, ...], float] = defaultdict(float)
        for (pis, pool), chance in state.items():
            k = int(beta * sum(pool))
            draws = ordered_samples(pool, k)
            step, shrinkage = a(t, k), c(t, k)
            read = [
                [(tuple(round(p, 12) for p in pushed(pi, d, step, shrinkage)), q) for d, q in draws.items()]
                for pi in pis
            ]
            sources = [pi for pi in pis for _ in range(samples)] + [human] * (human is not None)
            for posts in product(range(b), repeat=len(sources)):
                seen = chance * math.prod(source[x] for source, x in zip(sources, posts, strict=True))
                if seen > 0:
                    grown = tuple((0 if replace else pool[x]) + posts.count(x) for x in range(b))
                    for choice in product(*read):
                        after, chances = zip(*choice, strict=True)
                        new[after, grown] += seen * math.prod(chances)
        assert sum(new.values()) == pytest.approx(1)
        assert n == len(weights)
        state = dict(new)
        laws.append(state)
    return laws


@pytest.mark.parametrize(
    ("samples", "steps", "options"),
    [
        (1, 2, {}),
        (2, 2, {}),
        (1, 3, {"memory": 1}),
        (1, 2, {"human": (0.9, 0.1)}),
        (1, 2, {"human": None, "fresh": 1}),
        (1, 2, {"memory": 1, "human": (0.25, 0.75)}),
        (1, 2, {"a": 0.3, "c": 0.02}),
        (1, 2, {"a": lambda t, k: 1 / (k + 1 + t), "c": lambda t, k: 0.04 / (t + 1)}),
        (1, 2, {"a": 0.3, "c": None}),
    ],
)
def test_second_moments_against_all_outcomes(samples: int, steps: int, options: dict[str, Any]) -> None:
    weights, counts, beta = ((0.3, 0.7), (0.6, 0.4)), (2, 1), 0.7
    a, c, human = options.get("a"), options.get("c", 0.0), options.get("human")
    fresh = options.get("fresh", int(human is not None))
    source = (2 / 3, 1 / 3) if fresh and human is None else human

    def rule(value: Any, default: Any) -> Any:
        return value if callable(value) else (lambda t, k: default(k) if value is None else value)

    laws = enumerated(
        weights,
        counts,
        samples,
        beta,
        steps,
        rule(a, lambda k: 1 / k),
        rule(c, lambda k: 1 / (4 * k)),
        "memory" in options,
        source,
    )
    exact = consensus.second_moments(
        2,
        samples,
        beta,
        steps,
        human_counts=counts,
        weights=weights,
        step_size=a,
        shrinkage=c,
        memory=options.get("memory"),
        human_samples=fresh,
        human_weights=human,
    )
    for t, law in enumerate(laws):
        chance = np.array(list(law.values()))
        pi = np.array([key[0] for key in law])
        size = sum(next(iter(law))[1])
        q = np.array([key[1] for key in law]) / size
        bar = pi.mean(axis=1)
        wanted = {
            "pool_size": size,
            "retrieved": int(beta * size),
            "distance": chance @ (2 * ((pi[:, 0] - pi[:, 1]) ** 2).sum(axis=-1)),
            "pool_diversity": chance @ (1 - (q**2).sum(axis=-1)),
            "model_diversity": chance @ (1 - (pi**2).sum(axis=-1).mean(axis=1)),
            "cross_diversity": chance @ (1 - (q * bar).sum(axis=-1)),
            "mean_diversity": chance @ (1 - (bar**2).sum(axis=-1)),
            "gap": chance @ ((bar - q) ** 2).sum(axis=-1),
            "composition": chance @ q,
            "weights": chance @ bar,
        }
        for name, value in wanted.items():
            assert getattr(exact, name)[t] == pytest.approx(value, abs=1e-10), (name, t)
    assert exact.times.tolist() == list(range(steps + 1))


def labels_only(
    n: int, samples: int, beta: float, steps: int, runs: int, counts: list[int], rng: np.random.Generator, a: Any = None
) -> tuple[Array, Array]:
    """Weights (runs, steps + 1, n, B) and composition (runs, steps + 1, B): points are their labels."""
    b = len(counts)
    pool = np.repeat(np.arange(b), counts)[None].repeat(runs, axis=0)
    pi = rng.dirichlet(np.ones(b), size=(runs, n))
    weights, composition = [pi], [np.array(counts)[None] / sum(counts) + np.zeros((runs, b))]
    for _ in range(steps):
        size = pool.shape[1]
        k = int(beta * size)
        step = 1 / k if a is None else a
        posts = (rng.random((runs, n, samples, 1)) > pi.cumsum(axis=-1)[:, :, None, :-1]).sum(axis=-1)
        order = rng.random((runs, n, size)).argsort(axis=-1)[..., :k]
        seen = np.take_along_axis(np.broadcast_to(pool[:, None], (*order.shape[:2], size)), order, axis=-1)
        kernel = step * (1 - step) ** np.arange(k - 1, -1, -1)
        pi = (1 - step) ** k * pi + np.stack([((seen == x) * kernel).sum(axis=-1) for x in range(b)], axis=-1)
        pool = np.concatenate([pool, posts.reshape(runs, -1)], axis=1)
        weights.append(pi)
        composition.append(np.stack([(pool == x).mean(axis=1) for x in range(b)], axis=-1))
    return np.stack(weights, axis=1), np.stack(composition, axis=1)


@pytest.mark.parametrize("a", [None, 0.25])
def test_second_moments_and_martingale_against_simulation(a: float | None) -> None:
    runs, steps, counts = 2500, 20, [3, 4, 1]
    pi, q = labels_only(3, 2, 0.6, steps, runs, counts, np.random.default_rng(11), a)
    exact = consensus.second_moments(3, 2, 0.6, steps, human_counts=counts, step_size=a)
    bar = pi.mean(axis=2)
    distance = ((pi[:, :, :, None] - pi[:, :, None]) ** 2).sum(axis=(-1, -2, -3))
    vote = consensus.pool_vote(3, 2, 0.6, steps, human_points=8, step_size=a)[:, None]
    martingale = (1 - vote) * q + vote * bar
    pairs = [
        (distance, exact.distance),
        (1 - (q**2).sum(axis=-1), exact.pool_diversity),
        (1 - (pi**2).sum(axis=-1).mean(axis=-1), exact.model_diversity),
        (((bar - q) ** 2).sum(axis=-1), exact.gap),
        (martingale[..., 0], np.full(steps + 1, martingale[:, 0, 0].mean())),
    ]
    for values, law in pairs:
        late = values - values[:, :1] * (law is pairs[-1][1])
        wanted = law - law[0] * (law is pairs[-1][1])
        for t in (1, 2, 5, steps):
            error = late[:, t].std(ddof=1) / np.sqrt(runs)
            assert abs(late[:, t].mean() - wanted[t]) < 6 * error
    # the difference of two models and the gap move in the mean as E delta' = (kept - s) delta says
    difference = consensus.mean_difference_factor(3, 2, 0.6, steps, human_points=8, step_size=a)
    for t in (1, 2, 4):
        left = pi[:, t, 0, 0] - pi[:, t, 1, 0] - difference[t] * (pi[:, 0, 0, 0] - pi[:, 0, 1, 0])
        assert abs(left.mean()) < 6 * left.std(ddof=1) / np.sqrt(runs)


def test_printed_recursion_of_the_distance() -> None:
    exact = consensus.second_moments(4, 5, 0.3, 300, human_counts=[6, 14, 3])
    k, size = exact.retrieved[:-1], exact.pool_size[:-1]
    a = 1 / k
    kept = (1 - a) ** k
    first, second = 1 - kept, a / (2 - a) * (1 - kept**2)
    noise = second - (first**2 - second) / (size - 1)
    right = kept**2 * exact.distance[:-1] + 2 * 4 * 3 * exact.pool_diversity[:-1] * noise
    assert exact.distance[1:] == pytest.approx(right, rel=1e-12)
    assert exact.inherited[1:] == pytest.approx(exact.distance[0] * np.cumprod(kept**2), rel=1e-12)
    # over ordered pairs, ||D||^2 = 2 n^2 (D(mean) - mean of D(Pi_i))
    spread = 2 * 16 * (exact.mean_diversity - exact.model_diversity)
    assert exact.distance == pytest.approx(spread, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("concentration", [0.3, 1.0, 7.0])
def test_dirichlet_start(concentration: float) -> None:
    law = stats.dirichlet([concentration] * 4)
    start = consensus.second_moments(3, 1, 0.5, 0, human_counts=[1, 2, 3, 4], concentration=concentration)
    assert start.distance[0] == pytest.approx(2 * 6 * law.var().sum())
    assert start.model_diversity[0] == pytest.approx(1 - (law.var() + law.mean() ** 2).sum())
    assert start.weights[0] == pytest.approx(law.mean())
    assert start.pool_diversity[0] == pytest.approx(0.7)
    assert start.cross_diversity[0] == pytest.approx(0.75)


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0])
def test_limit_and_rate(beta: float) -> None:
    exact = consensus.second_moments(3, 3, beta, 8000, human_counts=[10, 10])
    limit = consensus.scaled_distance_limit(3, beta, exact.pool_diversity[-1])
    error = np.abs(exact.retrieved * exact.distance / limit - 1)
    assert error[8000] < 2e-3
    assert error[8000] < 0.2 * error[800]  # the corrections are of order 1/k
    root = np.sqrt(exact.distance)
    assert root[8000] / root[2000] == pytest.approx(0.5, abs=2e-3)  # t^{-1/2}


def test_constant_step_size_leaves_a_distance() -> None:
    exact = consensus.second_moments(3, 3, 0.5, 4000, human_counts=[10, 10], step_size=0.1)
    assert exact.distance[-1] == pytest.approx(12 * exact.pool_diversity[-1] * 0.1 / 1.9, rel=2e-3)
    assert consensus.mean_difference_factor(3, 3, 0.5, 50, human_points=20, step_size=0.1)[-1] < 1e-60


def test_crossover() -> None:
    exact = consensus.second_moments(3, 3, 0.5, 30, human_counts=[5000, 5000])
    t = exact.crossover
    assert t is not None
    assert 3 < t < 7
    assert exact.inherited[t] <= exact.distance[t] / 2
    assert exact.inherited[t - 1] > exact.distance[t - 1] / 2
    assert consensus.second_moments(1, 3, 0.5, 5, human_counts=[2, 2]).crossover is None


@pytest.mark.parametrize("memory", [None, 1])
@pytest.mark.parametrize("step_size", [None, 0.4])
def test_vote(memory: int | None, step_size: float | None) -> None:
    shape: tuple[int, int, float] = (2, 3, 0.5)
    vote = consensus.pool_vote(*shape, 400, human_points=6, memory=memory, step_size=step_size)
    exact = consensus.second_moments(
        *shape,
        400,
        human_counts=[1, 5],
        weights=[[0.9, 0.1], [0.4, 0.6]],
        memory=memory,
        step_size=step_size,
    )
    h = vote[:, None]
    mean = (1 - h) * exact.composition + h * exact.weights
    assert mean == pytest.approx(np.broadcast_to(mean[0], mean.shape), abs=1e-13)
    assert vote.min() >= 0
    assert vote.max() <= 1
    # the diversity of M_t never rises
    own = (1 - vote) ** 2 * exact.pool_diversity + vote**2 * exact.mean_diversity
    own += 2 * vote * (1 - vote) * exact.cross_diversity
    assert np.diff(own).max() < 1e-15
    if memory is None:
        share = 6 / exact.pool_size[1:]
        assert np.all(vote[:-1] <= share / (1 - 0.5))
        assert np.all(vote[:-1] >= share * 0.5)
    else:
        assert vote[5] == pytest.approx(1 / (2 - exact.kept[5]))
        assert exact.pool_diversity[-1] < 1e-3
        assert exact.pool_size[1:].tolist() == [6] * 400


def test_replaced_pool_with_fresh_points_keeps_diversity() -> None:
    options: dict[str, Any] = {"human_counts": [10, 10], "memory": 1, "human_samples": 3}
    fresh = consensus.second_moments(3, 3, 0.5, 400, **options)
    assert fresh.pool_diversity[-1] == pytest.approx(fresh.pool_diversity[-2], rel=1e-6)
    assert fresh.pool_diversity[-1] > 0.3
    assert fresh.pool_size[1:].tolist() == [12] * 400


@pytest.mark.parametrize(("beta", "counts"), [(0.5, [10, 10]), (1.0, [1, 1]), (0.05, [3, 1, 1])])
def test_floor_of_the_pool_diversity(beta: float, counts: list[int]) -> None:
    floor = consensus.pool_diversity_floor(3, 3, beta, human_counts=counts)
    q = np.array(counts) / sum(counts)
    assert 0 < floor < 1 - q @ q
    for weights in (None, np.tile(np.eye(len(counts))[0], (3, 1))):
        exact = consensus.second_moments(3, 3, beta, 3000, human_counts=counts, weights=weights)
        assert exact.pool_diversity[-1] > floor
    # one huge human pool: the bound is nearly attained
    assert consensus.pool_diversity_floor(1, 1, 0.5, human_counts=[10**5, 10**5]) == pytest.approx(0.5, rel=1e-3)


def test_accumulated_diversity() -> None:
    for m in (2, 7, 20, 500):
        x = np.pi / np.sqrt(m)
        assert consensus.accumulated_diversity(m) == pytest.approx(np.sin(x) / x / (1 - 1 / m))
    assert consensus.accumulated_diversity(10**4) == pytest.approx(1 - (np.pi**2 / 6 - 1) / 10**4, abs=1e-8)
    # M = 1 is Polya's urn: the limit is Dirichlet with the initial counts
    assert consensus.accumulated_diversity(1, initial_points=5) == pytest.approx(5 / 6)
    k = np.arange(31)
    law = stats.betabinom(30, 2, 3).pmf(k)
    share = (2 + k) / 35
    urn = law @ (2 * share * (1 - share)) / (2 * 0.4 * 0.6)
    assert consensus.accumulated_diversity(1, 30, initial_points=5) == pytest.approx(urn)
    times = np.array([0, 1, 10])
    product_ = [np.prod(1 - 6 / (9 + 6 * np.arange(1, t + 1)) ** 2) for t in times]
    assert consensus.accumulated_diversity(6, times, initial_points=9) == pytest.approx(product_)
    assert consensus.accumulated_diversity(6, 10**9, 9) == pytest.approx(consensus.accumulated_diversity(6, None, 9))
    # the same chain by simulation
    rng, m, runs = np.random.default_rng(5), 20, 20000
    counts = np.tile([8, 12], (runs, 1))
    for t in range(60):
        new = rng.binomial(m, counts[:, 0] / (m * (t + 1)))
        counts = counts + np.stack([new, m - new], axis=1)
    q = counts[:, 0] / (m * 61)
    values = 2 * q * (1 - q) / 0.48
    error = values.std(ddof=1) / np.sqrt(runs)
    assert abs(values.mean() - consensus.accumulated_diversity(20, 60)) < 6 * error


NETWORK: dict[str, Any] = {"models": 2, "samples": 2, "retrieval": 0.5, "steps": 3}
BAD: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (consensus.push_sums, {"retrieved": -1, "step_size": 0.1}, ValueError, "retrieved"),
    (consensus.push_sums, {"retrieved": 3, "step_size": 1.5}, ValueError, "step_size"),
    (consensus.weight_moments, {"weights": [0.5, 0.4], "pool_counts": [1, 1], "retrieved": 1}, ValueError, "weights"),
    (consensus.weight_moments, {"weights": [0.5, 0.5], "pool_counts": [1], "retrieved": 1}, ValueError, "pool_counts"),
    (consensus.weight_moments, {"weights": [0.5, 0.5], "pool_counts": [0, 0], "retrieved": 1}, ValueError, "pool_cou"),
    (consensus.weight_moments, {"weights": [0.5, 0.5], "pool_counts": [1, 1], "retrieved": 3}, ValueError, "retrieved"),
    (
        consensus.weight_moments,
        {"weights": [0.5, 0.5], "pool_counts": [1, 1], "retrieved": 1, "shrinkage": 0.5},
        ValueError,
        "shrinkage",
    ),
    (consensus.second_moments, NETWORK | {"models": 0}, ValueError, "models"),
    (consensus.second_moments, NETWORK | {"samples": 2.0}, TypeError, "samples"),
    (consensus.second_moments, NETWORK | {"retrieval": 1.2}, ValueError, "retrieval"),
    (consensus.second_moments, NETWORK | {"steps": 10**7}, ValueError, "steps"),
    (consensus.second_moments, NETWORK | {"human_counts": [[1, 2]]}, ValueError, "human_counts"),
    (consensus.second_moments, NETWORK | {"weights": [[1.0, 0.0]]}, ValueError, "weights"),
    (consensus.second_moments, NETWORK | {"concentration": 0.0}, ValueError, "concentration"),
    (consensus.second_moments, NETWORK | {"step_size": 2}, ValueError, "step_size"),
    (consensus.second_moments, NETWORK | {"step_size": lambda t, k: -1.0}, ValueError, "step_size"),
    (consensus.second_moments, NETWORK | {"shrinkage": 0.5}, ValueError, "shrinkage"),
    (consensus.second_moments, NETWORK | {"memory": 2}, ValueError, "memory"),
    (consensus.second_moments, NETWORK | {"memory": 0}, ValueError, "memory"),
    (consensus.second_moments, NETWORK | {"human_samples": -1}, ValueError, "human_samples"),
    (consensus.second_moments, NETWORK | {"human_weights": [1.0]}, ValueError, "human_weights"),
    (consensus.mean_difference_factor, NETWORK | {"human_points": 0}, ValueError, "human_points"),
    (consensus.pool_vote, NETWORK | {"human_points": 2, "step_size": 0.0}, ValueError, "step_size must let"),
    (consensus.scaled_distance_limit, {"models": 2, "retrieval": 0.0, "final_diversity": 0.5}, ValueError, "retrieval"),
    (consensus.scaled_distance_limit, {"models": 2, "retrieval": 1, "final_diversity": 2}, ValueError, "final_divers"),
    (
        consensus.pool_diversity_floor,
        {"models": 1, "samples": 1, "retrieval": 1e-5, "human_counts": [1, 1]},
        ValueError,
        "retrieval",
    ),
    (consensus.accumulated_diversity, {"text_samples": 0}, ValueError, "text_samples"),
    (consensus.accumulated_diversity, {"text_samples": 2, "t": -1}, ValueError, "t must"),
    (consensus.accumulated_diversity, {"text_samples": 2, "initial_points": 0}, ValueError, "initial_points"),
]


@pytest.mark.parametrize(("call", "arguments", "error", "name"), BAD)
def test_bad_arguments(
    call: Any, arguments: dict[str, Any], error: type[Exception], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consensus, "_LONGEST", 1000)
    if call is consensus.second_moments:
        arguments = {"human_counts": [1, 1]} | arguments
    with pytest.raises(error, match=name):
        call(**arguments)


def test_few_points() -> None:
    exact = consensus.second_moments(2, 1, 0.4, 3, human_counts=[1, 1], weights=[[0.9, 0.1], [0.2, 0.8]])
    assert exact.retrieved.tolist() == [0, 1, 2, 3]
    assert exact.kept[0] == 1
    assert exact.distance[1] == exact.distance[0]
    alone = consensus.second_moments(1, 1, 1.0, 2, human_counts=[0, 1], weights=[[0.5, 0.5]], shrinkage=0.1)
    assert alone.distance.tolist() == [0, 0, 0]
    assert alone.pool_diversity[0] == 0
    assert consensus.pool_diversity_floor(1, 1, 1.0, human_counts=[1, 0]) == 0


def test_a_share_that_is_an_integer_up_to_rounding_is_that_integer() -> None:
    moments = consensus.second_moments(2, 1, 0.29, 0, human_counts=[50, 50])
    assert moments.retrieved[0] == 29  # 0.29 * 100 is 28.999999999999996
