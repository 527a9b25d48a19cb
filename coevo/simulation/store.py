"""Where the finished blocks of many runs are kept until all are there: in memory, or in a directory.

A directory holds `runs.json`, what the numbers depend on; then for each finished block its moments and, where quantiles
are wanted, the values behind them; and in the end `result.npz` alone. Each file is written under another name, brought
to the disk and renamed, so a file that is there is whole. A file that is damaged all the same is computed again: the
numbers of a block follow from the seed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy

import coevo
from coevo import _validation as check
from coevo._validation import Array
from coevo.simulation.moments import Block, Moments, check_shape, merged

__all__ = ["Memory", "Plan", "Store", "described", "opened"]

_FORMAT = 1

#: Arrays of at most so many numbers are described by their numbers, larger ones by a digest.
_SHOWN = 100

_REMEDY = "finish that one, or remove the directory, or choose another store"


@dataclass(frozen=True)
class Plan:
    """What is to be kept: the runs of each block, how many times, the names of the statistics, levels of quantiles."""

    sizes: tuple[int, ...]
    times: int
    names: tuple[str, ...]
    levels: int


class Memory:
    """Finished blocks, held in memory: their moments merged, the values behind them only if quantiles are wanted."""

    def __init__(self, plan: Plan) -> None:
        self.todo = list(range(len(plan.sizes)))
        self._plan = plan
        self._next = 0
        self._waiting: dict[int, Block] = {}
        self._moments: dict[str, Moments] = {}
        self._values: dict[str, Array] = {}

    def add(self, index: int, block: Block) -> None:
        """Take a block; blocks may come in any order and are merged in theirs."""
        self._waiting[index] = block
        while self._next in self._waiting:
            found = self._waiting.pop(self._next)
            self._moments = merged(self._moments, found.moments) if self._next else found.moments
            start, size = sum(self._plan.sizes[: self._next]), self._plan.sizes[self._next]
            for name, values in found.values.items():
                if not self._next:
                    self._values[name] = np.empty((self._plan.times, sum(self._plan.sizes), *values.shape[2:]))
                self._values[name][:, start : start + size] = values
            self._next += 1

    def moments(self) -> dict[str, Moments]:
        """Moments over all blocks."""
        return self._moments

    def slab(self, name: str, start: int, stop: int) -> Array:
        """Values (stop - start, R, ...) of a statistic at some of the times."""
        return self._values[name][start:stop]


class Store:
    """Finished blocks, kept in a directory. Made by `opened`."""

    def __init__(self, directory: Path, plan: Plan, identity: Any) -> None:
        self._directory, self._plan, self._identity = directory, plan, identity
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.result: dict[str, Any] | None = None
        self.todo: list[int] = []
        if (directory / "result.npz").exists():
            self.result = self._finished()
            self._tidy("block-*", "runs.json")

    def begin(self) -> None:
        """See what is there, and write what the numbers depend on if nothing is; the directory must be locked."""
        self._tidy("*.new")
        head = self._directory / "runs.json"
        about = {"format": _FORMAT, "identity": self._identity, "versions": _versions()}
        if head.exists():
            try:
                found = json.loads(head.read_text(encoding="utf-8"))
                _require_same(self._directory, found["identity"], self._identity)
                # Another numpy may round or draw otherwise, and the blocks would not fit together.
                for name in ("numpy", "scipy"):
                    _require_same(self._directory, found["versions"][name], about["versions"][name], name)
            except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"{head} must say what the store belongs to, got {error!r}; {_REMEDY}") from error
        else:
            if strange := sorted({path.name for path in self._directory.iterdir()} - {"lock"}):
                raise ValueError(
                    "store must be a new or empty directory, or one that replicate has begun, "
                    f"got {self._directory}, which holds {strange[0]!r}"
                )
            _write(head, lambda file: file.write(json.dumps(about, indent=1).encode()))
        self.todo = [index for index in range(len(self._plan.sizes)) if not self._whole(index)]

    def add(self, index: int, block: Block) -> None:
        """Write a block."""
        for name, shape in block.shapes().items():
            check_shape(name, self._shapes.setdefault(name, shape), shape)
        for k, values in enumerate(block.values[name] for name in self._plan.names if block.values):
            _write(self._file(index, k), lambda file, values=values: np.save(file, values))  # type: ignore[misc]
        arrays: dict[str, Any] = {
            f"{field}/{name}": getattr(moments, field)
            for name, moments in block.moments.items()
            for field in ("mean", "spread", "skewness")
        }
        _write(self._file(index), lambda file: np.savez(file, **arrays))  # last: it says that the block is finished

    def moments(self) -> dict[str, Moments]:
        """Moments over all blocks, merged in their order."""
        total = self._read(0)
        for index in range(1, len(self._plan.sizes)):
            total = merged(total, self._read(index))
        return total

    def slab(self, name: str, start: int, stop: int) -> Array:
        """Values (stop - start, R, ...) of a statistic at some of the times."""
        slab = np.empty((stop - start, sum(self._plan.sizes), *self._shapes[name]))
        first = 0
        for index, size in enumerate(self._plan.sizes):
            # One file at a time: each that is mapped holds a file descriptor.
            values = np.load(self._file(index, self._plan.names.index(name)), mmap_mode="r")
            slab[:, first : first + size] = values[start:stop]
            first += size
        return slab

    def finish(self, arrays: Mapping[str, Any]) -> None:
        """Write the result and remove the blocks."""
        about = json.dumps({"format": _FORMAT, "identity": self._identity, "versions": _versions()})
        _write(self._directory / "result.npz", lambda file: np.savez(file, about=np.array(about), **arrays))
        self._tidy("block-*", "runs.json")

    def _finished(self) -> dict[str, Any]:
        """Read the result."""
        file = self._directory / "result.npz"
        try:
            with file.open("rb") as opened_file, np.load(opened_file) as content:
                arrays = {key: content[key] for key in content.files}
            found = json.loads(str(arrays.pop("about")))["identity"]
        except Exception as error:  # whatever numpy and zipfile make of a damaged file
            raise ValueError(
                f"{file} must be a result that replicate wrote, got {error!r}; remove it to compute it again"
            ) from error
        _require_same(self._directory, found, self._identity)
        got = {key: array.shape for key, array in arrays.items()}
        wanted: dict[str, tuple[int, ...]] = {"t": (self._plan.times,), "levels": (self._plan.levels,)}
        for name in self._plan.names:
            shape = (self._plan.times, *got.get(f"mean/{name}", ())[1:])
            wanted |= {f"{field}/{name}": shape for field in ("mean", "standard_error", "skewness")}
            if self._plan.levels:
                wanted[f"quantile/{name}"] = (self._plan.levels, *shape)
        if got != wanted:
            raise ValueError(f"{file} must hold arrays of shapes {wanted}, got {got}; remove it to compute it again")
        return arrays

    def _whole(self, index: int) -> bool:
        """Whether a block is there; damaged, it is announced and not there."""
        if not self._file(index).exists():
            return False
        try:
            for k, (name, moments) in enumerate(self._read(index).items()):
                shape = moments.mean.shape[1:]
                if self._plan.levels:
                    values = np.load(self._file(index, k), mmap_mode="r")
                    _require_array(f"values of {name}", values, (self._plan.times, self._plan.sizes[index], *shape))
                check_shape(name, self._shapes.setdefault(name, shape), shape)
        except Exception as error:  # whatever numpy and zipfile make of a damaged file
            warnings.warn(f"{self._file(index)} is damaged and computed again: {error!r}", stacklevel=2)
            return False
        return True

    def _read(self, index: int) -> dict[str, Moments]:
        """Read the moments of a block."""
        moments = {}
        # Opened here, because numpy leaves the file of a damaged archive open.
        with self._file(index).open("rb") as file, np.load(file) as content:
            for name in self._plan.names:
                mean, spread, skewness = (content[f"{field}/{name}"] for field in ("mean", "spread", "skewness"))
                for array in (mean, spread, skewness):
                    _require_array(f"moments of {name}", array, (self._plan.times, *mean.shape[1:]))
                moments[name] = Moments(self._plan.sizes[index], mean, spread, skewness)
        return moments

    def _file(self, index: int, k: int | None = None) -> Path:
        """File of the moments of a block, or of the values of its k-th statistic."""
        return self._directory / (f"block-{index:06}.npz" if k is None else f"block-{index:06}-{k}.npy")

    def _tidy(self, *patterns: str) -> None:
        for pattern in patterns:
            for path in self._directory.glob(pattern):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], plan: Plan, identity: Any) -> Iterator[Store]:
    """Open a store; unless it is finished, no other process may have it open.

    Parameters
    ----------
    path : directory, made if it is missing
    plan : Plan
    identity : all that the numbers depend on, as JSON holds it

    Yields
    ------
    Store, with its `result` if it is finished, and else with the blocks that are `todo`

    Raises
    ------
    ValueError
        If the directory holds something else, or its result is damaged.
    RuntimeError
        If another process is computing it.
    """
    directory = Path(path if isinstance(path, str) else check.instance("store", path, os.PathLike))
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"store must be a directory, got the file {directory}")
    directory.mkdir(parents=True, exist_ok=True)
    identity = json.loads(json.dumps(identity))
    store = Store(directory, plan, identity)
    if store.result is not None:
        yield store
        return
    with _locked(directory):
        store = Store(directory, plan, identity)  # again: it may have been finished meanwhile
        if store.result is None:
            store.begin()
        yield store


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory; the system gives it back when the process ends, however it ends."""
    import fcntl

    with (directory / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"{directory} is being computed by another process; wait for it or choose another store"
            ) from None
        yield


def described(value: Any) -> Any:
    """Return what JSON can hold of a value, such that what differs in any number is described differently.

    A dataclass becomes a mapping of its fields, a large array its shape and SHA-256, a frozen law of counts its class
    and its probabilities, a SeedSequence what determines it.
    """
    if dataclasses.is_dataclass(value):
        return {field.name: described(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.random.SeedSequence):
        entropy = value.entropy if isinstance(value.entropy, (int, type(None))) else np.asarray(value.entropy).tolist()
        return {"entropy": entropy, "spawn_key": list(value.spawn_key), "pool_size": value.pool_size}
    if check.is_count_law(value):
        kind = type(getattr(value, "dist", value))
        counts, probabilities = check.count_law("user_images", value, minimum=0)
        return {
            "law": f"{kind.__module__}.{kind.__qualname__}",
            "counts": described(counts),
            "probabilities": described(probabilities),
        }
    if isinstance(value, np.ndarray):
        if value.size <= _SHOWN:
            return value.tolist()
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": digest}
    if isinstance(value, dict):
        return {key: described(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [described(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _versions() -> dict[str, str]:
    return {
        "coevo": coevo.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    }


def _require_same(directory: Path, found: Any, wanted: Any, name: str = "") -> None:
    """Refuse what belongs to other runs; say in what they differ and what helps."""
    differences = list(_differences(name, found, wanted))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise ValueError(f"{directory} must belong to runs with {'; '.join(differences[:3])}{more}; {_REMEDY}")


def _differences(name: str, found: Any, wanted: Any) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            yield from _differences(f"{name}.{key}" if name else key, found.get(key), wanted.get(key))
        return
    # Compared as text, which tells 1 from 1.0 and 0.0 from -0.0.
    have, want = json.dumps(found), json.dumps(wanted)
    if have != want:
        yield f"{name or 'identity'} = {want[:_SHOWN]}, got {have[:_SHOWN]}"


def _require_array(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.float64:
        raise ValueError(f"{name} must be float64 of shape {shape}, got {array.dtype} of shape {array.shape}")


def _write(path: Path, save: Callable[[IO[bytes]], Any]) -> None:
    """Write a file under another name, bring it to the disk and rename it."""
    draft = path.with_name(path.name + ".new")
    try:
        with draft.open("wb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
