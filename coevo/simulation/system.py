"""Parameters of a co-evolving system: who trains on whom, how often, and what comes in from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
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
    mean : array (d,), mean of the image model of a new text; or (L, d), of L laws, of which each new text takes one,
        drawn uniformly and independently of everything else
    cov : array (d, d), its covariance; or (L, d, d), those of the L laws
    mean_cov : array (d, d) or None; given, the mean of each new text is drawn from N(`mean`, `mean_cov`), which must
        then be a single law

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
        mean = check.real_array("mean", self.mean)
        if mean.ndim not in (1, 2) or mean.size == 0:
            raise ValueError(f"mean must have shape (d,) or (L, d), got {mean.shape}")
        dim = mean.shape[-1]
        cov = check.covariance("cov", self.cov, dim=dim)
        if cov.shape[:-2] != mean.shape[:-1]:
            raise ValueError(f"cov must have shape {(*mean.shape, dim)}, one for each mean, got {cov.shape}")
        unit, log_scale = factors.factorise(cov)
        if mean.ndim == 2 and self.mean_cov is not None:
            raise ValueError(f"mean_cov must be None with a list of laws, got {self.mean_cov!r}")
        spread = np.zeros((dim, dim)) if self.mean_cov is None else self.mean_cov
        spread_unit, spread_scale = factors.factorise(check.single_covariance("mean_cov", spread, dim=dim))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "cov", cov)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "log_scale", log_scale)
        object.__setattr__(self, "mean_factor", spread_unit * np.exp(spread_scale))

    def check_fits(self, dim: int) -> None:
        """Raise a ValueError unless new texts have images of d dimensions."""
        if self.mean.shape[-1] != dim:
            raise ValueError(f"corpus.mean must have shape ({dim},) or (L, {dim}), got {self.mean.shape}")

    def draw_laws(self, runs: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Draw the image model of a new text for each run: means (R, d), units (R, d, d) and log-scales (R, d)."""
        if self.mean.ndim == 2:
            law = rng.integers(len(self.mean), size=runs)
            return self.mean[law], self.unit[law], self.log_scale[law]
        mean = self.mean + rng.standard_normal((runs, self.mean.size)) @ self.mean_factor.T
        return mean, np.broadcast_to(self.unit, (runs, *self.unit.shape)), np.broadcast_to(self.log_scale, mean.shape)


@dataclass(frozen=True, eq=False)
class UserContent:
    """User images that join every image update (Gao & Li 2025, Algorithm 3, eqs. 6.6-6.10).

    Their law is a Gaussian, or a finite pool of images. From a pool every update draws the m images of a text anew,
    uniformly, with replacement, and independently for each run and text. A user image then has the law that gives the
    weight 1/n to each of the n images of the pool: its mean is the mean of the pool, its covariance that of the pool
    with divisor n (``np.cov(pool, rowvar=False, bias=True)``), and no assumption of normality is left.
    Every image is really drawn, so time and memory grow with m; with Gaussian user images they do not.

    Attributes
    ----------
    user_images : int >= 0, m, user images per image update and text; or a frozen discrete law of `scipy.stats` on
        the integers >= 0, such as ``stats.poisson(3)``, from which m is drawn anew for every run, text and update
    mean : array (d,) or (K, d), or None for the initial mean of each text
    cov : array (d, d) or (K, d, d), or None for the initial covariance of each text
    images : array (n, d), the pool of all texts; or a list or tuple of K arrays (n_i, d), the pool of each text; or
        None for Gaussian user images. With a pool `mean` and `cov` must be None.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """

    user_images: Any
    mean: Any = None
    cov: Any = None
    images: Any = None
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
        if self.images is not None:
            self._check_pools()

    def _check_pools(self) -> None:
        """Check `images` and make it an array, or a tuple of arrays."""
        for name, value in (("mean", self.mean), ("cov", self.cov)):
            if value is not None:
                raise ValueError(f"{name} must be None with a pool of images, got an array of shape {value.shape}")
        if not isinstance(self.images, (list, tuple)):
            object.__setattr__(self, "images", check.real_array("images", self.images, (None, None)))
            return
        if not self.images:
            raise ValueError("images must hold at least one pool, got none")
        pools = tuple(check.real_array(f"images[{i}]", x, (None, None)) for i, x in enumerate(self.images))
        widths = sorted({pool.shape[1] for pool in pools})
        if len(widths) > 1:
            raise ValueError(f"images must be pools of the same dimension, got dimensions {widths}")
        object.__setattr__(self, "images", pools)

    def draw_images(self, shape: tuple[int, int], number: int, rng: np.random.Generator) -> Array:
        """Draw `number` images from the pool of each text, array (R, K, number, d) for `shape` (R, K)."""
        stacked, size = self._stacked
        drawn = rng.integers(size[:, None], size=(*shape, number)) + (np.cumsum(size) - size)[:, None]
        images: Array = stacked[drawn]
        return images

    @cached_property
    def _stacked(self) -> tuple[Array, NDArray[np.int64]]:
        """All pools under each other, and how many images each has."""
        pools = self.images if isinstance(self.images, tuple) else (self.images,)
        return np.concatenate(pools), np.array([len(pool) for pool in pools])

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
        several = isinstance(self.images, tuple)
        if several and (grows or len(self.images) != n_texts):
            wanted = "one pool for all texts, since the corpus grows" if grows else f"one pool or a list of {n_texts}"
            raise ValueError(f"user.images must be {wanted}, got a list of {len(self.images)}")
        if self.images is not None:
            width = (self.images[0] if several else self.images).shape[-1]
            if width != dim:
                raise ValueError(f"user.images must have dimension {dim}, got {width}")


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
