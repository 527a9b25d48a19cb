"""Corpus injection as immigration of new alleles: Gao & Li 2025, Theorem 6.1 (Algorithm 2), for separated images.

Beyond the paper; Law 1.3. Injected texts are alleles that were never seen before. Each of them lives by itself: its
mass is a Wright-Fisher chain that later injections dilute. That gives the stationary spectrum of the corpus by one
linear system, and the partition of a small sample by its genealogy. For injections of small mass they approach
the infinite-alleles model of population genetics (Kimura & Crow 1964, Ewens 1972).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import product
from math import factorial

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.theory.wright_fisher import transition_matrix

__all__ = [
    "burst_spectrum",
    "ewens_partitions",
    "ewens_spectrum",
    "mutant_partitions",
    "sample_partitions",
    "stationary_spectrum",
]

Partition = tuple[int, ...]

# The genealogy of k draws goes through all partitions of k draws: 203 for six.
_MOST_DRAWS = 6


def stationary_spectrum(
    text_samples: int, injection_prob: float, injection_fraction: float, text_updates: int = 1
) -> Array:
    """Return the expected number of texts with j of the M images, in the stationary law for separated images.

    Beyond the paper; Law 1.3: alpha b (I - Q)^{-1}, with b the law of the images of a new text at the end of its
    first macro step and Q the transition matrix of one text between 1 and M images, diluted by later injections.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    injection_prob, injection_fraction : float
        alpha in (0, 1], epsilon in (0, 1).
    text_updates : int
        S_T >= 1 text updates per macro step.

    Returns
    -------
    ndarray, shape (M,)
        For j = 1, ..., M. The sum is the expected number of texts; sum j/M = 1; 1 - sum (j/M)^2 is the sharp floor of
        Theorem 6.1.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m, alpha, eps = _injection(text_samples, injection_prob, injection_fraction)
    updates = check.integer("text_updates", text_updates, minimum=1)
    counts = np.arange(m + 1)
    plain = transition_matrix(m)
    diluted = stats.binom.pmf(counts[None, :], m, (1 - eps) * counts[:, None] / m)
    later = np.linalg.matrix_power(plain, updates - 1)
    chain = ((1 - alpha) * plain + alpha * diluted) @ later
    new = stats.binom.pmf(counts, m, eps) @ later
    return np.asarray(np.linalg.solve((np.eye(m) - chain[1:, 1:]).T, alpha * new[1:]))


def ewens_spectrum(x: ArrayLike, theta: float) -> Array:
    """Return theta (1 - x)^{theta - 1} / x, the density of texts of mass x in the infinite-alleles model.

    Beyond the paper; Law 1.3, classical (Kimura & Crow 1964, Ewens 1972).

    Parameters
    ----------
    x : array, shape (...)
        Masses in (0, 1).
    theta : float
        Positive.

    Returns
    -------
    ndarray, shape (...)
        Expected number of texts per unit of mass.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    mass, rate = _masses(x), _theta(theta)
    return np.asarray(rate * (1 - mass) ** (rate - 1) / mass)


def burst_spectrum(x: ArrayLike, theta: float, injection_fraction: float) -> Array:
    """Return the diffusion approximation of `stationary_spectrum` with every new text entering at the mass epsilon.

    Beyond the paper; Law 1.3: theta (1 - x)^{theta - 1} / (epsilon x) times the integral of (1 - u)^{-theta} over
    0 < u < min(x, epsilon). Above epsilon it is proportional to Ewens's spectrum, below it is flat.

    Parameters
    ----------
    x : array, shape (...)
        Masses in (0, 1).
    theta : float
        Positive.
    injection_fraction : float
        epsilon in (0, 1).

    Returns
    -------
    ndarray, shape (...)
        Expected number of texts per unit of mass.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    mass, rate = _masses(x), _theta(theta)
    eps = check.number(
        "injection_fraction", injection_fraction, minimum=0, maximum=1, open_minimum=True, open_maximum=True
    )
    log_left = np.log1p(-np.minimum(mass, eps))
    # (1 - (1 - y)^(1 - theta)) / (1 - theta), also at theta = 1.
    integral = -log_left * special.exprel((1 - rate) * log_left)
    return np.asarray(rate * (1 - mass) ** (rate - 1) / (eps * mass) * integral)


def ewens_partitions(draws: int, theta: float) -> dict[Partition, float]:
    """Return the probability of each partition of k draws into texts by Ewens's sampling formula.

    Beyond the paper; Law 1.3, classical (Ewens 1972): k! / (theta (theta+1) ... (theta+k-1)) times the product of
    (theta/j)^{a_j} / a_j! over the sizes j, of which there are a_j.

    Parameters
    ----------
    draws : int
        k from 1 to 6.
    theta : float
        Positive.

    Returns
    -------
    dict
        From the sizes of the groups of equal texts, decreasing, to a probability.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    k, rate = _draws(draws), _theta(theta)
    found = {}
    for sizes in sorted({_sorted(map(len, blocks)) for blocks in _set_partitions(k)}, reverse=True):
        repeats = np.unique(sizes, return_counts=True)[1]
        weight = rate ** len(sizes) / (np.prod(sizes) * np.prod([factorial(a) for a in repeats]))
        found[sizes] = float(factorial(k) * weight / special.poch(rate, k))
    return found


def sample_partitions(
    text_samples: int, injection_prob: float, injection_fraction: float, draws: int
) -> dict[Partition, float]:
    """Return the probability of each partition of k texts drawn from the stationary text model, separated images.

    Beyond the paper; Law 1.3: the draws are traced back. In each macro step their ancestors fall on the M images,
    and with probability alpha each ancestor is independently of the new text with probability epsilon.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    injection_prob, injection_fraction : float
        alpha in (0, 1], epsilon in (0, 1).
    draws : int
        k from 1 to 6.

    Returns
    -------
    dict
        From the sizes of the groups of equal texts, decreasing, to a probability.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m, alpha, eps = _injection(text_samples, injection_prob, injection_fraction)

    def new_texts(sizes: Partition) -> Iterator[tuple[float, Partition, Partition]]:
        yield 1 - alpha, sizes, ()
        for new in product((False, True), repeat=len(sizes)):
            chance = alpha * float(np.prod([eps if hit else 1 - eps for hit in new]))
            injected = sum(size for size, hit in zip(sizes, new, strict=True) if hit)
            old = tuple(size for size, hit in zip(sizes, new, strict=True) if not hit)
            yield chance, old, (injected,) if injected else ()

    found = _traced_back(m, _draws(draws), new_texts)
    return {sizes: found[sizes] for sizes in sorted(found, reverse=True)}


def mutant_partitions(text_samples: int, mutation_prob: float, draws: int) -> dict[Partition, float]:
    """Return the probability of each partition of k different images in the infinite-alleles Wright-Fisher model.

    Beyond the paper; Law 1.3, classical: in every update each image is of a new text of its own with probability u.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    mutation_prob : float
        u in (0, 1].
    draws : int
        k from 1 to 6.

    Returns
    -------
    dict
        From the sizes of the groups of equal texts, decreasing, to a probability.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    u = check.number("mutation_prob", mutation_prob, minimum=0, maximum=1, open_minimum=True)
    k = _draws(draws)

    def mutants(sizes: Partition) -> Iterator[tuple[float, Partition, Partition]]:
        for new in product((False, True), repeat=len(sizes)):
            chance = float(np.prod([u if hit else 1 - u for hit in new]))
            old = tuple(size for size, hit in zip(sizes, new, strict=True) if not hit)
            yield chance, old, tuple(size for size, hit in zip(sizes, new, strict=True) if hit)

    found: dict[Partition, float] = defaultdict(float)
    for chance, old, new in mutants((1,) * k):  # different images: they may be mutants, and their parents may agree
        for rest, share in _traced_back(m, len(old), mutants).items():
            found[_sorted(rest + new)] += chance * share
    return {sizes: found[sizes] for sizes in sorted(found, reverse=True)}


def _traced_back(
    text_samples: int,
    draws: int,
    hits: Callable[[Partition], Iterator[tuple[float, Partition, Partition]]],
) -> dict[Partition, float]:
    """Trace k draws back to their first texts: coalescence on M images, then `hits`, in every step."""
    falling = np.cumprod(np.concatenate([[1.0], np.maximum(0.0, 1 - np.arange(draws) / text_samples)]))
    known: dict[Partition, dict[Partition, float]] = {(): {(): 1.0}}

    def final(sizes: Partition) -> dict[Partition, float]:
        if sizes in known:
            return known[sizes]
        moves: dict[tuple[Partition, Partition], float] = defaultdict(float)
        lineages = len(sizes)
        for blocks in _set_partitions(lineages):
            met = _sorted(sum(sizes[i] for i in block) for block in blocks)
            chance = falling[len(met)] / float(text_samples) ** (lineages - len(met))
            if chance > 0:
                for share, old, new in hits(met):
                    moves[_sorted(old), new] += chance * share
        stay = moves.pop((sizes, ()), 0.0)
        result: dict[Partition, float] = defaultdict(float)
        for (old, new), chance in moves.items():
            for rest, share in final(old).items():
                result[_sorted(rest + new)] += chance / (1 - stay) * share
        known[sizes] = dict(result)
        return known[sizes]

    return final((1,) * draws)


def _set_partitions(n: int) -> Iterator[list[list[int]]]:
    """Yield the partitions of {0, ..., n - 1} into blocks."""
    if n == 0:
        yield []
        return
    for blocks in _set_partitions(n - 1):
        for k in range(len(blocks)):
            yield [[*block, n - 1] if i == k else block for i, block in enumerate(blocks)]
        yield [*blocks, [n - 1]]


def _sorted(sizes: Iterator[int] | Partition | map[int]) -> Partition:
    return tuple(sorted(sizes, reverse=True))


def _injection(text_samples: int, injection_prob: float, injection_fraction: float) -> tuple[int, float, float]:
    return (
        check.integer("text_samples", text_samples, minimum=1),
        check.number("injection_prob", injection_prob, minimum=0, maximum=1, open_minimum=True),
        check.number(
            "injection_fraction", injection_fraction, minimum=0, maximum=1, open_minimum=True, open_maximum=True
        ),
    )


def _draws(draws: int) -> int:
    return check.integer("draws", draws, minimum=1, maximum=_MOST_DRAWS)


def _theta(theta: float) -> float:
    return check.number("theta", theta, minimum=0, open_minimum=True)


def _masses(x: ArrayLike) -> Array:
    masses = check.real_array("x", x)
    if masses.size and (masses.min() <= 0 or masses.max() >= 1):
        raise ValueError(f"x must hold masses in (0, 1), got {masses[(masses <= 0) | (masses >= 1)].flat[0]:g}")
    return masses
