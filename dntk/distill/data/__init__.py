"""Data distillation: which points to keep."""

from dntk.distill.data.balanced import Balanced
from dntk.distill.data.base import DataSelector, Selection
from dntk.distill.data.farthest_point import FarthestPoint
from dntk.distill.data.herding import Herding
from dntk.distill.data.k_means import KMeans
from dntk.distill.data.leverage import Leverage
from dntk.distill.data.random import Random
from dntk.distill.data.rp_cholesky import RPCholesky

__all__ = [
    "Balanced",
    "DataSelector",
    "FarthestPoint",
    "Herding",
    "KMeans",
    "Leverage",
    "RPCholesky",
    "Random",
    "Selection",
]
