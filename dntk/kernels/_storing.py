"""An exact kernel that goes to the disk tile by tile."""

import dataclasses
import math
from typing import Any

from dntk import arrays
from dntk._checks import positive_integer
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
from dntk.stores import Layout, Store, StoredShard, StoreFolder, Wanted
from dntk.stores._making import make_chunks
from dntk.stores.data import ends_digest, joined_digest, part_digest
from dntk.stores.job import Reader, Span
from dntk.stores.layout import CHUNK_BYTES, DTYPES, FEWEST_ROWS, check_dtype
from dntk.types import Array, Inputs

_COPIES = 4
"""Copies of a tile that exist while it is put together and written."""

_TILES = 4
"""Tiles along a side at least, for shards to share; inputs are differentiated about as often, which for a small network
costs more than products do: with eight 1,000 by 1,000 points took several times as long as in memory."""


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
    client: Any,
) -> StoredKernel | StoredShard:
    """The kernel on the disk, or this process's part of it; see :func:`dntk.ntk`."""
    if outputs == "full":
        msg = "`outputs`='full' goes to no store: take 'each' or 'mean', or points that fit in memory."
        raise ValueError(msg)
    if batch_size is not None:
        batch_size = positive_integer("batch_size", batch_size, remedy="leave it out to have it chosen")
    x1 = checked_inputs(model, x1, "x1")
    x2 = None if x2 is None else checked_inputs(model, x2, "x2")
    place = {"xp": model.namespace, "dtype": arrays.kernel_dtype(model.namespace, model.dtype), "device": model.device}
    cotangents = cotangents_for(outputs, model.n_outputs, **place)
    folder = StoreFolder.at(store.path, _wanted(model, x1, x2, cotangents, outputs, batch_size, memory_limit, store))
    with folder.stored.building():
        groups = [cotangents[a:b, :] for a, b in arrays.spans(cotangents.shape[0], _functionals(folder))]
    job = KernelJob(
        model=model,
        sides=(x1,) if x2 is None else (x1, x2),
        groups=tuple(groups),
        outputs=outputs,
        folder=folder,
    )
    part = make_chunks(job, shard=shard, client=client, name="stored kernel", unit="tiles")
    like = next(iter(model.parameters.values()))
    return StoredKernel(store.path, like=like, client=client) if part is None else part


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KernelJob:
    """The tiles of one kernel; see :class:`dntk.stores.job.Job`."""

    model: Model
    sides: tuple[Inputs, ...]
    groups: tuple[Array, ...]
    outputs: KernelOutputs
    folder: StoreFolder
    _digests: dict[Span, str] = dataclasses.field(default_factory=dict, repr=False)

    def spans(self, number: int) -> tuple[Span, ...]:
        """Rows and columns of a tile."""
        rows, columns = self.folder.layout.slices(number)[-2:]
        return (0, rows.start, rows.stop), (len(self.sides) - 1, columns.start, columns.stop)

    def before(self, number: int) -> int | None:
        """The tile above the diagonal that one below it mirrors."""
        rows, columns = self.spans(number)
        if len(self.sides) == 2 or rows[1] <= columns[1]:
            return None
        position, grid = self.folder.layout.position(number), self.folder.layout.grid
        return position[-1] * grid[-1] + position[-2]

    def make(self, number: int, read: Reader) -> tuple[Array, str]:
        """Values of a tile, and the digest of its points.

        A tile below the diagonal of a symmetric kernel is the mirrored one above: read where that is there already.
        """
        rows, columns = self.spans(number)
        above = self.before(number)
        if above is None:
            return self._values(rows, columns, read), self.data(number, read)
        found = self.folder.chunk(above, self.data(above, read))
        values = found if found is not None else self._values(columns, rows, read)
        xp = arrays.namespace(values)
        axes = (*range(values.ndim - 2), values.ndim - 1, values.ndim - 2)
        return xp.permute_dims(values, axes), self.data(number, read)

    def data(self, number: int, read: Reader) -> str:
        """Digest of the points of a tile."""
        rows, columns = self.spans(number)
        return joined_digest((self._digest(rows, read), self._digest(columns, read)))

    def _values(self, rows: Span, columns: Span, read: Reader) -> Array:
        left = read(*rows)
        right = None if rows == columns else read(*columns)
        return kernel_of(self.model, left, right, list(self.groups), self.folder.batch, self.outputs)

    def _digest(self, span: Span, read: Reader) -> str:
        if span not in self._digests:
            side, start, stop = span
            pieces = arrays.spans(stop - start, self.folder.batch)
            self._digests[span] = joined_digest(part_digest(read(side, start + a, start + b)) for a, b in pieces)
        return self._digests[span]


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
