"""Farthest points: each pick is the point farthest from those chosen."""

import dataclasses
from collections.abc import Callable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk._progress import Task, task
from dntk.distill.data.base import Selection, check_selection
from dntk.distill.data.residual_kernel import accumulated, picked_in_order
from dntk.features import StoredFeatures, TangentFeatures
from dntk.ledger import count
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class FarthestPoint:
    """Points chosen greedily, each the farthest from its nearest chosen point in the metric of the mean kernel.

    The distance is d(x, x')² = K̄(x, x) + K̄(x', x') − 2K̄(x, x'); the first point is the farthest from the mean of the
    features. The largest distance of any point to the chosen ones is at most twice the smallest possible for as many
    (Gonzalez 1985). Of equal distances the lower index is taken. Where every point has a chosen one at distance zero,
    up to rounding, the rest is taken in the order of the data. Deterministic; the first points of a larger choice are
    the smaller one.

    Cost O(n · m · C·k), memory O(n · (C·k + m)); one number per pick is read on the host. Of
    :class:`dntk.StoredFeatures` every pick is a pass over the disk.
    """

    size: int

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size))

    def select(self, phi: TangentFeatures) -> Selection:
        """Chosen points, with the residual trace after each pick.

        Raises
        ------
        ValueError
            More points asked than there are.
        """
        check_selection(self.size, phi)
        with task("farthest points", total=self.size, unit="points") as bar:
            stored = isinstance(phi, StoredFeatures)
            picks = _farthest_stored(phi, self.size, bar) if stored else _farthest(phi, self.size, bar)
        return picked_in_order(phi, picks)


def _farthest(phi: TangentFeatures, size: int, bar: Task) -> list[int]:
    features = accumulated(phi)
    xp = arrays.namespace(features)
    n, d = features.shape
    count(flops=2 * n * d * (size + 1))
    positions = xp.arange(n, device=arrays.device_of(features))
    squared = xp.sum(features * features, axis=1)
    noise = max(n, d) * arrays.epsilon(features) * float(xp.max(squared))
    mean = xp.mean(features, axis=0)
    nearest = _above(noise, squared - 2 * (features @ mean) + xp.sum(mean * mean))
    picks: list[int] = []
    for step in bar.over(range(size)):
        pick = int(xp.argmax(nearest))
        picks.append(pick)
        distance = _above(noise, squared + squared[pick] - 2 * (features @ features[pick, :]))
        nearest = distance if step == 0 else xp.minimum(nearest, distance)
        nearest = xp.where(positions == pick, -xp.ones_like(nearest), nearest)
    return picks


def _farthest_stored(phi: TangentFeatures, size: int, bar: Task) -> list[int]:
    """The same with a pass over the chunks for every pick."""

    def of_all(make: Callable[[Array], Array]) -> Array:
        pieces = [make(accumulated(part)) for _, part in phi.chunks()]
        return arrays.namespace(*pieces).concat(pieces)

    like = accumulated(phi.sample)
    xp, n, d = arrays.namespace(like), len(phi), like.shape[1]
    count(flops=2 * n * d * (size + 1))
    squared = of_all(lambda rows: xp.sum(rows * rows, axis=1))
    noise = max(n, d) * arrays.epsilon(like) * float(xp.max(squared))
    total = sum(xp.sum(accumulated(part), axis=0) for _, part in phi.chunks())
    middle = total / n
    nearest = _above(noise, squared - 2 * of_all(lambda rows: rows @ middle) + xp.sum(middle * middle))
    positions, picks = xp.arange(n, device=arrays.device_of(like)), list[int]()
    for step in bar.over(range(size)):
        pick = int(xp.argmax(nearest))
        picks.append(pick)
        row = accumulated(phi[[pick]])[0, :]
        products = of_all(lambda rows, row=row: rows @ row)  # type: ignore[misc]
        reached = _above(noise, squared + squared[pick] - 2 * products)
        nearest = reached if step == 0 else xp.minimum(nearest, reached)
        nearest = xp.where(positions == pick, -1 + 0 * nearest, nearest)
    return picks


def _above(noise: float, distance: Float[Array, " n"]) -> Float[Array, " n"]:
    """Distances, those that may be rounding as zero."""
    return arrays.namespace(distance).where(distance > noise, distance, 0 * distance)
