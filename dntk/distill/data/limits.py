"""The range of values that inputs may have."""

from typing import TypeAlias

from dntk import arrays
from dntk.types import Array

Limits: TypeAlias = tuple[float, float] | None
"""Least and largest value; ``None`` for vectors that may have any."""


def check_limits(limits: Limits, x: Array) -> None:
    """Raise ``ValueError`` unless limits are a range that holds ``x``; images must have one.

    Inputs with two axes or more per point count as images: pixels that leave their range are no images any more.
    """
    xp = arrays.namespace(x)
    if limits is None:
        if x.ndim < 3:
            return
        msg = (
            f"`limits` is missing: inputs of shape {tuple(x.shape)} count as images, whose pixels must stay in range. "
            "Pass the least and largest value, limits=(0.0, 1.0), or limits=(-inf, inf) for inputs without range."
        )
        raise ValueError(msg)
    low, high = limits
    if not low < high:
        msg = f"`limits`={limits}: the first must be smaller than the second."
        raise ValueError(msg)
    least, largest = float(xp.min(x)), float(xp.max(x))
    if least < low or largest > high:
        msg = (
            f"`x` has values from {least:.4g} to {largest:.4g}, outside `limits`={limits}: pass the range of the data."
        )
        raise ValueError(msg)


def within(x: Array, limits: Limits) -> Array:
    """The inputs with every value moved to the nearest one in range."""
    if limits is None:
        return x
    return arrays.namespace(x).clip(x, min=limits[0], max=limits[1])
