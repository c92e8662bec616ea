"""Modules of equinox, which act on one input and are mapped over a batch."""

from collections.abc import Iterator
from typing import Any

import equinox
import jax

from dntk_jax.network import Network, network_of

_REMEDY = (
    " An equinox module must take one input without batch axis and nothing else; for others pass a function, "
    "dntk.as_model(lambda module, x: jax.vmap(...)(x), module)."
)


def network_of_equinox(module: Any) -> Network:
    """Network of a module, whose parameters are its floating-point arrays.

    Raises
    ------
    TypeError
        ``module`` is not callable.
    ValueError
        It is in training mode or has no parameters.
    """
    if not callable(module):
        msg = f"{type(module).__name__} has no __call__: give it one that takes a single input, or pass a function."
        raise TypeError(msg)
    require_inference(module)
    params, rest = equinox.partition(module, equinox.is_inexact_array)

    def outputs(arrays: Any, x: Any) -> Any:
        return jax.vmap(equinox.combine(arrays, rest))(x)

    return network_of(outputs, params, kind=f"the module {type(module).__name__}", remedy=_REMEDY, rest=rest)


def require_inference(module: Any) -> None:
    """Raise ``ValueError`` where any submodule is in training mode."""
    for part in _submodules(module):
        fields = vars(part)
        if fields.get("inference") is False and fields.get("p", 1) != 0:
            msg = (
                f"the network is in training mode ({type(part).__name__} has inference=False), where dropout and batch "
                "normalisation make it no fixed function: pass equinox.nn.inference_mode(module)."
            )
            raise ValueError(msg)


def _submodules(module: Any) -> Iterator[Any]:
    yield module
    inner = jax.tree_util.tree_leaves(
        module, is_leaf=lambda node: node is not module and isinstance(node, equinox.Module)
    )
    for part in inner:
        if isinstance(part, equinox.Module):
            yield from _submodules(part)
