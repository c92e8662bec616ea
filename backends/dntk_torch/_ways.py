"""The way that a run took through a network: what of it a plan was compared on holds for others that took it, too.

Python may choose another for other inputs, for more of them, or by what a variable holds: with layers that the plan has
not seen used so, or rows in another order. The graph of autograd tells: which operations made the outputs, of what, and
the whole numbers that they were given, such as axes and sizes.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import torch

from dntk_torch.private_copy import Values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """Operations behind the outputs at ``n`` inputs, as one number, and the whole ``numbers`` that they were given."""

    n: int
    operations: int
    numbers: tuple[int, ...]

    def like(self, other: "Way") -> bool:
        """Whether all numbers are the same, or as many times larger as there are more inputs."""
        pairs = zip(self.numbers, other.numbers, strict=False)
        return len(self.numbers) == len(other.numbers) and all(a in (b, b * self.n / other.n) for a, b in pairs)


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found on a way: whether some rows lie elsewhere than the plan says, and ``wrong`` gradients."""

    moved: bool = False
    wrong: frozenset[str] = frozenset()


LOOKED_AT = 32
"""Ways with whose numbers, times as many more inputs, those of a new one are compared."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ways:
    """What is known of ways, by all of them or, where rows are found on every call, by their operations alone."""

    found: dict[Hashable, Found] = dataclasses.field(default_factory=dict)
    first: list[tuple[Way, Found]] = dataclasses.field(default_factory=list)

    def of(self, way: Way, *, placed: bool) -> Found | None:
        """What is known of a way, on which rows are ``placed`` by themselves or not; ``None`` for a new one."""
        key = _key(way, placed)
        for other, found in self.first if key not in self.found else ():
            if way.operations == other.operations and (placed or way.like(other)):
                self.found[key] = found
        return self.found.get(key)

    def note(self, way: Way, found: Found, *, placed: bool) -> Found:
        """Remember what was found."""
        if len(self.first) < LOOKED_AT:
            self.first.append((way, found))
        return self.found.setdefault(_key(way, placed), found)


def _key(way: Way, placed: bool) -> Hashable:
    return (way.operations,) if placed else (way.operations, way.numbers)


def way_of(outputs: torch.Tensor, parameters: Values) -> Way:
    """The way that a run took to its outputs (n, C), from ``parameters`` by name. Cost: a microsecond an operation."""
    names = {id(value): name for name, value in parameters.items()}
    places: dict[Any, int] = {}
    operations: list[Hashable] = []
    numbers: list[int] = []
    for node in _nodes(outputs, places):
        edges = tuple((child and places[child], output) for child, output in node.next_functions)
        own = names.get(id(node.variable)) if hasattr(node, "variable") else None
        operations.append((type(node).__name__, own, edges))
        numbers.extend(_numbers(node))
    return Way(n=outputs.shape[0], operations=hash(tuple(operations)), numbers=tuple(numbers))


def kinds_of_operations(outputs: torch.Tensor) -> frozenset[str]:
    """Names of all operations behind outputs."""
    return frozenset(type(node).__name__ for node in _nodes(outputs, {}))


def _nodes(outputs: torch.Tensor, places: dict[Any, int]) -> Iterator[Any]:
    """Nodes of the graph of autograd, from the outputs on; ``places`` numbers them and those that they need."""
    waiting = [outputs.grad_fn] if outputs.grad_fn is not None else []
    places.update((node, 0) for node in waiting)
    while waiting:
        node: Any = waiting.pop()
        new = dict.fromkeys(child for child, _ in node.next_functions if child is not None and child not in places)
        places.update((child, len(places) + place) for place, child in enumerate(list(new)))
        waiting.extend(new)
        yield node


_SAVED: dict[str, tuple[str, ...]] = {}
"""Attributes of every kind of node that hold whole numbers."""


def _numbers(node: Any) -> Iterator[int]:
    kind = type(node).__name__
    if kind not in _SAVED:
        _SAVED[kind] = tuple(name for name in dir(node) if name.startswith("_saved_") and _is_whole(node, name))
    for name in _SAVED[kind]:
        yield from _whole(getattr(node, name))
    for value in _kept(node).values():  # of a function of the user's
        yield from _whole(value)


def _kept(node: Any) -> Mapping[str, Any]:
    return vars(node) if isinstance(node, torch.autograd.function.BackwardCFunction) else {}


def _is_whole(node: Any, name: str) -> bool:
    try:
        return bool(_whole(getattr(node, name)))
    except RuntimeError:  # a tensor that was written to since, or is gone
        return False


def _whole(value: Any) -> tuple[int, ...]:
    if isinstance(value, int):
        return (int(value),)
    return tuple(value) if isinstance(value, tuple) and all(isinstance(item, int) for item in value) else ()
