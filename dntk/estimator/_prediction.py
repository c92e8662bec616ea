"""Predictions of a model that is linear in the network's parameters."""

import dataclasses
from collections.abc import Iterator
from typing import Any

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
from dntk.sketch.base import PairedSketch, separated
from dntk.stores.rows import PointRows
from dntk.stores.spread import all_parts
from dntk.types import Array, Batch, Inputs

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
    model: Model, x: Inputs, linear: LinearWeights, memory_limit: int | None = None, client: Any = None
) -> Float[Array, "n c"]:
    """⟨w_c, S φ_c(x)⟩ of every output at checked inputs, φ_c(x) the gradient of output c, S a bound sketch or 1.

    One forward and C backward passes to the outputs of layers, and in every layer the work of C forward passes more
    (:func:`dntk.gradient_blocks._paired.paired`), or less where the sketch reduces it: then the activations are
    reduced, too. Forward mode takes two for each output, and needs a derivative that not every operation has. No
    gradient is placed or hashed. Where one weight vector serves all outputs it takes two for all of them, and is what
    is done, unless the network is narrower than float32: tangents are of its own type. Workers of a ``client`` take
    the same batches, and bring the weights to the parameters themselves.
    """
    xp = model.namespace
    dtype = arrays.kernel_dtype(xp, model.dtype)
    every = cotangents_for("each", model.n_outputs, xp=xp, dtype=dtype, device=model.device)
    products = _Products(model=model, every=every, linear=linear, memory_limit=memory_limit)
    held = nbytes_of(linear.weights) + nbytes_of(products.whole)
    with arrays.checked_afterwards():
        size = choose_batch_size(model, x, every, None, held=held, memory_limit=memory_limit)
    with task("prediction", total=batches.count(x), unit="points") as bar, arrays.checked_afterwards():
        if products.whole.shape[0] == 1 < model.n_outputs and dtype == model.dtype:
            outputs = all_parts(PointRows(products.swept, size, axis=0), x, client, bar)
        else:
            outputs = products.of_all(x, size, client, bar)
    require_finite_result(outputs, model, {"x": x}, every, size)
    return outputs


@dataclasses.dataclass(kw_only=True, eq=False)
class _Products:
    """Gradients times weights, with bytes for every input of all gradients, and of the largest array among them.

    It can be sent to another process, without the weights in the parameters' coordinates: these are made there.
    """

    model: Model
    every: Float[Array, "c c"]
    linear: LinearWeights
    memory_limit: int | None
    largest: int = 1
    whole_bytes: int = 1
    _whole: Float[Array, "g p"] | None = dataclasses.field(default=None, init=False, repr=False)

    @property
    def whole(self) -> Float[Array, "g p"]:
        """Sᵀw, for as long as this is there."""
        if self._whole is None:
            self._whole = self.linear.in_parameters(self.memory_limit)
        return self._whole

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_whole": None}

    def of_all(self, x: Inputs, size: int, client: Any, bar: Task) -> Float[Array, "n c"]:
        """All outputs, at most ``size`` inputs at once, and fewer where an array of one layer would be too large."""
        n = batches.count(x)
        few = min(n, size, FEWEST)
        pieces = in_batches(few, few, lambda start, stop: self.over(batches.span(x, start, stop)), bar)
        if few < n:
            rows = PointRows(self.over, self._fitting(size, n - few), axis=0)
            pieces.append(all_parts(rows, x, client, bar, start=few))
        return arrays.namespace(pieces[0]).concat(pieces, axis=0)

    def _fitting(self, size: int, n: int) -> int:
        """Inputs at once of n more, once some have shown what layers take."""
        if _LARGE * self.largest > self.whole_bytes:
            working_set = backend_of(self.linear.weights).working_set(self.linear.weights)
            most = 4 * _WORKING_SETS * working_set  # bytes
            size = min(size, max(FEWEST, most // self.largest))
        return -(-n // -(-n // size))  # in equal parts: a few inputs alone are slow

    def swept(self, x: Batch) -> Float[Array, "n c"]:
        """All outputs' derivatives along one weight vector, by one sweep."""
        count(jacobian_rows=batches.count(x))
        return self.model.jvp(x, self.whole)[0, :, :]

    def over(self, x: Batch) -> Float[Array, "n c"]:
        """Outputs of a batch."""
        sketch, outputs = self.linear.sketch, self.every.shape[0]
        given = self.linear.weights
        weights = arrays.namespace(given).broadcast_to(given, (outputs, given.shape[1]))  # one for all, or C
        total: Array | None = None
        for block in self._blocks(x):
            paired_to = sketch.cheaper_pair(block, weights) if isinstance(sketch, PairedSketch) else None
            part = paired(*(paired_to or (block, _of_block(self.whole, block, outputs))))
            total = part if total is None else total + part
        assert total is not None
        return total.T

    def _blocks(self, x: Batch) -> Iterator[GradientBlock]:
        n, outputs = batches.count(x), self.every.shape[0]
        count(jacobian_rows=n * outputs)
        self.whole_bytes = 1
        for block in self.model.gradient_blocks(x, self.every):
            cotangents = block.cotangent_nbytes * outputs
            self.whole_bytes += block.nbytes // n
            self.largest = max(self.largest, max(cotangents, block.nbytes - cotangents) // n)
            yield from separated([block])


def _of_block(whole: Float[Array, "g p"], block: GradientBlock, outputs: int) -> Float[Array, "c b"]:
    """The coordinates of a block, of every output."""
    part = whole[:, block.offset : block.offset + block.size]
    return arrays.namespace(part).broadcast_to(part, (outputs, part.shape[1]))
