"""Properties that hold for every system: simplex, symmetry, units, seeds, workers."""

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from coevo.evidence import check_equal
from coevo.measures import image_diversity
from coevo.simulation import (
    STATISTICS,
    CorpusInjection,
    State,
    System,
    UserContent,
    circle,
    image_update,
    replicate,
    simulate,
    text_update,
)

quick = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32)


@st.composite
def states(draw, runs=6):
    """A state with any number of texts and dimensions; some masses are zero, some covariances singular."""
    n_texts, dim = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(seeds))
    p = rng.dirichlet(np.full(n_texts, draw(st.sampled_from([0.1, 1.0, 10.0]))))
    root = rng.standard_normal((n_texts, dim, dim)) * draw(st.sampled_from([1e-3, 1.0, 30.0]))
    if draw(st.booleans()):
        root[..., -1] = 0.0
    return State.create(p / p.sum(), rng.standard_normal((n_texts, dim)), root @ np.swapaxes(root, -1, -2), runs)


def assert_mean(name, values, expected):
    """Check that the mean over runs is `expected`, with one false alarm in 10^9."""
    moved = np.ptp(values) > 1e-9  # rounding has neither a spread nor a shape
    verdict = check_equal(
        name,
        values.mean(),
        values.std(ddof=1) / np.sqrt(len(values)) if moved else 0.0,
        expected,
        runs=len(values),
        skewness=float(stats.skew(values)) if moved else 0.0,
        false_alarm=1e-9,
    )
    assert verdict.passed, verdict


@quick
@given(states(), seeds, st.integers(1, 12), st.integers(1, 12), st.integers(0, 3))
def test_the_simplex_stays_a_simplex(state, seed, text_samples, image_samples, user_images):
    rng = np.random.default_rng(seed)
    for _ in range(4):
        state = text_update(state, text_samples, rng)
        state = image_update(state, image_samples, rng, UserContent(user_images))
        assert (state.p >= 0).all()
        np.testing.assert_allclose(state.p.sum(axis=1), 1.0, rtol=1e-13)
        assert np.isfinite(state.mean).all()
        eigenvalues = np.linalg.eigvalsh(state.cov)
        assert (eigenvalues >= -1e-12 * (1 + np.abs(eigenvalues).max())).all()
        assert not np.isnan(state.images.log_diversity).any()


@quick
@given(states(), seeds)
def test_a_corpus_stays_a_simplex(state, seed):
    corpus = CorpusInjection(0.5, 0.3, np.zeros(state.dim), np.eye(state.dim), np.eye(state.dim))
    path = simulate(System(state, 5, 5, corpus=corpus), 4, state.runs, rng=seed)
    np.testing.assert_allclose(path.p.sum(axis=-1), 1.0, rtol=1e-13)
    assert (path.text_diversity >= 0).all()


@quick
@given(states(runs=1500), seeds)
def test_a_text_model_is_a_martingale_of_posteriors(state, seed):
    """E p' = p, whatever the images; texts without mass stay without, and a single text stays certain."""
    new = text_update(state, 9, seed)
    assert (new.p[state.p == 0] == 0).all()
    if state.n_texts == 1:
        np.testing.assert_allclose(new.p, 1.0, rtol=1e-14)
    for k, p in enumerate(state.p[0]):
        if 0.01 < p < 0.99:  # so that 9 x 1500 images hold well over a hundred of either kind
            assert_mean(f"mass of text {k}", new.p[:, k], p)


@quick
@given(states(runs=1), seeds)
def test_seeds_reproduce(state, seed):
    system = System(state, 5, 5)
    first, second = simulate(system, 3, 4, rng=seed), simulate(system, 3, 4, rng=seed)
    for name in ("p", "mean", "cov"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert simulate(system, 3, 4, rng=seed + 1).mean.tobytes() != first.mean.tobytes() or (state.cov == 0).all()


@quick
@given(seeds, st.sampled_from([1e-150, 1e-12, 7.0, 1e12, 1e140]))
def test_units_of_the_images_do_not_matter(seed, unit):
    """Means and roots of covariances in other units: the same posteriors, and the measures in those units."""
    rng = np.random.default_rng(seed)
    mean, root = rng.standard_normal((3, 2)), rng.standard_normal((3, 2, 2))
    cov = root @ np.swapaxes(root, -1, -2)
    plain = simulate(System(State.create([0.5, 0.3, 0.2], mean, cov), 6, 9), 4, 5, rng=seed)
    scaled = simulate(System(State.create([0.5, 0.3, 0.2], unit * mean, unit**2 * cov), 6, 9), 4, 5, rng=seed)
    np.testing.assert_allclose(scaled.p, plain.p, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(scaled.image_diversity, unit * plain.image_diversity, rtol=1e-6)
    np.testing.assert_allclose(scaled.fidelity, unit * plain.fidelity, rtol=1e-6, atol=1e-12 * unit)
    np.testing.assert_allclose(image_diversity(unit**2 * cov), unit * image_diversity(cov), rtol=1e-9)


@quick
@given(seeds, st.integers(1, 4))
def test_a_triangular_map_of_the_images_maps_the_run(seed, dim):
    """Triangular maps keep the factors triangular, so the same draws give the mapped run exactly."""
    rng = np.random.default_rng(seed)
    mean, root = rng.standard_normal((3, dim)), rng.standard_normal((3, dim, dim))
    cov = root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(dim)
    shear = np.tril(rng.standard_normal((dim, dim)), -1) + np.diag(rng.uniform(0.5, 2, dim))
    plain = State.create([0.5, 0.3, 0.2], mean, cov)
    mapped = State.create([0.5, 0.3, 0.2], mean @ shear.T, shear @ cov @ shear.T)
    before, after = (simulate(System(state, 6, 30), 2, 3, rng=seed) for state in (plain, mapped))
    np.testing.assert_allclose(after.p, before.p, atol=1e-8)
    np.testing.assert_allclose(after.mean, before.mean @ shear.T, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(after.cov, shear @ before.cov @ shear.T, rtol=1e-5, atol=1e-7)


def samples(mean, cov, p, runs=8000):
    """Text model, fidelity, image diversity and squared mean along the axes after two macro steps."""
    path = simulate(System(State.create(p, mean, cov), 6, 10), 2, runs, rng=np.random.default_rng(len(p)), every=2)
    return path.p[:, 1], path.image_diversity[:, 1], path.fidelity[:, 1], path.mean[:, 1], path.cov[:, 1]


P = np.array([0.5, 0.3, 0.2])
MEAN = np.array([[0.0, 0.0], [1.0, 0.5], [-0.5, 0.8]])
COV = np.array([np.eye(2), [[1.0, 0.6], [0.6, 0.8]], np.diag([0.2, 1.5])])


def smallest_p_value(a, b):
    """Smallest Bonferroni-corrected p-value of two-sample tests, row by row."""
    # rounded, so that images that did not move are ties
    p_values = [stats.ks_2samp(x, y).pvalue for x, y in zip(np.round(a, 9), np.round(b, 9), strict=True)]
    return min(p_values) * len(p_values)


def assert_same(a, b):
    p_value = smallest_p_value(a, b)
    assert p_value > 1e-9, f"the laws differ, p = {p_value:.1e}"


def test_the_order_of_the_texts_does_not_matter():
    order = [2, 0, 1]
    plain, permuted = samples(MEAN, COV, P), samples(MEAN[order], COV[order], P[order])
    for a, b in zip(plain[:3], permuted[:3], strict=True):
        assert_same(a.T[order], b.T)
        # Negative control: the inverse permutation, which is another one.
        assert smallest_p_value(a.T[np.argsort(order)], b.T) < 1e-9


def test_a_text_keeps_its_own_images_when_the_order_changes():
    """Negative control: masses reordered and images not give another system."""
    order = [2, 0, 1]
    plain, confused = samples(MEAN, COV, P), samples(MEAN, COV, P[order])
    with pytest.raises(AssertionError, match="the laws differ"):
        assert_same(plain[0].T[order], confused[0].T)


def rotated_parts(states, turn):
    """Every coordinate of the means (., K, d) and covariances (., K, d, d) of `samples`, turned; arrays (F, runs)."""
    return [(x @ turn.T).reshape(len(x), -1).T for x in states[3:4]] + [
        (turn @ x @ turn.T).reshape(len(x), -1).T for x in states[4:]
    ]


def test_rotated_images_are_rotated():
    turn = stats.ortho_group.rvs(2, random_state=5)
    plain, turned = samples(MEAN, COV, P), samples(MEAN @ turn.T, turn @ COV @ turn.T, P)
    for a, b in zip(plain[:3], turned[:3], strict=True):
        assert_same(a.T, b.T)
    found = rotated_parts(turned, np.eye(2))
    for a, b in zip(rotated_parts(plain, turn), found, strict=True):
        assert_same(a, b)
    # Negative controls: not turned at all, and turned by ten degrees too much.
    angle = np.deg2rad(10)
    more = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ turn
    for wrong in (np.eye(2), more):
        for a, b in zip(rotated_parts(plain, wrong), found, strict=True):
            assert smallest_p_value(a, b) < 1e-9


@pytest.mark.parametrize("runs", [255, 256, 257, 600])
def test_the_number_of_workers_does_not_matter(runs):
    system = System(circle(3, p=[0.5, 0.3, 0.2]), 8, 9, corpus=CorpusInjection(0.3, 0.2, [0.0, 0.0], np.eye(2)))
    arguments = {"rng": 3, "statistics": ("text_diversity",), "quantiles": [0.5]}
    one = replicate(system, 3, runs, workers=1, **arguments)
    two = replicate(system, 3, runs, workers=2, **arguments)
    for name in ("mean", "standard_error", "skewness", "quantile"):
        assert getattr(one, name)["text_diversity"].tobytes() == getattr(two, name)["text_diversity"].tobytes()


def test_threads_give_the_same_numbers():
    system = System(circle(3), 8, 9)
    one = replicate(system, 3, 300, rng=3)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        two = replicate(system, 3, 300, rng=3)
    assert one.mean["text_diversity"].tobytes() == two.mean["text_diversity"].tobytes()


@quick
@given(states(runs=1), seeds, st.integers(1, 4))
def test_replicate_agrees_with_simulate(state, seed, steps):
    system = System(state, 5, 7)
    path = simulate(system, steps, 20, rng=seed)
    found = replicate(system, steps, 20, rng=seed, statistics=tuple(STATISTICS))
    for name in STATISTICS:
        with np.errstate(invalid="ignore"):
            expected = getattr(path, name)[:, :].mean(axis=0)
        assert found.mean[name].tobytes() == expected.tobytes() or np.allclose(found.mean[name], expected, rtol=1e-13)
