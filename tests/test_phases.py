"""The phase diagram: deaths against literal paths and exact chains, half-lives and the limit against the simulator."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from coevo import CorpusInjection, State, System, UserContent, circle, phases, simulate, sweeps, wishart
from coevo.phases import LEVELS, WHICH_DIES_FIRST, DeathTimes, death_times, summarise
from coevo.theory import image, text
from coevo.theory import phases as theory

SIX = 6.1


# ---- deaths in the simulation --------------------------------------------------------------------------


def test_deaths_against_whole_paths() -> None:
    # The same definitions read off whole paths: other random numbers, so the shares are compared.
    system, runs = System(circle(3, 0.4, p=[0.5, 0.3, 0.2]), 12, 30, image_updates=2), 1200
    times = death_times(system, runs, rng=1)
    path = simulate(system, 60, runs, rng=2)
    measures = {
        "text": path.text_diversity,
        "seen": (path.p * path.image_diversity).sum(axis=-1),
        "archive": path.image_diversity.mean(axis=-1),
    }
    for name in ("text", "seen"):  # a run may end before its other deaths
        for t in (1, 3, 10):
            early = getattr(times, name)[:, 0] <= t
            literal = (measures[name][:, 1 : t + 1] <= 0.5 * measures[name][:, :1]).any(axis=1)
            error = np.sqrt((early.var() + literal.var()) / runs) + 1e-9
            assert abs(early.mean() - literal.mean()) < SIX * error, (name, t)
    first = (times.text[:, 0] < times.seen[:, 0]).mean()

    def literal_time(name: str, level: float) -> Any:
        dead = measures[name] <= level * measures[name][:, :1]
        return np.where(dead.any(axis=1), dead.argmax(axis=1), np.inf)

    assert 0.1 < first < 0.9
    for name in ("seen", "archive"):
        for column, level in enumerate(LEVELS):
            measured = (times.text[:, column] < getattr(times, name)[:, column]).mean()
            literal_share = (literal_time("text", level) < literal_time(name, level)).mean()
            assert abs(measured - literal_share) < SIX * np.sqrt(2 * 0.25 / runs), (name, level)
    # Negative control: the archive is another measure.
    archive, seen = times.text[:, 1] < times.archive[:, 1], literal_time("text", 0.1) < literal_time("seen", 0.1)
    assert abs(archive.mean() - seen.mean()) > SIX * np.sqrt((archive.var() + seen.var()) / runs)


def test_death_of_the_text_model_against_the_exact_chain() -> None:
    # Two separated texts: D <= D_0 / 2 is an absorbing set of the Wright-Fisher chain.
    m, runs, t = 24, 1500, 9
    share = np.arange(m + 1) / m
    alive = 2 * share * (1 - share) > 0.25
    law = stats.binom.pmf(np.arange(m + 1), m, 0.5) * alive
    for _ in range(t - 1):
        law = (law @ stats.binom.pmf(np.arange(m + 1)[None, :], m, share[:, None])) * alive
    times = death_times(System(circle(2, 0.02), m, 100), runs, rng=3)
    dead = (times.text[:, 0] <= t).mean()
    assert abs(dead - (1 - law.sum())) < SIX * np.sqrt(dead * (1 - dead) / runs)
    assert 0.2 < dead < 0.8


def test_one_image_kills_the_text_model_at_once_and_a_cap_ends_a_run() -> None:
    system = System(circle(4, 0.01), 1, 200)
    times = death_times(system, 50, rng=4)
    assert (times.text == 1).all()
    assert np.isinf(times.archive).all()  # three quarters of the archive are frozen
    assert (times.seen[:, 0] > 1).all()
    assert times.cap == 20 + 60 * 200
    assert (death_times(system, 50, rng=4, cap=1).text == 1).all()  # the cap is the last step
    short = death_times(system, 50, rng=4, cap=3)
    assert short.cap == 3
    assert np.isinf(short.seen).all()
    assert summarise(short)["censored"] == 1


def test_exactly_half_is_dead() -> None:
    # D of the counts (3, 1, 0, 0) is 3/8, half of 3/4: 48 of the 52 ways to die in one step.
    runs = 4000
    times = death_times(System(circle(4, 0.001), 4, 400), runs, rng=14, cap=1)
    counts = np.array(list(itertools.product(range(5), repeat=4)))
    counts = counts[counts.sum(axis=1) == 4]
    dead = 1 - ((counts / 4) ** 2).sum(axis=1) <= 0.375
    share = stats.multinomial.pmf(counts, 4, np.full(4, 0.25))[dead].sum()
    assert share == pytest.approx(52 / 256)
    assert abs((times.text[:, 0] == 1).mean() - share) < SIX * np.sqrt(share * (1 - share) / runs)


def test_every_text_update_and_image_update_counts() -> None:
    base = {"initial": circle(3, 0.05), "text_samples": 20, "image_samples": 60}
    slow, twice, sharp = (
        summarise(death_times(System(**base, **speed), 400, rng=5))
        for speed in ({}, {"text_updates": 2}, {"image_updates": 2})
    )
    assert twice["text_median"] == pytest.approx(slow["text_median"] / 2, rel=0.25)
    assert sharp["seen_median"] == pytest.approx(slow["seen_median"] / 2, rel=0.25)
    assert twice["first_seen_50"] > slow["first_seen_50"] > sharp["first_seen_50"]


def test_summary_of_four_runs() -> None:
    text_times = np.array([[1, 9], [2, 9], [3, 9], [np.inf, np.inf]])
    seen = np.array([[4, 5], [2, 9], [1, np.inf], [6, np.inf]])
    archive = np.array([[np.inf, np.inf], [2, np.inf], [3, np.inf], [1, 1]])
    result = summarise(DeathTimes(text_times, seen, archive, 99))
    assert result["first_seen_50"] == (1 + 0.5) / 4
    assert result["tie_seen_50"] == 0.25
    assert result["first_seen_10"] == (1 + 1.0) / 4
    assert result["first_archive_50"] == (1 + 1.0) / 4
    assert result["first_archive_10"] == 0.75
    assert (result["text_median"], result["seen_median"]) == (2, 2)  # the lower middle value
    assert np.isnan([result[f"{name}_{end}"] for name in ("text", "seen") for end in ("low", "high")]).all()
    assert result["censored"] == 0.25


@pytest.mark.parametrize(("runs", "ends"), [(5, (np.nan, np.nan)), (6, (1, 6)), (20, (6, 15))])
def test_ends_of_the_interval(runs: int, ends: tuple[float, float]) -> None:
    times = np.random.default_rng(15).permutation(np.arange(1.0, runs + 1))[:, None] * np.ones(2)
    late = np.where(times > runs - 1, np.inf, times)
    result = summarise(DeathTimes(times, late, times, 99))
    np.testing.assert_equal((result["text_low"], result["text_high"]), ends)
    np.testing.assert_equal(result["seen_high"], np.nan if runs < 7 else ends[1])
    assert result["text_median"] == (runs + 1) // 2


def test_a_tie_counts_one_half() -> None:
    times = np.ones((10, 2))
    result = summarise(DeathTimes(times, times, times, 9))
    for name in ("seen_50", "seen_10", "archive_50", "archive_10"):
        assert (result[f"first_{name}"], result[f"tie_{name}"]) == (0.5, 1)


def test_the_interval_of_the_median_covers_it() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(400):
        times = np.tile(rng.exponential(size=(200, 1)), (1, 2))
        result = summarise(DeathTimes(times, times, times, 9))
        covered += result["text_low"] <= np.log(2) <= result["text_high"]
    assert 0.93 < covered / 400 < 0.99


def test_stored_points_are_what_the_code_computes() -> None:
    path = sweeps.DATA / "which-dies-first.json"
    stored = sweeps.load(path, WHICH_DIES_FIRST)
    cheap = [p for p in WHICH_DIES_FIRST.points() if int(p["text_samples"]) <= 64 and int(p["image_samples"]) <= 256]
    for k in np.random.default_rng(7).choice(len(cheap), 4, replace=False):
        fresh = {name: np.nan if v is None else v for name, v in WHICH_DIES_FIRST.evaluate(cheap[k]).items()}
        assert fresh == pytest.approx(stored.at(**cheap[k]), abs=0, rel=0, nan_ok=True), cheap[k]
    assert stored["censored"].max() == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: death_times(3, 1, rng=0), TypeError, "system must be a System"),  # type: ignore[arg-type]
        (lambda s: death_times(s(), 0, rng=0), ValueError, "runs must be an integer >= 1"),
        (lambda s: death_times(s(), 1, rng=-1), ValueError, "rng must be a non-negative"),
        (lambda s: death_times(s(), 1, rng=0, cap=0), ValueError, "cap must be an integer >= 1"),
        (lambda s: death_times(s(image_updates=0), 1, rng=0), ValueError, "system.image_updates must be"),
        (lambda s: death_times(s(text_updates=0), 1, rng=0), ValueError, "system.text_updates must be"),
        (lambda s: death_times(s(initial=circle(2, p=[1, 0])), 1, rng=0), ValueError, "some text and image diversity"),
        (
            lambda s: death_times(s(initial=State.create([0.5, 0.5], np.eye(2), np.zeros((2, 2)))), 1, rng=0),
            ValueError,
            "some text and image diversity",
        ),
        (lambda s: death_times(s(initial=circle(2, runs=2)), 2, rng=0), ValueError, "system.initial must hold 1 run"),
        (
            lambda s: death_times(s(corpus=CorpusInjection(0.1, 0.1, [0.0, 0.0], np.eye(2))), 1, rng=0),
            ValueError,
            "system.corpus must be None, got CorpusInjection",
        ),
        (lambda s: death_times(s(user=UserContent(1)), 1, rng=0), ValueError, "system.user must be None, got UserC"),
        (lambda s: summarise(3), TypeError, "times must be a DeathTimes"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments_of_the_simulation(call: Any, error: type[Exception], message: str) -> None:
    def system(**change: Any) -> System:
        return System(**({"initial": circle(2), "text_samples": 5, "image_samples": 5} | change))

    with pytest.raises(error, match=message):
        call(system)


# ---- the prediction ------------------------------------------------------------------------------------


def test_limit_of_the_mean_image_diversity() -> None:
    u = np.array([0.0, 0.5, 2.0, 6.0])
    for nu in (500, 5000):
        exact = image.expected_image_diversity_plane(nu, (u * nu).astype(int)) / 2
        assert theory.limit_image_diversity(u) == pytest.approx(exact, abs=1 / nu)
    line = image.image_diversity_bounds(np.eye(1), 5000, (u * 5000).astype(int)).upper
    assert theory.limit_image_diversity(u, 1) == pytest.approx(line, abs=1e-4)
    assert theory.limit_image_diversity(0.0) == pytest.approx(1, abs=1e-13)
    # The first step of (5.1): slope -(d+1)/8.
    assert (1 - theory.limit_image_diversity(1e-3)) / 1e-3 == pytest.approx(3 / 8, rel=1e-3)


def test_half_lives() -> None:
    assert theory.half_life_clock(1) == pytest.approx(4 * np.log(2), abs=1e-12)
    assert theory.half_life_clock(2) == pytest.approx(2.122593, abs=1e-6)
    # At a finite number of images: the exact mean of the plane crosses one half between two whole updates.
    n, p = 10_000, 0.2
    life = theory.half_life_clock() * n * p
    mean = image.expected_image_diversity_plane_random(n, p, np.array([int(0.998 * life), int(1.002 * life)])) / 2
    assert mean[0] > 0.5 > mean[1]


def test_crossover_of_the_half_lives() -> None:
    assert theory.crossover(1000, 4, 5) == pytest.approx(3.0623 * 1000 / 20, rel=1e-4)
    assert theory.crossover([100, 200], 1, 5, dim=1, text_updates=2) == pytest.approx([160, 320])
    # Both half-lives in macro steps.
    m = theory.crossover(10**6, 4, 5, text_updates=3)
    assert text.half_life(round(m), 3) == pytest.approx(theory.half_life_clock() * 10**6 / (5 * 4), rel=1e-5)


@pytest.mark.parametrize("dim", [2, 1])
def test_roots_of_the_limit_against_the_mean(dim: int) -> None:
    rng, paths = np.random.default_rng(13), 20_000
    scale, slant = np.ones((dim, paths, 1)), np.zeros((paths, 1))
    for _ in range(200):
        scale, slant = theory._diffuse(scale, slant, 0.01, rng.standard_normal((2 * dim - 1, paths, 1)))
    left = theory._root_trace(scale, slant) / dim
    assert abs(left.mean() - theory.limit_image_diversity(2.0, dim)) < 5 * left.std() / np.sqrt(paths)


def test_the_ends_of_the_range_of_floats() -> None:
    for dim in (1, 2):
        assert theory.limit_image_diversity(1e308, dim) == 0
        assert theory.limit_image_diversity([0.0, 1e308], dim) == pytest.approx([1, 0])
        for theta, share in ((5e-324, 1), (1e308, 0)):
            assert theory.limit_share(theta, rng=16, runs=10, resolution=10, dim=dim).value == share


@pytest.mark.parametrize("dim", [2, 1])
def test_limit_share_against_the_simulator(dim: int) -> None:
    m, n, updates, runs = 48, 384, 5, 300
    start = circle(5, 0.05)
    if dim == 1:
        start = State.create(start.p[0], np.arange(5.0)[:, None], 0.05**2 * np.eye(1))
    measured = summarise(death_times(System(start, m, n, image_updates=updates), runs, rng=8))
    share = measured["first_seen_50"]
    theta = updates * m / n
    limit = theory.limit_share(theta, rng=9, dim=dim)
    error = np.hypot(np.sqrt(share * (1 - share) / runs), limit.standard_error)
    assert 0.1 < share < 0.7
    assert abs(share - limit.value) < SIX * error
    # Negative control: S_I counted wrongly.
    assert abs(share - theory.limit_share(theta / updates, rng=9, dim=dim, runs=1000).value) > SIX * error


def test_limit_share_at_the_ends_and_at_other_levels() -> None:
    fast, slow = (theory.limit_share(theta, rng=10, runs=200).value for theta in (1e-3, 200.0))
    assert fast == 1
    assert slow == 0
    half, tenth = (theory.limit_share(0.7, rng=11, runs=2000, level=level) for level in (0.5, 0.1))
    assert tenth.value > half.value + SIX * (half.standard_error + tenth.standard_error)
    coarse, fine = (theory.limit_share(0.7, rng=12, runs=15_000, resolution=m) for m in (50, 200))
    assert abs(coarse.value - fine.value) + 3 * np.hypot(coarse.standard_error, fine.standard_error) < 0.04


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: theory.limit_image_diversity(-1.0), ValueError, "clock must hold numbers >= 0, got -1"),
        (lambda: theory.limit_image_diversity("a"), TypeError, "clock must be an array"),  # type: ignore[arg-type]
        (lambda: theory.limit_image_diversity(1.0, 3), ValueError, "dim must be at most 2, got 3"),
        (lambda: theory.half_life_clock(0), ValueError, "dim must be an integer >= 1"),
        (lambda: theory.crossover(0, 1, 5), ValueError, "image_samples must hold integers >= 1"),
        (lambda: theory.crossover(10, 0, 5), ValueError, "image_updates must be an integer >= 1"),
        (lambda: theory.crossover(10, 1, 1), ValueError, "n_texts must be an integer >= 2"),
        (lambda: theory.crossover(10, 1, 5, text_updates=0), ValueError, "text_updates must be an integer >= 1"),
        (lambda: theory.limit_share(0.0, rng=1), ValueError, "theta must lie in .0, inf., got 0"),
        (lambda: theory.limit_share(1.0, 1, rng=1), ValueError, "n_texts must be an integer >= 2"),
        (lambda: theory.limit_share(1.0, rng=1, dim=3), ValueError, "dim must be at most 2"),
        (lambda: theory.limit_share(1.0, rng=1, level=1.0), ValueError, "level must lie in .0, 1., got 1"),
        (lambda: theory.limit_share(1.0, rng=1, runs=1), ValueError, "runs must be an integer >= 2"),
        (lambda: theory.limit_share(1.0, rng=1, resolution=1), ValueError, "resolution must be an integer >= 2"),
        (lambda: theory.limit_share(1.0, rng="a"), TypeError, "rng must be a non-negative"),
    ],
)
def test_bad_arguments_of_the_prediction(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_the_cap_is_what_its_docstring_says() -> None:
    assert phases._longest(10, 7, 4) == 200 + 105
    assert np.exp(-20) * 512**2 / (2 * 511) < 6e-7
    nu = np.arange(1, 2000)  # N - 1
    slow = np.exp(np.log(wishart.contraction_constant(nu, 1)) * 60 * (nu + 1))
    assert slow.max() < np.exp(-15)
    assert 2 * np.exp(-15) < 7e-7
