"""The three diagnostic measures of the co-evolving system (Gao & Li 2025, section 2.3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from coevo import _validation as check
from coevo._validation import Array

__all__ = ["fidelity", "image_diversity", "text_diversity"]


def text_diversity(p: Any) -> Array:
    """Diversity D(p) = 1 - sum_i p_i^2 of text models (Gao & Li 2025, eq. 2.8).

    It is computed as sum_i p_i (1 - p_i), with 1 - p_i taken as the sum of the other masses: near collapse
    1 - sum p_i^2 would lose every digit.

    Parameters
    ----------
    p : array (..., K), probabilities

    Returns
    -------
    array (...), between 0 (one-hot) and 1 - 1/K (uniform)

    Raises
    ------
    TypeError, ValueError
        If `p` does not hold probabilities that sum to one.
    """
    return text_diversity_unchecked(check.probability_vector("p", p, batch=True))


def text_diversity_unchecked(p: Array) -> Array:
    """`text_diversity` without the check of `p`, for the inner loops."""
    top = p.argmax(axis=-1)[..., None]
    rest = p.copy()
    np.put_along_axis(rest, top, 0.0, axis=-1)
    lost = rest.sum(axis=-1)
    largest = np.take_along_axis(p, top, axis=-1)[..., 0]
    diversity: Array = largest * lost + (rest * (1 - rest)).sum(axis=-1)
    return diversity


def image_diversity(cov: Any) -> Array:
    """Diversity tr(Sigma^{1/2}) of Gaussian image models, in the units of the images (eq. 2.10).

    Parameters
    ----------
    cov : array (..., d, d), symmetric positive semidefinite

    Returns
    -------
    array (...), the sum of the standard deviations along the principal axes

    Raises
    ------
    TypeError, ValueError
        If `cov` is not a stack of covariance matrices.
    """
    eigenvalues = np.linalg.eigvalsh(check.covariance("cov", cov))
    diversity: Array = np.sqrt(np.maximum(eigenvalues, 0.0)).sum(axis=-1)
    return diversity


def fidelity(mean: Any, reference: Any) -> Array:
    """Fidelity ||mu_t - mu_0||_2 of an image model: how far its mean has drifted (eq. 2.9).

    Parameters
    ----------
    mean, reference : arrays (..., d) that broadcast against each other

    Returns
    -------
    array (...), in the units of the images; small means faithful

    Raises
    ------
    TypeError, ValueError
        If the arrays do not hold finite numbers, or do not broadcast.
    """
    mean, reference = check.real_array("mean", mean), check.real_array("reference", reference)
    if mean.ndim < 1 or reference.ndim < 1 or mean.shape[-1] != reference.shape[-1]:
        raise ValueError(f"reference must end in the axis of mean, {mean.shape}, got {reference.shape}")
    try:
        np.broadcast_shapes(mean.shape, reference.shape)
    except ValueError as error:
        raise ValueError(f"reference must broadcast with mean, {mean.shape}, got {reference.shape}") from error
    distance: Array = np.linalg.norm(mean - reference, axis=-1)
    return distance
