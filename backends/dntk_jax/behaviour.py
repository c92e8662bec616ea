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
    if not (_same_program_twice(network, probe[:1]) and close(evaluate(network, probe), outputs)):
        msg = (
            "the network gives other outputs at a second call on the same inputs, so that it is no fixed function: "
            "does it draw random numbers outside JAX, or change a state of its own?"
        )
        raise ValueError(msg)
    for row in {0, probe.shape[0] - 1} if probe.shape[0] > 1 else ():
        if not close(evaluate(network, probe[row : row + 1]), outputs[row : row + 1]):
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


def close(left: Any, right: Any) -> bool:
    """Equal to rounding, relative to the largest entry."""
    # On the host, where nothing has to be compiled for so few numbers.
    mine, theirs = (np.asarray(values).astype(np.float64) for values in (left, right))
    return bool(np.abs(mine - theirs).max() <= tolerance(right) * np.abs(theirs).max())


def tolerance(like: Any) -> float:
    """Half the digits of the dtype."""
    half: float = 3 * arrays.epsilon(like) ** 0.5
    return half


def _same_program_twice(network: Network, x: Any) -> bool:
    """Whether two traces hold the same numbers: what Python draws at random would be frozen into each."""
    first, second = (list(_numbers(_trace(network, x))) for _ in range(2))
    return len(first) == len(second) and all(_equal(a, b) for a, b in zip(first, second, strict=True))


def _trace(network: Network, x: Any) -> core.ClosedJaxpr:
    # A function that JAX has not seen: it would not run the user's code again for one that it knows.
    return jax.make_jaxpr(lambda values, point: network.function(values, point))(network.parameters, x)


def _numbers(closed: core.ClosedJaxpr) -> Iterator[Any]:
    yield from closed.consts
    yield from _literals(closed.jaxpr)


def _literals(jaxpr: core.Jaxpr) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield from (atom.val for atom in equation.invars if isinstance(atom, core.Literal))
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, core.ClosedJaxpr):
                    yield from _numbers(inner)
                elif isinstance(inner, core.Jaxpr):
                    yield from _literals(inner)


def _equal(left: Any, right: Any) -> bool:
    if left is right:
        return True
    if isinstance(left, jax.Array) and jax.dtypes.issubdtype(left.dtype, jax.dtypes.prng_key):
        left, right = jax.random.key_data(left), jax.random.key_data(right)
    return bool(np.array_equal(np.asarray(left), np.asarray(right), equal_nan=np.asarray(left).dtype.kind in "fc"))
