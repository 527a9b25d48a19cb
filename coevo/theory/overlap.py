"""What overlap does to a network of mixtures: how fast do weights move if a point does not tell its component?

Beyond the paper. Wang et al. 2025, Appendix A, replaces the ownership of a point by the indicator of its component
(between eqs. 8 and 9). Without that step a push with c = 0 is pi <- pi + a (o(u) - pi), and for points u of law f

    E[o_b(u)] = T_b(pi) = pi_b int N_b f / g_pi,      g_pi = sum_b pi_b N_b,

which is the EM update of the weights (Dempster, Laird & Rubin 1977). Where f = g_pi it has the derivative 1 - K with

    K_{bb'} = pi_b int N_b N_{b'} / g_pi,

the information that a point keeps about its component. K has the eigenvalue 1 in the direction pi. Its other B - 1
eigenvalues kappa lie in [0, 1]: 1 for separated components, 0 for equal ones. In such a direction a push multiplies a
small difference by 1 - a kappa in the mean, and k pushes with a = 1/k by about exp(-kappa).

One-dimensional components of common variance, as in section 4.2 of the paper. Integrals are trapezoidal sums.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from coevo import _validation as check
from coevo._validation import Array

__all__ = ["expected_ownership", "information_rates", "overlap_distance", "scaled_distance_limit"]

#: Nodes per standard deviation, and reach beyond the outermost means in standard deviations. Both leave an error below
#: 1e-10: the integrand is analytic in a strip, and N_b f / g <= N_b / min(pi) where the reach cuts it off.
_NODES = 16
_REACH = 9.0

#: Largest number of nodes.
_MOST_NODES = 10**6


def expected_ownership(weights: ArrayLike, pool: ArrayLike, mean: ArrayLike, sigma: float = 1.0) -> Array:
    """Return E[o(u)], the mean ownership of a point u of the mixture with weights `pool` in a model with `weights`.

    Wang et al., Appendix A, eq. (7), without its approximation; one push is pi <- (1 - a) pi + a o(u) where c = 0.

    Parameters
    ----------
    weights : array, shape (B,)
        pi, the weights of the model that reads.
    pool : array, shape (B,)
        Weights of the law of the points.
    mean : array, shape (B,)
        Means of the components.
    sigma : float
        Their common standard deviation, above 0.

    Returns
    -------
    ndarray, shape (B,)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    density, cell = _densities(mean, sigma)
    pi, q = _law("weights", weights, len(density)), _law("pool", pool, len(density))
    model = pi @ density
    share = np.divide(q @ density, model, out=np.zeros_like(model), where=model > 0)
    own: Array = pi * (density @ share) * cell
    return own


def information_rates(weights: ArrayLike, mean: ArrayLike, sigma: float = 1.0) -> Array:
    """Return the eigenvalues kappa of the information that a point keeps about its component, in ascending order.

    Beyond the paper (Wang et al., Appendix A treats the case in which all are 1). For two components
    kappa = 1 - int N_1 N_2 / g = 1 - (mean posterior diversity) / (diversity of the weights).

    Parameters
    ----------
    weights : array, shape (B,)
        All above 0; at least two.
    mean : array, shape (B,)
    sigma : float
        Above 0.

    Returns
    -------
    ndarray, shape (B - 1,)
        Numbers in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    density, cell = _densities(mean, sigma)
    pi = _law("weights", weights, len(density))
    if pi.size < 2 or pi.min() <= 0:
        raise ValueError(f"weights must be at least two numbers, all above 0, got {pi}")
    model = pi @ density
    root = np.sqrt(pi)[:, None] * np.divide(density, np.sqrt(model), out=np.zeros_like(density), where=model > 0)
    kept = root @ root.T * cell  # symmetric, and similar to K
    rates: Array = np.clip(np.linalg.eigvalsh(kept)[:-1], 0.0, 1.0)
    return rates


def overlap_distance(
    models: int,
    samples: int,
    retrieval: float,
    *,
    human_points: int,
    diversity: ArrayLike,
    information: ArrayLike,
    start: float,
) -> Array:
    """Return E ||D^(t)||_F^2 of two overlapping components to first order in the spread of the weights.

    Beyond the paper. With gamma = (1 - a kappa)^k, S1 = (1 - gamma) / kappa, S2 = a (1 - gamma^2) / (kappa (2 - a
    kappa)) and a = 1/k_t

        G_{t+1} = gamma^2 G_t + 2 n (n - 1) kappa_t Q_t [S2 - (S1^2 - S2) / (|A^(t)| - 1)].

    Exact for kappa = 1 (Wang et al., Appendix A, eq. (10), repaired); an approximation for kappa < 1: it takes the
    weights to be near the composition of the pool.

    Parameters
    ----------
    models, samples : int
        n and L, at least 1.
    retrieval : float
        beta in (0, 1].
    human_points : int
        |A^(0)|; beta |A^(0)| must be at least 1.
    diversity : array, shape (..., T)
        Q_t, the diversity of the pool, in [0, 1].
    information : array, shape (..., T)
        kappa_t in [0, 1].
    start : float
        G_0, at least 0.

    Returns
    -------
    ndarray, shape (..., T)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n = check.integer("models", models, minimum=1)
    posts = n * check.integer("samples", samples, minimum=1)
    beta = check.number("retrieval", retrieval, minimum=0.0, maximum=1.0, open_minimum=True)
    size = check.integer("human_points", human_points, minimum=1)
    if check.floor_share(beta, size) < 1:
        raise ValueError(f"human_points must be at least 1 / retrieval = {1 / beta:g}, got {size}")
    q, rate = _shares("diversity", diversity), _shares("information", information)
    if q.ndim == 0 or q.shape != rate.shape:
        raise ValueError(f"information must have the shape (..., T) of diversity, {q.shape}, got {rate.shape}")
    distance = np.empty(q.shape)
    now = np.full(q.shape[:-1], check.number("start", start, minimum=0.0))
    for t in range(q.shape[-1]):
        distance[..., t] = now
        k = check.floor_share(beta, size)
        powers = (1 - rate[..., t, None] / k) ** np.arange(k)
        first, second = powers.sum(axis=-1) / k, (powers**2).sum(axis=-1) / k**2
        noise = second - (first**2 - second) / (size - 1) if size > 1 else 0.0
        kept = (1 - rate[..., t] / k) ** k
        now = kept**2 * now + 2 * n * (n - 1) * rate[..., t] * q[..., t] * noise
        size += posts
    return distance


def scaled_distance_limit(models: int, retrieval: float, final_diversity: float, information: float) -> float:
    """Return n (n - 1) E Q_inf [1 - 2 (beta / kappa) tanh(kappa / 2)], the limit of k_t G_t in `overlap_distance`.

    Beyond the paper (Wang et al., Appendix A, eq. (10), has no rate). For kappa = 1 it is the limit of separated
    components, for kappa = 0 it is n (n - 1) E Q_inf (1 - beta).

    Parameters
    ----------
    models : int
        n >= 1.
    retrieval : float
        beta in (0, 1].
    final_diversity : float
        E Q_inf in [0, 1].
    information : float
        kappa in [0, 1].

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("models", models, minimum=1)
    beta = check.number("retrieval", retrieval, minimum=0.0, maximum=1.0, open_minimum=True)
    q = check.probability("final_diversity", final_diversity)
    kappa = check.probability("information", information)
    shape = 2 * math.tanh(kappa / 2) / kappa if kappa > 0 else 1.0
    return n * (n - 1) * q * (1 - beta * shape)


def _densities(mean: ArrayLike, sigma: float) -> tuple[Array, float]:
    """Densities (B, nodes) of the components in units of sigma, and the width of a cell."""
    centre = check.real_array("mean", mean, (None,))
    centre = centre / check.number("sigma", sigma, minimum=0.0, open_minimum=True)
    low, high = centre.min() - _REACH, centre.max() + _REACH
    if not (high - low) * _NODES <= _MOST_NODES:
        raise ValueError(f"mean must span at most {_MOST_NODES // _NODES} sigma, got {high - low:g}")
    node = np.linspace(low, high, math.ceil((high - low) * _NODES) + 1)
    density: Array = np.exp(-((node - centre[:, None]) ** 2) / 2) / math.sqrt(2 * math.pi)
    return density, float(node[1] - node[0])


def _law(name: str, value: ArrayLike, components: int) -> Array:
    law = check.probability_vector(name, value)
    if law.shape != (components,):
        raise ValueError(f"{name} must have shape ({components},), one for each mean, got {law.shape}")
    return law


def _shares(name: str, value: ArrayLike) -> Array:
    array = check.real_array(name, value)
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"{name} must hold numbers in [0, 1], got {array.min():g} to {array.max():g}")
    return array
