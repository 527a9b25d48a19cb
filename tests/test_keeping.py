"""The text-image loop that keeps a fraction of its past, against Algorithm 1 and against pools of stored images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from coevo import CorpusInjection, State, System, UserContent, circle, text_diversity
from coevo.simulation import image_update, text_update
from coevo.simulation.keeping import Pools, pooled_image_update, pooled_text_update, simulate_keeping
from coevo.theory import keeping

Array = NDArray[np.float64]

OVAL = np.array([[1.0, 0.3], [0.3, 0.5]])


def test_nothing_kept_is_algorithm_1() -> None:
    """With kappa = 0 the same random numbers make the same models, whatever the pool held."""
    start = circle(4, 0.6, p=[0.6, 0.3, 0.09, 0.01], runs=50)
    pools = Pools.create(start, 33.0, [9.0, 0.0, 1.0, 2.5])
    plain, ours, theirs = start, np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(25):
        pools = pooled_image_update(pooled_text_update(pools, 12, 0.0, ours), 15, 0.0, ours)
        plain = image_update(text_update(plain, 12, theirs), 15, theirs)
        # Rounding moves no posterior far; the counts drawn from it stay the same.
        np.testing.assert_allclose(pools.state.p, plain.p, atol=1e-9)
        np.testing.assert_allclose(pools.state.mean, plain.mean, atol=1e-9)
        np.testing.assert_allclose(pools.state.cov, plain.cov, atol=1e-9)
    assert pools.text_weight == 12


def test_weights_of_the_pools() -> None:
    start = circle(3, 0.6, p=[0.9, 0.1, 0.0], runs=200)
    pools = Pools.create(start, 5.0, [8.0, 4.0, 3.0])
    after = pooled_image_update(pools, 10, 0.5, 2)
    first = after.image_weight[:, 0] - 4.0
    np.testing.assert_array_equal(after.image_square[:, 0], 2.0 + first)
    counts = np.rint(first)
    np.testing.assert_array_equal(counts, first)
    second = 10 - counts
    refitted = second >= 2
    assert refitted.any()
    assert not refitted.all()
    np.testing.assert_array_equal(after.image_weight[:, 1], np.where(refitted, 2 + second, 4.0))
    np.testing.assert_array_equal(after.image_square[:, 1], np.where(refitted, 1 + second, 4.0))
    # Fewer than two images: neither the model nor its pool changes.
    np.testing.assert_array_equal(after.image_weight[:, 2], 3.0)
    np.testing.assert_array_equal(after.state.mean[~refitted, 1], start.mean[~refitted, 1])
    np.testing.assert_array_equal(after.state.cov[~refitted, 1], start.cov[~refitted, 1])
    assert (after.state.mean[refitted, 1] != start.mean[refitted, 1]).all()


def test_text_pool_is_a_weighted_mean() -> None:
    start = circle(3, 0.8, p=[0.5, 0.3, 0.2], runs=7)
    after = pooled_text_update(Pools.create(start, 5.0, 1.0), 20, 0.4, 3)
    alone = text_update(start, 20, 3)
    np.testing.assert_allclose(after.state.p, (2 * start.p + 20 * alone.p) / 22, rtol=1e-14)
    assert after.text_weight == 22


def stored_images(n: int, keep: float, steps: int, human: int, runs: int, rng: np.random.Generator) -> Array:
    """The same loop with every image stored, fitted by numpy's weighted covariance: (mean, cov) as (runs, 3, 2)."""
    result = np.empty((runs, 3, 2))
    root = np.linalg.cholesky(OVAL)
    for run in range(runs):
        x = rng.standard_normal((human, 2))
        x -= x.mean(axis=0)
        x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T @ root.T
        weight, mean, cov = np.ones(human), np.zeros(2), OVAL
        for _ in range(steps):
            x = np.concatenate([x, rng.multivariate_normal(mean, cov, n)])
            weight = np.concatenate([keep * weight, np.ones(n)])
            mean, cov = np.average(x, axis=0, weights=weight), np.cov(x.T, aweights=weight)
        result[run] = mean, *cov
    return result


@pytest.mark.parametrize(("n", "keep", "human"), [(2, 0.5, 3), (4, 1.0, 5), (3, 0.9, 4)])
def test_against_stored_images(n: int, keep: float, human: int) -> None:
    rng = np.random.default_rng(n)
    runs, steps = 600, 4
    stored = stored_images(n, keep, steps, human, runs, rng)
    system = System(State.create([1.0], [[0.0, 0.0]], OVAL), 1, n, text_updates=0)
    path = simulate_keeping(system, steps, 20_000, keep=keep, image_weight=human, rng=4, every=steps)
    mean, cov = path.mean[:, -1, 0], path.cov[:, -1, 0]

    def measures(mean: Array, cov: Array) -> dict[str, Array]:
        return {
            "F": (mean**2).sum(axis=1),
            "T": np.trace(cov, axis1=1, axis2=2),
            "product": mean[:, 0] * mean[:, 1],
            "off": cov[:, 0, 1],
            "root": np.sqrt(cov[:, 0, 0]),
            "det": np.sqrt(np.maximum(np.linalg.det(cov), 0)),
            "both": np.sqrt(cov[:, 0, 0]) * np.abs(mean[:, 0]),
        }

    ours, theirs = measures(mean, cov), measures(stored[:, 0], stored[:, 1:])
    for name, values in ours.items():
        other = theirs[name]
        error = np.sqrt(values.var() / values.size + other.var() / other.size)
        assert abs(values.mean() - other.mean()) < 6 * error, name
    law = keeping.pool_moments(n, keep, steps, human)
    for name, exact in (("F", law.squared_error), ("T", law.total_variance)):
        error = ours[name].std() / np.sqrt(20_000)
        assert abs(ours[name].mean() - 1.5 * exact) < 6 * error, name
    error = ours["root"].std() / np.sqrt(20_000)
    assert abs(ours["root"].mean() - keeping.kept_deviation(n, keep, steps, human)) < 6 * error


def test_text_law() -> None:
    system = System(circle(3, 0.02), text_samples=5, image_samples=1, image_updates=0)

    def keep(t: int) -> float:
        return 1 - 0.5 / (t + 1)

    path = simulate_keeping(system, 12, 4000, keep=keep, text_weight=2.0, rng=5, every=4)
    assert path.t.tolist() == [0, 4, 8, 12]
    for j, t in enumerate(path.t):
        values = path.text_diversity[:, j]
        exact = 2 / 3 * keeping.kept_text_diversity(5, keep, t, 2.0)
        assert abs(values.mean() - exact) <= 6 * values.std() / np.sqrt(4000) + 1e-12
    np.testing.assert_allclose(path.text_diversity, text_diversity(path.p))


def test_guarantees_of_the_coupled_loop() -> None:
    system = System(circle(3, 0.5), text_samples=4, image_samples=30, text_updates=2, image_updates=2)
    path = simulate_keeping(system, 30, 400, text_weight=10.0, image_weight=12.0, rng=6)
    sure = keeping.accumulation_guarantees(10, 12, 2)
    for values, bound, sign in (
        (path.text_diversity[:, -1], 2 / 3 * sure.text_diversity, 1),
        (path.image_diversity[:, -1, 1], sure.image_diversity, 1),
        (path.fidelity[:, -1, 1] ** 2, 0.5 * sure.squared_error, -1),
    ):
        assert sign * (values.mean() - bound) > -6 * values.std() / np.sqrt(400)


def test_defaults_and_singular_covariances() -> None:
    """Human data of weight M and N p; a direction without variance stays without."""
    flat = State.create([0.995, 0.005], [[0.0, 0.0], [3.0, 0.0]], np.diag([1.0, 0.0]))
    system = System(flat, text_samples=6, image_samples=100)
    path = simulate_keeping(system, 5, 3, keep=0.7, rng=7)
    same = simulate_keeping(system, 5, 3, keep=0.7, text_weight=6, image_weight=[99.5, 0.0], rng=7)
    np.testing.assert_array_equal(path.mean, same.mean)
    np.testing.assert_array_equal(path.p, same.p)
    assert (path.cov[..., 1, :] == 0).all()
    assert (path.cov[:, -1, 0, 0, 0] > 0.1).all()
    assert simulate_keeping(system, 0, 2, rng=1).p.shape == (2, 1, 2)


def test_small_scales_do_not_underflow() -> None:
    system = System(State.create([1.0], [[0.0, 0.0]], np.eye(2)), 1, 2, text_updates=0)
    path = simulate_keeping(system, 1200, 2, keep=0.05, rng=8, every=400)
    assert np.isfinite(path.log_image_diversity).all()
    assert path.log_image_diversity[:, -1].max() < -100


SYSTEM = System(circle(2, 1.0), 3, 4)
POOLS = Pools.create(SYSTEM.initial, 1.0, 2.0)
INJECTION = CorpusInjection(0.5, 0.1, [0.0, 0.0], np.eye(2))


@pytest.mark.parametrize(
    ("system", "options", "error", "words"),
    [
        ("no", {}, TypeError, "system"),
        (replace(SYSTEM, corpus=INJECTION), {}, ValueError, "system.corpus"),
        (replace(SYSTEM, user=UserContent(2)), {}, ValueError, "system.user"),
        (SYSTEM, {"steps": -1}, ValueError, "steps"),
        (SYSTEM, {"runs": 0}, ValueError, "runs"),
        (SYSTEM, {"every": 0}, ValueError, "every"),
        (SYSTEM, {"rng": -1}, ValueError, "rng"),
        (SYSTEM, {"keep": 1.1}, ValueError, "keep"),
        (SYSTEM, {"keep": lambda t: -0.1}, ValueError, "keep"),
        (SYSTEM, {"text_weight": -1}, ValueError, "text_weight"),
        (SYSTEM, {"image_weight": 0.5}, ValueError, "image_weight must be 0 or at least 1, got 0.5"),
        (SYSTEM, {"image_weight": [1.0, 2.0, 3.0]}, ValueError, "image_weight"),
    ],
)
def test_bad_input(system: Any, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        simulate_keeping(system, **{"steps": 1, "rng": 1, **options})


def test_bad_input_of_updates() -> None:
    with pytest.raises(TypeError, match="state"):
        Pools.create("no", 1.0, 1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pools"):
        pooled_text_update("no", 2, 0.5, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pools"):
        pooled_image_update("no", 2, 0.5, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keep"):
        pooled_text_update(POOLS, 2, 1.5, 1)
    with pytest.raises(ValueError, match="keep"):
        pooled_image_update(POOLS, 2, -0.5, 1)
    with pytest.raises(ValueError, match="text_samples"):
        pooled_text_update(POOLS, 0, 0.5, 1)
    with pytest.raises(ValueError, match="image_samples"):
        pooled_image_update(POOLS, 0, 0.5, 1)
