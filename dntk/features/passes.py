"""Passes over features: in memory at once, from the disk chunk by chunk, by the workers of a cluster if there is one.

What is made of a chunk does not depend on who makes it, nor does the order in which results meet: the bits are those
of one process. Functions that are passed here go to workers: they hold no more than they need.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jaxtyping import Float

from dntk import arrays
from dntk.features.in_memory import TangentFeatures
from dntk.features.paired import rows_of
from dntk.features.stored import StoredFeatures
from dntk.types import Array

P = TypeVar("P")


def folded(
    phi: TangentFeatures,
    leaf: Callable[..., P],
    merge: Callable[[P, P], P],
    *,
    name: str,
    along: Sequence[Array] = (),
) -> P:
    """As :meth:`StoredFeatures.folded`, of features in memory, too, which are one part."""
    if isinstance(phi, StoredFeatures):
        return phi.folded(leaf, merge, name=name, along=along)
    return leaf(phi, *(rows_of(one, 0, len(phi)) for one in along))


def of_points(phi: TangentFeatures, make: Callable[[TangentFeatures], Array], *, name: str, axis: int = 0) -> Array:
    """What ``make`` makes of all points, which it has on this axis, chunk by chunk."""
    return folded(phi, make, Joined(axis), name=name)


def of_rows(phi: TangentFeatures, make: Callable[[Float[Array, "b d"]], Array], *, name: str) -> Array:
    """The same of the features F with K̄ = F Fᵀ, in float64 where the device has it."""
    return of_points(phi, _OfRows(make), name=name)


def sum_of_rows(phi: TangentFeatures, make: Callable[[Float[Array, "b d"]], Array], *, name: str) -> Array:
    """The sum of what ``make`` makes of these of every chunk."""
    return folded(phi, _OfRows(make), added, name=name)


def added(left: Any, right: Any) -> Any:
    """The sum of two results."""
    return left + right


@dataclasses.dataclass(frozen=True)
class Joined:
    """Two results behind each other."""

    axis: int

    def __call__(self, left: Array, right: Array) -> Array:
        """Both as one."""
        return arrays.namespace(left, right).concat([left, right], axis=self.axis)


@dataclasses.dataclass(frozen=True)
class _OfRows:
    """What ``make`` makes of the joined features of a chunk."""

    make: Callable[[Float[Array, "b d"]], Array]

    def __call__(self, part: TangentFeatures) -> Array:
        return self.make(arrays.in_float64(part.joined()))
