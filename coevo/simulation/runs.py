"""Many runs of a system: whole paths (`simulate`) and streamed statistics (`replicate`).

Runs are cut into blocks of fixed size, each with its own child of the seed, so the numbers depend on the seed alone:
not on who computes the blocks or in which order they end, and not on whether paths are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import coevo
from coevo import _parallel
from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked
from coevo.simulation.moments import Block, Moments
from coevo.simulation.state import State
from coevo.simulation.store import Memory, Plan, Store, described, opened
from coevo.simulation.system import System
from coevo.simulation.updates import macro_step

__all__ = ["STATISTICS", "Path", "Replicates", "replicate", "simulate"]

Statistic = Callable[[State], Array]

#: A block: the system with the initial states of the block, its runs, its seed.
_Task = tuple[System, int, np.random.SeedSequence]

#: What `Replicates` holds by statistic.
_STORED = ("mean", "standard_error", "skewness", "quantile")

#: Runs in a block. It is part of what a seed means: change it and every number changes.
BLOCK = 256

#: Texts are dropped from a growing corpus only if any of them would be drawn again with at most this probability.
DROP_RISK = 1e-12

#: Bytes of the values whose quantiles are taken at once.
SLAB = 2**25


def _fidelity(state: State) -> Array:
    distance: Array = np.linalg.norm(state.images.mean - state.initial.mean, axis=-1)
    return distance


#: The diagnostic measures by name: functions of a State that return an array (R, ...).
STATISTICS: dict[str, Statistic] = {
    "text_diversity": lambda state: text_diversity_unchecked(state.p),
    "image_diversity": lambda state: state.images.diversity,
    "log_image_diversity": lambda state: state.images.log_diversity,
    "fidelity": _fidelity,
}


@dataclass(frozen=True, eq=False)
class Path:
    """Whole paths of R runs at T recorded macro steps.

    Attributes
    ----------
    t : int array (T,), macro steps
    p : array (R, T, K), text models
    mean : array (R, T, K, d), means of the image models
    cov : array (R, T, K, d, d), their covariances
    text_diversity : array (R, T)
    image_diversity, log_image_diversity, fidelity : arrays (R, T, K)

    With a growing corpus K is the number of places at the end, and a place may hold one text after another; where it
    holds none, its mass is 0 and what belongs to its images is nan.
    """

    t: NDArray[np.int64]
    p: Array
    mean: Array
    cov: Array
    text_diversity: Array
    image_diversity: Array
    log_image_diversity: Array
    fidelity: Array


@dataclass(frozen=True, eq=False)
class Replicates:
    """Statistics over R independent runs at T recorded macro steps.

    Attributes
    ----------
    t : int array (T,), macro steps
    runs : int, R
    mean : dict of arrays (T, ...), mean over the runs, by statistic
    standard_error : dict of arrays (T, ...), standard error of that mean (nan for a single run)
    skewness : dict of arrays (T, ...), skewness of a single run (0 where all runs agree)
    levels : array (Q,), the quantile levels asked for
    quantile : dict of arrays (Q, T, ...), quantiles over the runs; each is the value of a run
    """

    t: NDArray[np.int64]
    runs: int
    mean: dict[str, Array]
    standard_error: dict[str, Array]
    skewness: dict[str, Array]
    levels: Array
    quantile: dict[str, Array]


def simulate(
    system: System,
    steps: int,
    runs: int = 1,
    *,
    rng: Any,
    every: int = 1,
    compiled: bool = False,
    progress: bool | None = None,
) -> Path:
    """Run a system and keep whole paths.

    Parameters
    ----------
    system : System
    steps : int >= 0, macro steps
    runs : int >= 1, independent runs R; an initial state of R runs starts each from its own
    rng : seed (int >= 0), SeedSequence or numpy Generator
    every : int >= 1, record every so many macro steps (step 0 is always recorded)
    compiled : see `macro_step`
    progress : bool or None, progress bar; None shows one in a terminal only

    Returns
    -------
    Path

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    steps = check.integer("steps", steps, minimum=0)
    every = check.integer("every", every, minimum=1)
    check.instance("compiled", compiled, bool)
    times = np.arange(0, steps + 1, every)
    runs, seed = _runs(system, runs), check.seed_sequence(rng)
    recorded = []
    with _bar(runs * int(times[-1]), 0, progress) as bar:
        for task in _blocks(system, runs, seed):
            recorded.append(list(_recorded_states(task, times, steps, compiled, bar.update)))
    n_texts = max(state.n_texts for states in recorded for state in states)

    def gather(pick: Callable[[State], Array]) -> Array:
        def padded(array: Array) -> Array:
            missing = [(0, 0), (0, n_texts - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
            return np.pad(array, missing) if system.corpus is not None else array

        return np.concatenate([np.stack([padded(pick(s)) for s in states], axis=1) for states in recorded])

    p = gather(lambda s: s.p)

    def of_images(pick: Callable[[State], Array]) -> Array:
        array = gather(pick)
        if system.corpus is not None:
            array[p == 0] = np.nan
        return array

    return Path(
        t=times,
        p=p,
        mean=of_images(lambda s: s.mean),
        cov=of_images(lambda s: s.cov),
        text_diversity=text_diversity_unchecked(p),
        image_diversity=of_images(STATISTICS["image_diversity"]),
        log_image_diversity=of_images(STATISTICS["log_image_diversity"]),
        fidelity=of_images(STATISTICS["fidelity"]),
    )


def replicate(
    system: System,
    steps: int,
    runs: int,
    *,
    rng: Any,
    statistics: Sequence[str] | Mapping[str, Statistic] = ("text_diversity",),
    times: Any = None,
    quantiles: Sequence[float] = (),
    workers: int | None = None,
    compiled: bool = False,
    store: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Replicates:
    """Run a system many times and keep only statistics over the runs.

    Memory does not grow with the number of steps, only with that of the recorded times: for each of them and each
    number of a statistic it takes 8 bytes per run if quantiles are asked for, and nothing per run if not. With a
    `store` those 8 bytes are taken on the disk, and in memory for the blocks under way only.

    Parameters
    ----------
    system : System
    steps : int >= 0, macro steps
    runs : int >= 1, independent runs R; an initial state of R runs starts each from its own
    rng : seed (int >= 0), SeedSequence or numpy Generator
    statistics : names from `STATISTICS`, or a dict of functions State -> array (R, ...)
    times : increasing int array (T,) of macro steps to record, each in [0, steps]; every step unless given
    quantiles : levels in [0, 1]
    workers : int >= 1, processes of this machine that share the blocks of runs; or None, which leaves it to
        ``joblib.parallel_config`` and is this process alone if nothing is said there. Within
        ``with joblib.parallel_config(backend="dask")`` the blocks go to the workers of the current
        ``dask.distributed.Client``, which must have this package. The numbers do not depend on it.
    compiled : see `macro_step`
    store : directory, or None. Finished blocks of 256 runs are written there, by this process alone; interrupted or
        killed, the next call with the same arguments takes what is there, computes the rest, and returns the same
        numbers to the last bit. In the end the blocks give way to one file, ``result.npz``, with the parameters, the
        seed and the versions, and every further call returns what it holds. A damaged block is computed again, with
        a warning. The store knows every number of the system, and of a function in `statistics` its name and
        what it gives after one step of the first block: give a function that you have changed another store.
        Give a seed as `rng`: of a Generator each call takes another child, which is other runs.
    progress : bool or None, progress bar; None shows one in a terminal only

    Returns
    -------
    Replicates

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was; or the store, if it holds other runs (what differs and
        what helps) or a damaged result.
    RuntimeError
        If another process is computing the store.
    """
    steps = check.integer("steps", steps, minimum=0)
    workers = _parallel.checked(workers)
    check.instance("compiled", compiled, bool)
    functions = _functions(statistics)
    recorded = np.arange(steps + 1) if times is None else check.integer_array("times", times, minimum=0)
    if recorded.ndim != 1 or recorded.size == 0 or (np.diff(recorded) <= 0).any() or recorded[-1] > steps:
        raise ValueError(f"times must be increasing macro steps in [0, {steps}], got {np.asarray(times)}")
    check.instance("quantiles", quantiles, Iterable)
    levels = np.array([check.probability("quantiles", q) for q in quantiles])
    runs, seed = _runs(system, runs), check.seed_sequence(rng)
    plan = Plan(
        sizes=tuple(min(BLOCK, runs - start) for start in range(0, runs, BLOCK)),
        times=len(recorded),
        names=tuple(sorted(functions)),
        levels=len(levels),
    )

    def computed(shelf: Memory | Store) -> Replicates:
        alone, last, todo = _parallel.is_serial(workers), int(recorded[-1]), set(shelf.todo)
        done = sum(size for index, size in enumerate(plan.sizes) if index not in todo)
        with _bar(runs * last, done * last, progress) as bar:
            work = partial(
                _statistics,
                times=recorded,
                steps=steps,
                functions=functions,
                keep=levels.size > 0,
                compiled=compiled,
                tick=bar.update if alone else None,
            )
            tasks = ((index, (task,)) for index, task in enumerate(_blocks(system, runs, seed)) if index in todo)
            with contextlib.closing(_parallel.unordered(work, tasks, workers)) as finished:
                for index, block in finished:
                    shelf.add(index, block)
                    del block  # not to be held while the next one is computed
                    if not alone:
                        bar.update(plan.sizes[index] * last)
        return _replicates(shelf, plan, recorded, levels, functions)

    if store is None:
        return computed(Memory(plan))
    first = next(_blocks(system, runs, seed))
    identity = {
        "coevo": coevo.__version__,
        "block": BLOCK,
        "seed": seed,
        "runs": runs,
        "steps": steps,
        "times": recorded,
        "quantiles": levels,
        "compiled": compiled,
        "statistics": {name: _sample(name, functions[name], first, steps) for name in plan.names},
        "system": system,
    }
    with opened(store, plan, described(identity)) as shelf:
        if shelf.result is not None:
            return _from_arrays(shelf.result, runs, functions)
        found = computed(shelf)
        shelf.finish(_as_arrays(found))
        return found


def _statistics(
    task: _Task,
    *,
    times: NDArray[np.int64],
    steps: int,
    functions: Mapping[str, Statistic],
    keep: bool,
    compiled: bool,
    tick: Callable[[int], Any] | None,
) -> Block:
    """Run one block; return the moments at each recorded time, and with `keep` the values behind them."""
    block = Block()
    for i, state in enumerate(_recorded_states(task, times, steps, compiled, tick)):
        for name, function in functions.items():
            values = np.asarray(function(state), dtype=np.float64)
            if values.ndim == 0 or len(values) != state.runs:
                raise ValueError(
                    f"statistics[{name!r}] must return an array of shape ({state.runs}, ...), got {values.shape}"
                )
            block.record(i, len(times), name, values, keep=keep)
    return block


def _recorded_states(
    task: _Task, times: NDArray[np.int64], steps: int, compiled: bool, tick: Callable[[int], Any] | None
) -> Iterator[State]:
    """Run one block and yield its state at each of `times`; `tick` is told how many runs made a step."""
    system, runs, seed = task
    state, rng = _beginning(system, runs), np.random.default_rng(seed)
    drop_below = _drop_below(system, steps)
    wanted = set(times.tolist())
    if 0 in wanted:
        yield state
    for t in range(1, int(times[-1]) + 1):
        state = macro_step(state, system, rng, drop_below, compiled=compiled)
        if tick is not None:
            tick(runs)
        if t in wanted:
            yield state


def _replicates(
    shelf: Memory | Store, plan: Plan, times: NDArray[np.int64], levels: Array, names: Iterable[str]
) -> Replicates:
    """Put the statistics of all blocks together."""
    moments = shelf.moments()
    return Replicates(
        t=times,
        runs=sum(plan.sizes),
        mean={name: moments[name].mean for name in names},
        standard_error={name: moments[name].standard_error() for name in names},
        skewness={name: moments[name].skewness for name in names},
        levels=levels,
        quantile={name: _quantiles(shelf, name, moments[name], levels) for name in names if levels.size},
    )


def _quantiles(shelf: Memory | Store, name: str, moments: Moments, levels: Array) -> Array:
    """Quantiles (Q, T, ...) over the runs, taken a few times at once."""
    shape = moments.mean.shape
    quantiles = np.empty((len(levels), *shape))
    width = max(1, SLAB // (8 * moments.count * math.prod(shape[1:])))
    for start in range(0, shape[0], width):
        stop = min(start + width, shape[0])
        slab = shelf.slab(name, start, stop)
        quantiles[:, start:stop] = np.quantile(slab, levels, axis=1, method="inverted_cdf")
    return quantiles


def _as_arrays(found: Replicates) -> dict[str, Any]:
    """Arrays by name, as a store keeps them."""
    fields = {field: getattr(found, field) for field in _STORED}
    arrays = {f"{field}/{name}": array for field, by_name in fields.items() for name, array in by_name.items()}
    return {"t": found.t, "levels": found.levels} | arrays


def _from_arrays(arrays: Mapping[str, Any], runs: int, names: Iterable[str]) -> Replicates:
    """Read what `_as_arrays` returned, with the statistics in the order of `names`."""
    by_name = {
        field: {name: arrays[f"{field}/{name}"] for name in names if f"{field}/{name}" in arrays} for field in _STORED
    }
    return Replicates(t=arrays["t"], runs=runs, levels=arrays["levels"], **by_name)


def _drop_below(system: System, steps: int) -> float:
    """Mass below which a text may be dropped, so that any is missed with probability at most `DROP_RISK`.

    A run holds at most K + steps texts, each dropped at most once, and makes (S_T M + S_I N) draws a step.
    """
    draws = system.text_updates * system.text_samples + system.image_updates * system.image_samples
    return DROP_RISK / max(1, steps * draws * (system.initial.n_texts + steps))


def _runs(system: System, runs: int) -> int:
    """Check the system and the number of runs."""
    initial = check.instance("system", system, System).initial
    runs = check.integer("runs", runs, minimum=1)
    if initial.runs not in (1, runs):
        raise ValueError(f"runs must be {initial.runs}, the runs of the initial state, got {runs}")
    return runs


def _blocks(system: System, runs: int, seed: np.random.SeedSequence) -> Iterator[_Task]:
    """Cut the runs into blocks: each the system, with only its own initial states, its runs, and its own seed."""
    several = system.initial.runs > 1
    starts = range(0, runs, BLOCK)
    seeds = check.seed_sequence(seed).spawn(len(starts))  # of a copy: it begins with the first child again
    for start, own in zip(starts, seeds, strict=True):
        initial = system.initial.select(slice(start, start + BLOCK)) if several else system.initial
        yield dataclasses.replace(system, initial=initial), min(BLOCK, runs - start), own


def _beginning(system: System, runs: int) -> State:
    """Return the initial state of each run of a block."""
    return system.initial if system.initial.runs == runs else system.initial.repeat(runs)


def _sample(name: str, function: Statistic, task: _Task, steps: int) -> str:
    """Return what identifies a statistic: its name, or a digest of what a custom one gives after a step of a block."""
    if STATISTICS.get(name) is function:
        return name
    system, runs, seed = task
    state = macro_step(_beginning(system, runs), system, np.random.default_rng(seed), _drop_below(system, steps))
    values = np.asarray(function(state), dtype=np.float64)
    # To eight digits, because another machine may round the last ones otherwise.
    return hashlib.sha256(" ".join(f"{value:.8g}" for value in values.flat).encode()).hexdigest()


def _functions(statistics: Sequence[str] | Mapping[str, Statistic]) -> dict[str, Statistic]:
    """Check the statistics asked for and return them by name."""
    if isinstance(statistics, Mapping):
        functions = {str(name): check.function(f"statistics[{name!r}]", f) for name, f in statistics.items()}
    else:
        check.instance("statistics", statistics, Iterable)
        names = [statistics] if isinstance(statistics, str) else list(statistics)
        functions = {check.choice("statistics", name, tuple(STATISTICS)): STATISTICS[name] for name in names}
    if not functions:
        raise ValueError("statistics must name at least one statistic, got none")
    return functions


def _silent(progress: bool | None) -> bool | None:
    """Translate `progress` to tqdm's `disable`, where None means: only in a terminal."""
    return None if progress is None else not progress


def _bar(total: int, initial: int, progress: bool | None) -> Any:
    """Progress bar over all steps of all runs, which shows how many are made in a second and what time remains."""
    return tqdm(total=total, initial=initial, disable=_silent(progress), unit="step", unit_scale=True)
