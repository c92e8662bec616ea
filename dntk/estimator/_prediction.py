"""Predictions of a model that is linear in the network's parameters."""

import dataclasses
from collections.abc import Iterator

from jaxtyping import Float

from dntk import arrays
from dntk._progress import Task, task
from dntk.backend import backend_of
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
from dntk.types import Array, Inputs

FEWEST = 16
"""Inputs at once below which layers are slower than memory is."""

_WORKING_SETS = 12
"""Most that an array of one large layer's gradients takes, in working sets of the device: 24 MiB on a processor.

Larger arrays a system's allocator takes from the system and gives back every time, and clearing their pages costs as
much as the products do: a small convolutional network took 3.2 floors with all inputs at once, and 2.1 in such parts.
"""

_LARGE = 4
"""A layer is large that has one part in so many of all gradients. Where none is, fewer inputs at once cost more than
pages do: a ResNet-18 took 1.6 floors with 86 inputs at once, and 1.8 to 2.0 with 27 to 51."""


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
            products = _Products(model=model, x=x, every=every, weights=weights, whole=whole, sketch=sketch)
            pieces = products.in_batches(n, size, bar)
    outputs = xp.concat(pieces, axis=0)
    require_finite_result(outputs, model, {"x": x}, every, size)
    return outputs


def _swept(model: Model, x: Array, whole: Float[Array, "1 p"]) -> Float[Array, "n c"]:
    """All outputs' derivatives along the weights, by one sweep."""
    count(jacobian_rows=batches.count(x))
    return model.jvp(x, whole)[0, :, :]


@dataclasses.dataclass(kw_only=True)
class _Products:
    """Gradients times weights, with bytes for every input of all gradients, and of the largest array among them."""

    model: Model
    x: Inputs
    every: Float[Array, "c c"]
    weights: Float[Array, "c k"]
    whole: Float[Array, "g p"]
    sketch: Sketch | None
    largest: int = 1
    whole_bytes: int = 1

    def in_batches(self, n: int, size: int, bar: Task) -> list[Float[Array, "b c"]]:
        """All outputs, at most ``size`` inputs at once, and fewer where an array of one layer would be too large."""
        few = min(n, size, FEWEST)
        pieces = in_batches(few, few, self.over, bar)
        if _LARGE * self.largest > self.whole_bytes:
            most = 4 * _WORKING_SETS * backend_of(self.weights).working_set(self.weights)  # bytes
            size = min(size, max(FEWEST, most // self.largest))
        size = -(-(n - few) // max(1, -(-(n - few) // size)))  # in equal parts: a few inputs alone are slow
        return pieces + in_batches(n - few, size, lambda start, stop: self.over(few + start, few + stop), bar)

    def over(self, start: int, stop: int) -> Float[Array, "b c"]:
        """Outputs of consecutive inputs."""
        total: Array | None = None
        for block in self._blocks(start, stop):
            paired_to = self.sketch.cheaper_pair(block, self.weights) if isinstance(self.sketch, PairedSketch) else None
            part = paired(*(paired_to or (block, _of_block(self.whole, block, self.every.shape[0]))))
            total = part if total is None else total + part
        assert total is not None
        return total.T

    def _blocks(self, start: int, stop: int) -> Iterator[GradientBlock]:
        count(jacobian_rows=(stop - start) * self.every.shape[0])
        self.whole_bytes = 1
        for block in self.model.gradient_blocks(batches.span(self.x, start, stop), self.every):
            cotangents = block.cotangent_nbytes * self.every.shape[0]
            self.whole_bytes += block.nbytes // (stop - start)
            self.largest = max(self.largest, max(cotangents, block.nbytes - cotangents) // (stop - start))
            yield from separated([block])


def _of_block(whole: Float[Array, "g p"], block: GradientBlock, outputs: int) -> Float[Array, "c b"]:
    """The coordinates of a block, of every output."""
    part = whole[:, block.offset : block.offset + block.size]
    return arrays.namespace(part).broadcast_to(part, (outputs, part.shape[1]))
