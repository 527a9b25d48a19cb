"""The recorded runs of the book: which they are, where their logs are, and the command that records them.

``python -m coevo.network.language.study`` records every run that is not finished; ``make network`` calls it. Each run
may be interrupted and goes on where its log ends.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from coevo.network.language import embedding, recorder, recording, server
from coevo.network.language.endpoints import Endpoint, EndpointError
from coevo.network.language.recorder import SHARING, Agent, LanguageNetwork, LogError
from coevo.network.language.server import NotInstalledError

__all__ = ["DATA", "PERSONA", "SEEDS", "STUDY", "main"]

#: Where the logs of the book's runs are.
DATA = Path(__file__).resolve().parents[3] / "book" / "_data" / "network"

#: One run of each kind for each seed.
SEEDS = (1, 2, 3)

#: The third agent of one more run: the first model's weights with this sentence before the posts.
PERSONA = "You are a careful accountant who dislikes risk."

_TWO = (Agent("smollm2", "smollm2"), Agent("gemma3", "gemma3"))

#: Name of a run -> what is run.
STUDY: dict[str, LanguageNetwork] = {
    f"{sharing}-{seed}": LanguageNetwork(_TWO, seed, sharing) for seed in SEEDS for sharing in SHARING
} | {"persona-1": LanguageNetwork((*_TWO, Agent("accountant", "smollm2", PERSONA)), 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the named runs of `STUDY`, or all that are not finished.

    Returns
    -------
    0, or 1 after an error that is printed in one line.
    """
    parser = argparse.ArgumentParser(description="Record the language network's runs.")
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"any of: {', '.join(STUDY)}; all of them by default")
    parser.add_argument("--folder", type=Path, default=DATA, help="where the logs are written")
    parser.add_argument("--steps", type=int, help="stop each run after so many steps of this session")
    parser.add_argument(
        "--url", action="append", default=[], metavar="MODEL=URL", help="use a running server (its address up to /v1)"
    )
    parser.add_argument("--note", default="", help="what the log says of running servers")
    options = parser.parse_args(arguments)
    for name in options.runs:
        if name not in STUDY:
            parser.error(f"RUN must be one of {', '.join(STUDY)}, got {name!r}")
    try:
        given = dict(_given(url) for url in options.url)
        _record(options.runs or list(STUDY), options.folder, options.steps, given, options.note)
    except (EndpointError, LogError, NotInstalledError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _given(argument: str) -> tuple[str, Endpoint]:
    """Endpoint of an argument MODEL=URL."""
    model, _, url = argument.partition("=")
    return model, Endpoint(model, url, model)


def _record(runs: Sequence[str], folder: Path, steps: int | None, given: dict[str, Endpoint], note: str) -> None:
    """Start the servers that are needed, record, and embed what was said for the replay."""
    models = sorted({agent.model for name in runs for agent in STUDY[name].agents})
    embed = embedding.MiniLM()
    provenance = {
        "models": {
            model: {
                "title": server.LOCAL_MODELS[model].title,
                "licence": server.LOCAL_MODELS[model].licence,
                "sha256": server.sha256(server.weights(model)),
            }
            for model in models
        },
        "servers": {m: f"given: {note}" if m in given else "local: xllamacpp, 1 thread, no cache" for m in models},
        "embedding": {"title": embedding.MODEL, "sha256": server.sha256(embed.folder / "model.safetensors")},
    }
    with contextlib.ExitStack() as stack:
        endpoints = {m: given[m] if m in given else stack.enter_context(server.serve(m)) for m in models}
        for name in runs:
            recorder.record(
                STUDY[name],
                endpoints,
                folder / f"{name}.jsonl",
                embed=embed,
                provenance=provenance,
                stop_after=steps,
            )
    recording.pack(folder, embed)


if __name__ == "__main__":
    sys.exit(main())
