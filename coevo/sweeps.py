"""Sweeps: one computation at every point of a grid, stored once and loaded by the chapters.

A phase diagram takes minutes and a chapter should take seconds. A `Sweep` says what is computed at a point; `compute`
does it at every point and stores the numbers; `load` gives them back as arrays and refuses numbers that belong to
another definition. The random numbers of a point depend on the seed of the sweep and on the point alone: the order of
the points, the number of workers and an interruption change nothing.

``python -m coevo.sweeps`` lists the registered sweeps and computes those that are missing or stale.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime
import hashlib
import importlib
import itertools
import json
import math
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy
from tqdm import tqdm

import coevo
from coevo import _parallel
from coevo import _validation as check
from coevo._validation import Array

__all__ = ["DATA", "DIGITS", "REGISTERED", "Stored", "Sweep", "compute", "find", "load", "main"]

Scalar: TypeAlias = int | float | str
Point: TypeAlias = dict[str, Scalar]

#: Where each registered sweep is defined, ``"module:attribute"``; a new sweep needs one line here.
REGISTERED: dict[str, str] = {"which-dies-first": "coevo.phases:WHICH_DIES_FIRST"}

#: Where the stored numbers of the registered sweeps are.
DATA = Path(__file__).resolve().parents[1] / "book" / "_data" / "sweeps"

#: Stored numbers are rounded to so many significant digits; standard errors of a sweep are far larger.
DIGITS = 4

_FORMAT = 1

#: Integers beyond this are not exact as floats, which is what `Stored` may hold them as.
_EXACT = 2**53


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is computed, and where.

    Attributes
    ----------
    name : str of small letters, digits and hyphens
    point : ``point(rng, **parameters)`` -> mapping of names to numbers, the same names at every point; `rng` is a
        numpy Generator, the parameters are those of the point and the fixed ones. NaN stands for "does not exist";
        infinity is refused.
    grid : parameter -> its values, in the order of the axes; all numbers (integers up to 2^53) or all texts, different
    fixed : parameters that are the same at every point; anything that JSON holds exactly. `point` receives a copy.
    seed : int >= 0
    version : int >= 1, raised whenever `point` would give other numbers

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """

    name: str
    point: Callable[..., Mapping[str, float]]
    grid: Mapping[str, Sequence[Scalar]]
    seed: int
    version: int
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", check.instance("name", self.name, str)):
            raise ValueError(f"name must be small letters, digits and single hyphens, got {self.name!r}")
        check.function("point", self.point)
        grid = {key: _axis(key, values) for key, values in check.instance("grid", self.grid, Mapping).items()}
        if not grid:
            raise ValueError("grid must have at least one parameter, got none")
        fixed = dict(check.instance("fixed", self.fixed, Mapping))
        for argument, names in (("grid", grid), ("fixed", fixed)):
            for key in names:
                if not isinstance(key, str) or not key.isidentifier() or key == "rng":
                    raise ValueError(
                        f"{argument} must name its parameters by identifiers other than 'rng', got {key!r}"
                    )
        if twice := set(grid) & set(fixed):
            raise ValueError(f"fixed must not hold parameters of the grid, got {min(twice)!r} in both")
        try:
            exact = json.loads(json.dumps(fixed, allow_nan=False)) == fixed
        except (TypeError, ValueError):
            exact = False
        if not exact:
            raise ValueError(f"fixed must hold what JSON holds exactly, got {fixed!r}")
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "fixed", copy.deepcopy(fixed))
        object.__setattr__(self, "seed", check.integer("seed", self.seed, minimum=0))
        object.__setattr__(self, "version", check.integer("version", self.version, minimum=1))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes of the grid."""
        return tuple(len(values) for values in self.grid.values())

    @property
    def identity(self) -> dict[str, Any]:
        """All that the numbers depend on, as JSON holds it; stored with them and compared on loading."""
        return {
            "name": self.name,
            "version": self.version,
            "seed": self.seed,
            "digits": DIGITS,
            "grid": {key: list(values) for key, values in self.grid.items()},
            "fixed": self.fixed,
        }

    def points(self) -> Iterator[Point]:
        """Every point of the grid, the last parameter fastest."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    def evaluate(self, point: Mapping[str, Scalar]) -> dict[str, float | int | None]:
        """Compute one point as it is stored: rounded, None for NaN.

        Parameters
        ----------
        point : a value of the grid for each parameter of the grid

        Returns
        -------
        dict of numbers by name

        Raises
        ------
        TypeError, ValueError
            If `point` is no point of the grid, or the function of the sweep returns no mapping of names to numbers.
        """
        check.instance("point", point, Mapping)
        index = _index(self.grid, point)
        where = {key: values[k] for (key, values), k in zip(self.grid.items(), index, strict=True)}
        key = json.dumps(where, sort_keys=True).encode()
        entropy = [self.seed, int.from_bytes(hashlib.sha256(key).digest()[:16])]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        values = check.instance("point's result", self.point(rng, **where, **copy.deepcopy(self.fixed)), Mapping)
        if not values:
            raise ValueError(f"point must return at least one number, got none at {where}")
        return {check.instance("names of point's result", k, str): _rounded(k, v) for k, v in values.items()}


@dataclass(frozen=True, eq=False)
class Stored:
    """The stored numbers of a sweep.

    Attributes
    ----------
    grid : parameter -> array of its values
    values : name -> array of the shape of the grid, NaN where there is no number
    fixed : the parameters that are the same everywhere
    provenance : versions, date and machine
    """

    grid: dict[str, Array]
    values: dict[str, Array]
    fixed: dict[str, Any]
    provenance: dict[str, str]

    def __getitem__(self, name: str) -> Array:
        """The array called `name`."""
        check.choice("name", name, tuple(self.values))
        return self.values[name]

    def at(self, **point: Scalar) -> dict[str, float]:
        """All numbers at one point.

        Raises
        ------
        ValueError
            If `point` is no point of the grid.
        """
        index = _index({key: axis.tolist() for key, axis in self.grid.items()}, point)
        return {name: float(array[index]) for name, array in self.values.items()}


def find(name: str) -> Sweep:
    """Return a registered sweep.

    Parameters
    ----------
    name : a key of `REGISTERED`

    Raises
    ------
    TypeError, ValueError
        If no sweep has this name.
    """
    module, attribute = REGISTERED[check.choice("name", name, tuple(REGISTERED))].split(":")
    sweep: Sweep = check.instance(REGISTERED[name], getattr(importlib.import_module(module), attribute), Sweep)
    return sweep


def load(path: str | os.PathLike[str], sweep: Sweep) -> Stored:
    """Read the stored numbers of a sweep.

    Parameters
    ----------
    path : file written by `compute`
    sweep : Sweep whose numbers these should be

    Returns
    -------
    Stored, with arrays shaped like the grid

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If the file is no stored sweep, or belongs to other parameters, another seed or another version.
    """
    check.instance("sweep", sweep, Sweep)
    file = _path(path)
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing; compute it with: python -m coevo.sweeps {sweep.name}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        identity, provenance, layout = content["sweep"], content["provenance"], content["format"]
        names, rows = list(content["columns"]), content["rows"]
        if not all(_storable(value) for row in rows for value in row):
            raise ValueError("rows must hold finite numbers or null")
        table = np.array(rows, dtype=np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} must be a stored sweep, got something else: {error!r}") from error
    if layout != _FORMAT:
        raise ValueError(f"{file} must have format {_FORMAT}, got {layout}")
    _same_identity(file, identity, sweep, f"compute it again with: python -m coevo.sweeps {sweep.name}")
    shape = (math.prod(sweep.shape), len(names))
    if table.shape != shape:
        raise ValueError(f"{file} must hold {shape[0]} rows of {shape[1]} numbers, got shape {table.shape}")
    return Stored(
        grid={key: np.array(values) for key, values in sweep.grid.items()},
        values={name: table[:, k].reshape(sweep.shape) for k, name in enumerate(names)},
        fixed=copy.deepcopy(dict(sweep.fixed)),
        provenance=provenance,
    )


def compute(
    sweep: Sweep,
    path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    force: bool = False,
    progress: bool | None = None,
) -> Stored:
    """Compute a sweep and store it, unless `path` holds it already.

    Finished points go to a file beside the target, ``<path>.part``, one JSON line each. Interrupted, the next call
    takes them from there and computes the others. The target itself is written at the end and in one piece. One call
    at a time may compute a target: two would share its part file.

    Parameters
    ----------
    sweep : Sweep
    path : target file; what it holds of another definition is replaced
    workers : int >= 1, processes of this machine that share the points; or None, which leaves it to
        ``joblib.parallel_config`` and is this process alone if nothing is said there. Within
        ``with joblib.parallel_config(backend="dask")`` the points go to the workers of the current
        ``dask.distributed.Client``, which must have this package. The numbers do not depend on it, and all files are
        written by this process. A `point` that calls `replicate` says ``workers=1`` there: its runs would go out again.
    force : compute again although the target is current (an interrupted call is still continued)
    progress : bool or None, progress bar; None shows one in a terminal only

    Returns
    -------
    Stored

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, if the part file belongs to other parameters, another seed or
        another version, or if points return different names.
    """
    check.instance("sweep", sweep, Sweep)
    target = _path(path)
    workers = _parallel.checked(workers)
    check.instance("force", force, bool)
    if not (progress is None or isinstance(progress, bool)):
        raise TypeError(f"progress must be a bool or None, got {progress!r}")
    if not force and _status(sweep, target) == "current":
        return load(target, sweep)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    done = _resumed(part, sweep)
    points = list(sweep.points())
    tasks = [(index, (point,)) for index, point in enumerate(points) if index not in done]
    silent = None if progress is None else not progress  # None: tqdm looks for a terminal
    with (
        part.open("a", encoding="utf-8", newline="\n") as lines,
        tqdm(total=len(points), initial=len(done), desc=sweep.name, unit="point", disable=silent) as bar,
        contextlib.closing(_parallel.unordered(sweep.evaluate, tasks, workers)) as finished,
    ):
        for index, values in finished:
            done[index] = values
            names = list(next(iter(done.values())))
            if list(values) != names:
                raise ValueError(f"point must return {names} everywhere, got {list(values)} at {points[index]}")
            lines.write(json.dumps({"point": index, "values": values}) + "\n")
            lines.flush()
            bar.update()
    _write(target, sweep, list(done[0]), [list(done[index].values()) for index in range(len(points))])
    part.unlink(missing_ok=True)
    return load(target, sweep)


def main(arguments: Sequence[str] | None = None) -> int:
    """List the registered sweeps and compute those that are missing or stale: ``python -m coevo.sweeps``.

    Parameters
    ----------
    arguments : of the command line, by default those of the process

    Returns
    -------
    int, 0
    """
    parser = argparse.ArgumentParser(prog="python -m coevo.sweeps", description="Compute stored sweeps.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(REGISTERED)}; all unless given")
    parser.add_argument("--workers", type=int, default=1, help="processes (1 unless given)")
    parser.add_argument("--force", action="store_true", help="compute although the stored numbers are current")
    parser.add_argument("--list", action="store_true", help="only say what is stored")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in REGISTERED]:
        parser.error(f"no sweep is called {unknown[0]}; there are {', '.join(REGISTERED)}")
    if options.workers < 1:
        parser.error(f"--workers must be at least 1, got {options.workers}")
    for name in options.names or REGISTERED:
        sweep, target = find(name), DATA / f"{name}.json"
        status = _status(sweep, target)
        print(f"{name}: {math.prod(sweep.shape)} points, version {sweep.version}, {status}", flush=True)
        if not options.list and (options.force or status != "current"):
            compute(sweep, target, workers=options.workers, force=options.force)
            print(f"{name}: written to {target}", flush=True)
    return 0


def _status(sweep: Sweep, target: Path) -> str:
    """Whether the stored numbers are "missing", "stale" or "current"."""
    if not target.exists():
        return "missing"
    try:
        load(target, sweep)
    except ValueError:
        return "stale"
    return "current"


def _same_identity(file: Path, found: Any, sweep: Sweep, remedy: str) -> None:
    """Refuse what was computed with another definition; say in what it differs and what helps."""
    wanted = sweep.identity
    for key, value in wanted.items():
        have = found.get(key) if isinstance(found, dict) else found
        # Compared as text, because 1 and 1.0 are different definitions; of the keys, only the order of the axes counts.
        if json.dumps(have, sort_keys=key != "grid") != json.dumps(value, sort_keys=key != "grid"):
            raise ValueError(
                f"{file} must belong to the sweep {sweep.name!r} with {key} = {json.dumps(value)}, "
                f"got {json.dumps(have)}; {remedy}"
            )
    if more := sorted(set(found) - set(wanted)):
        raise ValueError(f"{file} must belong to the sweep {sweep.name!r}, got more: {more}")


def _resumed(part: Path, sweep: Sweep) -> dict[int, dict[str, float | int | None]]:
    """Read the finished points of an interrupted call, or begin a part file."""
    head = json.dumps(sweep.identity) + "\n"
    text = part.read_text(encoding="utf-8") if part.exists() else ""
    whole = text[: text.rfind("\n") + 1]  # a line without its end was being written when the call was stopped
    if not whole:
        part.write_text(head, encoding="utf-8", newline="\n")
        return {}
    try:
        first, *rest = (json.loads(line) for line in whole.splitlines())
        done = {_place(line["point"], sweep): dict(line["values"]) for line in rest}
        if wrong := [line for line in rest if not all(map(_storable, line["values"].values()))]:
            raise ValueError(f"values must be finite numbers or null, got {wrong[0]}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{part} must be the part file of a sweep, got something else: {error!r}") from error
    _same_identity(part, first, sweep, "finish that sweep or remove the file")
    if whole != text:
        part.write_text(whole, encoding="utf-8", newline="\n")
    return done


def _write(target: Path, sweep: Sweep, names: list[str], rows: list[list[Any]]) -> None:
    """Write the target under another name and rename it: readers see the old file or the new one."""
    provenance = {
        "coevo": coevo.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "date": datetime.date.today().isoformat(),
    }
    table = ",\n".join("  " + json.dumps(row) for row in rows)
    text = (
        f'{{\n "format": {_FORMAT},\n "sweep": {json.dumps(sweep.identity)},\n'
        f' "provenance": {json.dumps(provenance)},\n "columns": {json.dumps(names)},\n "rows": [\n{table}\n ]\n}}\n'
    )
    draft = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _place(index: Any, sweep: Sweep) -> int:
    return check.integer("point", index, minimum=0, maximum=math.prod(sweep.shape) - 1)


def _number(value: Any) -> float | None:
    """Return a number as a float, infinite if it is too large for one, and None for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _storable(value: Any) -> bool:
    """Whether a value read from a file is one that `_rounded` returns."""
    number = _number(value)
    return value is None or (number is not None and math.isfinite(number))


def _rounded(name: str, value: Any) -> float | int | None:
    number = _number(value)
    if number is None or math.isinf(number):
        raise ValueError(f"point must return finite numbers or NaN, got {name} = {value!r}")
    if math.isnan(number):
        return None
    # Ten digits come first, because a last-bit difference would tip a tie such as 0.015625.
    number = float(f"{float(f'{number:.10g}'):.{DIGITS}g}")
    return int(number) if number.is_integer() and abs(number) < 10**DIGITS else number


def _axis(name: str, values: Any) -> tuple[Scalar, ...]:
    """Return the values of one axis as plain numbers or texts."""
    if (
        isinstance(values, str)
        or not isinstance(values, (Sequence, np.ndarray))
        or getattr(values, "shape", None) == ()
    ):
        raise TypeError(f"grid[{name!r}] must be a sequence of numbers or texts, got {values!r}")
    axis: list[Scalar] = []
    for value in values:
        number = _number(value)
        if number is None and not isinstance(value, str):
            raise TypeError(f"grid[{name!r}] must hold numbers or texts, got {value!r}")
        if isinstance(value, Integral) and abs(int(value)) > _EXACT:
            raise ValueError(f"grid[{name!r}] must hold integers from -2^53 to 2^53, got {value}")
        if number is not None and not math.isfinite(number):
            raise ValueError(f"grid[{name!r}] must hold finite numbers, got {number}")
        axis.append(str(value) if number is None else int(value) if isinstance(value, Integral) else number)
    if not axis or len(set(axis)) < len(axis):
        raise ValueError(f"grid[{name!r}] must hold different values, at least one, got {axis}")
    if len({isinstance(value, str) for value in axis}) > 1:
        raise TypeError(f"grid[{name!r}] must hold numbers alone or texts alone, got {axis}")
    return tuple(axis)


def _index(grid: Mapping[str, Sequence[Scalar]], point: Mapping[str, Any]) -> tuple[int, ...]:
    """Return where a point is on each axis of a grid."""
    if set(point) != set(grid):
        raise ValueError(f"point must give {list(grid)}, got {list(point)}")
    for key, axis in grid.items():
        value = point[key]
        if not (isinstance(value, str) or _number(value) is not None) or value not in axis:  # True is no 1
            raise ValueError(f"{key} must be one of {list(axis)}, got {value!r}")
    return tuple(axis.index(point[key]) for key, axis in grid.items())


def _path(path: Any) -> Path:
    return Path(path if isinstance(path, str) else check.instance("path", path, os.PathLike))


if __name__ == "__main__":
    # The module that runs as a script is not the one that the sweeps are made of: hand over.
    raise SystemExit(importlib.import_module("coevo.sweeps").main())
