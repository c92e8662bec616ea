"""What PyTorch switches for the whole process, shared by the threads that need it.

Everything else that the adapter switches belongs to a thread: grad and inference mode, autocast, modes of torch, levels
of function transforms.
"""

import contextlib
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

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


class _Message:
    """How some unwanted messages begin, as ``warnings`` asks an entry; of no messages once it is let go.

    ``warnings.catch_warnings`` of another thread can put back a list with an entry that has been taken out of the list
    in force. Such an entry must not hide what the user wants to read.
    """

    def __init__(self, start: str) -> None:
        self.start = start
        self.held = False

    def match(self, text: str) -> bool:
        """Whether a warning is unwanted now."""
        return self.held and text.startswith(self.start)


class _Ignored(NamedTuple):
    """Entries, and the lists they were put into: each may be in force again."""

    entries: list[Any]
    lists: list[Any]


def _ignored() -> _Ignored:
    return _Ignored([("ignore", _Message(start), Warning, None, 0) for start in _MESSAGES], [])


def _ignore(ours: _Ignored) -> None:
    _set(ours, held=True)
    current: Any = warnings.filters
    if not any(current is known for known in ours.lists):
        ours.lists.append(current)
    _take_out(ours, current)
    current[:0] = ours.entries


def _no_longer_ignore(ours: _Ignored) -> None:
    _set(ours, held=False)
    for filters in (*ours.lists, warnings.filters):
        _take_out(ours, filters)


def _set(ours: _Ignored, *, held: bool) -> None:
    for _, message, *_ in ours.entries:
        message.held = held


def _take_out(ours: _Ignored, filters: Any) -> None:
    # Only these and what earlier blocks left: to put the whole list back would undo what others did meanwhile.
    filters[:] = [entry for entry in filters if not any(entry is mine for mine in ours.entries) and not _left(entry)]


def _left(entry: Any) -> bool:
    return isinstance(entry[1], _Message) and not entry[1].held


def _cudnn() -> bool:
    enabled: bool = torch.backends.cudnn.enabled
    return enabled


def _without_cudnn(_: bool) -> None:
    torch.backends.cudnn.enabled = False


def _with_cudnn(before: bool) -> None:
    torch.backends.cudnn.enabled = before


quiet = Shared(_ignored, _ignore, _no_longer_ignore)
"""Without the warnings of function transforms that a user can do nothing about."""

without_cudnn = Shared(_cudnn, _without_cudnn, _with_cudnn)
"""Recurrent layers in PyTorch's own code: that of cuDNN has no derivative in evaluation mode."""
