"""A network as a flat list of operations, in which the uses of every parameter can be seen."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from dntk.models.nests import mapped
from dntk_jax.network import Network
from dntk_jax.per_sample import gradient

_INLINED = {"jit", "pjit", "closed_call", "core_closed_call", "core_call", "checkpoint", "remat", "remat2"}
"""Operations that only call their inner program. Rules of ``custom_jvp`` and ``custom_vjp`` must stay together."""

Environment = Mapping[int, Any]
"""Values by slot."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One operation: the slots that it reads, by position (``None`` for a number in the program), and writes."""

    equation: Any
    operands: tuple[int | None, ...]
    outputs: tuple[int, ...]
    function: Callable[..., list[Any]]

    @property
    def name(self) -> str:
        """Name of the operation."""
        return self.equation.primitive.name

    @property
    def inputs(self) -> tuple[int, ...]:
        """Distinct slots that it reads."""
        return tuple(dict.fromkeys(slot for slot in self.operands if slot is not None))

    def operand(self, position: int, values: Environment) -> Any:
        """Value that it reads at a position."""
        slot = self.operands[position]
        return self.equation.invars[position].val if slot is None else values[slot]

    def shape(self, position: int) -> tuple[int, ...]:
        """Shape of what it reads at a position."""
        return tuple(self.equation.invars[position].aval.shape)

    def __call__(self, values: Environment) -> list[Any]:
        """Its results."""
        return self.function(*(values[slot] for slot in self.inputs))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Operations in order, from slots of the arguments and constants to a slot with the result."""

    steps: tuple[Step, ...]
    constants: Environment
    arguments: tuple[int, ...]
    result: int

    def run(self, *values: Any, added: Mapping[int, Mapping[int, Any]] = MappingProxyType({})) -> dict[int, Any]:
        """All slots, from ``values`` of the arguments; ``added`` to results by number of the step and place."""
        slots = {**self.constants, **dict(zip(self.arguments, values, strict=True))}
        for number, step in enumerate(self.steps):
            results = step(slots)
            for place, term in added.get(number, {}).items():
                results[place] = results[place] + term
            slots.update(zip(step.outputs, results, strict=True))
        return slots


def traced(network: Network, x: Any) -> tuple[Program, dict[str, int]]:
    """A network's program of all parameters and one input like those in ``x``, and the parameters' slots by name."""
    every = tuple(network.parameters)

    def outputs(leaves: Any, point: Any) -> Any:
        return network.one(dict(zip(every, leaves, strict=True)), point)

    program = program_of(outputs, list(network.parameters.values()), mapped(lambda part: part[0], x))
    return program, dict(zip(every, program.arguments, strict=False))


def reaches_parameters(network: Network, x: Any, cotangents: Any) -> bool:
    """Whether a derivative leads from the outputs to any parameter: its gradient is made of the cotangents (n, C)."""

    def pulled(weights: Any, points: Any) -> Any:
        found = gradient(network, tuple(network.parameters), network.parameters, points, weights)
        return jnp.concatenate([value.reshape(-1) for value in found.values()])

    program = program_of(pulled, cotangents, x)
    made = {program.arguments[0]}
    for step in program.steps:
        if not made.isdisjoint(step.inputs):
            made.update(step.outputs)
    return program.result in made


def program_of(function: Callable[..., Any], *arguments: Any) -> Program:
    """Program of a function with one array as result, traced at ``arguments`` (flat lists or arrays)."""
    closed = jax.make_jaxpr(function)(*arguments)
    slots = itertools.count()
    places = tuple(itertools.islice(slots, len(closed.jaxpr.invars)))
    constants: dict[int, Any] = {}
    steps: list[Step] = []
    results = _inline(closed.jaxpr, closed.consts, list(places), steps, constants, slots)
    return Program(steps=tuple(steps), constants=constants, arguments=places, result=results[0])


def _inline(
    jaxpr: Any, consts: Any, arguments: list[int], steps: list[Step], constants: dict[int, Any], slots: Iterator[int]
) -> list[int]:
    """Append the operations of a program, inner programs included; slots of its results."""
    places: dict[Any, int] = dict(zip(jaxpr.invars, arguments, strict=True))

    def place(atom: Any) -> int:
        if isinstance(atom, core.Literal):
            constants[slot := next(slots)] = atom.val
            return slot
        return places[atom]

    for variable, value in zip(jaxpr.constvars, consts, strict=True):
        constants[slot := next(slots)] = value
        places[variable] = slot
    for equation in jaxpr.eqns:
        inner = _inner_program(equation)
        if inner is not None:
            found = _inline(*inner, [place(atom) for atom in equation.invars], steps, constants, slots)
        else:
            found = list(itertools.islice(slots, len(equation.outvars)))
            operands = tuple(None if isinstance(a, core.Literal) else places[a] for a in equation.invars)
            function = _alone(jaxpr, equation, operands)
            steps.append(Step(equation=equation, operands=operands, outputs=tuple(found), function=function))
        places.update(zip(equation.outvars, found, strict=True))
    return [place(atom) for atom in jaxpr.outvars]


def _inner_program(equation: Any) -> tuple[Any, Any] | None:
    """Program that an operation does nothing but call, with its constants."""
    if equation.primitive.name not in _INLINED:
        return None
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return (inner.jaxpr, inner.consts) if isinstance(inner, core.ClosedJaxpr) else (inner, ())


def _alone(jaxpr: Any, equation: Any, operands: tuple[int | None, ...]) -> Callable[..., list[Any]]:
    """Function that runs one equation on the distinct slots that it reads."""
    # Two variables of one inner program may stand for the same slot, as in f(a, a).
    variables = dict(zip(operands, equation.invars, strict=True))
    read = [slot for slot in variables if slot is not None]
    single = {atom: slot for slot, atom in zip(operands, equation.invars, strict=True) if slot is not None}
    program = jaxpr.replace(
        constvars=[], invars=list(single), outvars=list(equation.outvars), eqns=[equation], effects=equation.effects
    )
    run = core.jaxpr_as_fun(core.ClosedJaxpr(program, ()))
    return lambda *values: run(*(values[read.index(slot)] for slot in single.values()))
