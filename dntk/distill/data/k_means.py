"""Points nearest to the centres of clusters."""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer
from dntk._progress import task
from dntk.backend import backend_of
from dntk.distill.data._lloyd import clusters, means
from dntk.distill.data._stored_clusters import StoredPoints
from dntk.distill.data.base import Selection
from dntk.distill.data.given import GivenPoints, given_points
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import StoredFeatures, TangentFeatures
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
    host. Of :class:`dntk.StoredFeatures` every pass is one over the disk, up to 33 in all, and memory O(n + m·C·k).

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
        points = (
            StoredPoints.of(phi, self._short) if isinstance(phi, StoredFeatures) else WholePoints.of(phi, self._short)
        )
        like = phi.sample.values
        xp, fixed = arrays.namespace(like), None
        if known is not None:
            fixed = self._short(xp.astype(known.rows / (points.largest or 1.0), like.dtype, copy=False))
        with task("clusters", total=1, unit="clusterings") as bar:
            labels = points.clusters(self.size, seed=self.seed, fixed=fixed)
            bar.advance()
        if known is not None:
            labels[known.positions] = self.size
        taken = None if known is None else known.positions
        picks, population = _representatives(points, labels, self.size, taken)
        shares = (population * (self.size / np.sum(population))).tolist()
        weights = xp.asarray(shares, dtype=like.dtype, device=arrays.device_of(like))
        return picked_in_order(phi, picks, weights, given=known)

    def _short(self, points: Float[Array, "n d"]) -> Float[Array, "n q"]:
        """What is clustered."""
        return points if points.shape[1] <= DIMENSIONS else SparseSign(DIMENSIONS, seed=self.seed).apply(points)


@dataclasses.dataclass(frozen=True, eq=False)
class WholePoints:
    """Points in memory, as :class:`StoredPoints`: squares of large or small features leave the range of float32."""

    points: Float[Array, "n d"]
    largest: float
    short: Callable[[Float[Array, "n d"]], Float[Array, "n q"]]

    @staticmethod
    def of(phi: TangentFeatures, short: Callable[[Array], Array]) -> "WholePoints":
        """Those of some features."""
        points = phi.joined()
        xp = arrays.namespace(points)
        largest = float(xp.max(xp.abs(points)))
        return WholePoints(points / largest if largest > 0 else points, largest, short)

    def rows(self, positions: npt.NDArray[np.int64]) -> Float[Array, "b d"]:
        """Some points."""
        return arrays.namespace(self.points).take(self.points, self._beside(positions), axis=0)

    def clusters(self, size: int, *, seed: int, fixed: Float[Array, "g q"] | None) -> npt.NDArray[np.int64]:
        """Number of the cluster of every point."""
        return clusters(self.short(self.points), size, seed=seed, fixed=fixed)

    def means(self, labels: npt.NDArray[np.int64], size: int) -> Float[Array, "m d"]:
        """Mean of every cluster's points, zero where it has none."""
        xp, place = arrays.namespace(self.points), arrays.device_of(self.points)
        nothing = xp.zeros((size, self.points.shape[1]), dtype=self.points.dtype, device=place)
        return means(self.points, self._beside(labels), nothing)

    def distances(self, centres: Float[Array, "m d"], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Squared distance of every point to the centre of its cluster, on the host."""
        return _distances(self.points, centres, labels)

    def _beside(self, positions: npt.NDArray[np.int64]) -> Array:
        return backend_of(self.points).from_numpy(positions, device=arrays.device_of(self.points))


def _representatives(
    points: WholePoints | StoredPoints,
    labels: npt.NDArray[np.int64],
    size: int,
    taken: npt.NDArray[np.int64] | None = None,
) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Nearest members of the clusters, the largest cluster first, then what fills up; and how many each stands for.

    Of the cluster of number ``size``, which has its centre already, there is none, unless the others have too few.
    """
    distances = points.distances(points.means(labels, size + 1), labels)
    sizes = np.bincount(labels, minlength=size + 1)[:size]
    order = np.lexsort((distances, labels))
    firsts = order[np.searchsorted(labels[order], np.arange(size))[sizes > 0]]  # the nearest of every cluster
    nearest = np.zeros(size + 1, dtype=np.int64)
    nearest[:size][sizes > 0] = firsts
    ranked = np.argsort(-sizes, kind="stable")[: len(firsts)]
    picks, population = [int(i) for i in nearest[ranked]], np.ones(size)
    population[: len(picks)] = sizes[ranked]
    if len(picks) < size:
        rest = points.distances(points.rows(nearest), labels)
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
