"""User images keep the image diversity above a floor: Gao & Li 2025, Theorem 6.2, sharper floors, and a ceiling.

One image update pools n images of the model N(mu, Sigma) with m user images of N(mu*, Sigma*). With s = n + m the new
covariance is

    Sigma' = [A + B + (nm/s) u u'] / (s - 1),    u = xbar - ybar,

where A and B are the scatters of the two samples, Sigma^{1/2} W_{n-1} Sigma^{1/2} and Sigma*^{1/2} W_{m-1} Sigma*^{1/2}
with Wishart matrices W. With s < 2 the model stays as it was. Image diversity is tr Sigma^{1/2}.

Everywhere `images` is n, `user_images` is m and `user_cov` is Sigma*. Where a docstring says "count", n and m may
each be an int >= 0 or a frozen discrete law of `scipy.stats`, drawn anew for every update and independent of the past.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from coevo import _validation as check
from coevo._validation import Array
from coevo.theory.image import late_time_amplitude
from coevo.theory.user_moments import _matrix, limit_factors, moments
from coevo.wishart import contraction_constant

__all__ = [
    "best_floor",
    "concave_floor",
    "direction_floor",
    "diversity_ceiling",
    "diversity_floor",
    "pythagorean_floor",
    "rank_one_floor",
]

Counts = NDArray[np.int64]

# Pairs (n, m) of a smaller probability are left out; every term they weigh lies in [0, 1].
_NEGLIGIBLE = 1e-18


def diversity_floor(images: Any, user_images: Any, user_cov: ArrayLike) -> float:
    """Return E[sqrt((m-1)/(n+m-1)) c_d(m-1); m >= 2] tr Sigma*^{1/2}, a floor of E tr Sigma_t^{1/2} for all t >= 1.

    Gao & Li 2025, Theorem 6.2, eq. (6.11): there n is replaced by N, the largest number it can be, so that the floor
    holds whatever the text model does. Beyond the paper: for a random m the mean is over the event m >= 2 and contains
    its probability; the paper's remark, E[m | m >= 2] in place of m, is not a floor.

    Parameters
    ----------
    images : count
        n, or the largest number N that it can be.
    user_images : count
        m; below 2 the floor is zero.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.

    Returns
    -------
    float
        In the units of the images.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n, m, weight = _pairs(images, user_images)
    diversity, dim = _diversity(user_cov)
    user = np.maximum(m - 1, 0)
    return float(weight @ (np.sqrt(user / np.maximum(n + m - 1, 1)) * _constants(user, dim)) * diversity)


def concave_floor(images: int, user_images: int, user_cov: ArrayLike) -> float:
    """Return a floor of lim inf E tr Sigma_t^{1/2}, from the concavity of the trace of the root.

    Beyond the paper (it sharpens Gao & Li 2025, Theorem 6.2): with s = n + m and g = sqrt((s-2)/(s-1)),

        g (m-1) c_d(m-1) tr Sigma*^{1/2} / [(s-2) - g (n-1) c_d(n-1)].

    `pythagorean_floor` is never less.

    Parameters
    ----------
    images : int
        n >= 1.
    user_images : int
        m >= 2.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n = check.integer("images", images, minimum=1)
    m = check.integer("user_images", user_images, minimum=2)
    diversity, dim = _diversity(user_cov)
    c_own, c_user = _constants(np.array([n - 1, m - 1]), dim)
    left = n + m - 2
    g = np.sqrt(left / (left + 1))
    return float(g * (m - 1) * c_user * diversity / (left - g * (n - 1) * c_own))


def rank_one_floor(images: int, user_images: int, user_cov: ArrayLike) -> float:
    """Return a floor of lim inf E tr Sigma_t^{1/2} that keeps the distance of the two sample means.

    Beyond the paper (it sharpens Gao & Li 2025, Theorem 6.2): with s = n + m,

        [(m-1) c_d(m-1) tr Sigma*^{1/2} + sqrt(2 n tr Sigma* / (pi s))] / [(s-1) - (n-1) c_d(n-1)].

    It is positive for a single user image. `pythagorean_floor` is never less.

    Parameters
    ----------
    images : int
        n >= 1.
    user_images : int
        m >= 1.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n = check.integer("images", images, minimum=1)
    m = check.integer("user_images", user_images, minimum=1)
    diversity, dim = _diversity(user_cov)
    c_own, c_user = _constants(np.array([n - 1, m - 1]), dim)
    s = n + m
    between = np.sqrt(2 * n * np.trace(np.asarray(user_cov)) / (np.pi * s))
    return float(((m - 1) * c_user * diversity + between) / ((s - 1) - (n - 1) * c_own))


def pythagorean_floor(
    images: Any, user_images: Any, user_cov: ArrayLike, t: ArrayLike | None = None, initial_diversity: float = 0.0
) -> Any:
    """Return a floor of E tr Sigma_t^{1/2} from the superadditivity of the squared diversity.

    Beyond the paper (it sharpens Gao & Li 2025, Theorem 6.2). The squares of the diversities of A, B and (nm/s) u u'
    add up to at most that of their sum, so the mean diversity x_t satisfies x_{t+1} >= E sqrt(a x_t^2 + b) with

        (s-1) a = (n-1) c_d(n-1)^2 + (m/s) c_d(1)^2,
        (s-1) b = (m-1) max{c_d(m-1) tr Sigma*^{1/2}, c_1(m-1) A*}^2 + (n/s) (2/pi) A*^2,

    A* = `coevo.theory.image.late_time_amplitude` of Sigma* (the terms with n/s and m/s only if n, m >= 1). For fixed n
    and m this is x_t^2 >= a^t x_0^2 + b (1 - a^t) / (1 - a). It is at least (6.11), `concave_floor` and
    `rank_one_floor`, and never more than tr Sigma*^{1/2}.

    Parameters
    ----------
    images, user_images : counts
        n and m.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.
    t : int or array of int, shape (...), optional
        Image updates, at least 0; without it the limit, a floor of lim inf E tr Sigma_t^{1/2}.
    initial_diversity : float, optional
        A lower bound x_0 >= 0 of tr Sigma_0^{1/2}; with 0 the floor at t holds for every start.

    Returns
    -------
    float, or ndarray of the shape of `t`

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n, m, weight = _pairs(images, user_images)
    diversity, dim = _diversity(user_cov)
    start = check.number("initial_diversity", initial_diversity, minimum=0.0)
    amplitude = late_time_amplitude(user_cov)
    own, user, both, total, dof = _degrees(n, m)
    refit = n + m >= 2
    c_user = np.maximum(_constants(user, dim) * diversity, _constants(user, 1) * amplitude)
    one = contraction_constant(1, dim)
    a = (own * _constants(own, dim) ** 2 + both * m / total * one**2) / dof
    b = (user * c_user**2 + both * n / total * (2 / np.pi) * amplitude**2) / dof
    a = np.where(refit, a, 1.0)

    def step(x: float) -> float:
        return float(weight @ np.sqrt(a * x**2 + b))

    return _iterated(step, t, start, diversity)


def direction_floor(images: Any, user_images: Any, user_cov: ArrayLike, t: ArrayLike | None = None) -> Any:
    """Return a floor F A* of E tr Sigma_t^{1/2} from its one-dimensional projections.

    Beyond the paper (it sharpens Gao & Li 2025, Theorem 6.2). Along a unit vector v the system is the one-dimensional
    one with user variance v' Sigma* v. The ratio x of its mean standard deviation to that of the users
    satisfies x_{t+1} >= h(x_t),

        h(x) = E sqrt{[x^2 chi2_{n-1} + chi2_{m-1} + (m/s x^2 + n/s) chi2_1] / (s-1)},

    with independent chi-squared variables, exact for a fixed standard deviation and no drift. Averaged over v this is
    x_t A*, A* = `coevo.theory.image.late_time_amplitude` of Sigma*. F is the fixed point of h; it tends to
    sqrt(m / (m + 1/2)) for many images and fixed m. It beats `pythagorean_floor` in d = 1, and elsewhere if there are
    few user images or Sigma* is flat. Rounding leaves a relative error of about 1e-15 n.

    Parameters
    ----------
    images, user_images : counts
        n and m.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.
    t : int or array of int, shape (...), optional
        Image updates, at least 0; the floor at t holds for every start. Without it the limit, a floor of
        lim inf E tr Sigma_t^{1/2}.

    Returns
    -------
    float, or ndarray of the shape of `t`

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n, m, weight = _pairs(images, user_images)
    amplitude = late_time_amplitude(_matrix("user_cov", user_cov))
    own, user, both, total, dof = _degrees(n, m)
    refit = n + m >= 2
    # E sqrt(X) = (4 pi)^{-1/2} int (1 - E e^{-zX}) z^{-3/2} dz with z = e^w. For |Im w| < pi/2 it is analytic and
    # |E e^{-zX}| <= 1, so the step 1/4 errs by e^{-4 pi^2}; it falls like e^{-|w|/2}: e^{-40} at the ends.
    w = np.arange(-80, 80, 0.25)
    z, kernel = 2 * np.exp(w), 0.25 * np.exp(-w / 2) / np.sqrt(4 * np.pi)
    of_users = user[:, None] * np.log1p(z / dof[:, None])

    def step(x: float) -> float:
        scale, between = x**2 / dof, both * (m * x**2 + n) / total / dof
        logs = own[:, None] * np.log1p(z * scale[:, None]) + of_users + np.log1p(z * between[:, None])
        return float(weight @ np.where(refit, -np.expm1(-0.5 * logs) @ kernel, x))

    value = _iterated(step, t, 0.0, 1.0)
    return value * amplitude


def best_floor(images: Any, user_images: Any, user_cov: ArrayLike, t: ArrayLike | None = None) -> Any:
    """Return the larger of `pythagorean_floor` and `direction_floor`: the best floor of this module, for every start.

    Beyond the paper (it sharpens Gao & Li 2025, Theorem 6.2): never less than (6.11), and positive as soon as a user
    image is pooled with another image.

    Parameters
    ----------
    images, user_images : counts
        n and m.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.
    t : int or array of int, shape (...), optional
        Image updates, at least 0; without it the limit.

    Returns
    -------
    float, or ndarray of the shape of `t`

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    larger = np.maximum(
        pythagorean_floor(images, user_images, user_cov, t), direction_floor(images, user_images, user_cov, t)
    )
    return float(larger) if larger.ndim == 0 else larger


def diversity_ceiling(
    images: Any,
    user_images: Any,
    user_cov: ArrayLike,
    t: ArrayLike | None = None,
    cov: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> Any:
    """Return tr (E Sigma_t)^{1/2}, an upper bound of E tr Sigma_t^{1/2}; in the limit sqrt(kappa) tr Sigma*^{1/2}.

    Beyond the paper (the counterpart of Gao & Li 2025, Theorem 6.2): the trace of the root is concave. The limit holds
    for every start; kappa is `coevo.theory.user_moments.limit_factors(...).cov`, E Sigma_t being
    `coevo.theory.user_moments.moments(...).cov`.

    Parameters
    ----------
    images, user_images : counts
        n and m.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.
    t : int or array of int, shape (...), optional
        Image updates, at least 0; without it the limit, a ceiling of lim sup E tr Sigma_t^{1/2}. It is infinite if
        user images are too rare, or never used: no finite ceiling of this kind then holds for every start.
    cov : array, shape (d, d), optional
        Sigma_0, for finite `t`; `user_cov` unless given.
    offset : array, shape (d,), optional
        mu_0 - mu*, for finite `t`; zero unless given.

    Returns
    -------
    float, or ndarray of the shape of `t`

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    diversity, dim = _diversity(user_cov)
    if t is None:
        n, m, _ = _pairs(images, user_images)
        if not ((m > 0) & (n + m >= 2)).any():
            return float(np.inf)
        return float(np.sqrt(limit_factors(images, user_images).cov) * diversity)
    start = user_cov if cov is None else cov
    shift = np.zeros(dim) if offset is None else check.real_array("offset", offset, (dim,))
    value = _root_trace(moments(shift, start, user_cov, images, user_images, t).cov)
    return float(value) if value.ndim == 0 else value


def _pairs(images: Any, user_images: Any) -> tuple[Counts, Counts, Array]:
    """Return the pairs (n, m) that can happen and their probabilities, three arrays (Q,)."""
    n, n_weight = check.count_law("images", images, minimum=0)
    m, m_weight = check.count_law("user_images", user_images, minimum=0)
    weight = np.outer(n_weight, m_weight)
    i, j = np.nonzero(weight > _NEGLIGIBLE)
    return n[i], m[j], weight[i, j]


def _degrees(n: Counts, m: Counts) -> tuple[Array, Array, Array, Array, Array]:
    """Return n - 1, m - 1, whether both samples have a mean, n + m and n + m - 1, guarded against too few images."""
    both = ((n >= 1) & (m >= 1)).astype(float)
    total = np.maximum(n + m, 1).astype(float)
    own, user = np.maximum(n - 1.0, 0.0), np.maximum(m - 1.0, 0.0)
    return own, user, both, total, np.maximum(total - 1, 1.0)


def _constants(dof: ArrayLike, dim: int) -> Array:
    """Return c_d(nu), zero for nu = 0; each different nu is computed once."""
    nu, where = np.unique(np.asarray(dof).astype(np.int64), return_inverse=True)
    return np.asarray(np.where(nu > 0, contraction_constant(np.maximum(nu, 1), dim), 0.0)[where])


def _root_trace(cov: Array) -> Array:
    """Return tr S^{1/2}, shape (...), for positive semidefinite S, shape (..., d, d)."""
    return np.asarray(np.sqrt(np.maximum(np.linalg.eigvalsh(cov), 0.0)).sum(axis=-1))


def _diversity(user_cov: ArrayLike) -> tuple[float, int]:
    """Return tr Sigma*^{1/2} and d."""
    matrix = _matrix("user_cov", user_cov)
    return float(_root_trace(matrix)), len(matrix)


def _iterated(step: Callable[[float], float], t: ArrayLike | None, start: float, top: float) -> Any:
    """Return the t-th iterate of an increasing convex function, or its only fixed point in [0, top]."""
    if t is None:
        # The fixed point is at most top. Where rounding cannot tell that the function bends back, zero is a floor too.
        if step(0.0) == 0.0 or step(2 * top) >= 2 * top:
            return 0.0
        return float(optimize.brentq(lambda x: step(x) - x, 0.0, 2 * top, xtol=1e-14 * top))
    times = check.integer_array("t", t, minimum=0)
    path = [start]
    for _ in range(int(times.max(initial=0))):
        path.append(step(path[-1]))
    value = np.array(path)[times]
    return float(value) if value.ndim == 0 else value
