"""Algorithm 1 of Wang et al. 2025 with real language models, recorded step by step into an append-only log.

A log is a text file of JSON lines. The first line says what was run; a line of kind ``"session"`` says when, with what
versions and on what machine; a line of kind ``"step"`` holds everything that happened at one time step. A step is
written in one piece when it is complete, so a kill loses the step under way and nothing else, and `record` goes on
where the log ends. All random choices of a step depend on the seed, the time, the model and the retrieval alone.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import coevo
from coevo import _validation as check
from coevo.network.geometry import distance_matrix
from coevo.network.language.endpoints import Answers, Endpoint, Limits, ask
from coevo.network.language.posts import HUMAN_POSTS, QUERY, HumanPost

if TYPE_CHECKING:
    import httpx

__all__ = ["FORMAT", "SHARING", "Agent", "LanguageNetwork", "LogError", "Post", "prompt", "read", "record"]

#: Version of the log's format.
FORMAT = 1

#: Who reads what: one pool; a pool that nothing is posted to; a pool for each model with its own posts only.
SHARING = ("shared", "frozen", "isolated")

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class LogError(ValueError):
    """A log cannot be read or continued: the file, the line, and what is wrong with it."""


@dataclass(frozen=True)
class Agent:
    """A model of the network.

    Attributes
    ----------
    name : its name in the log, different for each agent
    model : name of the `Endpoint` that it asks
    persona : a sentence put before the posts; empty for none. Two agents may share a model and differ in this.

    Raises
    ------
    TypeError, ValueError
        If a name is empty or no text.
    """

    name: str
    model: str
    persona: str = ""

    def __post_init__(self) -> None:
        check.words("name", self.name)
        check.words("model", self.model)
        check.instance("persona", self.persona, str)


class Post(NamedTuple):
    """A sentence of the pool: its text, who wrote it (an agent's name or ``"human"``), and when (-1 for A^(0))."""

    text: str
    author: str
    t: int


@dataclass(frozen=True)
class LanguageNetwork:
    """What is run: Algorithm 1 of Wang et al. 2025, with the L answers of a step spread over several retrievals.

    Attributes
    ----------
    agents : the n models, at least 2
    seed : int >= 0
    sharing : one of `SHARING`. ``"shared"`` is the paper's network: each agent posts its first answer to one pool.
        ``"frozen"`` posts nothing. ``"isolated"`` gives each agent a pool of its own, to which it posts n answers of n
        different retrievals at each step, so that all pools grow alike and only the authors differ.
    samples : L, answers of each agent at each step, a multiple of `retrievals`
    retrievals : independent retrievals that the L answers are spread over, >= 2; the paper has 1
    retrieval : beta in (0, 1], the share of the pool that a retrieval reads
    steps : T >= 1; the log holds t = 0, ..., T - 1
    temperature : of the models' sampling, >= 0
    query : the question q
    start : first words of every answer
    human_posts : A^(0)

    Raises
    ------
    TypeError, ValueError
        Naming the attribute, its allowed range and what it was.
    """

    agents: tuple[Agent, ...]
    seed: int
    sharing: str = "shared"
    samples: int = 20
    retrievals: int = 4
    retrieval: float = 0.5
    steps: int = 40
    temperature: float = 0.8
    query: str = QUERY
    start: str = "Bitcoin"
    human_posts: tuple[HumanPost, ...] = field(default=HUMAN_POSTS)

    def __post_init__(self) -> None:
        for agent in check.instance("agents", self.agents, tuple):
            check.instance("agents", agent, Agent)
        names = [agent.name for agent in self.agents]
        if len(names) < 2 or len(set(names)) < len(names) or "human" in names:
            raise ValueError(f"agents must be at least two with different names other than 'human', got {names}")
        check.choice("sharing", self.sharing, SHARING)
        check.integer("seed", self.seed, minimum=0)
        check.integer("retrievals", self.retrievals, minimum=2)
        check.integer("samples", self.samples, minimum=self.retrievals)
        if self.samples % self.retrievals:
            raise ValueError(f"samples must be a multiple of retrievals = {self.retrievals}, got {self.samples}")
        if self.sharing == "isolated" and self.retrievals < len(names):
            raise ValueError(f"retrievals must be at least the {len(names)} agents if isolated, got {self.retrievals}")
        check.number("retrieval", self.retrieval, minimum=0.0, maximum=1.0, open_minimum=True)
        check.integer("steps", self.steps, minimum=1)
        check.number("temperature", self.temperature, minimum=0.0)
        check.words("query", self.query)
        check.instance("start", self.start, str)
        if not check.instance("human_posts", self.human_posts, tuple):
            raise ValueError("human_posts must hold at least one post, got none")

    @property
    def identity(self) -> dict[str, Any]:
        """All that is asked for, as the first line of a log holds it."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> LanguageNetwork:
        """Inverse of `identity`.

        Raises
        ------
        TypeError, ValueError
            If an attribute is missing, unknown or out of its range.
        """
        values = dict(identity)
        values["agents"] = tuple(Agent(**agent) for agent in values["agents"])
        values["human_posts"] = tuple(HumanPost(*post) for post in values["human_posts"])
        return cls(**values)


def prompt(network: LanguageNetwork, agent: Agent, posts: Sequence[str]) -> str:
    """What an agent reads before the first word of its answer.

    Parameters
    ----------
    network : for the query
    agent : for the persona
    posts : the sentences it retrieved, in this order

    Returns
    -------
    str that ends in ``"Answer: "``
    """
    lines = [agent.persona] if agent.persona else []
    return "\n".join([*lines, *posts, f"Question: {network.query}", "Answer: "])


def read(path: Path) -> tuple[LanguageNetwork, list[dict[str, Any]], list[dict[str, Any]], int]:
    """Read a log.

    Parameters
    ----------
    path : of the log

    Returns
    -------
    network : what was run
    sessions : the lines of kind "session"
    steps : the lines of kind "step", t = 0, 1, ... without gaps
    size : bytes up to the end of the last complete line; what lies beyond was cut off by a kill

    Raises
    ------
    LogError
        If a complete line is not what it should be; the error names the line.
    """
    lines = path.read_bytes().split(b"\n")
    size = sum(len(line) + 1 for line in lines[:-1])
    network: LanguageNetwork | None = None
    sessions: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            entry = json.loads(line)
            kind = entry["kind"]
            if network is None:
                if kind != "run" or entry["format"] != FORMAT:
                    raise ValueError(f"the first line must be a run of format {FORMAT}")
                network = LanguageNetwork.from_identity(entry["network"])
            elif kind == "session":
                sessions.append(entry)
            elif kind == "step" and entry["t"] == len(steps):
                steps.append(entry)
            else:
                raise ValueError(f"expected step {len(steps)} or a session")
        except (ValueError, KeyError, TypeError) as error:
            raise LogError(f"{path}, line {number}: {error}") from None
    if network is None:
        raise LogError(f"{path} holds no complete line")
    return network, sessions, steps, size


def pools(network: LanguageNetwork, steps: Sequence[Mapping[str, Any]]) -> list[list[Post]]:
    """The pool that each agent reads after some steps, with the author of every sentence.

    Parameters
    ----------
    network : what is run
    steps : the lines of kind "step" so far

    Returns
    -------
    A list for each agent. If the network is not isolated they are equal.
    """
    names = [agent.name for agent in network.agents]
    human = [Post(post.text, "human", -1) for post in network.human_posts]
    result = [list(human) for _ in names]
    for step in steps:
        for reader, pool in enumerate(result):
            for writer in range(len(names)):
                if network.sharing == "shared":
                    pool.append(Post(step["answers"][writer][0][0], names[writer], step["t"]))
                elif network.sharing == "isolated":
                    pool.append(Post(step["answers"][reader][writer][0], names[reader], step["t"]))
    return result


def record(
    network: LanguageNetwork,
    endpoints: Mapping[str, Endpoint],
    path: Path,
    *,
    embed: Embed,
    limits: Limits | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    stop_after: int | None = None,
) -> None:
    """Run Algorithm 1 and write the log, or go on with a log that is not finished.

    Parameters
    ----------
    network : what is run
    endpoints : whom to ask, by the name of the model
    path : of the log; made with its folder if it does not exist
    embed : sentences to vectors of unit length, ``MiniLM()`` for the book's runs
    limits : how long and how often to try
    provenance : more to write into the session's line (hashes of weights, names of models); plain JSON
    progress : a progress bar on standard error; None shows one in a terminal only
    stop_after : stop after so many steps of this session; None goes on to the end

    Raises
    ------
    KeyError
        If an agent's model has no endpoint.
    LogError
        If the log belongs to another run, is damaged, or is being written by another process.
    EndpointError
        If a model cannot be asked; the log keeps every finished step.
    """
    import httpx

    for agent in network.agents:
        if agent.model not in endpoints:
            raise KeyError(f"endpoints must hold {agent.model!r}, the model of agent {agent.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _only_writer(path) as log, httpx.Client() as client:
        steps = _continue(log, path, network)
        if len(steps) == network.steps:
            return
        _append(log, {"kind": "session", "first": len(steps), **_session(), **(provenance or {})})
        last = network.steps if stop_after is None else min(network.steps, len(steps) + stop_after)
        with tqdm(
            total=network.steps, initial=len(steps), unit="step", desc=path.stem, disable=_quiet(progress)
        ) as bar:
            for t in range(len(steps), last):
                step = _step(network, endpoints, client, t, pools(network, steps), embed, limits or Limits())
                _append(log, step)
                steps.append(step)
                bar.set_postfix_str(f"norm {step['distance_norm']:.3f}")
                bar.update()


def _quiet(progress: bool | None) -> bool | None:
    """Value of tqdm's `disable`: None leaves it to whether standard error is a terminal."""
    return None if progress is None else not progress


@contextlib.contextmanager
def _only_writer(path: Path) -> Iterator[IO[bytes]]:
    """The log, open for reading and appending, locked against a second recorder."""
    import fcntl

    with path.open("a+b") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LogError(f"{path} is being written by another process") from None
        yield log


def _continue(log: IO[bytes], path: Path, network: LanguageNetwork) -> list[dict[str, Any]]:
    """Steps that a log holds already; a line that a kill cut off is removed, a new log gets its first line."""
    log.seek(0)
    if b"\n" not in log.read():
        log.truncate(0)
        _append(log, {"kind": "run", "format": FORMAT, "network": network.identity})
        return []
    found, _, steps, size = read(path)
    if found != network:
        different = [key for key, value in network.identity.items() if found.identity[key] != value]
        raise LogError(f"{path} belongs to another run: {', '.join(different)} differ")
    log.truncate(size)
    return steps


def _append(log: IO[bytes], entry: Mapping[str, Any]) -> None:
    """Write one line and wait until it is on the disk."""
    log.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n")
    log.flush()
    os.fsync(log.fileno())


def _session() -> dict[str, Any]:
    """When, with what versions and on what machine."""
    versions = {"coevo": coevo.__version__, "python": platform.python_version(), "numpy": np.__version__}
    for package in ("xllamacpp", "httpx", "tokenizers"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": versions,
    }


def _step(
    network: LanguageNetwork,
    endpoints: Mapping[str, Endpoint],
    client: httpx.Client,
    t: int,
    pool: Sequence[Sequence[Post]],
    embed: Embed,
    limits: Limits,
) -> dict[str, Any]:
    """Lines 2 to 8 of Algorithm 1: retrieve, answer, embed, measure."""
    began = time.monotonic()
    retrieved = [
        [_retrieve(network, t, i, r, len(pool[i])) for r in range(network.retrievals)]
        for i in range(len(network.agents))
    ]

    def answer(i: int, r: int) -> Answers:
        agent = network.agents[i]
        text = prompt(network, agent, [pool[i][post].text for post in retrieved[i][r]])
        number = network.samples // network.retrievals
        seed = int(np.random.SeedSequence([network.seed, t, i, r, 1]).generate_state(1)[0] >> 1)
        options = {"temperature": network.temperature, "seed": seed, "limits": limits}
        return ask(client, endpoints[agent.model], text, network.start, number, **options)  # type: ignore[arg-type]

    def ask_model(model: str) -> dict[tuple[int, int], Answers]:
        # One request at a time for each model: what a server computes together may change the last digits.
        mine = [i for i, agent in enumerate(network.agents) if agent.model == model]
        return {(i, r): answer(i, r) for i in mine for r in range(network.retrievals)}

    models = sorted({agent.model for agent in network.agents})
    with ThreadPoolExecutor(len(models)) as threads:
        asked = {key: value for part in threads.map(ask_model, models) for key, value in part.items()}
    got = [[asked[i, r] for r in range(network.retrievals)] for i in range(len(network.agents))]
    means = np.array([embed([text for part in agent for text in part.texts]).mean(axis=0) for agent in got], np.float64)
    distances = distance_matrix(means)
    return {
        "kind": "step",
        "t": t,
        "distance_norm": round(float(np.linalg.norm(distances)), 6),
        "distances": np.round(distances, 6).tolist(),
        "retrieved": retrieved,
        "answers": [[list(part.texts) for part in agent] for agent in got],
        "requests": [sum(part.requests for part in agent) for agent in got],
        "failures": [_sum_counts([part.failures for part in agent]) for agent in got],
        "means": [base64.b64encode(row.astype("<f2").tobytes()).decode() for row in means],
        "seconds": round(time.monotonic() - began, 1),
    }


def _retrieve(network: LanguageNetwork, t: int, i: int, r: int, size: int) -> list[int]:
    """k_t = floor(beta |A^(t)|) places of the pool, uniformly without replacement, in random order."""
    rng = np.random.default_rng(np.random.SeedSequence([network.seed, t, i, r, 0]))
    chosen: list[int] = rng.choice(size, check.floor_share(network.retrieval, size), replace=False).tolist()
    return chosen


def _sum_counts(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Sum of counters, in the order of the alphabet."""
    return {kind: sum(c.get(kind, 0) for c in counts) for kind in sorted({kind for c in counts for kind in c})}
