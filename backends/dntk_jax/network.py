"""A function of named parameters and a batch of inputs, made from ``fn(params, x)`` and any pytree."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dntk.models.adapter import After, followed, outputs_alone
from dntk.types import Array

Values = Mapping[str, Any]
"""Arrays by parameter name."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Outputs ``function(values, x)`` for all parameters by name; ``kind`` and ``remedy`` are for messages.

    ``state`` has all arrays by name: parameters, and what the function keeps beside them, such as running statistics.
    ``function`` is traceable and without side effects that matter; ``forward`` is the same, compiled per shape.
    """

    kind: str
    remedy: str
    parameters: Mapping[str, Array]
    state: Mapping[str, Array]
    function: Callable[[Values, Any], Any]
    forward: Callable[[Values, Any], Any]

    def one(self, values: Values, point: Any) -> Any:
        """Outputs (C,) for one input without its first axis."""
        return self.function(values, jax.tree_util.tree_map(lambda part: part[None], point))[0]

    def followed_by(self, after: After) -> "Network":
        """The network and then a function of its answer and its batch."""
        before = self.function

        def outputs(values: Values, x: Any) -> Any:
            return followed(before(values, after.inputs(x)), x, after, jnp)

        return dataclasses.replace(self, function=outputs, forward=jax.jit(outputs))


def network_of(
    function: Callable[[Any, Any], Any], tree: Any, *, kind: str, remedy: str = "", rest: Any = None
) -> Network:
    """Network whose parameters are the floating-point leaves of a pytree; all other leaves are left as they are.

    ``rest`` is a pytree of what the function uses beside them, to tell the network from another.

    Parameters are called by their path, such as ``layers.0.kernel``, and ordered as ``jax.tree_util`` orders leaves.
    Numbers that are Python floats are parameters too, as they are for ``jax.grad``.

    Raises
    ------
    ValueError
        There is no such leaf, or two have the same path.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves = [leaf for _, leaf in paths]
    names = {place: _name(path) for place, (path, leaf) in enumerate(paths) if _is_parameter(leaf)}
    _require_distinct(list(names.values()), kind)
    own = next((leaves[place].dtype for place in names if not isinstance(leaves[place], float)), None)

    def outputs(values: Values, x: Any) -> Any:
        filled = [values[names[place]] if place in names else leaf for place, leaf in enumerate(leaves)]
        return outputs_alone(function(jax.tree_util.tree_unflatten(structure, filled), x))

    parameters = {name: _array(leaves[place], own) for place, name in names.items()}
    return Network(
        kind=kind,
        remedy=remedy,
        parameters=parameters,
        state={**parameters, **_others(paths, set(names), "constant"), **_others(_paths(rest), set(), "rest")},
        function=outputs,
        forward=jax.jit(outputs),
    )


def exact_products() -> Any:
    """Context in which products keep all digits of the dtype, also where an accelerator would round their factors."""
    return jax.default_matmul_precision("highest")


def _paths(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def _others(paths: list[tuple[Any, Any]], places: set[int], prefix: str) -> dict[str, Any]:
    """Arrays among leaves by path, without those at some places and without keys of random streams."""
    arrays = (jax.Array, np.ndarray, np.generic)
    chosen = [pair for place, pair in enumerate(paths) if place not in places and isinstance(pair[1], arrays)]
    plain = [(path, leaf) for path, leaf in chosen if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)]
    return {f"{prefix}.{jax.tree_util.keystr(path)}": jnp.asarray(leaf) for path, leaf in plain}


def _is_parameter(leaf: Any) -> bool:
    if isinstance(leaf, float):
        return True
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return False
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact)) and leaf.size > 0


def _array(leaf: Any, dtype: Any) -> Any:
    """The leaf as a JAX array; a Python float takes the dtype of the arrays beside it.

    NumPy's are copied: JAX may use their memory, which their owner may write to.
    """
    if isinstance(leaf, float):
        return jnp.asarray(leaf, dtype=dtype)
    return leaf if isinstance(leaf, jax.Array) else jnp.array(leaf)


def _name(path: Any) -> str:
    # What flax stores a variable under is no part of its name.
    kept = path[:-1] if len(path) > 1 and str(path[-1]) == ".value" else path
    return ".".join(_key(key) for key in kept) or "params"


def _key(key: Any) -> str:
    if isinstance(key, jax.tree_util.SequenceKey):
        return str(key.idx)
    if isinstance(key, jax.tree_util.GetAttrKey):
        return key.name
    if isinstance(key, jax.tree_util.DictKey | jax.tree_util.FlattenedIndexKey):
        return str(key.key)
    return str(key)


def _require_distinct(names: list[str], kind: str) -> None:
    if not names:
        msg = f"{kind} has no parameters (no floating-point leaf), so that it has no tangent kernel."
        raise ValueError(msg)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{kind} has several leaves with the path {twice[0]!r}: rename one, so that paths tell them apart."
        raise ValueError(msg)
