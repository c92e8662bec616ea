"""Functions that repeat a parameter for every input."""

from collections.abc import Sequence
from typing import Any

import torch

_EXPANDING = frozenset({torch.Tensor.expand, torch.Tensor.expand_as, torch.Tensor.repeat})
_BROADCASTING = frozenset({torch.add, torch.Tensor.add, torch.mul, torch.Tensor.mul})


def repeats(func: Any, args: Any, given: Sequence[torch.Tensor]) -> bool:
    """Whether a function may repeat what it is given of parameters for every input, though it is given no input."""
    if func not in _BROADCASTING or not given:
        return bool(given) and func in _EXPANDING
    shape = torch.broadcast_shapes(*(value.shape for value in args if isinstance(value, torch.Tensor)))
    return shape != torch.broadcast_shapes(*(value.shape for value in given)) and shape[0] > 1
