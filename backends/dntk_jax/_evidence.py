"""Which parameters have a gradient at some inputs: only there can forms of their gradients be compared."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dntk.models import batches
from dntk.models.adapter import showing
from dntk_jax.network import Network, Values, exact_products
from dntk_jax.per_sample import gradient


def mixed_gradients(network: Network, names: tuple[str, ...], values: Values, x: Any, cotangents: Any) -> Any:
    """Whether a random mixture of all inputs' functionals (q, n, C) has a gradient, by name; none where each has none.

    Cost: a forward pass and a backward pass.
    """
    weights = 0.5 + np.random.default_rng(23).random(cotangents.shape[:2])
    mixed = jnp.einsum("qn,qnc->nc", jnp.asarray(weights, cotangents.dtype), cotangents)
    return {name: jnp.any(value != 0) for name, value in gradient(network, names, values, x, mixed).items()}


def inputs_showing(network: Network, x: Any, names: tuple[str, ...], known: Any) -> Any:
    """Inputs that are ``known``, and few of ``x`` that have gradients of all ``names`` among them."""
    inputs = known
    for position in positions_showing(network, names, x):
        inputs = batches.joined(inputs, batches.span(x, position, position + 1))
    return inputs


def positions_showing(network: Network, names: tuple[str, ...], x: Any) -> list[int]:
    """Positions of few inputs, so that all parameters in ``names`` that have a gradient at one have it there.

    Cost: a forward pass and a backward pass, one input after the other, as another size would be compiled again.
    """

    def one(point: Any) -> dict[str, Any]:
        chosen = {name: network.parameters[name] for name in names}
        outputs, pull = jax.vjp(lambda some: network.one({**network.parameters, **some}, point), chosen)
        functional = jnp.asarray(np.random.default_rng(24).normal(size=outputs.shape), outputs.dtype)
        return {name: jnp.any(value != 0) for name, value in pull(functional)[0].items()}

    with exact_products():
        told = {name: np.asarray(found) for name, found in jax.jit(lambda points: jax.lax.map(one, points))(x).items()}
    alive = [name for name, found in told.items() if found.any()]
    return showing(
        np.arange(batches.count(x)), alive, lambda places: [name for name in alive if told[name][places].any()]
    )
