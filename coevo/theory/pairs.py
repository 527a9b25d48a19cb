"""Networks of text-image pairs that share data: agreement, collapse, and images that fade or swell.

Beyond the papers. n pairs, each a text model and one image model per text, sit on a directed graph with a
row-stochastic matrix A: A_ij is the share of the training data of pair i that pair j makes. In a text update pair i
draws M images, each from pair j with probability A_ij, labels them and takes the mean posterior. Where images tell
their texts, M p_i' ~ Multinomial(M, (A p)_i): a Wright-Fisher population in n places with migration. In an image
update the model of a text is refitted to N images drawn in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from coevo import _validation as check
from coevo._validation import Array

__all__ = [
    "Factors",
    "ImageMoments",
    "TextMoments",
    "consensus_law",
    "effective_pairs",
    "factor_bounds",
    "fair_divisor",
    "image_factors",
    "image_moments",
    "island_disagreement",
    "island_factors",
    "leading_factor",
    "ring_factor",
    "stationary_law",
    "text_moments",
    "two_pairs",
]

#: The largest number of steps of a recursion, and of pairs whose leading factor is computed.
_LONGEST, _MOST = 10**6, 60


class Factors(NamedTuple):
    """The two factors per step of a symmetric network: the leading one and the other."""

    leading: float
    other: float


@dataclass(frozen=True, eq=False)
class TextMoments:
    """Exact second moments of the text models of n pairs, at T times.

    Attributes
    ----------
    times : (T,) int
    differ : (T, n, n), J_ij = 1 - E <p_i, p_j>: the chance that a text drawn from pair i and, independently, one drawn
        from pair j differ
    """

    times: NDArray[np.int64]
    differ: Array

    @property
    def diversity(self) -> Array:
        """E D(p_i), shape (T, n)."""
        return np.array(np.einsum("tii->ti", self.differ))

    @property
    def distance(self) -> Array:
        """E ||p_i - p_j||^2, shape (T, n, n)."""
        own = self.diversity
        return 2 * self.differ - own[:, :, None] - own[:, None, :]

    @property
    def mean_diversity(self) -> Array:
        """E D of the average of the p_i, shape (T,)."""
        return np.asarray(self.differ.mean(axis=(1, 2)))

    @property
    def disagreement(self) -> Array:
        """E of the mean over i of ||p_i - average||^2, shape (T,): diversity of the average less average diversity."""
        return np.asarray(self.mean_diversity - self.diversity.mean(axis=1))


@dataclass(frozen=True, eq=False)
class ImageMoments:
    """Exact second moments of the image models of one text in n pairs, at T times.

    Attributes
    ----------
    times : (T,) int
    variance : (T, n), E tr Sigma_i
    products : (T, n, n), E <mu_i - a, mu_j - a>, from the origin a of the means given
    """

    times: NDArray[np.int64]
    variance: Array
    products: Array

    @property
    def spread(self) -> Array:
        """E of the mean over i of ||mu_i - average||^2, shape (T,)."""
        own = np.einsum("tii->ti", self.products).mean(axis=1)
        return np.asarray(own - self.products.mean(axis=(1, 2)))


def stationary_law(coupling: ArrayLike) -> Array:
    """Return the stationary law pi of A, the say of each pair in what the network ends at.

    Beyond the papers; Law 7.1. Needs that A^t tends to a matrix with equal rows: one closed class of pairs, aperiodic.

    Parameters
    ----------
    coupling : array, shape (n, n)
        A: rows are probability vectors.

    Returns
    -------
    array, shape (n,)

    Raises
    ------
    TypeError, ValueError
        If `coupling` is not such a matrix.
    """
    a = _coupling(coupling)
    reach = a > 0
    for _ in range(2 * int(a.shape[0]).bit_length()):  # a power above n^2
        reach = (reach.astype(np.float64) @ reach) > 0
    if not reach.all(axis=0).any():
        raise ValueError("coupling must have one closed class of pairs, and that aperiodic, got one that has not")
    n = len(a)
    system = np.vstack([a.T - np.eye(n), np.ones(n)])
    law = np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0]
    law = np.where(reach.all(axis=0), np.maximum(law, 0.0), 0.0)
    return np.asarray(law / law.sum())


def consensus_law(coupling: ArrayLike, p: ArrayLike) -> Array:
    """Return the chances that all pairs end at text k: sum_i pi_i p_{0,i,k}.

    Beyond the papers; Law 7.1.

    Parameters
    ----------
    coupling : array, shape (n, n)
        A, with one closed class that is aperiodic.
    p : array, shape (n, K)
        Initial text models.

    Returns
    -------
    array, shape (K,)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    a = _coupling(coupling)
    return np.asarray(stationary_law(a) @ _texts(p, len(a)))


def text_moments(coupling: ArrayLike, text_samples: ArrayLike, t: ArrayLike, p: ArrayLike) -> TextMoments:
    """Return the exact second moments of all pairs: J' = (A J A^T) o (1 - diag(1/M)), o entry by entry.

    Beyond the papers; Law 7.1. In terms of H = E <p_i, p_j> = 1 - J: H' = A H A^T + diag(1 - A H A^T) / M. Exact for
    separated images or true labels; with overlap and honest labels it is a floor under J (Law 7.5).

    Parameters
    ----------
    coupling : array, shape (n, n)
        A.
    text_samples : int or array of int, shape (n,)
        M, at least 1, the same for all pairs or one for each.
    t : int or array of int, shape (T,)
        Text updates, at least 0.
    p : array, shape (n, K)
        Initial text models.

    Returns
    -------
    TextMoments

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    a = _coupling(coupling)
    kept = _kept(text_samples, len(a))
    start = _texts(p, len(a))
    times = _times(t)
    differ = np.empty((times.size, *a.shape))
    j = 1 - start @ start.T
    for step in range(int(times.max(initial=0)) + 1):
        differ[times == step] = j
        j = (a @ j @ a.T) * kept
    return TextMoments(times, differ)


def leading_factor(coupling: ArrayLike, text_samples: ArrayLike) -> float:
    """Return the factor lambda by which all second moments shrink in the long run, an eigenvalue of Law 7.1's step.

    Beyond the papers; Law 7.2: 1 - lambda = sum_i pi_i^2 / M + O(1/M^2) for one aperiodic closed class (Nagylaki's
    strong-migration limit), and lambda >= 1 - max_i pi_i / M at every M. With several closed classes lambda is 1.

    Parameters
    ----------
    coupling : array, shape (n, n)
        A, with n at most 60.
    text_samples : int or array of int, shape (n,)
        M, at least 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    a = _coupling(coupling)
    n = len(a)
    if n > _MOST:
        raise ValueError(f"coupling must have at most {_MOST} rows, got {n}")
    kept = _kept(text_samples, n)
    i, j = np.triu_indices(n)  # J is symmetric: half of the entries are enough
    step = a[i][:, i] * a[j][:, j] + np.where(i == j, 0.0, a[i][:, j] * a[j][:, i])
    return float(np.abs(np.linalg.eigvals(kept[i, j][:, None] * step)).max())


def effective_pairs(coupling: ArrayLike, text_samples: ArrayLike | None = None) -> float:
    """Return how many pairs the network is worth: 1 / (M (1 - lambda)), or its limit 1 / sum_i pi_i^2 for many images.

    Beyond the papers; Law 7.2.

    Parameters
    ----------
    coupling : array, shape (n, n)
        A, with one closed class that is aperiodic.
    text_samples : int, optional
        M, at least 2; without it the limit of strong coupling, M to infinity.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    law = stationary_law(coupling)
    if text_samples is None:
        return float(1 / (law @ law))
    m = check.integer("text_samples", text_samples, minimum=2)
    return 1 / (m * (1 - leading_factor(coupling, m)))


def island_factors(pairs: int, text_samples: int, kept_distance: float) -> Factors:
    """Return both factors of n pairs that mix alike: the roots of (1 - x)(u c - x) + x (1 - c) / (n M) = 0.

    Beyond the papers; Law 7.2 and Law 7.3. u = 1 - 1/M, and c is the share of the squared distances that mixing keeps:
    (1 - a)^2 if each pair takes the share a of its data from all pairs alike, (1 - 2a)^2 for two pairs with A_12 = A_21
    = a. Then (1 - lambda_+)(1 - lambda_-) = (1 - c) / (n M) and lambda_+ lambda_- = u c.

    Parameters
    ----------
    pairs : int
        n >= 2.
    text_samples : int
        M >= 1.
    kept_distance : float
        c in [0, 1].

    Returns
    -------
    Factors

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("pairs", pairs, minimum=2)
    m = check.integer("text_samples", text_samples, minimum=1)
    c = check.probability("kept_distance", kept_distance)
    return _factors(n, m, c)


def island_disagreement(pairs: int, text_samples: int, kept_distance: float) -> float:
    """Return F: which share of the diversity of the average is disagreement, once the first steps are over.

    Beyond the papers; Law 7.3, from the leading eigenvector. For many images, M to infinity with w = M (1 - c) fixed,
    F^2 + (n w + n - 2) F = n - 1; for many pairs that is Wright's formula F = 1 / (1 + w).

    Parameters
    ----------
    pairs, text_samples, kept_distance
        As `island_factors`.

    Returns
    -------
    float, in [0, 1]

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    island_factors(pairs, text_samples, kept_distance)
    (a, b), (e, f) = _island(pairs, text_samples, float(kept_distance))
    # x y = a y + b z for the leading factor x, with y the average diversity and z that of the average: F = 1 - y/z.
    # Both x and a may be close to 1, their difference is taken before that.
    return 1 - 2 * b / (f - a + math.sqrt((a - f) ** 2 + 4 * b * e)) if b > 0 else 1.0


def factor_bounds(coupling: ArrayLike, text_samples: int) -> tuple[float, float]:
    """Return bounds of the leading factor: 1 - max pi / M <= lambda <= that of 1 / min pi islands with c = s^2.

    Beyond the papers; Law 7.2. For every M and every A in which all pairs hear of each other; s is the second largest
    singular value of A between functions weighted with the stationary law pi. If the columns of A sum to 1, pi is 1/n,
    the lower bound is 1 - 1/(n M), and both bounds are attained by pairs that mix alike and completely.

    Parameters
    ----------
    coupling : array, shape (n, n)
        A, n >= 2: one class, aperiodic.
    text_samples : int
        M >= 2.

    Returns
    -------
    tuple of two floats

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    a = _coupling(coupling)
    law = stationary_law(a)
    if len(a) < 2 or law.min() == 0:
        raise ValueError(f"coupling must join at least 2 pairs that all hear of each other, got the say {law}")
    m = check.integer("text_samples", text_samples, minimum=2)
    root = np.sqrt(law)
    second = float(np.linalg.norm(root[:, None] * a / root - np.outer(root, root), 2) ** 2)
    return 1 - float(law.max()) / m, _factors(1 / float(law.min()), m, min(second, 1.0)).leading


def ring_factor(shares: ArrayLike, text_samples: int) -> float:
    """Return the leading factor of pairs in a ring: the root of (1/n) sum_q b_q / (b_q - lambda) = M below 1.

    Beyond the papers; Law 7.2. Pair i takes the share a_x of its data from pair i + x (mod n), for every i; b_q is the
    squared modulus of the Fourier transform of a, and the root searched for lies above all b_q but b_0 = 1.

    Parameters
    ----------
    shares : array, shape (n,)
        a_0, ..., a_{n-1}, a probability vector.
    text_samples : int
        M >= 2.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range, or the ring falls into parts that never agree.
    """
    a = check.probability_vector("shares", shares)
    m = check.integer("text_samples", text_samples, minimum=2)
    n = a.size
    b = np.abs(np.fft.fft(a))[1:] ** 2
    if b.max(initial=0.0) > 1 - 1e-12:
        raise ValueError("shares must couple all pairs to one ring, got a ring that falls into parts")

    def worth(loss: float) -> float:  # of x = 1 - lambda: 1/x = n M + sum of b / (lambda - b)
        return float(1 / loss - n * m - (b / (1 - loss - b)).sum())

    if n == 1:
        return 1 - 1 / m
    gap = 1 - b.max()
    # By Law 7.2 the loss lies between these two; the second keeps clear of the pole at lambda = the largest b_q.
    low, high = gap / (n * m) * (1 - 1e-12), min(1 / (n * m), gap * (1 - 1e-12))
    return 1 - float(optimize.brentq(worth, low, high, xtol=1e-17, rtol=1e-14))


def two_pairs(share: float, text_samples: int, t: ArrayLike, p: ArrayLike) -> TextMoments:
    """Return the moments of two pairs that take the share a of their data from each other, in closed form.

    Beyond the papers; Law 7.3. With c = (1 - 2a)^2 and the factors x_+, x_- of `island_factors`, the average diversity
    y and the diversity z of the average are sums of x_+^t and x_-^t; E D_1 - E D_2 shrinks by (1 - 1/M)(1 - 2a).

    Parameters
    ----------
    share : float
        a in [0, 1].
    text_samples : int
        M >= 2.
    t : int or array of int, shape (T,)
        Text updates, at least 0.
    p : array, shape (2, K)
        Initial text models.

    Returns
    -------
    TextMoments

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    a = check.probability("share", share)
    m = check.integer("text_samples", text_samples, minimum=2)
    start = _texts(p, 2)
    times = _times(t)
    j = 1 - start @ start.T
    plus, minus = island_factors(2, m, (1 - 2 * a) ** 2)
    step = np.array(_island(2, m, (1 - 2 * a) ** 2))
    one = np.array([(j[0, 0] + j[1, 1]) / 2, j.mean()])
    two = step @ one
    # Both factors are different: their distance is at least 1/M of the larger one's.
    plus_part, minus_part = (two - minus * one) / (plus - minus), (plus * one - two) / (plus - minus)
    y, z = plus_part[:, None] * plus**times + minus_part[:, None] * minus**times
    half = (j[0, 0] - j[1, 1]) / 2 * ((1 - 1 / m) * (1 - 2 * a)) ** times
    across = 2 * z - y
    differ = np.array([[y + half, across], [across, y - half]])
    return TextMoments(times, np.moveaxis(differ, -1, 0))


def image_moments(
    coupling: ArrayLike,
    image_samples: Any,
    t: ArrayLike,
    mean: ArrayLike,
    cov: ArrayLike,
    *,
    sources: str = "random",
    divisor: float = 1.0,
) -> ImageMoments:
    """Return the exact second moments of the image models of one text, text models frozen.

    Beyond the papers; Law 7.4. At divisor 0 half the mean squared distance of two images obeys the step of
    `text_moments`. With C_ij = E <mu_i, mu_j>, T_i = E tr Sigma_i and the total variance
    X_i = (A T)_i + sum_j A_ij C_jj - (A C A^T)_ii of the images that pair i receives,

        C' = A C A^T + diag(X) / N,    T' = X (N - 1) / (N - divisor).

    Parameters
    ----------
    coupling : array, shape (n, n)
        A.
    image_samples : int or frozen discrete law of scipy.stats
        N, images of the text that a pair receives in an update; drawn anew for each pair if a law. Below 2 the pair
        keeps its image model.
    t : int or array of int, shape (T,)
        Image updates, at least 0.
    mean : array, shape (n, d)
        Initial means.
    cov : array, shape (n, d, d)
        Initial covariances.
    sources : "random" or "fixed"
        Whether each image comes from pair j with probability A_ij, or exactly N A_ij images do.
    divisor : float
        The refitted covariance is the scatter matrix over N - divisor: 1 (the paper, unbiased) or 0 (maximum
        likelihood); below 2.

    Returns
    -------
    ImageMoments

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    a = _coupling(coupling)
    n = len(a)
    values, weights = check.count_law("image_samples", image_samples, minimum=0)
    times = _times(t)
    mu = check.real_array("mean", mean, (n, None))
    sigma = check.covariance("cov", cov, dim=mu.shape[1])
    if sigma.shape != (n, mu.shape[1], mu.shape[1]):
        raise ValueError(f"cov must have shape ({n}, {mu.shape[1]}, {mu.shape[1]}), got {sigma.shape}")
    fixed = check.choice("sources", sources, ("random", "fixed")) == "fixed"
    size, weight = values[values > 1], weights[values > 1]
    delta = check.number("divisor", divisor, maximum=2.0, open_maximum=True)
    refit = weight.sum()
    inverse = float(weight @ (1.0 / size))
    unbias = float(weight @ ((size - 1) / (size - delta)))
    between = float(weight @ (size / (size - delta))) if fixed else unbias
    moved = (1 - refit) * np.eye(n) + refit * a

    c = mu @ mu.T
    v = np.einsum("ikk->i", sigma)
    variance, products = np.empty((times.size, n)), np.empty((times.size, n, n))
    for step in range(int(times.max(initial=0)) + 1):
        variance[times == step], products[times == step] = v, c
        within, pulled = a @ v, a @ c @ a.T
        apart = a @ np.diag(c) - np.diag(pulled)
        new = moved @ c @ moved.T
        noise = inverse * (within if fixed else within + apart)
        np.fill_diagonal(new, (1 - refit) * np.diag(c) + refit * np.diag(pulled) + noise)
        v = (1 - refit) * v + unbias * within + between * apart
        c = new
    return ImageMoments(times, variance, products)


def image_factors(pairs: int, image_samples: int, kept_distance: float, divisor: float = 1.0) -> Factors:
    """Return both factors per image update of n pairs that mix alike, sources drawn at random.

    Beyond the papers; Law 7.4. The mean variance T and the spread V of the means obey T' = f (T + (1 - c) V) and
    V' = c V + k (T + (1 - c) V), with f = (N - 1)/(N - divisor) and k = (1 - 1/n)/N. At the divisor 1 the factors are
    the roots of (x - 1)(x - c) = k (1 - c) x: the leading one is above 1 as soon as c < 1.

    Parameters
    ----------
    pairs : int
        n >= 2.
    image_samples : int
        N >= 2.
    kept_distance : float
        c in [0, 1], as in `island_factors`.
    divisor : float
        Below 2.

    Returns
    -------
    Factors

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("pairs", pairs, minimum=2)
    size = check.integer("image_samples", image_samples, minimum=2)
    c = check.probability("kept_distance", kept_distance)
    f = (size - 1) / (size - check.number("divisor", divisor, maximum=2.0, open_maximum=True))
    total = f + c + (1 - 1 / n) / size * (1 - c)
    root = math.sqrt(max(total**2 - 4 * f * c, 0.0))
    return Factors((total + root) / 2, (total - root) / 2)


def fair_divisor(pairs: int, image_samples: int) -> float:
    """Return the divisor at which n pairs that mix completely neither fade nor swell in the mean: about 1/n.

    Beyond the papers; Law 7.4: N - divisor = (N - 1) n N / (n N - n + 1).

    Parameters
    ----------
    pairs : int
        n >= 1.
    image_samples : int
        N >= 2.

    Returns
    -------
    float
        1 for one pair.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("pairs", pairs, minimum=1)
    size = check.integer("image_samples", image_samples, minimum=2)
    return size / (n * size - n + 1)


def _factors(n: float, m: int, c: float) -> Factors:
    (a, b), (e, f) = _island(n, m, c)
    root = math.sqrt((a - f) ** 2 + 4 * b * e)  # positive inside, see Law 7.3
    leading = (a + f + root) / 2
    return Factors(leading, a + f - leading)


def _island(n: float, m: int, c: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The step of (average diversity, diversity of the average) of n pairs that mix alike."""
    u, e = 1 - 1 / m, 1 / (n * m)
    return (u * c, u * (1 - c)), (-e * c, 1 - e * (1 - c))


def _coupling(coupling: ArrayLike) -> Array:
    a = check.probability_vector("coupling", coupling, batch=True)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"coupling must have shape (n, n), got {a.shape}")
    return a


def _texts(p: ArrayLike, n: int) -> Array:
    start = check.probability_vector("p", p, batch=True)
    if start.ndim != 2 or len(start) != n:
        raise ValueError(f"p must have shape ({n}, K), one row for each pair, got {start.shape}")
    return start


def _kept(text_samples: ArrayLike, n: int) -> Array:
    """One less the chance that two draws are of the same image, (n, n)."""
    m = check.integer_array("text_samples", text_samples, minimum=1)
    if m.shape not in ((), (n,)):
        raise ValueError(f"text_samples must be one number or have shape ({n},), got {m.shape}")
    return 1 - np.diag(np.broadcast_to(1 / m, (n,)))


def _times(t: ArrayLike) -> NDArray[np.int64]:
    times = np.atleast_1d(check.integer_array("t", t, minimum=0))
    if times.ndim != 1 or times.max(initial=0) > _LONGEST:
        raise ValueError(f"t must be a row of steps up to {_LONGEST}, got shape {times.shape}")
    return times
