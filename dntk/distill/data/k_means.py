"""Points nearest to the centres of clusters."""

import dataclasses
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer
from dntk.backend import backend_of
from dntk.distill.data.base import Selection, check_selection
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import TangentFeatures
from dntk.random import words


@dataclasses.dataclass(frozen=True)
class KMeans:
    """The point nearest to each centre of scikit-learn's ``MiniBatchKMeans`` on the tangent features.

    A cluster is represented by the nearest of its members, so that the points are distinct, and weighs as many
    points as it has; large clusters come first. Where clusters stay empty, as with more clusters than distinct points,
    the points farthest from their cluster's representative fill up, with weight 1 before scaling.

    Cost O(n · m · C·k) per pass of scikit-learn, on the host: features on another device are copied there.

    Parameters
    ----------
    size
        Number of points and of clusters.
    seed
        Of scikit-learn's initial centres and batches.
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size), seed=check_seed(self.seed))

    def select(self, phi: TangentFeatures) -> Selection:
        """Chosen points, weighted by their clusters, with the residual trace after each pick.

        Raises
        ------
        ValueError
            More points asked than there are.
        """
        check_selection(self.size, phi)
        joined = phi.joined()
        points = np.asarray(backend_of(joined).to_numpy(joined))
        largest = np.max(np.abs(points))
        if largest > 0:  # squares of very large or small features leave the range of float32
            points = points / largest
        picks, population = _representatives(points, *self._clusters(points))
        xp = arrays.namespace(joined)
        shares = (population * (self.size / np.sum(population))).tolist()
        weights = xp.asarray(shares, dtype=joined.dtype, device=arrays.device_of(joined))
        return picked_in_order(phi, picks, weights)

    def _clusters(self, points: npt.NDArray[Any]) -> tuple[Any, Any]:
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning

        state = int(words(seed=self.seed, stream="k-means", start=0, count=8)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters are provided for
            fitted = MiniBatchKMeans(n_clusters=self.size, random_state=state, n_init="auto").fit(points)
        return fitted.cluster_centers_, fitted.labels_


def _representatives(
    points: npt.NDArray[Any], centres: npt.NDArray[Any], labels: npt.NDArray[Any]
) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Nearest members of the clusters, the largest cluster first, then what fills up; and how many each stands for."""
    sizes = np.bincount(labels, minlength=len(centres))
    rest = np.empty(len(points), dtype=points.dtype)
    picks: list[int] = []
    for cluster in np.argsort(-sizes, kind="stable"):
        members = np.flatnonzero(labels == cluster)
        if len(members):
            offsets = points[members] - centres[cluster]
            picks.append(int(members[np.argmin(np.sum(offsets * offsets, axis=1))]))
            offsets = points[members] - points[picks[-1]]
            rest[members] = np.sum(offsets * offsets, axis=1)
    population = np.ones(len(centres))
    population[: len(picks)] = np.sort(sizes)[::-1][: len(picks)]
    rest[picks] = -1
    missing = len(centres) - len(picks)
    return picks + [int(i) for i in np.argsort(-rest, kind="stable")[:missing]], population
