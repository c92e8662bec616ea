"""Tangent features: per-sample gradients of every output, sketched to k numbers; in memory, or on the disk."""

from dntk.features.in_memory import TangentFeatures, require_comparable, require_features
from dntk.features.made import kept_features, tangent_features
from dntk.features.neighbours import Neighbours
from dntk.features.stored import StoredFeatures

__all__ = [
    "Neighbours",
    "StoredFeatures",
    "TangentFeatures",
    "kept_features",
    "require_comparable",
    "require_features",
    "tangent_features",
]
