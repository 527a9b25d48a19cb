"""Networks of Gaussian mixtures that read from, and post to, one pool of points (Wang et al. 2025, section 3.2).

Algorithms 2 and 3 of the paper, vectorised over independent runs and over the models of a network. Points are pushed
one by one, because the update is sequential: their order matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from coevo import _validation as check
from coevo._validation import Array
from coevo.network.geometry import distance_matrix, distance_norm

__all__ = ["MixtureNetwork", "NetworkPath", "simulate", "update_weights"]

Integers = NDArray[np.int64]

#: Runs in a block. It is part of what a seed means: change it and every number changes.
BLOCK = 512

#: Numbers gathered at once before they are pushed; it bounds the memory and changes no result.
GATHERED = 2**15

#: Where c > 0, a positive weight up to here is the rounding of one that is zero, and would bring a component back.
ROUNDED_ZERO = 1e-15

#: Sums of weights times likelihood ratios below this are taken again from the logarithms.
UNDERFLOW = 1e-200

#: Points and means may be this many standard deviations away from 0; squared distances are then still numbers.
FARTHEST = 1e50

#: A standard deviation, relative to the given covariance, at which a moving covariance stops shrinking.
NARROWEST = 1e-100

#: Squared Cholesky pivot, relative to the variance in its row, at which a covariance counts as singular.
RANK_LOST = 1e-14


@dataclass(frozen=True, eq=False, kw_only=True)
class MixtureNetwork:
    """A network of n Gaussian mixtures g_i = sum_b pi_{i,b} N(mu_b, Sigma) (Wang et al. 2025, eq. 3, Algorithm 3).

    At step t every model posts L points drawn from its g_i^(t), then draws k_t = floor(beta |A^(t)|) points from the
    pool A^(t) without replacement, and pushes them, in random order, through the weight update (Algorithm 2). The new
    posts join the pool at the end of the step. Where k_t = 0 nothing is updated.

    Attributes
    ----------
    mean : array (B,) for d = 1, or (B, d), the means mu_b; kept as (B, d)
    cov : number > 0 (times the identity) or positive definite array (d, d), Sigma, the same for all components; kept
        as (d, d)
    models : int >= 1, n
    samples : int >= 0, L, points that each model posts per step; with 0 the models only read
    retrieval : float in [0, 1], beta
    human_counts : int array (B,) >= 0, points of each component in A^(0), drawn afresh for each run; or None
    human_points : array (P, d), or (P,) for d = 1, exactly the points of A^(0) in every run, each labelled by the
        component of largest density there; or None. Exactly one of the two is given.
    weights : array (n, B), initial weights, the same in all runs; or None: Pi_i^(0) ~ Dir(a, ..., a), independently
        for each run and model
    concentration : float > 0, a; not used with `weights`
    step_size : a_t: None for 1/k_t, a number in (0, 1], or a function (t, k_t) -> number in (0, 1]
    shrinkage : c_t: None for 1/(k_t B^2) (0 for B = 1, where it cancels), a number in [0, 1/B), or a function
        (t, k_t) -> number in [0, 1/B)
    threshold : float in [0, 1], epsilon; with `corrected` at most 1/B
    corrected : bool; what becomes of weights <= 0, see `update_weights`
    memory : int >= 1, m: the pool keeps only the posts (and fresh human points) of the last m steps, and A^(0) for
        t < m; 1 replaces the pool at every step. None (the paper): it keeps everything
    human_samples : int >= 0, fresh human points that join the pool at each step
    human_weights : array (B,), law of their components; None for the composition of A^(0)
    moving : "none", "means" or "means and covariances". Beyond the paper: each model has its own components, which
        start at the given ones and move by the recursion of Zivkovic & van der Heijden (2004): for a point u, with
        delta = u - mu_b and the step f = min(1, a_t o_b / pi_b) taken before the weights change (0 if pi_b = 0),
        mu_b += f delta and Sigma_b += f (delta delta' - Sigma_b). A covariance that this would leave singular (a
        squared Cholesky pivot below 1e-14 of the variance in its row, or a standard deviation below 1e-100 of the
        given ones) keeps its value at that point; nothing is ever added to a covariance. New posts come from the
        moved components, human points always from the given ones.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """

    mean: Any
    cov: Any
    models: int
    samples: int
    retrieval: float
    human_counts: Any = None
    human_points: Any = None
    weights: Any = None
    concentration: float = 1.0
    step_size: Any = None
    shrinkage: Any = None
    threshold: float = 0.0
    corrected: bool = True
    memory: int | None = None
    human_samples: int = 0
    human_weights: Any = None
    moving: str = "none"

    def __post_init__(self) -> None:
        def keep(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        mean = check.real_array("mean", self.mean)
        if mean.ndim not in (1, 2) or mean.size == 0:
            raise ValueError(f"mean must have shape (B,) or (B, d), got {mean.shape}")
        mean = mean.reshape(len(mean), -1)
        components, dim = mean.shape
        keep("mean", mean)
        if isinstance(self.cov, Real):
            keep("cov", check.number("cov", self.cov, minimum=0.0, open_minimum=True) * np.eye(dim))
        else:
            keep("cov", check.single_covariance("cov", self.cov, dim=dim, definite=True))
        self._white(mean)
        for name, minimum in (("models", 1), ("samples", 0), ("human_samples", 0)):
            keep(name, check.integer(name, getattr(self, name), minimum=minimum))
        keep("retrieval", check.probability("retrieval", self.retrieval))
        keep("corrected", check.instance("corrected", self.corrected, bool))
        keep("threshold", _checked_threshold(self.threshold, components, self.corrected))
        keep("moving", check.choice("moving", self.moving, ("none", "means", "means and covariances")))
        keep("concentration", check.number("concentration", self.concentration, minimum=0.0, open_minimum=True))
        if self.memory is not None:
            keep("memory", check.integer("memory", self.memory, minimum=1))
        if self.weights is not None:
            weights = check.probability_vector("weights", self.weights, batch=True)
            keep("weights", check.real_array("weights", weights, (self.models, components)))
        for name, read in (("step_size", _checked_step_size), ("shrinkage", _checked_shrinkage)):
            value = getattr(self, name)
            if value is not None and not callable(value):
                keep(name, read(value, components))
        self._check_human_points()

    def _check_human_points(self) -> None:
        """Check what is known of the human points."""
        if (self.human_counts is None) == (self.human_points is None):
            got = "neither" if self.human_points is None else "both"
            raise ValueError(f"human_counts or human_points must be given, exactly one of the two, got {got}")
        if self.human_counts is not None:
            counts = check.integer_array("human_counts", self.human_counts, minimum=0)
            if counts.shape != (self.components,):
                raise ValueError(f"human_counts must have shape ({self.components},), got {counts.shape}")
            object.__setattr__(self, "human_counts", counts)
        else:
            points = check.real_array("human_points", self.human_points)
            points = points[:, None] if points.ndim == 1 and self.dim == 1 else points
            points = check.real_array("human_points", points, (None, self.dim))
            self._white(points, "human_points")
            object.__setattr__(self, "human_points", points)
        if self.human_weights is not None:
            law = check.probability_vector("human_weights", self.human_weights)
            object.__setattr__(self, "human_weights", check.real_array("human_weights", law, (self.components,)))
        elif self.human_samples > 0 and self.human_labels.size == 0:
            raise ValueError("human_weights must be given for fresh human points where A^(0) is empty, got None")

    @property
    def components(self) -> int:
        """Number of components, B."""
        return int(self.mean.shape[0])

    @property
    def dim(self) -> int:
        """Dimension of the points, d."""
        return int(self.mean.shape[1])

    @property
    def human_labels(self) -> Integers:
        """Component of each human point of A^(0), int array (|A^(0)|,)."""
        if self.human_counts is not None:
            return np.repeat(np.arange(self.components), self.human_counts)
        labels: Integers = self.log_likelihood(self.human_points).argmax(axis=-1)
        return labels

    def retrieved(self, pool_size: int) -> int:
        """Return k = floor(beta |A|) for a pool of |A| points; a product that rounds to an integer is that integer."""
        return check.floor_share(self.retrieval, check.integer("pool_size", pool_size, minimum=0))

    def pool_size(self, t: int) -> int:
        """Return the number of points in A^(t), which is the same in every run."""
        t = check.integer("t", t, minimum=0)
        joined = self.models * self.samples + self.human_samples
        if self.memory is None:
            return self.human_labels.size + joined * t
        return (self.human_labels.size if t < self.memory else 0) + joined * min(t, self.memory)

    def log_likelihood(self, points: Any) -> Array:
        """Return log N(u; mu_b, Sigma) of points (..., d), less its largest value over b, array (..., B).

        The quadratic term cancels, so this stays exact for a point far from all means.
        """
        points = check.real_array("points", points)
        if points.ndim == 0 or points.shape[-1] != self.dim:
            raise ValueError(f"points must have shape (..., {self.dim}), got {points.shape}")
        white = self._white(points, "points")
        log_ratio: Array = np.moveaxis(_log_ratio(np.moveaxis(white, -1, 0), self._white(self.mean)), 0, -1)
        return log_ratio

    def _white(self, points: Array, name: str = "mean") -> Array:
        """Return points (..., d) in the coordinates in which Sigma is the identity."""
        rows = np.linalg.solve(np.linalg.cholesky(self.cov), points.reshape(-1, self.dim).T).T
        farthest = np.abs(rows).max(initial=0.0)
        if not farthest <= FARTHEST:
            raise ValueError(f"{name} must lie within {FARTHEST:g} standard deviations of 0, got {farthest:g}")
        return np.asarray(rows, dtype=np.float64).reshape(points.shape)


@dataclass(frozen=True, eq=False)
class NetworkPath:
    """Paths of R independent runs of a network at T recorded steps.

    Attributes
    ----------
    times : int array (T,), steps
    weights : array (R, T, n, B), the weights pi_{i,b}
    composition : array (R, T, B), share of the points of the pool A^(t) that came from each component; nan if empty
    pool_size : int array (T,), |A^(t)|
    synthetic : array (T,), share of the pool that models posted; nan if the pool is empty
    mean : array (R, T, n, B, d), means of each model's components; None unless they move
    cov : array (R, T, n, B, d, d), their covariances; None unless they move
    """

    times: Integers
    weights: Array
    composition: Array
    pool_size: Integers
    synthetic: Array
    mean: Array | None = None
    cov: Array | None = None

    @property
    def distances(self) -> Array:
        """Distances D_ij = ||Pi_i - Pi_j|| between the weights (Wang et al. 2025, eq. 4), array (R, T, n, n)."""
        return distance_matrix(self.weights)

    @property
    def distance_norm(self) -> Array:
        """Frobenius norm ||D||_F, over ordered pairs, array (R, T)."""
        return distance_norm(self.weights)


def update_weights(
    weights: Any,
    log_likelihood: Any,
    *,
    step_size: float | None = None,
    shrinkage: float | None = None,
    threshold: float = 0.0,
    corrected: bool = True,
) -> Array:
    """Push k points, in the given order, through the weight update (Wang et al. 2025, Algorithm 2).

    For each point, with ownerships o_b proportional to pi_b times the likelihood of component b,

        pi_b <- (1 - a) pi_b + a (o_b - c) / (1 - B c)   for all b,

    and then the weights pi_b <= 0 are mended.

    Corrected rule: every such weight becomes epsilon, at once, and the positive ones are multiplied by one common
    number such that all sum to one: with m weights <= 0 the positive ones share 1 - m epsilon in the proportions they
    had. Since at least one weight is positive, epsilon <= 1/B suffices, and more is refused.

    Printed rule: for b = 1, ..., B in turn, if pi_b <= 0 the others are divided by 1 + epsilon - pi_b and
    pi_b becomes epsilon. Weights that summed to one then sum to
    1 + epsilon (epsilon - pi_b) / (1 + epsilon - pi_b), which is more than one unless epsilon = 0. With epsilon = 0
    the two rules agree, however many weights are mended: each division keeps the sum and the proportions.

    Where c > 0, a positive weight up to 1e-15 counts as <= 0: only rounding leaves it, and as a positive weight it
    would own its next point in full and come back.

    Ownerships are taken from logarithms wherever their denominator underflows, so a weight of exactly zero stays
    unowned and the others own every point, however far it lies.

    Parameters
    ----------
    weights : array (..., B), weights; they must sum to one unless the rule is the printed one
    log_likelihood : array (..., k, B), log-densities of the points under the components, up to a constant for each
        point, as `MixtureNetwork.log_likelihood` returns. The leading axes are broadcast against those of `weights`
    step_size : float in (0, 1], a; None for 1/k
    shrinkage : float in [0, 1/B), c; None for 1/(k B^2) (0 for B = 1, where it cancels)
    threshold : float in [0, 1], epsilon; with `corrected` at most 1/B
    corrected : bool, False for the printed rule

    Returns
    -------
    array (..., B), the new weights; those given if k = 0

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    corrected = check.instance("corrected", corrected, bool)
    if corrected:
        pi = check.probability_vector("weights", weights, batch=True)
    else:
        pi = check.real_array("weights", weights)
        if pi.ndim == 0 or pi.size == 0 or pi.min() < 0 or pi.sum(axis=-1).min() <= 0:
            raise ValueError(f"weights must be >= 0, and one in each row of the last axis positive, got {weights!r}")
    components = pi.shape[-1]
    log_ratio = check.real_array("log_likelihood", log_likelihood)
    if log_ratio.ndim < 2 or log_ratio.shape[-1] != components:
        raise ValueError(f"log_likelihood must have shape (..., k, {components}), got {log_ratio.shape}")
    try:
        lead = np.broadcast_shapes(pi.shape[:-1], log_ratio.shape[:-2])
    except ValueError as error:
        raise ValueError(
            f"log_likelihood must have leading axes that fit {pi.shape[:-1]}, got {log_ratio.shape[:-2]}"
        ) from error
    points = log_ratio.shape[-2]
    step = None if step_size is None else _checked_step_size(step_size, components)
    shrink = None if shrinkage is None else _checked_shrinkage(shrinkage, components)
    rule = _Rule(step, shrink, _checked_threshold(threshold, components, corrected), corrected, components)
    pi = np.broadcast_to(pi, (*lead, components))
    if points == 0 or pi.size == 0:
        return pi.copy()
    rule = rule.at(0, points)
    log_ratio = np.broadcast_to(log_ratio, (*lead, points, components)).reshape(-1, points, components)
    log_ratio = log_ratio.transpose(1, 2, 0).copy()
    log_ratio -= log_ratio.max(axis=1, keepdims=True)
    w = pi.reshape(-1, components).T.copy()
    _push(w, np.exp(log_ratio), rule, lambda s, columns: log_ratio[s][:, columns])
    return w.T.copy().reshape(pi.shape)


def simulate(
    network: MixtureNetwork, steps: int, runs: int = 1, *, rng: Any, every: int = 1, progress: bool | None = None
) -> NetworkPath:
    """Run a network of mixtures (Wang et al. 2025, Algorithm 3), in independent runs.

    Runs are cut into blocks of fixed size, each with its own child of the seed, so the numbers depend on the seed and
    on `runs` alone. Time grows with the number of points pushed, sum_t k_t, and hardly with the runs of a block;
    memory with runs times points in the pool times components.

    Parameters
    ----------
    network : MixtureNetwork
    steps : int >= 0, steps
    runs : int >= 1, independent runs R
    rng : seed (int >= 0), SeedSequence or numpy Generator
    every : int >= 1, record every so many steps (step 0 is always recorded)
    progress : bool or None, progress bar; None shows one in a terminal only

    Returns
    -------
    NetworkPath

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    check.instance("network", network, MixtureNetwork)
    steps = check.integer("steps", steps, minimum=0)
    runs = check.integer("runs", runs, minimum=1)
    every = check.integer("every", every, minimum=1)
    times = np.arange(0, steps + 1, every)
    starts = range(0, runs, BLOCK)
    seeds = check.seed_sequence(rng).spawn(len(starts))
    silent = None if progress is None else not progress  # tqdm's None: only in a terminal
    parts = []
    with tqdm(total=int(times[-1]) * len(starts), disable=silent, unit="step") as bar:
        for start, seed in zip(starts, seeds, strict=True):
            block = _Block(network, min(BLOCK, runs - start), int(times[-1]), np.random.default_rng(seed))
            parts.append(block.record(times, bar))
    size = np.array([network.pool_size(t) for t in times.tolist()])
    joined = network.models * network.samples
    kept = times if network.memory is None else np.minimum(times, network.memory)
    with np.errstate(invalid="ignore"):  # an empty pool has no share
        synthetic = joined * kept / size
    fields = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return NetworkPath(times=times, pool_size=size, synthetic=synthetic, **fields)


def _checked_threshold(value: Any, components: int, corrected: bool) -> float:
    threshold = check.probability("threshold", value)
    if corrected and threshold * components > 1:
        most = f"1/B = {1 / components:g}"
        raise ValueError(f"threshold must be at most {most} with the corrected rule, got {threshold:g}")
    return threshold


def _checked_step_size(value: Any, components: int) -> float:
    return check.number("step_size", value, minimum=0.0, maximum=1.0, open_minimum=True)


def _checked_shrinkage(value: Any, components: int) -> float:
    return check.number("shrinkage", value, minimum=0.0, maximum=1 / components, open_maximum=True)


@dataclass(frozen=True)
class _Rule:
    """The numbers of Algorithm 2: a, c, epsilon, which rule, and B."""

    step_size: Any
    shrinkage: Any
    threshold: float
    corrected: bool
    components: int

    def at(self, t: int, k: int) -> _Rule:
        """Return the rule of step t, at which k >= 1 points are pushed."""
        a, c, components = self.step_size, self.shrinkage, self.components
        if a is None:
            a = 1 / k
        elif callable(a):
            a = _checked_step_size(a(t, k), components)
        if c is None:
            c = 1 / (k * components**2) if components > 1 else 0.0
        elif callable(c):
            c = _checked_shrinkage(c(t, k), components)
        return _Rule(a, c, self.threshold, self.corrected, components)

    @property
    def gain(self) -> float:
        """Factor of an ownership in the update, a / (1 - B c)."""
        return float(self.step_size / (1 - self.components * self.shrinkage))

    @property
    def mends(self) -> bool:
        """Whether a weight <= 0 can appear that does not stay what it is."""
        return bool(self.shrinkage > 0 or self.threshold > 0)

    @property
    def zero(self) -> float:
        """Largest number that counts as a weight <= 0."""
        return ROUNDED_ZERO if self.shrinkage > 0 else 0.0


def _log_ratio(z: Array, mean: Array) -> Array:
    """Log-densities (B, ...) of white points z (d, ...) under N(mean_b, I), less those of the nearest component.

    With the nearest mean m_0 as the origin it is (m_b - m_0)'(z - m_0) - |m_b - m_0|^2 / 2: no squares of z cancel.
    """
    squared = np.stack([((z - m.reshape(-1, *[1] * (z.ndim - 1))) ** 2).sum(axis=0) for m in mean])
    origin = mean.T[:, squared.argmin(axis=0)]
    offset = z - origin
    log_ratio = np.empty_like(squared)
    for b, m in enumerate(mean):
        gap = m.reshape(-1, *[1] * (z.ndim - 1)) - origin
        log_ratio[b] = (gap * (offset - gap / 2)).sum(axis=0)
    return log_ratio


def _ownership(w: Array, log_density: Array) -> Array:
    """Ownerships (B, m) of one point per column from weights (B, m) and log-densities (B, m)."""
    with np.errstate(divide="ignore"):  # a weight of zero owns nothing
        log_joint = np.log(w) + log_density
    log_joint -= log_joint.max(axis=0)
    own: Array = np.exp(log_joint, out=log_joint)
    own /= own.sum(axis=0)
    return own


def _push(w: Array, ratio: Array, rule: _Rule, log_ratio: Callable[[int, Integers], Array]) -> None:
    """Push points with likelihood ratios (k, B, m) through weights w (B, m), one point per column and push, in place.

    `log_ratio` (push, columns) -> (B, columns) is asked only where a sum underflows. `ratio` is used up.
    """
    keep, gain, lost = 1 - rule.step_size, rule.gain, rule.gain * rule.shrinkage
    may_underflow = ratio.min(initial=1.0) < UNDERFLOW
    mends, zero = rule.mends, rule.zero
    total = np.empty(w.shape[1])
    for s, own in enumerate(ratio):
        own *= w
        np.add.reduce(own, axis=0, out=total)
        if may_underflow and np.minimum.reduce(total) < UNDERFLOW:
            columns = np.flatnonzero(total < UNDERFLOW)
            own[:, columns] = _ownership(w[:, columns], log_ratio(s, columns))
            total[columns] = 1.0
        np.divide(gain, total, out=total)
        own *= total
        w *= keep
        w += own
        if mends:
            w -= lost
            if np.minimum.reduce(w, axis=None) <= zero:
                _mend(w, rule)


def _mend(w: Array, rule: _Rule) -> None:
    """Deal with the weights <= 0 of w (B, m), in place."""
    if rule.corrected and rule.threshold == 0:  # the same, at a third of the time
        np.copyto(w, 0.0, where=w <= rule.zero)
        w /= np.add.reduce(w, axis=0)
        return
    columns = np.logical_or.reduce(w <= rule.zero, axis=0).nonzero()[0]
    part = w[:, columns]
    if rule.corrected:
        dead = part <= rule.zero
        part[dead] = 0.0
        part *= (1 - rule.threshold * np.add.reduce(dead, axis=0)) / np.add.reduce(part, axis=0)
        part[dead] = rule.threshold
    else:
        for row in part:  # literally Algorithm 2, lines 7-14: one component after the other
            dead = row <= rule.zero
            part /= np.where(dead, 1 + rule.threshold - row, 1.0)
            row[dead] = rule.threshold
    w[:, columns] = part


class _Block:
    """Some runs of a network, side by side; column r n + i of every array is model i of run r.

    All points are white: in the coordinates in which the given covariance is the identity.
    """

    def __init__(self, network: MixtureNetwork, runs: int, steps: int, rng: np.random.Generator) -> None:
        self.network, self.runs, self.rng = network, runs, rng
        n, components, dim = network.models, network.components, network.dim
        self.columns = runs * n
        self.run = np.repeat(np.arange(runs), n)
        self.given_mean = network._white(network.mean)
        labels = network.human_labels
        self.human_law = network.human_weights
        if self.human_law is None and labels.size > 0:
            self.human_law = np.bincount(labels, minlength=components) / labels.size
        if network.weights is None:
            drawn = rng.dirichlet(np.full(components, network.concentration), self.columns)
        else:
            drawn = np.tile(network.weights, (runs, 1))
        self.w = drawn.T.copy()
        self.rule = _Rule(
            network.step_size, network.shrinkage, network.threshold, network.corrected, network.components
        )
        if network.moving != "none":
            self.mean = np.repeat(self.given_mean[..., None], self.columns, axis=-1)
            identity = np.broadcast_to(np.eye(dim)[..., None], (components, dim, dim, self.columns))
            self.root = identity.copy() if network.moving == "means and covariances" else identity
        # A ring: point number g of a run stands in row g mod `capacity`; numbers below `first` have been dropped.
        self.capacity = max(network.pool_size(t) for t in range(steps + 1))
        self.points = np.empty((dim, self.capacity, runs))
        if network.moving == "none":
            self.ratio = np.empty((components, self.capacity, runs))
        small = self.capacity <= np.iinfo(np.int16).max  # half the bytes: twice as much of it stays in the cache
        self.order = np.empty((self.capacity, self.columns), np.int16 if small else np.int32)
        self.size = self.ordered = self.first = self.joined = 0
        self.counts = np.zeros((runs, components), np.int64)
        self.history: list[Integers] = []
        if network.human_points is None:
            points = self._given_points(np.repeat(labels[:, None], runs, axis=1))
        else:
            points = np.repeat(network._white(network.human_points).T[..., None], runs, axis=-1)
        self._join(points, np.repeat(labels[:, None], runs, axis=1))

    def record(self, times: Integers, bar: Any) -> dict[str, Array]:
        """Run to the last of `times` and return what `NetworkPath` holds of each run."""
        network, shape = self.network, (self.runs, times.size, self.network.models, self.network.components)
        kept = {"weights": np.empty(shape), "composition": np.empty((*shape[:2], shape[3]))}
        root = np.linalg.cholesky(network.cov)
        if network.moving != "none":
            kept["mean"] = np.empty((*shape, network.dim))
            kept["cov"] = np.empty((*shape, network.dim, network.dim))
        row = {t: i for i, t in enumerate(times.tolist())}
        for t in range(int(times[-1]) + 1):
            if t > 0:
                self._step(t - 1)
                bar.update()
            if t not in row:
                continue
            i = row[t]
            kept["weights"][:, i] = self._by_run(self.w)
            with np.errstate(invalid="ignore"):  # an empty pool has no composition
                kept["composition"][:, i] = self.counts / np.float64(self.size)
            if network.moving != "none":
                kept["mean"][:, i] = np.einsum("jk,rnbk->rnbj", root, self._by_run(self.mean))
                factor = np.einsum("jk,rnbkl->rnbjl", root, self._by_run(self.root))
                kept["cov"][:, i] = factor @ np.swapaxes(factor, -1, -2)
        return kept

    def _by_run(self, array: Array) -> Array:
        """Turn (B, ..., columns) into (R, n, B, ...)."""
        return np.moveaxis(array, -1, 0).reshape(self.runs, self.network.models, *array.shape[:-1])

    def _step(self, t: int) -> None:
        """Make step t of Algorithm 3."""
        network = self.network
        posts, labels = self._posts()
        if network.human_samples > 0:
            fresh = _categorical(self.human_law[:, None], self.rng.random((network.human_samples, self.runs)))
            posts = np.concatenate([posts, self._given_points(fresh)], axis=1)
            labels = np.concatenate([labels, fresh])
        k = network.retrieved(self.size)
        if k > 0:
            self._update(self.rule.at(t, k), k)
        if network.memory is not None:
            drop = t - network.memory  # A^(0) counts as the posts of step -1, and has number 0 in the history
            if drop >= -1:
                gone = self.history[drop + 1]
                self.counts -= gone
                self.first += int(gone[0].sum())
        self._join(posts, labels)

    def _posts(self) -> tuple[Array, Integers]:
        """Draw the L posts of every model: points (d, L n, R) and the components (L n, R) they came from."""
        network, rng = self.network, self.rng
        shape = (network.samples, self.columns)
        labels = _categorical(self.w, rng.random(shape))
        z = rng.standard_normal((network.dim, *shape))
        if network.moving == "none":
            points = self.given_mean.T[:, labels] + z
        else:
            column = np.arange(self.columns)
            root, mean = self.root[labels, ..., column], self.mean[labels, :, column]
            points = np.moveaxis(mean, -1, 0) + np.einsum("lcjk,klc->jlc", root, z)

        def by_run(array: NDArray[Any]) -> NDArray[Any]:
            cut = array.reshape(*array.shape[:-1], self.runs, network.models)
            return np.moveaxis(cut, -1, -2).reshape(*array.shape[:-2], -1, self.runs)

        return by_run(points), by_run(labels)

    def _given_points(self, labels: Integers) -> Array:
        """Draw one point (d, ...) of the given component for each of `labels` (...)."""
        points: Array = self.given_mean.T[:, labels] + self.rng.standard_normal((self.network.dim, *labels.shape))
        return points

    def _join(self, points: Array, labels: Integers) -> None:
        """Let points (d, q, R) from components (q, R) join the pool."""
        rows = (self.joined + np.arange(len(labels))) % max(1, self.capacity)
        self.points[:, rows] = points
        if self.network.moving == "none":
            self.ratio[:, rows] = np.exp(_log_ratio(points, self.given_mean))
        new = np.stack([(labels == b).sum(axis=0) for b in range(self.network.components)], axis=1)
        self.counts += new
        if self.network.memory is not None:
            self.history.append(new)
        self.joined += len(labels)
        self.size = self.joined - self.first

    def _update(self, rule: _Rule, k: int) -> None:
        """Let every model draw k points without replacement and push them in the order drawn."""
        network = self.network
        moves = network.moving != "none"
        width = network.dim if moves else network.components
        at_once = max(1, GATHERED // (self.columns * width))
        for start in range(0, k, at_once):
            rows = self._draw(start, min(k, start + at_once))
            gathered = np.empty((len(rows), width, self.columns))
            source = self.points if moves else self.ratio
            place = rows * self.runs + self.run
            for j in range(width):
                gathered[:, j] = source[j].reshape(-1).take(place)
            if moves:
                self._push_moving(gathered, rule)
            else:

                def log_ratio(s: int, columns: Integers, rows: Integers = rows) -> Array:
                    return _log_ratio(self.points[:, rows[s, columns], self.run[columns]], self.given_mean)

                _push(self.w, gathered, rule, log_ratio)

    def _draw(self, start: int, stop: int) -> Integers:
        """Draw the points number `start`, ..., `stop` - 1 of every model: rows of the pool, int array (draws, columns).

        Fisher-Yates shuffles, one swap of all columns at a time. A shuffle may begin from any order of the pool, so
        it begins from where the last one ended.
        """
        if start == 0:
            if self.ordered > self.size:
                self.ordered = 0
            self.order[self.ordered : self.size] = np.arange(self.ordered, self.size)[:, None]
            self.ordered = self.size
        place = np.arange(start, stop)[:, None]
        uniform = self.rng.random((stop - start, self.columns))
        uniform *= self.size - place
        swap = uniform.astype(np.int64)
        swap += place
        swap *= self.columns
        swap += np.arange(self.columns)
        flat = self.order.reshape(-1)
        for s, other in zip(range(start, stop), swap, strict=True):
            picked = flat.take(other)
            flat[other] = self.order[s]
            self.order[s] = picked
        rows = self.order[start:stop].astype(np.int64)
        rows += self.first
        rows %= self.capacity
        return rows

    def _push_moving(self, points: Array, rule: _Rule) -> None:
        """Push points (k, d, columns) through weights and components, in place."""
        covariances = self.network.moving == "means and covariances"
        keep, gain, lost = 1 - rule.step_size, rule.gain, rule.gain * rule.shrinkage
        w = self.w
        for u in points:
            delta = u - self.mean
            density = -0.5 * (delta**2).sum(axis=1)
            if covariances:
                density = _log_density(delta, self.root)
            own = _ownership(w, density)
            step = np.zeros_like(w)
            np.divide(np.minimum(rule.step_size * own, w), w, out=step, where=w > 0)
            if covariances:
                self.root = _moved_root(self.root, delta, step)
            delta *= step[:, None]
            self.mean += delta
            own *= gain
            w *= keep
            w += own
            w -= lost
            if np.minimum.reduce(w, axis=None) <= rule.zero:
                _mend(w, rule)


def _categorical(weights: Array, uniform: Array) -> Integers:
    """Turn uniform numbers (..., m) into labels drawn in proportion to weights (B, m) or (B, 1)."""
    edge = np.cumsum(weights, axis=0)
    scaled = uniform * edge[-1]
    labels = np.zeros(uniform.shape, np.int64)
    for b in range(len(edge) - 1):
        labels += scaled >= edge[b]
    return labels


def _log_density(delta: Array, root: Array) -> Array:
    """Log-densities (B, m), up to a constant, at offsets (B, d, m) from the means, given Cholesky factors."""
    dim = delta.shape[1]
    solved = np.empty_like(delta)
    density = np.zeros_like(delta[:, 0])
    for j in range(dim):
        solved[:, j] = (delta[:, j] - (root[:, j, :j] * solved[:, :j]).sum(axis=1)) / root[:, j, j]
        density -= 0.5 * solved[:, j] ** 2 + np.log(root[:, j, j])
    return density


def _moved_root(root: Array, delta: Array, step: Array) -> Array:
    """Cholesky factors (B, d, d, m) of (1 - f) Sigma + f delta delta', by Givens rotations.

    Where that is singular the factor stays what it was.
    """
    new = np.sqrt(1 - step)[:, None, None] * root
    extra = np.sqrt(step)[:, None] * delta
    regular = np.ones(step.shape, bool)
    for j in range(delta.shape[1]):
        pivot = np.hypot(new[:, j, j], extra[:, j])
        regular &= pivot > NARROWEST
        safe = np.where(pivot > 0, pivot, 1.0)
        cosine, sine = new[:, j, j] / safe, extra[:, j] / safe
        new[:, j, j] = pivot
        for i in range(j + 1, delta.shape[1]):
            below, over = new[:, i, j].copy(), extra[:, i].copy()
            new[:, i, j] = cosine * below + sine * over
            extra[:, i] = cosine * over - sine * below
    for j in range(delta.shape[1]):
        regular &= new[:, j, j] ** 2 > RANK_LOST * (new[:, j, : j + 1] ** 2).sum(axis=1)
    moved: Array = np.where(regular[:, None, None], new, root)
    return moved
