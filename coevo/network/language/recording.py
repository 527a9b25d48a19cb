"""Read a language network's log back as arrays, and the statistics that tell a difference from an accident.

A log holds sentences. `pack` embeds all sentences of a folder of logs once, into one small file; `load` needs that file
and numpy, no weights. The statistics of this module rest on one fact (Wang et al. 2025, Algorithm 1, with the L answers
of a step spread over R retrievals): given the pool, the R retrievals of a model are independent and alike, and so are
the S = L/R answers that share a retrieval. The L answers are not independent. What is resampled or permuted is
therefore a *retrieval* with its answers, never a single answer.

Beyond the paper: its section 6 asks for such inference.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from coevo import _validation as check
from coevo._validation import Array
from coevo.network.geometry import distance_norm
from coevo.network.language.recorder import LanguageNetwork, LogError, Post, pools, read

__all__ = [
    "EMBEDDINGS",
    "NEW",
    "STEP",
    "Recording",
    "bootstrap_interval",
    "distinct",
    "finished",
    "interval",
    "load",
    "nearest",
    "norm_tolerance",
    "null_level",
    "pack",
    "sources",
    "split_test",
    "squared_norm",
    "traces",
]

#: Name of the file of embeddings beside the logs.
EMBEDDINGS = "embeddings.npz"

#: Coordinates of an embedding are stored as whole multiples of this number, in one byte.
STEP = 1 / 256

#: `pack`: about so many of the stored sentences are embedded again and compared.
_COMPARED = 16

#: `sources`: a sentence that stands in no post that was read.
NEW = -1

#: Most splits of a step, or sums over steps, that are enumerated; where there are more, splits are drawn.
_ENUMERATED = 20_000

#: What numpy raises for a file that is missing, cut off or something else.
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded run: T steps, n agents, R retrievals, S = L/R answers of each, m coordinates of an embedding.

    Attributes
    ----------
    name : of the log
    network : what was run
    sessions : when, with what versions, on what machine, and the hashes of all weights
    texts : (T, n, R, S) str, the answers
    vectors : (T, n, R, S, m), their embeddings, of unit length up to `STEP`
    retrieved : ``retrieved[t][i][r]``, places in agent i's pool of the posts that retrieval r read
    pools : for each agent its pool after the last step; A^(t) is its first ``pool_size[t]`` posts
    pool_vectors : for each agent the (P, m) embeddings of its pool
    distance_norm : (T,), ||D||_F as it was recorded, before embeddings were rounded
    requests : (T, n), requests that the L answers took
    failures : for each agent, how often what went wrong
    seconds : (T,), time that a step took
    """

    name: str
    network: LanguageNetwork
    sessions: tuple[dict[str, Any], ...]
    texts: NDArray[np.str_]
    vectors: Array
    retrieved: tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]
    pools: tuple[tuple[Post, ...], ...]
    pool_vectors: tuple[Array, ...]
    distance_norm: Array
    requests: NDArray[np.int64]
    failures: tuple[dict[str, int], ...]
    seconds: Array

    @property
    def steps(self) -> int:
        """T, how many steps are in the log."""
        return len(self.texts)

    @property
    def complete(self) -> bool:
        """Whether the log holds every step that was asked for."""
        return self.steps == self.network.steps

    @property
    def agents(self) -> tuple[str, ...]:
        """Names of the agents."""
        return tuple(agent.name for agent in self.network.agents)

    @cached_property
    def retrieval_means(self) -> Array:
        """(T, n, R, m), mean embedding of the answers that share a retrieval."""
        means: Array = self.vectors.mean(axis=3)
        return means

    @cached_property
    def means(self) -> Array:
        """(T, n, m), X_i of Wang et al. 2025, eq. (1): mean embedding of a model's answers."""
        means: Array = self.retrieval_means.mean(axis=2)
        return means

    @property
    def pool_size(self) -> NDArray[np.int64]:
        """(T,), |A^(t)|, the same for all agents."""
        posted = 0 if self.network.sharing == "frozen" else len(self.network.agents)
        return len(self.network.human_posts) + posted * np.arange(self.steps, dtype=np.int64)

    @property
    def synthetic(self) -> Array:
        """(T,), share of the pool that models wrote: nt/(|A^(0)| + nt), or 0 if nothing is posted."""
        share: Array = 1 - len(self.network.human_posts) / self.pool_size
        return share


def pack(folder: Path, embed: Embed) -> int:
    """Embed every sentence of every log of a folder, and write them to the file `EMBEDDINGS` beside the logs.

    A sentence is found by a hash of its text, so the order of logs and sentences does not matter, and the same logs
    give the same bytes. Coordinates are rounded to multiples of `STEP`. Sentences that the file holds already keep
    their numbers, unless `embed` gives others for a few of them: then all are embedded anew. The file is written under
    another name and then moved, so that it is never seen half written.

    Parameters
    ----------
    folder : of the logs ``*.jsonl``; they may be unfinished
    embed : sentences to vectors of unit length (N, m)

    Returns
    -------
    int, number of sentences

    Raises
    ------
    LogError
        If a log is damaged.
    ValueError
        If there is no log, or `embed` gives something other than vectors of unit length.
    """
    sentences: dict[int, str] = {}
    for path in sorted(folder.glob("*.jsonl")):
        network, _, steps, _ = read(path)
        for text in _sentences(network, steps):
            sentences[_key(text)] = text
    if not sentences:
        raise ValueError(f"folder must hold at least one log, got {folder}")
    target, temporary = folder / EMBEDDINGS, folder / f".{EMBEDDINGS}.{os.getpid()}"
    keys = sorted(sentences)
    codes = {key: code for key, code in _stored(target).items() if key in sentences}
    few = sorted(codes)[:: max(1, len(codes) // _COMPARED)]
    if few and not np.array_equal(_embedded(embed, [sentences[key] for key in few]), [codes[key] for key in few]):
        codes = {}
    if new := [key for key in keys if key not in codes]:
        codes |= dict(zip(new, _embedded(embed, [sentences[key] for key in new]), strict=True))
    try:
        with temporary.open("wb") as file:
            stacked = np.array([codes[key] for key in keys], np.int8)
            np.savez_compressed(file, keys=np.array(keys, np.uint64), codes=stacked, step=STEP)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return len(keys)


def _stored(path: Path) -> dict[int, NDArray[np.int8]]:
    """Codes of the sentences in a file of embeddings, by the key of the sentence; none if it cannot be read."""
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            return dict(zip(file["keys"].tolist(), file["codes"], strict=True)) if file["step"] == STEP else {}
    except _UNREADABLE:
        return {}


def _embedded(embed: Embed, texts: Sequence[str]) -> NDArray[np.int8]:
    """Embeddings as whole multiples of `STEP`."""
    vectors = np.asarray(embed(texts), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts) or np.abs(np.linalg.norm(vectors, axis=1) - 1).max() > 1e-3:
        raise ValueError(f"embed must give {len(texts)} vectors of unit length, got an array of shape {vectors.shape}")
    codes = np.rint(vectors / STEP)
    if np.abs(codes).max() > 127:
        raise ValueError(f"embed must give coordinates of at most {127 * STEP:g}, got {np.abs(vectors).max():g}")
    return codes.astype(np.int8)


def finished(folder: Path | None = None) -> list[str]:
    """Names of the logs of a folder that hold every step that was asked for, in the order of the alphabet.

    Parameters
    ----------
    folder : of the logs; None for the recorded runs of the book

    Returns
    -------
    list of str, what `load` takes

    Raises
    ------
    LogError
        If a log is damaged.
    """
    names = []
    for path in sorted((_book() if folder is None else folder).glob("*.jsonl")):
        network, _, steps, _ = read(path)
        if len(steps) == network.steps:
            names.append(path.stem)
    return names


def load(name: str, folder: Path | None = None) -> Recording:
    """Read a log and the embeddings of its sentences.

    Parameters
    ----------
    name : of the log, without ``.jsonl``
    folder : where it is; None for the recorded runs of the book

    Returns
    -------
    Recording of the complete steps

    Raises
    ------
    LogError
        If there is no such log, it holds no step or is damaged, embeddings are missing or cannot be read, or the
        distances that they give are not those that were recorded (`norm_tolerance`).
    """
    folder = _book() if folder is None else folder
    path = folder / f"{check.words('name', name)}.jsonl"
    if not path.is_file():
        raise LogError(f"{path} does not exist")
    network, sessions, steps, _ = read(path)
    if not steps:
        raise LogError(f"{path} holds no step")
    lookup = _lookup(folder / EMBEDDINGS, path, _sentences(network, steps))
    texts = np.array([step["answers"] for step in steps])
    everyone = pools(network, steps)
    recording = Recording(
        name=name,
        network=network,
        sessions=tuple(sessions),
        texts=texts,
        vectors=lookup(texts.ravel().tolist()).reshape(*texts.shape, -1),
        retrieved=tuple(tuple(tuple(tuple(r) for r in agent) for agent in step["retrieved"]) for step in steps),
        pools=tuple(tuple(pool) for pool in everyone),
        pool_vectors=tuple(lookup([post.text for post in pool]) for pool in everyone),
        distance_norm=np.array([step["distance_norm"] for step in steps]),
        requests=np.array([step["requests"] for step in steps]),
        failures=tuple(_total(step["failures"][i] for step in steps) for i in range(len(network.agents))),
        seconds=np.array([step["seconds"] for step in steps]),
    )
    error = np.abs(distance_norm(recording.means) - recording.distance_norm)
    if (wrong := error > norm_tolerance(recording)).any():
        t = int(wrong.argmax())
        raise LogError(
            f"{path}: at t = {t} the embeddings give a norm that is wrong by {error[t]:.4f}: pack them again"
        )
    return recording


def norm_tolerance(recording: Recording) -> Array:
    """How far ||D||_F of rounded embeddings may be from that of exact ones.

    Rounding moves each coordinate of a sentence by an error of at most h/2, h = `STEP`, taken as independent and
    uniform. A sentence that makes up the shares w_i, w_j of the answers of two models moves X_i - X_j by w_i - w_j
    times its error. Along X_i - X_j this has the standard deviation h sqrt(sum (w_i - w_j)^2 / 12), and all m
    coordinates together lengthen the squared distance by m h^2 sum (w_i - w_j)^2 / 12 on average. The tolerance takes
    eight standard deviations, and twice the lengthening, whose own scatter is smaller by the factor sqrt(m/2).

    Parameters
    ----------
    recording : a run

    Returns
    -------
    (T,), in the units of ||D||_F
    """
    models, size = len(recording.agents), recording.vectors.shape[-1]
    answers = recording.texts.reshape(recording.steps, models, -1)
    weight = np.zeros(recording.steps)
    for t in range(recording.steps):
        _, place = np.unique(answers[t], return_inverse=True)
        count = [np.bincount(row, minlength=place.max() + 1) for row in place.reshape(models, -1)]
        share = np.array(count) / answers.shape[2]
        weight[t] = np.square(share[:, None] - share).sum()
    variance = STEP**2 * weight / 12
    longer: Array = np.hypot(recording.distance_norm, np.sqrt(2 * size * variance)) - recording.distance_norm
    return 8 * np.sqrt(variance) + longer + 1e-5


def null_level(means: Any) -> Array:
    """E||D||_F^2 that n models with the same law of answers would have: unbiased, from the scatter of retrievals.

    For identical models E||D||_F^2 = 2 n (n - 1) (tr C_w / L + tr C_r / R), where C_w is the covariance of an answer
    given its retrieval and C_r that of a retrieval's expected answer. (With R = 1, as in the paper, tr C_r is divided
    by nothing: more answers to one retrieval do not help.) In general the expectation of ||D||_F^2 exceeds its value
    for the expected X_i by 2 (n - 1) sum_i tr Cov(X_i), and sum_r |m_ir - X_i|^2 / (R (R - 1)) estimates tr Cov(X_i).
    Beyond the paper: Wang et al., Section 6 asks for inference.

    Parameters
    ----------
    means : (..., n, R, m), `Recording.retrieval_means`, R >= 2

    Returns
    -------
    (...), in the units of ||D||_F^2
    """
    means = _means(means)
    models, retrievals = means.shape[-3:-1]
    centred = means - means.mean(axis=-2, keepdims=True)
    level: Array = 2 * (models - 1) * np.square(centred).sum(axis=(-3, -2, -1)) / (retrievals * (retrievals - 1))
    return level


def squared_norm(means: Any) -> tuple[Array, Array]:
    """||D||_F^2 less its `null_level`, and the standard error of that difference by the jackknife over retrievals.

    The difference is an unbiased estimate of ||D||_F^2 for infinitely many retrievals from the same pool. It can be
    negative. The jackknife leaves out one retrieval of one model after another.
    Beyond the paper: Wang et al., Section 6 asks for inference.

    Parameters
    ----------
    means : (..., n, R, m), `Recording.retrieval_means`, R >= 3

    Returns
    -------
    estimate, standard error : (...) each, in the units of ||D||_F^2
    """
    means = _means(means, least=3)
    models, retrievals = means.shape[-3:-1]
    centre = means.mean(axis=-2)
    scatter = np.square(means - centre[..., None, :]).sum(axis=-1)  # (..., n, R)
    excess = 2 * (models - 1) / (retrievals * (retrievals - 1))
    estimate: Array = distance_norm(centre) ** 2 - excess * scatter.sum(axis=(-2, -1))
    # Leaving out retrieval r of model i moves X_i by (X_i - m_ir)/(R - 1), and everything else follows.
    move = (centre[..., None, :] - means) / (retrievals - 1)
    away = centre - centre.mean(axis=-2, keepdims=True)
    change = 4 * models * (move * away[..., None, :]).sum(axis=-1)
    change += 2 * (models - 1) * np.square(move).sum(axis=-1)
    total = scatter.sum(axis=-1, keepdims=True)
    left = total - scatter * retrievals / (retrievals - 1)
    change -= (
        2 * (models - 1) * (left / ((retrievals - 1) * (retrievals - 2)) - total / (retrievals * (retrievals - 1)))
    )
    spread = np.square(change - change.mean(axis=-1, keepdims=True)).sum(axis=(-2, -1))
    error: Array = np.sqrt(spread * (retrievals - 1) / retrievals)
    return estimate, error


def interval(means: Any, level: float = 0.95) -> tuple[float, float]:
    """Student interval for the mean over W steps of ||D||_F^2 for infinitely many retrievals from the same pools.

    Given its pool the error of a step has mean zero, so errors of different steps are uncorrelated and the squared
    standard errors (`squared_norm`) add. The quantile is Student's with W n (R - 1) degrees of freedom, a rule of
    thumb. It fails for one step of models that nearly always give the same sentence: four retrievals that agree by
    chance show no error. Over several steps it holds.

    Parameters
    ----------
    means : (W, n, R, m), `Recording.retrieval_means` of W steps, R >= 3
    level : in (0, 1), wanted coverage

    Returns
    -------
    low, high : in the units of ||D||_F^2; low may be negative
    """
    means = check.real_array("means", means, (None, None, None, None))
    estimate, error = squared_norm(means)
    window, models, retrievals = means.shape[:3]
    quantile = stdtrit(window * models * (retrievals - 1), 0.5 + 0.5 * _level(level))
    half = float(quantile * np.sqrt(np.square(error).sum()) / window)
    return float(estimate.mean()) - half, float(estimate.mean()) + half


def bootstrap_interval(
    vectors: Any, level: float = 0.95, *, resamples: int = 1000, rng: Any = 0
) -> tuple[float, float]:
    """Basic bootstrap interval for ||D||_F of one step: retrievals are drawn again, and answers within each.

    It is given for comparison: use `interval`. With R = 4 it covers well while the models are far apart. Where they are
    close it does not: ||D||_F never falls to the distance that infinitely many retrievals would show, and the bootstrap
    takes that for a fact. With 30 even coordinates and equal models, 95 % are in truth 43 %.

    Parameters
    ----------
    vectors : (n, R, S, m), the answers of one step
    level : in (0, 1), wanted coverage
    resamples : at least 1
    rng : a seed or a numpy Generator

    Returns
    -------
    low, high : in the units of ||D||_F, not below 0
    """
    vectors = check.real_array("vectors", vectors, (None, None, None, None))
    models, retrievals, answers = vectors.shape[:3]
    draws = check.integer("resamples", resamples, minimum=1)
    generator = check.generator(rng)
    chosen = generator.integers(retrievals, size=(draws, models, retrievals))
    again = generator.integers(answers, size=(draws, models, retrievals, answers))
    weight = np.zeros((draws, models, retrievals, answers))
    draw, model = np.ogrid[:draws, :models]
    place = (draw[..., None, None], model[..., None, None], chosen[..., None], again)
    np.add.at(weight, place, 1 / (retrievals * answers))
    means = np.einsum("birs,irsm->bim", weight, vectors)
    observed = float(distance_norm(vectors.mean(axis=(1, 2))))
    tail = 0.5 - 0.5 * _level(level)
    low, high = np.quantile(distance_norm(means), [tail, 1 - tail])
    return max(0.0, 2 * observed - float(high)), max(0.0, 2 * observed - float(low))


def split_test(first: Any, second: Any, *, posted: int = 1, draws: int = 5000, rng: Any = 0) -> float:
    """Permutation test of whether two models answer alike, with retrievals as the units.

    The statistic is the sum over steps of ||X_1 - X_2||^2. Under the null hypothesis that at each of the steps the
    two models' answers have the same law given the pool, the 2R retrievals of a step can be dealt to the models in
    any way. The first `posted` retrievals of each model keep their place: their answers went to the pool, on which
    later steps depend. With these held fixed, what follows does not change when the others are dealt anew, and so the
    test is exact for any number of steps, however the pool depends on the past.
    Beyond the paper: Wang et al., Section 6 asks for inference.

    Parameters
    ----------
    first, second : (W, R, m), the retrieval means of W steps of two models; W may be 1
    posted : retrievals of each model from whose answers it posted: 1 in a shared pool, 0 in a frozen one, below R
    draws : of random splits, one for each step, where enumeration is too long
    rng : a seed or a numpy Generator, for these draws

    Returns
    -------
    float in (0, 1], the p-value: the share of splits with a statistic at least as large as the observed one, which
        counts as one of the splits where they are drawn
    """
    first = check.real_array("first", first, (None, None, None))
    second = check.real_array("second", second, first.shape)
    steps, units = first.shape[:2]
    fixed = check.integer("posted", posted, minimum=0, maximum=units - 1)
    number = check.integer("draws", draws, minimum=1)
    generator = check.generator(rng)
    blocks = np.concatenate([first, second], axis=1)
    blocks -= blocks.mean(axis=1, keepdims=True)
    slack = check.ROUNDING * float(np.square(blocks).sum()) / units**2  # equal answers give ties, up to rounding
    gram = blocks @ blocks.swapaxes(1, 2) / units**2
    start = np.repeat([1.0, -1.0], units)
    observed = float(np.einsum("wij,i,j->", gram, start, start))
    free = np.array([k for k in range(2 * units) if k % units >= fixed], dtype=np.int64)
    many = math.comb(len(free), len(free) // 2) > _ENUMERATED
    values = []
    for matrix in gram:
        if many:
            signs = _signs(start, free, _drawn(len(free), number, generator))
        else:
            signs = _signs(start, free, itertools.combinations(range(len(free)), len(free) // 2))
        values.append(((signs @ matrix) * signs).sum(axis=1))
    drawn = many or len(values[0]) ** steps > _ENUMERATED
    if many:
        sums = np.sum(values, axis=0)
    elif drawn:
        sums = np.sum([value[generator.integers(len(value), size=number)] for value in values], axis=0)
    else:
        sums = values[0]
        for value in values[1:]:
            sums = np.add.outer(sums, value).ravel()
    reached = int((sums >= observed - slack).sum())
    return (reached + drawn) / (len(sums) + drawn)  # of drawn splits the observed one is one more


def traces(vectors: Any) -> tuple[Array, Array]:
    """Traces of C_w and C_r: how far answers scatter around their retrieval, and retrievals' expectations.

    Unbiased: with m_r the mean of the S answers of retrieval r, tr C_w is the mean over r of the variance around m_r,
    and tr C_r the variance of the m_r less tr C_w / S, which can be negative.

    Parameters
    ----------
    vectors : (..., R, S, m), R and S >= 2

    Returns
    -------
    within, between : (...) each
    """
    vectors = check.real_array("vectors", vectors)
    if vectors.ndim < 3 or min(vectors.shape[-3:-1]) < 2 or vectors.shape[-1] == 0:
        raise ValueError(f"vectors must have shape (..., R, S, m) with R, S >= 2, got {vectors.shape}")
    retrievals, answers = vectors.shape[-3:-1]
    means = vectors.mean(axis=-2)
    within = np.square(vectors - means[..., None, :]).sum(axis=(-3, -2, -1)) / (retrievals * (answers - 1))
    among = np.square(means - means.mean(axis=-2, keepdims=True)).sum(axis=(-2, -1)) / (retrievals - 1)
    return within, among - within / answers


def distinct(recording: Recording) -> tuple[NDArray[np.int64], Array]:
    """How many different sentences a model gives at a step, and the Gini-Simpson diversity of its answers.

    Parameters
    ----------
    recording : a run

    Returns
    -------
    number : (T, n), from 1 to L
    diversity : (T, n), 1 - sum of squared shares of the different sentences, from 0 to 1 - 1/L
    """
    answers = recording.texts.reshape(recording.steps, len(recording.agents), -1)
    number = np.zeros(answers.shape[:2], dtype=np.int64)
    diversity = np.zeros(answers.shape[:2])
    for place in np.ndindex(*number.shape):
        _, count = np.unique(answers[place], return_counts=True)
        number[place] = len(count)
        diversity[place] = 1 - np.square(count / count.sum()).sum()
    return number, diversity


def sources(recording: Recording) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each answer stands word for word: in posts that were read, and in posts that were not.

    Retrieval is random. With beta = 1/2 the posts that were read and the others are alike but for chance, so a sentence
    that comes up by coincidence stands as often in the ones only as in the others only. What goes beyond was copied.

    Parameters
    ----------
    recording : a run

    Returns
    -------
    read : (T, n, R, S), the number of the agent that wrote the post, or n for a human post, if the answer stands in a
        post that was read (in the oldest, if in several); else `NEW`
    unread : (T, n, R, S), whether it stands in a post of the pool that was not read
    """
    names = [*recording.agents, "human"]
    found = np.full(recording.texts.shape, NEW, dtype=np.int64)
    missed = np.zeros(recording.texts.shape, dtype=bool)
    for t, i, r in np.ndindex(*found.shape[:3]):
        posts = recording.pools[i][: recording.pool_size[t]]
        chosen = recording.retrieved[t][i][r]
        authors = {posts[place].text: names.index(posts[place].author) for place in sorted(chosen, reverse=True)}
        others = {posts[place].text for place in set(range(len(posts))).difference(chosen)}
        for s, text in enumerate(recording.texts[t, i, r].tolist()):
            found[t, i, r, s] = authors.get(text, NEW)
            missed[t, i, r, s] = text in others
    return found, missed


def nearest(recording: Recording) -> tuple[Array, Array]:
    """Cosine of each answer with the nearest post that was read, and with the nearest of those that were not.

    Parameters
    ----------
    recording : a run

    Returns
    -------
    to_read, to_unread : (T, n, R, S) each; NaN where there is no such post
    """
    found = np.full((2, *recording.texts.shape), np.nan)
    for t, i, r in np.ndindex(*recording.texts.shape[:3]):
        size = int(recording.pool_size[t])
        posts = recording.pool_vectors[i][:size]
        cosine = recording.vectors[t, i, r] @ posts.T
        cosine /= np.linalg.norm(recording.vectors[t, i, r], axis=1)[:, None] * np.linalg.norm(posts, axis=1)
        was_read = np.zeros(size, dtype=bool)
        was_read[list(recording.retrieved[t][i][r])] = True
        for k, mask in enumerate((was_read, ~was_read)):
            if mask.any():
                found[k, t, i, r] = cosine[:, mask].max(axis=1)
    return found[0], found[1]


def _book() -> Path:
    """Folder of the recorded runs of the book."""
    from coevo.network.language import study  # which may import this module

    return study.DATA


def _means(means: Any, least: int = 2) -> Array:
    array = check.real_array("means", means)
    if array.ndim < 3 or array.shape[-2] < least or 0 in array.shape[-3:]:
        raise ValueError(f"means must have shape (..., n, R, m) with R >= {least}, got {array.shape}")
    return array


def _level(level: Any) -> float:
    return check.number("level", level, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)


def _drawn(size: int, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Random halves (number, size // 2) of the first `size` integers."""
    order: NDArray[np.int64] = rng.permuted(np.tile(np.arange(size), (number, 1)), axis=1)
    return order[:, : size // 2]


def _signs(start: Array, free: NDArray[np.int64], chosen: Iterable[Any]) -> Array:
    """One row of signs (2R,) for each choice of the free retrievals that the first model gets."""
    picks = np.array(list(chosen), dtype=np.int64).reshape(-1, len(free) // 2)
    signs = np.tile(start, (len(picks), 1))
    signs[:, free] = -1.0
    signs[np.arange(len(picks))[:, None], free[picks]] = 1.0
    return signs


def _sentences(network: LanguageNetwork, steps: Iterable[dict[str, Any]]) -> set[str]:
    """Every sentence of a run: its human posts and all answers."""
    found = {post.text for post in network.human_posts}
    return found.union(text for step in steps for agent in step["answers"] for part in agent for text in part)


def _key(text: str) -> int:
    """A hash of 64 bits: among a million sentences two agree with a chance below 1 in 10 million."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _lookup(path: Path, log: Path, sentences: Iterable[str]) -> Callable[[Sequence[str]], Array]:
    """A function from sentences to their embeddings (N, m)."""
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            place = {key: row for row, key in enumerate(file["keys"].tolist())}
            codes, step = file["codes"], float(file["step"])
    except _UNREADABLE as error:
        raise LogError(f"{path} cannot be read ({error}): pack the embeddings of its folder") from None
    missing = [text for text in sentences if _key(text) not in place]
    if missing:
        raise LogError(
            f"{path} lacks {len(missing)} sentences of {log.name}, such as {min(missing)!r}: pack them again"
        )

    def lookup(texts: Sequence[str]) -> Array:
        vectors: Array = step * codes[[place[_key(text)] for text in texts]].astype(np.float64)
        return vectors

    return lookup


def _total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Sum of counters, in the order of the alphabet."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return {kind: total[kind] for kind in sorted(total)}
