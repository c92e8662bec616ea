"""A function of a network's answer and of its batch, run within the network: what the framework differentiates."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

from dntk import arrays
from dntk.models.adapter._calling import Forward, call, outputs_alone
from dntk.models.base import Model
from dntk.models.nests import is_array
from dntk.types import Array, Batch, Namespace


@runtime_checkable
class After(Protocol):
    """A function of what a network answers to a part of a batch, and of all of the batch."""

    def inputs(self, batch: Batch) -> Batch:
        """The part of the batch that the network is called with."""

    def outputs(self, answer: Array, batch: Batch, xp: Namespace) -> Array:
        """Outputs (n, C), by functions of ``xp`` that the framework differentiates."""


@runtime_checkable
class Followable(Protocol):
    """A model whose network may be followed by a function that its framework differentiates."""

    def followed_by(self, after: After) -> Model:
        """The network and then ``after``, in the same parameters."""


@dataclasses.dataclass(frozen=True)
class Following:
    """A way to call a module: as in ``way``, then ``after``."""

    way: Forward | None
    after: After
    xp: Namespace

    def __call__(self, net: Any, batch: Batch) -> Any:
        """Outputs (n, C); an answer that is no array as it is, for others to refuse."""
        answer = outputs_alone(call(net, self.after.inputs(batch), self.way))
        return followed(answer, batch, self.after, self.xp)


def followed(answer: Any, batch: Batch, after: After, xp: Namespace) -> Any:
    """What ``after`` makes of an answer, of 16-bit numbers in float32; of what is no array nothing."""
    if not hasattr(answer, "shape"):
        return answer
    return after.outputs(arrays.widened(answer) if is_array(answer) else answer, batch, xp)
