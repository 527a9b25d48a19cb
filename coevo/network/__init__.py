"""Networks of models that read from, and post to, one pool (Wang et al. 2025)."""

from coevo.network.geometry import classical_scaling, distance_matrix, distance_norm
from coevo.network.mixtures import MixtureNetwork, NetworkPath, simulate, update_weights

__all__ = [
    "MixtureNetwork",
    "NetworkPath",
    "classical_scaling",
    "distance_matrix",
    "distance_norm",
    "simulate",
    "update_weights",
]
