"""Networks of JAX's libraries as functions of parameters."""

from collections.abc import Mapping
from typing import Any

from dntk.backend import root_modules
from dntk.models.adapter import Forward, refuse_forward
from dntk_jax.network import Network, network_of


def adapted(net: Any, params: Any, parameters: str | None, forward: Forward | None = None) -> Network:
    """Network of a function with its parameters, or of a module that carries them.

    Raises
    ------
    TypeError
        ``net`` is neither, or ``params`` go with a module that carries its own.
    ValueError
        It has no parameters, or is in training mode.
    """
    if "flax" in root_modules(net):
        from dntk_jax.flax_modules import network_of_flax

        return network_of_flax(net, params, forward)
    if params is not None:
        _require_parameters_alone(params, parameters)
        refuse_forward(forward)
        return network_of(_callable(net), params, kind="`params`")
    if "equinox" in root_modules(net):
        from dntk_jax.equinox_modules import network_of_equinox

        return network_of_equinox(net, forward)
    msg = (
        f"a {type(net).__name__} of JAX carries no parameters: pass a function of them with their values, "
        "dntk.as_model(fn, params) for fn(params, x), or a flax or equinox module."
    )
    raise TypeError(msg)


def _callable(net: Any) -> Any:
    if not callable(net):
        msg = f"expected a function net(params, x) beside `params`, got a {type(net).__name__}."
        raise TypeError(msg)
    return net


def _require_parameters_alone(params: Any, parameters: str | None) -> None:
    """Raise where what flax and equinox modules keep beside their parameters would count as parameters."""
    if "equinox" in root_modules(params):
        from dntk_jax.equinox_modules import require_inference

        require_inference(params)
    if "flax" in root_modules(params):
        from dntk_jax.flax_modules import require_no_state

        require_no_state(params)
    if parameters is None and isinstance(params, Mapping) and {"params", "batch_stats"} <= set(params):
        msg = (
            "`params` holds flax's collection 'batch_stats' beside 'params', and statistics are no parameters: pass "
            'the module itself, dntk.as_model(module, variables), or choose parameters=r"params\\..*".'
        )
        raise ValueError(msg)
