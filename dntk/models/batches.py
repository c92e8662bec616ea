"""Batches of inputs and sources of points: how many there are, and some of them.

A batch is an array (n, ...), or a nest of arrays that share their first axis. A source is a
:class:`dntk.models.sources.Points`, which reads points when they are asked for; it may be part of a nest. No other
module indexes inputs.
"""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from jaxtyping import Int

from dntk import arrays
from dntk._foreign import require_plain_array
from dntk.backend import backend_of
from dntk.models.nests import is_array, is_nest, leaves, mapped
from dntk.models.sources import Points, is_source, points
from dntk.types import Array, Batch, Inputs


def count(x: Inputs) -> int:
    """Number n of inputs."""
    if is_array(x):
        n: int = x.shape[0]
        return n
    return next(len(part) if isinstance(part, Points) else part.shape[0] for _, part in leaves(x))


def require_parts(name: str, x: Any) -> None:
    """Raise unless ``x`` is an array, a source of points, or a nest of such, one at least.

    Raises
    ------
    TypeError
        Something else, or an array that is no plain one.
    ValueError
        A nest of nothing.
    """
    parts = list(leaves(x, name))
    if not parts:
        msg = f"`{name}` holds no array: pass the inputs of the network."
        raise ValueError(msg)
    for part_name, part in parts:
        if not isinstance(part, Points):
            require_plain_array(part_name, part)


def span(x: Inputs, start: int, stop: int) -> Batch:
    """Inputs from ``start`` up to ``stop``; those of a source are read."""
    return _chosen(x, lambda part: part[start:stop, ...], lambda source: source.read(range(len(source))[start:stop]))


def first(x: Inputs, size: int = 1) -> Batch:
    """The first inputs, ``size`` of them where there are so many."""
    return span(x, 0, min(size, count(x)))


def plain(x: Batch) -> Batch:
    """The batch with mappings of every class as dicts, which frameworks know."""
    return x if is_array(x) else mapped(lambda part: part, x)


def whole(x: Inputs) -> Batch:
    """All inputs in memory; those of a source are read."""
    return span(x, 0, count(x)) if is_read(x) else x


def take(x: Inputs, indices: Int[Array, " m"]) -> Batch:
    """Inputs at positions, given in any library; those of a source are read."""
    return _chosen(
        x,
        lambda part: arrays.namespace(part).take(part, _beside(indices, part), axis=0),
        lambda source: source.read([int(i) for i in backend_of(indices).to_numpy(indices)]),
    )


def joined(first: Batch, second: Batch) -> Batch:
    """Inputs of two batches with one signature, one after the other."""
    others = (part for _, part in leaves(second))
    return mapped(lambda part: arrays.namespace(part).concat([part, next(others)], axis=0), first)


def signature(x: Batch) -> Hashable:
    """What batches share that differ in their number of inputs and their values only."""
    if is_array(x):
        return tuple(x.shape[1:]), str(x.dtype)
    return type(x).__name__, tuple((name, tuple(part.shape[1:]), str(part.dtype)) for name, part in leaves(x, ""))


def described(x: Batch) -> str:
    """Shape and dtype in words, those of every part for a nest."""
    each = [f"{name}{tuple(part.shape)} and dtype {part.dtype}" for name, part in leaves(x, "")]
    return f"shape {each[0]}" if is_array(x) else "shapes " + ", ".join(each)


def opened(x: Any) -> Inputs:
    """``x`` with data sets, loaders and lists of examples as :class:`dntk.models.sources.Points`; batches unchanged."""
    if is_array(x) or isinstance(x, Points):
        return x
    return points(x) if is_source(x) else mapped(opened, x) if is_nest(x) else x


def bound(x: Any, like: Array) -> Inputs:
    """As :func:`opened`, with sources that read arrays as ``like``."""
    inputs = opened(x)
    if is_array(inputs):
        return inputs
    return mapped(lambda part: dataclasses.replace(part, like=like) if isinstance(part, Points) else part, inputs)


def is_read(x: Inputs) -> bool:
    """Whether some of it is read from a source."""
    return not is_array(x) and any(isinstance(part, Points) for _, part in leaves(x))


def _chosen(x: Inputs, of_array: Callable[[Array], Array], of_source: Callable[[Points], Batch]) -> Batch:
    return mapped(lambda part: of_source(part) if isinstance(part, Points) else of_array(part), x)


def _beside(indices: Any, part: Array) -> Array:
    """Positions in the library and on the device of ``part``."""
    xp, device = arrays.namespace(part), arrays.device_of(part)
    if arrays.namespace(indices) is xp and arrays.device_of(indices) == device:
        return indices
    return backend_of(part).from_numpy(np.asarray(backend_of(indices).to_numpy(indices)), device=device)
