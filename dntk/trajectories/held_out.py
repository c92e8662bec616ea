"""Intervals from points that were held out of the choice: a delete-group jackknife of the calibrated ratio."""

import dataclasses
import statistics

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Intervals
from dntk.certificates import sampled_mean, tangent_residual
from dntk.distilled_gradients import row_basis
from dntk.features import TangentFeatures
from dntk.random import uniforms
from dntk.trajectories.measures import Measures, calibrated
from dntk.types import Array

GROUPS = 16
"""Groups of the jackknife, each left out once."""

LEAST = 2 * GROUPS
"""Held-out points, and probes, of which a spread is believed."""


def held_out_points(chosen: Int[Array, " m"], points: int, size: int, seed: int) -> list[int]:
    """Uniform draw of ``size`` points that were not chosen, in random order; all of them where there are no more."""
    taken = np.ones(points, dtype=bool)
    taken[np.asarray(backend_of(chosen).to_numpy(chosen))] = False
    rest = np.flatnonzero(taken)
    order = np.argsort(uniforms(seed=seed, stream="trajectory-held-out", count=len(rest)), kind="stable")
    return [int(i) for i in rest[order[:size]]]


def require_enough(others: list[int], chosen: int, points: int) -> None:
    """Raise where too few are left to hold out."""
    if len(others) < LEAST:
        msg = f"{chosen} of {points} points are distilled, which leaves {len(others)} to hold out: at least {LEAST}."
        raise ValueError(msg + " Choose fewer points, or pass distilled=None.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jackknife:
    """Replicates of every quantity, each without one group of the ``size`` held-out points; all of these first."""

    measures: Measures
    points: int
    size: int
    targets: Float[Array, "h c"] | None
    everywhere: Float[np.ndarray, " q"] | None
    confidence: float

    def replicates(self, phi: TangentFeatures, first: TangentFeatures) -> Float[np.ndarray, "g q"]:
        """Quantities of all held-out points, and without each group."""
        xp, n = arrays.namespace(phi.values), len(phi)
        place = {"dtype": phi.values.dtype, "device": arrays.device_of(phi.values)}
        found = []
        for kept in left_out(n):
            where = xp.asarray(kept, device=arrays.device_of(phi.values))
            y = None if self.targets is None else xp.take(self.targets, where, axis=0)
            found.append(
                self.measures.of(phi[where], first[where], xp.full(len(kept), self.points / len(kept), **place), y)
            )
        return np.stack(found)

    def interval(
        self, now: Float[np.ndarray, "g q"], at_reference: Float[np.ndarray, "g q"] | None
    ) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
        """The calibrated value of the held-out points, and Student's t times its jackknife deviation to both sides."""
        known = [None] * len(now) if at_reference is None else list(at_reference)
        moved = np.stack([calibrated(row, then, self.everywhere) for row, then in zip(now, known, strict=True)])
        reach = student(self.confidence, GROUPS - 1) * deviation(moved[1:])
        return moved[0], np.maximum(moved[0] - reach, 0), moved[0] + reach


def left_out(points: int) -> list[list[int]]:
    """All of the points, then all without each group."""
    return [[i for i in range(points) if i % GROUPS != group] for group in range(-1, GROUPS)]


def deviation(without: Float[np.ndarray, "g q"]) -> Float[np.ndarray, " q"]:
    """Of a statistic, by a delete-group jackknife, from its values without each group."""
    largest = np.max(np.abs(without), axis=0)
    unit = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)  # squares of eigenvalues may leave the range
    apart = without / unit - np.mean(without / unit, axis=0)
    return np.asarray(unit * np.sqrt((GROUPS - 1) / GROUPS * np.sum(apart**2, axis=0)))


def outside(phi: TangentFeatures, size: int, n: int, confidence: float, seed: int) -> Intervals:
    """Mean tangent residual of points that were not chosen, in the span of the first ``size``, which were."""
    residual = tangent_residual(phi[size : len(phi)], row_basis(phi.values[:, :size, :]))
    return sampled_mean(residual, n - size, confidence=confidence, what="points that were not chosen", seed=seed)


def student(confidence: float, freedom: int) -> float:
    """Two-sided quantile of Student's t by Hill's expansion (1970, Cornish-Fisher); to 1e-3 from 15 degrees on."""
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return z + first + second + third
