"""Data distillation: which points to keep, or which inputs to make."""

from dntk.distill.data.base import DataSelector, Selection
from dntk.distill.data.distilled_data import DataDistiller, DistilledData, Provenance
from dntk.distill.data.random import Random
from dntk.distill.data.rp_cholesky import RPCholesky
from dntk.distill.data.tangent_residual import TangentResidual

__all__ = [
    "DataDistiller",
    "DataSelector",
    "DistilledData",
    "Provenance",
    "RPCholesky",
    "Random",
    "Selection",
    "TangentResidual",
]
