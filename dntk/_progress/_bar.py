"""The bar in a terminal, drawn by a thread of its own: the one that computes only counts.

One call at a time has the bar; others that run beside it in threads show nothing.
"""

import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from dntk._progress._event import ProgressEvent

PATIENCE = 2.0
"""Seconds up to which a task shows nothing."""

_PERIOD = 0.2
_IDLE = 10.0
"""Seconds without a call after which the thread ends."""


@runtime_checkable
class Running(Protocol):
    """What the bar asks of a task."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def started(self) -> float:
        """When it began."""

    @property
    def running(self) -> Sequence["Running"]:
        """Of a call: itself and the tasks inside, outermost first."""

    def event(self) -> ProgressEvent:
        """How far it is."""


def begin(call: Running) -> None:
    """A call has begun, and may show a bar."""
    if _wanted():
        _BAR.begin(call)


def end(call: Running) -> None:
    """It has ended: whatever it showed is gone when this returns."""
    if _BAR.call is not None:
        _BAR.end(call)


def _wanted() -> bool:
    try:
        return os.environ.get("DNTK_PROGRESS", "") != "0" and sys.stderr.isatty()
    except (AttributeError, ValueError):  # no standard error, or a closed one
        return False


class _Bar:
    """What is shown, and the thread that shows it."""

    def __init__(self) -> None:
        self.call: weakref.ref[Running] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._shown: Any = None
        self._lines: dict[int, Any] = {}

    def begin(self, call: Running) -> None:
        with self._lock:
            if self.call is not None and self.call() is not None:
                return
            self.call = weakref.ref(call)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="dntk-progress", daemon=True)
                self._thread.start()

    def end(self, call: Running) -> None:
        with self._lock:
            if self.call is not None and self.call() is call:
                self._hide()

    def _watch(self) -> None:
        idle = time.monotonic()
        while time.monotonic() - idle < _IDLE:
            time.sleep(_PERIOD)
            with self._lock:
                call = None if self.call is None else self.call()
                if call is None:
                    self._hide()
                    continue
                idle = time.monotonic()
                # A terminal that cannot be written to is no reason to end a call.
                with contextlib.suppress(OSError, ValueError):
                    self._draw([part for part in call.running if time.perf_counter() - part.started > PATIENCE])
            del call

    def _draw(self, parts: list[Running]) -> None:
        if not parts and self._shown is None:
            return
        if self._shown is None:
            self._shown = _new_bar()
            self._shown.start()
        for key in [key for key in self._lines if key not in {id(part) for part in parts}]:
            self._shown.remove_task(self._lines.pop(key))
        for depth, part in enumerate(parts):
            event = part.event()
            if id(part) not in self._lines:
                self._lines[id(part)] = self._shown.add_task("", total=None, said="")
            said = str(event).removeprefix(": ".join((*event.parents, event.task)) + " ")
            name = "  " * depth + part.name
            line = self._lines[id(part)]
            self._shown.update(line, description=name, completed=event.done, total=event.total, said=said)
        self._shown.refresh()

    def _hide(self) -> None:
        shown, self._shown, self._lines, self.call = self._shown, None, {}, None
        if shown is not None:
            with contextlib.suppress(OSError, ValueError):
                shown.stop()


def _new_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[said]}"))
    # Streams are left alone: a thread beside the caller's must not replace them.
    return Progress(
        *columns,
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


_BAR = _Bar()
