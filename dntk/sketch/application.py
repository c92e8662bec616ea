"""Sketches bound to a network and applied to its gradients, batch by batch."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.ledger import count
from dntk.models._finite_results import require_finite_result
from dntk.models.base import Model
from dntk.models.batching import choose_batch_size
from dntk.sketch.base import LayoutSketch, Sketch, sketch_blocks
from dntk.sketch.layout import layout_of
from dntk.types import Array


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
    x: Array,
    sketch: Sketch | None,
    cotangents: Float[Array, "q c"],
    batch_size: int | None = None,
) -> Float[Array, "q n k"]:
    """S ∇_θ⟨u_q, f(x_i)⟩ by a bound sketch, or whole gradients, of checked inputs.

    Raises
    ------
    ValueError
        A gradient is not finite, or a batch size is not positive.
    """
    size = choose_batch_size(model, x, cotangents, batch_size)
    n = x.shape[0]
    with task("tangent features", total=n, unit="points") as bar:
        pieces = [_batch(model, x[start:stop, ...], cotangents, sketch) for start, stop in bar.spans(n, size)]
    values = model.namespace.concat(pieces, axis=1)
    require_finite_result(values, model, {"x": x}, cotangents, size)
    return values


def _batch(model: Model, x: Array, cotangents: Float[Array, "q c"], sketch: Sketch | None) -> Float[Array, "q n k"]:
    xp = model.namespace
    count(jacobian_rows=x.shape[0] * cotangents.shape[0])
    if sketch is None:
        blocks = sorted(model.gradient_blocks(x, cotangents), key=lambda block: block.offset)
        return xp.concat([block.dense() for block in blocks], axis=2)
    sketched = sketch_blocks(sketch, model.gradient_blocks(x, cotangents))
    return xp.astype(sketched, arrays.kernel_dtype(xp, model.dtype))
