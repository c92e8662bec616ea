"""Modules of flax: NNX modules, which carry their parameters, and linen modules with their variables."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from dntk_jax.network import Network, network_of


def network_of_flax(net: Any, params: Any) -> Network:
    """Network of an NNX module at its present state, or of a linen module with its variables.

    Raises
    ------
    TypeError
        ``net`` is neither, an NNX module comes with ``params``, or a linen module without.
    ValueError
        An NNX module is in training mode or has no parameters.
    """
    if isinstance(net, linen.Module):
        return _network_of_linen(net, params)
    if not isinstance(net, nnx.Module):
        msg = f"expected a flax module or a function with `params`, got a {type(net).__name__}."
        raise TypeError(msg)
    if params is not None:
        msg = f"{type(net).__name__} is an NNX module, which carries its parameters: leave `params` out."
        raise TypeError(msg)
    return _network_of_nnx(net)


def require_no_state(params: Any) -> None:
    """Raise where flax's objects among ``params`` hold floating-point state that is no parameter.

    Raises
    ------
    TypeError
        ``params`` is an NNX module.
    ValueError
        It is a state with other variables than ``nnx.Param``.
    """
    if isinstance(params, nnx.Module):
        msg = "`params` is an NNX module: pass it alone, dntk.as_model(module)."
        raise TypeError(msg)
    for leaf in jax.tree_util.tree_leaves(params, is_leaf=lambda node: isinstance(node, nnx.Variable)):
        if isinstance(leaf, nnx.Variable) and not isinstance(leaf, nnx.Param) and _is_floating(leaf):
            msg = (
                f"`params` holds a {type(leaf).__name__}, which is state and no parameter: pass "
                "nnx.state(module, nnx.Param), or the module alone, dntk.as_model(module)."
            )
            raise ValueError(msg)


def _is_floating(variable: Any) -> bool:
    return any(
        jnp.issubdtype(leaf.dtype, jnp.inexact)
        for leaf in jax.tree_util.tree_leaves(variable)
        if isinstance(leaf, jax.Array)
    )


def _network_of_nnx(module: Any) -> Network:
    _require_evaluation_mode(module)
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def outputs(state: Any, x: Any) -> Any:
        # A copy of the other state: what the call writes into it (counters, caches) must not stay.
        return nnx.merge(graph, state, jax.tree_util.tree_map(lambda leaf: leaf, rest))(x)

    return network_of(outputs, params, kind=f"the module {type(module).__name__}", rest=rest)


def _require_evaluation_mode(module: Any) -> None:
    for path, part in nnx.iter_graph(module):
        if not isinstance(part, nnx.Module):
            continue
        own = vars(part)
        noise = own.get("rate", own.get("dropout_rate", 1))
        if own.get("use_running_average") is False or (own.get("deterministic") is False and noise != 0):
            where = repr(".".join(str(key) for key in path)) if path else "the network itself"
            msg = (
                f"the network is in training mode ({where}, {type(part).__name__}), where dropout and batch "
                "normalisation make it no fixed function: call model.eval() first."
            )
            raise ValueError(msg)


def _network_of_linen(module: Any, variables: Any) -> Network:
    if not isinstance(variables, Mapping) or "params" not in variables:
        msg = (
            f"{type(module).__name__} is a flax.linen module, which carries no parameters: pass its variables too, "
            "dntk.as_model(module, variables) with variables = {'params': ...} from module.init or from training; "
            "for other arguments of its call, dntk.as_model(lambda params, x: module.apply({'params': params}, x, "
            "train=False), variables['params'])."
        )
        raise TypeError(msg)
    rest = {name: collection for name, collection in variables.items() if name != "params"}

    def outputs(params: Any, x: Any) -> Any:
        return module.apply({**rest, "params": params}, x)

    remedy = (
        " If it is in training mode (dropout that needs random numbers, batch statistics that are written), build it "
        "with deterministic=True and use_running_average=True."
    )
    kind = f"the module {type(module).__name__}"
    return network_of(outputs, variables["params"], kind=kind, remedy=remedy, rest=rest)
