"""Selectors, distillers, sketches and rules by the names that a configuration gives them."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dntk import solve
from dntk.distill import data, gradients
from dntk.sketch.description import FAMILIES


def parts_of(fit: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :class:`dntk.DistilledNTK` that a table [fit] gives.

    Raises
    ------
    ValueError
        No part has that name, or it does not take these values.
    """
    made = {name: value for name, value in fit.items() if name != "memory_limit"}
    for name, kinds in _KINDS.items():
        if name in made:
            made[name] = _part(f"fit.{name}", made[name], kinds)
    return made


def _part(where: str, value: Any, kinds: Mapping[str, type]) -> Any:
    """The part that a table names; words and numbers as they are, but "none" is None."""
    if not isinstance(value, dict):
        return None if value == "none" else value
    name = value["name"]
    if name not in kinds:
        msg = f"{where}.name is {name!r}, expected one of {', '.join(sorted(kinds))}."
        raise ValueError(msg)
    kind, settings = kinds[name], {key: item for key, item in value.items() if key != "name"}
    known = [parameter for parameter in inspect.signature(kind).parameters if not parameter.startswith("_")]
    unknown = [key for key in settings if key not in known]
    if unknown:
        msg = f"{where}.{unknown[0]} is unknown: {name} takes {', '.join(known) or 'no settings'}."
        raise ValueError(msg)
    try:
        return kind(**{key: _setting(f"{where}.{key}", item) for key, item in settings.items()})
    except (TypeError, ValueError) as error:
        msg = f"{where}: {name} cannot be made: {error}"
        raise ValueError(msg) from error


def _setting(where: str, value: Any) -> Any:
    """A value of a part: tables with a name are parts themselves, lists become tuples."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return _part(where, value, _EVERY)
    if isinstance(value, list):
        return tuple(_setting(f"{where}[{place}]", item) for place, item in enumerate(value))
    return None if value == "none" else value


def _classes(room: Any, of: Callable[[type], bool]) -> dict[str, type]:
    every = {name: getattr(room, name) for name in room.__all__}
    return {name: kind for name, kind in every.items() if isinstance(kind, type) and _is_part(kind) and of(kind)}


def _is_part(kind: type) -> bool:
    return dataclasses.is_dataclass(kind)


def _chooses(kind: type) -> bool:
    return hasattr(kind, "select") or hasattr(kind, "select_inputs") or hasattr(kind, "distill")


_KINDS: dict[str, dict[str, type]] = {
    "data": _classes(data, _chooses),
    "gradients": _classes(gradients, lambda kind: hasattr(kind, "distill")),
    "sketch": dict(FAMILIES),
    "ridge": {
        kind.__name__: kind
        for kind in (
            solve.GeneralisedCrossValidation,
            solve.KFold,
            solve.LargestWithin,
            solve.LeaveOneOut,
            solve.PerOutput,
            solve.Relative,
        )
    },
    "regression": {kind.__name__: kind for kind in (solve.Functionals, solve.Joint, solve.Separate)},
}
_EVERY: dict[str, type] = {
    **_classes(data, lambda _: True),
    **_KINDS["gradients"],
    **_KINDS["sketch"],
    **_KINDS["ridge"],
}
"""What a setting of a part may name."""
