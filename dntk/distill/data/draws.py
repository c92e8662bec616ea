"""Seeded choices of points: what is held out, minibatches, and the same number of every class."""

import numpy as np
import numpy.typing as npt

from dntk import arrays
from dntk._checks import positive_integer
from dntk._checks import share as checked_share
from dntk._target_checks import check_classes, check_labels
from dntk.archive import to_host
from dntk.backend import backend_of
from dntk.random import uniforms
from dntk.types import Array

Indices = npt.NDArray[np.int64]


def split(points: int, share: float, *, seed: int) -> tuple[Indices, Indices]:
    """Positions that a run fits to, and those held out to judge it; each at least one.

    Raises
    ------
    ValueError
        ``share`` is not between 0 and 1, or there is only one point.
    """
    checked_share("held_out", share)
    if points < 2:
        msg = "one point cannot be divided into a part to fit to and one to hold out: pass at least two."
        raise ValueError(msg)
    order = _shuffled(points, seed=seed, stream="held-out")
    held = min(points - 1, max(1, round(share * points)))
    return np.sort(order[held:]), np.sort(order[:held])


def minibatch(points: int, size: int | None, *, seed: int, step: int) -> Indices:
    """Positions of one step's batch, a function of seed and step alone; all where there are no more than ``size``."""
    if size is None or size >= points:
        return np.arange(points)
    return np.sort(_shuffled(points, seed=seed, stream=f"minibatch-{step}")[:size])


def balanced(labels: Array, n_classes: int, per_class: int, *, seed: int) -> Indices:
    """``per_class`` positions of every class, drawn uniformly, class after class.

    Raises
    ------
    TypeError
        Labels are not integers.
    ValueError
        A class has fewer points, or a label is outside 0 .. C − 1.
    """
    chosen = []
    for members in by_class(labels, n_classes, at_least=per_class):
        order = _shuffled(len(members), seed=seed, stream=f"balanced-{members[0]}")
        chosen.append(members[order[:per_class]])
    return np.concatenate(chosen)


def by_class(labels: Array, n_classes: int, *, at_least: int) -> list[Indices]:
    """Positions of the points of every class.

    Raises
    ------
    TypeError
        Labels are not integers.
    ValueError
        ``at_least`` is no positive integer, a class has fewer points, or a label is outside 0 .. C − 1.
    """
    positive_integer("per_class", at_least)
    check_labels("y", labels, points=labels.shape[0])
    host = to_host(labels)
    check_classes("y", labels, classes=n_classes)
    members = [np.flatnonzero(host == label) for label in range(n_classes)]
    for label, places in enumerate(members):
        if len(places) < at_least:
            msg = (
                f"class {label} has {len(places)} points, fewer than per_class={at_least}: pass more data, or "
                "a smaller per_class."
            )
            raise ValueError(msg)
    return members


def take(x: Array, positions: Indices) -> Array:
    """Points at positions on the host, on the device of ``x``."""
    xp = arrays.namespace(x)
    where = backend_of(x).from_numpy(np.asarray(positions), device=arrays.device_of(x))
    return xp.take(x, where, axis=0)


def _shuffled(count: int, *, seed: int, stream: str) -> Indices:
    return np.argsort(uniforms(seed=seed, stream=stream, count=count), kind="stable")
