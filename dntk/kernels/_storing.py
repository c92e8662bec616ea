"""An exact kernel that goes to the disk tile by tile."""

import functools
import math
from typing import Any

from dntk import arrays
from dntk._checks import positive_integer
from dntk._progress import task
from dntk.archive import fingerprint
from dntk.archive.digests import dtype_name
from dntk.checkpoints import described
from dntk.identity import Identity, rounding_of
from dntk.kernels.assembly import form_of, kernel_of
from dntk.kernels.stored import StoredKernel
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.models.batching import choose_paired_batches
from dntk.outputs import KernelOutputs
from dntk.outputs.functionals import cotangents_for
from dntk.stores import Layout, Store, StoredShard, StoreFolder, Wanted, shard_of
from dntk.stores.data import ends_digest, joined_digest, part_digest
from dntk.stores.layout import CHUNK_BYTES, DTYPES, FEWEST_ROWS, check_dtype
from dntk.types import Array, Inputs

_COPIES = 4
"""Copies of a tile that exist while it is put together and written."""

_TILES = 8
"""Tiles along a side at least, for shards to share; inputs are differentiated about as often."""


def store_kernel(
    model: Model,
    x1: Inputs,
    x2: Inputs | None,
    *,
    outputs: KernelOutputs,
    batch_size: int | None,
    memory_limit: int | None,
    store: Store,
    shard: Any,
) -> StoredKernel | StoredShard:
    """The kernel on the disk, or this process's part of it; see :func:`dntk.ntk`."""
    if outputs == "full":
        msg = "`outputs`='full' goes to no store: take 'each' or 'mean', or points that fit in memory."
        raise ValueError(msg)
    if batch_size is not None:
        batch_size = positive_integer("batch_size", batch_size, remedy="leave it out to have it chosen")
    part = shard_of(shard)
    x1 = checked_inputs(model, x1, "x1")
    x2 = None if x2 is None else checked_inputs(model, x2, "x2")
    place = {"xp": model.namespace, "dtype": arrays.kernel_dtype(model.namespace, model.dtype), "device": model.device}
    cotangents = cotangents_for(outputs, model.n_outputs, **place)
    folder = StoreFolder.at(store.path, _wanted(model, x1, x2, cotangents, outputs, batch_size, memory_limit, store))
    with folder.stored.building():
        groups = [cotangents[a:b, :] for a, b in arrays.spans(cotangents.shape[0], _functionals(folder))]
    tiles = _Tiles(model, x1, x2, groups, outputs, folder)
    numbers = part.numbers(len(folder.layout))
    with folder.alone(part):
        with task("stored kernel", total=len(numbers), unit="tiles") as bar:
            fresh = folder.fill(part, tiles.make, tiles.data, bar)
        if part.count > 1 and not folder.is_whole:
            ends = (tiles.spans(numbers[0])[0].start, tiles.spans(numbers[-1])[0].stop) if numbers else (0, 0)
            return StoredShard(folder.folder, part, ends)
        folder.finish(fresh)
    return StoredKernel(store.path, like=next(iter(model.parameters.values())))


class _Tiles:
    """The tiles of one kernel, and the digests of the points that each is of."""

    def __init__(
        self, model: Model, x1: Inputs, x2: Inputs | None, groups: list[Array], outputs: Any, folder: StoreFolder
    ) -> None:
        self._model, self._x1, self._x2 = model, x1, x2
        self._groups, self._outputs, self._folder = groups, outputs, folder
        self._digest = functools.lru_cache(maxsize=None)(self._digest_of)

    def spans(self, number: int) -> tuple[slice, slice]:
        """Rows and columns of a tile."""
        rows, columns = self._folder.layout.slices(number)[-2:]
        return rows, columns

    def make(self, number: int) -> tuple[Array, str]:
        """Values of a tile, and the digest of its points.

        A tile below the diagonal of a symmetric kernel is the mirrored one above: read where that is there already.
        """
        rows, columns = self.spans(number)
        if self._x2 is not None or rows.start <= columns.start:
            return self._values(rows, columns), self.data(number)
        above = self._mirror_of(number)
        found = self._folder.chunk(above, self.data(above))
        values = found if found is not None else self._values(columns, rows)
        xp = arrays.namespace(values)
        axes = (*range(values.ndim - 2), values.ndim - 1, values.ndim - 2)
        return xp.permute_dims(values, axes), self.data(number)

    def data(self, number: int) -> str:
        """Digest of the points of a tile."""
        rows, columns = self.spans(number)
        other = self._digest(2, columns.start, columns.stop) if self._x2 is not None else None
        same = self._digest(1, columns.start, columns.stop) if other is None else other
        return joined_digest((self._digest(1, rows.start, rows.stop), same))

    def _values(self, rows: slice, columns: slice) -> Array:
        left = batches.span(self._x1, rows.start, rows.stop)
        if self._x2 is None and rows == columns:
            right = None
        else:
            right = batches.span(self._x1 if self._x2 is None else self._x2, columns.start, columns.stop)
        return kernel_of(self._model, left, right, self._groups, self._folder.batch, self._outputs)

    def _mirror_of(self, number: int) -> int:
        position, grid = self._folder.layout.position(number), self._folder.layout.grid
        return position[-1] * grid[-1] + position[-2]

    def _digest_of(self, side: int, start: int, stop: int) -> str:
        x = self._x1 if side == 1 or self._x2 is None else self._x2
        size = self._folder.batch
        return joined_digest(
            part_digest(batches.span(x, start + a, start + b)) for a, b in arrays.spans(stop - start, size)
        )


def _functionals(folder: StoreFolder) -> int:
    return max(1, int(folder.stored.manifest["about"]["functionals"]))


def _wanted(
    model: Model,
    x1: Inputs,
    x2: Inputs | None,
    cotangents: Any,
    outputs: KernelOutputs,
    batch_size: int | None,
    memory_limit: int | None,
    store: Store,
) -> Wanted:
    kind = dtype_name(cotangents)
    dtype = kind if store.dtype is None else check_dtype("dtype", store.dtype, kind)
    rows, columns = batches.count(x1), batches.count(x1 if x2 is None else x2)
    matrices = (cotangents.shape[0],) if outputs == "each" else ()
    computed = math.prod(matrices) * DTYPES[kind]
    side = _side(max(rows, columns), computed, memory_limit) if store.rows is None else store.rows
    chunks = (min(side, rows), min(side, columns))
    held = _COPIES * math.prod(chunks) * computed
    if memory_limit is not None and held >= memory_limit:
        msg = (
            f"`memory_limit`={memory_limit:,} bytes do not suffice: {_COPIES} copies of a tile of {chunks[0]} x "
            f"{chunks[1]} points take {held:,}. Pass more, or fewer rows, dntk.Store(path, rows=...)."
        )
        raise ValueError(msg)
    chosen = choose_paired_batches(
        model,
        batches.span(x1, 0, chunks[0]),
        cotangents,
        batch_size,
        separable=form_of(outputs).joined is not None,
        held=held,
        memory_limit=memory_limit,
    )
    network = fingerprint(model)
    other = "the same" if x2 is None else f"{columns} points, {ends_digest(x2)}"
    fixed = {"rows": store.rows, "batch size": batch_size}
    return Wanted(
        kind="kernel",
        owner={
            "network": network,
            "output": described(outputs),
            "set of points": f"{rows} points, {ends_digest(x1)}",
            "second set of points": other,
            "type on the disk": dtype,
        },
        layout=Layout(shape=(*matrices, rows, columns), chunks=(*matrices, *chunks), dtype=dtype),
        batch=min(chosen.inputs, max(chunks)),
        fixed=frozenset(name for name, value in fixed.items() if value is not None),
        names=(*(("output",) if matrices else ()), "point", "other point"),
        about={"functionals": chosen.functionals, "symmetric": x2 is None},
        identity=Identity.of(model, x1, digest=network),
        rounding=rounding_of(model),
    )


def _side(points: int, nbytes: int, memory_limit: int | None) -> int:
    """Points along a side of a tile of so many bytes a pair: of 32 MiB and a sixteenth of the memory at most."""
    most = CHUNK_BYTES if memory_limit is None else min(CHUNK_BYTES, memory_limit // 16)
    return max(1, min(points, math.isqrt(max(1, most // nbytes)), max(FEWEST_ROWS, -(-points // _TILES))))
