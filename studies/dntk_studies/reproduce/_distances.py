"""Root mean squares, the unit of all distances between predictions."""

from dntk.arrays import namespace
from dntk.types import Array


def root_mean_square(x: Array) -> float:
    """Of all entries."""
    xp = namespace(x)
    return float(xp.mean(x * x)) ** 0.5
