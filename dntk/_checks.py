"""Checks that arguments and fields share, with one wording: `name`, what came, what was expected, what to do.

Single numbers, and the kinds of things. What is asked of arrays is in :mod:`dntk.arrays`, of targets and labels in
``dntk._target_checks``, both in this wording.
"""

import dataclasses
import math
import numbers
import operator
import os
from pathlib import Path
from typing import Any

_MOST_SEEDS = 2**64


def integer(name: str, value: Any, *, least: int, remedy: str = "") -> int:
    """The value as a Python integer; whatever has ``__index__`` is one, as NumPy's integers, but ``True`` is not.

    Raises
    ------
    ValueError
        It is no integer, or smaller than ``least``.
    """
    if not is_integer(value) or operator.index(value) < least:
        raise ValueError(_message(name, f"an integer of at least {least}", value, remedy))
    return operator.index(value)


def positive_integer(name: str, value: Any, *, remedy: str = "") -> int:
    """The value as a Python integer; ``ValueError`` unless it is one of at least 1, see :func:`integer`."""
    if not is_integer(value) or operator.index(value) < 1:
        raise ValueError(_message(name, "a positive integer", value, remedy))
    return operator.index(value)


def check_seed(seed: Any) -> int:
    """The seed as a Python integer; ``ValueError`` unless it is one in [0, 2^64)."""
    if not is_integer(seed) or not 0 <= operator.index(seed) < _MOST_SEEDS:
        raise ValueError(_message("seed", "an integer from 0 to 2^64 - 1", seed, ""))
    return operator.index(seed)


def positive(name: str, value: Any, *, remedy: str = "") -> float:
    """The value; ``ValueError`` unless it is a positive number. Infinity is one, NaN is not."""
    number = real(value)
    if number is None or not number > 0:
        raise ValueError(_message(name, "a positive number", value, remedy))
    return number


def positive_finite(name: str, value: Any, *, remedy: str = "") -> float:
    """The value; ``ValueError`` unless it is a positive number below infinity."""
    number = real(value)
    if number is None or not 0 < number < math.inf:
        raise ValueError(_message(name, "positive and finite", value, remedy))
    return number


def not_negative(name: str, value: Any, *, remedy: str = "") -> float:
    """The value; ``ValueError`` unless it is a number of at least 0, which NaN is not."""
    number = real(value)
    if number is None or not number >= 0:
        raise ValueError(_message(name, "a number of at least 0", value, remedy))
    return number


def share(
    name: str,
    value: Any,
    *,
    what: str = "a share between 0 and 1",
    remedy: str = "",
    zero: bool = False,
    one: bool = False,
) -> float:
    """The value; ``ValueError`` unless it is a number strictly between 0 and 1, or an end that is allowed."""
    number = real(value)
    if number is None or not (0 < number < 1 or (zero and number == 0) or (one and number == 1)):
        raise ValueError(_message(name, what, value, remedy))
    return number


def is_integer(value: Any) -> bool:
    """Whether the value is an integer of Python, NumPy or an array of no axes, and no boolean."""
    if isinstance(value, numbers.Integral):
        return not isinstance(value, bool)
    if _is_boolean(value) or getattr(value, "ndim", 0) != 0 or not hasattr(value, "__index__"):
        return False
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # as of arrays of numbers with a fraction
        return False
    return True


def real(value: Any) -> float | None:
    """The value as a float if it is a real number of Python or NumPy, or an array of no axes; ``None`` otherwise."""
    if isinstance(value, numbers.Real):
        return None if isinstance(value, bool) else _as_float(value)
    if getattr(value, "ndim", None) != 0 or not hasattr(value, "dtype") or _is_boolean(value):
        return None
    if not any(word in str(value.dtype) for word in ("float", "int")):  # complex numbers, texts, objects, times
        return None
    return float(value)


def _as_float(value: Any) -> float:
    """The number as a float, infinite where an integer is beyond all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def decays(name: str, value: Any) -> tuple[float, float]:
    """Two numbers in [0, 1), as of Adam's averages; ``ValueError`` otherwise."""
    pair = tuple(real(part) for part in value) if isinstance(value, tuple | list) else ()
    known = [number for number in pair if number is not None and 0 <= number < 1]
    if len(pair) != 2 or len(known) != 2:
        raise ValueError(_message(name, "two numbers from 0 to below 1", value, "(0.9, 0.999) for example"))
    return known[0], known[1]


def folder(name: str, value: Any) -> Path:
    """The value as a path; ``TypeError`` unless it is one, or the text of one."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        msg = f"`{name}` is {kind_of(value)}: expected a path, as text or pathlib.Path."
        raise TypeError(msg)
    return Path(value)


def require_kind(name: str, value: Any, kinds: Any, *, expected: str) -> None:
    """Raise ``TypeError`` unless ``value`` is an instance of ``kinds``: of a protocol, say, and no class."""
    if isinstance(value, type):
        msg = f"`{name}` is the class {value.__name__}: pass an instance, {value.__name__}(...). Expected {expected}."
        raise TypeError(msg)
    if not isinstance(value, kinds):
        msg = f"`{name}` is {kind_of(value)}: expected {expected}."
        raise TypeError(msg)


def kind_of(value: Any) -> str:
    """What a value is, in words: "a list", "a numpy ndarray", "missing (None)"."""
    if value is None:
        return "missing (None)"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    root = type(value).__module__.partition(".")[0]
    words = type(value).__name__ if root == "builtins" else f"{root} {type(value).__name__}"
    return f"{'an' if words[:1].lower() in 'aeio' else 'a'} {words}"


def keep(owner: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass that is being made to their checked values."""
    assert dataclasses.is_dataclass(owner)
    for name, value in values.items():
        object.__setattr__(owner, name, value)


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


def _message(name: str, wanted: str, value: Any, remedy: str) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 60 and "\n" not in shown else kind_of(value)
    return f"`{name}` must be {wanted}, got {shown}" + (f": {remedy}." if remedy else ".")
