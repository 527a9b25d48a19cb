"""Stored sweeps: the same numbers in any order and after any interruption, and no numbers of another definition."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from coevo import _parallel, sweeps
from coevo.sweeps import Stored, Sweep, compute, find, load, main


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are compared to the last byte, and hold the date."""
    day = SimpleNamespace(isoformat=lambda: "2026-01-02")
    monkeypatch.setattr(sweeps, "datetime", SimpleNamespace(date=SimpleNamespace(today=lambda: day)))


def draw(rng: np.random.Generator, *, a: int, b: float, shift: float) -> Mapping[str, float]:
    return {"sum": a + b + shift, "noise": float(rng.standard_normal()), "half": math.nan if a == 1 else a / 2}


def small(**change: Any) -> Sweep:
    settings: dict[str, Any] = {
        "name": "small-one",
        "point": draw,
        "grid": {"a": (1, 2, 4), "b": (0.5, 0.25)},
        "seed": 3,
        "version": 1,
        "fixed": {"shift": 10},
    }
    return Sweep(**(settings | change))


def numbers(stored: Stored) -> dict[str, list[Any]]:
    return {name: array.tolist() for name, array in stored.values.items()}


def test_numbers_have_the_shape_of_the_grid(tmp_path: Path) -> None:
    stored = compute(small(), tmp_path / "deeper" / "s.json")
    assert stored["sum"].tolist() == [[11.5, 11.25], [12.5, 12.25], [14.5, 14.25]]
    assert np.isnan(stored["half"][0]).all()
    assert stored["half"][2].tolist() == [2, 2]
    assert stored.grid["b"].tolist() == [0.5, 0.25]
    assert stored.at(b=0.25, a=4)["sum"] == 14.25
    assert stored.fixed == {"shift": 10}
    assert set(stored.provenance) == {"coevo", "numpy", "scipy", "python", "machine", "date"}
    assert [path.name for path in (tmp_path / "deeper").iterdir()] == ["s.json"]


def test_a_point_depends_on_the_seed_and_on_the_point_alone(tmp_path: Path) -> None:
    first = compute(small(), tmp_path / "first.json")["noise"]
    # Another order, more points, another version and more columns: the old points keep their numbers.
    wider = compute(small(grid={"a": (8, 4, 2, 1), "b": (0.25, 0.5)}, version=2), tmp_path / "wider.json")["noise"]
    assert np.array_equal(first, wider[:0:-1, ::-1])
    assert len(np.unique(wider)) == wider.size
    other = compute(small(seed=4), tmp_path / "other.json")["noise"]
    assert not np.isin(other, first).any()
    assert small().evaluate({"b": 0.5, "a": 2})["noise"] == first[1, 0]


def test_the_order_of_the_axes_changes_no_number(tmp_path: Path) -> None:
    first = compute(small(), tmp_path / "first.json")
    other = compute(small(grid={"b": (0.5, 0.25), "a": (1, 2, 4)}), tmp_path / "other.json")
    for name in first.values:
        np.testing.assert_array_equal(other[name], first[name].T)


def test_a_point_cannot_change_what_is_fixed(tmp_path: Path) -> None:
    seen = []

    def greedy(rng: np.random.Generator, *, a: int, bag: dict[str, list[int]]) -> Mapping[str, float]:
        seen.append(list(bag["list"]))
        bag["list"].append(a)
        return {"x": len(bag["list"])}

    mine = {"bag": {"list": [7]}}
    sweep = Sweep("greedy", greedy, {"a": (1, 2, 3)}, 0, 1, mine)
    before = json.dumps(sweep.identity)
    mine["bag"]["list"].append(8)
    stored = compute(sweep, tmp_path / "s.json")
    assert seen == [[7], [7], [7]]
    assert stored["x"].tolist() == [2, 2, 2]
    stored.fixed["bag"]["list"].append(9)
    assert json.dumps(sweep.identity) == before


def test_workers_change_nothing_but_the_time(tmp_path: Path) -> None:
    compute(small(), tmp_path / "one.json")
    compute(small(), tmp_path / "two.json", workers=2)
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text()


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    whole = compute(small(), tmp_path / "whole.json")
    target, part, calls = tmp_path / "s.json", tmp_path / "s.json.part", []

    def stops(rng: np.random.Generator, **parameters: Any) -> Mapping[str, float]:
        calls.append(parameters)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return draw(rng, **parameters)

    with pytest.raises(KeyboardInterrupt):
        compute(small(point=stops), target)
    assert not target.exists()
    assert len(part.read_text().splitlines()) == 1 + 3
    with part.open("a") as lines:
        lines.write('{"point": 5, "val')  # the machine went down in the middle of a line
    resumed = compute(small(point=stops), target)
    assert len(calls) == 4 + 3  # nothing that was finished is computed again
    np.testing.assert_equal(numbers(resumed), numbers(whole))
    assert not part.exists()


CHILD = """
import sys, time
from coevo.sweeps import Sweep, compute

def slow(rng, *, a, b, shift):
    time.sleep(0.1)
    return {"sum": a + b + shift, "noise": float(rng.standard_normal()), "half": float("nan") if a == 1 else a / 2}

if __name__ == "__main__":
    sweep = Sweep("small-one", slow, {"a": (1, 2, 4), "b": (0.5, 0.25)}, 3, 1, {"shift": 10})
    compute(sweep, sys.argv[1], workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_sweep_goes_on_to_the_same_bytes(tmp_path: Path, workers: int) -> None:
    compute(small(), tmp_path / "whole.json")
    target, part, script = tmp_path / "s.json", tmp_path / "s.json.part", tmp_path / "child.py"
    script.write_text(CHILD)
    process = subprocess.Popen([sys.executable, str(script), str(target), str(workers)])
    until = time.monotonic() + 60
    while (not part.exists() or part.read_text().count("\n") < 1 + 2) and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    finished = part.read_text().count("\n") - 1
    assert 2 <= finished < 6
    calls = []

    def counted(rng: np.random.Generator, **parameters: Any) -> Mapping[str, float]:
        calls.append(parameters)
        return draw(rng, **parameters)

    compute(small(point=counted), target)
    assert len(calls) == 6 - finished
    assert target.read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_two_interruptions_in_the_middle_of_a_line(tmp_path: Path) -> None:
    whole = compute(small(), tmp_path / "whole.json")
    target, part = tmp_path / "s.json", tmp_path / "s.json.part"
    calls, finished = 0, []

    def stops(rng: np.random.Generator, **parameters: Any) -> Mapping[str, float]:
        nonlocal calls
        calls += 1
        if calls in (3, 6):
            raise KeyboardInterrupt
        finished.append((parameters["a"], parameters["b"]))
        return draw(rng, **parameters)

    for torn in ('{"point": 5, "val', '{"point": 1, "values": {"sum": 1'):
        with pytest.raises(KeyboardInterrupt):
            compute(small(point=stops), target)
        with part.open("a") as lines:
            lines.write(torn)
    resumed = compute(small(point=stops), target)
    assert len(finished) == len(set(finished)) == 6
    np.testing.assert_equal(numbers(resumed), numbers(whole))


def test_a_finished_point_is_in_the_part_file_at_once(tmp_path: Path) -> None:
    def lines(rng: np.random.Generator, **parameters: Any) -> Mapping[str, float]:
        return {"lines": len((tmp_path / "s.json.part").read_text().splitlines())}

    assert compute(small(point=lines), tmp_path / "s.json")["lines"].ravel().tolist() == [1, 2, 3, 4, 5, 6]


def test_points_finished_out_of_order_keep_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compute(small(), tmp_path / "whole.json")

    def backwards(function: Any, tasks: Any, workers: Any) -> Iterator[Any]:
        yield from [(key, function(*arguments)) for key, arguments in reversed(list(tasks))]

    monkeypatch.setattr(_parallel, "unordered", backwards)
    np.testing.assert_equal(numbers(compute(small(), tmp_path / "s.json")), numbers(whole))


def test_the_target_is_renamed_and_not_written_in_place(tmp_path: Path) -> None:
    target, old = tmp_path / "s.json", tmp_path / "old.json"
    compute(small(), target)
    os.link(target, old)
    compute(small(version=2), target)
    assert load(old, small())["sum"].shape == load(target, small(version=2))["sum"].shape


def test_the_part_file_may_be_gone_at_the_end(tmp_path: Path) -> None:
    def removes(rng: np.random.Generator, **parameters: Any) -> Mapping[str, float]:
        (tmp_path / "s.json.part").unlink(missing_ok=True)
        return draw(rng, **parameters)

    assert compute(small(point=removes), tmp_path / "s.json")["sum"].shape == (3, 2)


def test_a_part_file_without_a_whole_line_begins_again(tmp_path: Path) -> None:
    (tmp_path / "s.json.part").write_text('{"name": "sm')
    assert compute(small(), tmp_path / "s.json")["sum"].shape == (3, 2)


def test_a_current_file_is_not_computed_again(tmp_path: Path) -> None:
    calls: list[Any] = []

    def counted(rng: np.random.Generator, **parameters: Any) -> Mapping[str, float]:
        calls.append(parameters)
        return draw(rng, **parameters)

    target = tmp_path / "s.json"
    for force, made in ((False, 6), (False, 6), (True, 12)):
        compute(small(point=counted), target, force=force)
        assert len(calls) == made
    compute(small(point=counted, version=2), target)  # stale: replaced
    assert len(calls) == 18
    assert load(target, small(version=2))["sum"].shape == (3, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "seed = 4, got 3"),
        ({"version": 2}, "version = 2, got 1"),
        ({"fixed": {"shift": 11}}, '"shift": 11.*got .*"shift": 10'),
        ({"grid": {"a": (1, 2), "b": (0.5, 0.25)}}, "grid = "),
        ({"grid": {"b": (0.5, 0.25), "a": (1, 2, 4)}}, "grid = "),
        ({"name": "other"}, 'name = "other", got "small-one"'),
    ],
)
def test_numbers_of_another_definition_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    target = tmp_path / "s.json"
    compute(small(), target)
    with pytest.raises(ValueError, match=message):
        load(target, small(**change))
    # So is a part file: its points would be mixed with others.
    target.unlink()
    (tmp_path / "s.json.part").write_text(json.dumps(small().identity) + "\n")
    with pytest.raises(ValueError, match=message):
        compute(small(**change), target)


def test_the_order_of_the_outer_keys_does_not_count(tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    sweep = small(grid={"b": (0.5, 0.25), "a": (1, 2, 4)})
    compute(sweep, target)
    content = json.loads(target.read_text())
    content["sweep"] = dict(sorted(content["sweep"].items()))
    target.write_text(json.dumps(dict(sorted(content.items()))))
    assert load(target, sweep)["sum"].shape == (2, 3)
    target.write_text(json.dumps(content, sort_keys=True))  # and now the axes are in another order
    with pytest.raises(ValueError, match="grid = "):
        load(target, sweep)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "[]", "must be a stored sweep"),
        (lambda text: text[:-20], "must be a stored sweep"),
        (lambda text: text.replace('"columns"', '"column"'), "must be a stored sweep"),
        (lambda text: text.replace('"rows": [', '"rows": {}, "old": ['), "must be a stored sweep"),
        (lambda text: text.replace("[11.5, ", "[Infinity, "), "finite numbers or null"),
        (lambda text: text.replace("[11.5, ", "[NaN, "), "finite numbers or null"),
        (lambda text: text.replace("[11.5, ", '["11.5", '), "finite numbers or null"),
        (lambda text: text.replace("[11.5, ", "[true, "), "finite numbers or null"),
        (lambda text: text.replace("[11.5, ", f"[1{'0' * 400}, "), "finite numbers or null"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "must have format 1, got 2"),
        (lambda text: text.replace('"columns": ["sum", ', '"columns": ['), "6 rows of 2 numbers, got shape .6, 3."),
        (lambda text: text.replace('"digits"', '"digit"'), "digits = 4, got null"),
        (lambda text: text.replace('"digits"', '"extra": 1, "digits"'), "got more: .'extra'"),
        (lambda text: text.replace('"sweep": {', '"sweep": 7, "old": {'), 'name = "small-one", got 7'),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, damage: Any, message: str) -> None:
    target = tmp_path / "s.json"
    compute(small(), target)
    target.write_text(damage(target.read_text()))
    with pytest.raises(ValueError, match=message):
        load(target, small())
    target.unlink()
    (tmp_path / "s.json.part").write_text("nonsense\n")
    with pytest.raises(ValueError, match="must be the part file of a sweep"):
        compute(small(), target)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"point": 6, "values": {"x": 1}}', "point must be at most 5, got 6"),
        ('{"point": -1, "values": {"x": 1}}', "point must be an integer >= 0 and <= 5, got -1"),
        ('{"point": 1.5, "values": {"x": 1}}', "point must be an integer"),
        ('{"point": true, "values": {"x": 1}}', "point must be an integer"),
        ('{"point": 1, "values": {"x": Infinity}}', "values must be finite numbers or null"),
        ('{"point": 1, "values": {"x": NaN}}', "values must be finite numbers or null"),
        ('{"point": 1, "values": {"x": "1"}}', "values must be finite numbers or null"),
        ('{"point": 1, "values": [1]}', ""),
    ],
)
def test_damaged_part_files_are_refused(tmp_path: Path, line: str, message: str) -> None:
    part = tmp_path / "s.json.part"
    part.write_text(json.dumps(small().identity) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=rf"s\.json\.part must be the part file of a sweep.*{message}"):
        compute(small(), tmp_path / "s.json")


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m coevo\.sweeps small-one"):
        load(tmp_path / "none.json", small())


def test_the_file_is_small_and_made_of_lines(tmp_path: Path) -> None:
    tie = math.nextafter(0.15625, 1)  # rounds like 0.15625 itself

    def third(rng: np.random.Generator, *, a: int) -> Mapping[str, float]:
        return {"x": 10 * a / 3, "whole": 3.0, "zero": -1e-300 * 1e-300, "big": 123456.0, "tie": tie}

    target = tmp_path / "s.json"
    compute(Sweep("thirds", third, {"a": (1, 2)}, 0, 1), target)
    text = target.read_text()
    assert "\n  [3.333, 3, 0, 123500.0, 0.1562],\n  [6.667, 3, 0, 123500.0, 0.1562]\n" in text


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    target.mkdir()  # a directory cannot be replaced by a file
    with pytest.raises(OSError, match=r"s\.json"):
        compute(small(), target, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.json", "s.json.part"]
    target.rmdir()
    assert compute(small(), target)["sum"].shape == (3, 2)  # the points were not lost


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": "Small One"}, ValueError, "name must be small letters"),
        ({"name": 3}, TypeError, "name must be a str"),
        ({"point": 3}, TypeError, "point must be a function"),
        ({"grid": [1]}, TypeError, "grid must be a Mapping"),
        ({"grid": {}}, ValueError, "grid must have at least one parameter"),
        ({"grid": {"a": "12"}}, TypeError, "must be a sequence of numbers or texts, got '12'"),
        ({"grid": {"a": 3}}, TypeError, "must be a sequence"),
        ({"grid": {"a": (True,)}}, TypeError, "must hold numbers or texts, got True"),
        ({"grid": {"a": (None,)}}, TypeError, "must hold numbers or texts, got None"),
        ({"grid": {"a": (1.0, math.nan)}}, ValueError, "must hold finite numbers, got nan"),
        ({"grid": {"a": (Fraction(10**400),)}}, ValueError, "must hold finite numbers, got inf"),
        ({"grid": {"a": (1, 2**53 + 1)}}, ValueError, r"must hold integers from -2\^53 to 2\^53, got 9007199254740993"),
        ({"grid": {"a": (-(10**400),)}}, ValueError, "must hold integers from"),
        ({"grid": {"a": (1, "1")}}, TypeError, "must hold numbers alone or texts alone, got .1, '1'."),
        ({"grid": {"a": np.array(3)}}, TypeError, "must be a sequence"),
        ({"grid": {"a": ((1, 2), (3,))}}, TypeError, r"must hold numbers or texts, got \(1, 2\)"),
        ({"grid": {"a b": (1, 2)}}, ValueError, "grid must name its parameters by identifiers .*, got 'a b'"),
        ({"grid": {"rng": (1, 2)}}, ValueError, "grid must name its parameters by .* other than 'rng', got 'rng'"),
        ({"fixed": {3: 1}}, ValueError, "fixed must name its parameters by identifiers .*, got 3"),
        ({"fixed": {"rng": 1}}, ValueError, "fixed must name its parameters by identifiers .*, got 'rng'"),
        ({"grid": {"a": ()}}, ValueError, "must hold different values, at least one"),
        ({"grid": {"a": (1, 1.0)}}, ValueError, "must hold different values"),
        ({"fixed": 3}, TypeError, "fixed must be a Mapping"),
        ({"fixed": {"a": 3}}, ValueError, "fixed must not hold parameters of the grid, got 'a'"),
        ({"fixed": {"shift": math.nan}}, ValueError, "fixed must hold what JSON holds exactly"),
        ({"fixed": {"shift": (1, 2)}}, ValueError, "fixed must hold what JSON holds exactly"),
        ({"fixed": {"shift": draw}}, ValueError, "fixed must hold what JSON holds exactly"),
        ({"seed": -1}, ValueError, "seed must be an integer >= 0"),
        ({"version": 0}, ValueError, "version must be an integer >= 1"),
    ],
)
def test_bad_definitions(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small(**change)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (3.0, TypeError, "point's result must be a Mapping"),
        ({}, ValueError, "at least one number"),
        ({1: 2.0}, TypeError, "names of point's result must be a str"),
        ({"x": math.inf}, ValueError, "finite numbers or NaN, got x = inf"),
        ({"x": "1"}, ValueError, "finite numbers or NaN, got x = '1'"),
        ({"x": True}, ValueError, "finite numbers or NaN, got x = True"),
        ({"x": np.True_}, ValueError, "finite numbers or NaN, got x = .*True"),
        ({"x": 10**400}, ValueError, "finite numbers or NaN, got x = 1000"),
    ],
)
def test_bad_results_of_a_point(result: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small(point=lambda rng, **parameters: result).evaluate({"a": 1, "b": 0.5})


def test_names_must_agree_between_points(tmp_path: Path) -> None:
    sweep = small(point=lambda rng, a, b, shift: {f"x{a}": 1.0})
    with pytest.raises(ValueError, match=r"must return .'x1'. everywhere, got .'x2'. at .'a': 2"):
        compute(sweep, tmp_path / "s.json")
    # The points that agree are kept, the one that does not is computed again.
    mended = small(point=lambda rng, a, b, shift: {"x1": a})
    assert compute(mended, tmp_path / "s.json")["x1"].tolist() == [[1, 1], [2, 2], [4, 4]]


def test_bad_arguments(tmp_path: Path) -> None:
    stored = compute(small(), tmp_path / "s.json")
    for call, error, message in (
        (lambda: small().evaluate({"a": 1}), ValueError, "point must give ..a., .b.."),
        (lambda: small().evaluate({"a": 3, "b": 0.5}), ValueError, "a must be one of .1, 2, 4., got 3"),
        (lambda: small().evaluate({"a": True, "b": 0.5}), ValueError, "a must be one of .1, 2, 4., got True"),
        (lambda: small().evaluate({"a": np.ones(2), "b": 0.5}), ValueError, "a must be one of .1, 2, 4., got array"),  # type: ignore[dict-item]
        (lambda: small().evaluate([1]), TypeError, "point must be a Mapping"),  # type: ignore[arg-type]
        (lambda: stored["none"], ValueError, "name must be one of sum, noise, half, got 'none'"),
        (lambda: stored.at(a=1), ValueError, "point must give"),
        (lambda: stored.at(a=1, b=7), ValueError, "b must be one of .0.5, 0.25., got 7"),
        (lambda: load(3, small()), TypeError, "path must be"),  # type: ignore[arg-type]
        (lambda: load(tmp_path / "s.json", 3), TypeError, "sweep must be a Sweep"),  # type: ignore[arg-type]
        (lambda: compute(3, tmp_path / "s.json"), TypeError, "sweep must be a Sweep"),  # type: ignore[arg-type]
        (lambda: compute(small(), tmp_path / "s.json", workers=0), ValueError, "workers must be an integer >= 1"),
        (lambda: compute(small(), tmp_path / "s.json", force=1), TypeError, "force must be a bool"),  # type: ignore[arg-type]
        (
            lambda: compute(small(), tmp_path / "s.json", progress=1),  # type: ignore[arg-type]
            TypeError,
            "progress must be a bool or None, got 1",
        ),
        (lambda: find("none"), ValueError, "name must be one of which-dies-first, got 'none'"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_axes_of_texts_and_of_numpy_numbers(tmp_path: Path) -> None:
    def length(rng: np.random.Generator, *, word: str, k: int) -> Mapping[str, float]:
        return {"x": len(word) + k}

    sweep = Sweep("words", length, {"word": np.array(["one", "three"]), "k": np.array([2**53, -4])}, 0, 1)
    assert sweep.grid == {"word": ("one", "three"), "k": (2**53, -4)}
    assert {type(value) for axis in sweep.grid.values() for value in axis} == {str, int}
    stored = compute(sweep, tmp_path / "s.json", progress=False)
    assert stored.at(word="three", k=-4) == {"x": 1}
    assert stored.at(word=stored.grid["word"][0], k=stored.grid["k"][1]) == {"x": -1}


# ---- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Register one cheap sweep, stored in a directory of its own."""
    monkeypatch.setattr(sweeps, "REGISTERED", {"small-one": f"{__name__}:SMALL"})
    monkeypatch.setattr(sweeps, "DATA", tmp_path)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)(__name__))
    monkeypatch.setattr(sys.modules[__name__], "SMALL", small(), raising=False)
    return tmp_path


def test_the_command_computes_what_is_missing_or_stale(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert capsys.readouterr().out == "small-one: 6 points, version 1, missing\n"
    assert not list(shelf.iterdir())
    main([])
    assert "small-one: written to" in capsys.readouterr().out
    target = shelf / "small-one.json"
    main(["small-one"])
    assert capsys.readouterr().out == "small-one: 6 points, version 1, current\n"
    target.write_text(target.read_text().replace('"version": 1', '"version": 7'))
    main(["--workers", "1"])
    assert "stale\nsmall-one: written" in capsys.readouterr().out
    main(["--force"])
    assert "current\nsmall-one: written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"), [(["none"], "no sweep is called none"), (["--workers", "0"], "must be at least 1, got 0")]
)
def test_the_command_refuses(
    shelf: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_python_m(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sweeps", "--list"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("coevo.sweeps", run_name="__main__")
    assert "which-dies-first: " in capsys.readouterr().out


# ---- what is stored ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sweeps.REGISTERED)
def test_every_registered_sweep_is_stored_and_current(name: str) -> None:
    sweep = find(name)
    assert sweep.name == name
    stored = load(sweeps.DATA / f"{name}.json", sweep)
    assert next(iter(stored.values.values())).shape == sweep.shape
    assert dataclasses.is_dataclass(stored)
    assert (sweeps.DATA / f"{name}.json").stat().st_size < 200_000
