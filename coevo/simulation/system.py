"""Parameters of a co-evolving system: who trains on whom, how often, and what comes in from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coevo import _validation as check
from coevo import factors
from coevo._validation import Array
from coevo.simulation.state import State

__all__ = ["CorpusInjection", "System", "UserContent"]


@dataclass(frozen=True, eq=False)
class CorpusInjection:
    """New texts that enter the corpus (Gao & Li 2025, Algorithm 2, eqs. 6.1-6.2).

    At the start of a macro step, with probability `injection_prob`, every mass is multiplied by
    1 - `injection_fraction` and a new text receives the mass `injection_fraction`.

    Attributes
    ----------
    injection_prob : float in [0, 1], alpha
    injection_fraction : float in [0, 1], epsilon
    mean : array (d,), mean of the image model of a new text
    cov : array (d, d), its covariance
    mean_cov : array (d, d) or None; given, the mean of each new text is drawn from N(`mean`, `mean_cov`)

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """

    injection_prob: float
    injection_fraction: float
    mean: Any
    cov: Any
    mean_cov: Any = None
    unit: Array = field(init=False, repr=False, compare=False)
    log_scale: Array = field(init=False, repr=False, compare=False)
    mean_factor: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("injection_prob", "injection_fraction"):
            object.__setattr__(self, name, check.probability(name, getattr(self, name)))
        mean = check.real_array("mean", self.mean, (None,))
        unit, log_scale = _single_factor("cov", self.cov, mean.size)
        spread = np.zeros((mean.size, mean.size)) if self.mean_cov is None else self.mean_cov
        spread_unit, spread_scale = _single_factor("mean_cov", spread, mean.size)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "log_scale", log_scale)
        object.__setattr__(self, "mean_factor", spread_unit * np.exp(spread_scale))

    def check_fits(self, dim: int) -> None:
        """Raise a ValueError unless new texts have images of d dimensions."""
        if self.mean.size != dim:
            raise ValueError(f"corpus.mean must have shape ({dim},), got {self.mean.shape}")


@dataclass(frozen=True, eq=False)
class UserContent:
    """User images that join every image update (Gao & Li 2025, Algorithm 3, eqs. 6.6-6.10).

    Attributes
    ----------
    user_images : int >= 0, m, user images per image update and text; or a frozen discrete law of `scipy.stats` on
        the integers >= 0, such as ``stats.poisson(3)``, from which m is drawn anew for every run, text and update
    mean : array (d,) or (K, d), or None for the initial mean of each text
    cov : array (d, d) or (K, d, d), or None for the initial covariance of each text

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """

    user_images: Any
    mean: Any = None
    cov: Any = None
    unit: Array | None = field(init=False, repr=False, compare=False)
    log_scale: Array | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check.count_law("user_images", self.user_images, minimum=0)
        if self.mean is not None:
            mean = check.real_array("mean", self.mean)
            if mean.ndim not in (1, 2) or mean.size == 0:
                raise ValueError(f"mean must have shape (d,) or (K, d), got {mean.shape}")
            object.__setattr__(self, "mean", mean)
        unit = log_scale = None
        if self.cov is not None:
            cov = check.covariance("cov", self.cov)
            if cov.ndim > 3:
                raise ValueError(f"cov must have shape (d, d) or (K, d, d), got {cov.shape}")
            object.__setattr__(self, "cov", cov)
            unit, log_scale = factors.factorise(cov)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "log_scale", log_scale)

    def counts(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return m for each of `shape`; a fixed m takes nothing from `rng`."""
        if check.is_count_law(self.user_images):
            return np.asarray(self.user_images.rvs(size=shape, random_state=rng), dtype=np.int64)
        return np.full(shape, int(self.user_images))

    def check_fits(self, n_texts: int, dim: int, *, grows: bool = False) -> None:
        """Raise a ValueError unless the laws fit K texts (one law for all if the corpus `grows`) in d dimensions."""
        for name, array, tail in (("mean", self.mean, (dim,)), ("cov", self.cov, (dim, dim))):
            allowed = {tail} if grows else {tail, (n_texts, *tail)}
            if array is not None and array.shape not in allowed:
                why = " (one law for all texts, since the corpus grows)" if grows else ""
                raise ValueError(f"user.{name} must have a shape in {sorted(allowed)}{why}, got {array.shape}")


@dataclass(frozen=True, eq=False)
class System:
    """A co-evolving system (Gao & Li 2025, Algorithm 1; with `corpus` Algorithm 2, with `user` Algorithm 3).

    A macro step makes `text_updates` text updates with the image model fixed, then `image_updates` image
    updates with the text model fixed.

    Attributes
    ----------
    initial : State of one run, or of as many runs as will be simulated
    text_samples : int >= 1, M, images drawn in one text update
    image_samples : int >= 1, N, images drawn in one image update
    text_updates : int >= 0, S_T; 0 freezes the text model
    image_updates : int >= 0, S_I; 0 freezes the image model
    corpus : CorpusInjection or None
    user : UserContent or None

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """

    initial: State
    text_samples: int
    image_samples: int
    text_updates: int = 1
    image_updates: int = 1
    corpus: CorpusInjection | None = None
    user: UserContent | None = None

    def __post_init__(self) -> None:
        check.instance("initial", self.initial, State)
        for name, minimum in (("text_samples", 1), ("image_samples", 1), ("text_updates", 0), ("image_updates", 0)):
            object.__setattr__(self, name, check.integer(name, getattr(self, name), minimum=minimum))
        dim, n_texts = self.initial.dim, self.initial.n_texts
        if self.corpus is not None:
            check.instance("corpus", self.corpus, CorpusInjection)
            self.corpus.check_fits(dim)
        if self.user is not None:
            check.instance("user", self.user, UserContent)
            self.user.check_fits(n_texts, dim, grows=self.corpus is not None)


def _single_factor(name: str, cov: Any, dim: int) -> tuple[Array, Array]:
    """Check one (d, d) covariance and return its factor."""
    return factors.factorise(check.single_covariance(name, cov, dim=dim))
