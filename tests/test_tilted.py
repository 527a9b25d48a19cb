"""Law 2.6: the exact importance sampler against quadrature, exact means and honest simulation."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from coevo import State, System, replicate
from coevo.simulation.tilted import TiltedRuns, _directional_root, tilted_refits
from coevo.theory import image
from coevo.wishart import contraction_constant

Array = NDArray[np.float64]
SIX = 6.1


def agrees(values: Array, claim: float) -> bool:
    error = values.std(ddof=1) / np.sqrt(values.size)
    return bool(abs(values.mean() - claim) < SIX * error + 1e-12 * abs(claim))


@pytest.mark.parametrize("images", [2, 5, 20])
def test_one_step_on_a_line_against_quadrature(images: int) -> None:
    dof, sigma = images - 1, 1.5
    sample = tilted_refits([[sigma**2]], images, 1, 20_000, rng=images)
    spread = sample.singular_values[:, 1, 0]
    # The spread itself is chi with one more degree of freedom.
    assert stats.kstest(spread / sigma * np.sqrt(dof), stats.chi(images).cdf).pvalue > 1e-9
    w = np.linspace(-40, 3.5, 5000)  # x = e^w: the trapezoid rule converges geometrically
    mass = stats.chi.pdf(np.exp(w), dof) * np.exp(w) * (w[1] - w[0])
    for f in (np.log1p, np.tanh, np.sqrt):
        claim = float(f(sigma * np.exp(w) / np.sqrt(dof)) @ mass)
        assert agrees(sample.weight[:, 1] * f(spread), claim)
        # Negative control: without the weights it is another mean.
        assert not agrees(f(spread), claim)
    # In one dimension the estimate of the mean diversity has no variance at all.
    np.testing.assert_allclose(sample.weight[:, 1] * spread, sigma * contraction_constant(dof, 1), rtol=1e-12)
    np.testing.assert_array_equal(sample.weight, sample.direction_weight)


@pytest.mark.parametrize("images", [4, stats.binom(40, 0.1), stats.poisson(3)])
@pytest.mark.parametrize("cov", [np.eye(2), np.array([[1.0, 0.4], [0.4, 0.3]])])
def test_functionals_of_the_path_against_honest_runs(images: Any, cov: Array) -> None:
    steps, runs = 6, 6000
    tilted = tilted_refits(cov, images, steps, runs, rng=1, times=[2, 6])
    honest = tilted_refits(cov, images, steps, runs, rng=2, times=[2, 6], tilted=False)
    assert (honest.weight == 1).all()
    assert (honest.direction_weight == 1).all()

    def functionals(s: TiltedRuns) -> list[Array]:
        first, last = s.image_diversity.T
        shape = s.singular_values[:, 1, 1] / s.singular_values[:, 1, 0]
        return [np.ones(runs), last, np.minimum(first, last), shape, (last > 0.5 * first).astype(float)]

    for ours, plain in zip(functionals(tilted), functionals(honest), strict=True):
        for weight in (tilted.weight, tilted.direction_weight):
            gap = (weight[:, 1] * ours).mean() - plain.mean()
            spread = (weight[:, 1] * ours).var() + plain.var()
            assert abs(gap) < 7 * np.sqrt(spread / runs)
    gap = tilted.image_diversity[:, 1].mean() - honest.image_diversity[:, 1].mean()
    assert gap > SIX * np.sqrt((tilted.image_diversity[:, 1].var() + honest.image_diversity[:, 1].var()) / runs)


def test_plain_runs_are_those_of_the_simulation() -> None:
    cov = np.diag([1.0, 0.2, 0.01])
    system = System(State.create([1.0], np.zeros((1, 3)), cov), 1, 6, text_updates=0)
    theirs = replicate(system, 5, 8000, rng=3, statistics=["image_diversity"], times=[1, 5])
    ours = tilted_refits(cov, 6, 5, 8000, rng=4, times=[1, 5], tilted=False).image_diversity
    for k in (0, 1):
        error = np.hypot(theirs.standard_error["image_diversity"][k, 0], ours[:, k].std() / np.sqrt(8000))
        assert abs(ours[:, k].mean() - theirs.mean["image_diversity"][k, 0]) < SIX * error


def test_late_means_in_the_plane() -> None:
    sample = tilted_refits(np.eye(2), 10, 1000, 50, rng=5, times=[0, 30, 1000])
    estimate = sample.weight * sample.image_diversity
    exact = image.expected_image_diversity_plane(9, sample.t)
    assert agrees(estimate[:, 1], exact[1])
    np.testing.assert_allclose(estimate[:, 0], 2, rtol=1e-12)
    np.testing.assert_allclose(estimate[:, 2], exact[2], rtol=1e-9)  # every single run
    flat = np.array([[2.0, 0.7], [0.7, 0.5]])
    sample = tilted_refits(flat, stats.binom(100, 0.05), 100, 2000, rng=6, times=[10, 100])
    exact = image.expected_image_diversity_ellipse_random(flat, 100, 0.05, sample.t)
    for k in (0, 1):
        assert agrees(sample.weight[:, k] * sample.image_diversity[:, k], exact[k])


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_the_estimate_is_bounded(dim: int) -> None:
    sample = tilted_refits(np.eye(dim), 4, 40, 200, rng=dim)
    scaled = sample.weight * sample.image_diversity / contraction_constant(3, 1) ** sample.t
    assert scaled.max() <= dim * (1 + 1e-9)
    assert scaled.min() >= image.late_time_amplitude(np.eye(dim)) * (1 - 1e-9)
    assert (np.diff(sample.singular_values, axis=-1) <= 0).all()
    flat = np.diag([4.0, *[0.01] * (dim - 1)])
    sample = tilted_refits(flat, 4, 40, 200, rng=dim)
    scaled = sample.weight * sample.image_diversity / contraction_constant(3, 1) ** sample.t
    assert scaled.max() <= 2 * dim * (1 + 1e-9)


def test_sticks_from_two_images_are_exact() -> None:
    sample = tilted_refits(np.eye(3), 2, 5, 40, rng=7, times=[1, 5])
    exact = image.image_diversity_bounds(np.eye(3), 1, [1, 5]).lower
    np.testing.assert_allclose(sample.weight * sample.image_diversity, np.tile(exact, (40, 1)), rtol=1e-10)


@pytest.mark.parametrize("spread", [[2.0], [1.0, 0.3], [1.0, 0.5, 0.1], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
def test_directional_root(spread: list[float]) -> None:
    dim = len(spread)
    value = _directional_root(np.diag(spread)[None])[0]
    stick = image.late_time_amplitude(np.diag([1.0] + [0.0] * (dim - 1)))
    unit = image.late_time_amplitude(np.eye(dim)) / stick  # a_d
    assert value == pytest.approx(image.late_time_amplitude(np.diag(np.square(spread))) / unit, rel=1e-10)
    rng = np.random.default_rng(8)
    g = rng.standard_normal((40_000, dim))
    lengths = np.linalg.norm(g * spread, axis=1) / np.linalg.norm(g, axis=1)
    assert agrees(lengths, value)


def test_the_same_seed_gives_the_same_runs() -> None:
    first, second = (tilted_refits(np.eye(2), 5, 8, 20, rng=9) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
    np.testing.assert_array_equal(first.t, np.arange(9))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cov": [[1, 2], [2, 1]]}, ValueError, "cov must be positive"),
        ({"cov": [1.0]}, ValueError, "cov must have shape"),
        ({"images": 1}, ValueError, "images must be"),
        ({"images": 2.5}, TypeError, "images must be an integer"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"runs": 0}, ValueError, "runs must be"),
        ({"rng": "x"}, TypeError, "rng must"),
        ({"times": [3, 2]}, ValueError, "times must increase"),
        ({"times": [6]}, ValueError, "times must increase"),
        ({"times": 3}, ValueError, "times must increase"),
        ({"times": []}, ValueError, "times must increase"),
        ({"times": [-1]}, ValueError, "times must hold integers"),
        ({"tilted": 1}, TypeError, "tilted must be"),
    ],
)
def test_bad_input(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"cov": np.eye(2), "images": 5, "steps": 5, "runs": 3, "rng": 1} | change
    with pytest.raises(error, match=message):
        tilted_refits(**arguments)
