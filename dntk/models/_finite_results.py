"""Kernels and features that are not finite, or lost to underflow, and why."""

import math
from collections.abc import Mapping

from dntk import arrays
from dntk.gradient_blocks._require_finite import require_finite
from dntk.ledger import count
from dntk.models import batches
from dntk.models.base import Cotangents, Model
from dntk.types import Array, Inputs

_ENTRIES = 2**24
"""Entries of gradients that are looked at together."""


def require_finite_result(
    result: Array, model: Model, inputs: Mapping[str, Inputs], cotangents: Cotangents, batch_size: int
) -> None:
    """Raise ``ValueError`` unless a kernel or features made of gradients at named ``inputs`` are finite.

    Two passes over the result, no copy of it, one synchronisation with the device. Only where that fails are the inputs
    differentiated once more, batch by batch, to find the parameter and the input.

    Raises
    ------
    ValueError
        A gradient is NaN or infinite, or its products overflow.
    """
    if math.isfinite(arrays.largest_magnitude(result)):
        return
    with arrays.checked_afterwards():
        for name, x in inputs.items():
            for start, stop in arrays.spans(batches.count(x), batch_size):
                for block in model.gradient_blocks(batches.span(x, start, stop), cotangents):
                    require_finite(block, name=name, first_row=start)
    remedy = arrays.rescaled("down", result)
    msg = f"the gradients are finite, but their products overflow {result.dtype}: {remedy}."
    raise ValueError(msg)


def require_no_underflow(
    result: Array,
    model: Model,
    inputs: Mapping[str, Inputs],
    cotangents: Cotangents,
    batch_size: int,
    *,
    with_itself: bool,
) -> None:
    """Raise ``ValueError`` where products of gradients at one or two sets of named ``inputs`` underflow.

    One pass over the result. Only where all of it is small are the inputs differentiated again: those of a dead network
    have gradients of zero, and pass. ``with_itself`` says that the result holds the product of every gradient with
    itself, which is small only where the gradient is; others may be small as their gradients are orthogonal, and are
    refused where products of the largest entries are.

    Raises
    ------
    ValueError
        The gradients are not zero, and their products are below what the dtype holds with all digits.
    """
    least = arrays.least_product(result)
    if arrays.largest_magnitude(result) >= least:
        return
    with arrays.checked_afterwards():
        entries = [_largest_entry(model, x, cotangents, batch_size, least) for x in inputs.values()]
    if not all(entries) or not (with_itself or math.log(entries[0]) + math.log(entries[-1]) < math.log(least)):
        return
    remedy = arrays.rescaled("up", result)
    msg = f"the gradients are not zero, but their products underflow {result.dtype}: {remedy}."
    raise ValueError(msg)


def _largest_entry(model: Model, x: Inputs, cotangents: Cotangents, batch_size: int, least: float) -> float:
    """Largest |entry| of a gradient, also where the backward pass underflows; 0 of a dead network."""
    for lift in (1.0, least**-0.75):
        largest = 0.0
        for start, stop in arrays.spans(batches.count(x), batch_size):
            count(jacobian_rows=(stop - start) * cotangents.shape[0])
            for block in model.gradient_blocks(batches.span(x, start, stop), cotangents * lift):
                width = max(1, _ENTRIES // math.prod(block.shape))
                found = [arrays.largest_magnitude(values) for _, values in block.chunks(width)]
                largest = max(largest, *(value for value in found if math.isfinite(value)), 0.0)
        if largest > 0:
            return largest / lift
    return 0.0
