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
    """As :func:`dntk_torch.capture.sites_of`, of the parameters that are used nowhere else when ``x`` is run.

    None where the network does not run while its functions are looked at: nobody knows then.
    """
    found = sites_of(module)
    layers = {site.layer for sites in found.values() for site in sites if isinstance(site.layer, torch.nn.Module)}
    try:
        elsewhere = _used_elsewhere(module, layers, list(found), x)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # it ran before, unobserved; code of the user's may refuse modes in its own way
        return {}
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
        """Run a function of torch, and see what it was given, and what it made or wrote into."""
        kwargs = kwargs or {}
        if self._depth:
            return func(*args, **kwargs)
        given = list(tensors((args, kwargs)))
        before = [_version(value) for value in given]
        output = func(*args, **kwargs)
        memory = {_memory(value) for value in given}
        written = [value for value, then in zip(given, before, strict=True) if _version(value) != then]
        new = [value for value in tensors(output) if _memory(value) not in memory]  # views are looked at where they go
        if any(value.requires_grad for value in (*written, *new)):
            self.found.update(name for key in memory for name in self._names.get(key, ()))
        return output


def _version(value: torch.Tensor) -> int:
    """How often a tensor was written into, where that is counted."""
    try:
        return value._version
    except RuntimeError:  # a tensor of inference mode, which no gradient passes
        return 0


def _memory(value: torch.Tensor) -> int:
    """What views of a tensor share with it."""
    try:
        return value.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # tensors without memory, such as sparse ones
        return id(value)
