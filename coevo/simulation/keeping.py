"""Algorithm 1 with a memory: both models are fitted to a pool that keeps a fraction of its past.

Gao & Li (2025) replace the data at each update: the models see the new images only. Here every update first multiplies
the weights of all data in the pool by a fraction kappa in [0, 1] (`keep`), then adds the new data with weight 1 each,
and fits to the weighted pool. kappa = 0 is Algorithm 1; kappa = 1 accumulates all data, as Gerstgrasser et al. (2024),
Kazdan et al. (2024) and Dey & Donoho (2024) do. Rules:

* Texts. The pool holds posteriors, of total weight W; p is their weighted mean. M new images with mean posterior
  phat give W' = kappa W + M and p' = (kappa W p + M phat) / W'. It starts with the weight W_0 of human data whose
  mean is p_0; W_0 = 0 keeps none of it.
* Images. The pool of each text holds images with weights w_j; the image model is their weighted mean and the
  covariance S / (w - w2 / w), with the scatter S = sum w_j (x_j - mean)(x_j - mean)^T, w = sum w_j and w2 = sum w_j^2.
  The divisor makes it unbiased for independent draws of one law; it is n - 1 at kappa = 0 and w - 1 at kappa = 1. The
  pool starts with w_0 human images of weight 1, whose mean and unbiased covariance are mu_0 and Sigma_0.
* A text that receives fewer than two images is not refitted, and its pool stays as it is, neither discounted nor
  extended: at kappa = 0 that is the rule of Algorithm 1.

Only (w, w2) are stored beside the model: mean, covariance and divisor tell the rest. A refit needs no images. With
L L^T = Sigma, c = w - w2 / w, a standard normal z and an independent Bartlett factor A of a Wishart matrix with
n - 1 degrees of freedom, the new mean is mu + (sqrt(n) / w') L z and the new covariance

    L [kappa c I + A A^T + (kappa w / w') z z^T] L^T / c'.

The cost does not depend on n, nor on how much has been kept, and nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from coevo import _validation as check
from coevo._validation import Array
from coevo.factors import Refit, _bartlett, _conjugate, _triangularise, multiply
from coevo.measures import text_diversity_unchecked
from coevo.simulation.runs import STATISTICS, Path
from coevo.simulation.state import ImageModel, State
from coevo.simulation.system import System
from coevo.simulation.updates import Counts, _multinomial, text_update

__all__ = ["Pools", "pooled_image_update", "pooled_text_update", "simulate_keeping"]

Keep: TypeAlias = float | Callable[[int], float]


@dataclass(frozen=True, eq=False)
class Pools:
    """Models of R runs with the pools they are fitted to. Make one with `Pools.create`.

    Attributes
    ----------
    state : State
    text_weight : float, W, weight of the pool of posteriors
    image_weight : array (R, K), w, weight of the images of each text
    image_square : array (R, K), w2, sum of their squared weights
    """

    state: State
    text_weight: float
    image_weight: Array
    image_square: Array

    @classmethod
    def create(cls, state: State, text_weight: float, image_weight: ArrayLike) -> Pools:
        """Start the pools with human data.

        Parameters
        ----------
        state : State
        text_weight : float >= 0, W_0
        image_weight : float or array (K,), w_0 images per text; each is 0 or at least 1

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what it may be, and what it was.
        """
        check.instance("state", state, State)
        text_weight = check.number("text_weight", text_weight, minimum=0.0)
        weight = check.real_array("image_weight", image_weight)
        if weight.shape not in {(), (state.n_texts,)}:
            raise ValueError(f"image_weight must be a number or have shape ({state.n_texts},), got {weight.shape}")
        wrong = weight[(weight < 1) & (weight != 0)]
        if wrong.size:
            raise ValueError(f"image_weight must be 0 or at least 1, got {wrong.flat[0]:g}")
        weight = np.broadcast_to(weight, state.p.shape).copy()
        return cls(state, text_weight, weight, weight.copy())


def pooled_text_update(pools: Pools, text_samples: int, keep: float, rng: Any) -> Pools:
    """Add the posteriors of M new images to the pool, and move the text model to its weighted mean.

    Parameters
    ----------
    pools : Pools
    text_samples : int >= 1, M
    keep : float in [0, 1], kappa
    rng : seed or numpy Generator

    Returns
    -------
    Pools with a new `state.p` and `text_weight`

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    """
    check.instance("pools", pools, Pools)
    keep = check.probability("keep", keep)
    state = pools.state
    new = text_update(state, text_samples, rng)
    old = keep * pools.text_weight
    weight = old + text_samples
    p = new.p if old == 0 else (old * state.p + text_samples * new.p) / weight
    return Pools(State(p, state.images, state.initial), weight, pools.image_weight, pools.image_square)


def pooled_image_update(pools: Pools, image_samples: int, keep: float, rng: Any) -> Pools:
    """Draw N new images, add to each text's pool its own, and refit the image models to the pools.

    Parameters
    ----------
    pools : Pools
    image_samples : int >= 1, N
    keep : float in [0, 1], kappa
    rng : seed or numpy Generator

    Returns
    -------
    Pools with new `state.images`, `image_weight` and `image_square`

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    """
    check.instance("pools", pools, Pools)
    image_samples = check.integer("image_samples", image_samples, minimum=1)
    keep = check.probability("keep", keep)
    rng = check.generator(rng)
    state, images = pools.state, pools.state.images
    n = _multinomial(image_samples, state.p, rng)
    again = n >= 2
    weight = np.where(again, keep * pools.image_weight + n, pools.image_weight)
    square = np.where(again, keep**2 * pools.image_square + n, pools.image_square)
    new = _refit(pools, n, weight, square, keep, rng)
    model = ImageModel(
        images.mean + np.where(again[..., None], new.shift, 0.0),
        np.where(again[..., None, None], new.unit, images.unit),
        np.where(again[..., None], new.log_scale, images.log_scale),
    )
    return Pools(State(state.p, model, state.initial), pools.text_weight, weight, square)


def simulate_keeping(
    system: System,
    steps: int,
    runs: int = 1,
    *,
    keep: Keep = 1.0,
    text_weight: float | None = None,
    image_weight: ArrayLike | None = None,
    rng: Any,
    every: int = 1,
) -> Path:
    """Run a text-image system that keeps a fraction of its past data, and keep whole paths.

    Parameters
    ----------
    system : System without corpus injection and user content
    steps : int >= 0, macro steps
    runs : int >= 1, independent runs R
    keep : kappa in [0, 1], or a function of the macro step t = 0, 1, ... that gives it; every update of step t uses it
    text_weight : float >= 0, W_0; M unless given
    image_weight : float or array (K,), w_0 of each text, 0 or at least 1; N p_0 unless given (0 where that is below 1)
    rng : seed or numpy Generator
    every : int >= 1, record every so many macro steps (step 0 is always recorded)

    Returns
    -------
    Path

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    check.instance("system", system, System)
    for name, value in (("corpus", system.corpus), ("user", system.user)):
        if value is not None:
            raise ValueError(f"system.{name} must be None where the pool is the memory, got {value!r}")
    steps = check.integer("steps", steps, minimum=0)
    runs = check.integer("runs", runs, minimum=1)
    every = check.integer("every", every, minimum=1)
    rng = check.generator(rng)
    if image_weight is None:
        expected = system.image_samples * system.initial.p[0]
        image_weight = np.where(expected >= 1, expected, 0.0)
    human = system.text_samples if text_weight is None else text_weight
    pools = Pools.create(system.initial.repeat(runs), human, image_weight)
    states = [pools.state]
    for t in range(steps):
        kappa = check.probability("keep", keep(t) if callable(keep) else keep)
        for _ in range(system.text_updates):
            pools = pooled_text_update(pools, system.text_samples, kappa, rng)
        for _ in range(system.image_updates):
            pools = pooled_image_update(pools, system.image_samples, kappa, rng)
        if (t + 1) % every == 0:
            states.append(pools.state)

    def gather(pick: Callable[[State], Array]) -> Array:
        return np.stack([pick(state) for state in states], axis=1)

    p = gather(lambda s: s.p)
    return Path(
        t=np.arange(0, steps + 1, every),
        p=p,
        mean=gather(lambda s: s.mean),
        cov=gather(lambda s: s.cov),
        text_diversity=text_diversity_unchecked(p),
        image_diversity=gather(STATISTICS["image_diversity"]),
        log_image_diversity=gather(STATISTICS["log_image_diversity"]),
        fidelity=gather(STATISTICS["fidelity"]),
    )


def _divisor(weight: Array, square: Array) -> Array:
    """Return w - w2 / w, and 0 for an empty pool."""
    return weight - square / np.where(weight > 0, weight, 1.0)


def _refit(pools: Pools, n: Counts, weight: Array, square: Array, keep: float, rng: np.random.Generator) -> Refit:
    """Refit to pools of the new `weight` and `square`; what it says of a text with n < 2 has no meaning."""
    images = pools.state.images
    unit, log_scale = images.unit, images.log_scale
    kept = np.isfinite(log_scale)
    z = rng.standard_normal(log_scale.shape)
    log_diagonal, factor = _bartlett(kept, np.maximum(n - 1, 1), rng)
    some = np.where(weight > 0, weight, 1.0)
    shift = (np.sqrt(n) / some)[..., None] * multiply(unit, log_scale, z)
    # The columns stand for the directions of Sigma, in which everything has a size of about one.
    old = keep * _divisor(pools.image_weight, pools.image_square)
    between = np.sqrt(keep * pools.image_weight / some)[..., None] * z
    columns = np.concatenate(
        [
            np.sqrt(old)[..., None, None] * np.eye(kept.shape[-1]),
            factor * np.exp(log_diagonal)[..., None, :],
            between[..., None],
        ],
        axis=-1,
    )
    divisor = _divisor(weight, square)
    columns *= (kept / np.sqrt(np.where(divisor > 0, divisor, 1.0))[..., None])[..., None]
    inner, growth = _triangularise(columns)
    return Refit(shift, unit @ _conjugate(inner, log_scale), log_scale + growth)
