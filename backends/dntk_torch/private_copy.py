"""A module's structure, copied, so that it runs with other tensors and no object of the user's is touched.

PyTorch's own ``functional_call`` puts tensors into the module and takes them out again: another thread that runs the
module meanwhile computes with them, and an interrupt leaves them there. Here every run gets modules of its own.
"""

import collections
import dataclasses
import dis
import functools
import inspect
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

Values = Mapping[str, torch.Tensor]
"""Parameters by name."""

_ATOMS = frozenset({bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, type})

_NEVER_RUN = frozenset(
    {"_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"}
)


@dataclasses.dataclass(frozen=True, eq=False)
class PrivateCopy:
    """A module to be run once, hooked and thrown away; ``made`` finds its layers by the identity of the user's."""

    module: torch.nn.Module
    made: Mapping[int, Any] = dataclasses.field(repr=False)

    def of(self, layer: torch.nn.Module) -> torch.nn.Module | None:
        """The copy of a layer, ``None`` where the network no longer has it."""
        copy: torch.nn.Module | None = self.made.get(id(layer))
        return copy


def private_copy(module: torch.nn.Module, parameters: Values) -> PrivateCopy:
    """The module with its parameters replaced by ``parameters``.

    Copied are modules, the containers, bound methods, partial functions, closures and weak references in their
    attributes and hooks that lead to modules or tensors, and the tensors that are no parameters, as ``forward`` may
    write into them. Parameters are given, or shared. All else is shared. Layers and tensors that the module has in
    several places the copy has, too. Compiled modules run as they were before. Values that a layer made of its own
    parameters and keeps, until it trains or moves, are made anew. Cost: some 10 µs per layer.
    """
    given = {id(value): parameters[name] for name, value in module.named_parameters() if name in parameters}
    copier = _Copier(given)
    return PrivateCopy(copier(module), copier.made)


class _Copier:
    """Copies by the identity of the original; ``made`` holds what is copied so far."""

    def __init__(self, tensors: Mapping[int, torch.Tensor]) -> None:
        self.made: dict[int, Any] = dict(tensors)
        self._alive: list[Any] = []  # an identity is that of one object only while this lives

    def __call__(self, value: Any) -> Any:
        """The copy of a value, or the value itself where it is shared."""
        if type(value) in _ATOMS:
            return value
        if id(value) in self.made:
            return self.made[id(value)]
        copy = _WAYS[type(value)](self, value) if type(value) in _WAYS else self._by_base(value)
        return self._keep(value, copy)

    def _keep(self, value: Any, copy: Any) -> Any:
        self._alive.append(value)
        self.made[id(value)] = copy
        return copy

    def _by_base(self, value: Any) -> Any:
        if isinstance(value, torch.nn.Module):
            return value if isinstance(value, torch.jit.ScriptModule) else self.of_module(value)
        if isinstance(value, torch.Tensor):
            return _own_tensor(value)
        return value

    def of_module(self, module: torch.nn.Module) -> torch.nn.Module:
        copy: torch.nn.Module = object.__new__(type(module))
        self._keep(module, copy)
        kind: Any = type(module)
        state, forgotten = vars(copy), _forgotten(kind)
        for name, value in dict(vars(module)).items():
            if name in forgotten and id(value) not in self.made and _is_kept(value):
                self._keep(value, {})
            state[name] = value if type(value) in _ATOMS or name in _NEVER_RUN else self(value)
        for name in _slots(type(module)):
            if hasattr(module, name):
                object.__setattr__(copy, name, self(getattr(module, name)))
        if "_compiled_call_impl" in state:  # module.compile()
            state["_compiled_call_impl"] = None
        if "dynamo_ctx" in state:  # torch.compile(module), which runs the original
            state["forward"] = state["_modules"]["_orig_mod"]
        return copy

    def of_mapping(self, value: Any) -> Any:
        copy = value.copy()
        self._keep(value, copy)
        for key, item in list(copy.items()):
            if type(item) not in _ATOMS:
                copy[key] = self(item)
        return copy

    def of_list(self, value: list[Any]) -> list[Any]:
        copy = list(value)
        self._keep(value, copy)
        copy[:] = [item if type(item) in _ATOMS else self(item) for item in copy]
        return copy

    def of_frozen(self, value: Any) -> Any:
        items = [self(item) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)

    def of_set(self, value: set[Any]) -> set[Any]:
        return {self(item) for item in list(value)}

    def of_method(self, value: types.MethodType) -> Any:
        owner = self(value.__self__)
        return value if owner is value.__self__ else types.MethodType(value.__func__, owner)

    def of_partial(self, value: Any) -> Any:
        if not leads_to_module(value):
            return value
        copy = functools.partial(
            self(value.func), *map(self, value.args), **{k: self(v) for k, v in value.keywords.items()}
        )
        vars(copy).update({name: self(item) for name, item in vars(value).items()})
        return copy

    def of_function(self, value: types.FunctionType) -> Any:
        if not leads_to_module(value):
            return value
        cells = tuple(types.CellType() for _ in value.__closure__ or ())
        copy = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, cells or None)
        self._keep(value, copy)
        for cell, before in zip(cells, value.__closure__ or (), strict=True):
            for content in _contents(before):
                cell.cell_contents = self(content)
        copy.__defaults__ = self(value.__defaults__)
        copy.__kwdefaults__ = self(value.__kwdefaults__)
        vars(copy).update({name: self(item) for name, item in vars(value).items()})
        return copy

    def of_reference(self, value: weakref.ref[Any]) -> Any:
        target = value()
        return weakref.ref(self(target)) if isinstance(target, torch.nn.Module) else value


_WAYS: Mapping[type, Callable[[_Copier, Any], Any]] = {
    dict: _Copier.of_mapping,
    collections.OrderedDict: _Copier.of_mapping,
    collections.defaultdict: _Copier.of_mapping,
    list: _Copier.of_list,
    tuple: _Copier.of_frozen,
    frozenset: _Copier.of_frozen,
    set: _Copier.of_set,
    types.MethodType: _Copier.of_method,
    functools.partial: _Copier.of_partial,
    types.FunctionType: _Copier.of_function,
    weakref.ref: _Copier.of_reference,
}


def leads_to_module(value: Any) -> bool:
    """Whether a module is among what a callable holds, however deep in callables and containers."""
    seen: set[int] = set()
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, torch.nn.Module):
            return True
        if type(item) not in _ATOMS and id(item) not in seen:
            seen.add(id(item))
            left.extend(_held(item))
    return False


def _held(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from list(value)
    elif isinstance(value, types.MethodType):
        yield value.__self__
    elif isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords, vars(value))
    elif isinstance(value, weakref.ref):
        yield value()
    elif isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            yield from _contents(cell)
        yield from (value.__defaults__, value.__kwdefaults__, vars(value))


def _contents(cell: types.CellType) -> Iterator[Any]:
    try:
        yield cell.cell_contents
    except ValueError:  # a name that has no value yet
        return


@functools.lru_cache(maxsize=256)
def _forgotten(kind: Any) -> frozenset[str]:
    """Attributes that a layer makes empty dictionaries when it trains or moves: what it computed once and keeps.

    Attention biases of timm's LeViT, EfficientFormer and EfficientViT are looked up by the first call in evaluation
    mode and kept; a copy that kept them, too, would not depend on its parameters.
    """
    names: set[str] = set()
    for own, plain in ((kind.train, torch.nn.Module.train), (kind._apply, torch.nn.Module._apply)):
        code = getattr(inspect.unwrap(own), "__code__", None)
        if own is not plain and code is not None:
            steps = [(step.opname, step.argval) for step in dis.get_instructions(code)]
            for made, _owner, (name, attribute) in zip(steps, steps[1:], steps[2:], strict=False):
                if made == ("BUILD_MAP", 0) and name == "STORE_ATTR":
                    names.add(attribute)
    return frozenset(names)


def _is_kept(value: Any) -> bool:
    """Whether this is a dictionary of tensors of numbers that are no parameters."""
    return type(value) is dict and all(
        isinstance(item, torch.Tensor) and item.is_floating_point() and not isinstance(item, torch.nn.Parameter)
        for item in value.values()
    )


def _own_tensor(value: torch.Tensor) -> torch.Tensor:
    """A copy of a tensor into which ``forward`` may write; parameters and results of other graphs are shared."""
    return value if value.requires_grad or isinstance(value, torch.nn.Parameter) else value.clone()


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        names = vars(base).get("__slots__", ())
        yield from ((names,) if isinstance(names, str) else names)
