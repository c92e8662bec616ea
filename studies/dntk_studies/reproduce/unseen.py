"""Labels that no stage has seen: fixed groupings of the classes into two halves, as many as there are outputs."""

import numpy as np
from jaxtyping import Float, Int

from dntk.random import uniforms
from dntk.types import Array


def groupings(classes: int) -> Float[Array, "g c"]:
    """±1 for membership of every class in each of ``classes`` groupings, always the same."""
    keys = uniforms(seed=2602, stream="reproduce-groupings", count=classes * classes).reshape(classes, classes)
    ranks = np.argsort(np.argsort(keys, axis=1, kind="stable"), axis=1)
    return np.where(ranks < classes // 2, np.float32(1), np.float32(-1))


def grouped_targets(labels: Int[Array, " n"], classes: int) -> Float[Array, "n g"]:
    """±1 for the side of every point in each grouping, one column per grouping, on the host."""
    return np.ascontiguousarray(groupings(classes)[:, np.asarray(labels)].T)


def grouped_accuracy(predicted: Float[Array, "n g"], labels: Int[Array, " n"], classes: int) -> float:
    """Mean over groupings of the share of points on the right side, on the host."""
    return float(np.mean((np.asarray(predicted) > 0) == (grouped_targets(labels, classes) > 0)))
