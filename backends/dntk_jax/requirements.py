"""What JAX's users are told, and what parameters must be."""

from typing import Any

import jax
import jax.numpy as jnp

from dntk import arrays
from dntk.models.adapter import Framework, require_parameters
from dntk.models.base import select_names
from dntk_jax.network import Network

FRAMEWORK = Framework(
    array=jax.Array,
    array_name="an array",
    not_its_fault=(jax.errors.JaxRuntimeError, MemoryError),
    one_device="move them to one with jax.device_put",
    one_dtype=(
        "convert them to one, for example jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params), or choose some "
        "with `parameters`"
    ),
    fixed="does it draw random numbers outside JAX, or change a state of its own?",
    no_mixing="remove statistics, sorting, attention or one random mask across the batch axis",
    outputs_alone="pass a function that returns the outputs alone, for example lambda params, x: fn(params, x)[0]",
    two_axes="pass a function that picks or joins axes, for example lambda params, x: fn(params, x)[:, -1]",
)


def selected_names(network: Network, pattern: str | None) -> tuple[str, ...]:
    """Names to differentiate: all, or those that ``pattern`` matches in full, once they prove usable.

    Raises
    ------
    TypeError
        A selected parameter is not real floating point.
    ValueError
        None matches, one is not finite, or they have several dtypes or devices.
    """
    names = select_names(list(network.parameters), pattern)
    require_parameters(network.parameters, names, FRAMEWORK)
    if not _all_finite([network.parameters[name] for name in names]):
        for name in names:
            arrays.require_finite(f"the parameter {name}", network.parameters[name])
    return tuple(names)


def _every_entry_is_finite(values: list[Any]) -> Any:
    return jnp.stack([jnp.isfinite(value).all() for value in values]).all()


_all_finite = jax.jit(_every_entry_is_finite)
"""One compiled program for arrays of all shapes, where the checks of dntk.arrays would compile many."""


def require_finite(name: str, x: Any) -> None:
    """Raise ``ValueError`` where ``x`` has NaN or infinite entries."""
    if not _all_finite([x]):
        arrays.require_finite(name, x)


def require_no_bytes(x: Any, name: str, dtype: Any) -> None:
    """Raise ``TypeError`` for bytes, which are images that nobody has converted."""
    if getattr(x, "dtype", None) == jnp.uint8:
        msg = (
            f"`{name}` has dtype uint8, but the parameters have {dtype}: convert images with {name}.astype('{dtype}') "
            f"/ 255, and ids of tokens with {name}.astype(int)."
        )
        raise TypeError(msg)
