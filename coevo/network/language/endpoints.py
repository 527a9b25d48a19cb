"""Ask a language model for sentences over an OpenAI-compatible HTTP interface.

Small models fail often and in many ways: they say nothing, they never stop, the server is busy, the connection breaks.
`ask` repeats a request within limits, counts every failure by its kind, and gives up with an error that says what
happened. An API key is read from the environment at the moment of the request; it is in no object that is stored,
printed or logged.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from coevo import _validation as check

if TYPE_CHECKING:
    import httpx

__all__ = ["FAILURES", "Answers", "Endpoint", "EndpointError", "Limits", "ask", "clean"]

#: What can go wrong with a request ("refused" to "malformed") or with one answer ("empty", "too_long").
FAILURES = ("refused", "timeout", "busy", "malformed", "empty", "too_long")

#: HTTP statuses after which the same request may succeed later.
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})

#: An answer is one sentence: it ends at the end of a line or of a sentence.
_STOPS = ("\n", ". ", "! ", "? ")


class EndpointError(RuntimeError):
    """A model could not be asked: what was tried, and what came back."""


@dataclass(frozen=True)
class Limits:
    """How long and how often to try.

    Attributes
    ----------
    max_tokens : longest answer in tokens; a longer one is cut by the server and counts as ``"too_long"``
    requests : most requests for one batch of answers, at least 1
    timeout : seconds to wait for one request, > 0
    pause : seconds before a repetition after a refused, timed-out or busy request; doubled each time up to 30

    Raises
    ------
    TypeError, ValueError
        Naming the attribute, its allowed range and what it was.
    """

    max_tokens: int = 64
    requests: int = 12
    timeout: float = 300.0
    pause: float = 0.5

    def __post_init__(self) -> None:
        check.integer("max_tokens", self.max_tokens, minimum=1)
        check.integer("requests", self.requests, minimum=1)
        check.number("timeout", self.timeout, minimum=0.0, open_minimum=True)
        check.number("pause", self.pause, minimum=0.0)


@dataclass(frozen=True)
class Endpoint:
    """One language model behind an OpenAI-compatible interface.

    Attributes
    ----------
    name : the model's name in the network: letters, digits, dots, hyphens and underscores
    url : address of the interface up to ``/v1``, e.g. ``"http://127.0.0.1:8080/v1"``; it must not hold a password, a
        query or a fragment, where keys hide
    model : the name that the server knows the model by
    chat : False asks ``/completions`` with the posts, the question and the beginning of the answer; True asks
        ``/chat/completions``, for interfaces that offer nothing else
    key_variable : name of the environment variable that holds the API key, or None if there is none

    Raises
    ------
    TypeError, ValueError
        Naming the attribute, what it may be, and what it was (never a key).
    """

    name: str
    url: str
    model: str
    chat: bool = False
    key_variable: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", check.instance("name", self.name, str)):
            raise ValueError(f"name must be letters, digits, dots, hyphens and underscores, got {self.name!r}")
        parts = urlsplit(check.instance("url", self.url, str))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must begin with http:// or https:// and a host name")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("url must not hold a password, a query or a fragment: put the key into the environment")
        check.words("model", self.model)
        check.instance("chat", self.chat, bool)
        variable = self.key_variable
        if variable is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", check.words("key_variable", variable)):
            raise ValueError("key_variable must be the name of an environment variable, not a key")


@dataclass(frozen=True)
class Answers:
    """What `ask` got: the sentences, the requests it took, and the failures by kind (`FAILURES`)."""

    texts: tuple[str, ...]
    requests: int
    failures: dict[str, int] = field(default_factory=dict)


def clean(start: str, text: str) -> str:
    """One sentence from the beginning of an answer and what the model wrote after it.

    Parameters
    ----------
    start : the words the model was given as the beginning of its answer; may be empty
    text : what it wrote

    Returns
    -------
    str
        A single line with single spaces that ends in a full stop, an exclamation or a question mark; empty if the
        model wrote no letter.
    """
    line = text.split("\n", 1)[0]
    for stop in _STOPS[1:]:
        if stop in line:
            line = line[: line.index(stop) + 1]
    if not re.search(r"[^\W\d_]", line):
        return ""
    sentence = " ".join(f"{start}{line}".split()).strip("\"' ")
    return sentence if sentence[-1:] in ".!?" else sentence.rstrip(",;:- ") + "."


def ask(
    client: httpx.Client,
    endpoint: Endpoint,
    prompt: str,
    start: str,
    number: int,
    *,
    temperature: float,
    seed: int,
    limits: Limits,
    sleep: Callable[[float], None] = time.sleep,
) -> Answers:
    """Ask a model for `number` answers to one prompt, again until all are sentences.

    Parameters
    ----------
    client : an httpx.Client
    endpoint : whom to ask
    prompt : everything the model reads, without the beginning of the answer
    start : the beginning of the answer, put in the model's mouth (as an instruction if `endpoint.chat`)
    number : how many answers, >= 1
    temperature : of the sampling, >= 0
    seed : of the first request; request r uses ``seed + 1000 r``, so that a repetition is not the same answer again
    limits : `Limits`
    sleep : how to wait; for tests

    Returns
    -------
    Answers

    Raises
    ------
    EndpointError
        If the server refuses the request for good (a status such as 400 or 401), if the key's environment variable is
        not set, or if the answers are not complete after `limits.requests` requests. The message counts the failures
        and never holds the key.
    """
    headers = {"Authorization": f"Bearer {_key(endpoint)}"} if endpoint.key_variable else {}
    texts: list[str] = []
    failures: Counter[str] = Counter()
    pause = limits.pause
    for request in range(limits.requests):
        body = _body(endpoint, prompt, start, number - len(texts), temperature, seed + 1000 * request, limits)
        kind, choices = _post(client, endpoint, body, headers, limits.timeout)
        if kind:
            failures[kind] += 1
            if kind != "malformed":
                sleep(pause)
                pause = min(2 * pause, 30.0)
            continue
        for text, cut in choices:
            sentence = clean("" if endpoint.chat else start, text)
            if cut:
                failures["too_long"] += 1
            elif not sentence:
                failures["empty"] += 1
            elif len(texts) < number:
                texts.append(sentence)
        if len(texts) == number:
            return Answers(tuple(texts), request + 1, dict(failures))
    counted = ", ".join(f"{failures[kind]} {kind}" for kind in FAILURES if failures[kind])
    raise EndpointError(
        f"{endpoint.name} gave {len(texts)} of {number} answers in {limits.requests} requests (failures: {counted})"
    )


def _key(endpoint: Endpoint) -> str:
    """The API key, from the environment."""
    key = os.environ.get(endpoint.key_variable or "", "")
    if not key:
        raise EndpointError(f"{endpoint.name} needs an API key in the environment variable {endpoint.key_variable}")
    return key


def _body(
    endpoint: Endpoint, prompt: str, start: str, number: int, temperature: float, seed: int, limits: Limits
) -> dict[str, Any]:
    """What is sent."""
    common = {
        "model": endpoint.model,
        "n": number,
        "max_tokens": limits.max_tokens,
        "temperature": temperature,
        "seed": seed,
        "stream": False,
    }
    if endpoint.chat:
        order = f"{prompt}\nBegin with the word {start}." if start else prompt
        return common | {"messages": [{"role": "user", "content": order}]}
    return common | {"prompt": f"{prompt}{start}", "stop": list(_STOPS)}


def _post(
    client: httpx.Client, endpoint: Endpoint, body: dict[str, Any], headers: dict[str, str], timeout: float
) -> tuple[str, list[tuple[str, bool]]]:
    """One request: the kind of failure and nothing, or no failure and the answers with whether each was cut."""
    import httpx

    address = endpoint.url.rstrip("/") + ("/chat/completions" if endpoint.chat else "/completions")
    try:
        response = client.post(address, json=body, headers=headers, timeout=timeout)
    except httpx.TimeoutException:
        return "timeout", []
    except httpx.TransportError:
        return "refused", []
    if response.status_code in _BUSY:
        return "busy", []
    if response.status_code != 200:
        raise EndpointError(f"{endpoint.name} refused the request with HTTP status {response.status_code}")
    try:
        choices = [
            (choice["message"]["content"] or "" if endpoint.chat else choice["text"], choice["finish_reason"])
            for choice in response.json()["choices"]
        ]
        if not choices or not all(isinstance(text, str) for text, _ in choices):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        return "malformed", []
    return "", [(text, reason == "length" and "\n" not in text) for text, reason in choices]
