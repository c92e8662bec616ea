"""Whether a network is a fixed function of one input at a time, as a kernel needs."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core

from dntk import arrays
from dntk.models import batches
from dntk.models.adapter import PROBES, close, evaluate, examine, require_own_rows
from dntk_jax.network import Network, exact_products
from dntk_jax.requirements import FRAMEWORK


def examined(network: Network, x: Any) -> int:
    """Number C of outputs, once the network proves a deterministic function of one input at a time.

    Raises
    ------
    ValueError
        It fails on ``x``, returns no (n, C) array, or its outputs vary from call to call or with the batch.
    """
    outputs = evaluated(network, batches.first(x, PROBES))
    traces = [trace(network, batches.first(x)) for _ in range(2)]
    fixed, bound = _same_numbers(*traces), tolerance(coarsest(traces[0], outputs))

    def run(points: Any) -> Any:
        return _on_host(evaluated(network, points))

    return examine(run, x, FRAMEWORK, agree=lambda left, right: fixed and close(left, right, bound))


def require_own_outputs(network: Network, x: Any, outputs: Any) -> None:
    """Raise ``ValueError`` where the outputs that a large batch gave its last inputs are not their own."""
    bound = tolerance(coarsest(trace(network, batches.first(x)), outputs))
    require_own_rows(
        lambda points: _on_host(evaluated(network, points)),
        x,
        _on_host(outputs),
        FRAMEWORK,
        agree=lambda left, right: close(left, right, bound),
    )


def _on_host(outputs: Any) -> Any:
    # Where nothing has to be compiled for so few numbers.
    return np.asarray(outputs).astype(np.float64)


def evaluated(network: Network, x: Any) -> Any:
    """Outputs (n, C), or a ``ValueError`` that says why not."""

    def run(points: Any) -> Any:
        with exact_products():
            return network.forward(network.parameters, points)

    return evaluate(run, x, FRAMEWORK, remedy=network.remedy)


def tolerance(rounding: float) -> float:
    """Half the digits of a unit of rounding."""
    return 3 * rounding**0.5


def trace(network: Network, x: Any) -> core.ClosedJaxpr:
    """The network's program for inputs like ``x``, from a new run of the user's code."""
    # A function that JAX has not seen: it would not run the code again for one that it knows.
    return jax.make_jaxpr(lambda values, point: network.function(values, point))(network.parameters, x)


def coarsest(program: core.ClosedJaxpr, outputs: Any) -> float:
    """Unit of rounding of the outputs, or of the coarsest numbers that the program computes with."""
    units = [float(jax.numpy.finfo(kind).eps) for kind in set(_floating_types(program.jaxpr))]
    return max([arrays.epsilon(outputs), *units])


def _floating_types(jaxpr: core.Jaxpr) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        for result in equation.outvars:
            kind = getattr(result.aval, "dtype", None)  # tokens have none
            if kind is not None and jax.dtypes.issubdtype(kind, np.floating):
                yield kind
        for inner in inner_programs(equation):
            yield from _floating_types(inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner)


def inner_programs(equation: Any) -> Iterator[Any]:
    """Programs inside an operation."""
    for value in equation.params.values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            if isinstance(inner, core.ClosedJaxpr | core.Jaxpr):
                yield inner


def _same_numbers(first: core.ClosedJaxpr, second: core.ClosedJaxpr) -> bool:
    """Whether two traces hold the same numbers: what Python draws at random would be frozen into each."""
    left, right = list(_numbers(first)), list(_numbers(second))
    return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))


def _numbers(closed: core.ClosedJaxpr) -> Iterator[Any]:
    yield from closed.consts
    yield from _literals(closed.jaxpr)


def _literals(jaxpr: core.Jaxpr) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield from (atom.val for atom in equation.invars if isinstance(atom, core.Literal))
        for inner in inner_programs(equation):
            yield from _numbers(inner) if isinstance(inner, core.ClosedJaxpr) else _literals(inner)


def _equal(left: Any, right: Any) -> bool:
    if left is right:
        return True
    if isinstance(left, jax.Array) and jax.dtypes.issubdtype(left.dtype, jax.dtypes.prng_key):
        left, right = jax.random.key_data(left), jax.random.key_data(right)
    return bool(np.array_equal(np.asarray(left), np.asarray(right), equal_nan=np.asarray(left).dtype.kind in "fc"))
