"""The whole method behind one specification: points, sketch, synthetic gradients, ridge regression, certificate."""

from dntk.estimator.specification import DistilledNTK, NotFittedError
from dntk.estimator.storage import load

__all__ = ["DistilledNTK", "NotFittedError", "load"]
