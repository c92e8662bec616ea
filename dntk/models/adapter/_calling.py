"""How a network is called with a batch, and what of its answer is its outputs."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from dntk.models.nests import is_array
from dntk.types import Batch

Forward: TypeAlias = Callable[[Any, Batch], Any]
"""``forward(net, batch)`` returns the outputs of the network."""


def call(net: Callable[..., Any], x: Batch, forward: Forward | None = None) -> Any:
    """``net(x)`` for an array, ``net(*x)`` for a tuple or list, ``net(**x)`` for a mapping; or ``forward(net, x)``."""
    if forward is not None:
        return forward(net, x)
    if not isinstance(x, Mapping | tuple | list):
        return _called_with(net, x)
    args, named = ((), dict(x)) if isinstance(x, Mapping) else (tuple(x), {})
    _require_fit(net, x, args, named)
    return net(*args, **named)


def _called_with(net: Callable[..., Any], x: Batch) -> Any:
    try:
        return net(x)
    except TypeError:
        _require_fit(net, x, (x,), {})
        raise


def _require_fit(net: Any, x: Batch, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Raise ``TypeError`` where the network does not take so many parts, or none of such names."""
    try:
        taken = inspect.signature(getattr(net, "forward", net))
    except (TypeError, ValueError):  # of some callables there is no telling
        return
    try:
        taken.bind(*args, **named)
    except TypeError as error:
        msg = f"the batch is {_in_words(x)}, but the network takes {taken}: {error}. {_remedy(x, str(error))}"
        raise TypeError(msg) from error


def _in_words(x: Batch) -> str:
    if isinstance(x, Mapping):
        return f"a {type(x).__name__} of the parts {', '.join(map(repr, x))}"
    if isinstance(x, tuple | list):
        return f"a {type(x).__name__} of {len(x)} parts"
    return "one array" if is_array(x) else f"a {type(x).__name__}, which is passed whole"


def _remedy(x: Batch, error: str) -> str:
    if is_array(x):
        return "Pass a tuple or a mapping of all that the network takes."
    part = f"[{next(iter(x))!r}]" if isinstance(x, Mapping) else "[0]" if isinstance(x, tuple | list) else ".part"
    missing, more = "Add what is missing, or say how it is called", "Leave out what is no input, such as labels"
    what = missing if "missing" in error else more
    ending = " A list of examples is dntk.points(examples)." if isinstance(x, list) else ""
    return f"{what}: dntk.as_model(net, forward=lambda net, batch: net(batch{part})).{ending}"


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
