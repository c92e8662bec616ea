"""dntk: distilled neural tangent kernels of real networks, with a measured statement of what was lost."""

from dntk import _checking

_checking.install()  # before any other module of the package is imported

# ruff: noqa: E402
from dntk import distill, metrics, outputs, sketch, solve, spectrum, targets
from dntk._checking import checking
from dntk.archive import StoreError
from dntk.backend import backends
from dntk.bounds import Bound
from dntk.certificates import Certificate, certify
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator import DistilledNTK, Fit, load
from dntk.features import TangentFeatures, tangent_features
from dntk.kernels import NTKOperator, ntk
from dntk.ledger import Ledger
from dntk.models import MLP, Model, as_model, bridge, points

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Bound",
    "Certificate",
    "DistilledGradients",
    "DistilledNTK",
    "Fit",
    "Ledger",
    "Model",
    "NTKOperator",
    "StoreError",
    "TangentFeatures",
    "as_model",
    "backends",
    "bridge",
    "certify",
    "checking",
    "distill",
    "load",
    "metrics",
    "ntk",
    "outputs",
    "points",
    "sketch",
    "solve",
    "spectrum",
    "tangent_features",
    "targets",
]
