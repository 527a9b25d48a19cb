"""A network of models that read and write one pool: do they come to agree, and on what?

Wang et al. 2025, section 3.2 and Appendix A. n mixtures share B components; model i has the weights Pi_i. At step t
each model posts L points, then reads k_t = floor(beta |A^(t)|) points of the pool A^(t), drawn without replacement, and
pushes them one by one with step size a_t. Here the components are well separated: a point tells its component, and a
push is

    Pi <- (1 - a) Pi + a (e_x - c 1) / (1 - B c),    e_x the unit vector of the component of the point.

With kept = (1 - a)^k, S1 = 1 - kept and S2 = a (1 - kept^2) / (2 - a), a whole step keeps the share `kept` of Pi and
adds a weighted sum of k labels. Every second moment is a chance that two draws differ, and these chances obey a closed
linear recursion (`second_moments`). All of it is exact for finite sizes as long as no weight becomes 0 or negative;
with shrinkage c = 0, initial weights above 0 and step sizes below 1 none ever does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from coevo import _validation as check
from coevo._validation import Array
from coevo.measures import text_diversity_unchecked

__all__ = [
    "Push",
    "SecondMoments",
    "WeightMoments",
    "accumulated_diversity",
    "mean_difference_factor",
    "pool_diversity_floor",
    "pool_vote",
    "push_sums",
    "scaled_distance_limit",
    "second_moments",
    "weight_moments",
]

Rule: TypeAlias = float | Callable[[int, int], float] | None

#: The largest number of steps: each is computed.
_LONGEST = 10**6


class Push(NamedTuple):
    """What k pushes do: share of the old weights kept, sum and sum of squares of the weights of the k points."""

    kept: float
    first: float
    second: float


class WeightMoments(NamedTuple):
    """Mean (B,) and covariance (B, B) of the weights after one step, given the pool."""

    mean: Array
    cov: Array


@dataclass(frozen=True, eq=False)
class SecondMoments:
    """Exact second moments of the network, one entry per time t = 0, ..., T - 1.

    Attributes
    ----------
    times : (T,) int
    pool_size : (T,) int, |A^(t)|
    retrieved : (T,) int, k_t
    kept : (T,), (1 - a_t)^{k_t}, the share of its weights that a model keeps in step t
    distance : (T,), G_t = E ||D^(t)||_F^2 over ordered pairs of models
    inherited : (T,), the part of G_t that is left of G_0; the rest is reading noise
    pool_diversity : (T,), E Q_t = 1 - E |q_t|^2, the chance that two draws from the pool (with replacement) differ
    model_diversity : (T,), mean over models of 1 - E |Pi_i|^2, the chance that two draws from one model differ
    cross_diversity : (T,), 1 - E <q_t, mean of the Pi_i>, the same for a draw from the pool and one from a model
    mean_diversity : (T,), 1 - E |mean of the Pi_i|^2
    composition, weights : (T, B), E q_t, and E of the mean over models of Pi_i
    """

    times: NDArray[np.int64]
    pool_size: NDArray[np.int64]
    retrieved: NDArray[np.int64]
    kept: Array
    distance: Array
    inherited: Array
    pool_diversity: Array
    model_diversity: Array
    cross_diversity: Array
    mean_diversity: Array
    composition: Array
    weights: Array

    @property
    def gap(self) -> Array:
        """E |mean of the Pi_i - q_t|^2, shape (T,)."""
        return 2 * self.cross_diversity - self.pool_diversity - self.mean_diversity

    @property
    def crossover(self) -> int | None:
        """The first time at which at least half of G_t is reading noise, or None if there is none."""
        noisy = (self.inherited <= self.distance / 2) & (self.distance > 0)
        return int(self.times[noisy.argmax()]) if noisy.any() else None


def push_sums(retrieved: int, step_size: float) -> Push:
    """Return the sums over k pushes with step size a that all moments of Appendix A are made of.

    Wang et al., Appendix A, eq. (9) and the geometric sum after it, whose value is 1 - (1 - a)^k. The point pushed j-th
    has the weight w_j = a (1 - a)^{k - j}; what is left of the old weights is (1 - a)^k. Beyond the paper: sum of
    w_j^2.

    Parameters
    ----------
    retrieved : int
        k >= 0.
    step_size : float
        a in [0, 1].

    Returns
    -------
    Push
        (kept, first, second) = ((1 - a)^k, 1 - (1 - a)^k, a (1 - (1 - a)^{2k}) / (2 - a)).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    return _push(check.integer("retrieved", retrieved, minimum=0), check.probability("step_size", step_size))


def weight_moments(
    weights: ArrayLike, pool_counts: ArrayLike, retrieved: int, step_size: float | None = None, shrinkage: float = 0.0
) -> WeightMoments:
    """Return mean and covariance of the weights of a model after one step, given the pool.

    Wang et al., Appendix A, eq. (9) for the mean; the covariance is beyond the paper:

        mean = kept Pi + S1 (q - c 1) / (1 - B c),
        cov  = (diag(q) - q q^T) [S2 - (S1^2 - S2) / (|A| - 1)] / (1 - B c)^2.

    Parameters
    ----------
    weights : array, shape (B,)
        Pi, a probability vector.
    pool_counts : array of int, shape (B,)
        Points of each component in the pool, at least one in all.
    retrieved : int
        k, between 1 and the size of the pool.
    step_size : float, optional
        a in [0, 1]; 1/k unless given.
    shrinkage : float
        c in [0, 1/B).

    Returns
    -------
    WeightMoments

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    pi = check.probability_vector("weights", weights)
    counts = _counts("pool_counts", pool_counts)
    if counts.size != pi.size:
        raise ValueError(f"pool_counts must have shape ({pi.size},), one for each weight, got {counts.shape}")
    size = int(counts.sum())
    k = check.integer("retrieved", retrieved, minimum=1, maximum=size)
    a = 1 / k if step_size is None else check.probability("step_size", step_size)
    c = check.number("shrinkage", shrinkage, minimum=0.0, maximum=1 / pi.size, open_maximum=True)
    push, q, scale = _push(k, a), counts / size, 1 / (1 - pi.size * c)
    mean = push.kept * pi + push.first * scale * (q - c)
    return WeightMoments(mean, scale**2 * _noise(push, size) * (np.diag(q) - np.outer(q, q)))


def second_moments(
    models: int,
    samples: int,
    retrieval: float,
    steps: int,
    *,
    human_counts: ArrayLike,
    weights: ArrayLike | None = None,
    concentration: float = 1.0,
    step_size: Rule = None,
    shrinkage: Rule = 0.0,
    memory: int | None = None,
    human_samples: int = 0,
    human_weights: ArrayLike | None = None,
) -> SecondMoments:
    """Return the exact second moments of the network at t = 0, ..., `steps`, without any simulation.

    Wang et al., Appendix A, eq. (10), repaired (beyond the paper): with c = 0 and
    V_t = S2 - (S1^2 - S2) / (|A^(t)| - 1)

        G_{t+1} = kept_t^2 G_t + 2 n (n - 1) E Q_t V_t,    G_t = E ||D^(t)||_F^2,

    and E Q_t from the chances that two draws differ. Let y be that chance for two draws from one model, z from two
    models, u from the pool and a model, Q from the pool, g = kept_t, f = 1 - g, P' = |A^(t+1)|. A step turns them into

        z' = g^2 z + 2 g f u + f^2 Q,    y' = g^2 y + 2 g f u + f^2 Q - V_t Q,
        P' u' = |A| (g u + f Q) + L (g [y + (n - 1) z] + n f u),
        P'^2 Q' = |A|^2 Q + 2 |A| n L u + n L (L - 1) y + n (n - 1) L^2 z,

    with further terms of the same kind for fresh human points and for shrinkage, and without |A| if the pool is
    replaced. Exact as long as no weight becomes 0 or negative (with shrinkage above 0 that is a condition).

    Parameters
    ----------
    models, samples : int
        n and L, at least 1.
    retrieval : float
        beta in (0, 1]; a model reads k_t = floor(beta |A^(t)|) points, and keeps its weights if k_t = 0.
    steps : int
        Between 0 and 10^6.
    human_counts : array of int, shape (B,)
        Points of each component in A^(0), at least one in all.
    weights : array, shape (n, B), optional
        Initial weights; else independent draws from the Dirichlet law with all parameters equal to `concentration`.
    concentration : float
        Above 0.
    step_size : float in [0, 1], function (t, k) -> float, or None
        a_t; None is 1/k_t. Asked only where k_t >= 1. With a_t = 1, as at k_t = 1, weights become 0: from then on the
        law is that of models that are told the labels, while Algorithm 2 gives no ownership to a weight of 0.
    shrinkage : float in [0, 1/B), function (t, k) -> float, or None
        c_t; None is 1 / (k_t B^2). Asked only where k_t >= 1.
    memory : None or 1
        None: the pool keeps every point. 1: it is replaced, A^(t+1) holds the posts of step t only.
    human_samples : int
        Fresh human points that join the posts of each step, at least 0.
    human_weights : array, shape (B,), optional
        Their law; the composition of A^(0) unless given.

    Returns
    -------
    SecondMoments
        With T = steps + 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n = check.integer("models", models, minimum=1)
    posts = n * check.integer("samples", samples, minimum=1)
    counts = _counts("human_counts", human_counts)
    b = counts.size
    concentration = check.number("concentration", concentration, minimum=0.0, open_minimum=True)
    fresh = check.integer("human_samples", human_samples, minimum=0)
    law = counts / counts.sum() if human_weights is None else _law("human_weights", human_weights, b)
    plan = _Plan(posts + fresh, retrieval, int(counts.sum()), step_size, memory)
    last = check.integer("steps", steps, minimum=0, maximum=_LONGEST)

    q = counts / counts.sum()
    if weights is None:
        pi, one, two = np.full(b, 1 / b), (1 - 1 / b) * b * concentration / (b * concentration + 1), 1 - 1 / b
    else:
        start = check.probability_vector("weights", weights, batch=True)
        if start.shape != (n, b):
            raise ValueError(f"weights must have shape ({n}, {b}), got {start.shape}")
        pi, one = start.mean(axis=0), float(text_diversity_unchecked(start).mean())
        two = (n * float(text_diversity_unchecked(pi)) - one) / (n - 1) if n > 1 else one
    pool, cross = float(text_diversity_unchecked(q)), 1 - float(q @ pi)
    distance = inherited = max(2 * n * (n - 1) * (two - one), 0.0)
    even, own = 1 - 1 / b, float(text_diversity_unchecked(law))

    size, rows, means = plan.start, [], []
    for t in range(last + 1):
        k, push = plan.step(t, size)
        mean = (one + (n - 1) * two) / n
        rows.append((size, k, push.kept, distance, inherited, pool, one, cross, mean))
        means.append((q, pi))
        c = _ruled("shrinkage", shrinkage, t, k, 1 / (k * b**2), 1 / b, open_top=True) if k else 0.0
        scale, old, noise = 1 / (1 - b * c), size if plan.keeps else 0, _noise(push, size)
        g, f = push.kept, push.first * scale
        off = f * b * c  # a step adds f q - off (uniform); g + f - off = 1
        read_two = g * g * two + 2 * g * f * cross + f * f * pool + off * (off - 2 * g - 2 * f) * even
        read_one = read_two + g * g * (one - two) - scale**2 * noise * pool
        human_pool, human_model = 1 - float(law @ q), 1 - float(law @ pi)
        new = old + posts + fresh
        next_cross = (
            old * (g * cross + f * pool)
            + posts * (g * mean + f * cross)
            + fresh * (g * human_model + f * human_pool)
            - new * off * even
        ) / new
        next_pool = (
            old * old * pool
            + 2 * old * (posts * cross + fresh * human_pool)
            + posts * (posts / n - 1) * one
            + posts * posts * (1 - 1 / n) * two
            + 2 * posts * fresh * human_model
            + fresh * (fresh - 1) * own
        ) / new**2
        distance = g * g * distance + 2 * n * (n - 1) * scale**2 * noise * pool
        inherited *= g * g
        q, pi = (old * q + posts * pi + fresh * law) / new, g * pi + f * q - off / b
        pool, cross, one, two, size = next_pool, next_cross, read_one, read_two, new
    table = np.array(rows).T
    sizes, retrieved, kept, distances, left, pools, ones, crosses, mixed = table
    return SecondMoments(
        times=np.arange(last + 1),
        pool_size=sizes.astype(np.int64),
        retrieved=retrieved.astype(np.int64),
        kept=kept,
        distance=distances,
        inherited=left,
        pool_diversity=pools,
        model_diversity=ones,
        cross_diversity=crosses,
        mean_diversity=mixed,
        composition=np.array([row[0] for row in means]),
        weights=np.array([row[1] for row in means]),
    )


def mean_difference_factor(
    models: int, samples: int, retrieval: float, steps: int, *, human_points: int, step_size: Rule = None
) -> Array:
    """Return prod_{s < t} (1 - a_s)^{k_s} at t = 0, ..., `steps`: what is left of E[Pi_i - Pi_j].

    Wang et al., Appendix A, the display before eq. (10); exact for separated components and shrinkage 0.

    Parameters
    ----------
    models, samples, retrieval, steps, step_size
        As in `second_moments`; the pool keeps every point.
    human_points : int
        |A^(0)| >= 1.

    Returns
    -------
    ndarray, shape (steps + 1,)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    plan = _plan(models, samples, retrieval, human_points, step_size, None)
    last = check.integer("steps", steps, minimum=0, maximum=_LONGEST)
    factors = [1.0]
    for t, size in zip(range(last), plan.sizes(), strict=False):
        factors.append(factors[-1] * plan.step(t, size)[1].kept)
    return np.array(factors)


def pool_vote(
    models: int,
    samples: int,
    retrieval: float,
    steps: int,
    *,
    human_points: int,
    step_size: Rule = None,
    memory: int | None = None,
) -> Array:
    """Return h_t at t = 0, ..., `steps`: the say of the models, against 1 - h_t of the pool, in the final composition.

    Beyond the paper (Wang et al., Appendix A goes as far as the mean difference of two models). With the composition
    q_t of the pool and the mean pibar_t of the weights,

        M_t = (1 - h_t) q_t + h_t pibar_t,    h_t = s_t + (kept_t - s_t) h_{t+1},    s_t = n L / |A^(t+1)|,

    is a martingale for separated components and shrinkage 0, and E[q_inf | past] = M_t. The recursion runs backwards
    from a time so late that its start has no influence above 1e-16.

    Parameters
    ----------
    models, samples, retrieval, steps, step_size, memory
        As in `second_moments`, without fresh human points.
    human_points : int
        |A^(0)| >= 1.

    Returns
    -------
    ndarray, shape (steps + 1,)
        Numbers in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range, or if the models forget so slowly that 10^6 steps are not enough.
    """
    plan = _plan(models, samples, retrieval, human_points, step_size, memory)
    last = check.integer("steps", steps, minimum=0, maximum=_LONGEST)
    pairs: list[tuple[float, float]] = []
    influence, size = 1.0, plan.start
    while influence > 1e-16:
        t = len(pairs)
        if t > last + _LONGEST:
            raise ValueError(
                f"step_size must let models forget within {_LONGEST} steps, got an influence of {influence:.1e} left"
            )
        kept, new = plan.step(t, size)[1].kept, plan.grown(size)
        pairs.append((kept, plan.fresh / new))
        influence *= abs(kept - plan.fresh / new) if t >= last else 1.0
        size = new
    vote, votes = 0.0, []
    for kept, share in reversed(pairs):
        vote = share + (kept - share) * vote
        votes.append(vote)
    return np.array(votes[::-1][: last + 1])


def scaled_distance_limit(models: int, retrieval: float, final_diversity: float) -> float:
    """Return n (n - 1) E Q_inf (1 - 2 beta tanh(1/2)), the limit of k_t E ||D^(t)||_F^2 for a_t = 1/k_t.

    Beyond the paper: the rate in Wang et al., Appendix A, eq. (10), for separated components, shrinkage 0 and a growing
    pool.

    Parameters
    ----------
    models : int
        n >= 1.
    retrieval : float
        beta in (0, 1].
    final_diversity : float
        E Q_inf in [0, 1], for example the last `pool_diversity` of a long `second_moments`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer("models", models, minimum=1)
    beta = check.number("retrieval", retrieval, minimum=0.0, maximum=1.0, open_minimum=True)
    return n * (n - 1) * check.probability("final_diversity", final_diversity) * (1 - 2 * beta * math.tanh(0.5))


def pool_diversity_floor(models: int, samples: int, retrieval: float, *, human_counts: ArrayLike) -> float:
    """Return a proved lower bound of E Q_inf, the mean diversity on which the network settles.

    Beyond the paper (Wang et al., Appendix A speaks of the distances only). For a_t = 1/k_t, separated components,
    shrinkage 0 and any initial weights above 0 (and no k_t = 1, with which weights become 0),

        E Q_inf >= Q_0 prod_t [1 - s_t (v_t + 1/|A^(t+1)|)],    v_0 = 1, v_{t+1} = kept_t v_t + V_t,

    with s_t = n L / |A^(t+1)| and V_t as in `second_moments`. The product is taken over the first T = 10^4 steps, the
    others are bounded: they take at most [s_T v_T + 1/(beta |A^(T)| - 1)] / (1 - 1/e) + 1/|A^(T)| of it.

    Parameters
    ----------
    models, samples, retrieval, human_counts
        As in `second_moments`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range, or if retrieval is so small that beta |A^(T)| <= 1.
    """
    counts = _counts("human_counts", human_counts)
    plan = _plan(models, samples, retrieval, int(counts.sum()), None, None)
    length = 10**4
    log_kept, lag = 0.0, 1.0
    for t, size in zip(range(length), plan.sizes(), strict=False):
        push, new = plan.step(t, size)[1], plan.grown(size)
        log_kept += math.log1p(-plan.fresh / new * (lag + 1 / new))
        lag = push.kept * lag + _noise(push, size)
    size = plan.start + length * plan.fresh
    if plan.beta * size <= 1:
        raise ValueError(f"retrieval must exceed {1 / size:g}, else 10^4 steps read no point, got {plan.beta:g}")
    share = plan.fresh / plan.grown(size)
    rest = (share * lag + 1 / (plan.beta * size - 1)) / (1 - math.exp(-1)) + 1 / size
    return float(text_diversity_unchecked(counts / counts.sum())) * math.exp(log_kept) * max(1 - rest, 0.0)


def accumulated_diversity(text_samples: int, t: ArrayLike | None = None, initial_points: int | None = None) -> Any:
    """Return E[D_t] / D_0 for a text pool that keeps everything: M points, drawn from the pool, join it at each step.

    Beyond the paper: the simplest network of Wang et al., Appendix A, one model that is the pool (Law 6.2). With
    |A^(0)| = P,

        E D_t / D_0 = prod_{j=1}^t [1 - M / (P + j M)^2],

    and for P = M the limit is prod_{k>=2} [1 - 1/(M k^2)] = [sin(pi/sqrt M) / (pi/sqrt M)] / (1 - 1/M).

    Parameters
    ----------
    text_samples : int
        M >= 1.
    t : int or array of int, shape (...), optional
        Steps, at least 0; the limit unless given.
    initial_points : int, optional
        P >= 1; M unless given.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("text_samples", text_samples, minimum=1)
    u = (m if initial_points is None else check.integer("initial_points", initial_points, minimum=1)) / m
    x = 1 / math.sqrt(m)
    # With 1 - M/(P + jM)^2 = (u + j - x)(u + j + x) / (u + j)^2 the product telescopes into Gamma functions.
    whole = -_gamma_bend(1 + u, x)
    if t is None:
        return check.plain(np.exp(whole))
    times = check.integer_array("t", t, minimum=0)
    return check.plain(np.exp(whole + _gamma_bend(times + 1 + u, x)))


def _gamma_bend(z: Any, x: float) -> Any:
    """Return ln Gamma(z + x) + ln Gamma(z - x) - 2 ln Gamma(z) for 0 < x <= 1 < z, without cancellation for large z."""
    series = x**2 * special.polygamma(1, z) + x**4 * special.polygamma(3, z) / 12
    plain = special.gammaln(z + x) + special.gammaln(z - x) - 2 * special.gammaln(z)
    return np.where(z > 1000, series, plain)


class _Plan:
    """How the pool grows, and what a step pushes."""

    def __init__(self, fresh: int, retrieval: float, start: int, step_size: Rule, memory: int | None) -> None:
        self.fresh, self.start, self.rule = fresh, start, step_size
        self.beta = check.number("retrieval", retrieval, minimum=0.0, maximum=1.0, open_minimum=True)
        self.keeps = memory is None
        if memory is not None and check.integer("memory", memory, minimum=1) != 1:
            raise ValueError(f"memory must be None or 1, since longer memories have no short recursion, got {memory}")
        if step_size is not None and not callable(step_size):
            check.probability("step_size", step_size)

    def grown(self, size: int) -> int:
        """Return the size of the next pool."""
        return (size if self.keeps else 0) + self.fresh

    def sizes(self) -> Any:
        """Yield |A^(0)|, |A^(1)|, ..."""
        size = self.start
        while True:
            yield size
            size = self.grown(size)

    def step(self, t: int, size: int) -> tuple[int, Push]:
        """Return k_t and its sums."""
        k = check.floor_share(self.beta, size)
        return (k, _push(k, _ruled("step_size", self.rule, t, k, 1 / k, 1.0))) if k else (0, Push(1.0, 0.0, 0.0))


def _plan(models: int, samples: int, retrieval: float, human_points: int, step_size: Rule, memory: int | None) -> _Plan:
    posts = check.integer("models", models, minimum=1) * check.integer("samples", samples, minimum=1)
    return _Plan(posts, retrieval, check.integer("human_points", human_points, minimum=1), step_size, memory)


def _ruled(name: str, rule: Rule, t: int, k: int, default: float, top: float, *, open_top: bool = False) -> float:
    """Return a number that may be given, a function of t and k, or the default."""
    if rule is None:
        return default
    value = rule(t, k) if callable(rule) else rule
    return check.number(name, value, minimum=0.0, maximum=top, open_maximum=open_top)


def _push(k: int, a: float) -> Push:
    lost = -math.expm1(k * math.log1p(-a)) if a < 1 else float(k > 0)  # to the last digits for a small step size
    kept = 1 - lost
    return Push(kept, lost, a / (2 - a) * (1 - kept * kept))


def _noise(push: Push, size: int) -> float:
    """Return V, the variance of the pushed sum in units of diag(q) - q q^T, without replacement from `size` points."""
    if size == 1:
        return 0.0
    return max(push.second - (push.first**2 - push.second) / (size - 1), 0.0)


def _counts(name: str, value: ArrayLike) -> NDArray[np.int64]:
    counts = check.integer_array(name, value, minimum=0)
    if counts.ndim != 1 or counts.sum() == 0:
        raise ValueError(f"{name} must have shape (B,) and hold at least one point, got {counts}")
    return counts


def _law(name: str, value: ArrayLike, components: int) -> Array:
    law = check.probability_vector(name, value)
    if law.size != components:
        raise ValueError(f"{name} must have shape ({components},), got {law.shape}")
    return law
