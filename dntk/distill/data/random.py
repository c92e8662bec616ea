"""Uniform choice of points: the baseline."""

import dataclasses
import math

import numpy as np
from jaxtyping import Int

from dntk._checks import check_seed, keep, positive_integer
from dntk.distill.data.base import Selection, check_selection, check_selection_size
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import TangentFeatures
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.random import moved, uniforms
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class Random:
    """Points chosen uniformly without replacement; the same for every backend at one seed.

    The first points of a larger choice are the smaller one at the same seed.
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size), seed=check_seed(self.seed))

    def select(self, phi: TangentFeatures) -> Selection:
        """Chosen points, with the residual trace they leave.

        Raises
        ------
        ValueError
            More points asked than there are.
        """
        check_selection(self.size, phi)
        return picked_in_order(phi, self._order(len(phi)).tolist())

    def select_inputs(self, model: Model, x: Array) -> Selection:
        """The same points of the inputs ``x``, at no pass of the network; what they leave is not known: NaN.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take; more points asked than there are.
        """
        x = checked_inputs(model, x)
        check_selection_size(self.size, batches.count(x))
        like = next(iter(model.parameters.values()))
        ones = model.namespace.ones(self.size, dtype=like.dtype, device=model.device)
        order = moved(self._order(batches.count(x)), like)
        return Selection(indices=order, weights=ones, residual_trace=ones * math.nan, trace=math.nan)

    def _order(self, points: int) -> Int[np.ndarray, " m"]:
        order = np.argsort(uniforms(seed=self.seed, stream="random-selection", count=points), kind="stable")
        return order[: self.size]
