"""Something of every point, so many points at a time: a value that can be sent to another process."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from dntk import arrays
from dntk._progress import Task
from dntk.models._halved import in_batches
from dntk.types import Array, Batch

Points: TypeAlias = tuple[int, int]
"""The first of some points, and the one after the last."""


@dataclasses.dataclass(frozen=True, eq=False)
class PointRows:
    """What ``make`` makes of points, ``size`` of them at once, which it has on this axis; it can be sent."""

    make: Callable[[Batch], Array]
    size: int
    axis: int

    def of(self, read: Callable[[int, int], Batch], points: Points, bar: Task) -> Array:
        """That of some points; batches are those of one process as long as the first is a multiple of ``size``."""
        first, last = points
        pieces = in_batches(last - first, self.size, lambda a, b: self.make(read(first + a, first + b)), bar)
        return arrays.namespace(pieces[0]).concat(pieces, axis=self.axis)


@dataclasses.dataclass(frozen=True)
class MadeRows:
    """The rows of one of several parts, and what they cost."""

    number: int
    values: Array
    cost: Mapping[str, Any]
