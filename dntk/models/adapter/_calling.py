"""How a network is called with a batch, and what of its answer is its outputs."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from dntk.types import Batch

Forward: TypeAlias = Callable[[Any, Batch], Any]
"""``forward(net, batch)`` returns the outputs of the network."""


def call(net: Callable[..., Any], x: Batch, forward: Forward | None = None) -> Any:
    """``net(x)`` for an array, ``net(*x)`` for a tuple or list, ``net(**x)`` for a mapping; or ``forward(net, x)``."""
    if forward is not None:
        return forward(net, x)
    if not isinstance(x, Mapping | tuple | list):
        return net(x)
    args, named = ((), dict(x)) if isinstance(x, Mapping) else (tuple(x), {})
    _require_fit(net, x, args, named)
    return net(*args, **named)


def _require_fit(net: Any, x: Batch, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Raise ``TypeError`` where the network does not take so many parts, or none of such names."""
    try:
        taken = inspect.signature(getattr(net, "forward", net))
    except (TypeError, ValueError):  # of some callables there is no telling
        return
    try:
        taken.bind(*args, **named)
    except TypeError as error:
        what = f"the parts {', '.join(map(repr, named))}" if named else f"{len(args)} parts"
        msg = (
            f"the batch is a {type(x).__name__} of {what}, but the network takes {taken}: {error}. Leave out what is "
            "no input, such as labels: dntk.as_model(net, forward=lambda net, batch: net(batch[0])). A list of "
            "examples is dntk.points(examples)."
        )
        raise TypeError(msg) from error


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
