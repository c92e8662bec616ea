"""A few inputs of a fit in an archive: arrays by number, and the nest that they form."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from dntk.archive import schema
from dntk.models.nests import is_array, is_nest, parts_of
from dntk.outputs.inputs import Labelled
from dntk.types import Array, Batch

Form: TypeAlias = Any
"""``"array"`` for one array and ``"none"`` for nothing, else ``[kind, [[key, form], ...]]``."""

_KINDS = ("mapping", "tuple", "list", "labelled")


def described(probe: Batch) -> tuple[Form, list[Array]]:
    """The form of a nest and its arrays in order; the form is ``None`` where it could not be made again."""
    found: list[Array] = []
    form = _form(probe, found)
    return (form, found) if form is not None else (None, [])


def rebuilt(form: Form, array: Callable[[int], Array]) -> Batch:
    """The nest of a form, of arrays by number. Named tuples come back as tuples, other mappings as dicts."""
    numbers = itertools.count()
    return _built(form, lambda: array(next(numbers)))


def form(value: Any, where: str) -> None:
    """Check of a form, for a schema."""
    if value in ("array", "none"):
        return
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], list) and value[0] in _KINDS):
        schema.refuse(where, value, "a form of inputs")
    for part in value[1]:
        if not (isinstance(part, list) and len(part) == 2 and isinstance(part[0], str)):
            schema.refuse(where, part, "a name and a form")
        form(part[1], where)


def _form(x: Any, found: list[Array]) -> Form:
    if x is None:
        return "none"
    if is_array(x):
        found.append(x)
        return "array"
    kind = _kind(x)
    if kind is None or not all(isinstance(key, str | int) for key, _ in parts_of(x)):
        return None
    parts = [[str(key), _form(part, found)] for key, part in parts_of(x)]
    return None if any(part is None for _, part in parts) else [kind, parts]


def _kind(x: Any) -> str | None:
    if isinstance(x, Labelled):
        return "labelled"
    if isinstance(x, Mapping):
        return "mapping" if all(isinstance(key, str) for key in x) else None
    if not is_nest(x):
        return None
    return "tuple" if isinstance(x, tuple) else "list" if isinstance(x, list) else None


def _built(form: Form, array: Callable[[], Array]) -> Any:
    if form in ("array", "none"):
        return array() if form == "array" else None
    kind, parts = form
    made = {key: _built(part, array) for key, part in parts}
    if kind == "mapping":
        return made
    if kind == "labelled":
        return Labelled(**made)
    return tuple(made.values()) if kind == "tuple" else list(made.values())
