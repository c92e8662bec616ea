"""Rounding and sampling allowances of all property tests: those of :mod:`dntk.testing.allowances`."""

from dntk.testing.allowances import (
    CONSTANTS,
    DAVIDSON_SZAREK_T,
    DELTA,
    allowance,
    bernstein,
    defect,
    eps,
    gamma,
    solved,
    underflow,
)

__all__ = [
    "CONSTANTS",
    "DAVIDSON_SZAREK_T",
    "DELTA",
    "allowance",
    "bernstein",
    "defect",
    "eps",
    "gamma",
    "solved",
    "underflow",
]
