"""What Python reads of tensors while a network runs, by which it may choose its way."""

from typing import Any

import torch

from dntk_torch.undisturbed import Mode

READS = frozenset(
    {
        torch.Tensor.__bool__, torch.Tensor.item, torch.Tensor.__int__, torch.Tensor.__float__, torch.Tensor.__index__,
        torch.Tensor.is_nonzero, torch.is_nonzero,
    }
)  # fmt: skip
"""Functions that read one number, all of which is in what they return."""

Read = tuple[tuple[type, Any], ...]
"""Numbers that were read, in order, with their kinds: True is no 1."""


class Reading(Mode):
    """Notes every number that is read by a function of ``READS``."""

    def __init__(self) -> None:
        self.found: list[tuple[type, Any]] = []

    @property
    def read(self) -> Read:
        """All so far."""
        return tuple(self.found)

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch."""
        output = func(*args, **(kwargs or {}))
        if func in READS:
            self.found.append((type(output), output))
        return output
