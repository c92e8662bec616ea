"""Kernels and features that are not finite, or lost to underflow, and why."""

import math
from collections.abc import Mapping

from dntk import arrays
from dntk.gradient_blocks._require_finite import require_finite
from dntk.gradient_blocks._squared_norms import squared_norms
from dntk.ledger import count
from dntk.models import batches
from dntk.models.base import Cotangents, Model
from dntk.types import Array, Inputs


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
    xp = arrays.namespace(result)
    if bool(xp.all(xp.isfinite(result))):
        return
    for name, x in inputs.items():
        for start, stop in arrays.spans(batches.count(x), batch_size):
            for block in model.gradient_blocks(batches.span(x, start, stop), cotangents):
                require_finite(block, name=name, first_row=start)
    remedy = arrays.rescaled("down", result)
    msg = f"the gradients are finite, but their products overflow {result.dtype}: {remedy}."
    raise ValueError(msg)


def require_no_underflow(
    result: Array, model: Model, inputs: Mapping[str, Inputs], cotangents: Cotangents, batch_size: int
) -> None:
    """Raise ``ValueError`` where products of gradients at one or two sets of named ``inputs`` underflow.

    One pass over the result. Only where all of it is small are the inputs differentiated once more, with cotangents as
    large as brings gradients near the limit to 1: those of a dead network are zero then, too, and pass.

    Raises
    ------
    ValueError
        The gradients are not zero, and their products are below what the dtype holds with all digits.
    """
    least = arrays.least_product(result)
    if arrays.largest_magnitude(result) >= least:
        return
    norms = [_largest_norm(model, x, cotangents, batch_size, lift=least**-0.75) for x in inputs.values()]
    if 0 in norms or not norms[0] * norms[-1] < least:  # norms that are not finite are no small ones
        return
    remedy = arrays.rescaled("up", result)
    msg = f"the gradients are not zero, but their products underflow {result.dtype}: {remedy}."
    raise ValueError(msg)


def _largest_norm(model: Model, x: Inputs, cotangents: Cotangents, batch_size: int, *, lift: float) -> float:
    """Largest norm of a gradient, found from ``lift`` times it."""
    largest = 0.0
    for start, stop in arrays.spans(batches.count(x), batch_size):
        count(jacobian_rows=(stop - start) * cotangents.shape[0])
        blocks = model.gradient_blocks(batches.span(x, start, stop), cotangents * lift)
        squares = sum((squared_norms(block) for block in blocks), start=0 * cotangents[:, :1])
        found = arrays.largest_magnitude(squares) ** 0.5 / lift
        largest = found if math.isnan(found) else max(largest, found)
        if not math.isfinite(largest):
            break
    return largest
