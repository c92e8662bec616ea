"""Whether a network is a fixed function of one input at a time, as a kernel needs."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core

from dntk import arrays
from dntk_jax.network import Network, exact_products
from dntk_jax.requirements import require_finite, require_outputs

PROBES = 4
"""Inputs that are looked at before a result is believed."""


def examine(network: Network, x: Any) -> int:
    """Number C of outputs, once the network proves a deterministic function of one input at a time.

    Raises
    ------
    ValueError
        It fails on ``x``, returns no (n, C) array, or its outputs vary from call to call or with the batch.
    """
    probe = x[:PROBES]
    outputs = evaluate(network, probe)
    require_finite("the network's outputs", outputs)
    traces = [trace(network, probe[:1]) for _ in range(2)]
    rounding = coarsest(traces[0], outputs)
    if not (_same_numbers(*traces) and close(evaluate(network, probe), outputs, rounding)):
        msg = (
            "the network gives other outputs at a second call on the same inputs, so that it is no fixed function: "
            "does it draw random numbers outside JAX, or change a state of its own?"
        )
        raise ValueError(msg)
    for row in {0, probe.shape[0] - 1} if probe.shape[0] > 1 else ():
        if not close(evaluate(network, probe[row : row + 1]), outputs[row : row + 1], rounding):
            msg = (
                "the network's output for an input depends on the rest of the batch (batch dependence), so that its "
                "kernel is not defined: remove statistics, sorting, attention or one random mask across the batch "
                "axis."
            )
            raise ValueError(msg)
    return int(outputs.shape[1])


def evaluate(network: Network, x: Any) -> Any:
    """Outputs (n, C), or a ``ValueError`` that says why not."""
    try:
        with exact_products():
            outputs = network.forward(network.parameters, x)
    except (jax.errors.JaxRuntimeError, MemoryError):
        raise  # out of memory, or the device: not the network's fault
    except Exception as error:
        # The user's own code may fail in any way.
        msg = f"the network fails on inputs of shape {tuple(x.shape)} and dtype {x.dtype}: {error}"
        raise ValueError(msg + network.remedy) from error
    require_outputs(outputs, x.shape[0])
    return outputs


def close(left: Any, right: Any, rounding: float) -> bool:
    """Equal to half the digits that ``rounding`` leaves, relative to the largest entry."""
    # On the host, where nothing has to be compiled for so few numbers.
    mine, theirs = (np.asarray(values).astype(np.float64) for values in (left, right))
    return bool(np.abs(mine - theirs).max() <= tolerance(rounding) * np.abs(theirs).max())


def tolerance(rounding: float) -> float:
    """Half the digits of a unit of rounding."""
    half: float = 3 * rounding**0.5
    return half


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
        for inner in _inner(equation):
            yield from _floating_types(inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner)


def _inner(equation: Any) -> Iterator[Any]:
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
        for inner in _inner(equation):
            yield from _numbers(inner) if isinstance(inner, core.ClosedJaxpr) else _literals(inner)


def _equal(left: Any, right: Any) -> bool:
    if left is right:
        return True
    if isinstance(left, jax.Array) and jax.dtypes.issubdtype(left.dtype, jax.dtypes.prng_key):
        left, right = jax.random.key_data(left), jax.random.key_data(right)
    return bool(np.array_equal(np.asarray(left), np.asarray(right), equal_nan=np.asarray(left).dtype.kind in "fc"))
