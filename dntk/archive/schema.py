"""What a manifest may say: checks of plain values, put together like the values themselves.

A check takes a value and where it stands, and raises :class:`Misstated` unless the value is sound. Bounds are checked
before anything is made of a value.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias, get_type_hints

Check: TypeAlias = Callable[[Any, str], None]

_LARGEST = 2**63 - 1


class Misstated(ValueError):
    """A value that its schema does not allow."""

    def __init__(self, where: str, found: Any, expected: str) -> None:
        shown = repr(found)
        text = shown if len(shown) <= 60 else f"{shown[:60]}…"
        super().__init__(f"{where or 'the whole'} is {text}, expected {expected}")


def refuse(where: str, found: Any, expected: str) -> NoReturn:
    """Raise :class:`Misstated`."""
    raise Misstated(where, found, expected)


def integer(least: int = 0, most: int = _LARGEST) -> Check:
    """A whole number between bounds."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            refuse(where, value, f"a whole number from {least} to {most}")

    return check


def number(least: float = -math.inf, most: float = math.inf, *, finite: bool = True, above: bool = False) -> Check:
    """A number between bounds, the lower one itself excluded with ``above``; without ``finite`` also inf and NaN."""

    def check(value: Any, where: str) -> None:
        sound = isinstance(value, int | float) and not isinstance(value, bool)
        if sound and math.isfinite(value):
            sound = least <= value <= most and not (above and value == least)
        elif sound:
            sound = not finite
        if not sound:
            refuse(where, value, f"a number from {least} to {most}" + (", finite" if finite else ""))

    return check


def text(value: Any, where: str) -> None:
    """A string."""
    if not isinstance(value, str):
        refuse(where, value, "a string")


def choice(*allowed: Any) -> Check:
    """One of some values."""

    def check(value: Any, where: str) -> None:
        if not any(value is one or (type(value) is type(one) and value == one) for one in allowed):
            refuse(where, value, f"one of {', '.join(map(repr, allowed))}")

    return check


def optional(check: Check) -> Check:
    """``None``, or what another check allows."""

    def checked(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return checked


def either(kind: type, check: Check, other: Check) -> Check:
    """One check for values of a type, another for all else."""

    def checked(value: Any, where: str) -> None:
        (check if isinstance(value, kind) else other)(value, where)

    return checked


def items(check: Check, *, least: int = 0, most: int | None = None) -> Check:
    """A list of things of one kind."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, list) or len(value) < least or (most is not None and len(value) > most):
            refuse(where, value, f"a list of at least {least}" + ("" if most is None else f", at most {most}"))
        for position, item in enumerate(value):
            check(item, f"{where}[{position}]")

    return checked


def mapping(check: Check) -> Check:
    """Things of one kind by name."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            refuse(where, value, "an object")
        for name, item in value.items():
            check(item, f"{where}.{name}".lstrip("."))

    return checked


def record(**fields: Check) -> Check:
    """An object with these fields and no others."""
    return record_of(fields)


def record_of(fields: Mapping[str, Check]) -> Check:
    """As :func:`record`, of a mapping."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            refuse(where, value, "an object")
        if set(value) != set(fields):
            refuse(where, sorted(value), f"the fields {', '.join(sorted(fields))}")
        for name, check in fields.items():
            check(value[name], f"{where}.{name}".lstrip("."))

    return checked


def fields_of(kind: type, by_type: Mapping[Any, Check] | None = None, /, **known: Check) -> Check:
    """The fields of a dataclass, by their types unless ``known``: numbers, strings, flags, and anything for others.

    ``by_type`` has checks of further types.
    """
    hints, checks = get_type_hints(kind), {**_BY_TYPE, **(by_type or {})}
    names = [field.name for field in dataclasses.fields(kind)]
    return record_of({name: known.get(name, checks.get(hints[name], plain)) for name in names})


def tagged(tag: str, kinds: Mapping[str, Check]) -> Check:
    """An object whose field ``tag`` names what it is; the others are checked accordingly."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            refuse(where, value, "an object")
        choice(*kinds)(value.get(tag), f"{where}.{tag}".lstrip("."))
        kinds[value[tag]]({name: item for name, item in value.items() if name != tag}, where)

    return checked


def numbers(value: Any, where: str) -> None:
    """A number, or nested lists of numbers, none of them empty."""
    if isinstance(value, list) and value:
        for position, item in enumerate(value):
            numbers(item, f"{where}[{position}]")
    else:
        number(finite=False)(value, where)


def plain(value: Any, where: str) -> None:
    """Anything that JSON has."""


def flag(value: Any, where: str) -> None:
    """True or false."""
    choice(True, False)(value, where)


_BY_TYPE: dict[Any, Check] = {
    bool: flag,
    int: integer(),
    int | None: optional(integer()),
    float: number(finite=False),
    float | None: optional(number(finite=False)),
    str: text,
}
