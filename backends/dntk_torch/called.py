"""A module together with the way in which it is called, and batches of tensors as it is called with them."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from dntk.models import batches
from dntk.models.adapter import Forward, call, outputs_alone
from dntk.models.nests import leaves, mapped
from dntk.types import Batch


class Called(torch.nn.Module):  # type: ignore[misc]
    """The user's module, run on batches of any form; layers and parameters have the names that they have there.

    It is no owner of the module: what PyTorch asks of its parts is asked of the module.
    """

    def __init__(self, net: torch.nn.Module, way: Forward | None = None) -> None:
        super().__init__()
        self.__dict__.update(net=net, way=way)

    def forward(self, x: Batch) -> Any:
        """Outputs alone, one column for one output."""
        return outputs_alone(call(self.net, x, self.way))

    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, torch.nn.Module]]:
        """The module and its layers."""
        yield from self.net.named_modules(*args, **kwargs)

    def get_submodule(self, target: str) -> torch.nn.Module:
        """A layer of the module."""
        return self.net.get_submodule(target)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Called":
        self.net._apply(fn, recurse)
        return self


def tensors_of(x: Batch) -> Batch:
    """The batch with tensors cut off from any graph, and mappings as dicts."""
    return mapped(lambda part: torch.as_tensor(part).detach(), x)


def cloned(x: Batch) -> Batch:
    """A copy that may be written to."""
    return mapped(torch.clone, x)


def device_of(x: Batch) -> torch.device:
    """Where the batch is."""
    device: torch.device = next(part for _, part in leaves(x)).device
    return device


def one_by_one(x: Batch) -> Iterator[Batch]:
    """Batches of one input."""
    for i in range(batches.count(x)):
        yield batches.span(x, i, i + 1)
