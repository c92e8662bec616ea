"""Tasks that say how far they are, nested as calls are; and who is told.

Which task is running, and who is told, are context variables: threads do not see each other's. A task that nobody
listens to counts, and nothing else.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from dntk import arrays
from dntk._progress import _bar
from dntk._progress._event import ProgressEvent

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class _Listener:
    """Who is told, and the least number of seconds between two events of a task; no callback: nobody."""

    callback: Callable[[ProgressEvent], None] | None
    interval: float


_listener: ContextVar[_Listener | None] = ContextVar("dntk_progress", default=None)
"""None where nothing was said: a bar is drawn in a terminal."""


class Task:
    """Something that takes long: what it is, and how much of it is done.

    Parameters
    ----------
    name, total, unit
        As in :class:`ProgressEvent`.
    parent
        The task that this one is part of.
    """

    def __init__(self, name: str, total: int | None, unit: str, parent: "Task | None") -> None:
        self.name, self.total, self.unit, self.parent = name, total, unit, parent
        self.done = self.skipped = 0
        self.started = time.perf_counter()
        self.root: Task = self if parent is None else parent.root
        self.running: list[Task] = []  # of the root: itself and those inside, outermost first
        self._told = self.started
        self._listener = _listener.get()

    def advance(self, by: int = 1) -> None:
        """So much more is done."""
        self.done += by
        listener = self._listener
        if listener is None or listener.callback is None:
            return
        now = time.perf_counter()
        if now - self._told >= listener.interval:
            self._tell(listener.callback, now)

    def skip(self, by: int) -> None:
        """So much was done by an earlier run."""
        self.done += by
        self.skipped += by

    def spans(self, total: int, size: int) -> Iterator[tuple[int, int]]:
        """As :func:`dntk.arrays.spans`; each advances the task by its length when the next one is asked for."""
        for start, stop in arrays.spans(total, size):
            yield start, stop
            self.advance(stop - start)

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The items; each advances the task by one when the next one is asked for."""
        for item in items:
            yield item
            self.advance()

    def event(self) -> ProgressEvent:
        """How far it is."""
        parents: list[str] = []
        outer = self.parent
        while outer is not None:
            parents.append(outer.name)
            outer = outer.parent
        return ProgressEvent(
            task=self.name,
            parents=tuple(reversed(parents)),
            done=self.done,
            total=self.total,
            unit=self.unit,
            seconds=time.perf_counter() - self.started,
            skipped=self.skipped,
        )

    def begin(self, *, announced: bool) -> None:
        """It runs; one that is ``announced`` says so at once."""
        self.root.running.append(self)
        listener = self._listener
        if listener is None:
            if self.parent is None:
                _bar.begin(self)
        elif listener.callback is not None and (announced or listener.interval <= 0):
            self._tell(listener.callback, self.started)

    def finish(self) -> None:
        """It has come to its end; the last event says so, unless it was too short for any."""
        listener = self._listener
        if listener is None or listener.callback is None:
            return
        now = time.perf_counter()
        if self._told > self.started or now - self.started >= listener.interval:
            self._tell(listener.callback, now)

    def leave(self) -> None:
        """It runs no more, whether it came to its end or not."""
        if self in self.root.running:
            self.root.running.remove(self)
        if self.parent is None and self._listener is None:
            _bar.end(self)

    def _tell(self, callback: Callable[[ProgressEvent], None], now: float) -> None:
        self._told = now
        callback(self.event())


_current: ContextVar[Task | None] = ContextVar("dntk_progress_task", default=None)


@contextlib.contextmanager
def task(name: str, *, total: int | None = None, unit: str = "steps", announced: bool = False) -> Iterator[Task]:
    """A part of the task that is running, or a call of its own; what it yields is to be advanced."""
    made = Task(name, total, unit, _current.get())
    token = _current.set(made)
    try:
        made.begin(announced=announced)
        yield made
        made.finish()
    finally:
        _current.reset(token)
        made.leave()


@contextlib.contextmanager
def progress(callback: Callable[[ProgressEvent], None] | None = None, *, interval: float = 0.1) -> Iterator[None]:
    """Tell ``callback`` how far the dntk calls inside the block are, in place of a bar; ``None``: nothing is shown.

    Outside such a block calls that take more than two seconds show a bar with rate and time left, where standard
    error is a terminal and the environment variable ``DNTK_PROGRESS`` is not 0; elsewhere they show nothing.

    Parameters
    ----------
    callback
        Called with a :class:`ProgressEvent` by the thread that computes. An exception that it raises ends the
        call that it is told about.
    interval
        Least number of seconds between two events of a task; tasks that end sooner are not told of. 0: every step.

    Raises
    ------
    TypeError
        ``callback`` cannot be called.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 3))
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> events = []
    >>> with dntk.progress(events.append, interval=0):
    ...     kernel = dntk.ntk(model, x)
    >>> events[-1].done == events[-1].total
    True
    >>> events[-1].task, events[-1].unit
    ('kernel', 'pairs')
    """
    if callback is not None and not callable(callback):
        msg = f"`callback` is a {type(callback).__name__}: pass a function of one event, such as print, or None."
        raise TypeError(msg)
    token = _listener.set(_Listener(callback, interval))
    try:
        yield
    finally:
        _listener.reset(token)
