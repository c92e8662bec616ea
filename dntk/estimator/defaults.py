"""What "auto" means for the parts of a fit: chosen from the numbers of points, outputs and parameters."""

import dataclasses
import logging

from dntk.arrays import itemsize
from dntk.distill.data import KMeans, LastLayer
from dntk.estimator.point_choice import choose_points
from dntk.estimator.resumption import Keep
from dntk.estimator.stages import GRADIENTS, Parts
from dntk.models import batches
from dntk.models.base import Model
from dntk.plan._features import planned_features
from dntk.sketch import Sketch
from dntk.solve import LargestWithin, LeaveOneOut
from dntk.solve.rules import Ridge
from dntk.types import Array

POINTS = 500
"""Points that are kept of many. Of 3,000 images of CIFAR-10 the regression on them had 97% of the fidelity of that on
2,367 (docs/benchmarks.md, the whole)."""

ALL_UP_TO = 750
"""Points up to which all are kept: choosing would cost more than it saves."""

MEMORY = 2**31
"""Bytes of features above which keeping everything is said before it is done: 2 GiB."""

_log = logging.getLogger("dntk")


def settled(parts: Parts, x: Array) -> tuple[Parts, tuple[str, ...]]:
    """The parts with points to keep where that was left open, and what is chosen and why, a line each.

    Sketch and gradients follow from the points, once they are known.
    """
    reasons = []
    data = parts.data
    if isinstance(data, str):
        data, why = _points(batches.count(x), parts.seed)
        reasons.append(why)
    if isinstance(parts.gradients, str):
        reasons.append(f"gradients: Solution, at most {GRADIENTS}: the prediction's direction, then the kernel's own")
    for reason in reasons:
        _log.info(reason)
    return dataclasses.replace(parts, data=data, ridge=_rule(parts.ridge)), tuple(reasons)


def _rule(ridge: Ridge) -> Ridge:
    """What "loo" means in a fit; anything else as it is."""
    return LargestWithin(LeaveOneOut()) if isinstance(ridge, str) else ridge


def settled_for_search(parts: Parts, x: Array, tolerance: float, keep: Keep) -> tuple[Parts, tuple[str, ...]]:
    """Parts to begin a search for a tolerance with, whose sizes are found, and what is chosen and why.

    Points are chosen in the way that is cheapest on trial, see :mod:`dntk.estimator.point_choice`.
    """
    reasons: tuple[str, ...] = ()
    data = parts.data
    if isinstance(data, str):
        memory = MEMORY if keep.memory_limit is None else min(MEMORY, keep.memory_limit // 8)
        data, why = choose_points(parts.model, x, tolerance=tolerance, seed=parts.seed, keep=keep, memory=memory)
        reasons = (why,)
        _log.info(why)
    gradients = None if isinstance(parts.gradients, str) else parts.gradients
    return dataclasses.replace(parts, data=data, gradients=gradients, ridge=_rule(parts.ridge)), reasons


def cost_of_everything(model: Model, x: Array, sketch: Sketch | None, memory_limit: int | None) -> str:
    """What features of all points take, in words, from a batch that is run; empty where that is little."""
    n = batches.count(x)
    dim = model.n_parameters if sketch is None else sketch.dim
    nbytes = n * model.n_outputs * dim * itemsize(next(iter(model.parameters.values())))
    if nbytes <= MEMORY:
        return ""
    features = planned_features(model, x, sketch, memory_limit=memory_limit).stage("features", n)
    return (
        f"all {n:,} points are kept: their features take {nbytes / 2**30:.3g} GiB, {features.cost.jacobian_rows:,} "
        f"gradients and about {features.cost.seconds:,.2g} s ({features.basis}), and what is made of them grows with "
        f'the square of the points and more, see plan(x). data="auto" keeps {POINTS}.'
    )


def _points(n: int, seed: int) -> tuple[LastLayer | None, str]:
    if n <= ALL_UP_TO:
        return None, f"points: all {n:,}, since choosing would cost more than it saves"
    return LastLayer(
        KMeans(POINTS, seed=seed), seed=seed
    ), f"points: {POINTS} of {n:,}, by the inputs of the last layer"
