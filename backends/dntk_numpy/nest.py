"""Nests of parameters: dictionaries, lists and tuples of arrays, each array named by its path."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

ALONE = "params"
"""Name of parameters that are one array, in no nest."""


def named_arrays(nest: Any) -> dict[str, Any]:
    """Copies of the arrays of a nest by path, as in ``layers.0.w``; in the nest's own order.

    Raises
    ------
    TypeError
        A leaf is a Python float, of which nobody can say whether it is a parameter, or no array nor constant.
    ValueError
        Two paths give one name, or there is no array.
    """
    found: dict[str, Any] = {}
    for name, leaf in _leaves(nest, ""):
        value = _array(name or ALONE, leaf)
        if value is None:
            continue
        if (name or ALONE) in found:
            msg = f"`params` has two arrays called {name!r}: rename a key that contains a dot."
            raise ValueError(msg)
        found[name or ALONE] = value
    if not found:
        msg = f"`params` ({type(nest).__name__}) holds no NumPy array: pass a dictionary, list or tuple of arrays."
        raise ValueError(msg)
    return found


def filled(nest: Any, values: Mapping[str, Any], path: str = "") -> Any:
    """The nest with the arrays in ``values`` in the place of its own; constants stay."""
    if isinstance(nest, Mapping):
        made = copy.copy(nest) if isinstance(nest, dict) else dict(nest)
        made.update({key: filled(value, values, _joined(path, key)) for key, value in nest.items()})
        return made
    if isinstance(nest, list | tuple):
        items = [filled(value, values, _joined(path, position)) for position, value in enumerate(nest)]
        return items if isinstance(nest, list) else getattr(type(nest), "_make", tuple)(items)
    return values.get(path or ALONE, nest)


def _leaves(nest: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(nest, Mapping):
        for key, value in nest.items():
            yield from _leaves(value, _joined(path, key))
    elif isinstance(nest, list | tuple):
        for position, value in enumerate(nest):
            yield from _leaves(value, _joined(path, position))
    else:
        yield path, nest


def _array(name: str, leaf: Any) -> Any:
    """A copy of an array, ``None`` for a constant."""
    if isinstance(leaf, np.ndarray | np.generic):
        return np.array(leaf)
    if leaf is None or isinstance(leaf, str | bool | int):
        return None
    if isinstance(leaf, float):
        msg = f"{name!r} in `params` is a Python float: make it an array, np.asarray({leaf!r}), or leave it out."
    else:
        kind = f"{type(leaf).__module__}.{type(leaf).__qualname__}"
        msg = f"{name!r} in `params` is a {kind}: expected a NumPy array, or a constant (None, str, bool, int)."
    raise TypeError(msg)


def _joined(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
