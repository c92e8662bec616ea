"""Tangent features on the disk, or in the memory of workers, read some points at a time."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from dntk._checks import positive_integer
from dntk._progress import Task, task
from dntk.archive import expanded
from dntk.archive.digests import dtype_name
from dntk.backend import backend_of, free_memory
from dntk.features._at_once import require_room
from dntk.features._held import OfHeld, placed
from dntk.features._opening import opened
from dntk.features.in_memory import TangentFeatures
from dntk.features.neighbours import Found, Search
from dntk.features.paired import PairedFeatures, rows_of
from dntk.stores import chunk_files, cluster_of, merged_in_tree
from dntk.stores._export import export
from dntk.stores.clusters import HeldArray, Part
from dntk.types import Array

P = TypeVar("P")


class StoredFeatures(TangentFeatures):
    """Features on the disk; every algorithm takes them, and most read them chunk by chunk.

    Parameters
    ----------
    source
        The folder that was the ``store`` of :func:`dntk.tangent_features`; or a Zarr array, a path of one, or a memory
        map, of shape (C, n, k) or (n, k). With a ``client`` and no ``store`` that function returns features whose
        chunks are in the memory of its workers.
    sketch
        The sketch that made them; that of a folder is known.
    like
        An array of the library and on the device where they are wanted; default: NumPy.
    memory_limit
        Bytes that :attr:`values`, all of them at once, may take; default: half of the memory that is free. An
        algorithm that cannot do without them says so where they are more.
    client
        A ``dask.distributed.Client`` whose workers see the same disk: passes over the chunks are made by them, to the
        same bits.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    dntk.StoreError
        Not all chunks are there: the shards that lack some are named.
    ValueError, TypeError
        Something else than an array of two or three axes of floating-point numbers.
    ImportError
        Zarr is not installed.

    Notes
    -----
    A slice is a part of the same store, indices and masks read the points into memory. A chunk that is damaged is an
    error when it is read: every chunk has a checksum.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> store = dntk.Store("features", rows=16)
    >>> phi = dntk.tangent_features(model, rng.normal(size=(40, 3)), sketch=None, store=store)
    >>> again = dntk.StoredFeatures("features")
    >>> again.n_outputs, len(again), again.dim
    (2, 40, 6)
    >>> [len(part) for _, part in again.chunks()]
    [16, 16, 8]
    """

    path: Path | None
    memory_limit: int | None
    client: Any
    _array: Any
    _dtype: str
    _like: Array
    _rows: tuple[int, int]

    def __init__(
        self,
        source: Any,
        sketch: Any = None,
        *,
        like: Array | None = None,
        memory_limit: int | None = None,
        client: Any = None,
    ) -> None:
        if memory_limit is not None:
            memory_limit = positive_integer("memory_limit", memory_limit, remedy="a number of bytes, or None")
        array, dtype, made_by = opened(source)
        given = {
            "sketch": made_by if sketch is None else sketch,
            "path": expanded(source) if isinstance(source, str | Path) else None,
            "memory_limit": memory_limit,
            "client": client,
            "_array": array,
            "_dtype": dtype,
            "_like": np.zeros(1, dtype=np.float32) if like is None else like,
            "_rows": (0, int(array.shape[-2])),
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Number n of points."""
        first, last = self._rows
        return last - first

    def __repr__(self) -> str:
        where = type(self._array).__name__ if self.path is None else str(self.path)
        return f"StoredFeatures({where}, outputs={self.n_outputs}, points={len(self)}, dim={self.dim})"

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def n_outputs(self) -> int:
        """Number C of outputs."""
        return 1 if self._array.ndim == 2 else int(self._array.shape[0])

    @property
    def dim(self) -> int:
        """Number k of features per output."""
        return int(self._array.shape[-1])

    @property
    def nbytes(self) -> int:
        """Bytes of all of them in memory."""
        width = 2 if self._dtype == "bfloat16" else self._array.dtype.itemsize
        return self.n_outputs * len(self) * self.dim * max(4, width)

    @property
    def points(self) -> tuple[int, int]:
        """The first point of all that are stored, and the one after the last, which these are."""
        return self._rows

    @property
    def values(self) -> Float[Array, "c n k"]:
        """All values at once, (C, n, k); ``MemoryError`` where they are more than the memory limit."""
        limit = self._free() if self.memory_limit is None else self.memory_limit
        require_room("these features" if self.path is None else f"the features in {self.path}", self.nbytes, limit)
        return self._read(0, len(self)).values

    def _free(self) -> int:
        """Half of what the device that they are wanted on has free; 1 GiB where it does not say."""
        free = free_memory(self.sample.values)
        return 2**30 if free is None else free // 2

    @property
    def sample(self) -> TangentFeatures:
        """Features of the first point: library, device, type and sizes of all."""
        return self._read(0, 1)

    def __getitem__(self, points: Any) -> TangentFeatures:
        """Some points: of a slice a part of the store, else their features in memory."""
        if isinstance(points, slice):
            first, last, step = points.indices(len(self))
            if step != 1:
                return self[np.arange(first, last, step)]
            return self._part(first, max(first, last))
        where = np.asarray(backend_of(self._like).to_numpy(self.positions(points)))
        chosen: Any = None
        for start, stop in self._spans():
            inside = np.flatnonzero((where >= start) & (where < stop))
            if len(inside):  # no other chunk is read
                host = self._host(start, stop)
                chosen = (
                    np.empty((self.n_outputs, len(where), self.dim), dtype=host.dtype) if chosen is None else chosen
                )
                chosen[:, inside, :] = host[:, where[inside] - start, :]
        return TangentFeatures(placed(chosen, self._like), self.sketch)

    def chunks(self) -> Iterator[tuple[int, TangentFeatures]]:
        """The first position and the features of one chunk after the other."""
        for start, stop in self._spans():
            yield start, self._read(start, stop)

    def folded(
        self, leaf: Callable[..., P], merge: Callable[[P, P], P], *, name: str, along: Sequence[Array] = ()
    ) -> P:
        """Merge what ``leaf(part, *rows)`` makes of every chunk and of the rows of other arrays that belong to it.

        One pass, by the workers of :attr:`client` where there is one; the order is that of
        :func:`dntk.stores.merged_in_tree` in any case. ``along`` are arrays with the points on their last axis but one,
        or on their only one; ``name`` tells of what the pass is part.
        """
        parts = [(start, stop, tuple(rows_of(one, start, stop) for one in along)) for start, stop in self._spans()]
        with task(name, total=len(self), unit="points") as bar:
            if self.client is not None:
                result = self._by_workers(leaf, merge, parts)
                bar.advance(len(self))
                return result
            return merged_in_tree(self._leaves(leaf, parts, bar), merge)

    def _leaves(self, leaf: Callable[..., P], parts: Sequence[Part], bar: Task) -> Iterator[P]:
        for start, stop, rows in parts:
            yield leaf(self._read(start, stop), *rows)
            bar.advance(stop - start)

    def _by_workers(self, leaf: Callable[..., P], merge: Callable[[P, P], P], parts: Sequence[Part]) -> P:
        cluster, held, first = cluster_of(self.client), self._array, self._rows[0]
        if not isinstance(held, HeldArray):
            return cluster.fold(self._alone(), leaf, merge, parts)
        there = [(start, stop, (held.part(first + start, first + stop), *rows)) for start, stop, rows in parts]
        return cluster.fold(None, OfHeld(leaf, self._like, self.sketch), merge, there)

    def _alone(self) -> "StoredFeatures":
        """The same without the client, which cannot be sent."""
        part = self._part(0, len(self))
        object.__setattr__(part, "client", None)
        return part

    def paired(self, targets: Array) -> "PairedFeatures":  # type: ignore[override]
        """As those in memory; passes that merge are made by the workers of :attr:`client`, where there is one."""
        return PairedFeatures(self, targets)

    def to_numpy(self) -> Any:
        """All values at once as a NumPy array (C, n, k); ``MemoryError`` as :attr:`values`."""
        return backend_of(self._like).to_numpy(self.values)

    def export(self, path: str | Path) -> Path:
        """Write all of them as one ``.npy`` file (C, n, k), chunk by chunk, and return its path.

        Raises
        ------
        FileExistsError
            There is something at the path.
        OSError
            The disk is full or not writable; nothing is left at the path.
        """
        spans, shape = list(self._spans()), (self.n_outputs, len(self), self.dim)
        pieces = (self._host(*span)[output, :, :] for output in range(self.n_outputs) for span in spans)
        return export(path, dtype_name(self.sample.values), shape, pieces)

    def positions(self, points: Any) -> Array:
        """Indices on the device of the features, from an index, indices or a mask, checked to exist."""
        return TangentFeatures.positions(_Length(self), points)  # type: ignore[arg-type]

    def _spans(self) -> Iterator[tuple[int, int]]:
        first, last = self._rows
        size = self._chunk_rows()
        for start in range(first - first % size, last, size):
            yield max(first, start) - first, min(last, start + size) - first

    def _chunk_rows(self) -> int:
        chunks = getattr(self._array, "chunks", None)
        if chunks is not None:
            return int(chunks[-2])
        row = self.n_outputs * self.dim * self._array.dtype.itemsize
        return max(1, 2**25 // max(1, row))

    def _part(self, first: int, last: int) -> "StoredFeatures":
        part = object.__new__(StoredFeatures)
        for name, value in self.__dict__.items():
            object.__setattr__(part, name, value)
        if first == last:
            msg = f"the slice has none of {len(self)} points: pass one that has."
            raise ValueError(msg)
        object.__setattr__(part, "_rows", (self._rows[0] + first, self._rows[0] + last))
        return part

    def _read(self, start: int, stop: int) -> TangentFeatures:
        return TangentFeatures(placed(self._host(start, stop), self._like), self.sketch)

    def _host(self, start: int, stop: int) -> Any:
        """Values of some points in NumPy, one chunk after the other, so that an error names the chunk."""
        size, pieces = self._chunk_rows(), []
        first, last = self._rows[0] + start, self._rows[0] + stop
        for edge in range(first - first % size, last, size):
            rows = slice(max(first, edge), min(last, edge + size))
            outputs = (slice(0, self.n_outputs),) if self._array.ndim == 3 else ()
            which = (*outputs, rows, slice(0, self.dim))
            host = chunk_files.from_disk(chunk_files.read(self._array, which), self._dtype)
            host = host.astype(np.float32) if host.dtype == np.float16 else host
            pieces.append(host[None, :, :] if host.ndim == 2 else host)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)

    def _searched(self, search: Search) -> Found:
        return self.folded(search, search.merged, name="nearest points")


class _Length:  # what :meth:`TangentFeatures.positions` looks at, without reading
    def __init__(self, phi: StoredFeatures) -> None:
        self.values, self._points = phi.sample.values, len(phi)

    def __len__(self) -> int:
        return self._points
