"""What PyTorch switches for the whole process, shared by the threads that need it.

Everything else that the adapter switches belongs to a thread: grad and inference mode, autocast, modes of torch, levels
of function transforms.
"""

import contextlib
import re
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

import torch

T = TypeVar("T")


class _User:
    """One block that needs a switch."""

    __slots__ = ("__weakref__",)


_LOST = 2.0
"""Seconds after which nobody is believed to let go of a lock."""


class Shared(Generic[T]):
    """A switch that is put by the first thread to need it and put back by the last.

    ``read`` tells what is to be put back; ``put`` and ``back`` may be called twice. An interrupt at any moment leaves
    nothing behind that the next block would not mend: what is to be put back is known before it is put, and blocks
    that ended without leaving no longer count. The lock may be taken again by the thread that has it: garbage
    collection can end another block of the thread while it is held. It is held for microseconds: one that is not let go
    within seconds belongs to a thread that was interrupted or has ended, and is replaced.
    """

    def __init__(self, read: Callable[[], T], put: Callable[[T], None], back: Callable[[T], None]) -> None:
        self._read, self._put, self._back = read, put, back
        self._lock = threading.RLock()
        self._users: weakref.WeakSet[_User] = weakref.WeakSet()
        self._before: tuple[T] | None = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the switch."""
        user = _User()
        try:
            lock = self._taken()
            try:
                self._users.add(user)
                if self._before is None:
                    self._before = (self._read(),)
                self._put(self._before[0])
            finally:
                lock.release()
            yield
        finally:
            try:
                self._leave(user)
            except BaseException:
                self._leave(user)
                raise

    def _leave(self, user: _User) -> None:
        lock = self._taken()
        try:
            if self._before is not None and all(other is user for other in self._users):
                self._back(self._before[0])
                self._before = None
            self._users.discard(user)
        finally:
            lock.release()

    def _taken(self) -> Any:
        """The lock, taken."""
        lock = self._lock
        while not lock.acquire(timeout=_LOST):
            if self._lock is lock:
                self._lock = threading.RLock()
            lock = self._lock
        return lock


_MESSAGES = (
    "There is a performance drop",  # of operations without a batching rule
    "`torch.jit",  # forward mode compiles its rules with what PyTorch itself has deprecated since
)


_Filters: TypeAlias = list[Any]


def _filters() -> _Filters:
    return [("ignore", re.compile(message), Warning, None, 0) for message in _MESSAGES]


def _ignore(added: _Filters) -> None:
    _no_longer_ignore(added)
    warnings.filters[:0] = added  # type: ignore[index]


def _no_longer_ignore(added: _Filters) -> None:
    # Only what was added: to put the whole list back would undo what other threads did meanwhile.
    left = [entry for entry in warnings.filters if not any(entry is mine for mine in added)]
    warnings.filters[:] = left  # type: ignore[index]


def _cudnn() -> bool:
    enabled: bool = torch.backends.cudnn.enabled
    return enabled


def _without_cudnn(_: bool) -> None:
    torch.backends.cudnn.enabled = False


def _with_cudnn(before: bool) -> None:
    torch.backends.cudnn.enabled = before


quiet = Shared(_filters, _ignore, _no_longer_ignore)
"""Without the warnings of function transforms that a user can do nothing about."""

without_cudnn = Shared(_cudnn, _without_cudnn, _with_cudnn)
"""Recurrent layers in PyTorch's own code: that of cuDNN has no derivative in evaluation mode."""
