"""Calls of functions with parameters, for networks that do without the layers made for them.

``F.linear(x, self.weight)``, ``x @ self.weight.T``, ``x + self.position`` and the projections inside
``nn.MultiheadAttention`` belong to no layer that a hook could observe. A mode of torch sees them all:
parameters are recognised by identity or, where a function is given a part of one, by the memory that
they share; what is made of parameters alone (:mod:`dntk_torch.lineage`) is followed to where it meets the inputs.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.autograd.graph import get_gradient_edge
from torch.utils.weak import WeakIdKeyDictionary

from dntk_torch._function_names import function_name
from dntk_torch._repeating import repeats
from dntk_torch.calls import LayerCall, Use
from dntk_torch.lineage import Cut, Lineage, Origin, tensors
from dntk_torch.operations import OPERATIONS, Argument, Read
from dntk_torch.plain_operations import OPENED, opened_attention
from dntk_torch.undisturbed import Mode


class Recorder(Mode):
    """Records the calls of known functions that are given some of ``parameters``, or what is made of them.

    ``escaped`` tells of parameters that went into anything else, whose gradients the calls do not tell, into what
    they went. Attributes, reshapes and other views of a parameter are none. ``cuts`` are the places where the graph of
    a value made of parameters ends.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], *, shielded: bool) -> None:
        self.calls: list[LayerCall] = []
        self.escaped: dict[str, str] = {}
        self.cuts: list[Cut] = []
        self._parameters = parameters
        self._lineage = Lineage(parameters, [])
        self._cut: Any = WeakIdKeyDictionary()
        self._shielded = shielded

    def knowing(self, constants: Iterable[torch.Tensor]) -> "Recorder":
        """The recorder, told of tensors that depend on no input."""
        self._lineage = Lineage(self._parameters, constants)
        return self

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch, and record it where it concerns a parameter."""
        kwargs = kwargs or {}
        given = [value for value in tensors((args, kwargs)) if self._lineage.names(value)]
        opened = OPENED.get(func) or (opened_attention(func) if given else None)
        if opened is not None:
            with self:
                return opened(*args, **kwargs)
        if not repeats(func, args, given) and self._lineage.without_inputs((args, kwargs)):
            output = func(*args, **kwargs)
            self._escape(func, self._lineage.note((args, kwargs), output))
            return output
        if not given:
            return func(*args, **kwargs)
        return self._used(given, func, *self._without_graph((args, kwargs)))

    def _used(self, given: list[torch.Tensor], func: Any, args: Any, kwargs: Any) -> Any:
        output = func(*args, **kwargs)
        names = frozenset().union(*(self._lineage.names(value) for value in given))
        found = _read(func, output, args, kwargs)
        uses = [uses for argument in found.arguments if (uses := self._uses(argument))] if found else []
        if found and uses and isinstance(output, torch.Tensor) and output.requires_grad:
            if len(uses) < len(given):  # some went in as an input
                self._escape(func, names)
            return self._recorded(found, [use for some in uses for use in some], output)
        # What returns nothing may have written into an argument, as `h[:, 0] = self.bias` does.
        reached = tensors((args, kwargs) if output is None else output)
        if not all(self._lineage.parameter(value) for value in reached):
            self._escape(func, names)
        return output

    def _recorded(self, found: Read, uses: list[Use], output: torch.Tensor) -> torch.Tensor:
        # A view of a parameter must not be taken for the parameter once it has been counted.
        handed_on = output.clone() if self._lineage.parameter(output) else output
        call = LayerCall(
            input=found.input.detach(),
            version=found.input._version,
            edge=get_gradient_edge(handed_on),
            uses=uses,
        )
        self.calls.append(call)
        return handed_on.clone() if self._shielded else handed_on

    def _escape(self, func: Any, names: Iterable[str]) -> None:
        for name in names:
            self.escaped.setdefault(name, function_name(func))

    def _without_graph(self, nested: Any) -> Any:
        """Nested arguments in which values made of parameters are leaves, whose graphs backward passes leave alone."""
        if isinstance(nested, torch.Tensor):
            if self._lineage.parameter(nested) is not None or not self._lineage.names(nested):
                return nested
            leaf = nested.detach().contiguous().requires_grad_()
            self._cut[leaf] = nested
            self.cuts.append(Cut(leaf, nested, self._lineage.names(nested)))
            return leaf
        if type(nested) in (list, tuple):
            return type(nested)(map(self._without_graph, nested))
        return {key: self._without_graph(value) for key, value in nested.items()} if type(nested) is dict else nested

    def _uses(self, argument: Argument) -> list[Use]:
        """Which coordinates of a parameter an argument is, or of which parameters it is made; none for others."""
        value = argument.value
        if not isinstance(value, torch.Tensor):
            return []
        name = self._lineage.parameter(value)
        if name is None:
            return self._made(argument)
        whole = self._parameters[name]
        if not (value.is_contiguous() and whole.is_contiguous() and value.dtype == whole.dtype):
            return [_use(argument, name, origin=Origin(value, whole))]
        start = value.storage_offset() - whole.storage_offset()
        return [_use(argument, name, start=start, size=value.numel(), total=whole.numel())]

    def _made(self, argument: Argument) -> list[Use]:
        leaf = argument.value if argument.value._base is None else argument.value._base
        value = self._cut.get(leaf)
        if value is None or argument.value.shape != value.shape or not argument.value.is_contiguous():
            return []
        return [
            _use(argument, name, origin=Origin(value, self._parameters[name]))
            for name in sorted(self._lineage.names(value))
        ]


def _use(argument: Argument, name: str, **where: Any) -> Use:
    return Use(
        name=name,
        rule=argument.rule,
        layer=argument.layer,
        feature_axes=argument.feature_axes,
        ordered=argument.ordered,
        **where,
    )


def _read(func: Any, output: Any, args: Any, kwargs: Any) -> Read | None:
    if func not in OPERATIONS or not isinstance(output, torch.Tensor):
        return None
    try:
        return OPERATIONS[func](output, *args, **kwargs)
    except TypeError:
        return None  # a form of the call that the reader does not know, such as one with ``out``
