"""How many inputs are differentiated at once."""

from jaxtyping import Float

from dntk.model import Model
from dntk.types import Array

BUDGET = 2**28
"""Bytes of gradient blocks that one batch may keep alive where no batch size is given."""


def choose_batch_size(model: Model, x: Array, cotangents: Float[Array, "q c"], batch_size: int | None) -> int:
    """``batch_size`` if given, else as many inputs as fit :data:`BUDGET`, measured on the first input."""
    if batch_size is not None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            msg = f"`batch_size` must be an integer of at least 1, got {batch_size!r}."
            raise ValueError(msg)
        return batch_size
    if x.shape[0] == 1:
        return 1
    per_input = sum(block.nbytes for block in model.gradient_blocks(x[:1, ...], cotangents))
    return max(1, min(x.shape[0], BUDGET // max(1, per_input)))
