"""Random features that stand in for those of a network where only the cost of what is done with them matters."""

import numpy as np

from dntk.features import TangentFeatures
from dntk.random import WORDS_PER_COUNTER, drawing_dtype, moved, normals
from dntk.types import Array

POINTS = 512
"""Stand-ins have no more points."""
ENTRIES = 2**22
"""Nor more numbers for an output."""


_SMALL = 2**20
"""Numbers of all outputs up to which none is left out."""


def stand_in(like: Array, *, outputs: int, points: int, dim: int) -> TangentFeatures:
    """Features (C, n, k) whose kernel's eigenvalues fall, in the library, dtype and on the device of ``like``."""
    size = outputs * points * dim
    dtype = drawing_dtype(like)
    padded = -(-size // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
    drawn = normals(seed=0, stream="stand-in", start=0, count=padded, dtype=dtype)[:size]
    scales = np.arange(1, dim + 1, dtype=dtype) ** -0.5
    return TangentFeatures(moved(drawn.reshape(outputs, points, dim) * scales.astype(dtype), like))


def reach(points: int, dim: int) -> float:
    """The share of both sizes that a stand-in may have."""
    return min(1.0, POINTS / points, (ENTRIES / (points * dim)) ** 0.5)


def outputs_of(outputs: int, points: int, dim: int) -> int:
    """How many outputs a stand-in has at most: all where that is little, else two, from which the others follow."""
    return outputs if outputs * points * dim <= _SMALL else min(outputs, 2)
