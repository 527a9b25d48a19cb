"""Real pictures for the image model: the handwritten digits that scikit-learn ships, in a latent space.

The ten digits are the texts. A picture has 8 x 8 pixels of ink from 0 to 16; principal axes turn it into a few latent
coordinates, in which each label gets a Gaussian image model. `Digits.decode` turns what such a model generates back
into pixels, so that a reader can see an image model collapse.

The pictures need scikit-learn, which the extra ``coevo[book]`` installs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from coevo import _validation as check
from coevo._validation import Array
from coevo.simulation.state import State

__all__ = ["Digits", "load_digits"]

_SIDE = 8
_MOST_INK = 16.0
_LABELS = 10


@dataclass(frozen=True, eq=False)
class Digits:
    """Handwritten digits in a latent space, and the Gaussian image models fitted to them. Made by `load_digits`.

    Latent coordinates are in units of the pixels' ink: the axes are orthonormal, so no distance is stretched.

    Attributes
    ----------
    dim : int, latent dimension d
    centre : array (64,), mean of the training pictures
    axes : array (d, 64), the first d principal axes of the training pictures; orthonormal, the largest entry of each
        positive
    explained : float, share of the variance of the training pictures that d coordinates keep
    train, held_out : tuples of ten arrays (n_i, d) and (m_i, d), real pictures of each label in latent coordinates
    p : array (10,), share of each label among the training pictures
    mean : array (10, d), mean of each label's training pictures
    cov : array (10, d, d), their covariance, divided by n_i - 1
    """

    dim: int
    centre: Array
    axes: Array
    explained: float
    train: tuple[Array, ...]
    held_out: tuple[Array, ...]
    p: Array
    mean: Array
    cov: Array

    def decode(self, latent: Any) -> Array:
        """Turn latent coordinates into pictures.

        Parameters
        ----------
        latent : array (..., d)

        Returns
        -------
        array (..., 8, 8), ink of the pixels, cut to the range from 0 to 16 that a real picture has

        Raises
        ------
        TypeError, ValueError
            If `latent` does not hold finite numbers or its last axis is not d.
        """
        points = check.real_array("latent", latent)
        if points.ndim < 1 or points.shape[-1] != self.dim:
            raise ValueError(f"latent must have shape (..., {self.dim}), got {points.shape}")
        ink: Array = np.clip(points @ self.axes + self.centre, 0.0, _MOST_INK)
        return ink.reshape(*points.shape[:-1], _SIDE, _SIDE)

    def encode(self, pictures: Any) -> Array:
        """Turn pictures into latent coordinates: their projection on the axes.

        Parameters
        ----------
        pictures : array (..., 8, 8), ink of the pixels

        Returns
        -------
        array (..., d)

        Raises
        ------
        TypeError, ValueError
            If `pictures` does not hold finite numbers or does not end in two axes of 8.
        """
        ink = check.real_array("pictures", pictures)
        if ink.shape[-2:] != (_SIDE, _SIDE):
            raise ValueError(f"pictures must have shape (..., {_SIDE}, {_SIDE}), got {ink.shape}")
        latent: Array = (ink.reshape(*ink.shape[:-2], _SIDE * _SIDE) - self.centre) @ self.axes.T
        return latent

    def state(self, p: Any = None, runs: int = 1) -> State:
        """Return the fitted image models as the initial state of a system.

        Parameters
        ----------
        p : array (10,), probabilities of the labels; by default their shares among the training pictures
        runs : int >= 1, independent runs

        Returns
        -------
        coevo.simulation.State with ten texts in d dimensions; text i is the digit i

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what it may be, and what it was.
        """
        p = self.p if p is None else check.probability_vector("p", p)
        if p.shape != (_LABELS,):
            raise ValueError(f"p must have shape ({_LABELS},), got {p.shape}")
        return State.create(p, self.mean, self.cov, runs)


def load_digits(dim: int = 16, *, held_out: float = 0.5, rng: Any = 0) -> Digits:
    """Load the 1,797 handwritten digits of scikit-learn and fit a Gaussian to each label in a latent space.

    Each label is split by itself, so the two parts have equal shares of every label. The principal axes and the
    Gaussians see the training part alone.

    Parameters
    ----------
    dim : int >= 1
        Latent dimension d, at most the number of directions in which the training pictures vary, where `decode` is
        exact on them: 60 for the default split, 61 for all pictures (three pixels never carry ink), fewer for a small
        training part. For the default split the ten covariances are positive definite up to d = 46; beyond, a label
        lacks a direction.
    held_out : float in [0, 0.9]
        Share of the pictures of each label that is kept for tests.
    rng : seed (int >= 0), SeedSequence or numpy Generator
        Decides the split, and nothing else.

    Returns
    -------
    Digits

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    ModuleNotFoundError
        Without scikit-learn.
    """
    share = check.number("held_out", held_out, minimum=0.0, maximum=0.9)
    generator = check.generator(rng)
    from sklearn import datasets, decomposition  # type: ignore[import-untyped]  # slow to import, and optional

    data = datasets.load_digits()
    pixels = np.asarray(data.data, dtype=np.float64)
    kept, tested = [], []
    for label in range(_LABELS):
        rows = generator.permutation(np.flatnonzero(data.target == label))
        cut = round(share * rows.size)
        tested.append(np.sort(rows[:cut]))
        kept.append(np.sort(rows[cut:]))
    training = pixels[np.concatenate(kept)]
    rank = int(np.linalg.matrix_rank(training - training.mean(axis=0)))
    dim = check.integer("dim", dim, minimum=1, maximum=rank)
    pca = decomposition.PCA(dim, svd_solver="full").fit(training)
    largest = np.abs(pca.components_).argmax(axis=1)
    axes = pca.components_ * np.sign(pca.components_[np.arange(dim), largest])[:, None]
    train = tuple((pixels[rows] - pca.mean_) @ axes.T for rows in kept)
    mean = np.array([points.mean(axis=0) for points in train])
    deviations = [points - centre for points, centre in zip(train, mean, strict=True)]
    return Digits(
        dim=dim,
        centre=pca.mean_,
        axes=axes,
        explained=float(pca.explained_variance_ratio_.sum()),
        train=train,
        held_out=tuple((pixels[rows] - pca.mean_) @ axes.T for rows in tested),
        p=np.array([len(points) for points in train]) / len(training),
        mean=mean,
        cov=np.array([gap.T @ gap / (len(gap) - 1) for gap in deviations]),
    )
