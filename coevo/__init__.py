"""coevo: models, bounds and evidence for generative models that train on each other and collapse."""

from coevo.measures import fidelity, image_diversity, text_diversity
from coevo.simulation import (
    CorpusInjection,
    State,
    System,
    UserContent,
    circle,
    replicate,
    simulate,
)

__all__ = [
    "CorpusInjection",
    "State",
    "System",
    "UserContent",
    "circle",
    "fidelity",
    "image_diversity",
    "replicate",
    "simulate",
    "text_diversity",
]

__version__ = "0.1.0"
