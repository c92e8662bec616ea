"""Networks of JAX's libraries as functions of parameters."""

from typing import Any

from dntk_jax.network import Network, network_of


def adapted(net: Any, params: Any) -> Network:
    """Network of a function with its parameters, or of a module that carries them.

    Raises
    ------
    TypeError
        ``net`` is neither.
    ValueError
        It has no parameters, or is in training mode.
    """
    if not callable(net):
        msg = f"expected a function of parameters, or a flax or equinox module, got {type(net).__name__}."
        raise TypeError(msg)
    return network_of(net, params, kind="`params`")
