"""One update of the text model, of the image model, and of the corpus; and the macro step made of them.

Rules that the algorithms leave open, in one place:

* A text that receives fewer than two images keeps its image model (its factor in Theorem 3.3 is 1).
* A text of mass exactly zero is never drawn and has posterior zero.
* A singular image model has its images on an affine space, its support. An image of a text with full covariance lies
  outside every such support almost surely, so singular texts have density zero there; an image of a singular text
  has posterior zero for every text with another support; among texts with the same support, the densities on
  that support decide. Nothing is ever added to a covariance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coevo import _validation as check
from coevo import factors
from coevo._validation import Array
from coevo.simulation.state import ImageModel, State
from coevo.simulation.system import CorpusInjection, System, UserContent

__all__ = ["image_update", "inject_text", "macro_step", "text_update"]

Counts = NDArray[np.int64]

#: Images per pass of the text update: a block of runs is cut so that its arrays stay in the processor's cache.
IMAGES_PER_PASS = 16384

#: Logarithm of the largest residual: its square is still a number, and far more than any density survives.
FAR = 340.0

#: Two affine supports closer than this, relative to the coordinates, are the same one.
SAME_SUPPORT = 1e-9


def text_update(state: State, text_samples: int, rng: Any) -> State:
    """Move the text model to the mean posterior of M images (Gao & Li 2025, eqs. 2.3-2.4).

    Parameters
    ----------
    state : State
    text_samples : int >= 1, M
    rng : seed or numpy Generator

    Returns
    -------
    State with a new `p`

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    """
    check.instance("state", state, State)
    text_samples = check.integer("text_samples", text_samples, minimum=1)
    rng = check.generator(rng)
    if np.count_nonzero(state.p) == state.runs:  # one text is left in every run, and every posterior is 1 at it
        return state
    width = max(1, IMAGES_PER_PASS // text_samples)
    singular = not np.isfinite(state.images.log_scale).all()
    parts = []
    for start in range(0, state.runs, width):
        rows = slice(start, start + width)
        images = ImageModel(state.images.mean[rows], state.images.unit[rows], state.images.log_scale[rows])
        parts.append(_mean_posterior(state.p[rows], images, text_samples, singular, rng))
    return State(np.concatenate(parts), state.images, state.initial)


def _mean_posterior(p: Array, images: ImageModel, text_samples: int, singular: bool, rng: np.random.Generator) -> Array:
    """Draw M images per run from the mixture and return their mean posterior, array (R, K)."""
    runs, n_texts = p.shape
    dim = images.mean.shape[-1]
    shape = (runs, text_samples)
    # The M images of a run are exchangeable: it is enough to draw how many each text makes, and keep them in order.
    counts = _multinomial(text_samples, p, rng)
    z = rng.standard_normal((dim, *shape))

    def of_image(per_text: Array) -> Array:
        return np.repeat(per_text.ravel(), counts.ravel()).reshape(shape)

    kept = np.isfinite(images.log_scale)
    scale = np.where(kept, images.log_scale, 0.0)
    inverse = factors.invert(images.unit)
    with np.errstate(divide="ignore"):  # a text of mass zero has log-mass -inf, and posterior zero
        height = np.log(p) - scale.sum(axis=-1)
    log_density = np.empty((n_texts, *shape))
    product = np.empty(shape)
    for j in range(n_texts):
        square = log_density[j]
        for k in range(dim):
            offset, linear = _residual_map(images.mean, images.unit, scale, inverse, j, k)
            if singular:  # a lost direction has no noise, and no say in a density
                offset = np.where(kept[:, j, k, None], offset, 0.0)
                linear = [np.where(kept[:, j, k, None] & kept[..., i], c, 0.0) for i, c in enumerate(linear)]
            residual = of_image(offset)
            for i, coefficient in enumerate(linear):
                residual += np.multiply(of_image(coefficient), z[i], out=product)
            if k == 0:
                np.multiply(residual, residual, out=square)
            else:
                square += np.multiply(residual, residual, out=product)
        np.multiply(square, -0.5, out=square)
        square += height[:, j, None]
    if singular:
        text = np.repeat(np.tile(np.arange(n_texts), runs), counts.ravel()).reshape(shape)
        _restrict_to_supports(log_density, text, images, kept, inverse)
    log_density -= log_density.max(axis=0)
    density = np.exp(log_density, out=log_density)
    mean_posterior: Array = np.einsum("krm,rm->rk", density, 1 / density.sum(axis=0)) / text_samples
    return mean_posterior


def _residual_map(mean: Array, unit: Array, scale: Array, inverse: Array, j: int, k: int) -> tuple[Array, list[Array]]:
    """Coordinate k of the residual L_j^{-1} (x - mu_j) of an image x = mu_i + L_i z at text j, for every text i.

    It is offset + sum of linear[l] z_l over l <= k, with one number (R, K) each for every run and text i. The images
    themselves are never formed: their coordinates could not hold a scale that has shrunk to nothing. Exponents are
    added before they are raised, and what lies beyond `FAR` counts as `FAR`: the density is zero either way.
    """
    row, own = inverse[:, j, k, :, None], scale[:, j, k, None]
    distance = mean[..., k] - mean[:, j, k, None]
    for i in range(k):
        distance += row[:, i] * (mean[..., i] - mean[:, j, i, None])
    with np.errstate(divide="ignore"):  # texts with equal means have distance zero
        exponent = np.log(np.abs(distance)) - own
    offset = np.copysign(np.exp(np.minimum(exponent, FAR)), distance)
    linear = [np.exp(np.minimum(scale[..., i] - own, FAR)) for i in range(k + 1)]
    for i in range(k):
        # U_j^{-1} U_i = I + U_j^{-1} (U_i - U_j): exactly I for equal directions, whatever the scales then multiply.
        turn = unit[..., k, i] - unit[:, j, None, k, i]
        for e in range(i + 1, k):
            turn += row[:, e] * (unit[..., e, i] - unit[:, j, None, e, i])
        linear[i] *= turn
    return offset, linear


def _restrict_to_supports(
    log_density: Array, text: NDArray[np.int64], images: ImageModel, kept: NDArray[np.bool_], inverse: Array
) -> None:
    """Give density zero, in place, to every text whose support is not that of the text that made the image.

    Texts with the same support need no other factor: their kept columns of U differ by a unit triangular matrix, so
    they span the same volume.
    """
    same = _same_support(images, kept, inverse)
    run = np.arange(text.shape[0])[:, None]
    for j in range(log_density.shape[0]):
        log_density[j][~same[run, text, j]] = -np.inf


def _same_support(images: ImageModel, kept: NDArray[np.bool_], inverse: Array) -> NDArray[np.bool_]:
    """Whether texts i and j of a run have the same affine support, array (R, K, K)."""
    mean, unit = images.mean, images.unit
    rank = kept.sum(axis=-1)
    size = np.abs(mean).max(axis=-1) + np.exp(images.log_scale.max(axis=-1))
    # In the coordinates of j: does the difference of the means, and does every kept column of i, stay inside?
    offset = (inverse[:, None] * (mean[:, :, None] - mean[:, None, :])[..., None, :]).sum(axis=-1)
    reach = np.abs(inverse).sum(axis=-1)
    scale = reach[:, None] * (size[:, :, None] + size[:, None, :])[..., None]
    lost = ~kept
    inside = (~lost[:, None] | (np.abs(offset) <= SAME_SUPPORT * scale)).all(axis=-1)
    same: NDArray[np.bool_] = (rank[:, :, None] == rank[:, None, :]) & inside
    # Hardly ever does a singular text get this far with another, and a full one has nothing left to compare.
    run, i, j = np.nonzero(same & (rank[:, None, :] < mean.shape[-1]))
    columns = inverse[run, j] @ np.where(kept[run, i, None, :], unit[run, i], 0.0)
    steep = reach[run, j, :, None] * np.abs(unit[run, i]).max(axis=-2)[:, None, :]
    parallel = (~lost[run, j, :, None] | (np.abs(columns) <= SAME_SUPPORT * steep)).all(axis=(-2, -1))
    same[run, i, j] = parallel
    diagonal = np.arange(mean.shape[1])
    same[:, diagonal, diagonal] = True
    return same


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


def macro_step(state: State, system: System, rng: Any, drop_below: float = 0.0) -> State:
    """Make one macro step of Algorithm 1, 2 or 3 (Gao & Li 2025).

    Parameters
    ----------
    state : State
    system : System; only its parameters are used, not its initial state
    rng : seed or numpy Generator
    drop_below : float, see `inject_text`

    Returns
    -------
    State

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    """
    check.instance("system", system, System)
    rng = check.generator(rng)
    if system.corpus is not None:
        state = inject_text(state, system.corpus, rng, drop_below)
    for _ in range(system.text_updates):
        state = text_update(state, system.text_samples, rng)
    for _ in range(system.image_updates):
        state = image_update(state, system.image_samples, rng, system.user)
    return state


def _multinomial(total: int, p: Array, rng: np.random.Generator) -> Counts:
    """Draw Multinomial(total, p) for each row of p (R, K), giving nothing to a text of mass zero.

    The library hands the last category whatever rounding leaves over, so the largest mass goes last.
    """
    run = np.arange(p.shape[0])
    top = p.argmax(axis=1)
    ordered = p.copy()
    ordered[run, top], ordered[:, -1] = p[:, -1], p[run, top]
    counts: Counts = rng.multinomial(total, ordered)
    last = counts[:, -1].copy()
    counts[:, -1] = counts[run, top]
    counts[run, top] = last
    return counts
