"""Overlapping components: against scipy's quadrature, EM's own iteration, the separated law and a simulation."""

import numpy as np
import pytest
from scipy import integrate, stats

from coevo import network
from coevo.theory import consensus, ownership
from coevo.theory.ownership import Modes, expected_ownership, linear_distance, modes, overlap_limit

CASES = [([-1.0, 1.0], [0.5, 0.5], 1.0), ([0.0, 0.4], [0.2, 0.8], 0.3), ([-2.0, 0.0, 1.0], [0.2, 0.3, 0.5], 0.8)]
each_case = pytest.mark.parametrize(("mean", "q", "sd"), CASES)


def integral(f, mean, sd):
    low, high = min(mean) - 12 * sd, max(mean) + 12 * sd
    return integrate.quad(f, low, high, limit=400, epsabs=1e-13, epsrel=1e-12, points=sorted(mean))[0]


def owned(x, mean, weights, sd):
    """Posterior probabilities of the components at one point."""
    joint = np.asarray(weights) * stats.norm.pdf(x, mean, sd)
    return joint / joint.sum()


@each_case
def test_expected_ownership_against_quadrature(mean, q, sd):
    pi = np.array(q)[::-1]
    found = expected_ownership(mean, pi, q, sd)
    for b in range(len(mean)):
        wanted = integral(lambda x, b=b: owned(x, mean, pi, sd)[b] * (stats.norm.pdf(x, mean, sd) @ q), mean, sd)
        assert found[b] == pytest.approx(wanted, abs=1e-11)
    assert found.sum() == pytest.approx(1.0, abs=1e-13)
    np.testing.assert_allclose(expected_ownership(mean, q, q, sd), q, atol=1e-13)


@each_case
def test_modes_are_those_of_the_matrix_by_quadrature(mean, q, sd):
    size = range(len(mean))
    p = np.array(
        [
            [
                integral(lambda x, b=b, a=a: owned(x, mean, q, sd)[b] * stats.norm.pdf(x, mean[a], sd), mean, sd)
                for a in size
            ]
            for b in size
        ]
    )
    found = modes(mean, q, sd)
    values = np.sort(np.linalg.eigvals(p).real)[::-1]
    assert values[0] == pytest.approx(1.0, abs=1e-10)
    np.testing.assert_allclose(found.rates, values[1:], atol=1e-10)
    assert found.shares.sum() == pytest.approx(1 - np.square(q).sum(), abs=1e-12)
    # The matrix is minus the derivative of the mean update at agreement.
    x = np.zeros(len(mean))
    x[0], x[-1] = 1e-4, -1e-4
    ahead, behind = (expected_ownership(mean, q + s * x, q, sd) - (q + s * x) for s in (1, -1))
    np.testing.assert_allclose((ahead - behind) / 2, -p @ x, atol=1e-10)


@pytest.mark.parametrize("q", [[0.5, 0.5], [0.1, 0.9]])
@pytest.mark.parametrize("spacing", [0.5, 2.0, 4.0])
def test_two_components_keep_what_the_posterior_tells(q, spacing):
    """lambda = 1 - V / D with V the mean posterior diversity."""
    mean = [0.0, spacing]
    v = integral(
        lambda x: (1 - np.square(owned(x, mean, q, 1.0)).sum()) * (stats.norm.pdf(x, mean, 1.0) @ q), mean, 1.0
    )
    assert modes(mean, q).rates[0] == pytest.approx(1 - v / (1 - np.square(q).sum()), abs=1e-10)


def test_em_forgets_what_is_not_kept():
    """The distance of an EM iteration from its fixed point shrinks by 1 - lambda."""
    mean, q = [0.0, 1.0, 3.0], np.array([0.3, 0.3, 0.4])
    p = np.array([0.4, 0.35, 0.25])
    last = None
    for _ in range(130):
        p, before = expected_ownership(mean, p, q), p
        last = np.linalg.norm(p - q) / np.linalg.norm(before - q)
    assert last == pytest.approx(1 - modes(mean, q).rates[-1], abs=1e-6)


def test_without_overlap_the_law_is_that_of_the_labels():
    found = modes([-50.0, 0.0, 50.0], [0.2, 0.3, 0.5])
    np.testing.assert_allclose(found.rates, 1.0, atol=1e-14)
    # One step: after it the pool of the network is another one, and the linear law keeps its own.
    for human in ([4, 6, 10], [20, 30, 50]):
        exact = consensus.second_moments(3, 1, 0.5, 1, human_counts=human, weights=np.eye(3) * 0.7 + 0.1)
        start = np.array([0.5, 0.5]) * exact.distance[0]
        law = linear_distance(3, exact.pool_size[:1], exact.retrieved[:1], found, start)
        np.testing.assert_allclose(law, exact.distance, rtol=1e-12)
    limit = overlap_limit(3, 0.5, found)
    assert limit == pytest.approx(6 * (1 - np.square([0.2, 0.3, 0.5]).sum()) * (1 - np.tanh(0.5)), rel=1e-12)


def test_the_limit_hardly_depends_on_overlap():
    full, none = (6 * 0.5 * (1 - b) for b in (2 * 0.5 * np.tanh(0.5), 0.5))
    levels = [overlap_limit(3, 0.5, modes([0.0, s], [0.5, 0.5])) for s in (20.0, 4.0, 2.0, 1.0, 0.1, 0.0)]
    assert np.all(np.diff(levels) <= 1e-12)
    assert levels[0] == pytest.approx(full, rel=1e-9)
    assert levels[-1] == pytest.approx(none, rel=1e-9)


def test_linear_distance_tends_to_its_limit():
    found = modes([0.0, 1.5], [0.3, 0.7])
    sizes = 20 + 9 * np.arange(3000)
    law = linear_distance(3, sizes, sizes // 2, found, [0.4])
    assert law[-1] * (sizes[-1] // 2) == pytest.approx(overlap_limit(3, 0.5, found), rel=2e-3)


def test_one_push_against_simulation():
    """The mean of a push is exact: a single point of the pool, a large step."""
    mean, weights = [0.0, 1.5], [[0.2, 0.8], [0.7, 0.3]]
    net = network.MixtureNetwork(
        mean=mean, cov=1.0, models=2, samples=0, retrieval=0.3, human_counts=[1, 3], weights=weights, step_size=0.5,
        shrinkage=0.0,
    )  # fmt: skip
    assert net.retrieved(4) == 1
    moved = network.simulate(net, 1, 40_000, rng=np.random.default_rng(5)).weights[:, 1]
    for i, start in enumerate(weights):
        wanted = 0.5 * np.array(start) + 0.5 * expected_ownership(mean, start, [0.25, 0.75])
        error = moved[:, i].std(axis=0, ddof=1) / np.sqrt(len(moved))
        assert np.all(np.abs(moved[:, i].mean(axis=0) - wanted) < 6 * error)
        # What labels would give is far outside.
        assert np.all(np.abs(moved[:, i].mean(axis=0) - (0.5 * np.array(start) + [0.125, 0.375])) > 20 * error)


GOOD = modes([0.0, 1.0], [0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: modes([0.0], [1.0]), ValueError, "mean must hold at least two components, got 1"),
        (lambda: modes([[0.0], [1.0]], [0.5, 0.5]), ValueError, "mean"),
        (lambda: modes([0.0, 2000.0], [0.5, 0.5]), ValueError, "mean must span at most 1000 standard deviations"),
        (lambda: modes([0.0, 1.0], [0.5, 0.5], 0.0), ValueError, "sd"),
        (lambda: modes([0.0, 1.0], [0.5, 0.3]), ValueError, "weights"),
        (lambda: modes([0.0, 1.0], [0.5, 0.3, 0.2]), ValueError, "weights must hold 2 positive numbers"),
        (lambda: modes([0.0, 1.0, 2.0], [0.5, 0.5, 0.0]), ValueError, "weights must hold 3 positive numbers"),
        (lambda: expected_ownership([0.0, 1.0], [0.5, 0.5], [0.5, 0.6]), ValueError, "pool"),
        (lambda: overlap_limit(1, 0.5, GOOD), ValueError, "models"),
        (lambda: overlap_limit(2, 0.0, GOOD), ValueError, "retrieval"),
        (lambda: overlap_limit(2, 0.5, (1.0, 0.5)), TypeError, "found"),
        (lambda: linear_distance(1, [9], [4], GOOD, [0.1]), ValueError, "models"),
        (lambda: linear_distance(2, [1], [1], GOOD, [0.1]), ValueError, "pool_size"),
        (lambda: linear_distance(2, [9], [0], GOOD, [0.1]), ValueError, "retrieved"),
        (lambda: linear_distance(2, [9, 9], [4], GOOD, [0.1]), ValueError, "retrieved must have the shape"),
        (lambda: linear_distance(2, [9], [4], GOOD, [0.1, 0.2]), ValueError, "start"),
        (lambda: linear_distance(2, [9], [4], GOOD, [-0.1]), ValueError, "start must be >= 0, got -0.1"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_everything_public_is_listed():
    assert set(ownership.__all__) == {
        "Modes",
        "expected_ownership",
        "linear_distance",
        "modes",
        "overlap_limit",
    }
    assert isinstance(GOOD, Modes)
