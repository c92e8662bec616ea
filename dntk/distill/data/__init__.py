"""Data distillation: which points to keep, or which inputs to make."""

from dntk.distill.data._fitted_targets import FittedTargets, fitted_targets
from dntk.distill.data.augmentation import Augmentation
from dntk.distill.data.balanced import Balanced
from dntk.distill.data.barycentres import FreeSupport, WeightedSupport
from dntk.distill.data.base import DataSelector, InputSelector, Selection
from dntk.distill.data.distilled_data import DataDistiller, DistilledData, Provenance
from dntk.distill.data.farthest_point import FarthestPoint
from dntk.distill.data.given import GivenPoints
from dntk.distill.data.herding import Herding
from dntk.distill.data.k_means import KMeans
from dntk.distill.data.kernel_inducing import KernelInducing
from dntk.distill.data.last_layer import LastLayer
from dntk.distill.data.lcmd import LCMD
from dntk.distill.data.leverage import Leverage
from dntk.distill.data.max_det import MaxDet
from dntk.distill.data.output_residual import OutputResidual
from dntk.distill.data.prediction_losses import Platt, SquaredError
from dntk.distill.data.random import Random
from dntk.distill.data.rp_cholesky import RPCholesky
from dntk.distill.data.tangent_residual import TangentResidual
from dntk.distill.data.wasserstein import Wasserstein

__all__ = [
    "LCMD",
    "Augmentation",
    "Balanced",
    "DataDistiller",
    "DataSelector",
    "DistilledData",
    "FarthestPoint",
    "FittedTargets",
    "FreeSupport",
    "GivenPoints",
    "Herding",
    "InputSelector",
    "KMeans",
    "KernelInducing",
    "LastLayer",
    "Leverage",
    "MaxDet",
    "OutputResidual",
    "Platt",
    "Provenance",
    "RPCholesky",
    "Random",
    "Selection",
    "SquaredError",
    "TangentResidual",
    "Wasserstein",
    "WeightedSupport",
    "fitted_targets",
]
