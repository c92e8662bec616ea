"""Points nearest to the centres of clusters."""

import dataclasses

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer
from dntk.backend import backend_of
from dntk.distill.data._lloyd import clusters, means
from dntk.distill.data.base import Selection
from dntk.distill.data.given import GivenPoints, given_points
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

    Points given are centres that do not move; the others are represented, and weigh, as the points that are nearer to
    them than to any of those given.

    Cost O(n·C·k + n·m·d) per pass, d = min(C·k, 1024), where the features are; one number a point is read on the
    host.

    Parameters
    ----------
    size
        Number of points and of clusters.
    seed
        Of the first centres, and of the sketch.

    Examples
    --------
    >>> centres = np.array([[10.0, 0.0], [0.0, 10.0], [-10.0, -10.0]])
    >>> cluster = np.repeat([0, 1, 2], [20, 15, 5])
    >>> noise = np.random.default_rng(0).normal(size=(40, 2))
    >>> phi = dntk.TangentFeatures(centres[cluster] + noise)
    >>> core = dntk.distill.data.KMeans(3).select(phi)
    >>> cluster[core.indices].tolist(), (core.weights * 40 / 3).round(6).tolist()
    ([0, 1, 2], [20.0, 15.0, 5.0])
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size), seed=check_seed(self.seed))

    def select(self, phi: TangentFeatures, *, given: GivenPoints = None) -> Selection:
        """Chosen points, weighted by their clusters, with the residual trace after each pick.

        Raises
        ------
        TypeError, ValueError
            More points asked than there are, or than are left of those ``given``; see :func:`given_points`.
        """
        known = given_points(given, phi, self.size)
        points = phi.joined()
        xp = arrays.namespace(points)
        largest = float(xp.max(xp.abs(points)))
        if largest > 0:  # squares of very large or small features leave the range of float32
            points = points / largest
        fixed = None
        if known is not None:
            fixed = self._short(xp.astype(known.rows / (largest or 1.0), points.dtype, copy=False))
        labels = clusters(self._short(points), self.size, seed=self.seed, fixed=fixed)
        if known is not None:
            labels[known.positions] = self.size
        taken = None if known is None else known.positions
        picks, population = _representatives(points, labels, self.size, taken)
        shares = (population * (self.size / np.sum(population))).tolist()
        weights = xp.asarray(shares, dtype=points.dtype, device=arrays.device_of(points))
        return picked_in_order(phi, picks, weights, given=known)

    def _short(self, points: Float[Array, "n d"]) -> Float[Array, "n q"]:
        """What is clustered."""
        return points if points.shape[1] <= DIMENSIONS else SparseSign(DIMENSIONS, seed=self.seed).apply(points)


def _representatives(
    points: Float[Array, "n d"],
    labels: npt.NDArray[np.int64],
    size: int,
    taken: npt.NDArray[np.int64] | None = None,
) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Nearest members of the clusters, the largest cluster first, then what fills up; and how many each stands for.

    Of the cluster of number ``size``, which has its centre already, there is none, unless the others have too few.
    """
    xp, place = arrays.namespace(points), arrays.device_of(points)
    own = backend_of(points).from_numpy(labels, device=place)
    nothing = xp.zeros((size + 1, points.shape[1]), dtype=points.dtype, device=place)
    distances = _distances(points, means(points, own, nothing), labels)
    sizes = np.bincount(labels, minlength=size + 1)[:size]
    order = np.lexsort((distances, labels))
    firsts = order[np.searchsorted(labels[order], np.arange(size))[sizes > 0]]  # the nearest of every cluster
    nearest = np.zeros(size + 1, dtype=np.int64)
    nearest[:size][sizes > 0] = firsts
    ranked = np.argsort(-sizes, kind="stable")[: len(firsts)]
    picks, population = [int(i) for i in nearest[ranked]], np.ones(size)
    population[: len(picks)] = sizes[ranked]
    if len(picks) < size:
        rows = xp.take(points, backend_of(points).from_numpy(nearest, device=place), axis=0)
        rest = _distances(points, rows, labels)
        rest[labels == size] = -1
        rest[[*picks, *([] if taken is None else taken)]] = -2
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
