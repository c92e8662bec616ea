"""Parameters of layers that something other than their layers uses, too.

Gradients at the outputs of layers tell nothing of ``F.linear(x, self.layer.weight)``. Comparing sums of gradients shows
that something is missing, but not where a mask or a gate hides that use from the inputs that are compared.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from dntk.types import Batch
from dntk_torch.called import device_of
from dntk_torch.capture import Site, sites_of
from dntk_torch.execution import detached, differentiable, prepared, run_copy
from dntk_torch.lineage import tensors
from dntk_torch.undisturbed import Mode


def sites_alone(module: torch.nn.Module, x: Batch) -> dict[str, list[Site]]:
    """As :func:`dntk_torch.capture.sites_of`, of the parameters that are used nowhere else when ``x`` is run."""
    found = sites_of(module)
    layers = {site.layer for sites in found.values() for site in sites if isinstance(site.layer, torch.nn.Module)}
    elsewhere = _used_elsewhere(module, layers, list(found), x)
    return {name: sites for name, sites in found.items() if name not in elsewhere}


def _used_elsewhere(module: torch.nn.Module, layers: Iterable[torch.nn.Module], names: list[str], x: Batch) -> set[str]:
    """Those of ``names`` that functions are given outside of ``layers``, for what has a gradient."""
    values = detached(module, names)
    seen = _Outside({name: values[name] for name in names})
    with differentiable(device_of(x)):
        copy = prepared(module, values)
        for layer in layers:
            own = copy.of(layer)
            if own is not None:
                own.register_forward_pre_hook(seen.enter)
                own.register_forward_hook(seen.leave, prepend=True, always_call=True)
        with seen:
            run_copy(copy, x)
    return seen.found


class _Outside(Mode):
    """Records which parameters, or views of them, functions are given while no layer runs."""

    def __init__(self, parameters: Mapping[str, torch.Tensor]) -> None:
        self.found: set[str] = set()
        self._depth = 0
        self._names: dict[int, list[str]] = {}
        for name, value in parameters.items():
            self._names.setdefault(_memory(value), []).append(name)

    def enter(self, *_: Any) -> None:
        """A layer begins."""
        self._depth += 1

    def leave(self, *_: Any) -> None:
        """It has ended."""
        self._depth -= 1

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch, and see what it was given."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self._depth == 0:
            given = {_memory(value) for value in tensors((args, kwargs))}
            made = [value for value in tensors(output) if value.requires_grad]
            if any(_memory(value) not in given for value in made):  # views are looked at where they go
                self.found.update(name for key in given for name in self._names.get(key, ()))
        return output


def _memory(value: torch.Tensor) -> int:
    """What views of a tensor share with it."""
    try:
        return value.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # tensors without memory, such as sparse ones
        return id(value)
