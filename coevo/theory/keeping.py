"""How much of the past must be kept: exact laws of a text model and an image model that are fitted to a pool.

Beyond the papers (Laws 6.1 to 6.5). Before each update the weights of all data in the pool are multiplied by a fraction
kappa_t in [0, 1] (`keep`); then a batch of n new data (M for the text model) joins with weight 1 each. kappa = 0 is
Algorithm 1 of Gao & Li 2025, which replaces its data, kappa = 1 accumulates them. With w_t the weight of the pool, the
share of new data is s_t = n / (kappa_t w_t + n). Diversity survives, of texts and of images alike, if and only if
the sum of s_t^2 is finite. For a frozen text model and exactly n images per update, the variance of the images in one
direction is multiplied by independent factors

    G_t = [kappa_t c_t + chi2_{n-1} + (kappa_t w_t / w_{t+1}) chi2_1] / c_{t+1},   c = w - w2 / w,

with w2 the sum of the squared weights. Everything here is computed from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import mpmath  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from coevo import _validation as check
from coevo._validation import Array
from coevo.theory._shared import few_updates

__all__ = [
    "Guarantees",
    "PoolMoments",
    "accumulated_limits",
    "accumulated_text_diversity",
    "accumulation_guarantees",
    "drift_tail_index",
    "final_squared_error",
    "image_rate",
    "kept_deviation",
    "kept_drift_cdf",
    "kept_drift_mean",
    "kept_text_diversity",
    "never_drawn_probability",
    "new_data_share",
    "pool_moments",
    "student_dof",
    "text_rate",
]

Keep: TypeAlias = float | Callable[[int], float]


class PoolMoments(NamedTuple):
    """F_t = E||mu_t - mu_0||^2 and T_t = E tr Sigma_t, in units of tr Sigma_0."""

    squared_error: Any
    total_variance: Any


class Guarantees(NamedTuple):
    """What every run that keeps all its data has on average, for ever: see `accumulation_guarantees`."""

    text_diversity: float
    image_diversity: float
    squared_error: float


class _Pool(NamedTuple):
    """A pool before the updates 0, ..., T - 1 and after the last: what is kept, w and c have shapes (T,), (T+1,) twice.

    Attributes
    ----------
    keep : (T,), kappa_t
    weight : (T + 1,), w_t
    divisor : (T + 1,), c_t = w_t - w2_t / w_t
    """

    keep: Array
    weight: Array
    divisor: Array


def new_data_share(samples: int, keep: Keep, steps: int, initial_weight: float) -> Array:
    """Return s_t = n / (kappa_t w_t + n), the share of new data in the pool after update t = 0, ..., steps - 1.

    Beyond the paper; Law 6.1.

    Parameters
    ----------
    samples : int
        n (M for the text model) >= 1, new data per update.
    keep : float or function
        kappa in [0, 1], or a function of t = 0, 1, ... that gives it.
    steps : int
        Between 0 and 10^6.
    initial_weight : float
        w_0 >= 0.

    Returns
    -------
    ndarray, shape (steps,)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("samples", samples, minimum=1)
    steps = check.integer("steps", steps, minimum=0, maximum=10**6)
    share: Array = n / _pool(n, keep, steps, _weight("initial_weight", initial_weight)).weight[1:]
    return share


def kept_text_diversity(text_samples: int, keep: Keep, t: ArrayLike, initial_weight: float | None = None) -> Any:
    """Return prod_{k < t} (1 - s_k^2 / M): E D_t / D_0 of separated images, and a floor for any images.

    Beyond the paper; Law 6.1.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    keep : float or function
        kappa in [0, 1], or a function of t = 0, 1, ... that gives it.
    t : int or array of int, shape (...)
        Text updates, between 0 and 10^6.
    initial_weight : float, optional
        W_0 >= 0; M unless given.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    times = few_updates(t)
    share = new_data_share(m, keep, int(times.max(initial=0)), m if initial_weight is None else initial_weight)
    return check.plain(np.concatenate([[1.0], np.cumprod(1 - share**2 / m)])[times])


def text_rate(text_samples: int, keep: float) -> float:
    """Return 1 - (1 - kappa)^2 / M, the factor of E D_t per update in the long run for constant kappa.

    Beyond the paper; Law 6.1. Separated images; for others a floor.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    keep : float
        kappa in [0, 1].

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    return 1 - (1 - check.probability("keep", keep)) ** 2 / m


def never_drawn_probability(
    p: float, text_samples: int, keep: Keep, steps: int, initial_weight: float | None = None
) -> float:
    """Return the chance that a text of mass p makes none of the images of the first `steps` text updates.

    Beyond the paper; Law 6.2: prod_t (1 - p prod_{k < t} (1 - s_k))^M for separated images.

    Parameters
    ----------
    p : float
        In [0, 1].
    text_samples, keep, initial_weight
        See `kept_text_diversity`.
    steps : int
        Between 0 and 10^6.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    mass = check.probability("p", p)
    m = check.integer("text_samples", text_samples, minimum=1)
    share = new_data_share(m, keep, steps, m if initial_weight is None else initial_weight)
    left = mass * np.concatenate([[1.0], np.cumprod(1 - share)])[: share.size]
    return float(np.exp(special.xlog1py(m, -left).sum()))


def accumulated_text_diversity(text_samples: int, initial_weight: float | None = None) -> float:
    """Return lim E D_t / D_0 of separated images if everything is kept (kappa = 1).

    Beyond the paper; Law 6.2. With u = W_0 / M and x = 1 / sqrt(M) it is Gamma(1+u)^2 / (Gamma(1+u-x) Gamma(1+u+x)).
    For whole W_0 it agrees with `coevo.theory.consensus.accumulated_diversity`. For M = 1 it is W_0 / (W_0 + 1), the
    Polya urn; no batch sizes, fixed or not, can bring it below that.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    initial_weight : float, optional
        W_0 >= 0; M unless given.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    u = (m if initial_weight is None else _weight("initial_weight", initial_weight)) / m
    if u == 0 and m == 1:
        return 0.0  # a pool of one image
    x = 1 / np.sqrt(m)
    with mpmath.workdps(30):
        return float(mpmath.gammaprod([1 + u, 1 + u], [1 + u - x, 1 + u + x]))


def pool_moments(samples: int, keep: Keep, t: ArrayLike, initial_weight: float | None = None) -> PoolMoments:
    """Return the exact second moments of an image model that is fitted to its pool (frozen text model).

    Beyond the paper; Law 6.3. T_{t+1} = g_t T_t and F_{t+1} = F_t + (n / w_{t+1}^2) T_t with
    g_t = 1 - kappa_t n w2_t / (w_t w_{t+1} c_{t+1}); in any dimension, for every Sigma_0.

    Parameters
    ----------
    samples : int
        Fixed number n >= 2 of new images per update.
    keep : float or function
        kappa in [0, 1], or a function of t = 0, 1, ... that gives it.
    t : int or array of int, shape (...)
        Image updates, between 0 and 10^6.
    initial_weight : float, optional
        w_0, 0 or at least 1; n unless given.

    Returns
    -------
    PoolMoments
        Of floats or arrays of shape (...).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("samples", samples, minimum=2)
    times = few_updates(t)
    pool = _pool(n, keep, int(times.max(initial=0)), _image_weight(n, initial_weight))
    variance = np.concatenate([[1.0], np.cumprod(_growth(n, pool)[0])])
    steps = n / pool.weight[1:] ** 2 * variance[:-1]
    error = np.concatenate([[0.0], np.cumsum(steps)])
    return PoolMoments(check.plain(error[times]), check.plain(variance[times]))


def kept_deviation(samples: int, keep: Keep, t: ArrayLike, initial_weight: float | None = None) -> Any:
    """Return E sqrt(v^T Sigma_t v) / sqrt(v^T Sigma_0 v) for any unit vector v: prod_{k < t} E sqrt(G_k), exactly.

    Beyond the paper; Law 6.3. In one dimension it is E Sigma_t^{1/2} / Sigma_0^{1/2}; in any dimension the mean image
    diversity lies between it times lambda_max(Sigma_0)^{1/2} and it times tr Sigma_0^{1/2}.

    Parameters
    ----------
    samples, keep, t, initial_weight
        See `pool_moments`.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("samples", samples, minimum=2)
    times = few_updates(t)
    pool = _pool(n, keep, int(times.max(initial=0)), _image_weight(n, initial_weight))
    return check.plain(np.concatenate([[1.0], np.cumprod(_mean_root(n, pool))])[times])


def image_rate(samples: int, keep: float) -> float:
    """Return the factor of E sqrt(v^T Sigma_t v) per update in the long run for constant kappa.

    Beyond the paper; Law 6.3. For many images 1 - (1 - kappa)^2 (1 + 3 kappa) / (4 n (1 + kappa)); it is
    c_1(n - 1) at kappa = 0, and 1 at kappa = 1.

    Parameters
    ----------
    samples : int
        Fixed number n >= 2 of new images per update.
    keep : float
        kappa in [0, 1].

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("samples", samples, minimum=2)
    kappa = check.probability("keep", keep)
    return 1.0 if kappa == 1 else float(_mean_root(n, _settled(n, kappa))[0])


def final_squared_error(samples: int, keep: float, initial_weight: float | None = None) -> float:
    """Return lim F_t, the final E||mu_t - mu_0||^2 / tr Sigma_0, for constant kappa.

    Beyond the paper; Law 6.3 and Law 6.4. Infinite at kappa = 0, near (1 + kappa) / kappa for kappa in (0, 1) and many
    images, and of order 1 / n at kappa = 1.

    Parameters
    ----------
    samples : int
        Fixed number n >= 2 of new images per update.
    keep : float
        kappa in [0, 0.9999], or 1.
    initial_weight : float, optional
        w_0, 0 or at least 1; n unless given.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("samples", samples, minimum=2)
    kappa = check.probability("keep", keep)
    if kappa == 1:
        return accumulated_limits(n, initial_weight).squared_error  # type: ignore[no-any-return]
    check.number("keep", kappa, minimum=0.0, maximum=0.9999)
    start = _image_weight(n, initial_weight)
    if kappa == 0:
        return np.inf
    # The weights settle geometrically; from then on F is a geometric series.
    settling = int(np.ceil(40 / -np.log(kappa))) + 1
    before = pool_moments(n, kappa, settling, start)
    settled = _settled(n, kappa)
    loss = kappa * (1 - kappa) / ((1 + kappa) * settled.divisor[1])
    return float(before.squared_error + n / settled.weight[1] ** 2 * before.total_variance / loss)


def accumulated_limits(samples: int, initial_weight: float | None = None) -> PoolMoments:
    """Return lim F_t and lim T_t, in units of tr Sigma_0, if everything is kept (kappa = 1).

    Beyond the paper; Law 6.3. With u = w_0 / n and a, b the roots of n k^2 = k + 1,
    T = Gamma(1+u) Gamma(1+u-1/n) / (Gamma(1+u-a) Gamma(1+u-b)), and F is a generalised hypergeometric series at 1.

    Parameters
    ----------
    samples : int
        Fixed number n >= 2 of new images per update.
    initial_weight : float, optional
        w_0, at least 1; n unless given. With w_0 = 0 the first update replaces all: start after it, with w_0 = n.

    Returns
    -------
    PoolMoments
        Of floats.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("samples", samples, minimum=2)
    w = float(n) if initial_weight is None else check.number("initial_weight", initial_weight, minimum=1.0)
    with mpmath.workdps(30):
        u, root = mpmath.mpf(w) / n, mpmath.sqrt(1 + 4 * mpmath.mpf(n))
        a, b = (1 + root) / (2 * n), (1 - root) / (2 * n)
        below = 1 + u - mpmath.mpf(1) / n
        variance = mpmath.gammaprod([1 + u, below], [1 + u - a, 1 + u - b])
        upper, lower = [1, 1 + u - a, 1 + u - b, 1 + u], [below, 2 + u, 2 + u]
        series = mpmath.hyper(upper, lower, 1) / (1 + u) ** 2
        return PoolMoments(float(series / n), float(variance))


def student_dof(keep: float) -> float:
    """Return 2 (1 + 2 kappa) / (1 + kappa), the degrees of freedom of the final drift for many images, kappa < 1.

    Beyond the paper; Law 6.4. It is 2 at kappa = 0 and tends to 3 as kappa tends to 1.

    Parameters
    ----------
    keep : float
        kappa in [0, 1).

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    kappa = check.number("keep", keep, minimum=0.0, maximum=1.0, open_maximum=True)
    return 2 * (1 + 2 * kappa) / (1 + kappa)


def drift_tail_index(samples: int, keep: float) -> float:
    """Return the tail index a of the final drift at a finite number n of images: P(|v^T e| > x) ~ C x^{-a}.

    Beyond the paper; Law 6.4: E G^{a/2} = 1 for the factor G of a pool whose weights have settled (Kesten 1973, Goldie
    1991). It is 2 for every n at kappa = 0, and tends to `student_dof` as n grows.

    Parameters
    ----------
    samples : int
        Fixed number n >= 3 of new images per update, at most 10^4.
    keep : float
        kappa in [0, 0.999].

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("samples", samples, minimum=3, maximum=10**4)
    kappa = check.number("keep", keep, minimum=0.0, maximum=0.999)
    if kappa == 0:
        return 2.0
    pool = _settled(n, kappa)
    # The trapezoid rule for ln(chi2 / nu): its density falls faster than e^{nu w / 2} to the left.
    nu = n - 1
    w = np.arange(-90 / min(nu, 81) ** 0.5 - 6, 9, 0.3 / np.sqrt(nu))
    weight = np.exp(nu / 2 * (w - np.expm1(w)))
    nodes, normal = np.polynomial.hermite_e.hermegauss(40)
    share = _growth(n, pool)[1][0]
    logs = np.log((kappa * pool.divisor[0] + nu * np.exp(w)[:, None] + share * nodes**2) / pool.divisor[1])
    both = weight[:, None] / weight.sum() * normal / normal.sum()

    def excess(q: float) -> float:
        return float((both * np.expm1(q * logs)).sum())

    return 2 * float(optimize.brentq(excess, 1.0, 4.0, xtol=1e-13))


def kept_drift_cdf(x: ArrayLike, keep: float, dim: int) -> Any:
    """Return P(||e|| <= x), the limit law for many images of the final drift, in units of sigma_0.

    Beyond the paper; Law 6.4. e = Z / sqrt(Gamma_mu) with 2 mu = `student_dof`; for d = 2 it is 1 - (1 + x^2/2)^{-mu}.

    Parameters
    ----------
    x : float or array, shape (...)
        At least 0.
    keep : float
        kappa in [0, 1).
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
    points = check.real_array("x", x)
    if points.min(initial=0.0) < 0:
        raise ValueError(f"x must hold numbers >= 0, got {points.min():g}")
    half = check.integer("dim", dim, minimum=1) / 2
    return check.plain(special.betainc(half, student_dof(keep) / 2, points**2 / (points**2 + 2)))


def kept_drift_mean(keep: float, dim: int) -> float:
    """Return E||e|| of the limit law of `kept_drift_cdf`.

    Beyond the paper; Law 6.4.

    Parameters
    ----------
    keep : float
        kappa in [0, 1).
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
    mu, half = student_dof(keep) / 2, check.integer("dim", dim, minimum=1) / 2
    log = special.gammaln(half + 0.5) - special.gammaln(half) + special.gammaln(mu - 0.5) - special.gammaln(mu)
    return float(np.sqrt(2) * np.exp(log))


def accumulation_guarantees(text_weight: float, image_weight: float, dim: int) -> Guarantees:
    """Return what a loop that keeps everything has for ever, whatever its batches (kappa = 1).

    Beyond the paper; Law 6.5. For all t, in the coupled system, and even if the batch sizes are chosen anew at each
    step in view of the past:

        E D_t >= D_0 W_0 / (W_0 + 1),
        E tr Sigma_t^{1/2} >= tr Sigma_0^{1/2} (1 - (d + 2 + 1/(w_0 + 1)) / (2 (w_0 - 1))),
        E||mu_t - mu_0||^2 <= tr Sigma_0 / w_0.

    Parameters
    ----------
    text_weight : float
        W_0 >= 0.
    image_weight : float
        w_0 >= 1 of the text.
    dim : int
        d >= 1.

    Returns
    -------
    Guarantees
        The three factors; that of the image diversity is 0 where the bound says nothing.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    text = _weight("text_weight", text_weight)
    w = check.number("image_weight", image_weight, minimum=1.0)
    d = check.integer("dim", dim, minimum=1)
    lost = (d + 2 + 1 / (w + 1)) / (2 * (w - 1)) if w > 1 else np.inf
    return Guarantees(text / (text + 1), max(0.0, 1 - lost), 1 / w)


def _weight(name: str, value: float) -> float:
    return check.number(name, value, minimum=0.0)


def _image_weight(samples: int, value: float | None) -> float:
    """Return w_0: 0 or at least 1."""
    weight = float(samples) if value is None else _weight("initial_weight", value)
    if 0 < weight < 1:
        raise ValueError(f"initial_weight must be 0 or at least 1, got {weight:g}")
    return weight


def _pool(samples: int, keep: Keep, steps: int, initial_weight: float) -> _Pool:
    """Return the weights of a pool over `steps` updates with n new data each."""
    constant = None if callable(keep) else check.probability("keep", keep)
    kappa, weight, square = np.empty(steps), np.empty(steps + 1), np.empty(steps + 1)
    weight[0] = square[0] = initial_weight
    for t in range(steps):
        kappa[t] = check.probability("keep", keep(t)) if callable(keep) else constant
        weight[t + 1] = kappa[t] * weight[t] + samples
        square[t + 1] = kappa[t] ** 2 * square[t] + samples
    return _Pool(kappa, weight, weight - square / np.where(weight > 0, weight, 1.0))


def _settled(samples: int, keep: float) -> _Pool:
    """Return one update of a pool whose weights have settled, kappa < 1."""
    weight = samples / (1 - keep)
    divisor = weight - 1 / (1 + keep)
    return _Pool(np.array([keep]), np.array([weight, weight]), np.array([divisor, divisor]))


def _growth(samples: int, pool: _Pool) -> tuple[Array, Array]:
    """Return E G_t and the share kappa_t w_t / w_{t+1} of old data, each (T,)."""
    old = pool.keep * pool.weight[:-1] / pool.weight[1:]
    mean: Array = (pool.keep * pool.divisor[:-1] + samples - 1 + old) / pool.divisor[1:]
    return mean, old


def _mean_root(samples: int, pool: _Pool) -> Array:
    """Return E sqrt(G_t), (T,).

    E sqrt(X) = int_0^inf (1 - E e^{-l X}) l^{-3/2} dl / (2 sqrt(pi)) with l = e^u and the trapezoid rule. Its error is
    far below rounding at this step: the integrand is analytic for |Im u| < pi / 2.
    """
    mean, old = _growth(samples, pool)
    x = np.arange(-76.0, 76.0, 0.125)
    root = np.exp(x / 2)
    result = np.empty_like(mean)
    for part in np.array_split(np.arange(mean.size), mean.size // 200 + 1):
        scale = mean[part, None] * pool.divisor[part + 1, None]  # E of the numerator X of G
        rate = root**2 / scale
        log = -rate * (pool.keep * pool.divisor[:-1])[part, None] - (samples - 1) / 2 * np.log1p(2 * rate)
        log -= 0.5 * np.log1p(2 * old[part, None] * rate)
        integral = 0.125 * (-np.expm1(log) / root).sum(axis=1) / (2 * np.sqrt(np.pi))
        result[part] = integral * np.sqrt(mean[part])
    return result
