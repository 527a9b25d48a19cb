"""A store of `replicate`: the same numbers after any interruption, and no numbers of other runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import coevo
import coevo.simulation.runs as engine
from coevo.simulation import (
    STATISTICS,
    CorpusInjection,
    ImageModel,
    Replicates,
    State,
    System,
    UserContent,
    circle,
    replicate,
)
from coevo.simulation.store import described

SYSTEM = System(circle(3), 8, 9)
NAMES = ("text_diversity", "image_diversity")


def run(store: Path | None, system: System = SYSTEM, **change: Any) -> Replicates:
    arguments: dict[str, Any] = {"steps": 4, "runs": 700, "rng": 3, "statistics": NAMES, "quantiles": [0.1, 0.5]}
    arguments |= change
    return replicate(system, arguments.pop("steps"), arguments.pop("runs"), store=store, **arguments)


def assert_same(one: Replicates, two: Replicates) -> None:
    assert one.runs == two.runs
    assert one.t.tobytes() == two.t.tobytes()
    assert one.levels.tobytes() == two.levels.tobytes()
    for field in ("mean", "standard_error", "skewness", "quantile"):
        left, right = getattr(one, field), getattr(two, field)
        assert list(left) == list(right)
        for name in left:
            assert left[name].tobytes() == right[name].tobytes(), (field, name)
            assert left[name].shape == right[name].shape


def names(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir())


class Stops:
    """A statistic that is interrupted in the calls of the numbers given."""

    def __init__(self, *numbers: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.numbers, self.error, self.calls = numbers, error, 0

    def __call__(self, state: State) -> Any:
        self.calls += 1
        if self.calls in self.numbers:
            raise self.error("in the middle")
        return state.p[:, 0]


def half(store: Path, *numbers: int, error: type[BaseException] = KeyboardInterrupt, **change: Any) -> None:
    """Interrupt a call in the middle of its second block (6 calls a block, and one for the identity)."""
    with pytest.raises(error):
        run(store, statistics={"own": Stops(*(numbers or (9,)), error=error)}, **change)


@pytest.mark.parametrize("quantiles", [[], [0.0, 0.3, 1.0]])
@pytest.mark.parametrize("slab", [1, 2**25])
def test_a_store_changes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantiles: list[float], slab: int
) -> None:
    whole = run(None, quantiles=quantiles, statistics=tuple(STATISTICS))
    monkeypatch.setattr(engine, "SLAB", slab)
    store = tmp_path / "deeper" / "s"
    assert_same(run(None, quantiles=quantiles, statistics=tuple(STATISTICS)), whole)
    assert_same(run(store, quantiles=quantiles, statistics=tuple(STATISTICS)), whole)
    assert names(store) == ["lock", "result.npz"]
    monkeypatch.setattr(engine, "macro_step", None)  # nothing is computed any more
    assert_same(run(store, quantiles=quantiles, statistics=tuple(STATISTICS)), whole)
    assert_same(run(str(store), quantiles=quantiles, statistics=tuple(STATISTICS), workers=2), whole)  # type: ignore[arg-type]
    backwards = run(store, quantiles=quantiles, statistics=tuple(STATISTICS)[::-1])
    assert list(backwards.mean) == list(whole.mean)[::-1]


def test_the_result_says_where_it_comes_from(tmp_path: Path) -> None:
    run(tmp_path)
    with np.load(tmp_path / "result.npz") as content:
        about = json.loads(str(content["about"]))
    assert about["versions"].keys() == {"coevo", "numpy", "scipy", "python"}
    identity = about["identity"]
    assert identity["seed"] == {"entropy": 3, "spawn_key": [], "pool_size": 4}
    assert (identity["steps"], identity["runs"], identity["quantiles"]) == (4, 700, [0.1, 0.5])
    assert identity["system"]["text_samples"] == 8
    assert identity["system"]["initial"]["p"] == SYSTEM.initial.p.tolist()
    assert identity["statistics"] == {name: name for name in NAMES}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("quantiles", [[], [0.5]])
def test_an_interrupted_call_goes_on(tmp_path: Path, error: type[BaseException], quantiles: list[float]) -> None:
    statistic = Stops()
    whole = run(None, statistics={"own": statistic}, quantiles=quantiles)
    assert statistic.calls == 3 * 5
    statistic = Stops(9, 17, error=error)  # in the middle of the second block, twice
    for finished in (1, 2):
        with pytest.raises(error, match="in the middle"):
            run(tmp_path, statistics={"own": statistic}, quantiles=quantiles)
        blocks = [name for name in names(tmp_path) if name.endswith(".npz")]
        assert blocks == [f"block-{index:06}.npz" for index in range(finished)]
    assert_same(run(tmp_path, statistics={"own": statistic}, quantiles=quantiles), whole)
    # One call for the identity each time; of the blocks, nothing that was finished is computed again.
    assert statistic.calls == 3 + (5 + 3) + (5 + 2) + 5


CHILD = """
import sys, time
import coevo.simulation.runs as engine
from coevo.simulation import System, circle, replicate

def own(state):
    time.sleep(0.02)
    return state.p[:, 0]

if __name__ == "__main__":
    workers = int(sys.argv[2])
    replicate(System(circle(3), 8, 9), 4, 2000, rng=3, statistics={"own": own}, quantiles=[0.1, 0.5],
              workers=workers, store=sys.argv[1])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_call_goes_on(tmp_path: Path, workers: int) -> None:
    store, script = tmp_path / "s", tmp_path / "child.py"
    script.write_text(CHILD)
    process = subprocess.Popen([sys.executable, str(script), str(store), str(workers)])
    until = time.monotonic() + 60
    while len(list(store.glob("block-*.npz"))) < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    finished = len(list(store.glob("block-*.npz")))
    assert 2 <= finished < 8
    statistic, alone = Stops(), Stops()
    arguments: dict[str, Any] = {"runs": 2000, "statistics": {"own": statistic}}
    found = run(store, **arguments)
    assert statistic.calls == 1 + 5 * (8 - finished)
    assert_same(found, run(None, **(arguments | {"statistics": {"own": alone}})))
    assert names(store) == ["lock", "result.npz"]


def other(**change: Any) -> System:
    state = State.create([0.2, 0.3, 0.5], np.eye(3, 2), np.eye(2))
    return System(**({"initial": state, "text_samples": 8, "image_samples": 9} | change))


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 5}, "runs with steps = 5, got 4; times = .*; finish that one, or remove the directory, or choose"),
        ({"times": [0, 1]}, r"times = \[0, 1\], got \[0, 1, 2, 3, 4\]"),
        ({"runs": 701}, "runs = 701, got 700"),
        ({"rng": 4}, "seed.entropy = 4, got 3"),
        ({"rng": np.random.SeedSequence([3, 4], spawn_key=(1,))}, r"seed.entropy = \[3, 4\], got 3; seed.spawn_key"),
        ({"rng": np.random.default_rng(3)}, r"seed.spawn_key = \[[01]\], got \[\]"),
        ({"quantiles": [0.5]}, r"quantiles = \[0.5\], got \[0.1, 0.5\]"),
        ({"quantiles": []}, r"quantiles = \[\], got"),
        ({"statistics": NAMES}, 'statistics.image_diversity = "image_diversity", got null'),
        ({"statistics": {"own": lambda state: state.p[:, 1]}}, 'statistics.own = ".*", got "'),
        ({"compiled": True}, "compiled = true, got false"),
        ({"system": other(text_samples=7)}, "system.text_samples = 7, got 8"),
        ({"system": other(image_samples=7)}, "system.image_samples = 7, got 9"),
        ({"system": other(text_updates=2)}, "system.text_updates = 2, got 1"),
        ({"system": other(image_updates=2)}, "system.image_updates = 2, got 1"),
        ({"system": other(initial=circle(3))}, "system.initial.p = .* and 1 more"),
        ({"system": other(corpus=CorpusInjection(0.5, 0.5, [0, 0], np.eye(2)))}, "system.corpus = .*, got null"),
        ({"system": other(user=UserContent(3))}, "system.user = .*, got null"),
    ],
)
def test_other_runs_are_refused(tmp_path: Path, finished: bool, change: dict[str, Any], message: str) -> None:
    if change.get("compiled"):
        pytest.importorskip("numba")
    if finished:
        run(tmp_path, other(), statistics={"own": Stops()})
    else:
        half(tmp_path, system=other())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **({"system": other(), "statistics": {"own": Stops()}} | change))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(coevo, "__version__", "0.0.1")
        with pytest.raises(ValueError, match=r'coevo = "0\.0\.1", got '):
            run(tmp_path, statistics={"own": Stops()})
    with monkeypatch.context() as patch:
        patch.setattr(engine, "BLOCK", 128)
        with pytest.raises(ValueError, match="block = 128, got 256"):
            run(tmp_path, statistics={"own": Stops()})
    with monkeypatch.context() as patch:
        patch.setattr(np, "__version__", "3.0.0")
        with pytest.raises(ValueError, match=r'numpy = "3\.0\.0", got '):
            run(tmp_path, statistics={"own": Stops()})
    found = run(tmp_path, statistics={"own": Stops()})
    monkeypatch.setattr(np, "__version__", "3.0.0")  # what is finished is what it is
    assert_same(run(tmp_path, statistics={"own": Stops()}), found)


def test_every_number_of_a_system_counts() -> None:
    law, pool = stats.poisson(3), np.arange(6.0).reshape(3, 2)
    corpora = [
        CorpusInjection(0.5, 0.1, [0.0, 0.0], np.eye(2), 0.2 * np.eye(2)),
        CorpusInjection(0.4, 0.1, [0.0, 0.0], np.eye(2), 0.2 * np.eye(2)),
        CorpusInjection(0.5, 0.2, [0.0, 0.0], np.eye(2), 0.2 * np.eye(2)),
        CorpusInjection(0.5, 0.1, [0.0, 0.1], np.eye(2), 0.2 * np.eye(2)),
        CorpusInjection(0.5, 0.1, [0.0, 0.0], 2 * np.eye(2), 0.2 * np.eye(2)),
        CorpusInjection(0.5, 0.1, [0.0, 0.0], np.eye(2), 0.3 * np.eye(2)),
        CorpusInjection(0.5, 0.1, [0.0, 0.0], np.eye(2)),
    ]
    users = [
        UserContent(2),
        UserContent(3),
        UserContent(law),
        UserContent(stats.poisson(3.5)),
        UserContent(stats.binom(1, 0.5)),
        UserContent(stats.bernoulli(0.5)),  # the same law, drawn otherwise
        UserContent(stats.rv_discrete(values=([1, 2], [0.5, 0.5]))),
        UserContent(stats.rv_discrete(values=([1, 2], [0.4, 0.6]))),
        UserContent(2, [0.0, 0.0]),
        UserContent(2, [0.0, 1.0], np.eye(2)),
        UserContent(2, [0.0, 1.0], 2 * np.eye(2)),
        UserContent(2, images=pool),
        UserContent(2, images=pool + 1e-12),
        UserContent(2, images=[pool, pool, pool]),
    ]
    image = circle(3).images
    states = [
        circle(3),
        circle(3, runs=2),
        State(circle(3).p, image, ImageModel(image.mean + 1, image.unit, image.log_scale)),
        State(circle(3).p, ImageModel(image.mean, 2 * image.unit, image.log_scale), image),
        State(circle(3).p, ImageModel(image.mean, image.unit, image.log_scale - np.inf), image),
        *(State(circle(3, runs=200).p + shift, image, image) for shift in (0, 1e-16)),
    ]
    systems = [other(corpus=c) for c in corpora] + [other(user=u) for u in users] + [other(initial=s) for s in states]
    texts = [json.dumps(described(system)) for system in systems]
    assert len(set(texts)) == len(texts)
    assert described(other(user=UserContent(stats.poisson(3)))) == described(other(user=UserContent(law)))
    assert described(np.float64(2.5)) == 2.5


def test_a_store_must_be_a_directory_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"store must be a new or empty directory.*, which holds 'notes\.txt'"):
        run(tmp_path)
    with pytest.raises(ValueError, match=r"store must be a directory, got the file .*notes\.txt"):
        run(tmp_path / "notes.txt")
    with pytest.raises(TypeError, match="store must be a PathLike, got 3"):
        run(3)  # type: ignore[arg-type]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def cast(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float32))


def turn(path: Path) -> None:
    np.save(path, np.load(path).T)


def narrow(path: Path) -> None:
    with np.load(path) as content:
        arrays: dict[str, Any] = {key: content[key][:-1] for key in content.files}
    np.savez(path, **arrays)


def rename(path: Path) -> None:
    with np.load(path) as content:
        arrays: dict[str, Any] = {f"x{key}": content[key] for key in content.files}
    np.savez(path, **arrays)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage", "why"),
    [
        ("block-000000.npz", shorten, "BadZipFile"),
        ("block-000000.npz", flip, "BadZipFile"),
        ("block-000000.npz", narrow, r"moments of own must be float64 of shape \(5,\), got float64 of shape \(4,\)"),
        ("block-000000.npz", rename, "KeyError"),
        ("block-000000.npz", lambda path: path.write_bytes(b""), "EOFError"),
        ("block-000000-0.npy", shorten, "ValueError"),
        ("block-000000-0.npy", turn, r"values of own must be float64 of shape \(5, 256\), got .* \(256, 5\)"),
        ("block-000000-0.npy", cast, "got float32"),
        ("block-000000-0.npy", lambda path: path.unlink(), "FileNotFoundError"),
        ("block-000000-0.npy", lambda path: path.write_text("nonsense"), "ValueError"),
    ],
)
def test_a_damaged_block_is_computed_again(tmp_path: Path, name: str, damage: Callable[[Path], Any], why: str) -> None:
    whole = run(None, statistics={"own": Stops()})
    half(tmp_path)
    damage(tmp_path / name)
    statistic = Stops()
    with pytest.warns(UserWarning, match=rf"block-000000\.npz is damaged and computed again: .*{why}"):
        found = run(tmp_path, statistics={"own": statistic})
    assert statistic.calls == 1 + 3 * 5
    assert_same(found, whole)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"identity": {}}', "\xff"])
def test_a_store_that_does_not_say_whose_it_is_is_refused(tmp_path: Path, text: str) -> None:
    half(tmp_path)
    (tmp_path / "runs.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"runs\.json must say what the store belongs to|must belong to runs with"):
        run(tmp_path, statistics={"own": Stops()})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shorten, "must be a result that replicate wrote, got BadZipFile"),
        (flip, "must be a result that replicate wrote, got "),
        (rename, "must be a result that replicate wrote, got KeyError"),
        (lambda path: path.write_bytes(b""), "must be a result that replicate wrote, got EOFError"),
    ],
)
def test_a_damaged_result_is_refused(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    run(tmp_path)
    damage(tmp_path / "result.npz")
    with pytest.raises(ValueError, match=rf"result\.npz {message}.*; remove it to compute it again"):
        run(tmp_path)
    (tmp_path / "result.npz").unlink()
    assert_same(run(tmp_path), run(None))


@pytest.mark.parametrize("key", ["t", "levels", "mean/text_diversity", "quantile/image_diversity"])
def test_a_result_of_other_shapes_is_refused(tmp_path: Path, key: str) -> None:
    run(tmp_path)
    with np.load(tmp_path / "result.npz") as content:
        arrays: dict[str, Any] = {name: content[name] for name in content.files}
    for changed in (arrays | {key: arrays[key][:-1]}, {name: arrays[name] for name in arrays if name != key}):
        np.savez(tmp_path / "result.npz", **changed)
        with pytest.raises(ValueError, match=r"result\.npz must hold arrays of shapes .*; remove it to compute"):
            run(tmp_path)


def test_what_a_kill_leaves_lying_is_cleared_away(tmp_path: Path) -> None:
    half(tmp_path)
    (tmp_path / "block-000001.npz.new").write_text("half written")
    rest = (tmp_path / "block-000000.npz").read_bytes()
    found = run(tmp_path, statistics={"own": Stops()})
    (tmp_path / "block-000000.npz").write_bytes(rest)  # killed between the result and the end
    assert_same(run(tmp_path, statistics={"own": Stops()}), found)
    assert names(tmp_path) == ["lock", "result.npz"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="no space left"):
            run(tmp_path, quantiles=[])
    assert names(tmp_path) == ["lock", "runs.json"]
    assert_same(run(tmp_path, quantiles=[]), run(None, quantiles=[]))


def test_only_one_process_computes_a_store(tmp_path: Path) -> None:
    tried = []

    def second(state: State) -> Any:
        if (tmp_path / "runs.json").exists() and not tried:
            tried.append(True)
            with pytest.raises(RuntimeError, match="is being computed by another process; wait for it or choose"):
                run(tmp_path, statistics={"own": Stops()})
        return state.p[:, 0]

    assert_same(run(tmp_path, statistics={"own": second}), run(None, statistics={"own": Stops()}))
    assert tried


def test_a_store_that_was_finished_meanwhile_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "s")
    away = (tmp_path / "s/result.npz").rename(tmp_path / "away")

    def late(*_: Any) -> None:
        away.rename(tmp_path / "s/result.npz")

    import fcntl

    monkeypatch.setattr(fcntl, "flock", late)
    monkeypatch.setattr(engine, "macro_step", None)
    assert run(tmp_path / "s").runs == 700


def test_blocks_that_grow_apart_have_no_statistic_per_text(tmp_path: Path) -> None:
    system = System(circle(2), 5, 6, corpus=CorpusInjection(0.05, 0.1, [0.0, 0.0], np.eye(2)))
    with pytest.raises(ValueError, match=r"statistics\['fidelity'\] must keep its shape \(3,\) .* got \(2,\)"):
        run(tmp_path, system, steps=1, runs=257, times=[1], statistics=["fidelity"])


def test_the_bar_begins_with_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half(tmp_path)
    run(tmp_path, statistics={"own": Stops()}, progress=True)
    shown = capsys.readouterr().err
    assert "1.02k/2.80k" in shown.split("\r")[1]  # 256 of 700 runs, 4 steps each
    assert "2.80k/2.80k" in shown


def peak(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    call()
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return top


def test_memory_does_not_grow_with_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SLAB", 2**15)
    system = System(State.create([1.0], [[0.0]], [[1.0]]), 1, 2, text_updates=0)

    def measured(store: Path | None, steps: int, runs: int) -> int:
        own = {"own": lambda state: state.mean[:, 0, 0]}
        place = store and store / f"{steps}-{runs}"
        return peak(lambda: replicate(system, steps, runs, rng=1, statistics=own, quantiles=[0.5], store=place))

    measured(tmp_path / "warm", 2, 3)
    few, many, long = (measured(tmp_path / "s", steps, runs) for steps, runs in ((20, 512), (20, 1536), (80, 1536)))
    # More runs: little but their seeds; in memory their values would take 21 * 1024 * 8 bytes = 172 kB.
    assert many < few + 100_000
    # More steps: the values of one block, and no more than that besides; in memory, those of six.
    more = 60 * 8 * 256 * 2
    assert long < many + more
    # Without a store: 8 bytes for each run and time, once, besides the blocks.
    whole = 81 * 1536 * 8
    assert whole < measured(None, 80, 1536) < whole + many + more
    assert (tmp_path / "s/80-1536/result.npz").stat().st_size < 20_000
