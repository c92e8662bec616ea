"""Tangent features of a network that go to the disk, or stay in the memory of workers, chunk by chunk."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk.archive import fingerprint
from dntk.archive.digests import dtype_name
from dntk.checkpoints import described, digest
from dntk.features._held import held_features
from dntk.features.stored import StoredFeatures
from dntk.identity import Identity, rounding_of
from dntk.models import batches
from dntk.models.base import Model
from dntk.outputs import FeatureOutputs
from dntk.sketch import Sketch, description
from dntk.sketch.application import batch_of, sketched_gradients
from dntk.stores import Layout, Store, StoredShard, StoreFolder, Wanted
from dntk.stores._making import make_chunks
from dntk.stores.data import ends_digest, joined_digest, part_digest
from dntk.stores.job import Reader, Span
from dntk.stores.layout import check_dtype, rows_of_chunk
from dntk.types import Array, Batch, Inputs

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
    client: Any,
) -> StoredFeatures | StoredShard:
    """Features of checked inputs by a bound sketch on the disk, or this process's part of them."""
    wanted = _wanted(model, x, sketch, cotangents, outputs, batch_size, memory_limit, store)
    folder = StoreFolder.at(store.path, wanted)
    job = FeaturesJob(model=model, sketch=sketch, cotangents=cotangents, sides=(x,), folder=folder)
    part = make_chunks(job, shard=shard, client=client, name="stored features", unit="chunks")
    if part is not None:
        return part
    like = cotangents[:1, :1]  # it travels with every pass
    return StoredFeatures(store.path, sketch, like=like, memory_limit=memory_limit, client=client)


def hold_features(
    model: Model,
    x: Inputs,
    sketch: Sketch | None,
    cotangents: Float[Array, "q c"],
    *,
    batch_size: int | None,
    memory_limit: int | None,
    client: Any,
) -> StoredFeatures:
    """The same in the memory of a client's workers, to the same bits."""
    layout, batch = _sizes(model, x, sketch, cotangents, batch_size, memory_limit, rows=None, dtype=None)
    held = held_features(model, x, sketch, cotangents, layout=layout, batch=batch, client=client)
    return StoredFeatures(held, sketch, like=cotangents[:1, :1], memory_limit=memory_limit, client=client)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FeaturesJob:
    """Chunks of features, each of its own points; see :class:`dntk.stores.job.Job`."""

    model: Model
    sketch: Sketch | None
    cotangents: Float[Array, "q c"]
    sides: tuple[Inputs, ...]
    folder: StoreFolder

    def spans(self, number: int) -> tuple[Span, ...]:
        """The points of a chunk."""
        rows = self.folder.layout.slices(number)[1]
        return ((0, rows.start, rows.stop),)

    def before(self, number: int) -> int | None:
        """None is copied."""
        del number
        return None

    def make(self, number: int, read: Reader) -> tuple[Float[Array, "q n k"], str]:
        """Features of the points of a chunk, and the digest of these points; every point is read once."""
        pieces, parts = [], []
        for part in self._batches(number, read):
            parts.append(part_digest(part))
            pieces.append(sketched_gradients(self.model, part, self.sketch, self.cotangents, self.folder.batch))
        values = pieces[0] if len(pieces) == 1 else self.model.namespace.concat(pieces, axis=1)
        return values, joined_digest(parts)

    def data(self, number: int, read: Reader) -> str:
        """Digest of the points of a chunk."""
        return joined_digest(map(part_digest, self._batches(number, read)))

    def _batches(self, number: int, read: Reader) -> Iterator[Batch]:
        ((side, first, last),) = self.spans(number)
        for a, b in arrays.spans(last - first, self.folder.batch):
            yield read(side, first + a, first + b)


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
    layout, batch = _sizes(model, x, sketch, cotangents, batch_size, memory_limit, rows=store.rows, dtype=store.dtype)
    n, dtype = layout.shape[1], layout.dtype
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
        layout=layout,
        batch=batch,
        fixed=frozenset(name for name, value in fixed.items() if value is not None),
        names=("output", "point", "feature"),
        about={"sketch": None if sketch is None else description.described(sketch)},
        identity=Identity.of(model, x, digest=network),
        rounding=rounding_of(model),
    )


def _sizes(
    model: Model,
    x: Inputs,
    sketch: Sketch | None,
    cotangents: Float[Array, "q c"],
    batch_size: int | None,
    memory_limit: int | None,
    *,
    rows: int | None,
    dtype: str | None,
) -> tuple[Layout, int]:
    """How the features are divided into chunks, and how many inputs are differentiated at once."""
    n, dim = batches.count(x), model.n_parameters if sketch is None else sketch.dim
    kind, outputs = dtype_name(cotangents), cotangents.shape[0]
    dtype = kind if dtype is None else check_dtype("dtype", dtype, kind)
    computed = outputs * dim * (8 if kind == "float64" else 4)
    rows = rows_of_chunk(n, computed, memory_limit) if rows is None else min(n, rows)
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
        batch, _ = batch_of(model, some, sketch, cotangents, None, memory_limit=left, points=min(n, rows))
    else:
        batch = positive_integer("batch_size", batch_size, remedy="leave it out to have it chosen")
    layout = Layout(shape=(outputs, n, dim), chunks=(outputs, rows, dim), dtype=dtype)
    return layout, min(batch, rows)
