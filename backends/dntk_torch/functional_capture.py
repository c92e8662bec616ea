"""Calls of functions with parameters, for networks that do without the layers made for them.

``F.linear(x, self.weight)``, ``x @ self.weight.T``, ``x + self.position`` and the projections inside
``nn.MultiheadAttention`` belong to no layer that a hook could observe. A mode of torch sees them all:
parameters are recognised by identity or, where a function is given a part of one, by the memory that
they share.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

from dntk_torch.calls import LayerCall, Use
from dntk_torch.operations import OPERATIONS, Argument, Read
from dntk_torch.plain_operations import OPENED


class Recorder(TorchFunctionMode):  # type: ignore[misc]
    """Records the calls of known functions that are given some of ``parameters``.

    ``escaped`` collects the names of parameters that went into anything else, whose gradients the
    calls do not tell. Attributes, reshapes and other views of a parameter are none.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], *, shielded: bool) -> None:
        self.calls: list[LayerCall] = []
        self.escaped: set[str] = set()
        self._names = {id(value): name for name, value in parameters.items()}
        self._parameters = parameters
        self._shielded = shielded

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch, and record it where it concerns a parameter."""
        kwargs = kwargs or {}
        if func in OPENED:
            with self:
                return OPENED[func](*args, **kwargs)
        output = func(*args, **kwargs)
        given = [name for value in tensors((args, kwargs)) if (name := self._name(value))]
        if not given:
            return output
        found = _read(func, output, args, kwargs)
        uses = [use for argument in found.arguments if (use := self._use(argument))] if found else []
        if found and uses and isinstance(output, torch.Tensor) and output.requires_grad:
            if len(uses) < len(given):  # some went in as an input
                self.escaped.update(given)
            return self._recorded(found, uses, output)
        if not all(self._name(value) for value in tensors(output)):
            self.escaped.update(given)
        return output

    def _recorded(self, found: Read, uses: list[Use], output: torch.Tensor) -> torch.Tensor:
        # A view of a parameter must not be taken for the parameter once it has been counted.
        handed_on = output.clone() if self._name(output) else output
        call = LayerCall(
            input=found.input.detach(),
            version=found.input._version,
            edge=get_gradient_edge(handed_on),
            uses=uses,
        )
        self.calls.append(call)
        return handed_on.clone() if self._shielded else handed_on

    def _name(self, value: torch.Tensor) -> str | None:
        """Name of the parameter that a tensor is, or is a view of."""
        base = value._base
        return self._names.get(id(value if base is None else base))

    def _use(self, argument: Argument) -> Use | None:
        """Which coordinates of a parameter an argument is, ``None`` if it is no contiguous part of one."""
        value = argument.value
        name = self._name(value) if isinstance(value, torch.Tensor) else None
        if name is None:
            return None
        whole = self._parameters[name]
        if not (value.is_contiguous() and whole.is_contiguous() and value.dtype == whole.dtype):
            return None
        return Use(
            name=name,
            rule=argument.rule,
            layer=argument.layer,
            feature_axes=argument.feature_axes,
            start=value.storage_offset() - whole.storage_offset(),
            size=value.numel(),
            total=whole.numel(),
        )


def _read(func: Any, output: Any, args: Any, kwargs: Any) -> Read | None:
    if func not in OPERATIONS or not isinstance(output, torch.Tensor):
        return None
    try:
        return OPERATIONS[func](output, *args, **kwargs)
    except TypeError:
        return None  # a form of the call that the reader does not know, such as one with ``out``


def tensors(values: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested arguments."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors(value)
    elif isinstance(values, dict):
        yield from tensors(list(values.values()))
