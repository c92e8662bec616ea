"""The way to multiply with the Jacobian, checked on a few inputs."""

from typing import NamedTuple

import torch

from dntk.types import Batch
from dntk_torch._testing import Test
from dntk_torch.execution import detached
from dntk_torch.per_sample import Push, push_forward, push_forward_twice_backward
from dntk_torch.requirements import has_padding_row


class Pushing(NamedTuple):
    """A way, and whether every parameter has a gradient at the inputs that it was checked on.

    Where one has none it passes whatever the way makes of it, unless no way leads from it to the outputs.
    """

    way: Push
    telling: bool


def make_push(module: torch.nn.Module, names: tuple[str, ...], x: Batch) -> Pushing:
    """The way to multiply with the Jacobian that agrees with the gradient, forward mode if it does.

    Raises
    ------
    ValueError
        No way does.
    """
    _, test = Test.first(module, x, names)
    telling = test.untold <= test.unreached
    # A padding row has no gradient by torch's convention, but forward mode would give it one, and
    # the probe may hold no padding. The transpose of the gradient is right by what it is.
    ways = [(push_forward_twice_backward, 1.0)]
    if telling and not has_padding_row(module, names):
        ways.insert(0, (push_forward, 0.1))  # stricter, as there is another way to go
    reasons = []
    for push, share in ways:
        try:
            if test.passes_push(push, share):
                if test.module is not module:  # what holds for a wider copy must run in the network's dtype
                    push(module, {name: value[None] for name, value in detached(module).items() if name in names}, x)
                return Pushing(push, telling)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # Operations without forward mode, user code that function transforms cannot run.
            reasons.append(str(error).splitlines()[0] if str(error) else repr(error))
    msg = (
        "directional derivatives of the network disagree with its gradients or do not exist: an "
        f"operation lacks forward mode and double backward ({'; '.join(reasons) or 'unknown'})."
    )
    raise ValueError(msg)
