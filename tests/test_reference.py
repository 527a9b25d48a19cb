"""The engine against Algorithms 1-3 written out literally: equality in distribution, image for image.

Each check compares two samples of states by two-sample Kolmogorov-Smirnov tests: every coordinate of (p, mean, vech
cov), and fixed random projections of the coordinates and of their pairwise products for the joint law. The levels are
Bonferroni-corrected to one false alarm in 10^9 checks. Ties (text models and images that did not move) make the
tests conservative, not wrong.
"""

from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from coevo import factors, reference
from coevo.simulation import CorpusInjection, State, System, UserContent, macro_step, posterior, updates

FALSE_ALARM = 1e-9
REFERENCE_RUNS = 600
ENGINE_RUNS = 25_000

TILT = np.array([[1.0, 0.6], [0.6, 0.8]])
PLANE = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]])  # spans a plane in three dimensions


def on_plane(cov):
    return PLANE.T @ np.asarray(cov) @ PLANE


@dataclass(frozen=True, eq=False)
class Scenario:
    p: list
    mean: np.ndarray
    cov: np.ndarray
    text_samples: int
    image_samples: int
    text_updates: int = 1
    image_updates: int = 1
    corpus: CorpusInjection | None = None
    user: UserContent | None = None
    times: tuple = (1, 2)
    symmetric: bool = field(default=False)


SCENARIOS = {
    "one dimension, two text updates": Scenario(
        [0.5, 0.35, 0.15], np.array([[0.0], [1.0], [-0.8]]), np.array([[[1.0]], [[0.3]], [[2.0]]]), 6, 7, 2, 1
    ),
    "two dimensions, two image updates": Scenario(
        [0.5, 0.35, 0.15],
        np.array([[0.0, 0.0], [1.0, 0.5], [-0.5, 0.8]]),
        np.array([np.eye(2), TILT, np.diag([0.2, 1.5])]),
        6,
        7,
        1,
        2,
        times=(1, 2),
    ),
    "three dimensions": Scenario(
        [0.6, 0.4], np.array([[0.0, 0, 0], [0.5, 0.5, -0.5]]), np.array([np.eye(3), np.diag([0.5, 1, 2])]), 7, 7
    ),
    "singular images on one plane": Scenario(
        [0.3, 0.3, 0.2, 0.2],
        np.array([[0.0, 0, 0], PLANE[0], [0.0, 0, 1], [0.3, 0.2, 0.1]]),
        np.array([on_plane(np.eye(2)), on_plane(TILT), on_plane(np.eye(2)), np.eye(3)]),
        6,
        4,
    ),
    "user images": Scenario(
        [0.5, 0.35, 0.15],
        np.array([[0.0, 0.0], [1.0, 0.5], [-0.5, 0.8]]),
        np.array([np.eye(2), TILT, np.diag([0.2, 1.5])]),
        6,
        5,
        user=UserContent(2, np.array([[0.2, 0.0], [1.0, 0.5], [-1.0, 0.8]]), 0.5 * TILT),
    ),
    "one user image": Scenario(
        [0.7, 0.3], np.array([[0.0, 0.0], [1.0, 0.5]]), np.array([np.eye(2), TILT]), 5, 3, user=UserContent(1)
    ),
    "singular user pool": Scenario(
        [0.7, 0.2, 0.1],
        np.array([[0.0, 0, 0], PLANE[0], PLANE[1]]),
        np.array([on_plane(np.eye(2)), on_plane(TILT), np.eye(3)]),
        6,
        3,
        user=UserContent(4, np.array([0.5 * PLANE[0]] * 3), on_plane(0.7 * np.eye(2))),
    ),
    "growing corpus": Scenario(
        [0.6, 0.4],
        np.array([[0.0, 0.0], [1.0, 0.5]]),
        np.array([np.eye(2), TILT]),
        6,
        6,
        corpus=CorpusInjection(0.6, 0.3, [-1.0, 0.0], 0.5 * np.eye(2)),
        times=(1, 2),
        symmetric=True,
    ),
}


def coordinates(p, mean, cov, symmetric):
    """(p, mean, vech cov) of states (R, K, ...); for a growing corpus sums that do not depend on the order of texts."""
    rows, columns = np.tril_indices(mean.shape[-1])
    vech = cov[..., rows, columns]
    if symmetric:
        parts = [(p**2).sum(1), (p**3).sum(1), p.max(axis=1), (p > 0).sum(1)]
        parts += list((p[..., None] * mean).sum(1).T) + list((p[..., None] * vech).sum(1).T)
        parts += list((p[..., None] ** 2 * mean).sum(1).T)
        return np.stack(parts, axis=1)
    runs = len(p)
    return np.concatenate([p, mean.reshape(runs, -1), vech.reshape(runs, -1)], axis=1)


@cache
def reference_states(name):
    """Coordinates of the reference at the scenario's times, arrays (runs, F)."""
    s = SCENARIOS[name]
    rng = np.random.default_rng(20250311)
    states = {t: [] for t in s.times}
    arguments = (s.p, s.mean, s.cov, max(s.times), s.text_samples, s.image_samples, s.text_updates, s.image_updates)
    for _ in range(REFERENCE_RUNS):
        if s.corpus is not None:
            c = s.corpus
            path = reference.algorithm_2(*arguments, c.injection_prob, c.injection_fraction, c.mean, c.cov, rng)
        elif s.user is not None:
            mean = s.mean if s.user.mean is None else s.user.mean
            cov = s.cov if s.user.cov is None else np.broadcast_to(s.user.cov, s.cov.shape)
            path = reference.algorithm_3(*arguments, reference.UserImages(s.user.user_images, mean, cov), rng)
        else:
            path = reference.algorithm_1(*arguments, rng)
        for t in s.times:
            p, mean, cov = path[t]
            states[t].append(coordinates(p[None], mean[None], cov[None], s.symmetric))
    return {t: np.concatenate(rows) for t, rows in states.items()}


def engine_states(name, seed=7):
    s = SCENARIOS[name]
    state = State.create(s.p, s.mean, s.cov, ENGINE_RUNS)
    system = System(
        State.create(s.p, s.mean, s.cov),
        s.text_samples,
        s.image_samples,
        s.text_updates,
        s.image_updates,
        s.corpus,
        s.user,
    )
    rng = np.random.default_rng(seed)
    states = {}
    for t in range(1, max(s.times) + 1):
        state = macro_step(state, system, rng)
        if t in s.times:
            states[t] = coordinates(state.p, state.mean, state.cov, s.symmetric)
    return states


def smallest_p_value(a, b):
    """Smallest Bonferroni-corrected p-value of the two-sample tests between states a (R, F) and b (R', F)."""
    centre = np.median(b, axis=0)
    spread = np.maximum(np.quantile(np.abs(b - centre), 0.8, axis=0), 1e-12)
    rng = np.random.default_rng(0)
    rows, columns = np.triu_indices(a.shape[1])
    to_line = rng.standard_normal((a.shape[1], 8))
    to_products = rng.standard_normal((rows.size, 8)) * (rng.random((rows.size, 8)) < 4 / rows.size)

    def tested(x):
        x = (x - centre) / spread
        # Rounded, so that what did not move is a tie in both samples.
        return np.round(np.concatenate([x, x @ to_line, (x[:, rows] * x[:, columns]) @ to_products], axis=1), 7)

    a, b = tested(a), tested(b)
    p_values = [stats.ks_2samp(a[:, k], b[:, k], method="asymp").pvalue for k in range(a.shape[1])]
    return min(1.0, len(p_values) * min(p_values))


def assert_same_law(name):
    expected, found = reference_states(name), engine_states(name)
    for t in SCENARIOS[name].times:
        p_value = smallest_p_value(expected[t], found[t])
        assert p_value > FALSE_ALARM / len(SCENARIOS[name].times), f"{name}: laws differ at t = {t}, p = {p_value:.1e}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_engine_has_the_law_of_the_reference(name):
    assert_same_law(name)


def test_images_that_restart_from_the_old_state_are_caught(monkeypatch):
    """Negative control: each of the S_I passes must start from the result of the pass before."""

    def restarting(state, system, rng):
        for _ in range(system.text_updates):
            state = updates.text_update(state, system.text_samples, rng)
        for _ in range(system.image_updates):
            new = updates.image_update(state, system.image_samples, rng)
        return new

    monkeypatch.setitem(globals(), "macro_step", restarting)
    with pytest.raises(AssertionError, match="laws differ"):
        assert_same_law("two dimensions, two image updates")


def test_a_mean_that_moves_on_one_image_is_caught(monkeypatch):
    """Negative control: a text with a single image keeps its mean, too."""
    refit = factors.refit

    def moving(unit, log_scale, n, rng):
        new = refit(unit, log_scale, n, rng)
        jump = factors.multiply(unit, log_scale, rng.standard_normal(log_scale.shape))
        return new._replace(shift=np.where((n == 1)[..., None], jump, new.shift))

    monkeypatch.setattr(factors, "refit", moving)
    with pytest.raises(AssertionError, match="laws differ"):
        assert_same_law("one dimension, two text updates")


def test_supports_are_not_confused(monkeypatch):
    """Negative control: densities compared across different supports give another law."""

    def everywhere(images, *rest):
        return np.ones((*images.mean.shape[:2], images.mean.shape[1]), bool)

    monkeypatch.setattr(posterior, "_same_support", everywhere)
    with pytest.raises(AssertionError, match="laws differ"):
        assert_same_law("singular images on one plane")


def test_reference_states_are_those_of_one_run():
    path = reference.algorithm_1([0.5, 0.5], np.eye(2), np.array([np.eye(2)] * 2), 3, 4, 5, 1, 1, 1)
    assert len(path) == 4
    np.testing.assert_array_equal(path[0][0], [0.5, 0.5])
    for p, mean, cov in path:
        assert p.sum() == pytest.approx(1.0)
        assert mean.shape == (2, 2)
        assert cov.shape == (2, 2, 2)


def test_reference_keeps_point_masses():
    p = reference.text_update([0.25, 0.75, 0.0], [[0.0], [0.0], [1.0]], np.zeros((3, 1, 1)), 5, 0)
    np.testing.assert_allclose(p, [0.25, 0.75, 0.0])


def test_reference_of_a_mixture_by_hand():
    """Wang et al. 2025, Algorithm 2: two points that surely are of one component each, a = 1/2, c = 1/8."""
    mean, cov, points = [[-20.0], [20.0]], [[1.0]], [[-20.0], [20.0]]
    once = [0.25 + 0.5 * (1 - 0.125) / 0.75, 0.25 - 0.5 * 0.125 / 0.75]
    twice = [0.5 * once[0] - 0.5 * 0.125 / 0.75, 0.5 * once[1] + 0.5 * (1 - 0.125) / 0.75]
    found = reference.mixture_weight_update([0.5, 0.5], points, mean, cov, 0.5, 0.125)
    np.testing.assert_allclose(found, twice, rtol=1e-12)
    np.testing.assert_array_equal(reference.mixture_weight_update([0.5, 0.5], np.zeros((0, 1)), mean, cov, 1, 0), 0.5)


def test_reference_of_a_mixture_mends_as_printed():
    """Component by component: both weights <= 0 divide the others, and the sum stays above one unless epsilon is 0."""
    mean, cov = [[-20.0], [20.0], [60.0]], [[1.0]]
    weights, a, c = [0.9, 0.06, 0.04], 0.5, 0.2
    raw = [0.45 + 0.5 * 0.8 / 0.4, 0.03 - 0.25, 0.02 - 0.25]
    for epsilon in (0.0, 0.1):
        first = 1 + epsilon - raw[1]
        after = [raw[0] / first, epsilon, raw[2] / first]
        second = 1 + epsilon - after[2]
        expected = [after[0] / second, epsilon / second, epsilon]
        found = reference.mixture_weight_update(weights, [[-20.0]], mean, cov, a, c, epsilon)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert found.sum() == pytest.approx(1.0) if epsilon == 0 else found.sum() > 1.03


def test_reference_of_a_network_keeps_the_order_of_the_algorithm():
    weights, human = [[0.5, 0.5], [0.1, 0.9]], [[-5.0], [5.0], [5.0]]
    states = reference.mixture_network(weights, human, [[-1.0], [1.0]], [[1.0]], 2, 0.3, 3, 4, shrinkage=0.0)
    assert [len(pool) for _, pool in states] == [3, 7, 11, 15]
    np.testing.assert_array_equal(states[0][0], weights)
    np.testing.assert_array_equal(states[1][0], weights)  # floor(0.3 * 3) = 0 points: no update
    for (_, before), (_, after) in pairwise(states):
        np.testing.assert_array_equal(after[: len(before)], before)
    for t in (2, 3):
        assert (states[t][0] != states[t - 1][0]).all()
        np.testing.assert_allclose(states[t][0].sum(axis=1), 1)
    # The new posts are not read in their own step: from one point, drawn alone, only its own weight can grow.
    first = reference.mixture_network(weights, [[-20.0]], [[-20.0], [20.0]], [[1.0]], 9, 1.0, 1, 4, 0.0, 0.5, 0.0)
    np.testing.assert_allclose(first[1][0], [[0.75, 0.25], [0.55, 0.45]], rtol=1e-12)
