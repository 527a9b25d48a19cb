"""The same numbers from this process, from processes, from threads and from a Dask cluster, in whatever order."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pytest
from scipy import stats

from coevo import _parallel, sweeps
from coevo.simulation import (
    STATISTICS,
    CorpusInjection,
    Replicates,
    State,
    System,
    UserContent,
    circle,
    replicate,
    simulate,
)
from coevo.sweeps import Sweep, compute


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are compared to the last byte, and hold the date."""
    day = SimpleNamespace(isoformat=lambda: "2026-01-02")
    monkeypatch.setattr(sweeps, "datetime", SimpleNamespace(date=SimpleNamespace(today=lambda: day)))


Way = Callable[[], tuple[contextlib.AbstractContextManager[Any], int | None]]

#: Name -> context in which a call is made, and its `workers`.
WAYS: dict[str, Way] = {
    "here": lambda: (contextlib.nullcontext(), None),
    "one": lambda: (contextlib.nullcontext(), 1),
    "two": lambda: (contextlib.nullcontext(), 2),
    "configured": lambda: (joblib.parallel_config(backend="loky", n_jobs=2), None),
    "threads": lambda: (joblib.parallel_config(backend="threading", n_jobs=3), None),
    "dask": lambda: (joblib.parallel_config(backend="dask"), None),
    "four": lambda: (contextlib.nullcontext(), 4),  # last: another number of processes is begun anew
}
#: One of each kind.
KINDS = ("here", "two", "threads", "dask")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        yield


def through(way: str, call: Callable[..., Any]) -> Any:
    context, workers = WAYS[way]()
    with context:
        return call(workers=workers)


def assert_same(one: Replicates, two: Replicates) -> None:
    assert one.runs == two.runs
    for field in ("mean", "standard_error", "skewness", "quantile"):
        left, right = getattr(one, field), getattr(two, field)
        assert list(left) == list(right)
        for name in left:
            assert left[name].dtype == right[name].dtype
            assert left[name].shape == right[name].shape
            assert left[name].tobytes() == right[name].tobytes(), (field, name)


OWN = {"own": lambda state: state.p @ np.arange(state.n_texts), "two": lambda state: state.p[:, :2] ** 2}
CORPUS = CorpusInjection(0.3, 0.2, [0.0, 0.0], np.eye(2))
SYSTEMS: dict[str, tuple[System, dict[str, Any]]] = {
    "own statistics": (System(circle(3), 8, 9), {"statistics": OWN, "times": [0, 3], "quantiles": [0.9]}),
    "growing": (System(circle(3), 8, 9, corpus=CORPUS), {"statistics": ["text_diversity"]}),
    "random numbers of images": (System(circle(3), 8, 9, user=UserContent(stats.poisson(2))), {"times": [1, 3]}),
    "own beginnings": (System(circle(2, runs=600), 8, 9), {"quantiles": [0.5]}),
    "plain": (System(circle(3), 8, 9), {"statistics": tuple(STATISTICS), "quantiles": [0.1, 0.5]}),
}


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", SYSTEMS)
def test_replicates_are_the_same_wherever_they_are_computed(tmp_path: Path, name: str) -> None:
    system, options = SYSTEMS[name]
    here = replicate(system, 3, 600, rng=5, **options)
    for way in WAYS if name == "plain" else KINDS:
        assert_same(here, through(way, lambda workers: replicate(system, 3, 600, rng=5, workers=workers, **options)))
        store = tmp_path / way
        for _ in range(2):  # computed, and read
            found = through(
                way,
                lambda workers, store=store: replicate(system, 3, 600, rng=5, workers=workers, store=store, **options),
            )
            assert_same(here, found)
            assert {path.name for path in store.iterdir()} == {"lock", "result.npz"}


@pytest.mark.usefixtures("cluster")
def test_sweeps_are_the_same_wherever_they_are_computed(tmp_path: Path) -> None:
    def draw(rng: np.random.Generator, *, a: int, b: float) -> Mapping[str, float]:
        return {"sum": a + b, "noise": float(rng.standard_normal())}

    sweep = Sweep("small", draw, {"a": tuple(range(5)), "b": (0.5, 0.25)}, 3, 1)
    compute(sweep, tmp_path / "here")
    for way in KINDS:
        through(way, lambda workers, way=way: compute(sweep, tmp_path / f"to-{way}", workers=workers))
        assert (tmp_path / f"to-{way}").read_bytes() == (tmp_path / "here").read_bytes()


def backwards(function: Callable[..., Any], tasks: Any, workers: Any) -> Iterator[Any]:
    yield from [(key, function(*arguments)) for key, arguments in tasks][::-1]


@pytest.mark.parametrize("kept", [False, True])
def test_the_order_in_which_blocks_end_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    system = System(circle(3), 8, 9)
    options: dict[str, Any] = {"rng": 5, "statistics": tuple(STATISTICS), "quantiles": [0.1, 0.5]}
    here = replicate(system, 3, 1100, **options)
    monkeypatch.setattr(_parallel, "unordered", backwards)
    assert_same(here, replicate(system, 3, 1100, store=tmp_path / "s" if kept else None, **options))


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("way", KINDS)
def test_an_exception_reaches_the_caller_and_what_was_finished_stays(tmp_path: Path, way: str) -> None:
    part = tmp_path / "s.json.part"

    def fails(rng: np.random.Generator, *, a: int, mended: bool, part: str) -> Mapping[str, float]:
        if a == 4 and not mended:
            until = time.monotonic() + 30
            while len(Path(part).read_text().splitlines()) < 1 + 4 and time.monotonic() < until:
                time.sleep(0.01)
            raise KeyError(f"nothing at {a}")
        return {"x": a}

    def sweep(mended: bool, fails: Any = fails) -> Sweep:
        point = lambda rng, a, part: fails(rng, a=a, mended=mended, part=part)  # noqa: E731
        return Sweep("fails", point, {"a": (0, 1, 2, 3, 4)}, 0, 1, {"part": str(part)})

    with pytest.raises(KeyError, match="nothing at 4") as caught:
        through(way, lambda workers: compute(sweep(False), tmp_path / "s.json", workers=workers))
    where = "".join(getattr(caught.value, "__notes__", [])) + str([entry.name for entry in caught.traceback])
    assert "fails" in where
    assert len(part.read_text().splitlines()) == 1 + 4
    assert compute(sweep(True), tmp_path / "s.json")["x"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("way", KINDS)
def test_any_exception_comes_with_its_name_and_message(way: str) -> None:
    class Stubborn(Exception):
        """An exception that pickle does not give back."""

        def __init__(self, first: str, second: str) -> None:
            super().__init__(f"{first} and {second}")

    def fails(state: State) -> Any:
        raise Stubborn("this", "that")

    with pytest.raises((Stubborn, RuntimeError), match="this and that") as caught:
        through(
            way,
            lambda workers: replicate(System(circle(2), 5, 6), 1, 600, rng=1, statistics={"x": fails}, workers=workers),
        )
    assert caught.type is Stubborn or str(caught.value) == "Stubborn: this and that"
    assert caught.type is Stubborn or way != "here"


def test_what_cannot_be_pickled_becomes_a_runtime_error() -> None:
    class Local(Exception):
        def __reduce__(self) -> Any:
            raise TypeError("stays here")

    assert repr(_parallel._portable(Local("why"))) == "RuntimeError('Local: why')"
    assert _parallel._portable(ValueError("why")).args == ("why",)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("way", KINDS)
def test_results_may_be_left(way: str) -> None:
    """No warning that the tasks under way are given up, and the next call finds everything in order."""
    context, workers = WAYS[way]()
    tasks = [(key, (key,)) for key in range(40)]
    with context:
        with contextlib.closing(_parallel.unordered(lambda key: 2 * key, tasks, workers)) as results:
            key, result = next(results)
            assert result == 2 * key
        assert dict(_parallel.unordered(lambda key: 2 * key, tasks, workers)) == {key: 2 * key for key in range(40)}


@pytest.mark.usefixtures("cluster")
def test_where_tasks_run() -> None:
    def processes(workers: int | None) -> set[int]:
        return {pid for _, pid in _parallel.unordered(os.getpid, [(key, ()) for key in range(20)], workers)}

    here = {os.getpid()}
    for way in WAYS:
        assert (through(way, processes) == here) == (way in ("here", "one", "threads"))
        assert through(way, lambda workers: _parallel.is_serial(workers)) == (way in ("here", "one"))
    with joblib.parallel_config(backend="dask"):  # a number means processes of this machine, whatever is configured
        assert processes(1) == here
        assert processes(2).isdisjoint(here | through("dask", processes))


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("way", KINDS)
def test_the_bar_counts_steps_of_runs(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    through(way, lambda workers: replicate(System(circle(2), 5, 6), 5, 600, rng=1, workers=workers, progress=True))
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "3.00k/3.00k" in shown
    assert "step/s" in shown
    simulate(System(circle(2), 5, 6), 5, 600, rng=1, progress=True)
    assert "3.00k/3.00k" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("workers", "error", "message"),
    [
        (0, ValueError, "workers must be an integer >= 1, got 0"),
        (-1, ValueError, "workers must be an integer >= 1, got -1"),
        (True, TypeError, "workers must be an integer >= 1, got True"),
        ("2", TypeError, "workers must be an integer >= 1, got '2'"),
    ],
)
def test_bad_workers(tmp_path: Path, workers: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replicate(System(circle(2), 5, 6), 1, 2, rng=1, workers=workers)
    with pytest.raises(error, match=message):
        compute(Sweep("s", lambda rng, a: {"x": a}, {"a": (1,)}, 0, 1), tmp_path / "s.json", workers=workers)
