"""What parameters, inputs and outputs must be, said clearly where they are not."""

from typing import Any

import jax
import jax.numpy as jnp

from dntk import arrays
from dntk.models.base import Model, check_placement, select_names
from dntk_jax.network import Network


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
    for name in names:
        arrays.require_floating(f"the parameter {name}", network.parameters[name])
    _require_one_place(network, names)
    if not _all_finite([network.parameters[name] for name in names]):
        for name in names:
            arrays.require_finite(f"the parameter {name}", network.parameters[name])
    return tuple(names)


def _require_one_place(network: Network, names: list[str]) -> None:
    places = {str(arrays.device_of(value)) for value in network.parameters.values()}
    kinds = {str(network.parameters[name].dtype) for name in names}
    if len(places) > 1:
        shown = ", ".join(sorted(places))
        msg = f"the network's parameters lie on several devices ({shown}): move them to one with jax.device_put."
        raise ValueError(msg)
    if len(kinds) > 1:
        shown = ", ".join(sorted(kinds))
        msg = (
            f"the network's parameters have several dtypes ({shown}): convert them to one, for example "
            "jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params), or choose some with `parameters`."
        )
        raise ValueError(msg)


def _every_entry_is_finite(values: list[Any]) -> Any:
    return jnp.stack([jnp.isfinite(value).all() for value in values]).all()


_all_finite = jax.jit(_every_entry_is_finite)
"""One compiled program for arrays of all shapes, where the checks of dntk.arrays would compile many."""


def require_finite(name: str, x: Any) -> None:
    """Raise ``ValueError`` where ``x`` has NaN or infinite entries."""
    if not _all_finite([x]):
        arrays.require_finite(name, x)


def require_input(x: Any, model: Model, name: str) -> None:
    """Raise unless ``x`` is a finite array on the network's device, of its dtype or of integers."""
    check_placement(x, model, name)
    xp = model.namespace
    if xp.isdtype(x.dtype, ("integral", "bool")):
        return
    arrays.require_floating(name, x)
    if x.dtype != model.dtype:
        msg = (
            f"`{name}` has dtype {x.dtype}, but the parameters have {model.dtype}: convert it with "
            f"{name}.astype({model.dtype})."
        )
        raise TypeError(msg)


def require_outputs(outputs: Any, n: int) -> None:
    """Raise ``ValueError`` unless ``outputs`` is a floating-point array (n, C)."""
    if not isinstance(outputs, jax.Array):
        msg = (
            f"the network returns a {type(outputs).__name__}, not an array: pass a function that returns the outputs "
            "alone, for example lambda params, x: fn(params, x)[0]."
        )
        raise ValueError(msg)
    if outputs.ndim == 1 and outputs.shape[0] == n:
        msg = f"the network returns shape ({n},) for {n} inputs, expected (n, C): append an axis, outputs[:, None]."
        raise ValueError(msg)
    if outputs.ndim != 2 or outputs.shape[0] != n or outputs.shape[1] == 0:
        msg = (
            f"the network returns shape {tuple(outputs.shape)} for {n} inputs, expected (n, C), one row of outputs "
            "per input: pass a function that picks or joins axes, for example lambda params, x: fn(params, x)[:, -1]."
        )
        raise ValueError(msg)
    if not arrays.is_floating(outputs):
        msg = f"the network's outputs have dtype {outputs.dtype}, which has no derivatives: return logits, not labels."
        raise ValueError(msg)


def require_shape(name: str, value: Any, rows: int | None, columns: int, what: str) -> None:
    """Raise ``ValueError`` unless ``value`` has shape (rows, columns)."""
    if value.ndim != 2 or value.shape[1] != columns or (rows is not None and value.shape[0] != rows):
        first = "q" if rows is None else rows
        msg = f"`{name}` has shape {tuple(value.shape)}, expected ({first}, {columns}): one column per {what}."
        raise ValueError(msg)
