"""Uniform choice of points: the baseline."""

import dataclasses

import numpy as np

from dntk._checks import check_seed, keep, positive_integer
from dntk.distill.data.base import Selection
from dntk.distill.data.given import GivenPoints, given_points
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import TangentFeatures
from dntk.random import uniforms


@dataclasses.dataclass(frozen=True)
class Random:
    """Points chosen uniformly without replacement; the same for every backend at one seed.

    The first points of a larger choice are the smaller one at the same seed.
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
        order = np.argsort(uniforms(seed=self.seed, stream="random-selection", count=len(phi)), kind="stable")
        if known is not None:
            order = order[~np.isin(order, known.positions)]
        return picked_in_order(phi, order[: self.size].tolist(), given=known)
