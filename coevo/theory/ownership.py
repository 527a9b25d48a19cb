"""Networks of mixtures whose components overlap: what a point still tells, and how fast models forget.

Wang et al. 2025, Appendix A, takes the ownership of a point for its label. With overlap it is a posterior. Near
agreement the mean update is linear, and its matrix says how much of the information on the label a point keeps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from coevo import _validation as check
from coevo._validation import Array

__all__ = ["Modes", "expected_ownership", "linear_distance", "modes", "overlap_limit"]

#: Quadrature: points per standard deviation, and standard deviations beyond the outer means. The trapezoidal rule
#: converges geometrically for these integrands, and what lies outside has a mass below 1e-22.
_FINENESS, _REACH = 40, 10.0


class Modes(NamedTuple):
    """Directions in which weights near q move by themselves.

    Attributes
    ----------
    rates : (B - 1,) kept information lambda_k in [0, 1], largest first; 1 for separated components
    shares : (B - 1,) what each direction adds to the diversity of q; their sum is D(q)
    """

    rates: Array
    shares: Array


def expected_ownership(mean: Any, weights: Any, pool: Any, sd: float = 1.0) -> Array:
    """Mean ownership of a point of the pool, sum_b' q_b' E[o_b(u) | u ~ N_b'] (Wang et al. 2025, eqs. 7 and 8).

    Wang et al., Eq. (7) without the approximation that follows it: with overlap the ownership is
    o_b(u) = pi_b N_b(u) / sum_l pi_l N_l(u) and its mean over the pool is an integral. It is q where pi = q.

    Parameters
    ----------
    mean : (B,) means of the components on the line, B >= 2
    weights : (B,) pi, positive
    pool : (B,) q, positive, the law of the labels of the pool's points
    sd : standard deviation of every component, > 0

    Returns
    -------
    (B,) probabilities

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its allowed range and what it was.
    """
    density = _densities(mean, sd)
    p, q = (_spread(name, value, len(density)) for name, value in (("weights", weights), ("pool", pool)))
    owned: Array = p * (density * (q @ density / (p @ density))).sum(axis=1) / _FINENESS
    return owned


def modes(mean: Any, weights: Any, sd: float = 1.0) -> Modes:
    """Kept information and diversity of each direction of the weights, near agreement (beyond the paper).

    P_bb' = E[o_b(u) | u ~ N_b'] is the chance that a point of b' is given to b by a model whose weights are q. A model
    at q + x moves, in the mean of one push of step a, to q + (1 - a P) x. The eigenvalues of P other than 1 (that of
    q itself) are the rates. For B = 2 the rate is 1 - V / D(q), with V the mean posterior diversity of Gao & Li 2025,
    Theorem 3.1; EM forgets by the factor 1 - lambda per iteration (Dempster, Laird & Rubin 1977).

    Parameters
    ----------
    mean : (B,) means of the components on the line, B >= 2
    weights : (B,) q, positive
    sd : standard deviation of every component, > 0

    Returns
    -------
    Modes

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its allowed range and what it was.
    """
    density = _densities(mean, sd)
    q = _spread("weights", weights, len(density))
    root = np.sqrt(q)
    # P made symmetric, sqrt(q_b q_b') int N_b N_b' / g, less its eigenvalue 1 in the direction of sqrt(q), which no
    # difference of two weight vectors has.
    symmetric = np.outer(root, root) * ((density / (q @ density)) @ density.T / _FINENESS - 1.0)
    rates, vectors = np.linalg.eigh(symmetric)
    own = np.argmax(np.abs(root @ vectors))
    keep = np.delete(np.arange(len(q)), own)[::-1]
    return Modes(np.clip(rates[keep], 0.0, 1.0), q @ vectors[:, keep] ** 2)


def overlap_limit(models: int, retrieval: float, found: Modes) -> float:
    """Limit of k_t G_t with overlap, for the linear law (beyond the paper).

    n (n - 1) sum_k s_k (1 - 2 beta tanh(lambda_k / 2) / lambda_k) for step sizes 1/k_t. It lies between
    n (n - 1) D(q) (1 - 2 beta tanh(1/2)), its value without overlap, and n (n - 1) D(q) (1 - beta).

    Parameters
    ----------
    models : n >= 2
    retrieval : beta in (0, 1]
    found : `modes` of the pool's final composition

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its allowed range and what it was.
    """
    n = check.integer("models", models, minimum=2)
    beta = check.number("retrieval", retrieval, minimum=0.0, maximum=1.0, open_minimum=True)
    half = check.instance("found", found, Modes).rates / 2
    slope = np.divide(np.tanh(half), half, out=np.ones_like(half), where=half > 0)  # tanh(x)/x is 1 at 0
    return float(n * (n - 1) * (found.shares @ (1 - beta * slope)))


def linear_distance(models: int, pool_size: Any, retrieved: Any, found: Modes, start: Any) -> Array:
    """G_t = E||D^(t)||_F^2 by the linear law, for step sizes 1/k_t and a pool of fixed composition (beyond the paper).

    In each direction G_{t+1} = (1 - a lambda)^(2k) G_t + 2 n (n-1) s lambda [S2 - (S1^2 - S2) / (|A| - 1)] with
    S1 = sum_{j<k} a (1 - a lambda)^j and S2 = sum_{j<k} a^2 (1 - a lambda)^(2j): the recursion of Wang et al., Appendix
    A, which is the case lambda = 1.

    Parameters
    ----------
    models : n >= 2
    pool_size : (T,) points in the pool at t = 0, ..., T - 1, >= 2
    retrieved : (T,) k_t >= 1
    found : `modes` of the pool's composition
    start : (B - 1,) the parts of G_0 that lie in each direction, >= 0

    Returns
    -------
    (T + 1,) G_0, ..., G_T

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its allowed range and what it was.
    """
    n = check.integer("models", models, minimum=2)
    sizes = check.integer_array("pool_size", pool_size, minimum=2)
    counts = check.integer_array("retrieved", retrieved, minimum=1)
    if sizes.ndim != 1 or counts.shape != sizes.shape:
        raise ValueError(f"retrieved must have the shape (T,) of pool_size, got {counts.shape} and {sizes.shape}")
    rates, shares = check.instance("found", found, Modes)
    part = check.real_array("start", start, rates.shape)
    if part.min() < 0:
        raise ValueError(f"start must be >= 0, got {part.min():g}")
    total = [part.sum()]
    for size, k in zip(sizes, counts, strict=True):
        weight = (1 - rates / k) ** np.arange(k)[:, None] / k
        s1, s2 = weight.sum(axis=0), (weight**2).sum(axis=0)
        noise = rates * (s2 - (s1**2 - s2) / (size - 1))
        part = (1 - rates / k) ** (2 * k) * part + 2 * n * (n - 1) * shares * noise
        total.append(part.sum())
    return np.array(total)


def _densities(mean: Any, sd: Any) -> Array:
    """Densities of the components on a grid (B, X), in units of the standard deviation."""
    centres = check.real_array("mean", mean, (None,))
    if len(centres) < 2:
        raise ValueError(f"mean must hold at least two components, got {len(centres)}")
    z = centres / check.number("sd", sd, minimum=0.0, open_minimum=True)
    if np.ptp(z) > 1000:
        raise ValueError(f"mean must span at most 1000 standard deviations, got {np.ptp(z):g}")
    x = np.arange(z.min() - _REACH, z.max() + _REACH, 1 / _FINENESS)
    density: Array = np.exp(-((x - z[:, None]) ** 2) / 2) / np.sqrt(2 * np.pi)
    return density


def _spread(name: str, value: Any, components: int) -> Array:
    weights = check.spread_text_model(name, value)
    if len(weights) != components or weights.min() <= 0:
        raise ValueError(f"{name} must hold {components} positive numbers, one for each component, got {value!r}")
    return weights
