"""Nests of arrays: mappings, tuples, lists, named tuples and dataclasses."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import array_api_compat

from dntk.types import Array


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array in memory, of any library."""
    return bool(array_api_compat.is_array_api_obj(x)) and not array_api_compat.is_dask_array(x)


def is_nest(x: Any) -> bool:
    """Whether ``x`` is a container whose parts are one batch together.

    A list is one only of arrays: other lists are lists of examples.
    """
    if isinstance(x, list):
        return all(part is None or is_array(part) for part in x)
    if isinstance(x, Mapping | tuple):
        return True
    return dataclasses.is_dataclass(x) and not isinstance(x, type) and not hasattr(x, "__getitem__")


def parts_of(x: Any) -> list[tuple[Any, Any]]:
    """The parts of a nest with their keys, positions or names of fields."""
    if isinstance(x, Mapping):
        return list(x.items())
    if isinstance(x, tuple | list):
        return list(enumerate(x))
    return [(field.name, getattr(x, field.name)) for field in dataclasses.fields(x) if field.init]


def leaves(x: Any, name: str = "x") -> Iterator[tuple[str, Any]]:
    """Everything in a nest that is no nest itself, called as the user would write it; ``None`` is left out."""
    if not is_nest(x):
        if x is not None:
            yield name, x
        return
    attributes = not isinstance(x, Mapping | tuple | list)
    for key, part in parts_of(x):
        yield from leaves(part, f"{name}.{key}" if attributes else f"{name}[{key!r}]")


def mapped(function: Callable[[Array], Any], x: Any) -> Any:
    """A nest of the same form, of what ``function`` makes of every leaf; mappings become dicts."""
    if x is None:
        return None
    if not is_nest(x):
        return function(x)
    parts = {key: mapped(function, part) for key, part in parts_of(x)}
    if isinstance(x, Mapping):
        return parts
    if isinstance(x, tuple | list):
        values = list(parts.values())
        return type(x)(*values) if hasattr(x, "_fields") else type(x)(values)
    return dataclasses.replace(x, **parts)
