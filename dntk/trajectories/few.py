"""What few points say of a kernel at a checkpoint: weighed, or with all others as combinations of them."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk.distill.data import Selection
from dntk.features import TangentFeatures
from dntk.trajectories.held_out import Jackknife
from dntk.trajectories.interpolation import Interpolation, Spread, weighted
from dntk.trajectories.measures import ALIGNMENT, DIMENSION, Measures, calibrated
from dntk.types import Array

Measured = tuple[Float[np.ndarray, " q"], Float[np.ndarray, "g q"]]
"""Quantities, and what held-out points would have them be: by all of these, and without each group."""


@runtime_checkable
class Few(Protocol):
    """Chosen points, which come first, and held-out ones."""

    def measured(self, phi: TangentFeatures, first: TangentFeatures) -> Measured:
        """From their features at a checkpoint and at the first one."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighed:
    """Chosen points stand for as many as they weigh; the alignment, a mean over pairs, comes from held-out ones."""

    measures: Measures
    spread: Spread
    jackknife: Jackknife

    @staticmethod
    def of(measures: Measures, selection: Selection, targets: Array | None, jackknife: Jackknife) -> "Weighed":
        """From the targets of the chosen points."""
        xp = arrays.namespace(selection.weights)
        weights = selection.weights * (jackknife.points / float(xp.sum(selection.weights)))
        return Weighed(measures=measures, spread=weighted(weights, targets), jackknife=jackknife)

    def measured(self, phi: TangentFeatures, first: TangentFeatures) -> Measured:
        """From their features at a checkpoint and at the first one."""
        size = self.spread.root.shape[1]
        value = _spread(self.measures, self.spread, phi[:size], first[:size])
        replicates = self.jackknife.replicates(phi[size : len(phi)], first[size : len(first)])
        value[ALIGNMENT] = replicates[0, ALIGNMENT]
        return value, replicates


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interpolated:
    """All points are combinations of the few with the coefficients of the reference.

    Held-out points judge combinations of the chosen ones alone: of each quantity what they are and what they should be
    differ by as much as what is said of all points does. Then they join: estimates combine both.
    """

    measures: Measures
    every: Spread
    chosen: Spread
    coefficients: Interpolation
    others: Int[Array, " h"]
    jackknife: Jackknife

    @staticmethod
    def of(
        measures: Measures, phi: TangentFeatures, where: Int[Array, " s"], targets: Array | None, jackknife: Jackknife
    ) -> "Interpolated":
        """From features and targets of all points at the reference; ``where`` ends with the held-out ones."""
        size = where.shape[0] - jackknife.size
        chosen = Interpolation.fitted(phi, where[:size])
        return Interpolated(
            measures=measures,
            every=Interpolation.fitted(phi, where).spread(targets),
            chosen=chosen.spread(targets),
            coefficients=chosen,
            others=where[size:],
            jackknife=jackknife,
        )

    def measured(self, phi: TangentFeatures, first: TangentFeatures) -> Measured:
        """From their features at a checkpoint and at the first one."""
        size = self.chosen.root.shape[1]
        mine, then = phi[:size], first[:size]
        found = self.jackknife.replicates(phi[size : len(phi)], first[size : len(first)])
        expected = self.jackknife.replicates(
            self.coefficients.at(self.others, mine), self.coefficients.at(self.others, then)
        )
        judged = _spread(self.measures, self.chosen, mine, then) + found - expected
        return _spread(self.measures, self.every, phi, first), judged


def ends(
    jackknife: Jackknife, now: Measured, then: Measured | None
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Estimates, and the ends of intervals that contain them, from what is measured now and at the reference."""
    value = calibrated(now[0], None if then is None else then[0], jackknife.everywhere)
    _, lower, upper = jackknife.interval(now[1], None if then is None else then[1])
    # Few points miss dimensions, held-out ones as chosen ones do: an interval from them would not hold the truth.
    lower[DIMENSION] = upper[DIMENSION] = float("nan")
    return value, np.minimum(lower, value), np.maximum(upper, value)


def _spread(
    measures: Measures, spread: Spread, phi: TangentFeatures, first: TangentFeatures
) -> Float[np.ndarray, " q"]:
    mine = spread.of(phi)
    xp = arrays.namespace(mine.values)
    found = measures.of(mine, spread.of(first), xp.ones_like(mine.values[0, :, 0]), spread.targets)
    found[ALIGNMENT] *= spread.share
    return found
