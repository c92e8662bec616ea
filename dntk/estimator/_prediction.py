"""Predictions of a model that is linear in the network's parameters."""

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.estimator.linear_weights import LinearWeights
from dntk.gradient_blocks import GradientBlock
from dntk.gradient_blocks._paired import paired
from dntk.ledger import count, nbytes_of
from dntk.models import batches
from dntk.models._finite_results import require_finite_result
from dntk.models._halved import in_batches
from dntk.models.base import Model
from dntk.models.batching import choose_batch_size
from dntk.outputs.functionals import cotangents_for
from dntk.sketch.base import PairedSketch, Sketch, separated
from dntk.types import Array


def linear_outputs(
    model: Model, x: Array, linear: LinearWeights, memory_limit: int | None = None
) -> Float[Array, "n c"]:
    """⟨w_c, S φ_c(x)⟩ of every output at checked inputs, φ_c(x) the gradient of output c, S a bound sketch or 1.

    One forward and C backward passes to the outputs of layers, and in every layer the work of C forward passes more
    (:func:`dntk.gradient_blocks._paired.paired`), or less where the sketch reduces it: then the activations are
    reduced, too. Forward mode takes two for each output, and needs a derivative that not every operation has. No
    gradient is placed or hashed. Where one weight vector serves all outputs it takes two for all of them, and is what
    is done, unless the network is narrower than float32: tangents are of its own type.
    """
    xp = model.namespace
    dtype = arrays.kernel_dtype(xp, model.dtype)
    every = cotangents_for("each", model.n_outputs, xp=xp, dtype=dtype, device=model.device)
    sketch, whole = linear.sketch, linear.in_parameters(memory_limit)
    weights = xp.broadcast_to(linear.weights, (model.n_outputs, linear.weights.shape[1]))  # one for all, or C
    held = nbytes_of(linear.weights) + nbytes_of(whole)
    with arrays.checked_afterwards():
        size = choose_batch_size(model, x, every, None, held=held, memory_limit=memory_limit)
    n = batches.count(x)
    with task("prediction", total=n, unit="points") as bar, arrays.checked_afterwards():
        if whole.shape[0] == 1 < model.n_outputs and dtype == model.dtype:
            pieces = in_batches(n, size, lambda start, stop: _swept(model, batches.span(x, start, stop), whole), bar)
        else:
            pieces = in_batches(
                n,
                size,
                lambda start, stop: _outputs(model, batches.span(x, start, stop), every, weights, whole, sketch),
                bar,
            )
    outputs = xp.concat(pieces, axis=0)
    require_finite_result(outputs, model, {"x": x}, every, size)
    return outputs


def _swept(model: Model, x: Array, whole: Float[Array, "1 p"]) -> Float[Array, "n c"]:
    """All outputs' derivatives along the weights, by one sweep."""
    count(jacobian_rows=batches.count(x))
    return model.jvp(x, whole)[0, :, :]


def _outputs(
    model: Model,
    x: Array,
    every: Float[Array, "c c"],
    weights: Float[Array, "c k"],
    whole: Float[Array, "g p"],
    sketch: Sketch | None,
) -> Float[Array, "n c"]:
    count(jacobian_rows=batches.count(x) * every.shape[0])
    total: Array | None = None
    for block in separated(model.gradient_blocks(x, every)):
        smaller = sketch.cheaper_pair(block, weights) if isinstance(sketch, PairedSketch) else None
        one, its = (block, _of_block(whole, block, every.shape[0])) if smaller is None else smaller
        part = paired(one, its)
        total = part if total is None else total + part
    assert total is not None
    return total.T


def _of_block(whole: Float[Array, "g p"], block: GradientBlock, outputs: int) -> Float[Array, "c b"]:
    """The coordinates of a block, of every output."""
    part = whole[:, block.offset : block.offset + block.size]
    return arrays.namespace(part).broadcast_to(part, (outputs, part.shape[1]))
