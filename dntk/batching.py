"""How many inputs are differentiated at once."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float

from dntk.model import Model
from dntk.types import Array

BUDGET = 2**30
"""Bytes of gradient blocks that may be alive at once where no batch size is given: 1 GiB."""


@runtime_checkable
class SizedModel(Protocol):
    """A model that remembers how many bytes its gradient blocks take."""

    def block_bytes(self, x: Array, cotangents: Float[Array, "q c"]) -> tuple[int, int]:
        """Bytes per input for one functional, and for each further one."""


def measured_bytes(model: Model, x: Array, cotangents: Float[Array, "q c"]) -> tuple[int, int]:
    """Bytes of the gradient blocks of the first input for one functional, and for each further one."""
    first = further = 0
    for block in model.gradient_blocks(x[:1, ...], cotangents[:1, ...]):
        first, further = first + block.nbytes, further + block.cotangent_nbytes
    return first, further


def choose_batch_size(
    model: Model, x: Array, cotangents: Float[Array, "q c"], batch_size: int | None, *, sides: int = 1
) -> int:
    """``batch_size`` if given, else as many inputs as fit :data:`BUDGET`, measured on the first input.

    ``sides`` tells how many batches are alive together where one does not suffice.
    """
    if batch_size is not None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            msg = f"`batch_size` must be an integer of at least 1, got {batch_size!r}."
            raise ValueError(msg)
        return batch_size
    if x.shape[0] == 1:
        return 1
    measure = model.block_bytes if isinstance(model, SizedModel) else lambda *data: measured_bytes(model, *data)
    first, further = measure(x, cotangents)
    fitting = BUDGET // max(1, first + (cotangents.shape[0] - 1) * further)
    return x.shape[0] if fitting >= x.shape[0] else max(1, fitting // sides)
