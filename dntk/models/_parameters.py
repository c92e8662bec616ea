"""Which backend understands the parameters of a function."""

from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from dntk.backend import Backend, backend_for_network


def backend_for_parameters(params: Any) -> Backend:
    """Backend that understands the first of the values in a nest of parameters that any understands."""
    for value in _values(params, set()):
        try:
            return backend_for_network(value)
        except TypeError:
            continue
    msg = (
        f"`params` ({type(params).__name__}) holds no array of a framework that differentiates functions: pass a nest "
        "of parameters such as a dict of JAX arrays."
    )
    raise TypeError(msg)


def _values(nest: Any, seen: set[int]) -> Iterator[Any]:
    """A nest, and whatever containers, dataclasses and other objects in it hold, outermost first."""
    if id(nest) in seen:
        return
    seen.add(id(nest))
    yield nest
    if isinstance(nest, Mapping):
        inner = list(nest.values())
    elif isinstance(nest, list | tuple):
        inner = list(nest)
    else:
        inner = [getattr(nest, name, None) for name in _attributes(nest)]
    for value in inner:
        yield from _values(value, seen)


def _attributes(value: Any) -> list[str]:
    """Names of an object's own attributes; none for functions, classes and modules."""
    if isinstance(value, type | ModuleType | FunctionType | BuiltinFunctionType | MethodType):
        return []
    declared = [getattr(cls, "__slots__", ()) for cls in type(value).__mro__]
    slots = [name for names in declared for name in ((names,) if isinstance(names, str) else names)]
    return [*getattr(value, "__dict__", {}), *slots]
