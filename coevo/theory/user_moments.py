"""Second moments of an image model that also learns from user images: Gao & Li 2025, Theorem 6.3, exactly.

In each image update a text's n generated images are pooled with m user images from N(mu*, Sigma*), s = n + m. With
the error e_t = mu_t - mu*, G_t = E e_t e_t^T and S_t = E Sigma_t,

    G_{t+1} = (n/s)^2 G_t + (n/s^2) S_t + (m/s^2) Sigma*,
    S_{t+1} = n m / (s (s - 1)) G_t + (n/s) S_t + (m/s) Sigma*,

for s >= 2; with fewer than two images the model stays as it was. These are equalities, entry by entry. If n and m are
random and drawn anew in each update, the coefficients are averaged. The functions take `images` (n) and
`user_images` (m) as integers or as independent frozen discrete laws of `scipy.stats`, e.g. ``stats.binom(100, 0.2)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.theory._shared import few_updates

__all__ = [
    "Factors",
    "Moments",
    "critical_user_share",
    "fidelity_bound",
    "fourth_moment",
    "limit_factors",
    "limit_law",
    "limit_mean_drift",
    "moments",
    "spectral_radius",
    "update_matrix",
]


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of the image model at the times that were asked for; Theorem 6.3 as equalities.

    Attributes
    ----------
    error : array (..., d, d)
        G_t = E (mu_t - mu*)(mu_t - mu*)^T.
    cov : array (..., d, d)
        S_t = E Sigma_t.
    drift : array (..., d, d)
        E (mu_t - mu_0)(mu_t - mu_0)^T.
    """

    error: Array
    cov: Array
    drift: Array

    @property
    def squared_error(self) -> Any:
        """F_t = E||mu_t - mu*||^2, array (...)."""
        return np.trace(self.error, axis1=-2, axis2=-1)

    @property
    def total_variance(self) -> Any:
        """T_t = E tr Sigma_t, array (...)."""
        return np.trace(self.cov, axis1=-2, axis2=-1)

    @property
    def squared_drift(self) -> Any:
        """E||mu_t - mu_0||^2, array (...)."""
        return np.trace(self.drift, axis1=-2, axis2=-1)


class Factors(NamedTuple):
    """Limits of G_t and S_t as multiples of Sigma*: G = error Sigma*, S = cov Sigma*."""

    error: float
    cov: float


def update_matrix(images: Any, user_images: Any) -> tuple[Array, Array]:
    """Return (A, b) with (G, S) -> A (G, S) + b Sigma*: the recursion of Theorem 6.3 with averaged coefficients.

    Parameters
    ----------
    images, user_images : int >= 0 or frozen discrete law of scipy.stats
        n and m, independent of each other and of the past.

    Returns
    -------
    tuple of array (2, 2) and array (2,)

    Raises
    ------
    TypeError, ValueError
        If a count is neither a non-negative integer nor a discrete law on such integers.
    """
    (loss_error, from_cov, from_error, loss_cov), (drive_error, *_) = _coefficients(images, user_images)
    return np.array([[1 - loss_error, from_cov], [from_error, 1 - loss_cov]]), np.array([drive_error, loss_cov])


def moments(
    offset: ArrayLike, cov: ArrayLike, user_cov: ArrayLike, images: Any, user_images: Any, t: ArrayLike
) -> Moments:
    """Return G_t, S_t and the second moments of the drift, exactly; their traces are the F_t and T_t of Theorem 6.3.

    Beyond the paper: equalities, for matrices, from any start and with random counts.

    Parameters
    ----------
    offset : array (d,)
        mu_0 - mu*.
    cov : array (d, d)
        Sigma_0, positive semidefinite.
    user_cov : array (d, d)
        Sigma*, positive semidefinite.
    images, user_images : int >= 0 or frozen discrete law of scipy.stats
        n and m.
    t : int array (...)
        Numbers of updates, >= 0 and <= 10^6. Every update up to the largest is computed and kept.

    Returns
    -------
    Moments
        Arrays (..., d, d).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    start = check.real_array("offset", offset, (None,))
    initial = check.single_covariance("cov", cov, dim=start.size)
    user = check.single_covariance("user_cov", user_cov, dim=start.size)
    times = few_updates(t)
    matrix, drive = update_matrix(images, user_images)
    (*_, loss), (*_, spread) = _coefficients(images, user_images)
    outer = np.outer(start, start)
    # E e_t = (E n/s)^t e_0. The state is (Cov e_t, S_t), so that the drift, Cov e_t + (1 - (E n/s)^t)^2 e_0 e_0', is a
    # sum of positive terms.
    state = np.stack([np.zeros_like(initial), initial])
    path = np.empty((int(times.max(initial=0)) + 1, 2, *initial.shape))
    for k in range(len(path)):
        path[k] = state
        state = np.einsum("ab,bij->aij", matrix, state) + drive[:, None, None] * user
        state += np.multiply.outer([spread, matrix[1, 0]], matrix[1, 1] ** (2 * k) * outer)
    memory = matrix[1, 1] ** times[..., None, None]
    with np.errstate(divide="ignore", invalid="ignore"):  # without images of its own the model forgets at once
        forgotten = np.where(times > 0, -np.expm1(times * np.log1p(-min(loss, 1.0))), 0.0)[..., None, None]
    return Moments(path[times, 0] + memory**2 * outer, path[times, 1], path[times, 0] + forgotten**2 * outer)


def limit_factors(images: Any, user_images: Any) -> Factors:
    """Return the factors of G_t -> error Sigma* and S_t -> cov Sigma*.

    Behind Theorem 6.3, beyond the paper. For fixed n and m, error = (s - 1) / (s (s - 1) - n^2) and
    cov = 1 + n error / (s - 1): finite for every m >= 1. If m is random and too often zero, both are infinite.

    Parameters
    ----------
    images, user_images : int >= 0 or frozen discrete law of scipy.stats
        n and m.

    Returns
    -------
    Factors

    Raises
    ------
    TypeError, ValueError
        If a count is not one; if no user image is ever used, so that there is no limit or it depends on the start.
    """
    (loss_error, from_cov, from_error, loss_cov), (_, inverse_total, _) = _coefficients(images, user_images)
    if loss_cov == 0:
        raise ValueError(
            f"user_images must be positive in some update of at least two images, got {_described(user_images)} "
            f"with images = {_described(images)}"
        )
    determinant = loss_error * loss_cov - from_cov * from_error
    if determinant <= 0:
        return Factors(np.inf, np.inf)
    return Factors(loss_cov * inverse_total / determinant, 1 + from_error * inverse_total / determinant)


def fidelity_bound(user_cov: ArrayLike, images: Any, user_images: Any) -> float:
    """Return sqrt(F_inf), an upper bound of the limit of E||mu_t - mu*||: Gao & Li 2025, Theorem 6.3, eq. (6.14).

    It bounds E||mu_t - mu_0|| at every t if the start is mu_0 = mu*, Sigma_0 = Sigma*.

    Parameters
    ----------
    user_cov : array (d, d)
        Sigma*, positive semidefinite.
    images, user_images : int >= 0 or frozen discrete law of scipy.stats
        n and m.

    Returns
    -------
    float
        With a fixed n >= 0 and m >= 1, between sqrt(tr Sigma* / (2 m - 1)) and sqrt(tr Sigma* / m). Infinite if user
        images are too rare, even for Sigma* = 0: only the start mu_0 = mu*, Sigma_0 = 0 then has a limit.

    Raises
    ------
    TypeError, ValueError
        As `limit_factors`, or if `user_cov` is not a covariance.
    """
    user = check.single_covariance("user_cov", user_cov)
    error = limit_factors(images, user_images).error
    return float(np.sqrt(error * np.trace(user))) if np.isfinite(error) else float(np.inf)


def spectral_radius(images: Any, user_images: Any) -> float:
    """Return the larger eigenvalue of the recursion of Theorem 6.3: the rate at which (G_t, S_t) nears its limit.

    Beyond the paper. Below one for every fixed m >= 1 (and n + m >= 2); for a fixed m and n -> infinity it is
    1 - (3 m - sqrt(m^2 + 4 m)) / (2 n) to first order.

    Parameters
    ----------
    images, user_images : int >= 0 or frozen discrete law of scipy.stats
        n and m.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If a count is not one.
    """
    (loss_error, from_cov, from_error, loss_cov), _ = _coefficients(images, user_images)
    # Both eigenvalues are real, since the off-diagonal entries are not negative.
    spread = np.sqrt((loss_error - loss_cov) ** 2 + 4 * from_cov * from_error)
    return float(1 - (loss_error + loss_cov - spread) / 2)


def fourth_moment(images: int, user_images: int) -> float:
    """Return the limit of E e_t^4 in one dimension with Sigma* = 1; infinite if E e_t^4 grows without bound.

    Beyond the paper (Theorem 6.3 stops at second moments). It decides whether a simulated F_t has a standard error
    at late times. As n grows it tends to 3 / ((2 m - 1) (2 m - 3)) for m >= 2.

    Parameters
    ----------
    images : int >= 0
        n, with n + m >= 2.
    user_images : int >= 1
        m.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If a count is not one, or n + m < 2.
    """
    n = check.integer("images", images, minimum=0)
    m = check.integer("user_images", user_images, minimum=1)
    s = check.integer("images + user_images", n + m, minimum=2)
    share, between = n / s, n * m / s
    own, user = max(n - 1, 0), m - 1  # degrees of freedom of the two scatters
    # Given (e, v): e' is normal with mean share e and variance a v + b; (s - 1) v' = R + between (xbar - ybar)^2 with
    # R of mean own v + user, and between (xbar - ybar)^2 of mean between e^2 + c v + q.
    a, b = n / s**2, m / s**2
    c, q = (m / s if n else 0.0), n / s
    # Rows: e^4, e^2 v, v^2; columns: e^4, e^2 v, v^2, then e^2, v, 1.
    fourth = [share**4, 6 * share**2 * a, 3 * a**2, 6 * share**2 * b, 6 * a * b, 3 * b**2]
    mixed = [
        share**2 * between,
        share**2 * (own + c) + a * between + 4 * share * between / s,
        a * (own + c) + 2 * between / s**2,
        share**2 * (user + q) + b * between - 4 * share * between / s,
        a * (user + q) + b * (own + c) - 4 * between / s**2,
        b * (user + q) + 2 * between / s**2,
    ]
    square = [
        between**2,
        2 * own * between + 6 * between * c,
        own**2 + 2 * own + 2 * own * c + 3 * c**2,
        2 * user * between + 6 * between * q,
        2 * own * user + 2 * (own * q + user * c) + 6 * c * q,
        user**2 + 2 * user + 2 * user * q + 3 * q**2,
    ]
    rows = np.array([fourth, np.array(mixed) / (s - 1), np.array(square) / (s - 1) ** 2])
    if np.abs(np.linalg.eigvals(rows[:, :3])).max() >= 1:
        return float(np.inf)
    lower = np.array([*limit_factors(n, m), 1.0])
    return float(np.linalg.solve(np.eye(3) - rows[:, :3], rows[:, 3:] @ lower)[0])


def critical_user_share(images: int) -> float:
    """Return (n + 1) / (2 n + 1): how often a single user image must come for the second moments to stay bounded.

    Beyond the paper: Theorem 6.3 with m = 1 in a share q of the updates and m = 0 in the others. At or below this q
    the second moments grow without bound.

    Parameters
    ----------
    images : int >= 2
        n.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `images` is not an integer >= 2.
    """
    n = check.integer("images", images, minimum=2)
    return (n + 1) / (2 * n + 1)


def limit_law(user_images: float) -> Any:
    """Return the law of mu_t - mu* for t, then n -> infinity, in one dimension in units of sigma*.

    Beyond the paper (behind Theorem 6.3). It is Student's t with 2 m + 1 degrees of freedom divided by
    sqrt(2 m + 1), with density proportional to (1 + x^2)^{-(m + 1)}: its variance is 1 / (2 m - 1) for m > 1/2, and
    its fourth moment is finite only for m > 3/2.

    Parameters
    ----------
    user_images : float > 0
        m.

    Returns
    -------
    frozen scipy.stats law

    Raises
    ------
    TypeError, ValueError
        If `user_images` is not a positive number.
    """
    m = check.number("user_images", user_images, minimum=0.0, open_minimum=True)
    return stats.t(2 * m + 1, scale=1 / np.sqrt(2 * m + 1))


def limit_mean_drift(user_images: float, dim: int) -> float:
    """Return lim E||mu_t - mu*|| for t, then n -> infinity and Sigma* = I, the truth that eq. (6.14) bounds.

    Beyond the paper (behind Theorem 6.3): Gamma(m) Gamma((d + 1)/2) / (Gamma(m + 1/2) Gamma(d/2)).

    Parameters
    ----------
    user_images : float > 0
        m.
    dim : int >= 1
        d.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.number("user_images", user_images, minimum=0.0, open_minimum=True)
    d = check.integer("dim", dim, minimum=1)
    # Gamma(x + 1/2) / Gamma(x), by Pochhammer's symbol: no overflow for large x.
    return float(special.poch(d / 2, 0.5) / special.poch(m, 0.5))


def _coefficients(images: Any, user_images: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return averages over n and m, each zero for s < 2.

    First 1 - (n/s)^2, n/s^2, nm/(s(s-1)), m/s: the recursion by its distances from the identity, which do not cancel
    for large n. Then m/s^2, 1/s, and the variance of n/s, which is one for s < 2.
    """
    n_values, n_weight = check.count_law("images", images, minimum=0)
    m_values, m_weight = check.count_law("user_images", user_images, minimum=0)
    n, m = n_values[:, None].astype(float), m_values.astype(float)
    every = n_weight[:, None] * m_weight
    weight = np.where(n + m >= 2, every, 0.0)
    s = np.maximum(n + m, 2.0)

    def mean(values: Array) -> float:
        return float((weight * values).sum())

    recursion = (mean(m / s * (n + s) / s), mean(n / s**2), mean(n / s * m / (s - 1)), mean(m / s))
    share = np.where(n + m >= 2, m / s, 0.0)
    return recursion, (mean(m / s**2), mean(1 / s), float((every * (share - recursion[3]) ** 2).sum()))


def _described(count: Any) -> str:
    """Return what a count is, for messages."""
    return f"a law of mean {count.mean():g}" if check.is_count_law(count) else repr(count)
