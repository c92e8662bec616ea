"""Where chunks are made: here, or by the workers of a cluster that a package brings.

A package registers under the entry-point group ``dntk.clusters`` a function from a client to a :class:`Cluster`, named
after the root module of the client's class, ``distributed`` for Dask.
"""

import functools
import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from dntk._checks import kind_of
from dntk.backend import root_modules
from dntk.stores.job import Job, Made
from dntk.stores.layout import Layout
from dntk.stores.rows import MadeRows, PointRows, Points
from dntk.types import Inputs

P = TypeVar("P")
Part: TypeAlias = tuple[int, int, tuple[Any, ...]]
"""The first point of a part, the one after its last, and rows of other arrays that belong to these points."""

GROUP = "dntk.clusters"


@runtime_checkable
class HeldArray(Protocol):
    """An array (C, n, k) whose chunks, of some of its n rows each, are in the memory of workers.

    Chunks that are lost with a worker are made again. Numbers come in NumPy.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    @property
    def dtype(self) -> Any:
        """Of the numbers."""

    def __getitem__(self, part: tuple[slice, ...]) -> Any:
        """Numbers, brought to this process; ``ConnectionError`` where the scheduler is gone."""

    def part(self, first: int, last: int) -> Any:
        """What stands for rows of one chunk among the rows of :meth:`Cluster.fold`."""


@runtime_checkable
class Cluster(Protocol):
    """Workers, none of which is relied on: what one that is lost had to do, another one does."""

    def fill(self, job: Job) -> Iterator[Made]:
        """Make the chunks of a folder that all workers share; each is told of when it is there."""

    def fold(self, source: Any, leaf: Callable[..., P], merge: Callable[[P, P], P], parts: Sequence[Part]) -> P:
        """Merge what ``leaf(source[first:last], *rows)`` makes of parts, in the order of :func:`merged_in_tree`.

        Without a source ``leaf(*rows)``; rows may be what :meth:`HeldArray.part` gave. What it cost is counted.
        """

    def rows(self, rows: PointRows, x: Inputs, parts: Sequence[Points]) -> Iterator[MadeRows]:
        """The rows of every part of the points, each told of when it is there."""

    def hold(self, rows: PointRows, x: Inputs, layout: Layout, told: Callable[[int], None]) -> HeldArray:
        """Rows that stay in the workers' memory, a part for every chunk of the layout; all are made when this returns.

        ``told`` is called with the number of points of every chunk that is there. What they cost is counted.
        """


@functools.lru_cache(maxsize=1)
def _makers() -> dict[str, Any]:
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def require_client(client: Any) -> None:
    """Raise as :func:`cluster_of` unless a client is none, or one whose cluster is there."""
    if client is not None:
        cluster_of(client)


def cluster_of(client: Any) -> Cluster:
    """The cluster behind a client.

    Raises
    ------
    TypeError
        It is none that an installed package knows.
    ConnectionError
        Its scheduler is gone.
    """
    found = sorted(root_modules(client) & set(_makers()))
    if not found:
        msg = (
            f"`client` is {kind_of(client)}: pass a dask.distributed.Client, "
            'with dntk[dask] installed here and on the workers (pip install "dntk[dask]").'
        )
        raise TypeError(msg)
    make: Callable[[Any], Cluster] = _makers()[found[0]].load()
    return make(client)
