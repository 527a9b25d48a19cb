"""Bounds, rates and exact laws: pure functions, named after the results they state. No simulator in sight."""

from coevo.theory import fidelity, image, text, wright_fisher

__all__ = ["fidelity", "image", "text", "wright_fisher"]
