"""One update of the text model, of the image model, and of the corpus; and the macro step made of them.

Rules that the algorithms leave open, in one place:

* A text that receives fewer than two images keeps its image model (its factor in Theorem 3.3 is 1).
* A text of mass exactly zero is never drawn. Of posteriors, and of singular image models, see
  `coevo.simulation.posterior`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coevo import _validation as check
from coevo import factors
from coevo._validation import Array
from coevo.simulation.posterior import mean_posterior
from coevo.simulation.state import ImageModel, State
from coevo.simulation.system import CorpusInjection, System, UserContent

__all__ = ["image_update", "inject_text", "macro_step", "text_update"]

Counts = NDArray[np.int64]

#: Images drawn at a time in a text update. It is part of what a seed means: change it and every number changes.
IMAGES_PER_PASS = 16384


def text_update(state: State, text_samples: int, rng: Any, *, compiled: bool = False) -> State:
    """Move the text model to the mean posterior of M images (Gao & Li 2025, eqs. 2.3-2.4).

    Parameters
    ----------
    state : State
    text_samples : int >= 1, M
    rng : seed or numpy Generator
    compiled : whether to use kernels compiled by numba (the extra ``coevo[speed]``): the same draws, and the same
        numbers up to rounding

    Returns
    -------
    State with a new `p`

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    ModuleNotFoundError
        If numba is wanted and not installed.
    """
    check.instance("state", state, State)
    text_samples = check.integer("text_samples", text_samples, minimum=1)
    check.instance("compiled", compiled, bool)
    rng = check.generator(rng)
    if np.count_nonzero(state.p) == state.runs:  # one text is left in every run, and every posterior is 1 at it
        return state
    width = max(1, IMAGES_PER_PASS // text_samples)
    parts = []
    for start in range(0, state.runs, width):
        rows = slice(start, start + width)
        p, images = state.p[rows], state.images
        images = ImageModel(images.mean[rows], images.unit[rows], images.log_scale[rows])
        # The M images of a run are exchangeable: it is enough to draw how many each text makes, and keep them in order.
        counts = _multinomial(text_samples, p, rng)
        z = rng.standard_normal((state.dim, len(p), text_samples))
        parts.append(mean_posterior(p, images, counts, z, compiled=compiled))
    return State(parts[0] if len(parts) == 1 else np.concatenate(parts), state.images, state.initial)


def image_update(state: State, image_samples: int, rng: Any, user: UserContent | None = None) -> State:
    """Refit every image model to its share of N images (Gao & Li 2025, eqs. 2.5-2.7; with `user` eqs. 6.7-6.10).

    Text i receives n_i of the images, n ~ Multinomial(N, p); see `coevo.factors.refit` for the exact sampler.

    Parameters
    ----------
    state : State
    image_samples : int >= 1, N
    rng : seed or numpy Generator
    user : UserContent or None

    Returns
    -------
    State with new `images`

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    """
    check.instance("state", state, State)
    image_samples = check.integer("image_samples", image_samples, minimum=1)
    rng = check.generator(rng)
    if user is not None:
        check.instance("user", user, UserContent)
        user.check_fits(state.n_texts, state.dim)
    n = _multinomial(image_samples, state.p, rng)
    images = state.images
    m = np.zeros_like(n) if user is None else user.counts(n.shape, rng)
    if user is None or not m.any():
        new = factors.refit(images.unit, images.log_scale, n, rng)
    elif user.images is not None:
        drawn = user.draw_images(n.shape, int(m.max()), rng)
        new = factors.refit_with_images(images.mean, images.unit, images.log_scale, n, drawn, m, rng)
    else:
        shape = images.mean.shape
        mean = state.initial.mean if user.mean is None else np.broadcast_to(user.mean, shape)
        if user.unit is None or user.log_scale is None:
            unit, log_scale = state.initial.unit, state.initial.log_scale
        else:
            unit = np.broadcast_to(user.unit, images.unit.shape)
            log_scale = np.broadcast_to(user.log_scale, shape)
        new = factors.refit_pooled(images.unit, images.log_scale, n, mean - images.mean, unit, log_scale, m, rng)
    return State(state.p, ImageModel(images.mean + new.shift, new.unit, new.log_scale), state.initial)


def inject_text(state: State, corpus: CorpusInjection, rng: Any, drop_below: float = 0.0) -> State:
    """Let a new text enter each run with probability alpha (Gao & Li 2025, Algorithm 2, eqs. 6.1-6.2).

    The new text takes the place of one of mass zero; if a run has none, every run grows by a few empty places.
    Texts of mass below `drop_below` are first set to zero, but never the largest of a run. The mass of a text does
    not grow on average, so the expected number of images that a text of mass q would still make in the rest of the run
    is at most q per draw: some dropped text would have been drawn again with a probability of at most (draws left) x
    (mass dropped). Where images overlap, the posteriors lose the share of the dropped text too, on average at most q.

    Parameters
    ----------
    state : State
    corpus : CorpusInjection
    rng : seed or numpy Generator
    drop_below : float in [0, 1)

    Returns
    -------
    State, with more texts where they were needed

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    """
    check.instance("state", state, State)
    check.instance("corpus", corpus, CorpusInjection)
    corpus.check_fits(state.dim)
    drop_below = check.number("drop_below", drop_below, minimum=0.0, maximum=1.0, open_maximum=True)
    rng = check.generator(rng)
    p = np.where((state.p < drop_below) & (state.p < state.p.max(axis=1, keepdims=True)), 0.0, state.p)
    p /= p.sum(axis=1, keepdims=True)
    hit = rng.random(state.runs) < corpus.injection_prob
    mean, unit, log_scale = corpus.draw_laws(state.runs, rng)
    if not hit.any():
        return State(p, state.images, state.initial)
    if not (p == 0.0).any(axis=1)[hit].all():
        state = _with_empty_places(state, 1 + state.n_texts // 4)
        p = np.concatenate([p, np.zeros((state.runs, state.n_texts - p.shape[1]))], axis=1)
    rows = np.flatnonzero(hit)
    place = (p[rows] == 0.0).argmax(axis=1)
    p[rows] *= 1 - corpus.injection_fraction
    p[rows, place] = corpus.injection_fraction

    def filled(model: ImageModel) -> ImageModel:
        new = ImageModel(model.mean.copy(), model.unit.copy(), model.log_scale.copy())
        new.mean[rows, place] = mean[rows]
        new.unit[rows, place] = unit[rows]
        new.log_scale[rows, place] = log_scale[rows]
        return new

    return State(p, filled(state.images), filled(state.initial))


def _with_empty_places(state: State, extra: int) -> State:
    """Append `extra` texts of mass zero to every run."""
    runs, dim = state.runs, state.dim

    def grown(model: ImageModel) -> ImageModel:
        identity = np.broadcast_to(np.eye(dim), (runs, extra, dim, dim))
        zeros = np.zeros((runs, extra, dim))
        return ImageModel(
            np.concatenate([model.mean, zeros], axis=1),
            np.concatenate([model.unit, identity], axis=1),
            np.concatenate([model.log_scale, zeros], axis=1),
        )

    p = np.concatenate([state.p, np.zeros((runs, extra))], axis=1)
    return State(p, grown(state.images), grown(state.initial))


def macro_step(state: State, system: System, rng: Any, drop_below: float = 0.0, *, compiled: bool = False) -> State:
    """Make one macro step of Algorithm 1, 2 or 3 (Gao & Li 2025).

    Parameters
    ----------
    state : State
    system : System; only its parameters are used, not its initial state
    rng : seed or numpy Generator
    drop_below : float, see `inject_text`
    compiled : see `text_update`

    Returns
    -------
    State

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    ModuleNotFoundError
        If numba is wanted and not installed.
    """
    check.instance("system", system, System)
    rng = check.generator(rng)
    if system.corpus is not None:
        state = inject_text(state, system.corpus, rng, drop_below)
    for _ in range(system.text_updates):
        state = text_update(state, system.text_samples, rng, compiled=compiled)
    for _ in range(system.image_updates):
        state = image_update(state, system.image_samples, rng, system.user)
    return state


def _multinomial(total: int, p: Array, rng: np.random.Generator) -> Counts:
    """Draw Multinomial(total, p) for each row of p (R, K), giving nothing to a text of mass zero.

    The library hands the last category whatever rounding leaves over, so the largest mass goes last.
    """
    last = np.arange(1, len(p) + 1) * p.shape[1] - 1
    top = last + 1 - p.shape[1] + p.argmax(axis=1)
    ordered = p.flatten()
    ordered[top], ordered[last] = p[:, -1], p.take(top)
    counts: Counts = rng.multinomial(total, ordered.reshape(p.shape))
    flat = counts.ravel()
    flat[last], flat[top] = flat[top], flat[last]
    return counts
