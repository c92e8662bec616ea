"""How a network is called with a batch, and what of its answer is its outputs."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from dntk.types import Batch

Forward: TypeAlias = Callable[[Any, Batch], Any]
"""``forward(net, batch)`` returns the outputs of the network."""


def call(net: Callable[..., Any], x: Batch, forward: Forward | None = None) -> Any:
    """``net(x)`` for an array, ``net(*x)`` for a tuple or list, ``net(**x)`` for a mapping; or ``forward(net, x)``."""
    if forward is not None:
        return forward(net, x)
    if isinstance(x, Mapping):
        return net(**x)
    if isinstance(x, tuple | list):
        return net(*x)
    return net(x)


def refuse_forward(forward: Forward | None) -> None:
    """Raise ``TypeError`` for networks that are called in one way only."""
    if forward is not None:
        msg = (
            "`forward` says how a module is called, and a function or an estimator is not one: for other inputs or "
            "outputs pass a function, dntk.as_model(fn, params) for fn(params, x)."
        )
        raise TypeError(msg)


def outputs_alone(answer: Any) -> Any:
    """The outputs (n, C) of an answer: its ``logits``, where it has such; one output (n,) gets its axis."""
    found = answer.get("logits", answer) if isinstance(answer, Mapping) else getattr(answer, "logits", answer)
    return found[:, None] if getattr(found, "ndim", None) == 1 else found
