"""The state of the co-evolving system: a text model and one Gaussian image model per text, for many runs at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coevo import _validation as check
from coevo import factors
from coevo._validation import Array

__all__ = ["ImageModel", "State", "circle"]


@dataclass(frozen=True, eq=False)
class ImageModel:
    """Gaussian image models N(mean, U diag(e^{2s}) U^T), one per run and text (see `coevo.factors`).

    Attributes
    ----------
    mean : array (R, K, d)
    unit : array (R, K, d, d), unit lower triangular U
    log_scale : array (R, K, d), s; -inf marks a lost direction
    """

    mean: Array
    unit: Array
    log_scale: Array

    @property
    def factor(self) -> Array:
        """Factors L = U diag(e^s), array (R, K, d, d)."""
        return self.unit * np.exp(self.log_scale)[..., None, :]

    @property
    def cov(self) -> Array:
        """Covariances L L^T, array (R, K, d, d); they underflow to zero long before `log_scale` does."""
        factor = self.factor
        return factor @ np.swapaxes(factor, -1, -2)

    @property
    def log_diversity(self) -> Array:
        """Logarithm of the image diversity tr Sigma^{1/2}, array (R, K); finite where the diversity underflows."""
        top = self.log_scale.max(axis=-1)
        shift = np.where(np.isfinite(top), top, 0.0)
        factor = self.unit * np.exp(self.log_scale - shift[..., None])[..., None, :]
        with np.errstate(divide="ignore"):  # a point mass has diversity zero and log-diversity -inf
            log_diversity: Array = shift + np.log(_nuclear_norm(factor))
        return log_diversity

    @property
    def diversity(self) -> Array:
        """Image diversity tr Sigma^{1/2} (Gao & Li 2025, eq. 2.10), array (R, K)."""
        return np.exp(self.log_diversity)


def _nuclear_norm(factor: Array) -> Array:
    """Sum of the singular values of lower triangular matrices (..., d, d)."""
    if factor.shape[-1] == 1:
        return np.abs(factor[..., 0, 0])
    if factor.shape[-1] == 2:
        # (s1 + s2)^2 = ||L||_F^2 + 2 |det L|, a sum of positive terms.
        squares = (factor**2).sum(axis=(-2, -1))
        root: Array = np.sqrt(squares + 2 * np.abs(factor[..., 0, 0] * factor[..., 1, 1]))
        return root
    singular: Array = np.linalg.svd(factor, compute_uv=False).sum(axis=-1)
    return singular


@dataclass(frozen=True, eq=False)
class State:
    """State of R runs of the system with K texts and images of d dimensions. Make one with `State.create`.

    Attributes
    ----------
    p : array (R, K), the text model of each run
    images : ImageModel, the image models now
    initial : ImageModel, the image models each text started with (the reference of the fidelity)
    """

    p: Array
    images: ImageModel
    initial: ImageModel

    @classmethod
    def create(cls, p: Any, mean: Any, cov: Any, runs: int = 1) -> State:
        """Make the same initial state for every run.

        Parameters
        ----------
        p : array (K,), probabilities of the texts
        mean : array (K, d)
        cov : array (K, d, d) or (d, d), symmetric positive semidefinite, singular ones included
        runs : int, number of runs R

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what it may be, and what it was.
        """
        p = check.probability_vector("p", p)
        mean = check.real_array("mean", mean, (p.size, None))
        cov = check.covariance("cov", cov, dim=mean.shape[1])
        if cov.shape[:-2] not in {(), (p.size,)}:
            raise ValueError(f"cov must have shape (K, d, d) or (d, d) with K = {p.size}, got {cov.shape}")
        runs = check.integer("runs", runs, minimum=1)
        unit, log_scale = factors.factorise(np.broadcast_to(cov, (p.size, *cov.shape[-2:])))
        images = ImageModel(mean[None], unit[None], log_scale[None])
        return cls(p[None] / p.sum(), images, images).repeat(runs)

    @property
    def runs(self) -> int:
        """Number of runs R."""
        return len(self.p)

    @property
    def n_texts(self) -> int:
        """Number of texts K."""
        return int(self.p.shape[1])

    @property
    def dim(self) -> int:
        """Dimension d of the images."""
        return int(self.images.mean.shape[-1])

    @property
    def mean(self) -> Array:
        """Means of the image models, array (R, K, d)."""
        return self.images.mean

    @property
    def cov(self) -> Array:
        """Covariances of the image models, array (R, K, d, d)."""
        return self.images.cov

    def repeat(self, runs: int) -> State:
        """Copy a state of one run `runs` >= 1 times."""
        runs = check.integer("runs", runs, minimum=1)
        if self.runs != 1:
            raise ValueError(f"runs of the state must be 1, got {self.runs}")

        def copies(array: Array) -> Array:
            return np.repeat(array, runs, axis=0)

        return self._map(copies)

    def select(self, rows: slice | NDArray[np.bool_]) -> State:
        """Return the runs in `rows`."""
        return self._map(lambda array: array[rows].copy())

    def _map(self, function: Any) -> State:
        images, initial = self.images, self.initial
        return State(
            function(self.p),
            ImageModel(function(images.mean), function(images.unit), function(images.log_scale)),
            ImageModel(function(initial.mean), function(initial.unit), function(initial.log_scale)),
        )


def circle(
    n_texts: int = 5,
    sigma: float = 1.0,
    *,
    dim: int = 2,
    p: Any = None,
    radius: float = 1.0,
    runs: int = 1,
) -> State:
    """Texts at equal angles on a circle: the initial state of the paper's experiments (Gao & Li 2025, section 8).

    Parameters
    ----------
    n_texts : int, number of texts K; text k has its mean at angle 2 pi k / K
    sigma : float in [1e-150, 1e150], every covariance is sigma^2 I
    dim : int >= 2, dimension d; the circle lies in the first two coordinates
    p : array (K,) of probabilities, uniform unless given
    radius : float >= 0, radius of the circle
    runs : int, number of runs

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    n_texts = check.integer("n_texts", n_texts, minimum=1)
    dim = check.integer("dim", dim, minimum=2)
    sigma = check.number("sigma", sigma, minimum=1e-150, maximum=1e150)
    radius = check.number("radius", radius, minimum=0.0)
    angle = 2 * np.pi * np.arange(n_texts) / n_texts
    mean = np.zeros((n_texts, dim))
    mean[:, 0], mean[:, 1] = radius * np.cos(angle), radius * np.sin(angle)
    p = np.full(n_texts, 1 / n_texts) if p is None else p
    return State.create(p, mean, sigma**2 * np.eye(dim), runs)
