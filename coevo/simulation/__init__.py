"""Algorithms 1, 2 and 3 of Gao & Li (2025), vectorised over independent runs."""

from coevo.simulation.runs import STATISTICS, Path, Replicates, replicate, simulate
from coevo.simulation.state import ImageModel, State, circle
from coevo.simulation.system import CorpusInjection, System, UserContent
from coevo.simulation.updates import image_update, inject_text, macro_step, text_update

__all__ = [
    "STATISTICS",
    "CorpusInjection",
    "ImageModel",
    "Path",
    "Replicates",
    "State",
    "System",
    "UserContent",
    "circle",
    "image_update",
    "inject_text",
    "macro_step",
    "replicate",
    "simulate",
    "text_update",
]
