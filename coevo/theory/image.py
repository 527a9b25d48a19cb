"""The image model under a frozen text model: Gao & Li 2025, Theorems 3.3 and 5.1.

One image update replaces the covariance Sigma of a text by Sigma^{1/2} (W / nu) Sigma^{1/2}, where
W ~ Wishart_d(nu, I), nu = n - 1, and n ~ Binomial(N, p) is the number of its images; with n < 2 the image model
stays as it was. Image diversity is tr Sigma^{1/2}.

Two constants of the sample covariance set the pace: c_1(nu) for the mean in the long run, in every dimension, and
c_d(nu) for the first step from an isotropic covariance (see `coevo.wishart`). Functions of a fixed number of
images take `dof` = nu; functions of a random number take `image_samples` = N and `p`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.theory._shared import likely_counts
from coevo.wishart import contraction_constant

__all__ = [
    "Bounds",
    "approximate_rate",
    "contraction_bounds",
    "expected_image_diversity_ellipse",
    "expected_image_diversity_ellipse_random",
    "expected_image_diversity_plane",
    "expected_image_diversity_plane_random",
    "expected_root_determinant",
    "first_step_rate",
    "first_step_rate_bounds",
    "image_diversity_bounds",
    "image_diversity_bounds_random",
    "late_image_diversity_bounds",
    "late_image_diversity_bounds_random",
    "late_time_amplitude",
    "lyapunov_exponents",
    "mean_rate",
    "typical_rate",
]

# Counts n with a smaller binomial probability are left out. There are at most N of them and every factor lies in
# [0, 1], so a rate loses less than 1e-18 N; a mean logarithm less than 1e-17 N.
_NEGLIGIBLE = 1e-18


class Bounds(NamedTuple):
    """A lower and an upper bound, floats or arrays of one shape."""

    lower: Any
    upper: Any


def approximate_rate(image_samples: int, p: float, dim: int) -> float:
    """Return 1 - (d + 1) / (8 N p), the paper's approximate rate of the image diversity.

    Gao & Li 2025, Theorem 5.1, eq. (5.1), for N p much larger than 1. It approximates `first_step_rate`, not the
    long-run rate; `first_step_rate_bounds` says how well. For N p < (d + 1) / 8 the formula is negative; it is
    returned as it is.

    Parameters
    ----------
    image_samples : int
        N >= 1.
    p : float
        In (0, 1].
    dim : int
        d >= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("image_samples", image_samples, minimum=1)
    p = check.number("p", p, minimum=0.0, maximum=1.0, open_minimum=True)
    d = check.integer("dim", dim, minimum=1)
    return 1 - (d + 1) / (8 * n * p)


def first_step_rate(image_samples: int, p: float, dim: int) -> float:
    """Return E_n[c_d(n - 1)], factor 1 for n < 2: the exact factor of the first update from an isotropic start.

    Gao & Li 2025, Theorem 3.3 and Theorem 5.1: the quantity that eq. (5.1) approximates. Beyond the paper: it is not
    the long-run rate (`mean_rate` is), since later covariances are not isotropic; and it is not monotone in p,
    since a text that is hardly ever drawn is hardly ever refitted.

    Parameters
    ----------
    image_samples : int
        N >= 1.
    p : float
        In [0, 1].
    dim : int
        d >= 1.

    Returns
    -------
    float
        Counts n of probability below 1e-18 are left out, which changes the result by less than 1e-18 N.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    d = check.integer("dim", dim, minimum=1)
    dof, weight, kept = _refits(image_samples, p)
    return float(kept + weight @ contraction_constant(dof, d))


def contraction_bounds(dof: ArrayLike, dim: int) -> Bounds:
    """Return elementary bounds on c_d(nu), the factor of one refit of an isotropic covariance.

    Gao & Li 2025, Theorem 5.1, made explicit (beyond the paper). With y = x - 1 and every x >= 0

        1 + y/2 - y^2/8 + y^3/16 - 5 y^4/16  <=  sqrt(x)  <=  1 + y/2 - y^2/8 + y^3/16,

    also at x = 0. Put the eigenvalues of W / nu for x and take means. With the central moments
    E (W/nu - I)^k = m_k I: m_2 = (d+1)/nu, m_3 = (d^2+3d+4)/nu^2, m_4 = (2d^2+5d+5)/nu^2 + (d^3+6d^2+21d+20)/nu^3,

        -5 m_4/16  <=  c_d(nu) - 1 + m_2/8 - m_3/16  <=  0.

    For few degrees of freedom c_1(d nu)/sqrt(d) <= c_d(nu) <= c_1(nu) is better, and is used: tr X^{1/2} is at
    least (tr X)^{1/2}, and one direction is one-dimensional.

    Parameters
    ----------
    dof : int or array of int, shape (...)
        nu >= 1.
    dim : int
        d >= 1.

    Returns
    -------
    Bounds
        (lower, upper), floats or arrays of the shape of `dof`; 1 - (d+1)/(8 nu) + O(nu^-2) both.

    Raises
    ------
    TypeError, ValueError
        If `dof` or `dim` is not an integer of at least 1.
    """
    counts = check.integer_array("dof", dof, minimum=1)
    dim = check.integer("dim", dim, minimum=1)
    nu, d = counts.astype(float), float(dim)
    third = 1 - (d + 1) / (8 * nu) + (d**2 + 3 * d + 4) / (16 * nu**2)
    fourth = (2 * d**2 + 5 * d + 5) / nu**2 + (d**3 + 6 * d**2 + 21 * d + 20) / nu**3
    # c_1 grows: fewer degrees of freedom than d nu, where that exceeds the largest count, leave the bound a bound.
    product = dim * np.minimum(counts, check.LARGEST // dim)
    lower = np.maximum(third - 5 * fourth / 16, contraction_constant(product, 1) / np.sqrt(d))
    upper = np.minimum(third, contraction_constant(counts, 1))
    return Bounds(float(lower), float(upper)) if nu.ndim == 0 else Bounds(lower, upper)


def first_step_rate_bounds(image_samples: int, p: float, dim: int) -> Bounds:
    """Return elementary bounds on `first_step_rate`: how far off eq. (5.1) can be.

    Gao & Li 2025, Theorem 5.1, with an explicit error (beyond the paper): the mean of `contraction_bounds` over
    n ~ Binomial(N, p), with 1 for n < 2. Both bounds are 1 - (d+1)/(8 N p) + O((N p)^-2).

    Parameters
    ----------
    image_samples : int
        N >= 1.
    p : float
        In [0, 1].
    dim : int
        d >= 1.

    Returns
    -------
    Bounds
        (lower, upper), floats. Counts n of probability below 1e-18 are left out.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    d = check.integer("dim", dim, minimum=1)
    dof, weight, kept = _refits(image_samples, p)
    lower, upper = contraction_bounds(dof, d)
    return Bounds(float(kept + weight @ lower), float(kept + weight @ upper))


def mean_rate(image_samples: int, p: float) -> float:
    """Return E_n[c_1(n - 1)], factor 1 for n < 2: the long-run rate of the mean image diversity, for every d.

    Gao & Li 2025, Theorem 3.3, corrected (beyond the paper): c_1^t lambda_max^{1/2} <= E tr Sigma_t^{1/2}
    <= c_1^t tr Sigma_0^{1/2}. About 1 - 1 / (4 N p) for large N p.

    Parameters
    ----------
    image_samples : int
        N >= 1.
    p : float
        In [0, 1].

    Returns
    -------
    float
        Counts n of probability below 1e-18 are left out, which changes the result by less than 1e-18 N.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    return first_step_rate(image_samples, p, 1)


def typical_rate(image_samples: int, p: float) -> float:
    """Return exp(E_n lambda_1(n - 1)), exponent 0 for n < 2: the almost sure long-run rate of a single run.

    Beyond the paper; Law 2.4 (Newman 1986): (tr Sigma_t^{1/2})^{1/t} tends to this number in almost every run, in every
    dimension. It is less than `mean_rate`, which ever rarer runs carry.

    Parameters
    ----------
    image_samples : int
        N >= 1.
    p : float
        In [0, 1].

    Returns
    -------
    float
        Counts n of probability below 1e-18 are left out, which changes the result by less than 1e-17 N.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    dof, weight, _ = _refits(image_samples, p)
    return float(np.exp(weight @ (0.5 * (np.log(2 / dof) + special.digamma(dof / 2)))))


def lyapunov_exponents(dof: int, dim: int) -> Array:
    """Return the Lyapunov exponents of the root of the covariance, lambda_1 > ... > lambda_d.

    Beyond the paper; Law 2.4 (Newman 1986): the k-th singular value of Sigma_t^{1/2} is exp(t lambda_k + o(t)) with
    lambda_k = (ln(2/nu) + psi((nu - k + 1) / 2)) / 2.

    Parameters
    ----------
    dof : int
        nu >= 1.
    dim : int
        d >= 1.

    Returns
    -------
    ndarray, shape (d,)
        Per image update; -inf for k > nu, where the covariance is singular after one update.

    Raises
    ------
    TypeError, ValueError
        If an argument is not an integer of at least 1.
    """
    nu = check.integer("dof", dof, minimum=1)
    d = check.integer("dim", dim, minimum=1)
    free = nu - np.arange(d)
    exponents = 0.5 * (np.log(2 / nu) + special.digamma(np.maximum(free, 1) / 2))
    return np.where(free > 0, exponents, -np.inf)


def image_diversity_bounds(cov: ArrayLike, dof: int, t: ArrayLike) -> Bounds:
    """Return A c_1^t <= E tr Sigma_t^{1/2} <= c_1^t tr Sigma_0^{1/2}, for a fixed number of images.

    Gao & Li 2025, Theorem 3.3, corrected and made two-sided (beyond the paper, Law 2.1; the paper's inequality (B.24)
    with c_d in place of c_1 is false unless Sigma_0 is a multiple of the identity). A is `late_time_amplitude`,
    at least lambda_max^{1/2}. Valid in every dimension and at every t.

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite.
    dof : int
        nu = n - 1 >= 1.
    t : int or array of int, shape (...)
        Image updates, at least 0.

    Returns
    -------
    Bounds
        (lower, upper), floats or arrays of the shape of `t`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    nu = check.integer("dof", dof, minimum=1)
    return _bounds(cov, contraction_constant(nu, 1), t)


def image_diversity_bounds_random(cov: ArrayLike, image_samples: int, p: float, t: ArrayLike) -> Bounds:
    """Return A rho^t <= E tr Sigma_t^{1/2} <= rho^t tr Sigma_0^{1/2} for binomial counts.

    Gao & Li 2025, Theorem 3.3, corrected and made two-sided (beyond the paper, Law 2.1), with rho = `mean_rate` and
    A = `late_time_amplitude`: the numbers of images of a text with constant probability p are independent over
    the updates.

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite.
    image_samples : int
        N >= 1.
    p : float
        In [0, 1].
    t : int or array of int, shape (...)
        Image updates, at least 0.

    Returns
    -------
    Bounds
        (lower, upper), floats or arrays of the shape of `t`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    return _bounds(cov, mean_rate(image_samples, p), t)


def expected_image_diversity_plane(dof: int, t: ArrayLike, sigma: float = 1.0) -> Any:
    """Return E tr Sigma_t^{1/2} exactly, in d = 2 from Sigma_0 = sigma^2 I, for a fixed number of images.

    Beyond the paper; Law 2.2: with omega(r) = sqrt(2/nu) |Gamma((nu + ir)/2)|^2 / (Gamma(nu/2) Gamma((nu-1)/2)),

        E tr Sigma_t^{1/2} = sigma [ (pi/2) c_1^t + int_0^inf omega(r)^t dr / ((1 + r^2) cosh(pi r)) ].

    tr Sigma^{1/2} is (det Sigma)^{1/4} sqrt(2 + 2x), x = tr Sigma / (2 sqrt(det Sigma)); expand the second factor
    in Legendre functions (Mehler & Fock), which one refit multiplies by omega(r), or by c_1 = omega(i).

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.
    t : int or array of int, shape (...)
        Image updates, at least 0.
    sigma : float
        Initial standard deviation, positive.

    Returns
    -------
    float or ndarray, shape (...)
        Relative error below about 1e-15 (nu + 10) t.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    nu = check.integer("dof", dof, minimum=1)
    return _plane(np.array([nu]), np.array([1.0]), 0.0, t, sigma)


def expected_image_diversity_plane_random(image_samples: int, p: float, t: ArrayLike, sigma: float = 1.0) -> Any:
    """Return E tr Sigma_t^{1/2} exactly, in d = 2 from Sigma_0 = sigma^2 I, for binomial counts.

    Beyond the paper; Law 2.2: `expected_image_diversity_plane` with c_1 and omega(r) averaged over
    n ~ Binomial(N, p), with factor 1 for n < 2.

    Parameters
    ----------
    image_samples : int
        N >= 1.
    p : float
        In [0, 1].
    t : int or array of int, shape (...)
        Image updates, at least 0.
    sigma : float
        Initial standard deviation, positive.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    dof, weight, kept = _refits(image_samples, p)
    return _plane(dof, weight, kept, t, sigma)


def expected_image_diversity_ellipse(cov: ArrayLike, dof: int, t: ArrayLike) -> Any:
    """Return E tr Sigma_t^{1/2} exactly, in d = 2 from any Sigma_0, for a fixed number of images.

    Beyond the paper; Law 2.2: with g = (det Sigma_0)^{1/4}, x = tr Sigma_0 / (2 g^2), the Legendre functions P_s and
    omega(r) of `expected_image_diversity_plane`,

        E tr Sigma_t^{1/2} = g [ (pi/2) c_1^t P_{1/2}(x)
                                 + int_0^inf omega(r)^t P_{-1/2+ir}(x) dr / ((1 + r^2) cosh(pi r)) ].

    The first term is `late_time_amplitude` times c_1^t. For a singular Sigma_0 it is all there is.

    Parameters
    ----------
    cov : array, shape (2, 2)
        Sigma_0, positive semidefinite.
    dof : int
        nu = n - 1 >= 1.
    t : int or array of int, shape (...)
        Image updates, at least 0.

    Returns
    -------
    float or ndarray, shape (...)
        Relative error below about 1e-15 (nu + 10) (t + 10).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    nu = check.integer("dof", dof, minimum=1)
    return _ellipse(cov, np.array([nu]), np.array([1.0]), 0.0, t)


def expected_image_diversity_ellipse_random(cov: ArrayLike, image_samples: int, p: float, t: ArrayLike) -> Any:
    """Return E tr Sigma_t^{1/2} exactly, in d = 2 from any Sigma_0, for binomial counts.

    Beyond the paper; Law 2.2: `expected_image_diversity_ellipse` with c_1 and omega(r) averaged over
    n ~ Binomial(N, p), with factor 1 for n < 2.

    Parameters
    ----------
    cov : array, shape (2, 2)
        Sigma_0, positive semidefinite.
    image_samples : int
        N >= 1.
    p : float
        In [0, 1].
    t : int or array of int, shape (...)
        Image updates, at least 0.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    dof, weight, kept = _refits(image_samples, p)
    return _ellipse(cov, dof, weight, kept, t)


def late_image_diversity_bounds(cov: ArrayLike, dof: int, t: ArrayLike) -> Bounds:
    """Return bounds on E tr Sigma_t^{1/2} that close in on its late-time law, for a fixed number of images.

    Beyond the paper; Law 2.3: with sigma_1 >= ... >= sigma_d the initial standard deviations, A of
    `late_time_amplitude`, omega_0 = E chi_{nu-1} / sqrt(nu) and J_t the integral of `expected_image_diversity_ellipse`
    from diag(sigma_1^2, sigma_2^2),

        A c_1^t + (2 - pi/2) J_t  <=  E tr Sigma_t^{1/2}
            <=  min( c_1^t tr Sigma_0^{1/2},  A c_1^t + omega_0^t sum_k (k-1) sigma_k ).

    J_t is omega_0^t up to a factor of the order of t^{-1/2}, and omega_0 < c_1. Valid in every dimension, at every t.

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite.
    dof : int
        nu = n - 1 >= 1.
    t : int or array of int, shape (...)
        Image updates, at least 0.

    Returns
    -------
    Bounds
        (lower, upper), floats or arrays of the shape of `t`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    nu = check.integer("dof", dof, minimum=1)
    return _late_bounds(cov, np.array([nu]), np.array([1.0]), 0.0, t)


def late_image_diversity_bounds_random(cov: ArrayLike, image_samples: int, p: float, t: ArrayLike) -> Bounds:
    """Return bounds on E tr Sigma_t^{1/2} that close in on its late-time law, for binomial counts.

    Beyond the paper; Law 2.3: `late_image_diversity_bounds` with c_1, omega_0 and omega(r) averaged over
    n ~ Binomial(N, p), with factor 1 for n < 2.

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite.
    image_samples : int
        N >= 1.
    p : float
        In [0, 1].
    t : int or array of int, shape (...)
        Image updates, at least 0.

    Returns
    -------
    Bounds
        (lower, upper), floats or arrays of the shape of `t`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    dof, weight, kept = _refits(image_samples, p)
    return _late_bounds(cov, dof, weight, kept, t)


def late_time_amplitude(cov: ArrayLike) -> float:
    """Return the limit of E tr Sigma_t^{1/2} / c_1^t, in every dimension.

    Beyond the paper; Law 2.1: sqrt(pi) Gamma((d+1)/2) / Gamma(d/2) E_u sqrt(u' Sigma_0 u), u uniform on the sphere,
    which is sqrt(pi/2) E sqrt(g' Sigma_0 g) with g standard Gaussian, and so a one-dimensional integral of
    1 - prod_k (1 + 2 s lambda_k)^{-1/2}. It holds for a fixed and for a binomial number of images.

    Times c_1^t it is also a lower bound of E tr Sigma_t^{1/2} at every t: the norm |Sigma_t^{1/2} u| is at most
    sum_k lambda_k^{1/2} |v_k' u| with the eigenvalues and eigenvectors of Sigma_t; average over u, then over runs.

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `cov` is not a positive semidefinite matrix.
    """
    eigenvalues = _spectrum(cov)
    top = eigenvalues.max()
    if top == 0:
        return 0.0
    # E sqrt(X) = (4 pi)^{-1/2} int (1 - E e^{-sX}) s^{-3/2} ds with s = e^w: the integrand is analytic for
    # |Im w| < pi, so the step 1/4 errs by e^{-8 pi^2}, and it falls like e^{-|w|/2}: e^{-45} at the ends.
    step = 0.25
    w = np.arange(-90, 90, step)
    log_transform = -0.5 * np.log1p(2 * np.exp(w)[:, None] * eigenvalues / top).sum(axis=1)
    root = step * np.sum(-np.expm1(log_transform) * np.exp(-w / 2)) / np.sqrt(4 * np.pi)
    return float(np.sqrt(np.pi / 2) * np.sqrt(top) * root)


def expected_root_determinant(cov: ArrayLike, dof: int, t: ArrayLike) -> Any:
    """Return E sqrt(det Sigma_t), the mean volume of the image model, exactly.

    Beyond the paper: det Sigma_t = det Sigma_0 prod_s prod_k chi2_{nu-k+1} / nu with independent factors, so the
    mean decays by prod_{k<=d} Gamma((nu-k+2)/2) / Gamma((nu-k+1)/2) sqrt(2/nu) per update (d = 2: by 1 - 1/nu).

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite.
    dof : int
        nu = n - 1 >= 1; for nu < d the covariance is singular from t = 1 on.
    t : int or array of int, shape (...)
        Image updates, at least 0.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    eigenvalues = _spectrum(cov)
    nu = check.integer("dof", dof, minimum=1)
    times = check.integer_array("t", t, minimum=0)
    free = nu - np.arange(eigenvalues.size)
    # E chi_k = sqrt(k) c_1(k): no difference of large log-gammas.
    mean_chi = np.sqrt(np.maximum(free, 0)) * contraction_constant(np.maximum(free, 1), 1)
    value = np.prod(np.sqrt(eigenvalues)) * np.prod(mean_chi / np.sqrt(nu)) ** times
    return check.plain(value)


def _refits(image_samples: int, p: float) -> tuple[NDArray[np.int64], Array, float]:
    """Return the degrees of freedom n - 1 of the refits n >= 2, their probabilities, and P(n < 2)."""
    n_images = check.integer("image_samples", image_samples, minimum=1)
    p = check.probability("p", p)
    n = likely_counts(n_images, p)
    weight = np.asarray(stats.binom.pmf(n, n_images, p))
    seen = weight > _NEGLIGIBLE
    return (n[seen] - 1).astype(np.int64), weight[seen], float(stats.binom.cdf(1, n_images, p))


def _spectrum(cov: ArrayLike) -> Array:
    return np.asarray(np.maximum(np.linalg.eigvalsh(check.single_covariance("cov", cov)), 0.0))


def _bounds(cov: ArrayLike, rate: float, t: ArrayLike) -> Bounds:
    times = check.integer_array("t", t, minimum=0)
    lower, upper = rate**times * late_time_amplitude(cov), rate**times * np.sqrt(_spectrum(cov)).sum()
    return Bounds(float(lower), float(upper)) if times.ndim == 0 else Bounds(lower, upper)


def _late_bounds(cov: ArrayLike, dof: NDArray[np.int64], weight: Array, kept: float, t: ArrayLike) -> Bounds:
    spread = np.sqrt(_spectrum(cov))[::-1]
    times = check.integer_array("t", t, minimum=0)
    rate = kept + weight @ contraction_constant(dof, 1)
    # E chi_{nu-1} = sqrt(nu-1) c_1(nu-1), zero for nu = 1.
    width = kept + weight @ (np.sqrt((dof - 1) / dof) * contraction_constant(np.maximum(dof - 1, 1), 1))
    law = late_time_amplitude(cov) * rate**times
    upper = np.minimum(spread.sum() * rate**times, law + (np.arange(spread.size) @ spread) * width**times)
    lower = law
    if spread.size > 1:
        modes = np.sqrt(spread[0] * spread[1]) * _conical(spread[1], spread[0])
        lower = law + (2 - np.pi / 2) * _decay(dof, weight, kept, times, 0.0, modes)
    return Bounds(check.plain(lower), check.plain(upper))


# The integral over r of the exact mean in the plane. Its integrand is even in r and analytic for |Im r| < 1/2, where
# |omega(r)| <= omega(i) = c_1: the trapezoid rule errs by less than e^{-pi/step} c_1^t up to a constant. At r = 12 the
# weight is below 1e-17.
_STEP = 0.05
_FREQUENCIES = np.arange(0, 12, _STEP)


def _plane(dof: NDArray[np.int64], weight: Array, kept: float, t: ArrayLike, sigma: float) -> Any:
    times = check.integer_array("t", t, minimum=0)
    scale = check.number("sigma", sigma, minimum=0.0, open_minimum=True)
    return check.plain(scale * _decay(dof, weight, kept, times, np.pi / 2, np.ones(_FREQUENCIES.size)))


def _ellipse(cov: ArrayLike, dof: NDArray[np.int64], weight: Array, kept: float, t: ArrayLike) -> Any:
    short, long = np.sqrt(_spectrum(check.single_covariance("cov", cov, dim=2)))
    times = check.integer_array("t", t, minimum=0)
    # (det Sigma_0)^{1/4} P_{1/2}(x) is the mean of sqrt(u' Sigma_0 u), a complete elliptic integral.
    lasting = long * special.ellipe(1 - (short / long) ** 2) if long > 0 else 0.0
    return check.plain(_decay(dof, weight, kept, times, lasting, np.sqrt(short * long) * _conical(short, long)))


def _conical(short: float, long: float) -> Array:
    """Return P_{-1/2+ir}(cosh w), w = ln(long / short), at the frequencies r, by Mehler and Dirichlet's integral."""
    if short < 1e-18 * long or long == 0:
        return np.zeros(_FREQUENCIES.size)  # only with the factor sqrt(short * long), which makes it negligible
    w = max(float(np.log(long / short)), 1e-9)
    # u = w sin(angle) makes the integrand analytic and periodic: the midpoint rule converges geometrically.
    angle = (np.arange(600) + 0.5) * np.pi / 600
    u = w * np.cos(angle)
    near, far = w * np.sin(angle / 2) ** 2, w * np.cos(angle / 2) ** 2  # (w - u) / 2 and (w + u) / 2
    height = w * np.sin(angle) / (2 * np.sqrt(np.sinh(near) * np.sinh(far)))
    return np.asarray(np.cos(_FREQUENCIES[:, None] * u) @ height / 600)


def _decay(
    dof: NDArray[np.int64], weight: Array, kept: float, times: NDArray[np.int64], lasting: float, modes: Array
) -> Any:
    """Return lasting c_1^t + int omega(r)^t modes(r) dr / ((1 + r^2) cosh(pi r)), of the shape of `times`."""
    r = _FREQUENCIES
    nu = dof[:, None].astype(float)
    with np.errstate(divide="ignore"):  # nu = 1: the covariance is singular after one update, and m = 0
        log_m = (
            0.5 * np.log(2 / nu)
            + 2 * special.loggamma((nu + 1j * r) / 2).real
            - special.gammaln(nu / 2)
            - special.gammaln((nu - 1) / 2)
        )
    m = kept + weight @ np.exp(log_m)
    c1 = kept + weight @ contraction_constant(dof, 1)
    height = _STEP / ((1 + r**2) * np.cosh(np.pi * r))
    height[0] /= 2
    return lasting * c1**times + m ** times[..., None] @ (height * modes)
