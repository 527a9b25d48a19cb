"""Which text fades fastest, and what a text keeps that dies out. Beyond the paper; Laws 4.1 to 4.4.

The rate of a text of probability p is a mean of a factor f(n) over its number n of images: f = 1 for n < 2, since it
is then not refitted, and f(n) = c_d(n - 1) (first step), c_1(n - 1) (mean, in the long run), or the exponential of the
mean of lambda_1(n - 1) (typical run). It falls and then rises as p grows (Law 4.1), has a limit as N grows with
x = N p fixed (Law 4.2), turns the Matthew effect round (Law 4.3), and fixes what a text keeps when it dies out
(Law 4.4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from coevo import _validation as check
from coevo._validation import Array
from coevo.theory._shared import likely_counts
from coevo.theory.image import Bounds
from coevo.theory.wright_fisher import transition_matrix
from coevo.wishart import contraction_constant

__all__ = [
    "WorstText",
    "expected_refits",
    "frozen_diversity",
    "frozen_diversity_exponent",
    "frozen_log_diversity",
    "partner",
    "poisson_error_bound",
    "poisson_rate",
    "winner_diversity_diffusion",
    "worst_text",
]

_RATES = ("first step", "mean", "typical")
_OUTCOMES = ("lost", "won")
# Numbers of images whose probability is below e^-36 altogether are left out of a mean of numbers in [0, 1].
_LOG_NEGLIGIBLE = 36.0


class WorstText(NamedTuple):
    """Expected number of images N p of the text that fades fastest, and its rate."""

    expected_images: float
    rate: float


def poisson_rate(expected_images: float, dim: int, rate: str = "first step") -> float:
    """Return the rate of a text in the limit of many images N with x = N p fixed: a mean over n ~ Poisson(x).

    Beyond the paper; Law 4.2. It differs from the rate at N by at most `poisson_error_bound`.

    Parameters
    ----------
    expected_images : float
        x >= 0.
    dim : int
        d >= 1.
    rate : {"first step", "mean", "typical"}
        E c_d(n - 1), E c_1(n - 1), or exp E lambda_1(n - 1); for n < 2 the factor is 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    x = check.number("expected_images", expected_images, minimum=0.0)
    d = _dim(dim, rate)
    return _as_rate(_loss(None, x, d, rate), rate)


def poisson_error_bound(image_samples: int, expected_images: float, dim: int, rate: str = "first step") -> float:
    """Return delta x^2 / (2 N), a bound on |rate at N - rate in the Poisson limit|.

    Beyond the paper; Law 4.2. With f the factor of n images (its logarithm for the typical run) delta is the largest
    second difference, f(3) - 2 f(2) + f(1). Replace the N coins of a binomial count one by one by Poisson numbers of
    the same mean p: each changes the mean of a function by at most p^2 / 2 times its largest second difference.

    Parameters
    ----------
    image_samples : int
        N >= 1.
    expected_images : float
        x = N p in [0, N].
    dim : int
        d >= 1.
    rate : {"first step", "mean", "typical"}

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("image_samples", image_samples, minimum=1)
    x = check.number("expected_images", expected_images, minimum=0.0, maximum=n)
    lost = _losses(3, _dim(dim, rate), rate)
    return float(2 * lost[2] - lost[3]) * x**2 / (2 * n)


def worst_text(dim: int, image_samples: int | None = None, rate: str = "first step") -> WorstText:
    """Return the text that fades fastest: where the exact rate has its only minimum.

    Beyond the paper; Law 4.1 (one minimum, for every count law of one exponential family) and Law 4.2 (its place in
    the limit of many images).

    Parameters
    ----------
    dim : int
        d >= 1.
    image_samples : int, optional
        N >= 2. Without it the limit of many images. For N = 2 the rate falls up to p = 1.
    rate : {"first step", "mean", "typical"}

    Returns
    -------
    WorstText
        (expected_images, rate)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    d = _dim(dim, rate)
    n_images = None if image_samples is None else check.integer("image_samples", image_samples, minimum=2)
    return _worst(n_images, d, rate)


def partner(image_samples: int, p: float, dim: int, rate: str = "first step") -> float:
    """Return the other probability with the same rate, on the other side of the worst text.

    Beyond the paper; Law 4.3. Of two texts p < q the rarer one fades slower exactly if q is at most the worst text
    or p < partner(q).

    Parameters
    ----------
    image_samples : int
        N >= 2.
    p : float
        In (0, 1].
    dim : int
        d >= 1.
    rate : {"first step", "mean", "typical"}

    Returns
    -------
    float
        nan if there is none: a text so rare that no likelier one is as slow. The worst text is its own partner.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("image_samples", image_samples, minimum=2)
    own = check.number("p", p, minimum=0.0, maximum=1.0, open_minimum=True)
    d = _dim(dim, rate)
    worst = _worst(n, d, rate).expected_images / n
    target = np.log(_loss(n, n * own, d, rate))

    def gap(log_mass: float) -> float:
        return float(np.log(_loss(n, min(float(n), n * np.exp(log_mass)), d, rate)) - target)

    if gap(np.log(worst)) <= 0:
        return worst
    if own > worst:
        low = np.log(worst) - 1
        while gap(low) > 0:
            low -= 1
        return float(np.exp(optimize.brentq(gap, low, np.log(worst), xtol=1e-14, rtol=1e-14)))
    last = gap(0.0)
    if last > 1e-12:
        return float("nan")
    return 1.0 if last >= 0 else float(np.exp(optimize.brentq(gap, np.log(worst), 0.0, xtol=1e-14, rtol=1e-14)))


def frozen_diversity(
    text_samples: int,
    image_samples: int,
    p0: float,
    dim: int = 1,
    text_updates: int = 1,
    image_updates: int = 1,
    outcome: str = "lost",
) -> Bounds:
    """Return the mean share of its image diversity that a text has when its fate is decided.

    Beyond the paper; Law 4.4, for separated images and a round start. Given the path of the text model the refits of a
    text are independent, so the share is a product of rates along a Wright-Fisher chain, and its mean one linear
    system. A text that dies out keeps that share for ever. For a text that wins it is the share at the end of the
    text updates that made it win.

    Parameters
    ----------
    text_samples, image_samples : int
        M >= 1 and N >= 1.
    p0 : float
        Mass of the text at the start, in (0, 1).
    dim : int
        d >= 1.
    text_updates, image_updates : int
        S_T >= 1 and S_I >= 0 per macro step, the text updates first.
    outcome : {"lost", "won"}
        The mean is taken given that the text dies out, or wins.

    Returns
    -------
    Bounds
        (lower, upper); equal, and the exact mean, for d = 1 and d = 2.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    d = check.integer("dim", dim, minimum=1)
    chain = _Chain.create(text_samples, image_samples, p0, text_updates, image_updates, outcome)
    counts = np.arange(2, chain.image_samples + 1)
    along = chain.mean_product(chain.weigh(contraction_constant(counts - 1, 1)))
    if d == 1:
        return Bounds(along, along)
    if d == 2:
        exact = np.pi / 4 * along + _plane_part(chain, counts - 1) / 2
        return Bounds(exact, exact)
    lasting = np.sqrt(np.pi) * special.gamma((d + 1) / 2) / (special.gamma(d / 2) * d)
    step = chain.mean_product(chain.weigh(contraction_constant(counts - 1, d)))
    return Bounds(max(step, float(lasting) * along), along)


def frozen_log_diversity(
    text_samples: int,
    image_samples: int,
    p0: float,
    text_updates: int = 1,
    image_updates: int = 1,
    outcome: str = "lost",
) -> float:
    """Return E ln(sigma / sigma_0) along any fixed direction when the fate of a text is decided.

    Beyond the paper; Law 4.4, for separated images. Its exponential is the geometric mean of what a text keeps.

    Parameters
    ----------
    text_samples, image_samples : int
        M >= 1 and N >= 1.
    p0 : float
        In (0, 1).
    text_updates, image_updates : int
        S_T >= 1 and S_I >= 0.
    outcome : {"lost", "won"}

    Returns
    -------
    float
        At most 0.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    chain = _Chain.create(text_samples, image_samples, p0, text_updates, image_updates, outcome)
    return -chain.mean_sum(chain.count_law() @ _losses(chain.image_samples, 1, "typical"))


def expected_refits(
    text_samples: int,
    image_samples: int,
    p0: float,
    text_updates: int = 1,
    image_updates: int = 1,
    outcome: str = "lost",
) -> float:
    """Return the mean number of refits (updates with n >= 2 images) of a text until its fate is decided.

    Beyond the paper; Law 4.4, for separated images.

    Parameters
    ----------
    text_samples, image_samples : int
        M >= 1 and N >= 1.
    p0 : float
        In (0, 1).
    text_updates, image_updates : int
        S_T >= 1 and S_I >= 0.
    outcome : {"lost", "won"}

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    chain = _Chain.create(text_samples, image_samples, p0, text_updates, image_updates, outcome)
    return chain.mean_sum(chain.count_law()[:, 2:].sum(axis=1))


def frozen_diversity_exponent(theta: float) -> float:
    """Return beta = (sqrt(1 + 2 theta) - 1) / 2: what a losing text keeps falls like M^-beta as M and N grow together.

    Beyond the paper; Law 4.4: ln E[share | dies out] / ln M tends to -beta as M and N grow with
    theta = S_I M / (S_T N) fixed. Near p = 0 the diffusion equation p^2 (1 - p) u'' = (theta / 2) u has the solutions
    p^-beta and p^(1 + beta).

    Parameters
    ----------
    theta : float
        At least 0.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `theta` has the wrong type or range.
    """
    pace = check.number("theta", theta, minimum=0.0)
    return pace / (1 + float(np.sqrt(1 + 2 * pace)))


def winner_diversity_diffusion(theta: float, p0: float) -> float:
    """Return the mean share of its standard deviation that a text has when it wins, in the diffusion limit.

    Beyond the paper; beside Law 4.4, derived and not proved. As M and N grow with theta = S_I M / (S_T N) fixed,
    u = E[share; wins] solves p^2 (1 - p) u'' = (theta / 2) u, u(0) = 0, u(1) = 1: with a = 1 + beta it is
    p^a 2F1(a, a - 1; 2a; p), divided by its value at 1. Returned is u / p, the mean given that the text wins.

    Parameters
    ----------
    theta : float
        At least 0.
    p0 : float
        In (0, 1].

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    beta = frozen_diversity_exponent(theta)
    p = check.number("p0", p0, minimum=0.0, maximum=1.0, open_minimum=True)
    a = 1 + beta
    return float(p**beta * special.hyp2f1(a, beta, 2 * a, p) / special.hyp2f1(a, beta, 2 * a, 1.0))


class _Chain(NamedTuple):
    """A text in the whole system: its Wright-Fisher chain, cut at the states where its fate is decided."""

    image_samples: int
    image_updates: int
    masses: Array  # of the states 1, ..., M - 1
    inner: Array  # a macro step between these states
    end: Array  # from these states into the wanted one
    start: Array  # the first macro step, into these states
    at_once: float  # the first macro step, into the wanted state
    probability: float  # of the wanted outcome
    reach: Array  # the same from the states 1, ..., M - 1: p is a martingale

    @classmethod
    def create(
        cls, text_samples: int, image_samples: int, p0: float, text_updates: int, image_updates: int, outcome: str
    ) -> _Chain:
        m = check.integer("text_samples", text_samples, minimum=1)
        n = check.integer("image_samples", image_samples, minimum=1)
        p = check.number("p0", p0, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)
        s_t = check.integer("text_updates", text_updates, minimum=1)
        s_i = check.integer("image_updates", image_updates, minimum=0)
        lost = check.choice("outcome", outcome, _OUTCOMES) == "lost"
        column = 0 if lost else m
        update = transition_matrix(m)
        macro = np.linalg.matrix_power(update, s_t)
        first = stats.binom.pmf(np.arange(m + 1), m, p) @ np.linalg.matrix_power(update, s_t - 1)
        inside, masses = slice(1, m), np.arange(1, m) / m
        return cls(
            n,
            s_i,
            masses,
            macro[inside, inside],
            macro[inside, column],
            first[inside],
            float(first[column]),
            1 - p if lost else p,
            1 - masses if lost else masses,
        )

    def count_law(self) -> Array:
        """Return the laws of the number of images at the states 1, ..., M - 1, shape (M - 1, N + 1)."""
        counts = np.arange(self.image_samples + 1)
        return np.asarray(stats.binom.pmf(counts, self.image_samples, self.masses[:, None]))

    def weigh(self, factors: Array) -> Array:
        """Return what a macro step multiplies the mean by at each state; `factors` are those of n = 2, ..., N."""
        law = self.count_law()
        one = law[:, :2].sum(axis=1) + law[:, 2:] @ factors
        return np.asarray(one**self.image_updates)

    def mean_product(self, weight: Array) -> float:
        """Return the mean, given the outcome, of the product of the weights of the states visited before it."""
        later = np.linalg.solve(np.eye(weight.size) - self.inner * weight, self.end)
        return float((self.at_once + self.start @ (weight * later)) / self.probability)

    def mean_sum(self, cost: Array) -> float:
        """Return the mean, given the outcome, of the sum of S_I times the costs of the states visited before it."""
        visits_then_ends = np.linalg.solve(np.eye(cost.size) - self.inner, self.image_updates * cost * self.reach)
        return float(self.start @ visits_then_ends / self.probability)


def _plane_part(chain: _Chain, dof: NDArray[np.int64]) -> float:
    """Return int_0^inf E[prod omega(r)] dr / ((1 + r^2) cosh(pi r)), the rest of the mean in the plane.

    As in `image.expected_image_diversity_plane`; the integrand is analytic for |Im r| < 1/2, so the step 1/10 errs
    by about e^{-10 pi}.
    """
    step = 0.1
    r = np.arange(0, 12, step)
    nu = dof[:, None].astype(float)
    with np.errstate(divide="ignore"):  # nu = 1: the covariance is singular after one refit, and omega = 0
        omega = np.exp(
            0.5 * np.log(2 / nu)
            + 2 * special.loggamma((nu + 1j * r) / 2).real
            - special.gammaln(nu / 2)
            - special.gammaln((nu - 1) / 2)
        )
    height = step / ((1 + r**2) * np.cosh(np.pi * r))
    height[0] /= 2
    return float(height @ [chain.mean_product(chain.weigh(column)) for column in omega.T])


def _dim(dim: int, rate: str) -> int:
    """Return the dimension whose constant the rate averages: only the first step depends on d."""
    check.choice("rate", rate, _RATES)
    d = check.integer("dim", dim, minimum=1)
    return d if rate == "first step" else 1


def _losses(largest: int, dim: int, rate: str) -> Array:
    """Return what n = 0, ..., `largest` images take: 1 - c_d(n - 1), or -lambda_1(n - 1), and 0 for n < 2."""
    lost = np.zeros(largest + 1)
    nu = np.arange(1, largest)
    if rate == "typical":
        lost[2:] = 0.5 * (np.log(nu / 2) - special.digamma(nu / 2))
    else:
        lost[2:] = 1 - contraction_constant(nu, dim)
    return lost


def _largest_count(image_samples: int | None, expected_images: float) -> int:
    """Return a number of images above which the probability is below e^-36."""
    if image_samples is not None:
        return int(likely_counts(image_samples, expected_images / image_samples, _LOG_NEGLIGIBLE)[-1])
    x = expected_images

    def exponent(k: float) -> float:  # Chernoff: P(n >= k) <= exp(-exponent(k)) for k >= x
        return float(special.xlogy(k, k / x) - k + x - _LOG_NEGLIGIBLE)

    return 2 if x == 0 else int(optimize.brentq(exponent, x, x + 13 * np.sqrt(x) + 80)) + 2


def _count_law(image_samples: int | None, expected_images: float, largest: int) -> Array:
    counts = np.arange(largest + 1)
    if image_samples is None:
        return np.asarray(stats.poisson.pmf(counts, expected_images))
    return np.asarray(stats.binom.pmf(counts, image_samples, expected_images / image_samples))


def _loss(image_samples: int | None, expected_images: float, dim: int, rate: str) -> float:
    """Return the mean of `_losses`, to a relative error of rounding also for a very rare text."""
    largest = _largest_count(image_samples, expected_images)
    return float(_count_law(image_samples, expected_images, largest) @ _losses(largest, dim, rate))


def _as_rate(loss: float, rate: str) -> float:
    return float(np.exp(-loss)) if rate == "typical" else 1 - loss


def _worst(image_samples: int | None, dim: int, rate: str) -> WorstText:
    n = image_samples
    if n == 2:  # the only refit is from two images, and ever likelier
        return WorstText(2.0, _as_rate(_loss(2, 2.0, dim, rate), rate))

    def slope(x: float) -> float:
        """The derivative of the loss in x: a mean of first differences, over one image fewer."""
        p_scale = None if n is None else n - 1
        mean = x if n is None else x * (n - 1) / n
        largest = _largest_count(p_scale, mean)
        return float(_count_law(p_scale, mean, largest) @ np.diff(_losses(largest + 1, dim, rate)))

    low, high = 2.0, 2.5  # Law 4.1: the worst text expects more than two images
    while slope(high) > 0:
        low, high = high, high + 0.5 if n is None else min(float(n), high + 0.5)
    x = float(optimize.brentq(slope, low, high, xtol=1e-13, rtol=1e-14))
    return WorstText(x, _as_rate(_loss(n, x, dim, rate), rate))
