"""Arrays whose chunks stay in the memory of workers, and the parts of them that tasks read."""

import dataclasses
from typing import Any

import dask
import numpy as np
from distributed import Client
from distributed.client import Future

from dntk.stores import Layout
from dntk_dask import _tasks
from dntk_dask._errors import in_our_words, require_running


@dataclasses.dataclass(frozen=True, eq=False)
class HeldPart:
    """Rows of one chunk, to be read where they are."""

    chunk: Future
    first: int
    last: int

    @property
    def sent(self) -> tuple[Future, int, int]:
        """What a task is given in its place: the chunk, which Dask brings to it, and which rows."""
        return self.chunk, self.first, self.last


@dataclasses.dataclass(frozen=True, eq=False)
class HeldChunks:
    """Chunks along the points of an array (C, n, k); see :class:`dntk.stores.clusters.HeldArray`.

    They stay as long as this object is there, are made again where they are lost with a worker, and go to the disk of
    a worker, as Dask does it, where its memory is full.
    """

    client: Client
    layout: Layout
    futures: tuple[Future, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.layout.shape

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        return self.layout.chunks

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.layout.shape)

    @property
    def dtype(self) -> Any:
        """Of the numbers."""
        return np.dtype(self.layout.dtype)

    def __getitem__(self, part: tuple[slice, ...]) -> Any:
        """Numbers in NumPy: no more than is asked for travels."""
        require_running(self.client)
        outputs, points, features = part
        first, last, step = points.indices(self.shape[1])
        size = self.chunks[1]
        edges = range(first - first % size, last, size)
        cut = dask.delayed(_tasks.cut, pure=False)
        pieces = [cut(self.part(max(first, edge), min(last, edge + size)).sent) for edge in edges]
        with in_our_words(self.client):
            found = [future.result() for future in self.client.compute(pieces)]
        return np.concatenate(found, axis=1)[outputs, ::step, features]

    def part(self, first: int, last: int) -> HeldPart:
        """Rows of one chunk."""
        number, size = first // self.chunks[1], self.chunks[1]
        return HeldPart(self.futures[number], first - number * size, last - number * size)
