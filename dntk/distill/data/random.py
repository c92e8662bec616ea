"""Uniform choice of points: the baseline."""

import dataclasses
import math

import numpy as np
from jaxtyping import Int

from dntk._checks import check_seed, keep, positive_integer
from dntk.distill.data.base import Selection, check_selection_size
from dntk.distill.data.given import GivenPoints, given_points
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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi = dntk.TangentFeatures(rng.normal(size=(40, 8)))
    >>> few, more = (dntk.distill.data.Random(size, seed=1).select(phi) for size in (5, 10))
    >>> np.array_equal(few.indices, more.indices[:5])
    True
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size), seed=check_seed(self.seed))

    def select(self, phi: TangentFeatures, *, given: GivenPoints = None) -> Selection:
        """Chosen points, with the residual trace they leave.

        Raises
        ------
        TypeError, ValueError
            More points asked than there are, or than are left of those ``given``; see :func:`given_points`.
        """
        known = given_points(given, phi, self.size)
        order = self._order(len(phi))
        if known is not None:
            order = order[~np.isin(order, known.positions)]
        return picked_in_order(phi, order[: self.size].tolist(), given=known)

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
        order = moved(self._order(batches.count(x))[: self.size], like)
        return Selection(indices=order, weights=ones, residual_trace=ones * math.nan, trace=math.nan)

    def _order(self, points: int) -> Int[np.ndarray, " n"]:
        return np.argsort(uniforms(seed=self.seed, stream="random-selection", count=points), kind="stable")
