"""k-means of features on the disk: a pass over the chunks for every pass over the points, O(n + m·d) of memory."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from dntk import arrays
from dntk.backend import backend_of
from dntk.distill.data._lloyd import GAIN, PASSES, assigned, chosen_to_seed, divided, seeds, sums
from dntk.features import StoredFeatures, TangentFeatures
from dntk.features.passes import added, folded
from dntk.types import Array

_PASS = "k-means"


@dataclasses.dataclass(frozen=True, eq=False)
class StoredPoints:
    """Points to be clustered: joined features in units of ``largest``; ``short`` is what is clustered of them."""

    phi: StoredFeatures
    largest: float
    short: Callable[[Float[Array, "b d"]], Float[Array, "b q"]]

    @staticmethod
    def of(phi: StoredFeatures, short: Callable[[Array], Array]) -> "StoredPoints":
        """Those of some features; one pass."""
        largest = folded(phi, _largest, max, name=_PASS)
        return StoredPoints(phi, largest, short)

    def rows(self, positions: npt.NDArray[np.int64]) -> Float[Array, "b d"]:
        """Some points."""
        return _scaled(self.phi[positions], self.largest)

    def clusters(self, size: int, *, seed: int, fixed: Float[Array, "g q"] | None) -> npt.NDArray[np.int64]:
        """As :func:`dntk.distill.data._lloyd.clusters`."""
        middle = self._short_sum(lambda short: arrays.in_float64(short)) / len(self.phi)
        first = self.short(self.rows(chosen_to_seed(len(self.phi), size, seed)))
        xp = arrays.namespace(first)
        middle = xp.astype(middle, first.dtype)
        fixed = first[:0, :] if fixed is None else fixed - middle
        centres = xp.concat([seeds(first - middle, size, seed, fixed), fixed])
        free = centres.shape[0] - fixed.shape[0]
        squared = float(xp.sum(self._short_sum(lambda short: arrays.in_float64(short - middle) ** 2)))
        found = self._assigned(centres, middle)
        for _ in range(PASSES - 1):
            before = squared - found.near
            centres = xp.concat([divided(found.sums, found.sizes, centres)[:free, :], fixed])
            found = self._assigned(centres, middle)
            if not squared - found.near < (1 - GAIN) * before:
                break
        labels = np.asarray(backend_of(found.labels).to_numpy(found.labels), dtype=np.int64)
        return np.where(labels < free, labels, size)

    def means(self, labels: npt.NDArray[np.int64], size: int) -> Float[Array, "m d"]:
        """Mean of every cluster's points, zero where it has none; one pass."""
        largest, own = self.largest, self._beside(labels)
        total, counts = folded(
            self.phi,
            lambda part, which: _wide(sums(_scaled(part, largest), which, size)),
            _pairs,
            name=_PASS,
            along=own,
        )
        like = self.phi.sample.joined()
        place = {"dtype": like.dtype, "device": arrays.device_of(like)}
        return divided(total, counts, arrays.namespace(like).zeros((size, like.shape[1]), **place))

    def distances(self, centres: Float[Array, "m d"], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Squared distance of every point to the centre of its cluster, on the host; one pass."""
        largest, xp = self.largest, arrays.namespace(centres)

        def of_chunk(part: TangentFeatures, which: Int[Array, " b"]) -> Float[Array, " b"]:
            offsets = _scaled(part, largest) - xp.take(centres, which, axis=0)
            return xp.sum(offsets * offsets, axis=1)

        found = folded(self.phi, of_chunk, _behind, name=_PASS, along=self._beside(labels))
        return np.asarray(backend_of(found).to_numpy(found), dtype=np.float64)

    def _beside(self, labels: npt.NDArray[np.int64]) -> tuple[Array]:
        like = self.phi.sample.values
        return (backend_of(like).from_numpy(labels, device=arrays.device_of(like)),)

    def _short_sum(self, of: Callable[[Array], Array]) -> Float[Array, "1 q"]:
        largest, short = self.largest, self.short

        def total(part: TangentFeatures) -> Array:
            values = of(short(_scaled(part, largest)))
            return arrays.namespace(values).sum(values, axis=0, keepdims=True)

        return folded(self.phi, total, added, name=_PASS)

    def _assigned(self, centres: Float[Array, "m q"], middle: Float[Array, "1 q"]) -> "_Assigned":
        largest, short = self.largest, self.short

        def of_chunk(part: TangentFeatures) -> _Assigned:
            points = short(_scaled(part, largest)) - middle
            labels, near = assigned(points, centres)
            return _Assigned(labels, near, *_wide(sums(points, labels, centres.shape[0])))

        return folded(self.phi, of_chunk, _Assigned.merged, name=_PASS)


@dataclasses.dataclass(frozen=True)
class _Assigned:
    """Nearest centres of some points, how near they are, and sums and numbers of the points of every cluster."""

    labels: Int[Array, " n"]
    near: float
    sums: Float[Array, "m q"]
    sizes: Float[Array, "m 1"]

    def merged(self, other: "_Assigned") -> "_Assigned":
        """Of the points of both, these first."""
        labels = _behind(self.labels, other.labels)
        return _Assigned(labels, self.near + other.near, self.sums + other.sums, self.sizes + other.sizes)


def _scaled(part: TangentFeatures, largest: float) -> Float[Array, "b d"]:
    points = part.joined()
    return points / largest if largest > 0 else points


def _largest(part: TangentFeatures) -> float:
    points = part.joined()
    xp = arrays.namespace(points)
    return float(xp.max(xp.abs(points)))


def _wide(pair: tuple[Array, Array]) -> tuple[Array, Array]:
    return arrays.in_float64(pair[0]), arrays.in_float64(pair[1])


def _pairs(left: Any, right: Any) -> tuple[Array, Array]:
    return left[0] + right[0], left[1] + right[1]


def _behind(left: Array, right: Array) -> Array:
    return arrays.namespace(left, right).concat([left, right])
