"""Kernels and features that are not finite, and why."""

import math
from collections.abc import Mapping

from dntk import arrays
from dntk.gradient_blocks._require_finite import require_finite
from dntk.models import batches
from dntk.models.base import Cotangents, Model
from dntk.types import Array, Inputs

_PIECE = 2**24


def require_finite_result(
    result: Array, model: Model, inputs: Mapping[str, Inputs], cotangents: Cotangents, batch_size: int
) -> None:
    """Raise ``ValueError`` unless a kernel or features made of gradients at named ``inputs`` are finite.

    One pass over the result and one synchronisation with the device. Only where that fails are the inputs
    differentiated once more, batch by batch, to find the parameter and the input.

    Raises
    ------
    ValueError
        A gradient is NaN or infinite, or its products overflow.
    """
    largest = arrays.largest_magnitude(result)
    if math.isfinite(largest):
        return
    for name, x in inputs.items():
        for start, stop in arrays.spans(batches.count(x), batch_size):
            for block in model.gradient_blocks(batches.span(x, start, stop), cotangents):
                require_finite(block, name=name, first_row=start)
    msg = (
        f"the gradients are finite, but their products overflow {result.dtype}: scale the network's outputs down, or "
        "convert network and inputs to float64."
    )
    raise ValueError(msg)


def require_kernel_result(
    result: Array,
    model: Model,
    inputs: Mapping[str, Inputs],
    cotangents: Cotangents,
    batch_size: int,
    scale: float = 1.0,
) -> None:
    """As :func:`require_finite_result`, and raise where products of gradients underflow.

    A kernel without large entries may be one of gradients that are zero or orthogonal: only then are the inputs
    differentiated once more, to see whether theirs are too small to be multiplied. ``scale`` is that of what the kernel
    was multiplied with.

    Raises
    ------
    ValueError
        A gradient is NaN or infinite, or products of gradients overflow or underflow.
    """
    require_finite_result(result, model, inputs, cotangents, batch_size)
    least = arrays.squares_in_range(result)[0]
    if arrays.largest_magnitude(result) >= least**2 * min(1.0, scale):
        return
    largest = 0.0
    for x in inputs.values():
        for start, stop in arrays.spans(batches.count(x), batch_size):
            for block in model.gradient_blocks(batches.span(x, start, stop), cotangents):
                for _, values in block.chunks(max(1, _PIECE // math.prod(block.shape))):
                    largest = max(largest, arrays.largest_magnitude(values))
    if 0 < largest < least:
        msg = (
            f"no gradient has an entry above {largest:.3g}, whose products underflow {result.dtype}: scale the "
            "network's outputs up, or convert network and inputs to float64."
        )
        raise ValueError(msg)
