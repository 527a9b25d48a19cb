"""Bounds, rates and exact laws: pure functions, named after the results they state. No simulator in sight."""

from coevo.theory import (
    acceleration,
    corpus,
    fidelity,
    image,
    matthew,
    slow_collapse,
    text,
    user_diversity,
    user_moments,
    wright_fisher,
)

__all__ = [
    "acceleration",
    "corpus",
    "fidelity",
    "image",
    "matthew",
    "slow_collapse",
    "text",
    "user_diversity",
    "user_moments",
    "wright_fisher",
]
