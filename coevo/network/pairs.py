"""Networks of text-image pairs that train on each other's images.

Beyond the papers: Gao & Li (2025) name networks of more than two models in their outlook. Here n pairs, each one
system of Algorithm 1, sit on a directed graph with weights A_ij, the share of the training data of pair i that pair j
makes. All pairs are updated at the same time. With A the identity every pair is Algorithm 1 alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coevo import _validation as check
from coevo._validation import Array
from coevo.factors import factorise, invert, multiply

__all__ = ["PairNetwork", "PairPath", "chain", "cliques", "complete", "ring", "simulate_pairs", "star"]

LABELS = ("true", "honest", "own")


@dataclass(frozen=True, eq=False, kw_only=True)
class PairNetwork:
    """A network of n text-image pairs with K texts.

    In a text update pair i draws M images: pair j with probability A_ij, text k with probability p_{j,k}, an image from
    the Gaussian (j, k). Each image gets a label, a probability vector over texts, and p_i' is the mean of the labels.
    In an image update pair i draws N images likewise, and refits its Gaussian of text k to those whose text is k; with
    fewer than two it keeps it.

    Attributes
    ----------
    coupling : array (n, n), A: rows are probability vectors
    p : array (n, K), initial text models
    mean : array (n, K, d), initial means
    cov : array (n, K, d, d), initial covariances
    text_samples, image_samples : int >= 1, M and N
    text_updates, image_updates : int >= 0, in one step; 0 freezes that model
    labels : "true", the text that made the image, as for separated images; "honest", the posterior under the mixture
        that the images of pair i come from; or "own", the posterior under the mixture of pair i itself
    divisor : float < 2, what is taken from the number of images where the scatter matrix is divided
    """

    coupling: Any
    p: Any
    mean: Any
    cov: Any
    text_samples: int
    image_samples: int = 1
    text_updates: int = 1
    image_updates: int = 0
    labels: str = "true"
    divisor: float = 1.0

    def __post_init__(self) -> None:
        """Check all arguments."""
        a = check.probability_vector("coupling", self.coupling, batch=True)
        n = len(a)
        if a.shape != (n, n):
            raise ValueError(f"coupling must have shape (n, n), got {a.shape}")
        p = check.probability_vector("p", self.p, batch=True)
        if p.ndim != 2 or len(p) != n:
            raise ValueError(f"p must have shape ({n}, K), one row for each pair, got {p.shape}")
        mean = check.real_array("mean", self.mean, (*p.shape, None))
        cov = check.covariance("cov", self.cov, dim=mean.shape[-1], definite=True)
        if cov.shape != (*mean.shape, mean.shape[-1]):
            raise ValueError(f"cov must have shape {(*mean.shape, mean.shape[-1])}, got {cov.shape}")
        for name, value in {"coupling": a, "p": p, "mean": mean, "cov": cov}.items():
            object.__setattr__(self, name, value)
        for name, least in {"text_samples": 1, "image_samples": 1, "text_updates": 0, "image_updates": 0}.items():
            check.integer(name, getattr(self, name), minimum=least)
        check.choice("labels", self.labels, LABELS)
        check.number("divisor", self.divisor, maximum=2.0, open_maximum=True)


@dataclass(frozen=True, eq=False)
class PairPath:
    """Paths of R independent runs of a network of n pairs, at T recorded steps.

    Attributes
    ----------
    times : int array (T,)
    p : array (R, T, n, K), text models
    mean : array (R, T, n, K, d)
    cov : array (R, T, n, K, d, d); both have one run, R = 1, if image models are frozen
    """

    times: NDArray[np.int64]
    p: Array
    mean: Array
    cov: Array


def simulate_pairs(network: PairNetwork, steps: int, runs: int, *, rng: Any, every: int = 1) -> PairPath:
    """Simulate independent runs of a network of text-image pairs.

    The model of Law 7.1 to Law 7.5.

    Parameters
    ----------
    network : PairNetwork
    steps : int >= 0
    runs : int >= 1, R
    rng : seed or numpy Generator
    every : int >= 1, steps between records

    Returns
    -------
    PairPath

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range, or labels are posteriors and a covariance has become singular.
    """
    check.instance("network", network, PairNetwork)
    steps = check.integer("steps", steps, minimum=0)
    runs = check.integer("runs", runs, minimum=1)
    every = check.integer("every", every, minimum=1)
    rng = check.generator(rng)
    copies = runs if network.image_updates else 1
    p = np.repeat(network.p[None], runs, axis=0)
    mean = np.repeat(network.mean[None], copies, axis=0)
    cov = np.repeat(network.cov[None], copies, axis=0)
    records = []
    for t in range(steps + 1):
        if t > 0:
            for _ in range(network.text_updates):
                p = _text_update(network, p, mean, cov, rng)
            for _ in range(network.image_updates):
                mean, cov = _image_update(network, p, mean, cov, rng)
        if t % every == 0:
            records.append((p, mean, cov))
    kept = [np.stack(part, axis=1) for part in zip(*records, strict=True)]
    if network.image_updates == 0:
        kept[1:] = [part[:, :1].repeat(len(records), axis=1) for part in kept[1:]]
    return PairPath(np.arange(0, steps + 1, every), *kept)


def complete(pairs: int, share: float) -> Array:
    """Return the matrix of n pairs that each take the share a of their data from all n pairs alike.

    Parameters
    ----------
    pairs : int >= 1
    share : float in [0, 1]

    Returns
    -------
    array (n, n)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n, a = _size(pairs, 1), check.probability("share", share)
    return (1 - a) * np.eye(n) + a / n


def ring(pairs: int, share: float) -> Array:
    """Return the matrix of n pairs in a ring that take the share a/2 of their data from each of two neighbours.

    Parameters, returns and errors as `complete`, with at least three pairs.
    """
    n, a = _size(pairs, 3), check.probability("share", share)
    one = np.roll(np.eye(n), 1, axis=1)
    return (1 - a) * np.eye(n) + a / 2 * (one + one.T)


def star(pairs: int, share: float) -> Array:
    """Return the matrix of a hub, pair 0, and n - 1 leaves that take the share a of their data from each other.

    Parameters
    ----------
    pairs : int >= 2
    share : float in [0, 1]; the hub takes it from all leaves alike

    Returns
    -------
    array (n, n)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n, a = _size(pairs, 2), check.probability("share", share)
    matrix = (1 - a) * np.eye(n)
    matrix[1:, 0] = a
    matrix[0] = a / (n - 1)
    matrix[0, 0] = 1 - a
    return matrix


def chain(pairs: int, share: float) -> Array:
    """Return the matrix of a directed chain: pair i takes the share a of its data from pair i - 1, pair 0 from none.

    Parameters, returns and errors as `complete`.
    """
    n, a = _size(pairs, 1), check.probability("share", share)
    matrix: Array = (1 - a) * np.eye(n) + a * np.eye(n, k=-1)
    matrix[0, 0] = 1.0
    return matrix


def cliques(pairs: int, share: float, bridge: float) -> Array:
    """Return the matrix of two complete halves, joined by a bridge between one pair of each.

    Parameters
    ----------
    pairs : int >= 2, even
    share : float in [0, 1], taken from the own half, all alike
    bridge : float in [0, 1 - share], what the first pair of each half takes from the other one; 0 removes the bridge

    Returns
    -------
    array (n, n)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n, a = _size(pairs, 2), check.probability("share", share)
    if n % 2:
        raise ValueError(f"pairs must be even, got {n}")
    b = check.number("bridge", bridge, minimum=0.0, maximum=1 - a)
    half = n // 2
    matrix: Array = np.kron(np.eye(2), complete(half, a)).astype(np.float64)
    for i, j in ((0, half), (half, 0)):
        matrix[i, j] += b
        matrix[i, i] -= b
    return matrix


def _size(pairs: int, least: int) -> int:
    return check.integer("pairs", pairs, minimum=least)


def _sources(network: PairNetwork, p: Array) -> Array:
    """Chances (R, n, n K) that an image of pair i is one of text k of pair j."""
    joint: Array = network.coupling[None, :, :, None] * p[:, None]
    return joint.reshape(len(p), joint.shape[1], -1)


def _text_update(network: PairNetwork, p: Array, mean: Array, cov: Array, rng: np.random.Generator) -> Array:
    n, k = network.p.shape
    if network.labels == "true":
        law = network.coupling @ p
        counts = rng.multinomial(network.text_samples, law / law.sum(axis=-1, keepdims=True))
        return np.asarray(counts / network.text_samples)
    images, _ = _draw(network, p, mean, cov, network.text_samples, rng)
    new = np.empty_like(p)
    for i in range(n):
        if network.labels == "own":
            weight = p[:, i]
            density = _log_densities(images[:, i], mean[:, i], cov[:, i])
        else:
            weight = _sources(network, p)[:, i]
            flat = mean.reshape(len(mean), n * k, -1)
            density = _log_densities(images[:, i], flat, cov.reshape(*flat.shape, -1))
        with np.errstate(divide="ignore"):
            density += np.log(weight)[:, None]
        density -= density.max(axis=-1, keepdims=True)
        label = np.exp(density)
        label /= label.sum(axis=-1, keepdims=True)
        new[:, i] = label.mean(axis=1).reshape(len(p), -1, k).sum(axis=1)
    return new


def _image_update(
    network: PairNetwork, p: Array, mean: Array, cov: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    images, source = _draw(network, p, mean, cov, network.image_samples, rng)
    text = source % network.p.shape[1]
    new_mean, new_cov = mean.copy(), cov.copy()
    for k in range(network.p.shape[1]):
        mine = (text == k)[..., None].astype(np.float64)
        count = mine.sum(axis=2)
        centre = (mine * images).sum(axis=2) / np.maximum(count, 1)
        apart = mine * (images - centre[:, :, None])
        enough = count >= 2
        divisor = np.where(enough, count - network.divisor, 1.0)
        scatter = np.einsum("rnmd,rnme->rnde", apart, apart) / divisor[..., None]
        new_mean[:, :, k] = np.where(enough, centre, mean[:, :, k])
        new_cov[:, :, k] = np.where(enough[..., None], scatter, cov[:, :, k])
    return new_mean, new_cov


def _draw(
    network: PairNetwork, p: Array, mean: Array, cov: Array, number: int, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int64]]:
    """Draw images (R, n, number, d) for every pair, and where they come from, j K + k, (R, n, number)."""
    runs, (n, k) = len(p), network.p.shape
    edge = np.cumsum(_sources(network, p), axis=-1)
    uniform = rng.random((runs, n, number)) * edge[..., -1:]
    source = (uniform[..., None] >= edge[:, :, None, :-1]).sum(axis=-1)
    copy = np.arange(len(mean))[:, None, None]
    flat = mean.reshape(len(mean), n * k, -1)
    unit, log_scale = (part.reshape(len(mean), n * k, *part.shape[3:]) for part in factorise(cov))
    z = rng.standard_normal((runs, n, number, flat.shape[-1]))
    images = flat[copy, source] + multiply(unit[copy, source], log_scale[copy, source], z)
    return images, source


def _log_densities(images: Array, mean: Array, cov: Array) -> Array:
    """Log-densities (R, M, K), up to a constant, of images (R, M, d) under Gaussians (R or 1, K, d)."""
    unit, log_scale = factorise(cov)
    if not np.isfinite(log_scale).all():
        raise ValueError('labels must be "true" where covariances are singular: posteriors need densities')
    apart = images[:, :, None] - mean[:, None]
    white = (invert(unit)[:, None] @ apart[..., None])[..., 0] * np.exp(-log_scale)[:, None]
    return np.asarray(-(white**2).sum(axis=-1) / 2 - log_scale.sum(axis=-1)[:, None])
