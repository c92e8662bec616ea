"""What users call the functions of PyTorch that a mode of it sees.

``torch.overrides.resolve_name`` knows too, but swaps the filters of warnings for the whole process at every call, which
takes those of other threads away.
"""

import functools
from collections.abc import Hashable, Iterator
from typing import Any

import torch

_SPACES = {
    "torch": torch,
    "torch.nn.functional": torch.nn.functional,
    "torch.linalg": torch.linalg,
    "torch.fft": torch.fft,
    "torch.special": torch.special,
    "torch.Tensor": torch.Tensor,
}


def function_name(function: Any) -> str:
    """Where a function of PyTorch is found, such as ``torch.nn.functional.linear``; of another, how it prints."""
    return _names().get(function, str(function))


@functools.cache
def _names() -> dict[Any, str]:
    names: dict[Any, str] = {}
    for function, name in _members():
        names.setdefault(function, name)
    return names


def _members() -> Iterator[tuple[Any, str]]:
    for space, owner in _SPACES.items():
        for part in reversed(owner.__mro__) if isinstance(owner, type) else (owner,):
            for name, member in list(vars(part).items()):
                if callable(member) and isinstance(member, Hashable):
                    yield member, f"{space}.{name}"
                elif hasattr(member, "__get__"):  # an attribute is seen as the call that reads it
                    yield member.__get__, f"{space}.{name}.__get__"
