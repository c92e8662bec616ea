"""What a stored certificate may say, see :mod:`dntk.archive.schema`."""

import dataclasses
from typing import Any

from dntk.archive import schema
from dntk.bounds import Bound, Intervals
from dntk.certificates.certificate import NOT_STORED, Certificate, StageError
from dntk.certificates.tolerance_outcome import StageShare, ToleranceOutcome

TOLERANCE = schema.optional(schema.fields_of(ToleranceOutcome, shares=schema.items(schema.fields_of(StageShare))))

_SHARES = schema.mapping(schema.number(finite=False))
_BOUND = schema.fields_of(Bound, value=schema.numbers, kind=schema.text, shares=_SHARES)
_INTERVAL_FIELDS = schema.fields_of(Intervals, lower=schema.numbers, upper=schema.numbers, kind=schema.text)


def _shape(value: Any, where: str) -> tuple[int, ...]:
    """Shape of nested lists, which must be those of an array."""
    if not isinstance(value, list):
        return ()
    inner = {_shape(item, where) for item in value}
    if len(inner) > 1:
        schema.refuse(where, value, "lists of one length")
    return (len(value), *next(iter(inner), ()))


def _intervals(value: Any, where: str) -> None:
    """Two ends of one shape."""
    _INTERVAL_FIELDS(value, where)
    if _shape(value["lower"], where) != _shape(value["upper"], where):
        schema.refuse(where, value, "as many lower ends as upper ones")


_STAGES = schema.items(schema.fields_of(StageError, kind=schema.text))
_BY_TYPE = {
    Bound: _BOUND,
    Bound | None: schema.optional(_BOUND),
    Intervals: _intervals,
    Intervals | None: schema.optional(_intervals),
}
_STORED = dataclasses.make_dataclass(
    "_Stored", [(field.name, field.type) for field in dataclasses.fields(Certificate) if field.name not in NOT_STORED]
)

CERTIFICATE = schema.fields_of(_STORED, _BY_TYPE, stages=_STAGES, tolerance=TOLERANCE)
