"""Uniform choice of points: the baseline."""

import dataclasses

import numpy as np

from dntk.distill.data.base import Selection, check_selection_size
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import TangentFeatures
from dntk.random import uniforms
from dntk.random.streams import check_seed


@dataclasses.dataclass(frozen=True)
class Random:
    """Points chosen uniformly without replacement; the same for every backend at one seed.

    The first points of a larger choice are the smaller one at the same seed.
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def select(self, phi: TangentFeatures) -> Selection:
        """Chosen points, with the residual trace they leave.

        Raises
        ------
        ValueError
            More points asked than there are.
        """
        check_selection_size(self.size, len(phi))
        order = np.argsort(uniforms(seed=self.seed, stream="random-selection", count=len(phi)), kind="stable")
        return picked_in_order(phi, order[: self.size].tolist())
