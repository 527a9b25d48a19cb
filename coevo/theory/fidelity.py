"""The drift of the image mean under a frozen text model: Gao & Li 2025, Theorem 3.4, and the exact law behind it.

Fidelity is ||mu_t - mu_0||, the drift from the initial mean. With a fixed number n of images per refit the final
drift is, in law, Sigma_0^{1/2} sqrt(V) Z with Z ~ N(0, I_d) and one scalar V for every dimension,

    V = 1/n + Y V',   Y ~ chi2_nu / nu independent of V' ~ V,   nu = n - 1.

As n grows, V tends to 1 / Exp(1) (Dufresne's identity) and the drift to a Student t law with two degrees of
freedom: it does not shrink with the number of images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.wishart import contraction_constant

__all__ = [
    "DriftLaw",
    "drift_law",
    "expected_squared_drift",
    "fidelity_bound",
    "fidelity_bound_exact_counts",
    "student_drift_cdf",
    "student_drift_mean",
    "student_drift_median",
    "tail_constant",
]

# The tail f(w) = C e^{-w} of the density of w = ln(V - 1/n) is prescribed from here on: its relative error is of
# order e^{-w}, so the mass put in the wrong place is of order e^{-40}.
_BODY_END = 20.0
_TAIL_END = 100.0


def fidelity_bound(image_samples: int, p: float, initial_diversity: float, rate: float | None = None) -> float:
    """Return C / (1 - rho) sqrt(2 / ((N + 1) p)), an upper bound of E||mu_t - mu_0|| for every t.

    Gao & Li 2025, Theorem 3.4, with the constant that its proof gives: a step has mean length at most
    C rho^s E[n^{-1/2}; n >= 2], and 1/n <= 2/(n + 1), E[1/(n + 1)] <= 1/((N + 1) p).

    Parameters
    ----------
    image_samples : int
        N >= 1.
    p : float
        In (0, 1].
    initial_diversity : float
        C = tr Sigma_0^{1/2} >= 0.
    rate : float, optional
        rho in [0, 1) with E tr Sigma_t^{1/2} <= C rho^t; `coevo.theory.image.mean_rate` if not given.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range; if `rate` is not given and no refit can happen (N = 1).
    """
    n = check.integer("image_samples", image_samples, minimum=1)
    q = check.number("p", p, minimum=0.0, maximum=1.0, open_minimum=True)
    return _geometric(n, q, initial_diversity, rate) * float(np.sqrt(2 / ((n + 1) * q)))


def fidelity_bound_exact_counts(
    image_samples: int, p: float, initial_diversity: float, rate: float | None = None
) -> float:
    """Return C / (1 - rho) E[n^{-1/2}; n >= 2], the bound of `fidelity_bound` before its last estimate.

    Gao & Li 2025, Theorem 3.4 (its proof); smaller than `fidelity_bound`.

    Parameters
    ----------
    image_samples : int
        N >= 1.
    p : float
        In (0, 1].
    initial_diversity : float
        C = tr Sigma_0^{1/2} >= 0.
    rate : float, optional
        rho in [0, 1); `coevo.theory.image.mean_rate` if not given.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As `fidelity_bound`.
    """
    n = check.integer("image_samples", image_samples, minimum=1)
    q = check.number("p", p, minimum=0.0, maximum=1.0, open_minimum=True)
    counts = np.arange(2, n + 1)
    mean_step = float(stats.binom.pmf(counts, n, q) @ counts**-0.5)
    return _geometric(n, q, initial_diversity, rate) * mean_step


def expected_squared_drift(cov: ArrayLike, samples: int, t: ArrayLike) -> Any:
    """Return E||mu_t - mu_0||^2 = t tr Sigma_0 / n, which grows for ever.

    Beyond the paper (infinite second moment: Shumailov et al. 2024, Theorem 3.1): the unbiased covariance keeps
    E Sigma_t = Sigma_0, though almost every run has stopped.

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite.
    samples : int
        Fixed number n >= 2 of images per image update.
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
    sigma = check.single_covariance("cov", cov)
    n = check.integer("samples", samples, minimum=2)
    times = check.integer_array("t", t, minimum=0)
    value = times * (np.trace(sigma) / n)
    return check.plain(value)


def student_drift_mean(dim: int) -> float:
    """Return E||e|| = sqrt(2 pi) Gamma((d+1)/2) / Gamma(d/2), the mean final drift for many images per refit.

    Beyond the paper: the limit n -> infinity of Gao & Li 2025, Theorem 3.4, in units of sigma_0 for
    Sigma_0 = sigma_0^2 I. The variance is infinite.

    Parameters
    ----------
    dim : int
        d >= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `dim` is not an integer of at least 1.
    """
    return float(np.sqrt(np.pi)) * _mean_chi(check.integer("dim", dim, minimum=1))


def student_drift_median(dim: int) -> float:
    """Return the median of ||e||, the final drift for many images per refit, in units of sigma_0.

    Beyond the paper: `student_drift_cdf` equals 1/2 there; sqrt(2/3) for d = 1, sqrt 2 for d = 2.

    Parameters
    ----------
    dim : int
        d >= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `dim` is not an integer of at least 1.
    """
    d = check.integer("dim", dim, minimum=1)
    return float(np.sqrt(2 / np.expm1(2 / d * np.log(2))))


def student_drift_cdf(x: ArrayLike, dim: int) -> Any:
    """Return P(||e|| <= x) = (x^2 / (x^2 + 2))^{d/2}, the law of the final drift for many images per refit.

    Beyond the paper: e / sigma_0 is multivariate t with two degrees of freedom, so ||e||^2 / d ~ F(d, 2).

    Parameters
    ----------
    x : float or array, shape (...)
        Drift in units of sigma_0, at least 0.
    dim : int
        d >= 1.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    d = check.integer("dim", dim, minimum=1)
    points = _distances(x)
    value = (points / np.hypot(points, np.sqrt(2))) ** d
    return check.plain(value)


def tail_constant(samples: int) -> float:
    """Return C = 1 / (n [psi(nu/2 + 1) - ln(nu/2)]), nu = n - 1: P(|e| > x) ~ C sigma_0^2 / x^2 in d = 1.

    Beyond the paper (Kesten 1973, Goldie 1991): the tail index of the final drift is 2 for every n. The same
    constant governs V itself, P(V > v) ~ C / v, and P(||e|| > x) ~ C tr Sigma_0 / x^2 in d dimensions.

    Parameters
    ----------
    samples : int
        Fixed number n >= 2 of images per image update.

    Returns
    -------
    float
        Tends to 1 as n grows.

    Raises
    ------
    TypeError, ValueError
        If `samples` is not an integer of at least 2.
    """
    n = check.integer("samples", samples, minimum=2)
    half = (n - 1) / 2
    return float(1 / (n * (special.digamma(half + 1) - np.log(half))))


@dataclass(frozen=True, eq=False)
class DriftLaw:
    """The law of the final drift e = Sigma_0^{1/2} sqrt(V) Z for a fixed number of images per refit.

    Beyond the paper: the exact law behind Gao & Li 2025, Theorem 3.4. Made by `drift_law`.

    Attributes
    ----------
    samples : int
        Number n of images per refit.
    variance : ndarray, shape (Q,)
        Quadrature nodes of V.
    weight : ndarray, shape (Q,)
        Their probabilities; sums to one.
    """

    samples: int
    variance: Array
    weight: Array

    def scale_mean(self) -> float:
        """Return E sqrt(V)."""
        return float(self.weight @ np.sqrt(self.variance))

    def scale_cdf(self, v: ArrayLike) -> Any:
        """Return P(V <= v), a float or an array of the shape of `v`; V is never below 1/n.

        Raises TypeError or ValueError if `v` does not hold finite numbers of at least 0.
        """
        excess = np.maximum(_distances(v, "v") - 1 / self.samples, 0.0)
        nu = self.samples - 1
        return self._mixture(nu, nu * excess)

    def mean(self, dim: int) -> float:
        """Return E||e|| in `dim` dimensions, in units of sigma_0 for Sigma_0 = sigma_0^2 I.

        Raises TypeError or ValueError if `dim` is not an integer of at least 1.
        """
        return self.scale_mean() * _mean_chi(check.integer("dim", dim, minimum=1))

    def cdf(self, x: ArrayLike, dim: int) -> Any:
        """Return P(||e|| <= x) in units of sigma_0, a float or an array of the shape of `x`.

        Raises TypeError or ValueError if `x` does not hold finite numbers of at least 0, or `dim` is not an integer
        of at least 1.
        """
        d = check.integer("dim", dim, minimum=1)
        return self._mixture(d, _distances(x) ** 2)

    def median(self, dim: int) -> float:
        """Return the median of ||e|| in units of sigma_0.

        Raises TypeError or ValueError if `dim` is not an integer of at least 1.
        """
        # The limit law is close; even n = 2 is within a factor of two of it.
        guess = student_drift_median(dim)
        return float(optimize.brentq(lambda x: self.cdf(x, dim) - 0.5, guess / 4, 4 * guess, xtol=1e-13))

    def _mixture(self, dof: int, x: Array) -> Any:
        """Return E_V P(V chi2_dof <= x), a few points at a time: the nodes of V are many."""
        blocks = np.array_split(x.ravel(), x.size // 256 + 1)
        value = np.concatenate([special.chdtr(dof, block[:, None] / self.variance) @ self.weight for block in blocks])
        return float(value[0]) if x.ndim == 0 else value.reshape(x.shape)


def drift_law(samples: int) -> DriftLaw:
    """Solve V = 1/n + Y V' for the law of V, the exact law of the final drift for n images per refit.

    Beyond the paper. The density f of w = ln(V - 1/n) satisfies f(w) = int f(w') k(w - ln(1/n + e^{w'})) dw' with k
    the density of ln Y. The trapezoid rule turns this into a linear system; its error falls faster than any power
    of the step. Beyond w = 20 the tail C e^{-w} with C = `tail_constant` is prescribed. Probabilities and E sqrt(V)
    are good to about 1e-11 and 1e-8: halving the step, or moving the tail, changes them by less.

    Parameters
    ----------
    samples : int
        Fixed number n of images per image update, 2 <= n <= 1000. For more the limit law (`student_drift_cdf`,
        ...) is right to a relative 0.3 / n.

    Returns
    -------
    DriftLaw

    Raises
    ------
    TypeError, ValueError
        If `samples` is not an integer from 2 to 1000.
    """
    n = check.integer("samples", samples, minimum=2)
    check.number("samples", n, minimum=2, maximum=1000)
    return _solve_drift_law(n)


@lru_cache(maxsize=64)
def _solve_drift_law(n: int) -> DriftLaw:
    nu = n - 1
    step = min(0.12, 0.5 / np.sqrt(nu))
    # On the left f(w) falls like e^{nu w / 2}, at first, and for large n like exp(-e^{-w}), faster still.
    start = -np.log(n) - min(75.0 / nu, 75.0) - 3.0
    w = np.arange(start, _TAIL_END, step)
    body = int(np.searchsorted(w, _BODY_END))
    shift = np.logaddexp(-np.log(n), w)
    gap = w[:body, None] - shift[None, :]
    # Scaled by its own sum, not by a Gamma function: the rounding of ln k would leak mass into the tail.
    kernel = _shape(gap, nu) / _shape(np.arange(-90 / min(nu, 81) ** 0.5, 9, step), nu).sum()
    tail = tail_constant(n) * np.exp(-w[body:])
    # Stationarity on the body and total mass one: one equation too many, up to rounding, so each equation of the
    # first kind gets the same slack, which comes out as rounding error.
    system = np.ones((body + 1, body + 1))
    system[:body, :body] = np.eye(body) - kernel[:, :body]
    system[body, body] = 0.0
    density = np.linalg.solve(system, np.append(kernel[:, body:] @ tail, 1 / step - tail.sum()))[:body]
    weight = step * np.append(density, tail)
    variance = 1 / n + np.exp(w)
    variance.flags.writeable = weight.flags.writeable = False  # the cache hands out one object
    return DriftLaw(n, variance, weight)


def _shape(u: Array, nu: int) -> Array:
    """Return the density of ln(chi2_nu / nu) at u, up to a constant factor."""
    return np.asarray(np.exp(nu / 2 * (u - np.expm1(np.minimum(u, 300.0)))))


def _geometric(n: int, p: float, initial_diversity: float, rate: float | None) -> float:
    """Return C / (1 - rho)."""
    start = check.number("initial_diversity", initial_diversity, minimum=0.0)
    if rate is not None:
        return start / (1 - check.number("rate", rate, minimum=0.0, maximum=1.0, open_maximum=True))
    # 1 - mean_rate, summed as such: a rare text has a rate of 1 to rounding.
    counts = np.arange(2, n + 1)
    loss = float(stats.binom.pmf(counts, n, p) @ (1 - contraction_constant(counts - 1, 1)))
    if loss == 0:
        raise ValueError(f"image_samples and p must allow a refit (n >= 2), got N = {n}, p = {p:g}")
    return start / loss


def _mean_chi(dim: int) -> float:
    """Return E||Z||, Z ~ N(0, I_d)."""
    return float(np.sqrt(dim) * contraction_constant(dim, 1))


def _distances(x: ArrayLike, name: str = "x") -> Array:
    points = check.real_array(name, x)
    if points.size and points.min() < 0:
        raise ValueError(f"{name} must hold numbers >= 0, got {points.min():g}")
    return points
