"""Labels that no stage has seen: ten fixed groupings of the digits into two halves."""

from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from dntk.random import uniforms
from dntk.types import Array


def groupings() -> tuple[tuple[int, ...], ...]:
    """Ten of the 126 ways to split ten digits into two fives, always the same; each lists the half without digit 0."""
    halves = list(combinations(range(1, 10), 5))
    order = np.argsort(uniforms(seed=2602, stream="groupings", count=len(halves)), kind="stable")
    return tuple(halves[i] for i in order[:10])


def grouped_targets(labels: Int[Array, " n"]) -> Float[Array, "n c"]:
    """±1 for membership in each grouping, one column per grouping, on the host."""
    members = np.stack([np.isin(np.asarray(labels), half) for half in groupings()], axis=1)
    return np.where(members, np.float32(1), np.float32(-1))


def grouped_accuracy(predictions: Float[Array, "n c"], labels: Int[Array, " n"]) -> float:
    """Mean over groupings of the share of points on the right side, on the host."""
    right = np.asarray(predictions > 0) == np.asarray(grouped_targets(labels) > 0)
    return float(np.mean(right))
