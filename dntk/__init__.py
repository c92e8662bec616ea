"""dntk: distilled neural tangent kernels of real networks, with a measured statement of what was lost.

Nothing is imported before it is used: ``dntk.ntk`` loads what kernels need, at its first mention.
"""

import importlib
import typing

from dntk._checking import checking

if typing.TYPE_CHECKING:
    from dntk import attribution, distill, metrics, outputs, plan, probabilities, sketch, solve, spectrum, targets
    from dntk._progress import ProgressEvent, progress
    from dntk.archive import StoreError
    from dntk.backend import backends
    from dntk.bounds import Bound
    from dntk.certificates import Certificate, certify
    from dntk.distilled_gradients import DistilledGradients
    from dntk.estimator import DistilledNTK, Fit, load
    from dntk.features import StoredFeatures, TangentFeatures, annotate, annotations, tangent_features
    from dntk.kernels import NTKOperator, StoredKernel, ntk
    from dntk.ledger import Ledger
    from dntk.models import MLP, Model, as_model, bridge, points
    from dntk.sklearn import DistilledNTKClassifier, DistilledNTKRegressor, TangentFeatureMap
    from dntk.stores import Store, StoredShard, merge
    from dntk.trajectories import Trajectory, trajectory

__version__ = "0.2.0"

_HOMES = {
    "_progress": ("ProgressEvent", "progress"),
    "archive": ("StoreError",),
    "backend": ("backends",),
    "bounds": ("Bound",),
    "certificates": ("Certificate", "certify"),
    "distilled_gradients": ("DistilledGradients",),
    "estimator": ("DistilledNTK", "Fit", "load"),
    "features": ("StoredFeatures", "TangentFeatures", "annotate", "annotations", "tangent_features"),
    "kernels": ("NTKOperator", "StoredKernel", "ntk"),
    "ledger": ("Ledger",),
    "models": ("MLP", "Model", "as_model", "bridge", "points"),
    "sklearn": ("DistilledNTKClassifier", "DistilledNTKRegressor", "TangentFeatureMap"),
    "stores": ("Store", "StoredShard", "merge"),
    "trajectories": ("Trajectory", "trajectory"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MLP",
    "Bound",
    "Certificate",
    "DistilledGradients",
    "DistilledNTK",
    "DistilledNTKClassifier",
    "DistilledNTKRegressor",
    "Fit",
    "Ledger",
    "Model",
    "NTKOperator",
    "ProgressEvent",
    "Store",
    "StoreError",
    "StoredFeatures",
    "StoredKernel",
    "StoredShard",
    "TangentFeatureMap",
    "TangentFeatures",
    "Trajectory",
    "annotate",
    "annotations",
    "as_model",
    "attribution",
    "backends",
    "bridge",
    "certify",
    "checking",
    "distill",
    "load",
    "merge",
    "metrics",
    "ntk",
    "outputs",
    "plan",
    "points",
    "probabilities",
    "progress",
    "sketch",
    "solve",
    "spectrum",
    "tangent_features",
    "targets",
    "trajectory",
]


if not typing.TYPE_CHECKING:  # type checkers would let every name pass

    def __getattr__(name: str) -> typing.Any:
        """A name or a room of the package, loaded when it is first asked for."""
        home = _HOME.get(name)
        value = _room(name) if home is None else getattr(importlib.import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


def _room(name: str) -> typing.Any:
    """The module ``dntk.<name>``; ``AttributeError`` where there is none."""
    module = f"{__name__}.{name}"
    if not name.startswith("_"):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
