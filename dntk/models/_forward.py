"""What ``forward=`` has to be."""

import inspect
from typing import Any

from dntk._checks import kind_of


def require_forward(forward: Any) -> None:
    """Raise ``TypeError`` unless ``forward`` is missing or can be called with a network and a batch."""
    if forward is None:
        return
    remedy = "expected a function of the network and the batch, forward=lambda net, batch: net(batch)"
    if not callable(forward):
        msg = f"`forward` is {kind_of(forward)}: {remedy}."
        raise TypeError(msg)
    try:
        taken = inspect.signature(forward)
    except (TypeError, ValueError):  # of some callables there is no telling
        return
    try:
        taken.bind(None, None)
    except TypeError as error:
        msg = f"`forward` takes {taken}: {remedy}."
        raise TypeError(msg) from error
