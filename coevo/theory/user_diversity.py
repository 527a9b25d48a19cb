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
from coevo.measures import image_diversity
from coevo.theory._shared import few_updates
from coevo.theory.image import late_time_amplitude
from coevo.theory.user_moments import limit_factors, moments
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
# From this many degrees of freedom per dimension on, c_d is taken from its expansion in 1 / dof.
_MANY = 10**6
# e^{-u} times any number met here is zero from this u on; e^u does not overflow before.
_FAR = 700.0


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
    c_user, lost = _constants(m - 1, dim), _losses(np.array([n - 1]), dim)
    left = n + m - 2
    g = np.sqrt(left / (left + 1))
    # (s-2) - g (n-1) c, without the difference of large numbers
    room = (m - 1) + (n - 1) / ((left + 1) * (1 + g)) + g * lost[0]
    return float(g * (m - 1) * c_user * diversity / room)


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
    c_user, lost = _constants(m - 1, dim), _losses(np.array([n - 1]), dim)
    s = n + m
    between = np.sqrt(2 * n * np.trace(np.asarray(user_cov)) / (np.pi * s))
    return float(((m - 1) * c_user * diversity + between) / (m + lost[0]))


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
        Image updates, from 0 to 10^6, each of them computed; without it the limit, a floor of
        lim inf E tr Sigma_t^{1/2}.
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
    n, m, weight = _pairs(images, user_images, refits_only=t is None)
    diversity, dim = _diversity(user_cov)
    start = check.number("initial_diversity", initial_diversity, minimum=0.0)
    amplitude = late_time_amplitude(user_cov)
    own, user, both, total, dof = _degrees(n, m)
    c_user = np.maximum(_constants(user, dim) * diversity, _constants(user, 1) * amplitude)
    one = contraction_constant(1, dim)
    # loss = 1 - a, a sum of positive terms; zero where the model stays as it was
    loss = (user + _losses(own, dim) * (1 + _constants(own, dim)) + both * (1 - m / total * one**2)) / dof
    b = (user * c_user**2 + both * n / total * (2 / np.pi) * amplitude**2) / dof

    def step(x: float) -> float:
        return float(weight @ np.sqrt((1 - loss) * x**2 + b))

    def gain(x: float) -> float:
        roots = np.sqrt((1 - loss) * x**2 + b) + x
        return float(weight @ ((b - loss * x**2) / np.where(roots > 0, roots, 1.0)))

    return _iterated(step, gain, t, start, diversity)


def direction_floor(images: Any, user_images: Any, user_cov: ArrayLike, t: ArrayLike | None = None) -> Any:
    """Return a floor F A* of E tr Sigma_t^{1/2} from its one-dimensional projections.

    Beyond the paper (it sharpens Gao & Li 2025, Theorem 6.2). Along a unit vector v the system is the one-dimensional
    one with user variance v' Sigma* v. The ratio x of its mean standard deviation to that of the users
    satisfies x_{t+1} >= h(x_t),

        h(x) = E sqrt{[x^2 chi2_{n-1} + chi2_{m-1} + (m/s x^2 + n/s) chi2_1] / (s-1)},

    with independent chi-squared variables, exact for a fixed standard deviation and no drift. Averaged over v this is
    x_t A*, A* = `coevo.theory.image.late_time_amplitude` of Sigma*. F is the fixed point of h; it tends to
    sqrt(m / (m + 1/2)) for many images and fixed m. It beats `pythagorean_floor` in d = 1, and elsewhere if there are
    few user images or Sigma* is flat.

    Parameters
    ----------
    images, user_images : counts
        n and m.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.
    t : int or array of int, shape (...), optional
        Image updates, from 0 to 10^6, each of them computed; the floor at t holds for every start. Without it the
        limit, a floor of lim inf E tr Sigma_t^{1/2}.

    Returns
    -------
    float, or ndarray of the shape of `t`

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n, m, weight = _pairs(images, user_images, refits_only=t is None)
    amplitude = late_time_amplitude(check.single_covariance("user_cov", user_cov))
    own, user, both, total, dof = _degrees(n, m)
    refit = n + m >= 2
    # E sqrt(X) = (4 pi)^{-1/2} int (1 - E e^{-zX}) z^{-3/2} dz with z = e^w. For |Im w| < pi/2 it is analytic and
    # |E e^{-zX}| <= 1, so the step 1/4 errs by e^{-4 pi^2}; it falls like e^{-|w|/2}: e^{-40} at the ends.
    w = np.arange(-80, 80, 0.25)
    z, kernel = 2 * np.exp(w), 0.25 * np.exp(-w / 2) / np.sqrt(4 * np.pi)
    of_users = user[:, None] * np.log1p(z / dof[:, None])

    def others(x: float) -> Array:
        between = both * (m * x**2 + n) / total / dof
        return np.asarray(of_users + np.log1p(z * between[:, None]))

    def step(x: float) -> float:
        exponent = own[:, None] * np.log1p(z * (x**2 / dof)[:, None]) + others(x)
        return float(weight @ np.where(refit, -np.expm1(-0.5 * exponent) @ kernel, x))

    def gain(x: float) -> float:
        # The same for e^{-zx^2/2} - E e^{-zX/2}. As n - 1 = dof - user - both, no large numbers are subtracted.
        y, u = z * (x**2 / dof)[:, None], z * x**2 / 2
        bend = own[:, None] * _log1p_minus(y) - ((user + both) / dof)[:, None] * z * x**2 + others(x)
        near = -np.exp(-u) * np.expm1(-0.5 * np.where(u < _FAR, bend, 0.0))
        far = -np.exp(-0.5 * (own[:, None] * np.log1p(y) + others(x)))  # there e^{-u} is zero
        return float(weight @ (np.where(u < _FAR, near, far) @ kernel))

    value = _iterated(step, gain, t, 0.0, 1.0)
    return value * amplitude


def best_floor(images: Any, user_images: Any, user_cov: ArrayLike, t: ArrayLike | None = None) -> Any:
    """Return the larger of `pythagorean_floor` and `direction_floor`: the best floor of this module, for every start.

    Beyond the paper; Law 5.3 (it sharpens Gao & Li 2025, Theorem 6.2): never less than (6.11), and positive as soon
    as a user image is pooled with another image.

    Parameters
    ----------
    images, user_images : counts
        n and m.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.
    t : int or array of int, shape (...), optional
        Image updates, from 0 to 10^6, each of them computed; without it the limit.

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

    Beyond the paper; Law 5.3 (the counterpart of Gao & Li 2025, Theorem 6.2): the trace of the root is concave. The
    limit holds for every start; kappa is `coevo.theory.user_moments.limit_factors(...).cov`, E Sigma_t being
    `coevo.theory.user_moments.moments(...).cov`.

    Parameters
    ----------
    images, user_images : counts
        n and m.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.
    t : int or array of int, shape (...), optional
        Image updates, at least 0 and at most 10^6; every update up to the largest is computed. Without it the limit, a
        ceiling of lim sup E tr Sigma_t^{1/2}. It is infinite, even for Sigma* = 0, if user images are too rare, or
        never used: no finite ceiling of this kind then holds for every start.
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
        factor = limit_factors(images, user_images).cov
        return float(np.sqrt(factor) * diversity) if np.isfinite(factor) else float(np.inf)
    start = user_cov if cov is None else cov
    shift = np.zeros(dim) if offset is None else check.real_array("offset", offset, (dim,))
    with np.errstate(over="ignore", invalid="ignore"):  # where user images are rare the mean may grow past all floats
        mean = moments(shift, start, user_cov, images, user_images, t).cov
    bounded = np.asarray(np.isfinite(mean).all(axis=(-2, -1)))
    value = np.where(bounded, image_diversity(np.where(bounded[..., None, None], mean, 0.0)), np.inf)
    return check.plain(value)


def _pairs(images: Any, user_images: Any, *, refits_only: bool = False) -> tuple[Counts, Counts, Array]:
    """Return the pairs (n, m) that can happen and their probabilities, three arrays (Q,).

    With `refits_only` given n + m >= 2; limits do not depend on the other updates, however frequent.
    """
    n, n_weight = check.count_law("images", images, minimum=0)
    m, m_weight = check.count_law("user_images", user_images, minimum=0)
    weight = np.outer(n_weight, m_weight)
    if refits_only:
        weight[np.add.outer(n, m) < 2] = 0.0
    weight /= weight.sum() or 1.0
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
    small = (nu > 0) & (nu < _MANY * dim)
    value = 1 - _excess(nu, dim) / np.maximum(nu, 1)
    value[small] = contraction_constant(nu[small], dim)
    return np.asarray(np.where(nu > 0, value, 0.0)[where])


def _losses(dof: ArrayLike, dim: int) -> Array:
    """Return nu (1 - c_d(nu)), zero for nu = 0, to 1e-9 d however large nu is."""
    nu = np.asarray(dof, dtype=np.float64)
    return np.asarray(np.where(nu < _MANY * dim, nu * (1 - _constants(nu, dim)), _excess(nu, dim)))


def _excess(dof: ArrayLike, dim: int) -> Array:
    """Return the limit of nu (1 - c_d(nu)) for large nu and its 1/nu term.

    They follow from the moments of E = W/nu - I and tr (I + E)^{1/2} = tr (I + E/2 - E^2/8 + E^3/16 - 5 E^4/128 + ...):
    E tr E^2 = d (d+1) / nu, E tr E^3 = d (d^2 + 3d + 4) / nu^2, E tr E^4 = d (2d^2 + 5d + 5) / nu^2 + O(nu^{-3}).
    """
    return np.asarray((dim + 1) / 8 + (2 * dim**2 + dim - 7) / 128 / np.maximum(np.asarray(dof, dtype=np.float64), 1))


def _log1p_minus(y: Array) -> Array:
    """Return log(1 + y) - y for y >= 0 without loss of digits; the series is cut at a relative 2 y^4 / 6."""
    small = np.minimum(y, 1e-3)
    series = -(small**2) * (1 / 2 - small * (1 / 3 - small * (1 / 4 - small / 5)))
    return np.asarray(np.where(y < 1e-3, series, np.log1p(y) - y))


def _diversity(user_cov: ArrayLike) -> tuple[float, int]:
    """Return tr Sigma*^{1/2} and d."""
    matrix = check.single_covariance("user_cov", user_cov)
    return float(image_diversity(matrix)), len(matrix)


def _iterated(
    step: Callable[[float], float], gain: Callable[[float], float], t: ArrayLike | None, start: float, top: float
) -> Any:
    """Return the t-th iterate of an increasing function, or its only positive fixed point, at most `top`.

    `gain` is step(x) - x, free of cancellation.
    """
    if t is None:
        if step(0.0) == 0.0:
            return 0.0
        return float(optimize.brentq(gain, 0.0, 2 * top, xtol=1e-30 * top, maxiter=1000))
    times = few_updates(t)
    path = [start]
    for _ in range(int(times.max(initial=0))):
        path.append(step(path[-1]))
    value = np.array(path)[times]
    return check.plain(value)
