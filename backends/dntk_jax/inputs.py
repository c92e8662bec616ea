"""Derivatives of a network in its inputs, and what enters its layers.

A layer is whatever owns some parameters: ``head`` owns ``head.kernel`` and ``head.bias``. Its input is what the first
operation that brings one of them together with the data reads beside it, so that layers of every library are found in
the traced program, and in plain functions as well.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dntk_jax.network import Network, Values
from dntk_jax.trace import Program, Step, traced

InputGradient = Callable[[Network, Values, Any, Any, Values], Any]
"""(network, all values, one input, cotangents (q, C), directions (q, *shape) by name) to its gradient."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """A network's program for one input, and the slots of what enters some layers."""

    program: Program
    every: tuple[str, ...]
    places: dict[str, int]

    def run(self, values: Values, x: Any) -> tuple[Any, dict[str, Any]]:
        """Outputs (n, C), and what enters each layer, (n, ...)."""
        return jax.vmap(lambda point: self._one(values, point))(x)

    def _one(self, values: Values, point: Any) -> tuple[Any, dict[str, Any]]:
        slots = self.program.run(*(values[name] for name in self.every), *jax.tree_util.tree_leaves(point))
        return slots[self.program.result], {name: slots[place] for name, place in self.places.items()}


def find_layers(network: Network, names: tuple[str, ...], x: Any) -> Layers:
    """What enters the layers called ``names``, in a network's program for one input like those in ``x``.

    Raises
    ------
    ValueError
        No parameter belongs to a name, or none of its parameters meets the data in an operation.
    """
    program, arguments = traced(network, x)
    places: dict[str, int] = {}
    for name in names:
        owned = {slot for own, slot in arguments.items() if own == name or own.startswith(f"{name}.")}
        if not owned:
            shown = ", ".join(list(arguments)[:8]) + (", ..." if len(arguments) > 8 else "")
            msg = f"no parameter belongs to a layer {name!r}; the parameters are {shown}."
            raise ValueError(msg)
        meetings = _meetings(program, owned, _data(program, arguments))
        if not meetings:
            msg = f"the layer {name!r} meets the data in no operation: name another."
            raise ValueError(msg)
        places[name] = meetings[0][1]
    return Layers(program=program, every=tuple(arguments), places=places)


def head_of(network: Network, x: Any) -> str:
    """Name of the parameter that the last product of data with a matrix reads; ``ValueError`` without one."""
    program, arguments = traced(network, x)
    last: dict[str, int] = {}
    for name, slot in arguments.items():
        meetings = _meetings(program, {slot}, _data(program, arguments))
        products = [number for number, _ in meetings if _is_product(program.steps[number])]
        if products:
            last[name] = products[-1]
    if not last:
        msg = (
            "the network multiplies its data with no matrix: name the layer whose inputs are the penultimate features."
        )
        raise ValueError(msg)
    return max(last, key=lambda name: last[name])


def by_forward_mode(network: Network, values: Values, point: Any, cotangents: Any, directions: Values) -> Any:
    """Forward mode along every direction, differentiated backward."""
    chosen = {name: values[name] for name in directions}

    def along(at: Any) -> Any:
        def outputs(some: Values) -> Any:
            return network.function({**values, **some}, at[None])[0]

        pushed = jax.vmap(lambda direction: jax.jvp(outputs, (chosen,), (direction,))[1])(directions)
        return jnp.sum(pushed * cotangents.astype(pushed.dtype))

    return jax.grad(along)(point)


def by_backward_mode(network: Network, values: Values, point: Any, cotangents: Any, directions: Values) -> Any:
    """The gradient in the parameters, times the directions, differentiated again: where forward mode is missing."""
    chosen = {name: values[name] for name in directions}

    def along(at: Any) -> Any:
        outputs, pull = jax.vjp(lambda some: network.function({**values, **some}, at[None])[0], chosen)
        rows = jax.vmap(lambda functional: pull(functional)[0])(cotangents.astype(outputs.dtype))
        return sum(jnp.sum(rows[name] * direction) for name, direction in directions.items())

    return jax.grad(along)(point)


def positions(value: Any) -> Any:
    """What enters a layer as (n, positions, channels), channels last as everywhere in JAX."""
    return value.reshape(value.shape[0], -1, value.shape[-1] if value.ndim > 1 else 1)


def _data(program: Program, parameters: dict[str, int]) -> frozenset[int]:
    """Slots of all parts of an input."""
    return frozenset(program.arguments[len(parameters) :])


def _meetings(program: Program, owned: set[int], inputs: frozenset[int]) -> list[tuple[int, int]]:
    """Operations that read both the data and something made of owned parameters alone, and the slot of the data."""
    data, own = set(inputs), set(owned)
    found = []
    for number, step in enumerate(program.steps):
        reads = set(step.inputs)
        if reads & data:
            data |= set(step.outputs)
            if reads & own:
                found.append((number, next(slot for slot in step.inputs if slot in data)))
        elif reads & own:
            own |= set(step.outputs)
    return found


def _is_product(step: Step) -> bool:
    return step.name == "dot_general"
