"""What several modules of `coevo.theory` need, and no reader does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from coevo import _validation as check

# The largest number of updates that are computed one by one.
_LONGEST = 10**6


def after_losses(start: float, share: float, updates: int, t: NDArray[np.int64]) -> Any:
    """Return (1 - share)^{S t} times `start`, without overflow and to the last digits for a tiny share."""
    return check.plain(start * np.exp(special.xlog1py(float(updates) * t, -share)))


def likely_counts(image_samples: int, p: float, log: float = 43.0) -> NDArray[np.int64]:
    """Return the counts n >= 2 near N p; those left out have a binomial probability of at most 2 exp(-log) altogether.

    Bernstein's inequality: P(|n - N p| >= r) <= 2 exp(-r^2 / (2 v + 2 r / 3)), v = N p (1 - p).
    """
    centre = image_samples * p
    reach = log / 3 + float(np.sqrt(log**2 / 9 + 2 * log * centre * (1 - p)))
    return np.arange(max(2, int(centre - reach)), min(image_samples, int(centre + reach) + 1) + 1)


def few_updates(t: ArrayLike) -> NDArray[np.int64]:
    """Return `t` as numbers of updates, small enough that each update can be computed."""
    times = check.integer_array("t", t, minimum=0)
    if times.max(initial=0) > _LONGEST:
        raise ValueError(f"t must hold integers <= {_LONGEST}, since every update is computed, got {times.max()}")
    return times
