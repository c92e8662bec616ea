"""Features of all points for selectors that look at every point after every pick; in memory, or by passes."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from dntk import arrays
from dntk.distill.data.given import Given
from dntk.features import StoredFeatures, TangentFeatures
from dntk.features.passes import of_rows, sum_of_rows
from dntk.ledger import count
from dntk.types import Array

_BLOCK = 64
"""Given points to which distances are computed at once."""


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureRows:
    """Features F (n, d) with K̄ = F Fᵀ, in float64 where the device has it, and distances in the metric of K̄.

    Parameters
    ----------
    phi
        The features as they were given.
    whole
        All rows; None where they are on the disk: then whatever looks at all of them is a pass.
    squared
        K̄(x, x) of every point.
    """

    phi: TangentFeatures
    whole: Float[Array, "n d"] | None
    squared: Float[Array, " n"]

    @classmethod
    def of(cls, phi: TangentFeatures) -> "FeatureRows":
        """Those of some features."""
        whole = None if isinstance(phi, StoredFeatures) else arrays.in_float64(phi.joined())
        xp = arrays.namespace(phi.sample.values)
        return cls(phi, whole, _of_all(phi, whole, lambda rows: xp.sum(rows * rows, axis=1)))

    def of_all(self, make: Callable[[Float[Array, "b d"]], Array]) -> Array:
        """Something of every point."""
        return _of_all(self.phi, self.whole, make)

    def row(self, point: int) -> Float[Array, " d"]:
        """Features of one point."""
        if self.whole is not None:
            return self.whole[point, :]
        return arrays.in_float64(self.phi[np.asarray([point])].joined())[0, :]

    def mean(self) -> Float[Array, " d"]:
        """Mean of all features."""
        if self.whole is not None:
            return arrays.namespace(self.whole).mean(self.whole, axis=0)
        xp = arrays.namespace(self.squared)
        return sum_of_rows(self.phi, lambda rows: xp.sum(rows, axis=0), name="mean of features") / len(self.phi)

    @property
    def dim(self) -> int:
        """Number d of features of a point."""
        return self.phi.n_outputs * self.phi.dim

    @property
    def noise(self) -> float:
        """A squared distance that may be rounding: max(n, d) · eps · max K̄(x, x)."""
        largest = float(arrays.namespace(self.squared).max(self.squared))
        return max(len(self.phi), self.dim) * arrays.epsilon(self.squared) * largest

    def distances(self, row: Float[Array, " d"]) -> Float[Array, " n"]:
        """Squared distance of every point to one; what may be rounding is zero."""
        xp = arrays.namespace(row)
        found = self.squared - 2 * self.of_all(lambda rows: rows @ row) + xp.sum(row * row)
        return xp.where(found > self.noise, found, xp.zeros_like(found))

    def nearest(self, rows: Float[Array, "g d"]) -> tuple[Float[Array, " n"], Int[Array, " n"]]:
        """Squared distance of every point to the nearest of some others, and which that is."""
        xp, half = arrays.namespace(rows), arrays.namespace(rows).sum(rows * rows, axis=1) / 2
        noise = max(self.noise, max(rows.shape) * arrays.epsilon(rows) * 2 * float(xp.max(half)))

        def block(start: int, stop: int) -> tuple[Array, Array]:
            near, offset = rows[start:stop, :], half[start:stop]
            scores = self.of_all(lambda own: own @ near.T - offset)
            return xp.max(scores, axis=1), arrays.first_largest(scores) + start

        (first, last), *others = arrays.spans(rows.shape[0], _BLOCK)
        best, owner = block(first, last)
        for start, stop in others:
            score, which = block(start, stop)
            owner = xp.where(score > best, which, owner)
            best = xp.maximum(best, score)
        found = self.squared - 2 * best
        return xp.where(found > noise, found, xp.zeros_like(found)), owner

    def free(self, given: Given | None) -> Bool[Array, " n"]:
        """Which points may be chosen."""
        xp = arrays.namespace(self.squared)
        if given is None:
            return xp.ones(len(self.phi), dtype=xp.bool, device=arrays.device_of(self.squared))
        return xp.logical_not(given.mask(self.squared))


def _of_all(phi: TangentFeatures, whole: Array | None, make: Callable[[Float[Array, "b d"]], Array]) -> Array:
    if whole is not None:
        count(flops=2 * whole.shape[0] * whole.shape[1])
        return make(whole)
    count(flops=2 * len(phi) * phi.n_outputs * phi.dim)
    return of_rows(phi, make, name="pass over features")
