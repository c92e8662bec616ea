"""Checks of single numbers that arguments and fields share, with one wording."""

import dataclasses
import numbers
from typing import Any


def integer(name: str, value: Any, *, least: int, remedy: str = "") -> int:
    """The value as a Python integer; NumPy's integers are accepted, ``True`` is not.

    Raises
    ------
    ValueError
        It is no integer, or smaller than ``least``.
    """
    if not is_integer(value) or value < least:
        raise ValueError(_message(name, f"an integer of at least {least}", value, remedy))
    return int(value)


def positive_integer(name: str, value: Any, *, remedy: str = "") -> int:
    """The value as a Python integer; ``ValueError`` unless it is one of at least 1, see :func:`integer`."""
    if not is_integer(value) or value < 1:
        raise ValueError(_message(name, "a positive integer", value, remedy))
    return int(value)


def positive(name: str, value: Any, *, remedy: str = "") -> float:
    """The value; ``ValueError`` unless it is a positive number. Infinity is one, NaN is not."""
    if not _is_real(value) or not value > 0:
        raise ValueError(_message(name, "a positive number", value, remedy))
    return float(value)


def not_negative(name: str, value: Any, *, remedy: str = "") -> float:
    """The value; ``ValueError`` unless it is a number of at least 0, which NaN is not."""
    if not _is_real(value) or not value >= 0:
        raise ValueError(_message(name, "a number of at least 0", value, remedy))
    return float(value)


def share(name: str, value: Any, *, what: str = "a share between 0 and 1", remedy: str = "") -> float:
    """The value; ``ValueError`` unless it is a number strictly between 0 and 1."""
    if not _is_real(value) or not 0 < value < 1:
        raise ValueError(_message(name, what, value, remedy))
    return float(value)


def is_integer(value: Any) -> bool:
    """Whether the value is an integer of Python or NumPy, and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real)


def keep(owner: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass that is being made to their checked values."""
    assert dataclasses.is_dataclass(owner)
    for name, value in values.items():
        object.__setattr__(owner, name, value)


def _message(name: str, wanted: str, value: Any, remedy: str) -> str:
    return f"`{name}` must be {wanted}, got {value!r}" + (f": {remedy}." if remedy else ".")
