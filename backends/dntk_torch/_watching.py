"""Which of a network's own parameters a run of a private copy still reaches."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dntk_torch.execution import detached, prepared, run_copy, without_graph


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    """Notes which of some tensors go into operations."""

    def __init__(self, tensors: dict[int, str]) -> None:
        super().__init__()
        self._tensors = tensors
        self.met: set[str] = set()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        for value in args:
            for item in value if isinstance(value, list | tuple) else (value,):
                if id(item) in self._tensors:
                    self.met.add(self._tensors[id(item)])
        return func(*args, **(kwargs or {}))


def require_own_parameters(module: torch.nn.Module, names: tuple[str, ...], x: torch.Tensor) -> None:
    """Raise ``ValueError`` where a copy of the module computes with selected parameters of the module itself.

    Such parameters are reached through a global variable or an object that is no module, which no copy follows: their
    gradients would be missing.
    """
    every = dict(module.named_parameters())
    watch = _Watch({id(every[name]): name for name in names})
    copy = prepared(module, detached(module))
    with without_graph(x.device), watch:
        run_copy(copy, x)
    if watch.met:
        name = min(watch.met)
        msg = (
            f"the network's forward reaches its parameter {name!r} other than through attributes of modules, such as "
            "by a global variable or an object that is no torch.nn.Module: hold the layer as an attribute of the "
            "module that calls it, or leave it out with parameters=..."
        )
        raise ValueError(msg)
