"""Which dies first, the text model or the image model? What is simulated at one point of the phase diagram.

Beyond the paper. In one run a model is dead at level q from the first macro step on at whose end its diversity is at
most q times what it was at the start: the text diversity D(p_t) for the text model; for the image model the image
diversity tr Sigma_i^{1/2} averaged over the texts, either with the masses p_{t,i} (what a reader of the platform sees)
or with equal weights (what is in the archive, lost texts included).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked
from coevo.simulation import State, System, circle, macro_step
from coevo.sweeps import Sweep

__all__ = ["LEVELS", "WHICH_DIES_FIRST", "DeathTimes", "death_times", "summarise"]

#: A model is dead when so much of its diversity is left: the level of the chapter, then one for comparison.
LEVELS = (0.5, 0.1)


@dataclass(frozen=True, eq=False)
class DeathTimes:
    """Macro step of each death, arrays (R, L) with one column for each of `LEVELS`; infinite if it was not seen.

    A run is followed until both `text` and `seen` are dead at the first level and, at every level, either the text
    model or both image measures are.

    Attributes
    ----------
    text : of the text diversity
    seen : of the image diversity averaged with the masses p
    archive : of the image diversity averaged with equal weights
    cap : int, the last macro step simulated in a run that did not end before
    """

    text: Array
    seen: Array
    archive: Array
    cap: int


def _longest(text_samples: int, image_samples: int, image_updates: int) -> int:
    """Return the macro steps after which a run is given up, 20 M + 60 N / S_I.

    For separated images Corollary 3.2 is an equality, and D >= 2 (M - 1) / M^2 unless D = 0: after 20 M updates the
    text model is one-hot but for a probability of e^{-20} M^2 / (2 (M - 1)) (Markov). The mean of the seen images never
    rises, and 60 N more updates from all N images multiply it by at most e^{-60/4} (Theorem 3.3): more than half of it
    is left with a probability of at most 2 e^{-15} = 6e-7.
    """
    return 20 * text_samples + -(-60 * image_samples // image_updates)


def death_times(system: System, runs: int, *, rng: Any, cap: int | None = None) -> DeathTimes:
    """Simulate runs of a system until the order of the deaths is known.

    Beyond the paper.

    Parameters
    ----------
    system : System without corpus and user content, with an initial state of one run, in which at least two texts have
        mass and images are not points; both models must be updated; what is said of the cap holds for separated images
    runs : int >= 1
    rng : seed or numpy Generator
    cap : int >= 1, the longest a run is followed, in macro steps; by default 20 M + 60 N / S_I, which a run of
        separated texts and M <= 512 survives with a probability below 2e-6

    Returns
    -------
    DeathTimes

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    check.instance("system", system, System)
    runs = check.integer("runs", runs, minimum=1)
    rng = check.generator(rng)
    check.integer("system.image_updates", system.image_updates, minimum=1)
    check.integer("system.text_updates", system.text_updates, minimum=1)
    for name in ("corpus", "user"):
        if (content := getattr(system, name)) is not None:
            raise ValueError(f"system.{name} must be None, got {content!r}")
    if system.initial.runs != 1:
        raise ValueError(f"system.initial must hold 1 run, got {system.initial.runs}")
    usual = _longest(system.text_samples, system.image_samples, system.image_updates)
    cap = check.integer("cap", usual if cap is None else cap, minimum=1)
    state = system.initial.repeat(runs)
    start = _measures(state)
    if not all(measure.min() > 0 for measure in start):
        raise ValueError("system.initial must have some text and image diversity, got none")
    times = [np.full((runs, len(LEVELS)), np.inf) for _ in start]
    alive = np.arange(runs)
    for t in range(1, cap + 1):
        state = macro_step(state, system, rng)
        for time, now, before in zip(times, _measures(state), start, strict=True):
            rows = time[alive]
            dead = now[:, None] <= np.multiply(LEVELS, before[0])
            time[alive] = np.where(dead & np.isinf(rows), t, rows)
        text, seen, archive = (np.isfinite(time[alive]) for time in times)
        finished = text[:, 0] & seen[:, 0] & (text | (seen & archive)).all(axis=1)
        if finished.any():
            alive, state = alive[~finished], state.select(~finished)
            if alive.size == 0:
                break
    return DeathTimes(text=times[0], seen=times[1], archive=times[2], cap=cap)


def summarise(times: DeathTimes) -> dict[str, float]:
    """Reduce the deaths of R runs to the numbers that are stored.

    Beyond the paper.

    Parameters
    ----------
    times : DeathTimes

    Returns
    -------
    dict
        ``first_seen_50``, ..., ``first_archive_10``: share of the runs in which the text model dies first, against
        either image measure and at either level in per cent; deaths in the same macro step count one half each (so do
        two that were not seen), and ``tie_...`` is their share. ``text_median``, ``text_low``, ``text_high`` and the
        same for ``seen``: median time at the first level, of an even number of runs the lower middle value, and its
        95 % interval (order statistics); NaN where they are beyond the cap, and for both ends of fewer than 6 runs,
        which have no such interval. ``censored``: share of the runs that reached the cap before both these deaths.

    Raises
    ------
    TypeError
        If `times` is no DeathTimes.
    """
    check.instance("times", times, DeathTimes)
    result: dict[str, float] = {}
    for name, images in (("seen", times.seen), ("archive", times.archive)):
        for column, level in enumerate(LEVELS):
            text, image = times.text[:, column], images[:, column]
            tie = float((text == image).mean())
            key = f"{name}_{100 * level:.0f}"
            result[f"first_{key}"] = float((text < image).mean()) + tie / 2
            result[f"tie_{key}"] = tie
    runs = len(times.text)
    # The interval between these order statistics misses the median with probability at most 0.025 on each side.
    rank = int(stats.binom.ppf(0.025, runs, 0.5))  # 0 for fewer than 6 runs
    for name, values in (("text", times.text), ("seen", times.seen)):
        ordered = np.sort(values[:, 0])
        low, high = (ordered[rank - 1], ordered[-rank]) if rank else (np.nan, np.nan)
        picked = {"median": ordered[(runs - 1) // 2], "low": low, "high": high}
        result |= {f"{name}_{key}": float(v) if np.isfinite(v) else np.nan for key, v in picked.items()}
    result["censored"] = float(np.isinf(times.text[:, 0] + times.seen[:, 0]).mean())
    return result


def _measures(state: State) -> tuple[Array, Array, Array]:
    images = state.images.diversity
    return text_diversity_unchecked(state.p), (state.p * images).sum(axis=1), images.mean(axis=1)


def _point(
    rng: np.random.Generator,
    *,
    text_samples: int,
    image_samples: int,
    image_updates: int,
    n_texts: int,
    sigma: float,
    runs: int,
) -> Mapping[str, float]:
    system = System(circle(n_texts, sigma), text_samples, image_samples, image_updates=image_updates)
    return summarise(death_times(system, runs, rng=rng))


#: The phase diagram. All three axes go by powers of two, so that M S_I / N takes the same values again and again.
WHICH_DIES_FIRST = Sweep(
    name="which-dies-first",
    point=_point,
    grid={
        "image_updates": (1, 4, 16),
        "image_samples": tuple(2**k for k in range(4, 11)),
        "text_samples": tuple(2**k for k in range(2, 10)),
    },
    fixed={"n_texts": 5, "sigma": 0.1, "runs": 200},
    seed=80,
    version=2,
)
