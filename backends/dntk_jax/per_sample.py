"""Derivatives of any network: per-sample gradients, and products with the Jacobian."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dntk_jax.network import Network, Values

PerSample = Callable[[Network, tuple[str, ...], Values, Any, Any], dict[str, Any]]
"""(network, names, all values, inputs (n, ...), cotangents (q, n, C)) to gradients (q, n, p) by name."""


def by_vmap(network: Network, names: tuple[str, ...], values: Values, x: Any, cotangents: Any) -> dict[str, Any]:
    """Per-sample gradients of all inputs and cotangents at once."""

    def one(point: Any, functionals: Any) -> Any:
        pull, dtype = _pull(network, names, values, point)
        return jax.vmap(pull)(functionals.astype(dtype))

    return _flattened(jax.vmap(one, in_axes=(0, 1), out_axes=1)(x, cotangents))


def by_loop(network: Network, names: tuple[str, ...], values: Values, x: Any, cotangents: Any) -> dict[str, Any]:
    """Per-sample gradients one input and cotangent at a time, for operations without a batching rule."""

    def one(pair: Any) -> Any:
        pull, dtype = _pull(network, names, values, pair[0])
        return jax.lax.map(pull, pair[1].astype(dtype))

    gradients = jax.lax.map(one, (x, jnp.moveaxis(cotangents, 1, 0)))
    return _flattened({name: jnp.moveaxis(value, 1, 0) for name, value in gradients.items()})


def gradient(network: Network, names: tuple[str, ...], values: Values, x: Any, cotangents: Any) -> dict[str, Any]:
    """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ by name, by one backward pass of the whole batch."""
    chosen = {name: values[name] for name in names}
    outputs, pull = jax.vjp(lambda some: network.function({**values, **some}, x), chosen)
    return pull(cotangents.astype(outputs.dtype))[0]


def push_forward(network: Network, tangents: Values, values: Values, x: Any) -> Any:
    """Derivatives (q, n, C) of the outputs along tangents (q, *shape), by forward mode."""
    chosen = {name: values[name] for name in tangents}

    def outputs(some: Values) -> Any:
        return network.function({**values, **some}, x)

    return jax.vmap(lambda direction: jax.jvp(outputs, (chosen,), (direction,))[1])(tangents)


def push_forward_twice_backward(network: Network, tangents: Values, values: Values, x: Any) -> Any:
    """As :func:`push_forward` where an operation has a backward rule only.

    The gradient Jᵀ v is linear in v, so its own transposed derivative along a tangent τ is J τ.
    """
    chosen = {name: values[name] for name in tangents}
    primal, pull = jax.vjp(lambda some: network.function({**values, **some}, x), chosen)
    _, transposed = jax.vjp(lambda v: pull(v)[0], jnp.zeros_like(primal))
    return jax.lax.map(lambda direction: transposed(direction)[0], tangents)


def _pull(network: Network, names: tuple[str, ...], values: Values, point: Any) -> tuple[Callable[[Any], Any], Any]:
    """Map of cotangents (C,) of one input's outputs to gradients by name, and the outputs' dtype."""
    chosen = {name: values[name] for name in names}
    outputs, pull = jax.vjp(lambda some: network.one({**values, **some}, point), chosen)
    return lambda functional: pull(functional)[0], outputs.dtype


def _flattened(gradients: dict[str, Any]) -> dict[str, Any]:
    return {name: value.reshape(*value.shape[:2], -1) for name, value in gradients.items()}
