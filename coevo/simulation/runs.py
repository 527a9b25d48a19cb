"""Many runs of a system: whole paths (`simulate`) and streamed statistics (`replicate`).

Runs are cut into blocks of fixed size, each with its own child of the seed, so the numbers depend on the seed alone:
not on how many workers share the blocks, and not on whether paths are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm import tqdm

from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked
from coevo.simulation.state import State
from coevo.simulation.system import System
from coevo.simulation.updates import macro_step

__all__ = ["STATISTICS", "Path", "Replicates", "replicate", "simulate"]

Statistic = Callable[[State], Array]

#: Runs in a block. It is part of what a seed means: change it and every number changes.
BLOCK = 256

#: Texts are dropped from a growing corpus only if any of them would be drawn again with at most this probability.
DROP_RISK = 1e-12


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


@dataclass
class _Moments:
    """Count, mean, standard deviation (divisor n) and skewness, which merge exactly at any scale."""

    count: int
    mean: Array
    spread: Array
    skewness: Array

    @classmethod
    def of(cls, values: Array) -> _Moments:
        mean = values.mean(axis=0)
        with np.errstate(invalid="ignore"):  # a log-diversity of -inf has no spread
            deviation = values - mean
        unit = _positive(np.abs(deviation).max(axis=0))
        scaled = deviation / unit
        spread = np.sqrt((scaled**2).mean(axis=0))
        return cls(len(values), mean, unit * spread, (scaled**3).mean(axis=0) / _positive(spread) ** 3)

    def merge(self, other: _Moments) -> _Moments:
        a, b = self.count, other.count
        n = a + b
        mean = (a * self.mean + b * other.mean) / n
        with np.errstate(invalid="ignore"):  # nor has a log-diversity of -inf a distance
            delta = other.mean - self.mean
            unit = _positive(np.maximum(np.maximum(self.spread, other.spread), np.abs(delta)))
            x, y, d = self.spread / unit, other.spread / unit, delta / unit
            spread = np.sqrt((a * x**2 + b * y**2 + d**2 * (a * b / n)) / n)
            third = (a * self.skewness * x**3 + b * other.skewness * y**3) / n
            third += d**3 * (a * b * (a - b) / n**3) + 3 * d * (a * b / n**2) * (y**2 - x**2)
            return _Moments(n, mean, unit * spread, third / _positive(spread) ** 3)

    def standard_error(self) -> Array:
        if self.count < 2:
            return np.full_like(self.mean, np.nan)
        error: Array = self.spread / np.sqrt(self.count - 1)
        return error


def _positive(values: Array) -> Array:
    """Replace zeros by ones: what they would divide is zero too."""
    positive: Array = np.where(values == 0, 1.0, values)
    return positive


def simulate(
    system: System, steps: int, runs: int = 1, *, rng: Any, every: int = 1, progress: bool | None = None
) -> Path:
    """Run a system and keep whole paths.

    Parameters
    ----------
    system : System
    steps : int >= 0, macro steps
    runs : int >= 1, independent runs R; an initial state of R runs starts each from its own
    rng : seed (int >= 0), SeedSequence or numpy Generator
    every : int >= 1, record every so many macro steps (step 0 is always recorded)
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
    times = np.arange(0, steps + 1, every)
    blocks = _blocks(system, runs, rng)
    bar = tqdm(total=int(times[-1]) * len(blocks), disable=_silent(progress), unit="step")
    recorded = []
    for initial, seed in blocks:
        recorded.append(list(_recorded_states(system, initial, times, steps, seed, bar)))
    bar.close()
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
    workers: int = 1,
    progress: bool | None = None,
) -> Replicates:
    """Run a system many times and keep only statistics over the runs.

    Memory does not grow with the number of steps, only with that of the recorded times; quantiles keep one number
    per run and recorded time.

    Parameters
    ----------
    system : System
    steps : int >= 0, macro steps
    runs : int >= 1, independent runs R; an initial state of R runs starts each from its own
    rng : seed (int >= 0), SeedSequence or numpy Generator
    statistics : names from `STATISTICS`, or a dict of functions State -> array (R, ...)
    times : increasing int array (T,) of macro steps to record, each in [0, steps]; every step unless given
    quantiles : levels in [0, 1]
    workers : int >= 1, processes that share the blocks of runs; the numbers do not depend on it
    progress : bool or None, progress bar; None shows one in a terminal only

    Returns
    -------
    Replicates

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    steps = check.integer("steps", steps, minimum=0)
    workers = check.integer("workers", workers, minimum=1)
    functions = _functions(statistics)
    recorded = np.arange(steps + 1) if times is None else check.integer_array("times", times, minimum=0)
    if recorded.ndim != 1 or recorded.size == 0 or (np.diff(recorded) <= 0).any() or recorded[-1] > steps:
        raise ValueError(f"times must be increasing macro steps in [0, {steps}], got {np.asarray(times)}")
    check.instance("quantiles", quantiles, Iterable)
    levels = np.array([check.probability("quantiles", q) for q in quantiles])
    blocks = _blocks(system, runs, rng)
    silent = _silent(progress)
    if workers == 1:
        with tqdm(total=int(recorded[-1]) * len(blocks), disable=silent, unit="step") as bar:
            parts = [
                _statistics(system, initial, recorded, steps, seed, functions, levels.size > 0, bar)
                for initial, seed in blocks
            ]
    else:
        tasks = (
            delayed(_statistics)(system, initial, recorded, steps, seed, functions, levels.size > 0)
            for initial, seed in blocks
        )
        finished = Parallel(n_jobs=workers, return_as="generator")(tasks)
        parts = list(tqdm(finished, total=len(blocks), disable=silent, unit="block"))
    total = parts[0][0]
    for part in parts[1:]:
        for name in functions:
            _same_shape(name, total[0][name].mean.shape, part[0][0][name].mean.shape)
        total = [
            {name: row[name].merge(other[name]) for name in functions}
            for row, other in zip(total, part[0], strict=True)
        ]

    def column(pick: Callable[[_Moments], Array]) -> dict[str, Array]:
        return {name: np.stack([pick(row[name]) for row in total]) for name in functions}

    values = {name: np.concatenate([part[1][name] for part in parts]) for name in functions if levels.size}
    return Replicates(
        t=recorded,
        runs=sum(initial.runs for initial, _ in blocks),
        mean=column(lambda moments: moments.mean),
        standard_error=column(_Moments.standard_error),
        skewness=column(lambda moments: moments.skewness),
        levels=levels,
        quantile={name: np.quantile(array, levels, axis=0, method="inverted_cdf") for name, array in values.items()},
    )


def _statistics(
    system: System,
    initial: State,
    times: NDArray[np.int64],
    steps: int,
    seed: np.random.SeedSequence,
    functions: Mapping[str, Statistic],
    keep: bool,
    bar: Any = None,
) -> tuple[list[dict[str, _Moments]], dict[str, Array]]:
    """Moments at each recorded time over one block, and with `keep` the values (R, T, ...) behind them."""
    rows: list[dict[str, _Moments]] = []
    kept: dict[str, list[Array]] = {name: [] for name in functions}
    shapes: dict[str, tuple[int, ...]] = {}
    for state in _recorded_states(system, initial, times, steps, seed, bar):
        row = {}
        for name, function in functions.items():
            values = np.asarray(function(state), dtype=np.float64)
            if values.ndim == 0 or len(values) != state.runs:
                raise ValueError(
                    f"statistics[{name!r}] must return an array of shape ({state.runs}, ...), got {values.shape}"
                )
            _same_shape(name, shapes.setdefault(name, values.shape[1:]), values.shape[1:])
            row[name] = _Moments.of(values)
            if keep:
                kept[name].append(values)
        rows.append(row)
    return rows, {name: np.stack(values, axis=1) for name, values in kept.items() if keep}


def _same_shape(name: str, expected: tuple[int, ...], got: tuple[int, ...]) -> None:
    """Refuse a statistic per text of a corpus that grows."""
    if got != expected:
        raise ValueError(f"statistics[{name!r}] must keep its shape {expected} while the corpus grows, got {got}")


def _recorded_states(
    system: System,
    state: State,
    times: NDArray[np.int64],
    steps: int,
    seed: np.random.SeedSequence,
    bar: Any = None,
) -> Iterator[State]:
    """Run one block and yield its state at each of `times`."""
    rng = np.random.default_rng(seed)
    drop_below = _drop_below(system, steps)
    wanted = set(times.tolist())
    if 0 in wanted:
        yield state
    for t in range(1, int(times[-1]) + 1):
        state = macro_step(state, system, rng, drop_below)
        if bar is not None:
            bar.update()
        if t in wanted:
            yield state


def _drop_below(system: System, steps: int) -> float:
    """Mass below which a text may be dropped, so that any is missed with probability at most `DROP_RISK`.

    A run holds at most K + steps texts, each dropped at most once, and makes (S_T M + S_I N) draws a step.
    """
    draws = system.text_updates * system.text_samples + system.image_updates * system.image_samples
    return DROP_RISK / max(1, steps * draws * (system.initial.n_texts + steps))


def _blocks(system: System, runs: int, rng: Any) -> list[tuple[State, np.random.SeedSequence]]:
    """Cut the runs into blocks, each with its initial state and its own seed."""
    check.instance("system", system, System)
    runs = check.integer("runs", runs, minimum=1)
    initial = system.initial
    if initial.runs not in (1, runs):
        raise ValueError(f"runs must be {initial.runs}, the runs of the initial state, got {runs}")
    starts = range(0, runs, BLOCK)
    seeds = check.seed_sequence(rng).spawn(len(starts))

    def block(start: int) -> State:
        if initial.runs == runs:
            return initial.select(slice(start, start + BLOCK))
        return initial.repeat(min(BLOCK, runs - start))

    return [(block(start), seed) for start, seed in zip(starts, seeds, strict=True)]


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
