"""The distilled regression behind the classifier and the regressor."""

from typing import Any

from dntk._checks import kind_of
from dntk.distill.data import DataDistiller, DistilledData
from dntk.estimator import DistilledNTK, Fit
from dntk.models.base import Model
from dntk.solve.regressions import SEPARATE
from dntk.types import Array


def distilled(estimator: Any, network: Model, x: Array, y: Array, *, seed: int) -> Fit:
    """Fit :class:`dntk.DistilledNTK` with the estimator's parts to inputs and targets at the network's place."""
    spec = DistilledNTK(
        network,
        data=estimator.data,
        sketch=estimator.sketch,
        gradients=estimator.gradients,
        ridge=estimator.ridge,
        seed=seed,
        tolerance=estimator.tolerance,
        regression=SEPARATE if estimator.regression is None else estimator.regression,
    )
    return spec.fit(x, y)


def require_points_of_the_data(data: Any, why: str) -> None:
    """Raise ``ValueError`` for what makes inputs: real-valued targets are not known there.

    The regression would be on the network's outputs, whatever ``y`` is.
    """
    if isinstance(data, DataDistiller | DistilledData):
        msg = (
            f"`data` is {kind_of(data)}, which makes inputs, at which no targets are known: {why}. Pass a selector of "
            "points such as dntk.distill.data.KMeans(500), 'auto', or None."
        )
        raise ValueError(msg)
