"""The simulator of networks of pairs: against Algorithm 1, exact laws, and literal loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coevo import evidence
from coevo.network.pairs import (
    PairNetwork,
    _log_densities,
    chain,
    cliques,
    complete,
    ring,
    simulate_pairs,
    star,
)
from coevo.simulation import State, System, simulate
from coevo.theory import pairs
from coevo.theory.text import expected_text_diversity

P = np.array([[0.8, 0.2], [0.3, 0.7]])
MEAN = np.array([[[0.0, 0.0], [1.5, 0.0]]] * 2)
COV = np.tile(np.eye(2), (2, 2, 1, 1))


def network(**changes: Any) -> PairNetwork:
    given: dict[str, Any] = {"coupling": complete(2, 0.4), "p": P, "mean": MEAN, "cov": COV, "text_samples": 20}
    return PairNetwork(**(given | changes))


def equal(values: Any, bound: float) -> None:
    assert evidence.check_equal("quantity", bound=bound, **evidence.summary(values)).passed


def test_graphs() -> None:
    assert complete(4, 0.4)[0] == pytest.approx([0.7, 0.1, 0.1, 0.1])
    assert ring(4, 0.4)[0] == pytest.approx([0.6, 0.2, 0, 0.2])
    assert star(3, 0.4).tolist() == [[0.6, 0.2, 0.2], [0.4, 0.6, 0], [0.4, 0, 0.6]]
    assert chain(3, 0.4).tolist() == [[1, 0, 0], [0.4, 0.6, 0], [0, 0.4, 0.6]]
    joined = cliques(4, 0.4, 0.1)
    assert joined[0] == pytest.approx([0.7, 0.2, 0.1, 0])
    assert joined[1] == pytest.approx([0.2, 0.8, 0, 0])
    for matrix in (joined, star(5, 0.3), ring(5, 1.0), chain(4, 1.0)):
        assert matrix.sum(axis=1) == pytest.approx(np.ones(len(matrix)))


def test_true_labels_have_the_exact_moments() -> None:
    coupling = np.array([[0.9, 0.1], [0.5, 0.5]])
    path = simulate_pairs(network(coupling=coupling), 12, 4000, rng=1, every=3)
    assert path.times.tolist() == [0, 3, 6, 9, 12]
    assert path.mean.shape == (1, 5, 2, 2, 2)
    exact = pairs.text_moments(coupling, 20, path.times, P)
    for k in (1, 4):
        for i in range(2):
            equal(1 - (path.p[:, k, i] ** 2).sum(axis=-1), exact.diversity[k, i])
        equal(((path.p[:, k, 0] - path.p[:, k, 1]) ** 2).sum(axis=-1), exact.distance[k, 0, 1])
        mean = np.linalg.matrix_power(coupling, int(path.times[k])) @ P
        equal(path.p[:, k, 1, 0], mean[1, 0])


@pytest.mark.parametrize("labels", ["own", "honest"])
def test_uncoupled_pairs_are_algorithm_1(labels: str) -> None:
    path = simulate_pairs(network(coupling=np.eye(2), labels=labels), 1, 3000, rng=2)
    for i in range(2):
        exact = expected_text_diversity(P[i], MEAN[0], COV[0], 20)
        equal(1 - (path.p[:, 1, i] ** 2).sum(axis=-1), exact)


def test_a_step_of_both_updates_is_algorithm_1() -> None:
    path = simulate_pairs(
        network(coupling=np.eye(2), labels="own", image_samples=150, image_updates=2, text_updates=1), 3, 1500, rng=3
    )
    start = State.create(P[0], MEAN[0], COV[0])
    alone = simulate(System(start, text_samples=20, image_samples=150, image_updates=2), 3, 1500, rng=4)
    for one, other in (
        (path.p[:, 3, 0, 0], alone.p[:, 3, 0]),
        (path.mean[:, 3, 0, 1, 0], alone.mean[:, 3, 1, 0]),
        (path.cov[:, 3, 0, 0, 1, 1], alone.cov[:, 3, 0, 1, 1]),
    ):
        error = np.hypot(one.std(), other.std()) / np.sqrt(1500)
        assert abs(one.mean() - other.mean()) < 6 * error


def test_honest_labels_keep_the_mean_and_the_floor() -> None:
    shifted = MEAN + np.array([[[0.0, 0.5]], [[0.0, 0.0]]])  # the pairs' image models differ
    path = simulate_pairs(network(mean=shifted, labels="honest"), 6, 2000, rng=5)
    exact = pairs.text_moments(complete(2, 0.4), 20, range(7), P)
    equal(path.p[:, 6].mean(axis=1)[:, 0], 0.55)
    diversity = 1 - (path.p[:, 6] ** 2).sum(axis=-1)
    for i in range(2):
        assert diversity[:, i].mean() > exact.diversity[6, i] + 3 * diversity[:, i].std() / np.sqrt(2000)


def test_images_have_the_exact_moments() -> None:
    mean, cov = np.array([[[0.0]], [[2.0]], [[1.0]]]), np.ones((3, 1, 1, 1))
    frozen: dict[str, Any] = {"p": np.ones((3, 1)), "mean": mean, "cov": cov, "text_samples": 1}
    frozen |= {"text_updates": 0, "image_updates": 1}
    for divisor in (1.0, 0.0):
        coupling = star(3, 0.5)
        net = PairNetwork(coupling=coupling, image_samples=12, divisor=divisor, **frozen)
        path = simulate_pairs(net, 4, 4000, rng=6)
        exact = pairs.image_moments(coupling, 12, 4, mean[:, 0], cov[:, 0], divisor=divisor)
        for i in range(3):
            equal(path.cov[:, 4, i, 0, 0, 0], exact.variance[0, i])
        equal(path.mean[:, 4, 0, 0, 0] * path.mean[:, 4, 1, 0, 0], exact.products[0, 0, 1])
        assert (path.p == 1).all()


def test_rare_texts_keep_their_image_models() -> None:
    path = simulate_pairs(network(p=[[1.0, 0.0], [1.0, 0.0]], image_samples=5, image_updates=1), 2, 10, rng=7)
    assert (path.mean[:, :, :, 1] == MEAN[:, 1]).all()
    assert (path.mean[:, 1, :, 0] != MEAN[:, 0]).any()


def test_divisors_near_two() -> None:
    one, tight = (
        simulate_pairs(network(image_samples=2, image_updates=1, text_updates=0, divisor=d), 1, 50, rng=3).cov[:, 1]
        for d in (1.0, 1.95)
    )
    refitted = (one != COV).any(axis=(-2, -1))
    assert refitted.any()
    assert tight[refitted] == pytest.approx(20 * one[refitted])


def test_densities() -> None:
    rng = np.random.default_rng(8)
    factor = rng.standard_normal((50, 3, 3))
    cov = factor @ np.swapaxes(factor, -1, -2)
    x, mean = rng.standard_normal((1, 4, 3)), rng.standard_normal((1, 50, 3))
    got = _log_densities(x, mean, cov[None])
    apart = x[:, :, None] - mean[:, None]
    expected = -np.einsum("rmki,kij,rmkj->rmk", apart, np.linalg.inv(cov), apart) / 2
    expected -= np.linalg.slogdet(cov)[1] / 2
    assert got == pytest.approx(expected, rel=1e-7)


def test_singular_image_models_have_no_posterior() -> None:
    with pytest.raises(ValueError, match='labels must be "true"'):
        simulate_pairs(network(labels="own", image_samples=2, image_updates=1), 30, 20, rng=9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coupling": [[1.0]]}, "p must have shape"),
        ({"coupling": [0.5, 0.5]}, "coupling must have shape"),
        ({"p": [0.5, 0.5]}, "p must have shape"),
        ({"mean": MEAN[:1]}, "mean must have shape"),
        ({"cov": COV[0]}, "cov must have shape"),
        ({"cov": 0 * COV}, "cov must"),
        ({"text_samples": 0}, "text_samples must be"),
        ({"image_updates": -1}, "image_updates must be"),
        ({"labels": "sharp"}, "labels must be one of"),
        ({"divisor": 2.0}, "divisor must lie"),
    ],
)
def test_bad_network(change: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        network(**change)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_pairs("net", 1, 1, rng=0), "network must be"),  # type: ignore[arg-type]
        (lambda: simulate_pairs(network(), -1, 1, rng=0), "steps must be"),
        (lambda: simulate_pairs(network(), 1, 0, rng=0), "runs must be"),
        (lambda: simulate_pairs(network(), 1, 1, rng=0, every=0), "every must be"),
        (lambda: complete(0, 0.5), "pairs must be"),
        (lambda: ring(2, 0.5), "pairs must be"),
        (lambda: star(2, 1.5), "share must lie"),
        (lambda: chain(3, -0.1), "share must lie"),
        (lambda: cliques(5, 0.5, 0.1), "pairs must be even"),
        (lambda: cliques(4, 0.5, 0.6), "bridge must lie"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
