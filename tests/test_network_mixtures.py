"""Networks of mixtures: against the literal algorithms, exact laws, and hand computations."""

import re

import numpy as np
import pytest
from scipy import special, stats

from coevo import network, reference
from coevo.network import MixtureNetwork, mixtures, simulate, update_weights

I2 = np.eye(2)
TILT = np.array([[1.0, 0.6], [0.6, 0.8]])


def net(**options):
    """Two components at -5 and 5, three models, three posts, A^(0) of ten points each."""
    if "human_points" not in options:
        options.setdefault("human_counts", [10, 10])
    standard = {"mean": [-5.0, 5.0], "cov": 1.0, "models": 3, "samples": 3, "retrieval": 0.5}
    return MixtureNetwork(**(standard | options))


def z_score(values, expected):
    """Standard errors between the mean of independent values (R, ...) and what it should be."""
    return (np.mean(values, axis=0) - expected) / (np.std(values, axis=0, ddof=1) / np.sqrt(len(values)))


# --- Algorithm 2 ----------------------------------------------------------------------------------------------------


def corrected_update(weights, points, mean, cov, a, c, epsilon):
    """The corrected rule point by point, for comparison."""
    pi = np.array(weights, dtype=float)
    components = len(pi)
    for u in points:
        joint = np.array([pi[b] * stats.multivariate_normal.pdf(u, mean[b], cov) for b in range(components)])
        pi = (1 - a) * pi + a * (joint / joint.sum() - c) / (1 - components * c)
        alive = pi > 0
        if not alive.all():
            share = 1 - epsilon * (~alive).sum()
            pi = np.where(alive, share * pi / pi[alive].sum(), epsilon)
    return pi


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("components", [2, 11])
@pytest.mark.parametrize("epsilon", [0.0, 0.02])
@pytest.mark.parametrize("corrected", [True, False])
def test_update_is_the_literal_one(dim, components, epsilon, corrected):
    rng = np.random.default_rng([dim, components])
    mean = 2 * rng.standard_normal((components, dim))
    cov = np.array([[0.7]]) if dim == 1 else TILT
    weights = rng.dirichlet(np.ones(components), 4)
    points = 3 * rng.standard_normal((4, 12, dim))
    a, c = 0.3, 0.4 / components  # large, so that weights fall below zero
    plain = MixtureNetwork(mean=mean, cov=cov, models=1, samples=1, retrieval=1.0, human_counts=[1] * components)
    found = update_weights(
        weights,
        plain.log_likelihood(points),
        step_size=a,
        shrinkage=c,
        threshold=epsilon,
        corrected=corrected,
    )
    for i in range(4):
        if corrected:
            expected = corrected_update(weights[i], points[i], mean, cov, a, c, epsilon)
        else:
            expected = reference.mixture_weight_update(weights[i], points[i], mean, cov, a, c, epsilon)
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=1e-12)
    total = found.sum(axis=-1)
    if corrected or epsilon == 0:
        np.testing.assert_allclose(total, 1.0, atol=1e-12)
    else:
        assert (total > 1 + 1e-3).any()
    if epsilon == 0:
        assert (found == 0).any()


def test_rules_agree_without_a_threshold():
    """Several weights fall to zero at once: each printed division keeps the sum and the proportions."""
    log_likelihood = np.log([[0.9, 0.1, 0.05, 0.05, 0.02]])
    weights = [0.9, 0.04, 0.03, 0.02, 0.01]
    options = {"step_size": 0.5, "shrinkage": 0.15}
    free = update_weights(weights, log_likelihood, **options, corrected=False)
    assert (free == 0).sum() == 4
    np.testing.assert_allclose(update_weights(weights, log_likelihood, **options), free, rtol=0, atol=1e-15)


def test_printed_rule_leaves_an_excess():
    """By hand: weights (0.99, 0.01), a = 1/2, c = 1/4, a point that surely is of the first component.

    The second falls to 0.005 - 0.25 = -0.245. With epsilon = 0.1 the first becomes 1.245 / 1.345.
    """
    surely = np.array([[0.0, -1000.0]])
    options = {"step_size": 0.5, "shrinkage": 0.25, "threshold": 0.1}
    printed = update_weights([0.99, 0.01], surely, **options, corrected=False)
    np.testing.assert_allclose(printed, [1.245 / 1.345, 0.1], rtol=1e-15)
    assert printed.sum() - 1 == pytest.approx(0.1 * (0.1 + 0.245) / (1 + 0.1 + 0.245), rel=1e-13)
    np.testing.assert_allclose(update_weights([0.99, 0.01], surely, **options), [0.9, 0.1], rtol=1e-15)


def test_corrected_rule_keeps_the_proportions_of_the_rest():
    log_likelihood = np.log([[0.5, 0.5, 1e-9, 1e-9]])
    found = update_weights([0.5, 0.3, 0.1, 0.1], log_likelihood, step_size=0.5, shrinkage=0.2, threshold=0.05)
    np.testing.assert_array_equal(found[2:], 0.05)
    own = np.array([0.5, 0.3]) / 0.8
    raw = 0.5 * np.array([0.5, 0.3]) + 0.5 * (own - 0.2) / (1 - 0.8)
    np.testing.assert_allclose(found[:2], 0.9 * raw / raw.sum(), rtol=1e-8)


@pytest.mark.parametrize("corrected", [True, False])
def test_a_weight_that_rounding_left_is_dead(corrected):
    """(1 - a) pi - a c / (1 - 2 c) = 0 in exact arithmetic: the component must not come back with its next point."""
    dies = np.array([[0.0, -1000.0]])
    for a, c in ((0.1, 0.2), (0.3, 0.1), (0.5, 0.1), (0.2, 0.15)):
        low = a * c / (1 - 2 * c) / (1 - a)
        options = {"step_size": a, "shrinkage": c, "corrected": corrected}
        for nudge in (-1e-17, 0.0, 1e-17):
            found = update_weights([1 - low - nudge, low + nudge], dies, **options)
            np.testing.assert_allclose(found, [1.0, 0.0], rtol=0, atol=1e-14)
            assert update_weights(found / found.sum(), dies[:, ::-1], **options)[1] == 0


def test_update_by_hand_with_defaults():
    """Two points that surely are of one component each, a = 1/2 and c = 1/8."""
    log_likelihood = np.array([[0.0, -1000.0], [-1000.0, 0.0]])
    once = 0.5 * np.array([0.5, 0.5]) + 0.5 * (np.array([1, 0]) - 0.125) / 0.75
    twice = 0.5 * once + 0.5 * (np.array([0, 1]) - 0.125) / 0.75
    np.testing.assert_allclose(update_weights([0.5, 0.5], log_likelihood), twice, rtol=1e-14)
    # The order matters: the last point counts most.
    np.testing.assert_allclose(update_weights([0.5, 0.5], log_likelihood[::-1]), twice[::-1], rtol=1e-14)
    assert abs(twice[0] - twice[1]) > 0.3
    # One component owns everything, whatever c.
    np.testing.assert_array_equal(update_weights([1.0], np.zeros((1, 1))), [1.0])


def test_update_broadcasts_and_returns_copies():
    rng = np.random.default_rng(5)
    weights = rng.dirichlet([1.0, 1.0, 1.0], (3, 1))
    log_likelihood = rng.standard_normal((2, 4, 3))
    found = update_weights(weights, log_likelihood)
    assert found.shape == (3, 2, 3)
    for i, j in np.ndindex(3, 2):
        np.testing.assert_allclose(found[i, j], update_weights(weights[i, 0], log_likelihood[j]), rtol=1e-14)
    unchanged = update_weights(weights[:, 0], np.zeros((0, 3)))
    np.testing.assert_array_equal(unchanged, weights[:, 0])
    unchanged[:] = 0  # a copy, which may be written to
    assert weights.min() > 0
    one = np.array([0.5, 0.5])
    update_weights(one, np.array([[0.0, -1.0]]))
    np.testing.assert_array_equal(one, 0.5)


def test_far_points_and_dead_weights_have_owners():
    """Ownerships whose denominators underflow are those of the logarithms."""
    mean = np.array([-1000.0, 0.0, 5.0, 1000.0])
    plain = MixtureNetwork(mean=mean, cov=1.0, models=1, samples=1, retrieval=1.0, human_counts=[1] * 4)
    points = np.array([[1000.0], [-900.0], [1e6], [1e-3], [1e40], [1000.0]])
    weights = np.array([[0.25, 0.25, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0], [0.3, 0.0, 0.3, 0.4], [1e-9, 1 - 1e-9, 0.0, 0.0]])
    found = update_weights(weights, plain.log_likelihood(points), step_size=0.4, shrinkage=0.0)
    for i, start in enumerate(weights):
        pi = start.copy()
        for u in points[:, 0]:
            with np.errstate(divide="ignore"):
                joint = np.log(pi) + u * mean - mean**2 / 2
            pi = 0.6 * pi + 0.4 * np.exp(joint - special.logsumexp(joint))
        np.testing.assert_allclose(found[i], pi, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found[1], weights[1])


def test_log_likelihood_is_that_of_scipy():
    rng = np.random.default_rng(8)
    mean = rng.standard_normal((4, 2))
    plain = MixtureNetwork(mean=mean, cov=TILT, models=1, samples=1, retrieval=1.0, human_counts=[1] * 4)
    points = 4 * rng.standard_normal((3, 5, 2))
    expected = np.stack([stats.multivariate_normal.logpdf(points, m, TILT) for m in mean], axis=-1)
    expected -= expected.max(axis=-1, keepdims=True)
    np.testing.assert_allclose(plain.log_likelihood(points), expected, atol=1e-11)
    # Two means close to each other and far from 0.
    close = MixtureNetwork(mean=[1e9, 1e9 + 1], cov=1.0, models=1, samples=1, retrieval=1.0, human_counts=[1, 1])
    np.testing.assert_allclose(close.log_likelihood([1e9 + 1.25]), [-0.75, 0.0], atol=1e-12)


# --- Algorithm 3 ----------------------------------------------------------------------------------------------------


def decoded(before, after, points):
    """Labels (R, points) pushed with a = 1/2 and c = 0, from the weights of component 1, by binary digits."""
    digits = []
    value = after.copy()
    for _ in range(points):  # pi <- (pi + label) / 2: the last label is the leading digit
        digits.append(value > 0.5)
        value = 2 * value - digits[-1]
    np.testing.assert_allclose(value, before, atol=1e-9)
    return np.stack(digits[::-1], axis=1).astype(int)


def test_points_are_drawn_without_replacement_in_random_order():
    """Exact: the labels that two models push in two steps are independent hypergeometric sequences."""
    runs, k = 20_000, 3
    still = net(
        mean=[-50.0, 50.0],
        models=2,
        samples=0,
        human_counts=[2, 4],
        step_size=0.5,
        shrinkage=0.0,
        weights=[[0.3, 0.7], [0.6, 0.4]],
    )
    path = simulate(still, 2, runs, rng=11)
    one = path.weights[..., 1]
    codes = []
    for t in (0, 1):
        for i in (0, 1):
            labels = decoded(one[:, t, i], one[:, t + 1, i], k)
            codes.append(labels @ [4, 2, 1])
    law = np.zeros(8)
    for code in range(8):
        left, probability = [2, 4], 1.0
        for label in ((code >> 2) & 1, (code >> 1) & 1, code & 1):
            probability *= left[label] / sum(left)
            left[label] -= 1
        law[code] = probability
    assert law[0] == 0
    possible = law > 0
    for i in range(4):
        counts = np.bincount(codes[i], minlength=8)
        assert counts[0] == 0
        assert stats.chisquare(counts[possible], runs * law[possible]).pvalue > 1e-9
        for j in range(i):
            pairs = np.bincount(8 * codes[i] + codes[j], minlength=64).reshape(8, 8)[np.ix_(possible, possible)]
            expected = runs * np.outer(law[possible], law[possible])
            assert stats.chisquare(pairs.ravel(), expected.ravel()).pvalue > 1e-9


def test_one_step_has_its_exact_mean_and_variance():
    """Well-separated components: (1 - a)^k keeps, the rest is the composition; sampling is without replacement."""
    runs, start = 20_000, np.array([[0.2, 0.8], [0.7, 0.3], [0.5, 0.5]])
    separated = net(mean=[-20.0, 20.0], human_counts=[6, 14], weights=start, shrinkage=0.02)
    path = simulate(separated, 1, runs, rng=3)
    k, c, q = 10, 0.02, np.array([0.3, 0.7])
    a = 1 / k
    s1, s2 = 1 - (1 - a) ** k, a / (2 - a) * (1 - (1 - a) ** (2 * k))
    np.testing.assert_array_less(
        np.abs(z_score(path.weights[:, 1], (1 - a) ** k * start + s1 * (q - c) / (1 - 2 * c))), 6
    )
    variance = q[0] * q[1] * (s2 - (s1**2 - s2) / 19) / (1 - 2 * c) ** 2
    squares = (path.weights[:, 1] - path.weights[:, 1].mean(axis=0)) ** 2
    np.testing.assert_array_less(np.abs(z_score(squares, variance)), 6)
    # Models draw independently, so squared distances add up.
    gap = (1 - a) ** (2 * k) * network.distance_norm(start) ** 2 + 6 * 4 * variance
    assert abs(z_score(path.distance_norm[:, 1] ** 2, gap)) < 6


def test_squared_distances_contract_and_are_stirred_at_every_step():
    """E[G_{t+1} | step t] = (1 - a)^{2k} G_t + 2 n (n - 1) Q_t (S_2 - (S_1^2 - S_2) / (|A| - 1)), well separated."""
    path = simulate(net(mean=[-20.0, 20.0], shrinkage=0.0), 30, 3000, rng=21)
    squared = path.distance_norm**2
    gini = 1 - (path.composition**2).sum(axis=-1)
    for t in (0, 1, 5, 12, 29):
        size = path.pool_size[t]
        k = net().retrieved(size)
        a = 1 / k
        s1, s2 = 1 - (1 - a) ** k, a / (2 - a) * (1 - (1 - a) ** (2 * k))
        stirred = 12 * gini[:, t] * (s2 - (s1**2 - s2) / (size - 1))
        assert abs(z_score(squared[:, t + 1] - (1 - a) ** (2 * k) * squared[:, t] - stirred, 0.0)) < 6


@pytest.mark.parametrize("memory", [None, 2])
def test_draws_are_different_points_of_the_pool(memory):
    given = net(memory=memory)
    block = mixtures._Block(given, 4, 9, np.random.default_rng(1))
    for t in range(9):
        k = given.retrieved(block.size)
        rows = np.concatenate([block._draw(0, 3), block._draw(3, k)])
        alive = (block.first + np.arange(block.size)) % block.capacity
        assert np.isin(rows, alive).all()
        assert all(len(set(column)) == k for column in rows.T)
        block._step(t)


@pytest.mark.parametrize("epsilon", [0.0, 0.05])
def test_network_has_the_law_of_the_literal_one(epsilon):
    weights = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    mean = np.array([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0]])
    human = np.array([[-1.5, 0.0], [-0.5, 0.5], [1.0, 1.0], [0.0, 2.5], [3.0, 0.0]])
    steps, options = 4, {"samples": 2, "retrieval": 0.6, "threshold": epsilon, "shrinkage": 0.08}
    rng = np.random.default_rng(17)
    literal = [
        [state[0] for state in reference.mixture_network(weights, human, mean, TILT, steps=steps, rng=rng, **options)]
        for _ in range(130)
    ]
    literal = np.array(literal)
    whole = MixtureNetwork(
        mean=mean, cov=TILT, models=2, human_points=human, weights=weights, corrected=False, **options
    )
    path = simulate(whole, steps, 10_000, rng=5)
    np.testing.assert_array_equal(path.weights[0, 0], weights)
    assert (path.weights[:, -1] == epsilon).any()
    if epsilon > 0:
        assert (path.weights[:, -1].sum(axis=-1) > 1 + 1e-6).any()
    for t in (1, 2, 4):
        for statistic in (network.distance_norm, lambda w: w[:, 0, 0], lambda w: w[:, 1, 2] * w[:, 0, 1]):
            expected, found = statistic(literal[:, t]), statistic(path.weights[:, t])
            error = np.hypot(expected.std() / np.sqrt(len(expected)), found.std() / np.sqrt(len(found)))
            assert abs(expected.mean() - found.mean()) < 6 * error
            assert stats.ks_2samp(np.round(expected, 9), np.round(found, 9), method="asymp").pvalue > 1e-9


def test_posts_come_from_the_mixture():
    given = net(
        mean=[[-3.0, 0.0], [3.0, 1.0]], cov=TILT, models=2, samples=4, weights=[[1.0, 0.0], [0.2, 0.8]], memory=1
    )
    block = mixtures._Block(given, 3000, 1, np.random.default_rng(1))
    points, labels = block._posts()
    assert points.shape == (2, 8, 3000)
    assert labels.shape == (8, 3000)
    own = np.arange(8) % 2  # posts of the models take turns
    np.testing.assert_array_equal(labels[own == 0], 0)
    assert abs(z_score(labels[own == 1].ravel(), 0.8)) < 6
    white = points - block.given_mean.T[:, labels]
    np.testing.assert_array_less(np.abs(z_score(white.reshape(2, -1).T, 0.0)), 6)
    np.testing.assert_array_less(np.abs(z_score((white.reshape(2, -1).T) ** 2, 1.0)), 6)
    root = np.linalg.cholesky(TILT)
    np.testing.assert_allclose(root @ block.given_mean.T, given.mean.T, atol=1e-14)


def test_initial_weights_are_dirichlet():
    path = simulate(net(mean=[-1.0, 0.0, 1.0], human_counts=[1, 1, 1], concentration=2.0), 0, 3000, rng=4)
    first = path.weights[:, 0].reshape(-1, 3)
    np.testing.assert_array_less(np.abs(z_score(first, 1 / 3)), 6)
    np.testing.assert_array_less(np.abs(z_score((first - 1 / 3) ** 2, (1 / 3) * (2 / 3) / 7)), 6)
    assert abs(np.corrcoef(path.weights[:, 0, 0, 0], path.weights[:, 0, 1, 0])[0, 1]) < 6 / np.sqrt(3000)


def test_path_has_its_shapes_and_sizes():
    path = simulate(net(), 7, 4, rng=1, every=3, progress=True)
    np.testing.assert_array_equal(path.times, [0, 3, 6])
    assert path.weights.shape == (4, 3, 3, 2)
    assert path.composition.shape == (4, 3, 2)
    np.testing.assert_array_equal(path.pool_size, [20, 47, 74])
    np.testing.assert_allclose(path.synthetic, [0, 27 / 47, 54 / 74])
    np.testing.assert_array_equal(path.composition[:, 0], 0.5)
    np.testing.assert_allclose(path.composition.sum(axis=-1), 1)
    np.testing.assert_allclose(path.weights.sum(axis=-1), 1)
    assert path.distances.shape == (4, 3, 3, 3)
    np.testing.assert_allclose(path.distance_norm, np.linalg.norm(path.distances, axis=(-2, -1)))
    assert path.mean is None
    assert path.cov is None


def test_a_seed_means_the_same_numbers(monkeypatch):
    first = simulate(net(), 6, 5, rng=9)
    again = simulate(net(), 6, 5, rng=9)
    np.testing.assert_array_equal(first.weights, again.weights)
    generator = simulate(net(), 6, 5, rng=np.random.default_rng(9))
    other = simulate(net(), 6, 5, rng=np.random.default_rng(9))
    np.testing.assert_array_equal(generator.weights, other.weights)
    assert (simulate(net(), 6, 5, rng=10).weights != first.weights).any()
    thin = simulate(net(), 6, 5, rng=9, every=2)
    np.testing.assert_array_equal(thin.weights, first.weights[:, ::2])
    monkeypatch.setattr(mixtures, "GATHERED", 20)  # how many points are gathered at once changes nothing
    np.testing.assert_array_equal(simulate(net(), 6, 5, rng=9).weights, first.weights)
    monkeypatch.setattr(mixtures, "BLOCK", 2)  # blocks have their own seeds
    blocks = simulate(net(), 6, 5, rng=9)
    assert blocks.weights.shape == first.weights.shape
    np.testing.assert_array_equal(blocks.weights[:4], simulate(net(), 6, 4, rng=9).weights)


def test_nothing_retrieved_nothing_learned():
    path = simulate(net(retrieval=0.0), 3, 2, rng=1)
    np.testing.assert_array_equal(path.weights, path.weights[:, :1].repeat(4, axis=1))
    np.testing.assert_array_equal(path.pool_size, [20, 29, 38, 47])
    asked = []

    def step_size(t, k):
        asked.append((t, k))
        return 1 / k

    path = simulate(net(human_counts=[1, 0], models=1, samples=1, step_size=step_size), 4, 2, rng=1)
    np.testing.assert_array_equal(path.weights[:, 0], path.weights[:, 1])
    assert asked == [(1, 1), (2, 1), (3, 2)]


def test_retrieved_is_the_floor():
    assert [net().retrieved(size) for size in (0, 1, 2, 21)] == [0, 0, 1, 10]
    assert net(retrieval=0.29).retrieved(100) == 29  # 0.29 * 100 is 28.999999999999996
    assert net(retrieval=1.0).retrieved(7) == 7


def test_step_functions_are_the_numbers_they_return():
    kept = {"step_size": lambda t, k: 1 / k, "shrinkage": lambda t, k: 1 / (4 * k)}
    np.testing.assert_array_equal(simulate(net(**kept), 5, 3, rng=2).weights, simulate(net(), 5, 3, rng=2).weights)
    numbers = simulate(net(step_size=0.1, shrinkage=0.01), 5, 3, rng=2)
    functions = simulate(net(step_size=lambda t, k: 0.1, shrinkage=lambda t, k: 0.01), 5, 3, rng=2)
    np.testing.assert_array_equal(numbers.weights, functions.weights)


def test_human_points_are_used_and_labelled():
    points = [-9.0, -0.1, 0.1, 7.0, 8.0]
    known = net(human_points=points)
    np.testing.assert_array_equal(known.human_labels, [0, 0, 1, 1, 1])
    assert known.human_points.shape == (5, 1)
    path = simulate(known, 0, 2, rng=1)
    np.testing.assert_allclose(path.composition, [[[0.4, 0.6]]] * 2)
    plane = net(mean=[[0.0, 0.0], [1.0, 0.0]], cov=TILT, human_points=[[0.4, 0.0], [0.4, -1.0], [0.4, 1.0]])
    np.testing.assert_array_equal(plane.human_labels, [0, 1, 0])  # the nearest mean in the metric of Sigma
    expected = [np.argmax([stats.multivariate_normal.pdf(u, m, TILT) for m in plane.mean]) for u in plane.human_points]
    np.testing.assert_array_equal(plane.human_labels, expected)


@pytest.mark.parametrize("memory", [None, 1, 3])
def test_memory_forgets_the_oldest(memory):
    """Recount the pool point by point."""
    steps, given = 7, net(mean=[-50.0, 50.0], memory=memory, human_samples=2, human_weights=[0.1, 0.9], models=2)
    sizes = [given.pool_size(t) for t in range(steps + 1)]
    kept = {None: [20, 28, 36, 44, 52, 60, 68, 76], 1: [20] + [8] * 7, 3: [20, 28, 36] + [24] * 5}
    assert sizes == kept[memory]
    block = mixtures._Block(given, 5, steps, np.random.default_rng(1))
    history = [np.repeat((block.points[0, :20] > 0)[None], 1, axis=0)[0]]
    for t in range(steps):
        block._step(t)
        rows = (block.first + np.arange(block.size)) % block.capacity
        labels = block.points[0][rows] > 0
        assert len(labels) == sizes[t + 1]
        np.testing.assert_array_equal(block.counts[:, 1], labels.sum(axis=0))
        np.testing.assert_allclose(block.ratio[1][rows], labels)
        history.append(labels[-8:])
        expected = history if memory is None else history[-memory:]
        np.testing.assert_array_equal(labels, np.concatenate(expected))
    path = simulate(given, steps, 3, rng=2)
    np.testing.assert_array_equal(path.pool_size, sizes)
    made = 6 * np.arange(8) if memory is None else 6 * np.minimum(np.arange(8), memory)
    np.testing.assert_allclose(path.synthetic, made / np.array(sizes))


def test_fresh_human_points_have_their_law():
    only = net(mean=[-50.0, 0.0, 50.0], samples=0, human_counts=[1, 1, 2], memory=1, human_samples=4)
    path = simulate(only, 1, 4000, rng=6)
    np.testing.assert_array_less(np.abs(z_score(path.composition[:, 1], [0.25, 0.25, 0.5])), 6)
    np.testing.assert_array_equal(path.synthetic, 0)
    # One law for the labels, in each run its own draws.
    law = [0.7, 0.0, 0.3]
    path = simulate(
        net(mean=[-50.0, 0.0, 50.0], human_counts=[1, 1, 2], memory=1, samples=0, human_samples=4, human_weights=law),
        1,
        4000,
        rng=6,
    )
    assert abs(z_score(path.composition[:, 1, 0], 0.7)) < 6
    np.testing.assert_array_equal(path.composition[:, 1, 1], 0)


def test_an_empty_pool_is_filled():
    path = simulate(net(human_counts=[0, 0], human_samples=1, human_weights=[1.0, 0.0]), 2, 2, rng=1)
    np.testing.assert_array_equal(path.pool_size, [0, 10, 20])
    assert np.isnan(path.composition[:, 0]).all()
    assert np.isnan(path.synthetic[0])
    np.testing.assert_allclose(path.synthetic[1:], 0.9)
    nobody = simulate(net(human_counts=[0, 0], samples=0), 2, 2, rng=1)
    np.testing.assert_array_equal(nobody.pool_size, 0)


def test_weights_without_a_chance_stay_zero():
    """With epsilon = 0 a dead component is dead for ever, and far points have owners all the same."""
    dead = net(mean=[-50.0, 50.0], weights=[[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    path = simulate(dead, 10, 20, rng=1)
    np.testing.assert_array_equal(path.weights[:, :, 0, 1], 0.0)
    np.testing.assert_array_equal(path.weights[:, :, 2, 0], 0.0)
    np.testing.assert_allclose(path.weights.sum(axis=-1), 1)
    alive = simulate(net(mean=[-50.0, 50.0], weights=[[1.0, 0.0]] * 3, threshold=0.01), 10, 20, rng=1)
    assert (alive.weights[:, -1, :, 1] > 0.05).any()
    np.testing.assert_allclose(alive.weights.sum(axis=-1), 1)


# --- beyond the paper: components that move ---------------------------------------------------------------------------


def moving_update(weights, points, mean, cov, a, c, covariances):
    """The recursion of Zivkovic & van der Heijden, point by point, for comparison."""
    pi, mean, cov = np.array(weights), np.array(mean), np.array(cov)
    components = len(pi)
    for u in points:
        joint = np.array([pi[b] * stats.multivariate_normal.pdf(u, mean[b], cov[b]) for b in range(components)])
        own = joint / joint.sum()
        for b in range(components):
            step = min(1.0, a * own[b] / pi[b])
            delta = u - mean[b]
            mean[b] = mean[b] + step * delta
            if covariances:
                cov[b] = cov[b] + step * (np.outer(delta, delta) - cov[b])
        pi = (1 - a) * pi + a * (own - c) / (1 - components * c)
        pi = np.maximum(pi, 0) / np.maximum(pi, 0).sum()
    return pi, mean, cov


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("moving", ["means", "means and covariances"])
def test_components_move_as_in_the_literal_recursion(dim, moving):
    rng = np.random.default_rng(dim)
    mean = 1.5 * rng.standard_normal((3, dim))
    cov = np.eye(dim) + 0.4 * np.ones((dim, dim))
    weights = rng.dirichlet([9.0, 9.0, 9.0], 4)
    given = MixtureNetwork(
        mean=mean, cov=cov, models=4, samples=0, retrieval=1.0, human_counts=[1, 1, 1], weights=weights, moving=moving
    )
    block = mixtures._Block(given, 1, 1, rng)
    points = 2 * rng.standard_normal((15, dim, 4))
    white = np.moveaxis(given._white(np.moveaxis(points, 1, -1)), -1, 1)
    block._push_moving(white, mixtures._Rule(0.08, 0.01, 0.0, True, 3))
    root = np.linalg.cholesky(cov)
    for i in range(4):
        pi, m, s = moving_update(weights[i], points[..., i], mean, [cov] * 3, 0.08, 0.01, moving != "means")
        np.testing.assert_allclose(block.w[:, i], pi, atol=1e-11)
        np.testing.assert_allclose(block.mean[..., i] @ root.T, m, atol=1e-10)
        factor = root @ block.root[..., i]
        np.testing.assert_allclose(factor @ np.swapaxes(factor, -1, -2), s, atol=1e-10)


def test_a_moving_mean_settles_at_the_mean_of_the_pool():
    """One component, a fixed pool: E mu_{t+1} = (1 - a)^k E mu_t + (1 - (1 - a)^k) ubar, with ubar stationary."""
    points = np.array([[0.0, 0.0], [1.0, 3.0], [2.0, -2.0], [5.0, 1.0]])
    one = MixtureNetwork(
        mean=[[9.0, -9.0]],
        cov=TILT,
        models=2,
        samples=0,
        retrieval=0.75,
        human_points=points,
        moving="means",
        step_size=0.3,
    )
    path = simulate(one, 30, 4000, rng=12)
    keep, ubar = 0.7**3, points.mean(axis=0)
    for t in (1, 3, 30):
        expected = ubar + keep**t * (np.array([9.0, -9.0]) - ubar)
        np.testing.assert_array_less(np.abs(z_score(path.mean[:, t, :, 0], expected)), 6)
    np.testing.assert_allclose(path.cov, np.broadcast_to(TILT, path.cov.shape), atol=1e-14)
    np.testing.assert_allclose(path.weights, 1.0, rtol=1e-14)


def test_moving_covariances_do_not_depend_on_the_coordinates():
    points = np.random.default_rng(3).standard_normal((8, 2)) * 3
    mean = np.array([[-2.0, 0.0], [2.0, 1.0]])
    turn, shift = np.array([[2.0, 0.0], [-1.0, 0.5]]), np.array([3.0, -4.0])
    common = {"models": 2, "samples": 2, "retrieval": 0.5, "moving": "means and covariances", "memory": 3}
    plain = simulate(MixtureNetwork(mean=mean, cov=I2, human_points=points, **common), 8, 4, rng=2)
    turned = MixtureNetwork(
        mean=mean @ turn.T + shift, cov=turn @ turn.T, human_points=points @ turn.T + shift, **common
    )
    other = simulate(turned, 8, 4, rng=2)
    np.testing.assert_allclose(other.weights, plain.weights, atol=1e-8)
    np.testing.assert_allclose(other.mean, plain.mean @ turn.T + shift, atol=1e-6)
    np.testing.assert_allclose(other.cov, turn @ plain.cov @ turn.T, atol=1e-6)
    assert np.linalg.eigvalsh(plain.cov).min() > 0
    assert plain.mean.shape == (4, 9, 2, 2, 2)
    assert plain.cov.shape == (4, 9, 2, 2, 2, 2)
    np.testing.assert_array_equal(plain.mean[:, 0], np.broadcast_to(mean, (4, 2, 2, 2)))


def test_posts_come_from_the_moved_components():
    given = net(moving="means and covariances", models=1, samples=2000, weights=[[0.0, 1.0]])
    block = mixtures._Block(given, 2, 1, np.random.default_rng(1))
    block.mean = block.mean + 100.0
    block.root = 3.0 * block.root
    points, labels = block._posts()
    np.testing.assert_array_equal(labels, 1)
    np.testing.assert_array_less(np.abs(z_score(points[0].ravel(), 105.0)), 6)
    np.testing.assert_array_less(np.abs(z_score((points[0].ravel() - 105.0) ** 2, 9.0)), 6)


def test_singular_covariances_are_not_taken():
    """A step of one full point would leave rank one: in the plane the covariance stays, on the line it does not."""
    options = {"models": 1, "samples": 0, "retrieval": 1.0, "step_size": 1.0, "moving": "means and covariances"}
    plane = MixtureNetwork(mean=[[0.0, 0.0]], cov=TILT, human_points=[[3.0, 4.0]], **options)
    path = simulate(plane, 2, 1, rng=1)
    np.testing.assert_allclose(path.mean[0, 1:, 0, 0], [[3.0, 4.0]] * 2, rtol=1e-14)
    np.testing.assert_allclose(path.cov[0, :, 0, 0], [TILT] * 3, rtol=1e-14)
    # On the line delta = 3 gives variance 9; the same point again has delta = 0, and the variance stays 9.
    line = MixtureNetwork(mean=[0.0], cov=1.0, human_points=[3.0], **options)
    path = simulate(line, 2, 1, rng=1)
    np.testing.assert_allclose(path.cov[0, :, 0, 0, 0, 0], [1.0, 9.0, 9.0], rtol=1e-14)


def test_dead_components_do_not_move():
    path = simulate(net(moving="means and covariances", weights=[[1.0, 0.0]] * 3), 5, 3, rng=1)
    np.testing.assert_array_equal(path.mean[..., 1, 0], 5.0)
    np.testing.assert_array_equal(path.cov[..., 1, 0, 0], 1.0)
    assert (path.mean[:, -1, :, 0, 0] > -4).all()  # the living one takes all points


# --- bad input --------------------------------------------------------------------------------------------------------

HALF = [0.5, 0.5]
ZEROS = np.zeros((1, 2))
POINTS = np.zeros((3, 1))
MEANS = [[-1.0], [1.0]]


def update(weights=HALF, log_likelihood=ZEROS, **options):
    return update_weights(weights, log_likelihood, **options)


def literal(weights=HALF, points=POINTS, mean=MEANS, cov=((1.0,),), a=0.1, c=0.1, epsilon=0.0):
    return reference.mixture_weight_update(weights, points, mean, cov, a, c, epsilon)


def literal_network(weights=(HALF,), human=POINTS, mean=MEANS, samples=1, beta=0.5, steps=1, rng=1, **options):
    return reference.mixture_network(weights, human, mean, [[1.0]], samples, beta, steps, rng, **options)


BAD = [
    (lambda: net(mean=1.0), "mean", "()"),
    (lambda: net(mean=np.zeros((2, 1, 1))), "mean", "(2, 1, 1)"),
    (lambda: net(mean=np.zeros((2, 0))), "mean", "(2, 0)"),
    (lambda: net(mean=["a", "b"]), "mean", "<U1"),
    (lambda: net(mean=[0.0, 1e60]), "mean", "1e+60"),
    (lambda: net(cov=0.0), "cov", "0"),
    (lambda: net(cov=True), "cov", "True"),
    (lambda: net(cov=-1), "cov", "-1"),
    (lambda: net(cov=I2), "cov", "(2, 2)"),
    (lambda: net(cov=[1.0]), "cov", "(1,)"),
    (lambda: net(mean=[[0.0, 0.0]], cov=np.ones((2, 2)), human_counts=[1]), "cov", "eigenvalue"),
    (lambda: net(cov="wide"), "cov", "<U4"),
    (lambda: net(models=0), "models", "0"),
    (lambda: net(models=3.0), "models", "3.0"),
    (lambda: net(samples=-1), "samples", "-1"),
    (lambda: net(retrieval=1.5), "retrieval", "1.5"),
    (lambda: net(retrieval="all"), "retrieval", "all"),
    (lambda: net(human_counts=None), "human_counts", "neither"),
    (lambda: net(human_counts=[1, 1], human_points=[0.0]), "human_counts", "both"),
    (lambda: net(human_counts=[1, 1, 1]), "human_counts", "(3,)"),
    (lambda: net(human_counts=3), "human_counts", "()"),
    (lambda: net(human_counts=[1, -1]), "human_counts", "-1"),
    (lambda: net(human_counts=[1.0, 1.0]), "human_counts", "float"),
    (lambda: net(human_points=[[1.0, 2.0]]), "human_points", "(1, 2)"),
    (lambda: net(human_points=[]), "human_points", "(0, 1)"),
    (lambda: net(human_points=[np.nan]), "human_points", "nan"),
    (lambda: net(human_points=[1e51]), "human_points", "1e+51"),
    (lambda: net(weights=[0.5, 0.5]), "weights", "(2,)"),
    (lambda: net(weights=[[0.5, 0.5]]), "weights", "(1, 2)"),
    (lambda: net(weights=[[0.5, 0.6]] * 3), "weights", "1.1"),
    (lambda: net(concentration=0.0), "concentration", "0"),
    (lambda: net(step_size=0.0), "step_size", "0"),
    (lambda: net(step_size=1.1), "step_size", "1.1"),
    (lambda: net(step_size="1/k"), "step_size", "1/k"),
    (lambda: net(shrinkage=0.5), "shrinkage", "0.5"),
    (lambda: net(shrinkage=-0.1), "shrinkage", "-0.1"),
    (lambda: net(threshold=-0.1), "threshold", "-0.1"),
    (lambda: net(threshold=0.6), "threshold", "0.6"),
    (lambda: net(threshold=1.1, corrected=False), "threshold", "1.1"),
    (lambda: net(corrected=1), "corrected", "1"),
    (lambda: net(memory=0), "memory", "0"),
    (lambda: net(memory=1.5), "memory", "1.5"),
    (lambda: net(human_samples=-1), "human_samples", "-1"),
    (lambda: net(human_weights=[1.0]), "human_weights", "(1,)"),
    (lambda: net(human_weights=[0.5, 0.4]), "human_weights", "0.9"),
    (lambda: net(human_samples=1, human_counts=[0, 0]), "human_weights", "None"),
    (lambda: net(moving="everything"), "moving", "everything"),
    (lambda: net(moving=True), "moving", "True"),
    (lambda: net().retrieved(-1), "pool_size", "-1"),
    (lambda: net().pool_size(-1), "t", "-1"),
    (lambda: net().log_likelihood(1.0), "points", "()"),
    (lambda: net().log_likelihood([1.0, 2.0]), "points", "(2,)"),
    (lambda: net().log_likelihood([1e51]), "points", "1e+51"),
    (lambda: simulate("net", 1, rng=1), "network", "net"),
    (lambda: simulate(net(), -1, rng=1), "steps", "-1"),
    (lambda: simulate(net(), 1, 0, rng=1), "runs", "0"),
    (lambda: simulate(net(), 1, rng=1, every=0), "every", "0"),
    (lambda: simulate(net(), 1, rng=None), "rng", "None"),
    (lambda: simulate(net(step_size=lambda t, k: 2.0), 1, rng=1), "step_size", "2"),
    (lambda: simulate(net(shrinkage=lambda t, k: 0.5), 1, rng=1), "shrinkage", "0.5"),
    (lambda: update(weights=[0.5, 0.6]), "weights", "1.1"),
    (lambda: update(weights=1.0), "weights", "()"),
    (lambda: update(weights=1.0, corrected=False), "weights", "1.0"),
    (lambda: update(weights=[], corrected=False), "weights", "[]"),
    (lambda: update(weights=[1.0, -0.1], corrected=False), "weights", "-0.1"),
    (lambda: update(weights=[0.0, 0.0], corrected=False), "weights", "0.0"),
    (lambda: update(log_likelihood=[0.0, 0.0]), "log_likelihood", "(2,)"),
    (lambda: update(log_likelihood=np.zeros((1, 3))), "log_likelihood", "(1, 3)"),
    (lambda: update(log_likelihood=[[0.0, -np.inf]]), "log_likelihood", "-inf"),
    (lambda: update(weights=[HALF] * 3, log_likelihood=np.zeros((2, 1, 2))), "log_likelihood", "(2,)"),
    (lambda: update(step_size=0), "step_size", "0"),
    (lambda: update(step_size=lambda t, k: 0.1), "step_size", "function"),
    (lambda: update(shrinkage=0.5), "shrinkage", "0.5"),
    (lambda: update(threshold=0.51), "threshold", "0.51"),
    (lambda: update(corrected=None), "corrected", "None"),
    (lambda: literal(weights=[0.5]), "weights", "(1,)"),
    (lambda: literal(weights=[0.0, 0.0]), "weights", "0."),
    (lambda: literal(weights=[1.5, -0.5]), "weights", "-0.5"),
    (lambda: literal(points=[0.0]), "points", "(1,)"),
    (lambda: literal(mean=[0.0]), "mean", "(1,)"),
    (lambda: literal(cov=[[0.0]]), "cov", "0"),
    (lambda: literal(a=0), "step_size", "0"),
    (lambda: literal(c=0.5), "shrinkage", "0.5"),
    (lambda: literal(epsilon=2.0), "threshold", "2"),
    (lambda: literal_network(weights=HALF), "weights", "(2,)"),
    (lambda: literal_network(weights=[[0.5, 0.6]]), "weights", "1.1"),
    (lambda: literal_network(human=[0.0]), "human_points", "(1,)"),
    (lambda: literal_network(samples=0), "samples", "0"),
    (lambda: literal_network(beta=2), "retrieval", "2"),
    (lambda: literal_network(steps=-1), "steps", "-1"),
    (lambda: literal_network(rng="x"), "rng", "x"),
]


@pytest.mark.parametrize(("call", "name", "value"), BAD, ids=[f"{i}-{c[1]}-{c[2]}" for i, c in enumerate(BAD)])
def test_bad_input_is_named(call, name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message), message
    assert value in message.split("got", 1)[1], message
