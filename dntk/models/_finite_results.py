"""Kernels and features that are not finite, and why."""

from collections.abc import Mapping

from dntk import arrays
from dntk.gradient_blocks._require_finite import require_finite
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
    msg = (
        f"the gradients are finite, but their products overflow {result.dtype}: scale the network's outputs down, or "
        "convert network and inputs to float64."
    )
    raise ValueError(msg)
