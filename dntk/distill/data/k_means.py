"""Points nearest to the centres of clusters."""

import dataclasses

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer
from dntk.backend import backend_of
from dntk.distill.data._lloyd import clusters, means
from dntk.distill.data.base import Selection, check_selection
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import TangentFeatures
from dntk.sketch import SparseSign
from dntk.types import Array

DIMENSIONS = 1024
"""Numbers of a point that are clustered; of more, a sketch of so many."""

_BLOCK = 16
"""Features that are compared with those of their cluster at once, in working sets."""


@dataclasses.dataclass(frozen=True)
class KMeans:
    """The point nearest to each centre of k-means on the tangent features.

    Centres are seeded greedily in proportion to squared distances and moved to the means of their points (k-means++,
    Lloyd), at most 25 times. Points of more than 1,024 numbers C·k are clustered by a sketch of so many: it keeps the
    squared distances to about √(2/1024), and with them the objective of every clustering (Makarychev, Makarychev and
    Razenshteyn, STOC 2019). The means and the points nearest to them are those of whole features.

    A cluster is represented by the nearest of its members, so that the points are distinct, and weighs as many
    points as it has; large clusters come first. Where clusters stay empty, as with more clusters than distinct points,
    the points farthest from their cluster's representative fill up, with weight 1 before scaling.

    Cost O(n·C·k + n·m·d) per pass, d = min(C·k, 1024), where the features are; one number a point is read on the
    host.

    Parameters
    ----------
    size
        Number of points and of clusters.
    seed
        Of the first centres, and of the sketch.
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
        points = phi.joined()
        xp = arrays.namespace(points)
        largest = float(xp.max(xp.abs(points)))
        if largest > 0:  # squares of very large or small features leave the range of float32
            points = points / largest
        d = points.shape[1]
        short = points if d <= DIMENSIONS else SparseSign(DIMENSIONS, seed=self.seed).apply(points)
        labels = clusters(short, self.size, seed=self.seed)
        picks, population = _representatives(points, labels, self.size)
        shares = (population * (self.size / np.sum(population))).tolist()
        weights = xp.asarray(shares, dtype=points.dtype, device=arrays.device_of(points))
        return picked_in_order(phi, picks, weights)


def _representatives(
    points: Float[Array, "n d"], labels: npt.NDArray[np.int64], size: int
) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Nearest members of the clusters, the largest cluster first, then what fills up; and how many each stands for."""
    xp, place = arrays.namespace(points), arrays.device_of(points)
    own = backend_of(points).from_numpy(labels, device=place)
    nothing = xp.zeros((size, points.shape[1]), dtype=points.dtype, device=place)
    distances = _distances(points, means(points, own, nothing), labels)
    sizes = np.bincount(labels, minlength=size)
    order = np.lexsort((distances, labels))
    firsts = order[np.searchsorted(labels[order], np.arange(size))[sizes > 0]]  # the nearest of every cluster
    nearest = np.zeros(size, dtype=np.int64)
    nearest[sizes > 0] = firsts
    ranked = np.argsort(-sizes, kind="stable")[: len(firsts)]
    picks, population = [int(i) for i in nearest[ranked]], np.ones(size)
    population[: len(picks)] = sizes[ranked]
    if len(picks) < size:
        rows = xp.take(points, backend_of(points).from_numpy(nearest, device=place), axis=0)
        rest = _distances(points, rows, labels)
        rest[picks] = -1
        picks += [int(i) for i in np.argsort(-rest, kind="stable")[: size - len(picks)]]
    return picks, population


def _distances(
    points: Float[Array, "n d"], centres: Float[Array, "m d"], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Squared distance of every point to the centre of its cluster, on the host."""
    xp, backend = arrays.namespace(points), backend_of(points)
    own, found = backend.from_numpy(labels, device=arrays.device_of(points)), []
    entries = _BLOCK * backend.working_set(points)
    for start, stop in arrays.spans(points.shape[0], max(1, entries // points.shape[1])):
        offsets = points[start:stop, :] - xp.take(centres, own[start:stop], axis=0)
        found.append(np.asarray(backend.to_numpy(xp.sum(offsets * offsets, axis=1)), dtype=np.float64))
    return np.concatenate(found)
