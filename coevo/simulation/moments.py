"""Statistics over the runs of a block: moments that merge, and the values behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from coevo._validation import Array

__all__ = ["Block", "Moments", "check_shape", "merged"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean, standard deviation (divisor n) and skewness over runs, which merge exactly at any scale.

    Attributes
    ----------
    count : int, runs
    mean, spread, skewness : arrays (T, ...), at each of T times
    """

    count: int
    mean: Array
    spread: Array
    skewness: Array

    @classmethod
    def empty(cls, count: int, shape: tuple[int, ...]) -> Moments:
        """Room for the moments of `count` runs, to be filled by `put`."""
        return cls(count, np.empty(shape), np.empty(shape), np.empty(shape))

    def put(self, i: int, values: Array) -> None:
        """Take the moments at the i-th time from the values (R, ...) of the runs."""
        mean = values.mean(axis=0)
        with np.errstate(invalid="ignore"):  # a log-diversity of -inf has no spread
            deviation = values - mean
        unit = _positive(np.abs(deviation).max(axis=0))
        scaled = deviation / unit
        spread = np.sqrt((scaled**2).mean(axis=0))
        self.mean[i], self.spread[i] = mean, unit * spread
        self.skewness[i] = (scaled**3).mean(axis=0) / _positive(spread) ** 3

    def merge(self, other: Moments) -> Moments:
        """Moments over the runs of both."""
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
            return Moments(n, mean, unit * spread, third / _positive(spread) ** 3)

    def standard_error(self) -> Array:
        """Standard errors of the means; nan for a single run."""
        if self.count < 2:
            return np.full_like(self.mean, np.nan)
        error: Array = self.spread / np.sqrt(self.count - 1)
        return error


def _positive(values: Array) -> Array:
    """Replace zeros by ones: what they would divide is zero too."""
    positive: Array = np.where(values == 0, 1.0, values)
    return positive


@dataclass(frozen=True, eq=False)
class Block:
    """What one block of R runs leaves behind at T times.

    Attributes
    ----------
    moments : Moments by statistic
    values : arrays (T, R, ...) by statistic; empty where no quantiles are wanted
    """

    moments: dict[str, Moments] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)

    def record(self, i: int, times: int, name: str, values: Array, *, keep: bool) -> None:
        """Take the values (R, ...) of a statistic at the i-th of T times, and `keep` them or their moments only."""
        if i == 0:
            self.moments[name] = Moments.empty(len(values), (times, *values.shape[1:]))
            if keep:
                self.values[name] = np.empty((times, *values.shape))
        moments = self.moments[name]
        check_shape(name, moments.mean.shape[1:], values.shape[1:])
        moments.put(i, values)
        if keep:
            self.values[name][i] = values

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each statistic of one run."""
        return {name: moments.mean.shape[1:] for name, moments in self.moments.items()}


def check_shape(name: str, expected: tuple[int, ...], got: tuple[int, ...]) -> None:
    """Refuse a statistic per text of a corpus that grows."""
    if got != expected:
        raise ValueError(f"statistics[{name!r}] must keep its shape {expected} while the corpus grows, got {got}")


def merged(a: Mapping[str, Moments], b: Mapping[str, Moments]) -> dict[str, Moments]:
    """Merge moments by statistic."""
    for name in a:
        check_shape(name, a[name].mean.shape[1:], b[name].mean.shape[1:])
    return {name: moments.merge(b[name]) for name, moments in a.items()}
