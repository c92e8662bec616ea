"""Tangent features of a network that go to the disk chunk by chunk."""

from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk._progress import task
from dntk.archive import fingerprint
from dntk.archive.digests import dtype_name
from dntk.checkpoints import described, digest
from dntk.features.stored import StoredFeatures
from dntk.identity import Identity, rounding_of
from dntk.models import batches
from dntk.models.base import Model
from dntk.outputs import FeatureOutputs
from dntk.sketch import Sketch, description
from dntk.sketch.application import batch_of, sketched_gradients
from dntk.stores import Layout, Store, StoredShard, StoreFolder, Wanted, shard_of
from dntk.stores.data import ends_digest, joined_digest, part_digest
from dntk.stores.layout import check_dtype, rows_of_chunk
from dntk.types import Array, Inputs

_COPIES = 4
"""Copies of a chunk that exist while it is written."""


def store_features(
    model: Model,
    x: Inputs,
    sketch: Sketch | None,
    cotangents: Float[Array, "q c"],
    *,
    outputs: FeatureOutputs,
    batch_size: int | None,
    memory_limit: int | None,
    store: Store,
    shard: Any,
) -> StoredFeatures | StoredShard:
    """Features of checked inputs by a bound sketch on the disk, or this process's part of them."""
    part = shard_of(shard)
    wanted = _wanted(model, x, sketch, cotangents, outputs, batch_size, memory_limit, store)
    folder = StoreFolder.at(store.path, wanted)
    layout, size = folder.layout, folder.batch

    def points(number: int) -> tuple[int, int]:
        rows = layout.slices(number)[1]
        return rows.start, rows.stop

    def make(number: int) -> tuple[Array, str]:
        return _chunk(model, x, sketch, cotangents, points(number), size)

    def data(number: int) -> str:
        first, last = points(number)
        return joined_digest(
            part_digest(batches.span(x, first + a, first + b)) for a, b in arrays.spans(last - first, size)
        )

    numbers = part.numbers(len(layout))
    with folder.alone(part):
        with task("stored features", total=len(numbers), unit="chunks") as bar:
            fresh = folder.fill(part, make, data, bar)
        if part.count > 1 and not folder.is_whole:
            ends = (points(numbers[0])[0], points(numbers[-1])[1]) if numbers else (0, 0)
            return StoredShard(folder.folder, part, ends)
        folder.finish(fresh)
    like = next(iter(model.parameters.values()))
    return StoredFeatures(store.path, sketch, like=like, memory_limit=memory_limit)


def _wanted(
    model: Model,
    x: Inputs,
    sketch: Sketch | None,
    cotangents: Float[Array, "q c"],
    outputs: FeatureOutputs,
    batch_size: int | None,
    memory_limit: int | None,
    store: Store,
) -> Wanted:
    n, dim = batches.count(x), model.n_parameters if sketch is None else sketch.dim
    kind = dtype_name(cotangents)
    dtype = kind if store.dtype is None else check_dtype("dtype", store.dtype, kind)
    computed = cotangents.shape[0] * dim * (8 if kind == "float64" else 4)
    rows = rows_of_chunk(n, computed, memory_limit) if store.rows is None else min(n, store.rows)
    left = None if memory_limit is None else memory_limit - _COPIES * rows * computed
    if left is not None and left <= 0:
        msg = (
            f"`memory_limit`={memory_limit:,} bytes do not suffice: a chunk of {rows} points takes "
            f"{rows * computed:,}, and {_COPIES} copies of it exist. Pass more, or fewer rows, "
            "dntk.Store(path, rows=...)."
        )
        raise ValueError(msg)
    if batch_size is None:
        some = batches.span(x, 0, min(n, rows)) if not batches.is_read(x) else x
        batch, _ = batch_of(model, some, sketch, cotangents, None, memory_limit=left)
    else:
        batch = positive_integer("batch_size", batch_size, remedy="leave it out to have it chosen")
    fixed = {"rows": store.rows, "batch size": batch_size}
    network = fingerprint(model)
    return Wanted(
        kind="features",
        owner={
            "network": network,
            "sketch": digest(sketch),
            "output": described(outputs),
            "set of points": f"{n} points, {ends_digest(x)}",
            "type on the disk": dtype,
        },
        layout=Layout(shape=(cotangents.shape[0], n, dim), chunks=(cotangents.shape[0], rows, dim), dtype=dtype),
        batch=min(batch, rows),
        fixed=frozenset(name for name, value in fixed.items() if value is not None),
        names=("output", "point", "feature"),
        about={"sketch": None if sketch is None else description.described(sketch)},
        identity=Identity.of(model, x, digest=network),
        rounding=rounding_of(model),
    )


def _chunk(
    model: Model,
    x: Inputs,
    sketch: Sketch | None,
    cotangents: Float[Array, "q c"],
    points: tuple[int, int],
    size: int,
) -> tuple[Float[Array, "q n k"], str]:
    """Features of the points of a chunk, and the digest of these points; every point is read once."""
    first, last = points
    pieces, parts = [], []
    for a, b in arrays.spans(last - first, size):
        part = batches.span(x, first + a, first + b)
        parts.append(part_digest(part))
        pieces.append(sketched_gradients(model, part, sketch, cotangents, size))
    xp = model.namespace
    values = pieces[0] if len(pieces) == 1 else xp.concat(pieces, axis=1)
    return values, joined_digest(parts)
