"""The mean image diversity at late times: when it settles, and who carries it. Beyond Gao & Li 2025.

The text model is frozen and every image update has n = nu + 1 images. Along a fixed direction v the standard deviation
sqrt(v' Sigma_t v) is a product of independent factors chi_nu / sqrt(nu), in every dimension. Its mean falls like c_1^t,
its logarithm like lambda_1 t, and the gap between the two says how rare the runs are that carry the mean. These runs
are found by a change of measure: weight every run with X_t = sqrt(v' Sigma_t v / v' Sigma_0 v) / c_1^t, which has
mean one. Under the weighted law the factors are chi_{nu+1} / sqrt(nu), so the laws of ln X_t are known both ways.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from coevo import _validation as check
from coevo._validation import Array
from coevo.theory.image import Bounds
from coevo.wishart import contraction_constant

__all__ = [
    "information_rate",
    "last_time_seen",
    "late_excess",
    "late_excess_bounds",
    "log_diversity_bounds",
    "log_diversity_variance",
    "log_weight_tail",
    "runs_needed",
    "settling_rate",
    "share_of_top_runs",
]


def settling_rate(dof: int) -> float:
    """Return zeta(nu) = ln(c_1 / omega(0)), the rate at which the mean forgets that it started round.

    Beyond the paper; Law 2.3: c_1 / omega(0) = Gamma((nu+1)/2) Gamma((nu-1)/2) / Gamma(nu/2)^2, so
    zeta = 1/(2 nu) + 1/(2 nu^2) + O(nu^-3).

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.

    Returns
    -------
    float
        Infinite for nu = 1: one update makes the covariance a stick.

    Raises
    ------
    TypeError, ValueError
        If `dof` is not an integer of at least 1.
    """
    nu = check.integer("dof", dof, minimum=1)
    if nu == 1:
        return float(np.inf)
    # omega(0) = E chi_{nu-1} / sqrt(nu): no difference of large log-gammas.
    ratio = contraction_constant(nu, 1) / contraction_constant(nu - 1, 1)
    return float(np.log(ratio) - 0.5 * np.log1p(-1 / nu))


def late_excess(dof: int, t: ArrayLike) -> Any:
    """Return E tr Sigma_t^{1/2} / ((pi/2) sigma c_1^t) - 1 in the plane from a round start.

    Beyond the paper; Law 2.3: the relative excess of the exact mean over its late-time law, by the integral of
    Law 2.2 divided by c_1^t, so that nothing underflows and no digits cancel.

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.
    t : int or array of int, shape (...)
        Image updates, at least 0.

    Returns
    -------
    float or ndarray, shape (...)
        4/pi - 1 at t = 0, falling to zero.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    nu = check.integer("dof", dof, minimum=1)
    times = check.integer_array("t", t, minimum=0)
    # As in Law 2.2 the trapezoid rule converges geometrically, but late the integrand is a narrow Gaussian of width
    # (t psi'(nu/2) / 2)^{-1/2}: the step follows it.
    value = np.empty(times.shape)
    for index, s in np.ndenumerate(times):
        step = min(0.05, 0.3 / np.sqrt(1.0 + float(s) * special.polygamma(1, nu / 2)))
        r = np.arange(0, 240) * step
        weight = np.full(r.size, step) / ((1 + r**2) * np.cosh(np.pi * r))
        weight[0] /= 2
        log_ratio = _log_ratio(nu, r)
        value[index] = 2 / np.pi * np.exp(np.multiply(s, log_ratio) if s else 0 * r) @ weight
    return check.plain(value)


def late_excess_bounds(dof: int, t: ArrayLike) -> Bounds:
    """Return elementary bounds on `late_excess` whose ratio tends to one.

    Beyond the paper; Law 2.3: with tau = psi'(nu/2) and zeta = `settling_rate`,

        e^{-zeta t} / sqrt(pi (tau t/4 + 1 + pi^2/2))  <=  excess
            <=  e^{-zeta t} min(4/pi - 1, 2 Gamma(t-1/2) / (sqrt(pi tau) Gamma(t))).

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.
    t : int or array of int, shape (...)
        Image updates, at least 1.

    Returns
    -------
    Bounds
        (lower, upper), floats or arrays of the shape of `t`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    nu = check.integer("dof", dof, minimum=1)
    times = check.integer_array("t", t, minimum=1).astype(float)
    slope = float(special.polygamma(1, nu / 2))
    fall = np.exp(times * -settling_rate(nu))
    lower = fall / np.sqrt(np.pi * (slope * times / 4 + 1 + np.pi**2 / 2))
    upper = fall * np.minimum(4 / np.pi - 1, 2 / np.sqrt(np.pi * slope) / special.poch(times - 0.5, 0.5))
    return Bounds(check.plain(lower), check.plain(upper))


def log_diversity_bounds(cov: ArrayLike, dof: int, t: ArrayLike) -> Bounds:
    """Return bounds on E ln tr Sigma_t^{1/2} that differ by a constant, in every dimension.

    Beyond the paper; Law 2.4: with the largest initial standard deviation sigma_1 and the Lyapunov exponent lambda_1

        ln sigma_1 + lambda_1 t  <=  E ln tr Sigma_t^{1/2}
            <=  ln sigma_1 + lambda_1 t + ln d + (psi(d/2) - psi(1/2)) / 2.

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite and not zero.
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
    spread = _spread(cov)
    if spread[0] == 0:
        raise ValueError("cov must not be zero, since its diversity has no logarithm")
    nu = check.integer("dof", dof, minimum=1)
    times = check.integer_array("t", t, minimum=0)
    lower = np.log(spread[0]) + times * 0.5 * (np.log(2 / nu) + special.digamma(nu / 2))
    gap = np.log(spread.size) + 0.5 * (special.digamma(spread.size / 2) - special.digamma(0.5))
    return Bounds(check.plain(lower), check.plain(lower + gap))


def log_diversity_variance(dof: int) -> float:
    """Return psi'(nu/2) / 4, the variance that each update adds to the logarithm of the image diversity.

    Beyond the paper; Law 2.4: (ln tr Sigma_t^{1/2} - lambda_1 t) / sqrt(t) tends in law to a centred normal variable of
    this variance, in every dimension; in d = 1 the variance at t is exactly t times it. About 1 / (2 nu).

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `dof` is not an integer of at least 1.
    """
    return float(special.polygamma(1, check.integer("dof", dof, minimum=1) / 2) / 4)


def information_rate(dof: int, moment: int = 1) -> float:
    """Return the Kullback-Leibler divergence per update of the runs that carry the mean from all runs.

    Beyond the paper; Law 2.5. For the mean (moment 1) it is the divergence of chi_{nu+1} from chi_nu,
    I = (ln(2/nu) + psi((nu+1)/2)) / 2 - ln c_1 = 1/(4 nu) + 1/(12 nu^2) + O(nu^-3), between psi'((nu+1)/2)/8 and
    psi'(nu/2)/8. For the mean square (moment 2), and so for the sample variance and the standard error, it is the
    divergence of chi_{nu+2} from chi_nu, I_2 = psi(nu/2 + 1) - ln(nu/2) = 1/nu - 1/(3 nu^2) + O(nu^-4).

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.
    moment : int
        1 or 2.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    nu = check.integer("dof", dof, minimum=1)
    if check.integer("moment", moment, minimum=1, maximum=2) == 2:
        return float(special.digamma(nu / 2 + 1) - np.log(nu / 2))
    if nu > 1000:  # the terms nearly cancel: their expansion instead, with a relative error below nu^-4
        return 1 / (4 * nu) + 1 / (12 * nu**2) - 1 / (24 * nu**3) - 7 / (120 * nu**4)
    return float(0.5 * (np.log(2 / nu) + special.digamma((nu + 1) / 2)) - np.log(contraction_constant(nu, 1)))


def last_time_seen(dof: int, runs: float, moment: int = 1) -> float:
    """Return ln R / I(nu), the time up to which an average over R runs sees the mean (moment 1) or its error (2).

    Beyond the paper; Law 2.5, on the logarithmic scale: about 4 nu ln R for the mean, and nu ln R for the mean square
    and so for a standard error estimated from the runs. For the share of the mean that is really seen see
    `share_of_top_runs`.

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.
    runs : float
        R >= 1.
    moment : int
        1 or 2.

    Returns
    -------
    float
        In image updates.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    rate = information_rate(dof, moment)
    return float(np.log(check.number("runs", runs, minimum=1.0)) / rate)


def log_weight_tail(dof: int, t: int, level: float, *, weighted: bool = False) -> float:
    """Return P(ln X_t > level) for the weight X_t of a run, under the honest or under the weighted law.

    Beyond the paper; Law 2.5: sqrt(nu) c_1 X_t^{1/t} is the geometric mean of t independent chi_nu variables, and of
    chi_{nu+1} variables under the weighted law. The relative precision holds far out in the tail.

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.
    t : int
        Image updates, at least 1.
    level : float
    weighted : bool
        Whether each run counts with its weight X_t.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    nu, updates = check.integer("dof", dof, minimum=1), check.integer("t", t, minimum=1)
    y = check.number("level", level)
    if not isinstance(weighted, bool):
        raise TypeError(f"weighted must be True or False, got {weighted!r}")
    return float(np.exp(_log_tail(nu, updates, y, int(weighted))))


def runs_needed(dof: int, t: int, share: float = 0.5) -> float:
    """Return the number R such that the best run in R carries the given share of the mean, exactly.

    Beyond the paper; Law 2.5: R = 1 / P(ln X_t > y) with y the place where the weighted law has the given mass above.
    Exact in one dimension, and in every dimension for the standard deviation along a fixed direction. For share 1/2
    it is about sqrt(2 pi V t) e^{I t} with V = psi'((nu+1)/2)/4.

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.
    t : int
        Image updates, at least 1.
    share : float
        Share of the mean, in (0, 1).

    Returns
    -------
    float
        At least 1; infinite beyond the range of floats.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    nu, updates = check.integer("dof", dof, minimum=1), check.integer("t", t, minimum=1)
    part = check.number("share", share, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)
    y = _root(lambda x: _log_tail(nu, updates, x, 1) - np.log(part), nu, updates)
    with np.errstate(over="ignore"):
        return float(np.exp(-_log_tail(nu, updates, y, 0)))


def share_of_top_runs(dof: int, t: int, runs: float) -> float:
    """Return the share of the mean that is carried by the largest 1/R of all runs.

    Beyond the paper; Law 2.5, the inverse of `runs_needed`. Exact in one dimension, and in every dimension for the
    standard deviation along a fixed direction. An average over far fewer than R runs misses most of this share.

    Parameters
    ----------
    dof : int
        nu = n - 1 >= 1.
    t : int
        Image updates, at least 1.
    runs : float
        R > 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    nu, updates = check.integer("dof", dof, minimum=1), check.integer("t", t, minimum=1)
    count = check.number("runs", runs, minimum=1.0, open_minimum=True)
    y = _root(lambda x: _log_tail(nu, updates, x, 0) + np.log(count), nu, updates)
    return float(np.exp(_log_tail(nu, updates, y, 1)))


def _spread(cov: ArrayLike) -> Array:
    """Return the standard deviations along the principal axes, the largest first."""
    eigenvalues = np.linalg.eigvalsh(check.single_covariance("cov", cov))
    return np.asarray(np.sqrt(np.maximum(eigenvalues, 0.0))[::-1])


def _log_ratio(nu: int, r: Array) -> Array:
    """Return ln(omega(r) / c_1), -inf for nu = 1."""
    if nu == 1:
        return np.full(r.shape, -np.inf)
    top = 2 * special.loggamma((nu + 1j * r) / 2).real
    return np.asarray(top - special.gammaln((nu + 1) / 2) - special.gammaln((nu - 1) / 2))


def _log_tail(nu: int, t: int, y: float, tilt: int) -> float:
    """Return ln P(ln X_t > y) for tilt = 0, and for tilt = 1 under the law with weight X_t.

    The Bromwich integral of the moment generating function, along the vertical line through the saddle point: the
    trapezoid rule converges geometrically there, and the relative precision does not suffer in the tail.
    """
    base = special.gammaln((nu + tilt) / 2)
    shift = (y + t * np.log(contraction_constant(nu, 1) * np.sqrt(nu / 2))) / t  # y of one chi / sqrt 2, in the mean
    # d/ds [ln Gamma((nu + tilt + s) / 2)] = psi / 2: the saddle point solves psi((nu + tilt + s) / 2) = 2 shift.
    half = _inverse_digamma(2 * shift)
    width = 1 / np.sqrt(t * special.polygamma(1, (nu + tilt) / 2) / 4)
    s = 2 * half - nu - tilt
    # Stay off the pole at 0. On its other side the integral is the tail below, and the tail above is near one.
    line = s if abs(s) > width else width
    curvature = 1 / np.sqrt(t * special.polygamma(1, (nu + tilt + line) / 2) / 4)
    step = min(abs(line), curvature) / 6
    tau = np.arange(0, (10 * curvature + 60 / t) / step) * step  # the integrand falls like e^{-pi t tau / 4} in the end
    z = line + 1j * tau
    exponent = t * (special.loggamma((nu + tilt + z) / 2) - base - z * shift)
    top = exponent[0].real
    terms = (np.exp(exponent - top) / z).real
    terms[0] /= 2
    value = abs(step / np.pi * terms.sum())
    if line < 0:
        return float(np.log1p(-min(np.exp(top) * value, 1.0)))
    return float(min(top + np.log(value), 0.0))


def _inverse_digamma(value: float) -> float:
    """Return x > 0 with psi(x) = value."""
    guess = np.exp(value) + 0.5 if value > -2.2 else -1 / (value + np.euler_gamma)
    return float(optimize.newton(lambda x: special.digamma(x) - value, guess, lambda x: special.polygamma(1, x)))


def _root(function: Any, nu: int, t: int) -> float:
    """Return the zero of a decreasing function of ln X_t."""
    scale = np.sqrt(t * log_diversity_variance(nu))
    low, high = -scale, scale
    while function(low) < 0:
        low -= 4 * scale
    while function(high) > 0:
        high += 4 * scale
    return float(optimize.brentq(function, low, high, xtol=1e-11, rtol=1e-13))
