"""Largest cluster, maximum distance: each pick is the farthest point of the cluster that is worst covered."""

import dataclasses

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk._progress import Task, task
from dntk.backend import backend_of
from dntk.distill.data.base import Selection
from dntk.distill.data.feature_rows import FeatureRows
from dntk.distill.data.given import Given, GivenPoints, given_points
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import TangentFeatures
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class LCMD:
    """Points for labelling in batches: each the farthest from its centre in the cluster that is worst covered.

    Every point belongs to the nearest of the points given and chosen so far, in the metric of the mean kernel
    d(x, x')² = K̄(x, x) + K̄(x', x') − 2K̄(x, x'). The cluster is looked at whose points' squared distances to their
    centre have the largest sum, and its farthest point is taken: dense regions get more points than
    :class:`FarthestPoint` gives them, and outliers fewer (largest cluster maximum distance; Holzmüller, Zaverkin,
    Kästner and Steinwart, JMLR 24 (164), 2023). With nothing given the first point is that of the largest K̄(x, x).
    Of equal ones the lower index is taken. Where every point has a chosen one at distance zero, up to rounding, the
    rest is taken in the order of the data. Deterministic; the first points of a larger choice are the smaller one.

    Cost O(n · (m + g) · C·k) for g points given, memory O(n · (C·k + m)); two numbers per pick are read on the host.
    Of :class:`dntk.StoredFeatures` every pick is a pass over the disk.

    Examples
    --------
    >>> phi = dntk.TangentFeatures(np.array([[0.0], [1.0], [2.0], [10.0]]))
    >>> dntk.distill.data.LCMD(2).select(phi).indices.tolist()
    [3, 0]
    >>> dntk.distill.data.LCMD(2).select(phi, given=[3]).indices.tolist()  # 10 is labelled
    [0, 2]
    """

    size: int

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size))

    def select(self, phi: TangentFeatures, *, given: GivenPoints = None) -> Selection:
        """Chosen points, with the residual trace after each pick.

        Raises
        ------
        TypeError, ValueError
            More points asked than there are, or than are left of those ``given``; see :func:`given_points`.
        """
        known = given_points(given, phi, self.size)
        with task("largest cluster, farthest point", total=self.size, unit="points") as bar:
            picks = _picked(FeatureRows.of(phi), self.size, known, bar)
        return picked_in_order(phi, picks, given=known)


def _picked(points: FeatureRows, size: int, known: Given | None, bar: Task) -> list[int]:
    xp, like = arrays.namespace(points.squared), points.squared
    positions, free = xp.arange(like.shape[0], device=arrays.device_of(like)), points.free(known)
    start = 0 if known is None else known.rows.shape[0]
    nearest, owner = (like, 0 * positions) if known is None else points.nearest(known.rows)
    picks: list[int] = []
    for step in bar.over(range(size)):
        inside = (
            free if start + step == 0 else xp.logical_and(free, owner == _worst(nearest, owner, free, start + size))
        )
        # Below every distance: what is in another cluster, and below that what is taken.
        score = xp.where(inside, nearest, xp.where(free, -xp.ones_like(nearest), -2 * xp.ones_like(nearest)))
        pick = int(xp.argmax(score))
        picks.append(pick)
        free = xp.logical_and(free, positions != pick)
        reached = points.distances(points.row(pick))
        closer = reached < nearest if start + step else xp.ones_like(free)
        nearest = xp.where(closer, reached, nearest)
        owner = xp.where(closer, xp.full_like(owner, start + step), owner)
    return picks


def _worst(nearest: Array, owner: Array, free: Array, centres: int) -> int:
    """The cluster whose free points have the largest sum of squared distances."""
    xp = arrays.namespace(nearest)
    left = xp.where(free, nearest, xp.zeros_like(nearest))
    sums = backend_of(left).scatter_add(left[:, None], owner[:, None], xp.ones_like(left)[:, None], centres)
    return int(xp.argmax(sums[:, 0]))
