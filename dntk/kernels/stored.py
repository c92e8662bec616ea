"""An exact kernel on the disk, read some rows at a time."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk._checks import positive_integer
from dntk.archive import expanded
from dntk.backend import backend_of, free_memory
from dntk.stores import StoreFolder, chunk_files, cluster_of
from dntk.stores._export import export
from dntk.stores._verified import VerifiedArray
from dntk.types import Array


class StoredKernel:
    """A kernel on the disk, which :func:`dntk.solve.iterative_ridge` takes as it is.

    Parameters
    ----------
    path
        The folder that was the ``store`` of :func:`dntk.ntk`.
    like
        An array of the library and on the device where numbers are wanted; default: NumPy.
    memory_limit
        Bytes that :attr:`values`, all of them at once, may take; default: half of the memory that is free.
    client
        A ``dask.distributed.Client`` whose workers see the same disk: products and columns are made by them, to the
        same bits.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    dntk.StoreError
        It holds something else, or not all tiles are there: the shards that lack some are named.
    ImportError
        Zarr is not installed.

    Notes
    -----
    Every method reads row of tiles by row of tiles, O(C · rows of a tile · n) of memory beside its result. A tile that
    is damaged is an error when it is read: every one has a checksum. Products are accumulated in float64 where the
    device has it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 3))
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> kernel = dntk.ntk(model, x, store="kernel")
    >>> again = dntk.StoredKernel("kernel")
    >>> again.shape, np.allclose(again.values, dntk.ntk(model, x))
    ((1, 40), True)
    """

    def __init__(
        self, path: str | Path, *, like: Array | None = None, memory_limit: int | None = None, client: Any = None
    ) -> None:
        if memory_limit is not None:
            memory_limit = positive_integer("memory_limit", memory_limit, remedy="a number of bytes, or None")
        chunk_files.zarr()
        folder = StoreFolder.opened(path, "kernel")
        self._layout, self._array = folder.layout, VerifiedArray.of(folder)
        with folder.stored.building():
            self._symmetric = bool(folder.stored.manifest["about"]["symmetric"])
        self._like = np.zeros(1, dtype=np.float32) if like is None else like
        self._limit, self.client = memory_limit, client
        self.path = expanded(path)

    def __repr__(self) -> str:
        return f"StoredKernel({self.path}, outputs={self.shape[0]}, points={self.points[0]} x {self.points[1]})"

    @property
    def points(self) -> tuple[int, int]:
        """Numbers n1 and n2 of points."""
        return self._layout.shape[-2], self._layout.shape[-1]

    @property
    def is_symmetric(self) -> bool:
        """Whether it is the kernel of points with themselves."""
        return self._symmetric

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of kernels (C for ``"each"``, else 1) and of points of a symmetric kernel's side."""
        return self._kernels, self.points[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all of it in memory."""
        return math.prod(self._layout.shape) * max(4, self._sample.dtype.itemsize)

    @property
    def values(self) -> Float[Array, "*kernel"]:
        """The kernel as :func:`dntk.ntk` without store returns it; ``MemoryError`` where it is beyond the limit."""
        free = free_memory(self._like)
        limit = self._limit if self._limit is not None else 2**30 if free is None else free // 2
        if self.nbytes > limit:
            msg = (
                f"the kernel in {self.path} takes {self.nbytes:,} bytes at once, {limit:,} are allowed. Read rows, "
                "kernel[:100], multiply by vectors, or allow more, dntk.StoredKernel(path, memory_limit=...)."
            )
            raise MemoryError(msg)
        whole = self._placed(np.concatenate([host for _, host in self._hosts()], axis=1))
        return whole if len(self._layout.shape) == 3 else whole[0, ...]

    def __getitem__(self, rows: Any) -> Float[Array, "*kernel"]:
        """Some rows: (n, n2), or (C, n, n2) of every output."""
        if not isinstance(rows, slice):
            msg = f"`rows`={rows!r}: expected a slice of rows such as kernel[:100]; for columns see `columns`."
            raise TypeError(msg)
        first, last, step = rows.indices(self.points[0])
        if step != 1 or first >= last:
            msg = f"`rows`={rows!r} has none of {self.points[0]} rows, or a step: pass first:last."
            raise ValueError(msg)
        part = self._placed(self._host(first, last))
        return part if len(self._layout.shape) == 3 else part[0, ...]

    def rows(self) -> Iterator[tuple[int, Float[Array, "c r n"]]]:
        """The first position and the kernels of one row of tiles after the other."""
        for start, host in self._hosts():
            yield start, self._placed(host)

    def multiply(self, v: Float[Array, "c n q"]) -> Float[Array, "c m q"]:
        """K^c v_c, one pass over the disk."""
        xp = arrays.require_same_place(kernel=self._like, v=v)
        if v.ndim != 3 or v.shape[0] != self._kernels or v.shape[1] != self.points[1]:
            msg = f"`v` has shape {tuple(v.shape)}: expected ({self._kernels}, {self.points[1]}, columns)."
            raise ValueError(msg)
        wide = arrays.accumulation_dtype(v)
        right = xp.astype(v, wide)
        return xp.astype(self._of_rows(lambda part: xp.astype(part, wide) @ right), v.dtype)

    def columns(self, points: Int[Array, " s"]) -> Float[Array, "c n s"]:
        """Columns of K^c, one pass over the disk."""
        xp = arrays.require_same_place(kernel=self._like, points=points)
        return self._of_rows(lambda part: xp.take(part, points, axis=2))

    def diagonal(self) -> Float[Array, "c n"]:
        """Diagonals of K^c; ``ValueError`` of a kernel between two sets of points."""
        if not self._symmetric:
            msg = (
                f"the kernel in {self.path} is between {self.points[0]} and {self.points[1]} other points: no diagonal."
            )
            raise ValueError(msg)
        squares = (self._host(start, stop, start, stop) for start, stop in self._spans())
        pieces = [np.diagonal(square, axis1=1, axis2=2) for square in squares]
        return self._placed(np.concatenate(pieces, axis=1))

    def to_numpy(self) -> Any:
        """The kernel as a NumPy array; ``MemoryError`` as :attr:`values`."""
        return backend_of(self._like).to_numpy(self.values)

    def export(self, path: str | Path) -> Path:
        """Write it as one ``.npy`` file, row of tiles by row of tiles, and return its path.

        Raises
        ------
        FileExistsError
            There is something at the path.
        OSError
            The disk is full or not writable; nothing is left at the path.
        """
        pieces = (self._host(*span, kernel=kernel) for kernel in range(self._kernels) for span in self._spans())
        return export(path, self._sample.dtype, self._layout.shape, pieces)

    def _of_rows(self, make: Callable[[Float[Array, "c r n"]], Array]) -> Float[Array, "c n q"]:
        """What ``make`` makes of all rows, a row of tiles at a time, by the workers where there is a client."""
        if self.client is None:
            pieces = [make(part) for _, part in self.rows()]
            return arrays.namespace(*pieces).concat(pieces, axis=1)
        rows = _Rows(StoredKernel(self.path, like=self._like))
        return cluster_of(self.client).fold(rows, make, _below, [(*span, ()) for span in self._spans()])

    @property
    def _kernels(self) -> int:
        return self._layout.shape[0] if len(self._layout.shape) == 3 else 1

    @property
    def _sample(self) -> Any:
        return self._host(0, 1, 0, 1)

    def _hosts(self) -> Iterator[tuple[int, Any]]:
        for start, stop in self._spans():
            yield start, self._host(start, stop)

    def _spans(self) -> Iterator[tuple[int, int]]:
        return arrays.spans(self.points[0], self._layout.chunks[-2])

    def _host(
        self, first: int, last: int, left: int = 0, right: int | None = None, *, kernel: int | None = None
    ) -> Any:
        """Part of every kernel, or of one, in NumPy: (C or 1, rows, columns)."""
        which = (slice(first, last), slice(left, self.points[1] if right is None else right))
        chosen = slice(0, self._kernels) if kernel is None else slice(kernel, kernel + 1)
        outputs = (chosen,) if len(self._layout.shape) == 3 else ()
        host = chunk_files.from_disk(chunk_files.read(self._array, (*outputs, *which)), self._layout.dtype)
        host = host.astype(np.float32) if host.dtype == np.float16 else host
        return host if outputs else host[None, :, :]

    def _placed(self, host: Any) -> Array:
        return backend_of(self._like).from_numpy(np.ascontiguousarray(host), device=arrays.device_of(self._like))


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Rows of all kernels, as workers read them."""

    kernel: StoredKernel

    def __len__(self) -> int:
        return self.kernel.points[0]

    def __getitem__(self, rows: slice) -> Float[Array, "c r n"]:
        part = self.kernel[rows]
        return part[None, :, :] if part.ndim == 2 else part


def _below(above: Float[Array, "c a q"], below: Float[Array, "c b q"]) -> Float[Array, "c n q"]:
    return arrays.namespace(above, below).concat([above, below], axis=1)
