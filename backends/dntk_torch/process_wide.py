"""What PyTorch switches for the whole process, shared by the threads that need it.

Everything else that the adapter switches belongs to a thread: grad and inference mode, autocast, modes of torch, levels
of function transforms.
"""

import contextlib
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

FORWARD_MODE = threading.RLock()
"""Held while forward mode runs: its dual numbers have one level in a process, which ends with the first to leave it."""


class Shared:
    """A switch that is put by the first thread to need it and put back by the last."""

    def __init__(self, put: Callable[[], Any], back: Callable[[Any], None]) -> None:
        self._put, self._back = put, back
        self._lock = threading.Lock()
        self._users: set[int] = set()
        self._before: Any = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the switch."""
        user = object()
        try:
            with self._lock:
                if not self._users:
                    self._before = self._put()
                self._users.add(id(user))
            yield
        finally:
            with self._lock:
                self._users.discard(id(user))
                if not self._users:
                    self._back(self._before)


_MESSAGES = (
    "There is a performance drop",  # of operations without a batching rule
    "`torch.jit",  # forward mode compiles its rules with what PyTorch itself has deprecated since
)


def _ignore() -> list[Any]:
    added = [("ignore", re.compile(message), Warning, None, 0) for message in _MESSAGES]
    warnings.filters[:0] = added  # type: ignore[index]
    return added


def _no_longer_ignore(added: list[Any]) -> None:
    # Only what was added: to put the whole list back would undo what other threads did meanwhile.
    left = [entry for entry in warnings.filters if not any(entry is mine for mine in added)]
    warnings.filters[:] = left  # type: ignore[index]


def _without_cudnn() -> bool:
    before: bool = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    return before


def _with_cudnn(before: bool) -> None:
    torch.backends.cudnn.enabled = before


quiet = Shared(_ignore, _no_longer_ignore)
"""Without the warnings of function transforms that a user can do nothing about."""

without_cudnn = Shared(_without_cudnn, _with_cudnn)
"""Recurrent layers in PyTorch's own code: that of cuDNN has no derivative in evaluation mode."""
