"""Something of every point, made here or by the workers of a cluster, part by part."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dntk import arrays
from dntk._progress import Task
from dntk.ledger import count
from dntk.models import batches
from dntk.stores.clusters import cluster_of
from dntk.stores.rows import MadeRows, PointRows, Points
from dntk.types import Array, Inputs

_MOST = 512
"""Parts that points are made in by a cluster, at most: a task costs a scheduler up to a millisecond."""


def parts_of(n: int, size: int, client: Any) -> list[Points]:
    """Parts of n points: all at once in one process, whole batches, and no more than there should be, for workers."""
    if client is None:
        return [(0, n)]
    return list(arrays.spans(n, size * max(1, math.ceil(n / (size * _MOST)))))


def each_part(
    rows: PointRows, x: Inputs, parts: Sequence[Points], client: Any, bar: Task
) -> Iterator[tuple[Points, Callable[[], Array]]]:
    """Every part, and what gives its rows and counts what they cost: in order here, as they come by workers.

    A single part is made here: the workers of a cluster would not make it sooner.
    """
    if client is None or len(parts) < 2:
        for points in parts:
            yield points, functools.partial(rows.of, functools.partial(batches.span, x), points, bar)
        return
    for made in cluster_of(client).rows(rows, x, parts):
        yield parts[made.number], functools.partial(_taken, made, parts[made.number], bar)


def all_parts(rows: PointRows, x: Inputs, client: Any, bar: Task, *, start: int = 0) -> Array:
    """The rows of all points from ``start`` on."""
    parts = [(start + a, start + b) for a, b in parts_of(batches.count(x) - start, rows.size, client)]
    found = {points: make() for points, make in each_part(rows, x, parts, client, bar)}
    pieces = [found[points] for points in parts]
    return pieces[0] if len(pieces) == 1 else arrays.namespace(pieces[0]).concat(pieces, axis=rows.axis)


def _taken(made: MadeRows, points: Points, bar: Task) -> Array:
    count(**made.cost)
    bar.advance(points[1] - points[0])
    return made.values
