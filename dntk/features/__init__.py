"""Tangent features: per-sample gradients of every output, sketched to k numbers; in memory, or on the disk."""

from dntk.features._annotations import annotate, annotations
from dntk.features.in_memory import TangentFeatures, require_comparable, require_features, require_kernel_of
from dntk.features.made import kept_features, tangent_features
from dntk.features.neighbours import Neighbours
from dntk.features.paired import PairedFeatures
from dntk.features.stored import StoredFeatures

__all__ = [
    "Neighbours",
    "PairedFeatures",
    "StoredFeatures",
    "TangentFeatures",
    "annotate",
    "annotations",
    "kept_features",
    "require_comparable",
    "require_features",
    "require_kernel_of",
    "tangent_features",
]
