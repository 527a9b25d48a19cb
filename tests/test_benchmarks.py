"""The rivals of the benchmark have the law of the engine, and the stored record is complete and keeps its limits."""

import copy
import json
import re

import numpy as np
import pytest
from benchmarks import measure, rivals
from scipy import stats

from coevo import factors
from coevo.simulation import ImageModel, State, text_update

P = np.array([0.5, 0.3, 0.2])
MEAN = np.array([[0.0, 0.0], [1.0, 0.2], [-0.5, 1.5]])
COV = np.array([[[1.0, 0.6], [0.6, 0.8]], [[0.3, -0.1], [-0.1, 0.2]], [[2.0, 0.0], [0.0, 0.5]]])
RIVALS = {"vectorised": (rivals.text_update_vectorised, 20_000), "library": (rivals.text_update_library, 120)}
SIGMAS = 6.0  # false alarm 2e-9 a number
M = 12


def many(runs):
    """Return the same model for many runs."""
    return tuple(np.repeat(array[None], runs, axis=0) for array in (P, MEAN, COV))


def moments(p):
    """Return first and second moments of each run's text model, array (R, 9)."""
    i, j = np.triu_indices(p.shape[1])
    return np.concatenate([p, p[:, i] * p[:, j]], axis=1)


def distance(ours, theirs):
    """Largest difference of two means over runs, in standard errors."""
    a, b = moments(ours), moments(theirs)
    error = np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))
    return np.abs((a.mean(axis=0) - b.mean(axis=0)) / error).max()


@pytest.fixture(scope="module")
def engine():
    return text_update(State.create(P, MEAN, COV, 20_000), M, 1).p


def test_rivals_weigh_images_as_the_mixture_does():
    p, mean, cov = many(2)
    images = np.random.default_rng(2).normal(0, 2, (2, 5, 2))
    joint = np.stack([P[k] * stats.multivariate_normal(MEAN[k], COV[k]).pdf(images) for k in range(3)], axis=-1)
    exact = joint / joint.sum(axis=-1, keepdims=True)
    for posterior in (rivals.posterior_vectorised, rivals.posterior_library):
        assert np.allclose(posterior(images, p, mean, cov), exact, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_draw_images_from_the_mixture(name):
    draw, runs = {"vectorised": (rivals.images_vectorised, 2_000), "library": (rivals.images_library, 60)}[name]
    x = draw(*many(runs), 50, np.random.default_rng(3)).reshape(-1, 2)
    between = MEAN - P @ MEAN
    cov = np.einsum("k,kij->ij", P, COV) + np.einsum("k,ki,kj->ij", P, between, between)
    deviation = x - P @ MEAN
    for values, expected in ((x, P @ MEAN), (deviation[:, :, None] * deviation[:, None], cov)):
        error = values.std(axis=0, ddof=1) / np.sqrt(len(x))
        assert (np.abs(values.mean(axis=0) - expected) < SIGMAS * error).all()


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_make_the_update_of_the_engine(name, engine):
    update, runs = RIVALS[name]
    assert distance(engine, update(*many(runs), M, np.random.default_rng(4))) < SIGMAS


def test_another_law_is_found(engine):
    p, mean, cov = many(20_000)
    fewer = rivals.text_update_vectorised(p, mean, cov, M // 3, np.random.default_rng(5))  # the mean is right
    assert np.allclose(fewer.mean(axis=0), P, atol=0.02)
    wider = rivals.text_update_vectorised(p, mean, 9 * cov, M, np.random.default_rng(5))
    for other in (fewer, wider):
        assert distance(engine, other) > 1.5 * SIGMAS


def test_drawn_refits_have_the_law_of_the_exact_ones():
    runs, n = 20_000, 5
    unit, log_scale = factors.factorise(np.repeat(COV[None], runs, axis=0))
    refit = factors.refit(unit, log_scale, np.full((runs, 3), n), np.random.default_rng(6))
    mean = np.repeat(MEAN[None], runs, axis=0)
    ours = ImageModel(mean + refit.shift, refit.unit, refit.log_scale)
    new_mean, new_cov = rivals.refit_drawn(*many(runs)[1:], n, np.random.default_rng(7))

    def numbers(mean, cov):
        difference = mean - MEAN
        squares = difference[..., :, None] * difference[..., None, :]
        return np.concatenate([v.reshape(runs, -1) for v in (mean, squares, cov, cov**2)], axis=1)

    def apart(theirs):
        a, b = numbers(ours.mean, ours.cov), numbers(*theirs)
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / runs)
        return np.abs((a.mean(axis=0) - b.mean(axis=0)) / error).max()

    assert apart((new_mean, new_cov)) < SIGMAS
    biased = new_cov * (n - 1) / n  # divided by n
    assert apart((new_mean, biased)) > 2 * SIGMAS


def test_the_floors_draw_and_exponentiate(monkeypatch):
    for floor in (rivals.floor, rivals.bare_floor):
        assert floor((2, 3, 4), 2, np.random.default_rng(8)).ravel()[0] == pytest.approx(np.exp(-1))

    class Counting:
        def __init__(self):
            self.drawn = 0

        def standard_normal(self, out):
            self.drawn += out.size

    exp, taken = np.exp, []
    monkeypatch.setattr(np, "exp", lambda x, out: taken.append(x.size) or exp(x, out=out))
    rng = Counting()
    rivals.bare_floor((3, 7, 2_000), 2, rng)
    assert rng.drawn == 2 * 7 * 2_000
    assert sum(taken) == 3 * 7 * 2_000


# ---- the measurement -------------------------------------------------------------------------------------------------


def test_each_function_is_timed_and_the_fastest_call_counts(monkeypatch):
    calls, clock = {"quick": 0, "slow": 0}, [0.0]
    monkeypatch.setattr(measure.time, "process_time", lambda: clock[0])

    def function(name, seconds):
        def run():
            calls[name] += 1
            clock[0] += seconds

        return run

    ms = measure.in_turns({"quick": function("quick", 0.001), "slow": function("slow", 0.02)}, 0.08)
    assert ms == {"quick": pytest.approx(1), "slow": pytest.approx(20)}
    assert calls == {"quick": 41, "slow": 4}  # one before the clock runs; then a share of 0.04 s, or three turns


def test_the_algebra_inverts_and_multiplies(monkeypatch):
    inverted = []
    monkeypatch.setattr(np.linalg, "inv", inverted.append)
    cov, coefficients, features = np.ones((2, 3, 2, 2)), np.ones((2, 3, 6)), np.ones((2, 6, 5))
    np.testing.assert_array_equal(rivals.algebra(cov, coefficients, features), np.full((2, 3, 5), 6.0))
    assert inverted[0] is cov


def test_a_setting_is_timed_in_every_way():
    row = measure.time_text_update(2, 3, 10, 2, seconds=0.01)
    ways = {"floor", "bare_floor", "algebra", "numpy", "vectorised", "library", "literal"}
    assert set(row["ms"]) == ways | ({"compiled"} if measure.has_compiled() else set())
    assert all(value > 0 for value in row["ms"].values())
    assert {key: row[key] for key in ("K", "d", "M", "runs")} == {"K": 2, "d": 3, "M": 10, "runs": 2}
    assert set(measure.time_text_update(2, 2, 200, 1, seconds=0.01)["ms"]).isdisjoint({"library", "literal"})


def test_the_library_refuses_needles():
    state = measure.start(5, 2, 1, "needles")
    with pytest.raises(np.linalg.LinAlgError):
        rivals.text_update_library(state.p, state.mean, state.cov, 2, np.random.default_rng(9))


def test_late_states_have_sharp_images():
    early, points, needles = (measure.start(4, 2, 3, kind) for kind in ("headline", "points", "needles"))
    for late, small in ((points, [1, 1]), (needles, [0, 1])):
        assert np.allclose(late.images.log_scale, early.images.log_scale + np.log(1e-6) * np.array(small))
    assert not np.array_equal(early.cov[0], early.cov[1])
    assert not np.allclose(measure.start(4, 3, 1).mean, 0)


def test_memory_of_paths_and_streams():
    path = measure.memory_of_paths(4, 10, 3, 2)
    assert path["kept"] == 11 * 8 + 4 * 11 * 8 * (1 + 3 * (4 + 2 + 4))
    assert path["peak"] > path["kept"]
    assert 0 < measure.memory_of_stream(4, 10, 3, 2)["peak"] < 10**6


def test_a_child_reports_its_memory():
    row = measure.measure_large(runs=3, steps=2, workers=1, compiled=False)
    assert row["peak"] >= row["imported"] > 10**7
    assert row["peak_of_a_worker"] == row["peak"]  # one process does all
    assert row["seconds"] >= 0
    curve = row["text_diversity"]
    assert curve["t"] == [0]
    assert curve["levels"] == [0.05, 0.5, 0.95]
    assert [curve["mean"], curve["quantile"]] == [[0.8], [[0.8]] * 3]


def test_the_whole_measurement_gives_what_the_check_wants(monkeypatch):
    small = {
        "HEADLINE": (2, 2, 5, 2),
        "CORNERS": [(2, 3, 5), (2, 2, 200)],
        "GRID": [(2, 1, 5, 1)],
        "ALONE": [],
        "FEW": [],
        "IMAGE_GRID": [(2, 1, 1)],
        "IMAGE_SAMPLES": [100, 1_000_000],
        "DRAWN": [10],
        "CROSSING": {"dims": (1, 2), "images": (2, 4)},
        "REPLICATES": [(2, 2, 5, 200, 2)],
        "PATHS": [(2, 2, 2, 2)],
        "STREAMS": [(2, 10, 2, 2)],
    }
    for name, value in small.items():
        monkeypatch.setattr(measure, name, value)

    def once(contenders, seconds, turns=3):
        for function in contenders.values():
            function()
        return {name: 1_000.0 if name == "literal" else 1.0 for name in contenders}

    monkeypatch.setattr(measure, "in_turns", once)
    said = []
    large = {"runs": measure.LARGE_RUNS, "steps": measure.LARGE_STEPS, "peak": 1}
    record = {**measure.measure(say=said.append), "large": large}
    assert measure.check(record) == []
    assert len(said) == 4
    assert len(measure.table(record)) == 1 + len(record["text"]) == 6
    assert record["crossing"][1] == {"d": 2, "models": 4, "exact_ms": 1.0, "n": [2, 4], "drawn_ms": [1.0, 1.0]}
    assert [row["way"] for row in record["image"]] == ["exact", "exact", "drawn"]


@pytest.fixture(scope="module")
def record():
    return measure.load()


def test_the_stored_record_is_complete_and_keeps_its_limits(record):
    assert measure.check(record) == []


def small():
    """Return a record that is complete and keeps its limits, with invented times."""

    def text(name, K, d, samples):
        ms = {"floor": 1.0, "bare_floor": 0.9, "algebra": 0.5, "numpy": 2.5, "compiled": 1.5, "vectorised": 20.0}
        ms |= {"library": 9e3, "literal": 6e3} if samples <= 100 else {}
        return {"name": name, "K": K, "d": d, "M": samples, "runs": 10, "ms": ms}

    named = [(name, *measure.HEADLINE[:3]) for name in ("headline", "points", "needles")]
    limits = {"text": measure.LIMITS, "faster": measure.FASTER, "growth": measure.GROWTH, "large": measure.LARGE_LIMIT}
    return {
        "format": measure.FORMAT,
        **measure.provenance(),
        "versions": dict.fromkeys(("python", *measure.PACKAGES), "1"),
        "seconds": 1,
        "block": 256,
        "limits": limits,
        "text": [text(*setting) for setting in named + [("corner", *corner) for corner in measure.CORNERS]],
        "grid": [],
        "image": [{"N": n, "way": "exact", "ms": 0.2} for n in measure.IMAGE_SAMPLES],
        "image_grid": [],
        "crossing": [],
        "macro": {"ms": {"numpy": 2.0, "literal": 2_000.0}},
        "replicate": [],
        "memory": [],
        "large": {"runs": measure.LARGE_RUNS, "steps": measure.LARGE_STEPS, "peak": 10**9},
    }


def test_a_good_record_passes():
    assert measure.check(small()) == []
    without = small()
    del without["versions"]["numba"]
    for row in without["text"]:
        del row["ms"]["compiled"]
    assert measure.check(without) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda r: r.update(format=0), "format must be 1, got 0"),
        (lambda r: r.pop("memory"), "memory is missing"),
        (lambda r: r["versions"].pop("scipy"), "versions must name scipy"),
        (lambda r: r["machine"].update(cpu=""), "machine must name cpu"),
        (lambda r: r["limits"].update(faster=1), "limits must be those of this script"),
        (lambda r: r["text"].pop(), r"text must have the setting \('corner', 100, 16, 10000\)"),
        (lambda r: r["text"][0]["ms"].pop("vectorised"), "headline K = 5, d = 2, M = 100: vectorised is missing"),
        (lambda r: r["text"][3]["ms"].pop("literal"), "corner K = 5, d = 2, M = 100: literal is missing"),
        (
            lambda r: r["text"][0]["ms"].update(numpy=3.01),
            "headline .* numpy takes 3.01 times .* limit is 3",
        ),
        (lambda r: r["text"][0]["ms"].update(compiled=2.1), "compiled takes 2.10 times the floor"),
        (lambda r: r["text"][10]["ms"].update(numpy=float("nan")), "corner .* numpy takes nan times the floor and"),
        (lambda r: r["text"][10]["ms"].update(numpy=6.3), "corner .* numpy takes 4.20 times the floor and .* is 4"),
        (lambda r: r["macro"]["ms"].update(literal=10.0), "macro step: 5 times faster"),
        (lambda r: r["image"][5].update(ms=0.3), r"image update: N = 10\^6 takes 1.50 times as long"),
        (lambda r: r["large"].update(peak=2**32), "large: 100000 runs of 1000 steps with a peak of 4294967296 bytes"),
        (lambda r: r["large"].update(runs=10), "large: 10 runs"),
    ],
)
def test_a_record_that_is_wrong_is_refused(damage, words):
    record = copy.deepcopy(small())
    damage(record)
    (line,) = measure.check(record)
    assert re.search(words, line)


def test_a_record_is_stored_in_one_piece(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    assert measure.load(path) == {}
    measure.store(small(), path)
    assert measure.load(path) == small()
    before = path.read_bytes()
    monkeypatch.setattr(measure.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        measure.store({"format": 2}, path)
    assert path.read_bytes() == before
    assert json.loads(before)["text"][0]["ms"]["numpy"] == 2.5


def test_the_command_keeps_what_it_does_not_measure(tmp_path, monkeypatch, capsys):
    path = tmp_path / "record.json"
    whole = small()
    part = {key: value for key, value in whole.items() if key != "large"}
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(measure, "load", lambda: json.loads(path.read_text()) if path.exists() else {})
    write = measure.store
    monkeypatch.setattr(measure, "store", lambda record: write(record, path))
    monkeypatch.setattr(measure, "measure", lambda: part)
    monkeypatch.setattr(measure, "measure_large", lambda: whole["large"])
    assert measure.main(["--large"]) == 1
    assert "format must be" in capsys.readouterr().out
    assert measure.main([]) == 0
    assert "all limits are kept" in capsys.readouterr().out
    stored = json.loads(path.read_text())
    assert stored["text"] == part["text"]
    assert stored["large"]["peak"] == 10**9
    assert set(stored["large"]) >= {"machine", "versions", "date"}
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with pytest.raises(SystemExit):
        measure.main([])
