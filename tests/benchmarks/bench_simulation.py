"""Cost of a macro step: the engine, the literal algorithms, and a floor that no exact sampler goes below.

The system of the paper's figures: K = 5 texts on the circle, d = 2, M = N = 100, 100 runs. All three are timed in turns
in one process, so that the ratios hold whatever else the machine does. Run with `make bench`.
"""

import time

import numpy as np
import pytest

from coevo import reference
from coevo.simulation import State, System, circle, image_update, macro_step

K, M, N, RUNS = 5, 100, 100, 100

STATE = circle(K, runs=RUNS)
SYSTEM = System(circle(K), M, N)


@pytest.fixture
def rng():
    """Random numbers, the same in every benchmark."""
    return np.random.default_rng(1)


def floor(rng):
    """Draw the normals of the images and take one exponential per image and text: nothing else."""
    rng.standard_normal((STATE.dim, RUNS, M))
    return np.exp(np.full((K, RUNS, M), -1.0))


def literal(rng):
    """Make one macro step of one run, image by image."""
    one = circle(K)
    return reference.algorithm_1(one.p[0], one.mean[0], one.cov[0], 1, M, N, 1, 1, rng)


def fastest(function, repeat):
    """Shortest time of a call in seconds: what the machine can do when it is left alone."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def test_macro_step_of_the_engine(benchmark, rng):
    """All runs at once."""
    benchmark(macro_step, STATE, SYSTEM, rng)


def test_macro_step_of_the_reference(benchmark, rng):
    """A single run."""
    benchmark.pedantic(literal, (rng,), rounds=20, warmup_rounds=2)


def test_floor_of_a_macro_step(benchmark, rng):
    """All runs at once."""
    benchmark(floor, rng)


@pytest.mark.parametrize("image_samples", [100, 1_000_000])
def test_image_update(benchmark, image_samples, rng):
    """The cost does not depend on N."""
    benchmark(image_update, STATE, image_samples, rng)


def test_ratios(benchmark, rng, capsys):
    """Times in turns; the asserted limits leave room for a busy machine."""
    engine = bottom = one = few = many = np.inf

    def turn():
        nonlocal engine, bottom, one, few, many
        engine = min(engine, fastest(lambda: macro_step(STATE, SYSTEM, rng), 10))
        bottom = min(bottom, fastest(lambda: floor(rng), 10))
        one = min(one, fastest(lambda: literal(rng), 1))
        few = min(few, fastest(lambda: image_update(STATE, 100, rng), 10))
        many = min(many, fastest(lambda: image_update(STATE, 1_000_000, rng), 10))

    benchmark.pedantic(turn, rounds=20)
    faster, above, growth = one * RUNS / engine, engine / bottom, many / few
    with capsys.disabled():
        print(f"\nmacro step of {RUNS} runs, K = {K}, d = {STATE.dim}, M = N = {M}: {1e3 * engine:.2f} ms")
        print(f"  {faster:.0f} times faster than the literal algorithm ({1e3 * one:.1f} ms a run)")
        print(f"  {above:.1f} times the floor ({1e3 * bottom:.2f} ms: normals, one exponential per image and text)")
        print(f"  image update with N = 10^6 against N = 10^2: {growth:.2f} times")
    assert faster > 500
    assert above < 10
    assert growth < 1.2


def test_text_update_grows_with_the_runs_alone(benchmark, rng):
    """Ten times the runs: no more than about ten times the time, since passes keep the arrays in the cache."""
    wide = State.create(np.full(K, 1 / K), circle(K).mean[0], np.eye(2), 10 * RUNS)
    benchmark(macro_step, wide, SYSTEM, rng)
