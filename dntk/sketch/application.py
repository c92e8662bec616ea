"""Sketches bound to a network and applied to its gradients, batch by batch."""

import dataclasses
import functools
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._progress import Task, task
from dntk.checkpoints import KeptRows
from dntk.ledger import count
from dntk.models import batches
from dntk.models._finite_results import require_finite_result
from dntk.models.base import Model
from dntk.models.batching import choose_batch_size
from dntk.sketch.base import CHUNK_ENTRIES, LayoutSketch, Sketch, sketch_blocks
from dntk.sketch.layout import layout_of
from dntk.stores.rows import PointRows
from dntk.stores.spread import all_parts, each_part
from dntk.types import Array, Batch, Inputs

_WORKING = 16
"""Bytes for every entry of a dense piece of gradients: itself, turned, and in float64."""


def bind(sketch: Sketch, model: Model) -> Sketch:
    """The sketch for the parameters of a model; ``ValueError`` where it belongs to others."""
    if sketch.n_parameters not in (None, model.n_parameters):
        msg = f"the sketch is bound to {sketch.n_parameters} parameters, but the model has {model.n_parameters}."
        raise ValueError(msg)
    if isinstance(sketch, LayoutSketch):
        return sketch.bound(layout_of(model))
    return dataclasses.replace(sketch, n_parameters=model.n_parameters)  # type: ignore[type-var]


def sketched_gradients(
    model: Model,
    x: Inputs,
    sketch: Sketch | None,
    cotangents: Float[Array, "q c"],
    batch_size: int | None = None,
    *,
    memory_limit: int | None = None,
    kept: KeptRows | None = None,
    client: Any = None,
) -> Float[Array, "q n k"]:
    """S ∇_θ⟨u_q, f(x_i)⟩ by a bound sketch, or whole gradients, of checked inputs.

    ``memory_limit`` bounds gradient blocks and the result, which is put together from batches; ``kept`` is where
    batches stay on the disk, from which an interrupted call goes on; workers of a ``client`` make batches of several.

    Raises
    ------
    ValueError
        A gradient is not finite, or a batch size is not positive; the memory limit is too small.
    OSError
        The disk cannot take the features, or (``ConnectionError``) the scheduler of ``client`` is gone.
    """
    n = batches.count(x)
    with arrays.checked_afterwards():
        size, each = batch_of(model, x, sketch, cotangents, batch_size, memory_limit=memory_limit)
    rows = PointRows(functools.partial(features_of_batch, model, cotangents, sketch), size, axis=1)
    with task("tangent features", total=n, unit="points") as bar, arrays.checked_afterwards():
        if kept is None:
            values = all_parts(rows, x, client, bar)
        else:
            kept = kept.of_batches(size)
            kept.require_space(n, size, each)
            values = _kept(rows, x, kept, cotangents, client, bar)
    require_finite_result(values, model, {"x": x}, cotangents, size)
    return values


def batch_of(
    model: Model,
    x: Inputs,
    sketch: Sketch | None,
    cotangents: Float[Array, "q c"],
    batch_size: int | None = None,
    *,
    memory_limit: int | None = None,
    points: int | None = None,
) -> tuple[int, int]:
    """Inputs that are differentiated at once for features of all, or of so many, and bytes of one input's features."""
    n, dtype = batches.count(x) if points is None else points, arrays.kernel_dtype(model.namespace, model.dtype)
    gradient = cotangents.shape[0] * model.n_parameters
    each = gradient if sketch is None else cotangents.shape[0] * sketch.dim
    each *= model.namespace.finfo(dtype).bits // 8
    most = gradient * n if sketch is None else CHUNK_ENTRIES
    size = choose_batch_size(
        model,
        x,
        cotangents,
        batch_size,
        held=2 * n * each,
        working=(_WORKING * gradient, _WORKING * most),
        memory_limit=memory_limit,
        points=n,
    )
    if batch_size is None and sketch is not None:
        size = min(size, max(1, CHUNK_ENTRIES // (cotangents.shape[0] * sketch.dim)))  # else sums are held twice
    return size, each


def _kept(rows: PointRows, x: Inputs, kept: KeptRows, like: Array, client: Any, bar: Task) -> Float[Array, "q n k"]:
    """The features of all points, from the disk where they are there."""
    parts = list(kept.spans(batches.count(x), rows.size))
    missing = [part for part in parts if not kept.holds(*part)]
    found = {part: kept.rows(*part, make, like) for part, make in each_part(rows, x, missing, client, bar)}
    for part, make in each_part(rows, x, [part for part in parts if part not in found], None, bar):
        bar.skip(part[1] - part[0])
        found[part] = kept.rows(*part, make, like)  # made again only where somebody took it away
    return arrays.namespace(like).concat([found[part] for part in parts], axis=1)


def features_of_batch(
    model: Model, cotangents: Float[Array, "q c"], sketch: Sketch | None, x: Batch
) -> Float[Array, "q n k"]:
    """Features of one batch of checked inputs by a bound sketch; whether they are finite is not looked at."""
    xp = model.namespace
    count(jacobian_rows=batches.count(x) * cotangents.shape[0])
    with arrays.checked_afterwards():
        if sketch is None:
            blocks = sorted(model.gradient_blocks(x, cotangents), key=lambda block: block.offset)
            return xp.concat([block.dense() for block in blocks], axis=2)
        sketched = sketch_blocks(sketch, model.gradient_blocks(x, cotangents))
        return xp.astype(sketched, arrays.kernel_dtype(xp, model.dtype), copy=False)
