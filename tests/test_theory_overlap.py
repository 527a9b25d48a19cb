"""Overlapping components: drift and rates against scipy quadrature, closed forms and the literal Algorithm 2."""

import numpy as np
import pytest
from scipy import integrate, stats

from coevo import network
from coevo.theory import consensus, overlap


def adaptive(function, mean, sigma=1.0):
    """Integrate by adaptive quadrature."""
    ends = min(mean) - 12 * sigma, max(mean) + 12 * sigma
    return integrate.quad(function, *ends, points=sorted(mean), epsabs=1e-12, limit=500)[0]


@pytest.mark.parametrize("sigma", [1.0, 0.3])
def test_expected_ownership_against_adaptive_quadrature(sigma):
    mean, pi, q = [-1.0, 0.2, 1.5], np.array([0.6, 0.1, 0.3]), np.array([0.2, 0.5, 0.3])

    def integrand(x, b):
        density = stats.norm.pdf(x, mean, sigma)
        return pi[b] * density[b] * (q @ density) / (pi @ density)

    expected = [adaptive(lambda x, b=b: integrand(x, b), mean, sigma) for b in range(3)]
    own = overlap.expected_ownership(pi, q, mean, sigma)
    assert own == pytest.approx(expected, abs=1e-9)
    assert own.sum() == pytest.approx(1, abs=1e-10)
    assert overlap.expected_ownership(q, q, mean, sigma) == pytest.approx(q, abs=1e-10)


def test_expected_ownership_at_a_border():
    # One component far away with weight 0: no node of it is divided by zero.
    own = overlap.expected_ownership([1.0, 0.0], [0.5, 0.5], [0.0, 1.0])
    assert own == pytest.approx([1.0, 0.0], abs=1e-10)
    assert np.isfinite(overlap.expected_ownership([1.0, 0.0], [0.5, 0.5], [0.0, 100.0])).all()


def test_rates_of_two_components_against_adaptive_quadrature():
    for q, gap in ((0.5, 1.0), (0.2, 2.5), (0.9, 4.0)):

        def shared(x, q=q, gap=gap):
            one, two = stats.norm.pdf(x), stats.norm.pdf(x, gap)
            return one * two / (q * one + (1 - q) * two)

        rates = overlap.information_rates([q, 1 - q], [0.0, gap])
        assert rates == pytest.approx([1 - adaptive(shared, [0.0, gap])], abs=1e-9)
        assert overlap.information_rates([q, 1 - q], [0.0, 7 * gap], 7.0) == pytest.approx(rates, abs=1e-12)


def test_rates_are_the_slopes_of_the_mean_push():
    mean, q = np.array([0.0, 1.0, 2.5]), np.array([0.3, 0.3, 0.4])
    step, slope = 1e-5, np.empty((3, 3))
    for b in range(3):
        move = step * (np.eye(3)[b] - q)  # along the simplex
        ahead, behind = (overlap.expected_ownership(q + s * move, q, mean) for s in (1, -1))
        slope[:, b] = (ahead - behind) / (2 * step)
    # With v = e_b - q: (1 - K) v; the eigenvalue 0 belongs to q itself.
    values = np.sort(1 - np.linalg.eigvals(slope).real)
    assert overlap.information_rates(q, mean) == pytest.approx(values[:2], abs=1e-7)


def test_limits_of_the_rates():
    assert overlap.information_rates([0.2, 0.3, 0.5], [0.0, 40.0, 80.0]) == pytest.approx([1.0, 1.0], abs=1e-10)
    assert overlap.information_rates([0.5, 0.5], [3.0, 3.0]) == pytest.approx([0.0], abs=1e-10)
    small = overlap.information_rates([0.3, 0.7], [0.0, 0.01])[0]
    assert small == pytest.approx(0.3 * 0.7 * 0.01**2, rel=1e-3)


def test_one_push_of_the_network_has_the_drift():
    """The mean of Algorithm 2 with c = 0."""
    mean, pi, q, runs = np.array([0.0, 1.0]), [0.8, 0.2], [0.4, 0.6], 20_000
    rng = np.random.default_rng(91)
    u = mean[rng.choice(2, runs, p=q)] + rng.standard_normal(runs)
    net = network.MixtureNetwork(mean=mean, cov=1.0, models=1, samples=1, retrieval=1.0, human_counts=[1, 1])
    pushed = network.update_weights(pi, net.log_likelihood(u[:, None, None]), step_size=0.2, shrinkage=0.0)[:, 0]
    expected = 0.8 * 0.8 + 0.2 * overlap.expected_ownership(pi, q, mean)[0]
    assert abs(pushed.mean() - expected) < 6 * pushed.std() / np.sqrt(runs)


def test_distance_of_separated_components_is_exact():
    weights = [[0.3, 0.7], [0.5, 0.5], [0.7, 0.3]]
    exact = consensus.second_moments(3, 3, 0.5, 30, human_counts=[10, 10], weights=weights)
    ours = overlap.overlap_distance(
        3,
        3,
        0.5,
        human_points=20,
        diversity=exact.pool_diversity,
        information=np.ones(31),
        start=exact.distance[0],
    )
    assert ours == pytest.approx(exact.distance, rel=1e-12)


def test_distance_in_the_long_run():
    for kappa in (0.3, 1.0):
        size = 10 + 2 * np.arange(3001)
        path = overlap.overlap_distance(
            2, 1, 0.5, human_points=10, diversity=np.full(3001, 0.4), information=np.full(3001, kappa), start=0.1
        )
        limit = overlap.scaled_distance_limit(2, 0.5, 0.4, kappa)
        assert path[-1] * (size[-1] // 2) == pytest.approx(limit, rel=5e-3)
    assert overlap.scaled_distance_limit(2, 0.5, 0.4, 1.0) == consensus.scaled_distance_limit(2, 0.5, 0.4)
    assert overlap.scaled_distance_limit(2, 0.5, 0.4, 0.0) == pytest.approx(0.4)
    assert overlap.scaled_distance_limit(2, 0.5, 0.4, 1e-6) == pytest.approx(0.4, rel=1e-9)


def test_distance_batches_and_small_pools():
    single = overlap.overlap_distance(
        2, 1, 1.0, human_points=1, diversity=[0.5, 0.5], information=[0.6, 0.6], start=0.2
    )
    assert single == pytest.approx([0.2, 0.2 * 0.4**2])  # one point, read by both: no noise
    batch = overlap.overlap_distance(
        2, 1, 1.0, human_points=1, diversity=np.full((3, 2), 0.5), information=np.full((3, 2), 0.6), start=0.2
    )
    assert batch == pytest.approx(np.tile(single, (3, 1)))
    none = overlap.overlap_distance(2, 1, 1.0, human_points=1, diversity=[0.5] * 4, information=[0.0] * 4, start=0.2)
    assert none == pytest.approx([0.2] * 4)


GOOD = {"human_points": 20, "diversity": [0.5, 0.5], "information": [1.0, 1.0], "start": 1.0}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"human_points": 1}, "human_points must be at least 1 / retrieval"),
        ({"human_points": 0}, "human_points"),
        ({"diversity": [0.5, 1.5]}, "diversity must hold numbers in"),
        ({"diversity": 0.5, "information": 0.5}, "information must have the shape"),
        ({"information": [1.0]}, "information must have the shape"),
        ({"information": [1.0, -0.1]}, "information must hold numbers in"),
        ({"start": -1.0}, "start"),
    ],
)
def test_bad_input_of_the_distance(change, match):
    with pytest.raises(ValueError, match=match):
        overlap.overlap_distance(3, 3, 0.5, **{**GOOD, **change})


@pytest.mark.parametrize(("models", "samples", "retrieval"), [(0, 3, 0.5), (3, 0, 0.5), (3, 3, 0.0)])
def test_bad_network(models, samples, retrieval):
    with pytest.raises(ValueError, match="must"):
        overlap.overlap_distance(models, samples, retrieval, **GOOD)


def test_bad_input_of_the_others():
    with pytest.raises(ValueError, match="weights must have shape"):
        overlap.expected_ownership([1.0], [0.5, 0.5], [0, 1])
    with pytest.raises(ValueError, match="pool must have shape"):
        overlap.expected_ownership([0.5, 0.5], [1.0], [0, 1])
    with pytest.raises(ValueError, match="sigma"):
        overlap.expected_ownership([0.5, 0.5], [0.5, 0.5], [0, 1], 0.0)
    with pytest.raises(ValueError, match="mean must span at most"):
        overlap.information_rates([0.5, 0.5], [0, 1e6])
    with pytest.raises(ValueError, match="mean must have shape"):
        overlap.expected_ownership([1.0], [1.0], [])
    with pytest.raises(ValueError, match="weights must be at least two"):
        overlap.information_rates([1.0], [0.0])
    with pytest.raises(ValueError, match="weights must be at least two"):
        overlap.information_rates([1.0, 0.0], [0.0, 1.0])
    for arguments in ((0, 0.5, 0.5, 0.5), (2, 0.0, 0.5, 0.5), (2, 0.5, 1.5, 0.5), (2, 0.5, 0.5, 1.5)):
        with pytest.raises(ValueError, match="must"):
            overlap.scaled_distance_limit(*arguments)
