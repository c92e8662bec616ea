"""Uniform choice of points: the baseline."""

import dataclasses

import numpy as np

from dntk._checks import check_seed, keep, positive_integer
from dntk.distill.data.base import Selection, check_selection
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

    def select(self, phi: TangentFeatures) -> Selection:
        """Chosen points, with the residual trace they leave.

        Raises
        ------
        ValueError
            More points asked than there are.
        """
        check_selection(self.size, phi)
        order = np.argsort(uniforms(seed=self.seed, stream="random-selection", count=len(phi)), kind="stable")
        return picked_in_order(phi, order[: self.size].tolist())
