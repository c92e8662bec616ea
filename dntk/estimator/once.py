"""A value that is made when it is first asked for."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """What ``make`` returns, made once, whatever threads ask; afterwards whatever ``make`` refers to is let go.

    Copies and pickles hold the value if it was made, and make it themselves if it was not.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._lock = threading.Lock()
        self._make: Callable[[], T] | None = make
        self._value: T | None = None

    @classmethod
    def made(cls, value: T) -> "Once[T]":
        """One that holds a value from the start."""
        once = cls(lambda: value)
        once()
        return once

    @property
    def is_made(self) -> bool:
        """Whether the value is there."""
        return self._make is None

    def __call__(self) -> T:
        """The value; the first call makes it, others wait for that one."""
        with self._lock:
            if self._make is not None:
                self._value = self._make()
                self._make = None
        return self._value  # type: ignore[return-value]

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"make": self._make, "value": self._value}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._lock = threading.Lock()
        self._make, self._value = state["make"], state["value"]
