"""Predictions of a model that is linear in the network's parameters."""

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.gradient_blocks._paired import paired
from dntk.ledger import count, nbytes_of
from dntk.models import batches
from dntk.models.base import Model
from dntk.models.batching import choose_batch_size
from dntk.outputs.functionals import cotangents_for
from dntk.types import Array


def linear_outputs(
    model: Model, x: Array, weights: Float[Array, "c p"], memory_limit: int | None = None
) -> Float[Array, "n c"]:
    """⟨w_c, φ_c(x)⟩ of every output at checked inputs, φ_c(x) the gradient of output c.

    One forward and C backward passes to the outputs of layers, and in every layer the work of C forward passes more
    (:func:`dntk.gradient_blocks._paired.paired`). Forward mode takes two for each output, and needs a derivative that
    not every operation has. No gradient is expanded.
    """
    xp = model.namespace
    dtype = arrays.kernel_dtype(xp, model.dtype)
    every = cotangents_for("each", model.n_outputs, xp=xp, dtype=dtype, device=model.device)
    held = 2 * nbytes_of(weights)  # in the sketch's coordinates, and in the parameters'
    size = choose_batch_size(model, x, every, None, held=held, memory_limit=memory_limit)
    n = batches.count(x)
    with task("prediction", total=n, unit="points") as bar:
        pieces = [_outputs(model, batches.span(x, start, stop), every, weights) for start, stop in bar.spans(n, size)]
    return xp.concat(pieces, axis=0)


def _outputs(model: Model, x: Array, every: Float[Array, "c c"], weights: Float[Array, "c p"]) -> Float[Array, "n c"]:
    count(jacobian_rows=batches.count(x) * every.shape[0])
    total: Array | None = None
    for block in model.gradient_blocks(x, every):
        part = paired(block, weights[:, block.offset : block.offset + block.size])
        total = part if total is None else total + part
    assert total is not None
    return total.T
