"""How an array lies on the disk: its shape, its chunks, and the numbers that it is stored in."""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

from dntk.archive.digests import BFLOAT16

CHUNK_BYTES = 2**25
"""Bytes of a chunk where nothing else bounds them: 32 MiB."""

FEWEST_ROWS, MOST_CHUNKS = 64, 64
"""Chunks are smaller than that so that there are up to 64 for shards to share, but of 64 rows at least."""

DTYPES = {"float64": 8, "float32": 4, "float16": 2, BFLOAT16: 2}
"""Numbers that arrays are stored in, and their bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Shape of an array and of its chunks, and the name of its numbers; chunks are counted row by row."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along every axis."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))

    def __len__(self) -> int:
        """Number of chunks."""
        return math.prod(self.grid)

    def position(self, number: int) -> tuple[int, ...]:
        """Where a chunk is in the grid."""
        return tuple(int(i) for i in np.unravel_index(number, self.grid))

    def slices(self, number: int) -> tuple[slice, ...]:
        """What a chunk is of the array; those at the end are shorter."""
        sizes = zip(self.position(number), self.chunks, self.shape, strict=True)
        return tuple(slice(i * chunk, min((i + 1) * chunk, size)) for i, chunk, size in sizes)

    def touched(self, part: tuple[slice, ...]) -> Iterator[int]:
        """The chunks that some of the array is in."""
        spans = [one.indices(size)[:2] for one, size in zip(part, self.shape, strict=True)]
        ranges = (range(a // chunk, -(-b // chunk)) for (a, b), chunk in zip(spans, self.chunks, strict=True))
        for position in itertools.product(*ranges):
            yield int(np.ravel_multi_index(position, self.grid))

    def shape_of(self, number: int) -> tuple[int, ...]:
        """Shape of what a chunk is of the array."""
        return tuple(part.stop - part.start for part in self.slices(number))

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of a chunk on the disk, which are as many for those at the end, without the checksum."""
        return math.prod(self.chunks) * DTYPES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of all chunks on the disk, without the checksums."""
        return len(self) * self.chunk_nbytes


def rows_of_chunk(rows: int, row_nbytes: int, memory_limit: int | None = None) -> int:
    """Rows of a chunk of so many rows of so many bytes; a sixteenth of the memory limit at most."""
    most = CHUNK_BYTES if memory_limit is None else min(CHUNK_BYTES, memory_limit // 16)
    shared = max(FEWEST_ROWS, -(-rows // MOST_CHUNKS))
    return max(1, min(rows, shared, most // max(1, row_nbytes)))


def check_dtype(name: str, dtype: str, computed: str) -> str:
    """The name of the numbers to store in, no wider than those that are computed; ``ValueError`` for others."""
    if dtype not in DTYPES:
        msg = f"`{name}`={dtype!r}: expected one of {', '.join(DTYPES)}, or None for what is computed."
        raise ValueError(msg)
    if DTYPES[dtype] > DTYPES[computed]:
        msg = f"`{name}`={dtype!r} is wider than the {computed} that is computed: leave it out."
        raise ValueError(msg)
    return dtype
