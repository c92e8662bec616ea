"""The whole method behind one specification, and the value that it fits."""

from dntk.estimator._loading import load
from dntk.estimator._query import Query
from dntk.estimator.fit import Fit
from dntk.estimator.losses import Losses
from dntk.estimator.specification import DistilledNTK

__all__ = ["DistilledNTK", "Fit", "Losses", "Query", "load"]
