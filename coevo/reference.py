"""Algorithms written out literally: one run, one image or point at a time.

Algorithms 1, 2 and 3 of Gao & Li (2025) are `algorithm_1`, `algorithm_2` and `algorithm_3`. Algorithms 2 and 3 of Wang
et al. (2025), on networks of Gaussian mixtures, are `mixture_weight_update` and `mixture_network`.

This is the oracle of the tests and the baseline of the benchmark, and nothing else uses it. It shares no code with
`coevo.simulation` and `coevo.network`: covariances are plain matrices, images are drawn and kept, and means and
covariances are taken over the images; a mixture computes its densities anew for every point. It is some thousand
times slower, and it leaves the numbers once a covariance or a density underflows.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from coevo import _validation as check
from coevo._validation import Array

__all__ = [
    "UserImages",
    "algorithm_1",
    "algorithm_2",
    "algorithm_3",
    "image_update",
    "inject_text",
    "mixture_network",
    "mixture_weight_update",
    "text_update",
]

#: An eigenvalue below this fraction of the largest is a rounded zero: the covariance is singular.
ZERO_EIGENVALUE = 1e-12

#: Two supports closer than this, relative to the coordinates, are the same one.
SAME_SUPPORT = 1e-9

ImageModels = tuple[Array, Array]
Model = tuple[Array, Array, Array]


class UserImages(NamedTuple):
    """User images: how many per image update and text, their means (K, d) and covariances (K, d, d)."""

    user_images: int
    user_mean: Any
    user_cov: Any


class _ImageLaw:
    """N(mean, cov) on its support, the affine space mean + range(cov) with orthonormal basis `basis`."""

    def __init__(self, mean: Array, cov: Array) -> None:
        eigenvalues, eigenvectors = np.linalg.eigh(cov)
        kept = eigenvalues > ZERO_EIGENVALUE * eigenvalues[-1]
        self.mean = mean
        self.rank = int(kept.sum())
        self.basis = eigenvectors[:, kept]
        self.scale = np.sqrt(eigenvalues[kept])

    @cached_property
    def law(self) -> Any:
        """Law of the coordinates along the principal axes, which are independent."""
        return stats.multivariate_normal(np.zeros(self.rank), stats.Covariance.from_diagonal(self.scale**2))

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw one image."""
        if self.rank == 0:
            return self.mean.copy()
        image: Array = self.mean + self.basis @ (self.scale * rng.standard_normal(self.rank))
        return image

    def density(self, image: Array) -> float:
        """Density of an image on the support, with respect to the Lebesgue measure of the support."""
        if self.rank == 0:
            return 1.0
        return float(self.law.pdf(self.basis.T @ (image - self.mean)))

    def has_support_of(self, other: _ImageLaw) -> bool:
        """Whether the two laws live on the same affine space."""
        if self.rank != other.rank:
            return False
        if self.rank == self.mean.size:
            return True
        outside = np.eye(self.mean.size) - self.basis @ self.basis.T
        size = np.abs(self.mean).max() + np.abs(other.mean).max() + self.scale.sum() + other.scale.sum()
        parallel = np.abs(outside @ other.basis).max(initial=0.0) <= SAME_SUPPORT
        meets = np.abs(outside @ (other.mean - self.mean)).max() <= SAME_SUPPORT * size
        return bool(parallel and meets)


def text_update(p: Any, mean: Any, cov: Any, text_samples: int, rng: Any) -> Array:
    """Update the text model once (eqs. 2.3-2.4): the average posterior of M images.

    A text whose law has another support than that of the text that made the image has density zero there,
    except that a law with the whole space as its support shares it with every other such law.

    Parameters
    ----------
    p : array (K,), text model
    mean, cov : arrays (K, d) and (K, d, d), image models
    text_samples : int >= 1, M
    rng : seed or numpy Generator

    Returns
    -------
    array (K,), the new text model

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    p, mean, cov = _checked_model(p, mean, cov)
    text_samples = check.integer("text_samples", text_samples, minimum=1)
    rng = check.generator(rng)
    n_texts = p.size
    laws = [_ImageLaw(mean[i], cov[i]) for i in range(n_texts)]
    comparable = [[laws[j].has_support_of(laws[i]) for j in range(n_texts)] for i in range(n_texts)]
    posteriors = []
    for _ in range(text_samples):
        text = rng.choice(n_texts, p=p)
        image = laws[text].draw(rng)
        joint = []
        for j in range(n_texts):
            joint.append(p[j] * laws[j].density(image) if comparable[text][j] else 0.0)
        posteriors.append(np.array(joint) / np.sum(joint))
    average: Array = np.mean(posteriors, axis=0)
    return average


def image_update(
    p: Any, mean: Any, cov: Any, image_samples: int, rng: Any, user: UserImages | None = None
) -> ImageModels:
    """Update the image models once (eqs. 2.5-2.7; with `user` eqs. 6.7-6.10): N images shared out by the text model.

    Every text takes the sample mean and the unbiased sample covariance of its own images and its user images; with
    fewer than two images in all it keeps its image model.

    Parameters
    ----------
    p : array (K,), text model
    mean, cov : arrays (K, d) and (K, d, d), image models
    image_samples : int >= 1, N
    rng : seed or numpy Generator
    user : UserImages or None

    Returns
    -------
    arrays (K, d) and (K, d, d), the new means and covariances

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    p, mean, cov = _checked_model(p, mean, cov)
    image_samples = check.integer("image_samples", image_samples, minimum=1)
    rng = check.generator(rng)
    n_texts, dim = mean.shape
    images: list[list[Array]] = [[] for _ in range(n_texts)]
    laws = [_ImageLaw(mean[i], cov[i]) for i in range(n_texts)]
    for _ in range(image_samples):
        text = rng.choice(n_texts, p=p)
        images[text].append(laws[text].draw(rng))
    if user is not None:
        user_images, user_mean, user_cov = _checked_user(user, n_texts, dim)
        for i in range(n_texts):
            law = _ImageLaw(user_mean[i], user_cov[i])
            for _ in range(user_images):
                images[i].append(law.draw(rng))
    new_mean, new_cov = mean.copy(), cov.copy()
    for i in range(n_texts):
        if len(images[i]) >= 2:
            new_mean[i] = np.mean(images[i], axis=0)
            new_cov[i] = np.cov(images[i], rowvar=False, ddof=1)
    return new_mean, new_cov


def inject_text(
    p: Any,
    mean: Any,
    cov: Any,
    injection_prob: float,
    injection_fraction: float,
    new_mean: Any,
    new_cov: Any,
    rng: Any,
) -> Model:
    """Let a new text enter the corpus with probability alpha (eqs. 6.1-6.2).

    Parameters
    ----------
    p : array (K,), text model
    mean, cov : arrays (K, d) and (K, d, d), image models
    injection_prob : float in [0, 1], alpha
    injection_fraction : float in [0, 1], epsilon, the mass of the new text
    new_mean, new_cov : arrays (d,) and (d, d), image model of the new text
    rng : seed or numpy Generator

    Returns
    -------
    arrays (K,), (K, d) and (K, d, d), or with K + 1 for K if a text has entered

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    p, mean, cov = _checked_model(p, mean, cov)
    injection_prob = check.probability("injection_prob", injection_prob)
    injection_fraction = check.probability("injection_fraction", injection_fraction)
    dim = mean.shape[1]
    new_mean = check.real_array("new_mean", new_mean, (dim,))
    new_cov = check.covariance("new_cov", check.real_array("new_cov", new_cov, (dim, dim)))
    rng = check.generator(rng)
    if rng.random() < injection_prob:
        p = np.append((1 - injection_fraction) * p, injection_fraction)
        mean = np.append(mean, [new_mean], axis=0)
        cov = np.append(cov, [new_cov], axis=0)
    return p, mean, cov


def algorithm_1(
    p: Any,
    mean: Any,
    cov: Any,
    steps: int,
    text_samples: int,
    image_samples: int,
    text_updates: int,
    image_updates: int,
    rng: Any,
    user: UserImages | None = None,
) -> list[Model]:
    """Run the co-evolving system (Algorithm 1) and return its states (p, mean, cov) at t = 0, 1, ..., `steps`.

    Parameters
    ----------
    p : array (K,), initial text model
    mean, cov : arrays (K, d) and (K, d, d), initial image models
    steps : int >= 0, macro steps
    text_samples, image_samples : int >= 1, M and N
    text_updates, image_updates : int >= 0, S_T and S_I
    rng : seed or numpy Generator
    user : UserImages or None

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    state = _checked_model(p, mean, cov)
    steps = check.integer("steps", steps, minimum=0)
    text_updates = check.integer("text_updates", text_updates, minimum=0)
    image_updates = check.integer("image_updates", image_updates, minimum=0)
    rng = check.generator(rng)
    states = [state]
    for _ in range(steps):
        p, mean, cov = states[-1]
        for _ in range(text_updates):
            p = text_update(p, mean, cov, text_samples, rng)
        for _ in range(image_updates):
            mean, cov = image_update(p, mean, cov, image_samples, rng, user)
        states.append((p, mean, cov))
    return states


def algorithm_2(
    p: Any,
    mean: Any,
    cov: Any,
    steps: int,
    text_samples: int,
    image_samples: int,
    text_updates: int,
    image_updates: int,
    injection_prob: float,
    injection_fraction: float,
    new_mean: Any,
    new_cov: Any,
    rng: Any,
) -> list[Model]:
    """Run the system with corpus injection (Algorithm 2): `inject_text`, then a step of Algorithm 1, over and over.

    See `inject_text` and `algorithm_1` for the arguments and the result.
    """
    steps = check.integer("steps", steps, minimum=0)
    rng = check.generator(rng)
    states = [_checked_model(p, mean, cov)]
    for _ in range(steps):
        p, mean, cov = inject_text(*states[-1], injection_prob, injection_fraction, new_mean, new_cov, rng)
        states.append(algorithm_1(p, mean, cov, 1, text_samples, image_samples, text_updates, image_updates, rng)[-1])
    return states


def algorithm_3(
    p: Any,
    mean: Any,
    cov: Any,
    steps: int,
    text_samples: int,
    image_samples: int,
    text_updates: int,
    image_updates: int,
    user: UserImages,
    rng: Any,
) -> list[Model]:
    """Run the system with user images (Algorithm 3): Algorithm 1 whose image updates pool them in.

    See `image_update` and `algorithm_1` for the arguments and the result.
    """
    _checked_user(user, *_checked_model(p, mean, cov)[1].shape)
    return algorithm_1(p, mean, cov, steps, text_samples, image_samples, text_updates, image_updates, rng, user)


def mixture_weight_update(
    weights: Any, points: Any, mean: Any, cov: Any, step_size: float, shrinkage: float, threshold: float = 0.0
) -> Array:
    """Update the weights of one mixture, exactly as printed in Algorithm 2 of Wang et al. (2025).

    Where a weight is <= 0 the printed rescaling leaves weights that need not sum to one, unless epsilon is 0.

    Parameters
    ----------
    weights : array (B,), Pi_i, >= 0
    points : array (k, d), u_1, ..., u_k in the order in which they are used
    mean : array (B, d), mu_b
    cov : array (d, d), Sigma, of all components
    step_size : float in (0, 1], alpha
    shrinkage : float in [0, 1/B), c
    threshold : float in [0, 1], epsilon

    Returns
    -------
    array (B,), the new weights

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    mean, cov = _checked_mixture(mean, cov)
    components, dim = mean.shape
    pi = check.real_array("weights", weights, (components,))
    if pi.min() < 0 or pi.sum() <= 0:
        raise ValueError(f"weights must be >= 0 and not all 0, got {pi}")
    points = check.real_array("points", points)
    if points.ndim != 2 or points.shape[1] != dim:
        raise ValueError(f"points must have shape (any, {dim}), got {points.shape}")
    alpha = check.number("step_size", step_size, minimum=0.0, maximum=1.0, open_minimum=True)
    c = check.number("shrinkage", shrinkage, minimum=0.0, maximum=1 / components, open_maximum=True)
    epsilon = check.probability("threshold", threshold)
    laws = [stats.multivariate_normal(mean[b], cov) for b in range(components)]
    for u in points:
        joint = [pi[b] * laws[b].pdf(u) for b in range(components)]
        ownership = [joint[b] / sum(joint) for b in range(components)]
        for b in range(components):
            pi[b] = (1 - alpha) * pi[b] + alpha * (ownership[b] - c) / (1 - components * c)
        for b in range(components):
            if pi[b] <= 0:
                for other in range(components):
                    if other != b:
                        pi[other] = pi[other] / (1 + epsilon - pi[b])
                pi[b] = epsilon
    return pi


def mixture_network(
    weights: Any,
    human_points: Any,
    mean: Any,
    cov: Any,
    samples: int,
    retrieval: float,
    steps: int,
    rng: Any,
    threshold: float = 0.0,
    step_size: float | None = None,
    shrinkage: float | None = None,
) -> list[tuple[Array, Array]]:
    """Run a network of Gaussian mixtures, Algorithm 3 of Wang et al. (2025), from given initial weights.

    Parameters
    ----------
    weights : array (n, B), Pi_i^(0)
    human_points : array (P, d), A^(0)
    mean : array (B, d), mu_b
    cov : array (d, d), Sigma, of all components
    samples : int >= 1, L
    retrieval : float in [0, 1], beta; where floor(beta |A^(t)|) = 0 nothing is updated
    steps : int >= 0, steps
    rng : seed or numpy Generator
    threshold : float in [0, 1], epsilon
    step_size : float in (0, 1], alpha; None for 1/k_t
    shrinkage : float in [0, 1/B), c; None for 1/(k_t B^2)

    Returns
    -------
    list of (weights (n, B), pool (|A^(t)|, d)) at t = 0, 1, ..., `steps`

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    mean, cov = _checked_mixture(mean, cov)
    components, dim = mean.shape
    pi = check.real_array("weights", check.probability_vector("weights", weights, batch=True), (None, components))
    pool = list(check.real_array("human_points", human_points, (None, dim)))
    samples = check.integer("samples", samples, minimum=1)
    beta = check.probability("retrieval", retrieval)
    steps = check.integer("steps", steps, minimum=0)
    rng = check.generator(rng)
    states = [(pi, np.array(pool))]
    for _ in range(steps):
        k = int(np.floor(beta * len(pool)))
        new_pi, posts = pi.copy(), []
        for i in range(len(pi)):
            for _ in range(samples):
                component = rng.choice(components, p=pi[i] / pi[i].sum())
                posts.append(rng.multivariate_normal(mean[component], cov))
            if k > 0:
                drawn = rng.choice(len(pool), size=k, replace=False)
                alpha = 1 / k if step_size is None else step_size
                c = 1 / (k * components**2) if shrinkage is None else shrinkage
                points = np.array([pool[j] for j in drawn])
                new_pi[i] = mixture_weight_update(pi[i], points, mean, cov, alpha, c, threshold)
        pi, pool = new_pi, pool + posts
        states.append((pi, np.array(pool)))
    return states


def _checked_mixture(mean: Any, cov: Any) -> tuple[Array, Array]:
    mean = check.real_array("mean", mean, (None, None))
    return mean, check.single_covariance("cov", cov, dim=mean.shape[1], definite=True)


def _checked_model(p: Any, mean: Any, cov: Any) -> Model:
    p = check.probability_vector("p", p)
    mean = check.real_array("mean", mean, (p.size, None))
    cov = check.covariance("cov", check.real_array("cov", cov, (p.size, mean.shape[1], mean.shape[1])))
    return p, mean, cov


def _checked_user(user: Any, n_texts: int, dim: int) -> tuple[int, Array, Array]:
    check.instance("user", user, UserImages)
    user_images = check.integer("user.user_images", user.user_images, minimum=0)
    user_mean = check.real_array("user.user_mean", user.user_mean, (n_texts, dim))
    user_cov = check.real_array("user.user_cov", user.user_cov, (n_texts, dim, dim))
    return user_images, user_mean, check.covariance("user.user_cov", user_cov)
