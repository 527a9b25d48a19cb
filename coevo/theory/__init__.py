"""Bounds, rates and exact laws: pure functions, named after the results they state. No simulator in sight."""

from coevo.theory import (
    acceleration,
    consensus,
    corpus,
    fidelity,
    image,
    matthew,
    overlap,
    slow_collapse,
    text,
    user_diversity,
    user_moments,
    wright_fisher,
)

__all__ = [
    "acceleration",
    "consensus",
    "corpus",
    "fidelity",
    "image",
    "matthew",
    "overlap",
    "slow_collapse",
    "text",
    "user_diversity",
    "user_moments",
    "wright_fisher",
]
