"""Rearranged parameters: where an operation meets a parameter that was transposed, reshaped, cast or scaled before."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dntk_jax.trace import Environment, Step

Layout: TypeAlias = npt.NDArray[Any]
"""For every entry of a view, its position in the flattened parameter."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Entries of one parameter in another arrangement, possibly repeated or times a number.

    ``path`` holds the operations that make it, with the slot by which each reads the one before.
    """

    parameter: str
    shape: tuple[int, ...]
    path: tuple[tuple[Step, int], ...] = ()

    def replay(self, value: Any, values: Environment) -> Any:
        """The view of another value of the parameter."""
        for step, slot in self.path:
            value = step({**values, slot: value})[0]
        return value

    def layout(self) -> Layout:
        """Positions of its entries in the flattened parameter."""
        size = int(np.prod(self.shape, dtype=np.int64))
        places: Layout = np.arange(size, dtype=np.int32 if size < 2**31 else np.int64).reshape(self.shape)
        for step, _ in self.path:
            move = _MOVES.get(step.name)
            places = places if move is None else move(places, step.equation.params)
        return places

    def scale(self, values: Environment) -> Any:
        """Number by which its entries were multiplied."""
        total: Any = 1
        for step, slot in self.path:
            if step.name in _SCALINGS:
                total = total * _SCALINGS[step.name](step, slot, values)
        return total

    def needs(self) -> set[int]:
        """Slots of the numbers that it was multiplied with."""
        return {slot for step, own in self.path for slot in step.inputs if slot != own}


def extended(step: Step, touched: Mapping[int, View]) -> View | None:
    """The view that an operation makes of another, ``None`` where it does more than rearrange or scale."""
    if len(touched) != 1 or step.equation.primitive.multiple_results:
        return None
    ((slot, view),) = touched.items()
    if step.operands.count(slot) != 1 or not _is_linear(step, slot):
        return None
    return dataclasses.replace(view, path=(*view.path, (step, slot)))


def _is_linear(step: Step, slot: int) -> bool:
    if step.name in _MOVES:
        return len(step.operands) == 1
    if step.name in _UNMOVED:
        return bool(jnp.issubdtype(step.equation.outvars[0].aval.dtype, jnp.floating))
    if step.name not in _SCALINGS:
        return False
    position = step.operands.index(slot)
    others = [other for other in range(len(step.operands)) if other != position]
    # The same shape as the parameter's own view, so that nothing is repeated by it.
    alone = all(np.prod(step.shape(other), dtype=int) == 1 for other in others)
    same = tuple(step.equation.outvars[0].aval.shape) == step.shape(position)
    return alone and same and (step.name != "div" or position == 0)


def _spread(places: Layout, params: Mapping[str, Any]) -> Layout:
    shape = [1] * len(params["shape"])
    for axis, target in enumerate(params["broadcast_dimensions"]):
        shape[target] = places.shape[axis]
    return np.broadcast_to(places.reshape(shape), params["shape"])


def _cut(places: Layout, params: Mapping[str, Any]) -> Layout:
    strides = params["strides"] or (1,) * places.ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return places[tuple(slice(*bound) for bound in bounds)]


_MOVES: dict[str, Callable[[Layout, Mapping[str, Any]], Layout]] = {
    "transpose": lambda places, params: np.transpose(places, params["permutation"]),
    "reshape": lambda places, params: places.reshape(params["new_sizes"]),
    "squeeze": lambda places, params: np.squeeze(places, params["dimensions"]),
    "broadcast_in_dim": _spread,
    "rev": lambda places, params: np.flip(places, params["dimensions"]),
    "slice": _cut,
}

_UNMOVED = {"convert_element_type", "copy", "copy_p", "reduce_precision"}


def _factor(step: Step, slot: int, values: Environment) -> Any:
    return jnp.reshape(step.operand(1 - step.operands.index(slot), values), ())


_SCALINGS: dict[str, Callable[[Step, int, Environment], Any]] = {
    "mul": _factor,
    "div": lambda step, slot, values: 1 / _factor(step, slot, values),
    "neg": lambda _step, _slot, _values: -1,
}
