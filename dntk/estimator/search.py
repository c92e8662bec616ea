"""Searches for the smallest size that loses no more than is allowed: by doubling, then bisection."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from dntk.backend import backend_of
from dntk.distill.data import DataSelector, Selection
from dntk.distill.gradients import GradientDistiller
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator.frame import Frame
from dntk.estimator.trace_loss import Loss, LossOf
from dntk.features import TangentFeatures
from dntk.types import Array

FIRST = 8
"""Gradients that are tried first where the distiller has no size yet."""


def smallest(meets: Callable[[int], bool], *, first: int, most: int) -> int | None:
    """Least size of 1 to ``most`` that meets, by doubling and bisection; None where ``most`` does not.

    Sizes above one that meets are taken to meet, too.
    """
    low, high = 0, min(first, most)
    while not meets(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        if meets(middle):
            high = middle
        else:
            low = middle
    return high


def shortest(selector: DataSelector, phi: TangentFeatures, allowed: float) -> Selection:
    """The first picks that leave at most the allowed share of the trace, or all; the selector's size is doubled."""
    size, points = min(selector.size, len(phi)), len(phi)
    while True:
        grown: DataSelector = resized(selector, size)
        selection = grown.select(phi)
        left = np.asarray(backend_of(selection.residual_trace).to_numpy(selection.residual_trace))
        enough = np.flatnonzero(left <= allowed * selection.trace)
        if enough.size:
            return selection.first(int(enough[0]) + 1)
        if size == points:
            return selection
        size = min(2 * size, points)


def fewest(
    distiller: GradientDistiller, frame: Frame, targets: Float[Array, "m c"], loss: LossOf, allowed: float
) -> tuple[DistilledGradients, Loss]:
    """The fewest gradients whose loss has its upper end within what is allowed, or the most that there are.

    Sizes are tried in the coordinates of the frame: what a distiller does depends on kernels alone.
    """

    def grown(size: int, phi: TangentFeatures) -> tuple[DistilledGradients, Loss]:
        one: GradientDistiller = distiller if fixed else resized(distiller, size)
        grads = one.distill(phi, targets)
        return grads, loss(grads.basis)

    phi, fixed = frame.kept, resized(distiller, 1) is None
    most = min(len(phi), phi.dim)
    if fixed:
        return grown(most, phi)
    turned = frame.turned
    first = getattr(distiller, "size", None) or FIRST
    found = smallest(lambda size: float(grown(size, turned)[1].upper) <= allowed, first=first, most=most)
    size = most if found is None else found
    grads, lost = grown(size, phi)
    while float(lost.upper) > allowed and size < most:  # by rounding, which other coordinates change
        size += 1
        grads, lost = grown(size, phi)
    return grads, lost


def resized(part: Any, size: int) -> Any:
    """The selector or distiller with another size, or the one inside it; None where it has none to set."""
    names = {field.name for field in dataclasses.fields(part)} if dataclasses.is_dataclass(part) else set()
    if "size" in names:
        return dataclasses.replace(part, size=size)
    if "selector" in names:
        inner = resized(part.selector, size)
        return None if inner is None else dataclasses.replace(part, selector=inner)
    return None
