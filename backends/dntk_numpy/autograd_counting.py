"""Operations of functions that HIPS autograd differentiates, from the shapes of the products in one forward pass."""

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import autograd.numpy as anp
from autograd.core import VJPNode
from autograd.tracer import getval, new_box, notrace_primitives, trace_stack

from dntk_numpy.autograd_checks import differentiating


@dataclasses.dataclass(kw_only=True)
class Tally:
    """Operations of a forward pass, of a backward pass to what leaves layers, and of gradients of parameters beside it.

    Two per multiply-add of ``dot``, ``matmul``, ``inner``, ``tensordot`` and ``einsum``.
    """

    forward: int = 0
    inner: int = 0
    parameters: int = 0

    @property
    def total(self) -> int:
        """Of a forward pass with one derivative in all parameters, in either mode."""
        return self.forward + self.inner + self.parameters


def tallied(function: Callable[[Any], Any], values: Mapping[str, Any], selected: Collection[str]) -> Tally:
    """Operations of ``function`` of all parameters, differentiated in those called ``selected``."""
    tally = Tally()
    with differentiating(), trace_stack.new_trace() as trace:
        roots = {name: _CountingNode.new_root(tally, name in selected) for name in values}
        function({name: new_box(value, trace, roots[name]) for name, value in values.items()})
    return tally


class _CountingNode(VJPNode):  # type: ignore[misc]
    """A node that adds its operation to a tally, and knows whether it depends on selected parameters (``live``).

    ``own`` says that it is a parameter, or a transposed one.
    """

    __slots__ = ("live", "own", "tally")

    def initialize_root(self, tally: Tally, live: bool) -> None:
        """Node of a parameter."""
        VJPNode.initialize_root(self)
        self.tally, self.own, self.live = tally, True, live

    def __init__(self, value: Any, fun: Any, args: Any, kwargs: Any, argnums: Any, parents: Any) -> None:
        del argnums
        self.parents: Any = ()  # type: ignore[misc]
        self.tally, self.live = parents[0].tally, any(parent.live for parent in parents)
        self.own = fun is anp.transpose and parents[0].own
        operations = _operations(value, fun, args, kwargs)
        self.tally.forward += operations
        for parent in parents:
            if parent.live and parent.own:
                self.tally.parameters += operations
            elif parent.live:
                self.tally.inner += operations


def _operations(value: Any, fun: Any, args: Any, kwargs: Any) -> int:
    """Of one operation, zero for all that are no products."""
    size = math.prod(getattr(getval(value), "shape", ()))
    if fun in (anp.dot, anp.matmul, anp.inner):
        return 2 * size * (getattr(args[0], "shape", ()) or (1,))[-1]
    if fun is anp.tensordot:
        axes = args[2] if len(args) > 2 else kwargs.get("axes", 2)
        contracted = range(-axes, 0) if isinstance(axes, int) else _axes(axes[0])
        return 2 * size * math.prod(args[0].shape[axis] for axis in contracted)
    if fun is anp.einsum and isinstance(args[0], str):
        names = args[0].replace(" ", "").split("->")[0].split(",")
        sides = {axis: n for term, x in zip(names, args[1:], strict=True) for axis, n in _sides(term, x)}
        return 2 * math.prod(sides.values())
    return 0


def _axes(axes: Any) -> tuple[int, ...]:
    return (axes,) if isinstance(axes, int) else tuple(axes)


def _sides(term: str, x: Any) -> list[tuple[str, int]]:
    """Lengths of named axes, from the right where dots stand for some."""
    before, _, after = term.partition("...")
    shape = getattr(x, "shape", ())
    named = list(zip(before, shape, strict=False))
    return named + list(zip(reversed(after), reversed(shape), strict=False)) if after else named


notrace_primitives[_CountingNode] = notrace_primitives[VJPNode]
