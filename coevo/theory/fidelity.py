"""The drift of the image mean under a frozen text model: Gao & Li 2025, Theorem 3.4, and the exact law behind it.

Fidelity is ||mu_t - mu_0||, the drift from the initial mean. With a fixed number n of images per refit the final
drift is, in law, Sigma_0^{1/2} sqrt(V) Z with Z ~ N(0, I_d) and one scalar V for every dimension,

    V = 1/n + Y V',   Y ~ chi2_nu / nu independent of V' ~ V,   nu = n - 1.

As n grows, V tends to 1 / Exp(1) (Dufresne's identity) and the drift to a Student t law with two degrees of
freedom: it does not shrink with the number of images. A covariance divided by n - 1 + b ("bias" b) gives
Y ~ chi2_nu / (nu + b) and a Student law with 2 + 2b degrees of freedom. Laws 3.1 to 3.5 of the book.
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
    "moment_correction",
    "quantile_correction",
    "student_drift_cdf",
    "student_drift_mean",
    "student_drift_median",
    "tail_bias",
    "tail_constant",
    "tail_index",
]


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


def expected_squared_drift(cov: ArrayLike, samples: int, t: ArrayLike, bias: float = 0.0) -> Any:
    """Return E||mu_t - mu_0||^2 = t tr Sigma_0 / n, which grows for ever.

    Beyond the paper; Law 3.4 (infinite second moment: Shumailov et al. 2024, Theorem 3.1): the unbiased covariance
    keeps E Sigma_t = Sigma_0, though almost every run has stopped. With the divisor n - 1 + b (Law 3.5) it is
    (1 + r + ... + r^{t-1}) tr Sigma_0 / n, r = (n - 1) / (n - 1 + b), bounded for b > 0.

    Parameters
    ----------
    cov : array, shape (d, d)
        Sigma_0, positive semidefinite.
    samples : int
        Fixed number n >= 2 of images per image update.
    t : int or array of int, shape (...)
        Image updates, at least 0.
    bias : float, optional
        b > -(n - 1): the covariance is divided by n - 1 + b.

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
    log_ratio = -np.log1p(_bias(n, bias) / (n - 1))
    terms = times if log_ratio == 0 else np.expm1(times * log_ratio) / np.expm1(log_ratio)
    value = terms * (np.trace(sigma) / n)
    return check.plain(value)


def student_drift_mean(dim: int, bias: float = 0.0) -> float:
    """Return E||e|| = sqrt(2 pi) Gamma((d+1)/2) / Gamma(d/2), the mean final drift for many images per refit.

    Beyond the paper; Law 3.2: the limit n -> infinity of Gao & Li 2025, Theorem 3.4, in units of sigma_0 for
    Sigma_0 = sigma_0^2 I. The variance is infinite. With a bias b, Law 3.5, sqrt(pi) becomes
    Gamma(b + 1/2) / Gamma(b + 1).

    Parameters
    ----------
    dim : int
        d >= 1.
    bias : float, optional
        b > -1: the covariance is divided by n - 1 + b.

    Returns
    -------
    float
        Infinite for b <= -1/2.

    Raises
    ------
    TypeError, ValueError
        If `dim` is not an integer of at least 1, or `bias` not a number above -1.
    """
    d, b = check.integer("dim", dim, minimum=1), _limit_bias(bias)
    return _mean_chi(d) * float(special.poch(b + 1, -0.5)) if b > -0.5 else np.inf


def student_drift_median(dim: int, bias: float = 0.0) -> float:
    """Return the median of ||e||, the final drift for many images per refit, in units of sigma_0.

    Beyond the paper; Law 3.2 and Law 3.5: `student_drift_cdf` equals 1/2 there; without bias sqrt(2/3) for d = 1,
    sqrt 2 for d = 2.

    Parameters
    ----------
    dim : int
        d >= 1.
    bias : float, optional
        b > -1: the covariance is divided by n - 1 + b.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `dim` is not an integer of at least 1, or `bias` not a number above -1.
    """
    d, b = check.integer("dim", dim, minimum=1), _limit_bias(bias)
    if b == 0:
        return float(np.sqrt(2 / np.expm1(2 / d * np.log(2))))
    share = special.betaincinv(d / 2, 1 + b, 0.5)
    return float(np.sqrt(2 * share / (1 - share)))


def student_drift_cdf(x: ArrayLike, dim: int, bias: float = 0.0) -> Any:
    """Return P(||e|| <= x) = (x^2 / (x^2 + 2))^{d/2}, the law of the final drift for many images per refit.

    Beyond the paper; Law 3.2: e / sigma_0 is multivariate t with two degrees of freedom, so ||e||^2 / d ~ F(d, 2).
    With a bias b, Law 3.5, sqrt(1 + b) e / sigma_0 is multivariate t with 2 + 2b degrees of freedom.

    Parameters
    ----------
    x : float or array, shape (...)
        Drift in units of sigma_0, at least 0.
    dim : int
        d >= 1.
    bias : float, optional
        b > -1: the covariance is divided by n - 1 + b.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    d, b = check.integer("dim", dim, minimum=1), _limit_bias(bias)
    points = _distances(x)
    root = points / np.hypot(points, np.sqrt(2))
    value = root**d if b == 0 else np.asarray(special.betainc(d / 2, 1 + b, root**2))
    return check.plain(value)


def moment_correction(power: float, bias: float = 0.0) -> float:
    """Return a(s) in E V^s = Gamma(1 + b - s) / Gamma(1 + b) (1 + a(s) / n + O(n^-2)).

    Beyond the paper; Law 3.3: a(s) = -s (s + 3) / 6 without bias, so E||e|| has the factor 1 - (7/24) / n. With a
    bias b, Law 3.5, a(s) = -s (s + 3 - 7b) / 6 + b (b + 2) / 6 (psi(1 + b - s) - psi(1 + b)).

    Parameters
    ----------
    power : float
        s < 1 + b.
    bias : float, optional
        b > -1: the covariance is divided by n - 1 + b.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    b = _limit_bias(bias)
    s = check.number("power", power, maximum=1 + b, open_maximum=True)
    shift = special.digamma(1 + b - s) - special.digamma(1 + b)
    return float(-s * (s + 3 - 7 * b) / 6 + b * (b + 2) / 6 * shift)


def quantile_correction(prob: ArrayLike, dim: int) -> Any:
    """Return q in x_n = x_infinity (1 + q / n + O(n^-2)) for the quantile x_n of ||e|| with probability `prob`.

    Beyond the paper; Law 3.3: q = (d + 2) (1 - prob^{2/d}) / 24 - 1/3. The medians have -23/96 for d = 1 and -1/4
    for d = 2; far quantiles -1/3.

    Parameters
    ----------
    prob : float or array, shape (...)
        In (0, 1).
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
    probs = check.real_array("prob", prob)
    if probs.size and not (probs.min() > 0 and probs.max() < 1):
        raise ValueError(f"prob must hold numbers in (0, 1), got {probs.min():g} to {probs.max():g}")
    return check.plain(np.asarray((d + 2) * (1 - probs ** (2 / d)) / 24 - 1 / 3))


def tail_constant(samples: Any) -> float:
    """Return C = 1 / (n [psi(nu/2 + 1) - ln(nu/2)]), nu = n - 1: P(|e| > x) ~ C sigma_0^2 / x^2 in d = 1.

    Beyond the paper; Law 3.4 (Kesten 1973, Goldie 1991): the tail index of the final drift is 2 for every n. The
    same constant governs V itself, P(V > v) ~ C / v, and P(||e|| > x) ~ C tr Sigma_0 / x^2 in d dimensions. For a
    random n it is E[1/n; n >= 2] / E[psi(nu/2 + 1) - ln(nu/2); n >= 2].

    Parameters
    ----------
    samples : int or frozen discrete law of scipy.stats
        Number n of images per image update: fixed, n >= 2, or its law on integers from 0.

    Returns
    -------
    float
        1 - 2/(3n) + O(n^-2) for a fixed n.

    Raises
    ------
    TypeError, ValueError
        If `samples` is neither an integer of at least 2 nor such a law, or if no refit can happen.
    """
    if check.is_count_law(samples):
        values, weight = check.count_law("samples", samples, minimum=0)
        enough = values >= 2
        values, weight = values[enough], weight[enough]
        if values.size == 0:
            raise ValueError("samples must allow a refit (n >= 2), got a law on 0 and 1")
    else:
        values, weight = np.array([check.integer("samples", samples, minimum=2)]), np.ones(1)
    half = (values - 1) / 2
    return float((weight / values).sum() / (weight * (special.digamma(half + 1) - np.log(half))).sum())


def tail_bias(samples: int, index: float) -> float:
    """Return the bias b with which the final drift has the tail index k: P(||e|| > x) ~ C x^{-k}.

    Beyond the paper; Law 3.5: E Y^{k/2} = 1, so nu + b = 2 (Gamma((nu + k)/2) / Gamma(nu/2))^{2/k}. Its value at
    k = 0, 2 exp(psi(nu/2)) - nu, is the bias at and below which the mean never stops.

    Parameters
    ----------
    samples : int
        Fixed number n >= 2 of images per image update.
    index : float
        k >= 0.

    Returns
    -------
    float
        b; 0 for k = 2. It tends to k/2 - 1 as n grows.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("samples", samples, minimum=2)
    k = check.number("index", index, minimum=0.0)
    half = (n - 1) / 2
    # ln of ||Y||_{k/2} for Y = chi2_nu / nu; its quotient of logarithms loses digits for small k and for large n.
    if k < 1e-4:
        log_norm = special.digamma(half) - np.log(half) + special.polygamma(1, half) * k / 4
    elif half < 20:
        log_norm = 2 / k * (special.gammaln(half + k / 2) - special.gammaln(half)) - np.log(half)
    else:
        rise = (half + k / 2 - 0.5) * np.log1p(k / (2 * half)) - k / 2
        log_norm = 2 / k * (rise + _stirling(half + k / 2) - _stirling(half))
    return float((n - 1) * np.expm1(log_norm))


def tail_index(samples: int, bias: float = 0.0) -> float:
    """Return k: P(||e|| > x) ~ C x^{-k}, when the covariance is divided by n - 1 + b.

    Beyond the paper; Law 3.5 (Kesten 1973, Goldie 1991): the inverse function of `tail_bias`. Without bias k = 2 at
    every n; as n grows k tends to 2 + 2b.

    Parameters
    ----------
    samples : int
        Fixed number n >= 2 of images per image update.
    bias : float, optional
        b, above `tail_bias` (n, 0).

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("samples", samples, minimum=2)
    b = check.number("bias", bias)
    least = tail_bias(n, 0.0)
    if not b > least:
        raise ValueError(f"bias must be above {least:g} for {n} samples, or the mean never stops; got {b:g}")
    high = 4.0
    while tail_bias(n, high) <= b:
        high *= 2
    return float(optimize.brentq(lambda k: tail_bias(n, k) - b, 0.0, high, xtol=1e-13))


@dataclass(frozen=True, eq=False)
class DriftLaw:
    """The law of the final drift e = Sigma_0^{1/2} sqrt(V) Z for a fixed number of images per refit.

    Beyond the paper; Law 3.1: the exact law behind Gao & Li 2025, Theorem 3.4. Made by `drift_law`.

    Attributes
    ----------
    samples : int
        Number n of images per refit.
    variance : ndarray, shape (Q,)
        Quadrature nodes of V.
    weight : ndarray, shape (Q,)
        Their probabilities; sums to one.
    bias : float
        b: the covariance is divided by n - 1 + b.
    """

    samples: int
    variance: Array
    weight: Array
    bias: float = 0.0

    def scale_mean(self) -> float:
        """Return E sqrt(V); infinite if the tail index of the drift is at most 1."""
        index = tail_index(self.samples, self.bias)
        if index <= 1:
            return np.inf
        # Beyond the last node the terms go on as a geometric series.
        last, before = np.log(self.variance[-1]), np.log(self.variance[-2])
        ratio = np.exp((1 - index) / 2 * (last - before))
        beyond = self.weight[-1] * np.exp(last / 2) * ratio / (1 - ratio)
        return float(self.weight @ np.sqrt(self.variance) + beyond)

    def scale_cdf(self, v: ArrayLike) -> Any:
        """Return P(V <= v), a float or an array of the shape of `v`; V is never below 1/n.

        Raises TypeError or ValueError if `v` does not hold finite numbers of at least 0.
        """
        excess = np.maximum(_distances(v, "v") - 1 / self.samples, 0.0)
        nu = self.samples - 1
        return self._mixture(nu, (nu + self.bias) * excess)

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
        # The limit law without bias is within a factor of two; a bias is a matter of scale.
        guess = student_drift_median(dim) / np.sqrt(1 + max(self.bias, 0.0))
        high = 4 * guess
        while self.cdf(high, dim) < 0.5:
            high *= 4
        return float(optimize.brentq(lambda x: self.cdf(x, dim) - 0.5, guess / 4, high, xtol=1e-13))

    def _mixture(self, dof: int, x: Array) -> Any:
        """Return E_V P(V chi2_dof <= x), a few points at a time: the nodes of V are many."""
        seen = np.abs(self.weight) > 1e-19  # the others, some thousands, count for less than rounding
        variance, weight = self.variance[seen], self.weight[seen]
        blocks = np.array_split(x.ravel(), x.size // 256 + 1)
        value = np.concatenate([special.chdtr(dof, block[:, None] / variance) @ weight for block in blocks])
        return float(value[0]) if x.ndim == 0 else value.reshape(x.shape)


def drift_law(samples: int, bias: float = 0.0) -> DriftLaw:
    """Solve V = 1/n + Y V' for the law of V, the exact law of the final drift for n images per refit.

    Beyond the paper; Law 3.1 and Law 3.5. The density f of w = ln(V - 1/n) satisfies
    f(w) = int f(w') k(w - ln(1/n + e^{w'})) dw' with k the density of ln Y. The trapezoid rule turns this into a
    linear system; its error falls faster than any power of the step. Far out the tail C e^{-kw/2} with k the
    `tail_index` is prescribed, without bias with C = `tail_constant`. Probabilities and E sqrt(V) are good to about
    1e-11 and 1e-8: halving the step, or moving the tail, changes them by less.

    Parameters
    ----------
    samples : int
        Fixed number n of images per image update, 2 <= n <= 1000. For more the limit law (`student_drift_cdf`,
        ...) is right to a relative 0.3 / n.
    bias : float, optional
        b: the covariance is divided by n - 1 + b, so Y ~ chi2_nu / (nu + b); the tail index must be at least 0.2.

    Returns
    -------
    DriftLaw

    Raises
    ------
    TypeError, ValueError
        If `samples` is not an integer from 2 to 1000, or `bias` not a number that leaves the tail such an index.
    """
    n = check.integer("samples", samples, minimum=2)
    check.number("samples", n, minimum=2, maximum=1000)
    b = check.number("bias", bias)
    if not b >= tail_bias(n, 0.2):
        raise ValueError(f"bias must be at least {tail_bias(n, 0.2):g} for {n} samples, got {b:g}")
    return _solve_drift_law(n, b)


@lru_cache(maxsize=64)
def _solve_drift_law(n: int, bias: float) -> DriftLaw:
    nu = n - 1
    step = min(0.12, 0.5 / np.sqrt(nu))
    log_shrink = np.log1p(bias / nu)
    decay = tail_index(n, bias) / 2 if bias else 1.0
    # Where the tail is prescribed its relative error is of order e^{-w}, the mass in the wrong place e^{-40}.
    body_end = 40 / (1 + decay)
    # On the left f(w) falls like e^{nu w / 2}, at first, and for large n like exp(-e^{-w}), faster still.
    start = -np.log(n) - min(75.0 / nu, 75.0) - 3.0 - max(log_shrink, 0.0)
    w = np.arange(start, body_end + max(80.0, 40 / decay), step)
    body = int(np.searchsorted(w, body_end))
    shift = np.logaddexp(-np.log(n), w)
    gap = w[:body, None] - shift[None, :] + log_shrink
    # Scaled by its own sum, not by a Gamma function: the rounding of ln k would leak mass into the tail.
    kernel = _shape(gap, nu) / _shape(np.arange(-90 / min(nu, 81) ** 0.5, 9, step), nu).sum()
    # Stationarity on the body and total mass one: one equation too many, up to rounding, so each equation of the
    # first kind gets the same slack, which comes out as rounding error.
    system = np.ones((body + 1, body + 1))
    system[:body, :body] = np.eye(body) - kernel[:, :body]
    system[body, body] = 0.0
    if bias == 0:
        tail = tail_constant(n) * np.exp(-w[body:])
        density = np.linalg.solve(system, np.append(kernel[:, body:] @ tail, 1 / step - tail.sum()))[:body]
    else:  # no constant in closed form: the tail goes on from the last point of the body
        profile = np.exp(-decay * (w[body:] - w[body - 1]))
        system[:body, body - 1] -= kernel[:, body:] @ profile
        system[body, body - 1] += profile.sum()
        density = np.linalg.solve(system, np.append(np.zeros(body), 1 / step))[:body]
        tail = density[-1] * profile
    weight = step * np.append(density, tail)
    variance = 1 / n + np.exp(w)
    variance.flags.writeable = weight.flags.writeable = False  # the cache hands out one object
    return DriftLaw(n, variance, weight, bias)


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


def _stirling(x: float) -> float:
    """Return ln Gamma(x) - [(x - 1/2) ln x - x + ln(2 pi) / 2] for x >= 20."""
    return 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5)


def _bias(n: int, bias: float) -> float:
    """Return the bias b of a divisor n - 1 + b > 0."""
    return check.number("bias", bias, minimum=1.0 - n, open_minimum=True)


def _limit_bias(bias: float) -> float:
    """Return a bias with which the drift has a law for many images."""
    return check.number("bias", bias, minimum=-1.0, open_minimum=True)


def _mean_chi(dim: int) -> float:
    """Return E||Z||, Z ~ N(0, I_d)."""
    return float(np.sqrt(dim) * contraction_constant(dim, 1))


def _distances(x: ArrayLike, name: str = "x") -> Array:
    points = check.real_array(name, x)
    if points.size and points.min() < 0:
        raise ValueError(f"{name} must hold numbers >= 0, got {points.min():g}")
    return points
