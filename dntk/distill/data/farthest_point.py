"""Farthest points: each pick is the point farthest from those chosen."""

import dataclasses

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk._progress import Task, task
from dntk.distill.data.base import Selection
from dntk.distill.data.feature_rows import FeatureRows
from dntk.distill.data.given import Given, GivenPoints, given_points
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import TangentFeatures


@dataclasses.dataclass(frozen=True)
class FarthestPoint:
    """Points chosen greedily, each the farthest from its nearest chosen point in the metric of the mean kernel.

    The distance is d(x, x')² = K̄(x, x) + K̄(x', x') − 2K̄(x, x'); the first point is the farthest from the mean of the
    features, or from the points given. The largest distance of any point to the chosen ones is at most twice the
    smallest possible for as many (Gonzalez 1985). Of equal distances the lower index is taken. Where every point has a
    chosen one at distance zero, up to rounding, the rest is taken in the order of the data. Deterministic; the first
    points of a larger choice are the smaller one.

    Cost O(n · m · C·k), memory O(n · (C·k + m)); one number per pick is read on the host. Of
    :class:`dntk.StoredFeatures` every pick is a pass over the disk.

    Examples
    --------
    >>> phi = dntk.TangentFeatures(np.array([[0.0], [1.0], [2.0], [10.0]]))
    >>> dntk.distill.data.FarthestPoint(3).select(phi).indices.tolist()
    [3, 0, 2]
    """

    size: int

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size))

    def select(self, phi: TangentFeatures, *, given: GivenPoints = None) -> Selection:
        """Chosen points, with the residual trace after each pick; far from those ``given``, too.

        Raises
        ------
        TypeError, ValueError
            More points asked than there are, or than are left of those ``given``; see :func:`given_points`.
        """
        known = given_points(given, phi, self.size)
        with task("farthest points", total=self.size, unit="points") as bar:
            picks = _farthest(FeatureRows.of(phi), self.size, known, bar)
        return picked_in_order(phi, picks, given=known)


def _farthest(points: FeatureRows, size: int, known: Given | None, bar: Task) -> list[int]:
    nearest = points.distances(points.mean()) if known is None else points.nearest(known.rows)[0]
    xp = arrays.namespace(nearest)
    positions = xp.arange(nearest.shape[0], device=arrays.device_of(nearest))
    nearest = xp.where(points.free(known), nearest, -xp.ones_like(nearest))
    picks: list[int] = []
    for step in bar.over(range(size)):
        pick = int(xp.argmax(nearest))
        picks.append(pick)
        distance = points.distances(points.row(pick))
        nearest = distance if step == 0 and known is None else xp.minimum(nearest, distance)
        nearest = xp.where(positions == pick, -xp.ones_like(nearest), nearest)
    return picks
