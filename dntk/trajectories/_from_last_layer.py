"""A kernel along training where no checkpoint is differentiated at all points: forward passes tell the rest."""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk._progress import task
from dntk.distill.data import Selection
from dntk.distill.data.last_layer import last_layer_features
from dntk.features import TangentFeatures
from dntk.models import batches
from dntk.models.base import Model
from dntk.random import uniforms
from dntk.spectrum import eigenvalues
from dntk.trajectories._run import Run
from dntk.trajectories.gaussian_process import GradientProcess, Told, by_all, by_leading
from dntk.trajectories.held_out import GROUPS, deviation, held_out_points, left_out, outside, require_enough, student
from dntk.trajectories.measures import ALIGNMENT, DIMENSION, Measures
from dntk.trajectories.value import Trajectory, assembled
from dntk.types import Array

Ends = tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"], Float[np.ndarray, " q"]]

_ROWS = 2048
"""Points of which is asked what combinations miss of sums over all."""


def from_last_layer(run: Run, measures: Measures, held_out: int, confidence: float, seed: int) -> Trajectory:
    """The few are differentiated at every checkpoint; all others are told by what enters the last layer there."""
    selection = run.distilled if isinstance(run.distilled, Selection) else _selected(run)
    n, size = batches.count(run.x), len(selection)
    others = held_out_points(selection.indices, n, held_out, seed)
    require_enough(others, size, n)
    chosen = [int(selection.indices[i]) for i in range(size)]
    where, x, _ = run.at([*chosen, *others], selection.indices)
    order = np.argsort(uniforms(seed=seed, stream="trajectory-asked", count=n), kind="stable")
    asked, _, _ = run.at([int(i) for i in order[:_ROWS]], selection.indices)
    judge = _Judge(measures=measures, where=where, size=size, asked=asked, points=n, confidence=confidence)
    targets = None if run.targets is None else arrays.in_float64(run.targets)
    ends, beside, first, outputs = [], [], None, 1
    with task("trajectory", total=len(run.models), unit="checkpoints") as bar:
        for t in bar.over(range(len(run.models))):
            model = run.opened(t)
            phi = run.features(model, x)
            now = judge.told(_inputs(run, model), phi)
            first = now if first is None else first
            ends.append(judge.ends(now, first, targets))
            beside.append(outside(phi, size, n, confidence, seed))
            outputs = phi.n_outputs
    return assembled(
        ends,
        confidence,
        aligned=targets is not None,
        rows=outputs * where.shape[0] * len(run.models),
        all_rows=outputs * n * len(run.models),
        outside=tuple(beside),
        selection=selection,
    )


def _selected(run: Run) -> Selection:
    """By what enters the last layer at the first checkpoint."""
    selector: Any = run.distilled
    found: Selection = selector.select(_seen(run, run.opened(0)))
    return found


def _seen(run: Run, model: Model) -> TangentFeatures:
    return last_layer_features(model, run.x, memory_limit=run.memory_limit)


def _inputs(run: Run, model: Model) -> Float[Array, "n d"]:
    """Of the last layer, and one, of all points, in units of their root mean square."""
    z = arrays.widened(_seen(run, model).values[0, :, :])
    z = z / arrays.largest_magnitude(z)  # which is not zero: one is among them
    return z / float(model.namespace.linalg.vector_norm(z)) * z.shape[0] ** 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pair:
    """What the chosen say of all points at a checkpoint, what the chosen and the held-out ones do, and their kernel.

    ``dimension`` is the effective one by what both say where all directions are asked, and not the leading ones.
    """

    chosen: Told
    every: Told
    dimension: float
    kernel: Float[Array, "s s"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Judge:
    """Held-out points judge what the chosen say, and join them; ``where`` has the chosen first.

    Their own kernel differs from what it should be by as much as that of all points does, quantity by quantity: a
    jackknife over groups of them has the interval. A sum over points, as the alignment's numerator, is put right by
    their mean, and what combinations miss in square is between nothing and twice what the process expects.
    """

    measures: Measures
    where: Int[Array, " s"]
    size: int
    points: int
    asked: Int[Array, " b"]
    confidence: float

    def told(self, inputs: Float[Array, "n d"], phi: TangentFeatures) -> _Pair:
        """From what enters the last layer, and features of the few."""
        joined = arrays.in_float64(phi.joined())
        unit = arrays.largest_magnitude(joined) or 1.0
        kernel = (joined / unit) @ (joined / unit).T
        every = self.where.shape[0]
        chosen, joint, whole = (
            Told(
                process=GradientProcess.fitted(inputs, self.where[:size], kernel[:size, :size], surprise),
                kernel=kernel[:size, :size],
                scale=unit**2,
            )
            for size, surprise in ((self.size, by_leading), (every, by_leading), (every, by_all))
        )
        return _Pair(chosen=chosen, every=joint, dimension=whole.dimension(self.measures), kernel=kernel)

    def ends(self, now: _Pair, first: _Pair, targets: Float[Array, "n c"] | None) -> Ends:
        """Estimates, and the ends of intervals that contain them."""
        value = now.every.measured(self.measures, first.every, targets)
        judged = now.chosen.measured(self.measures, first.chosen, targets) + self._differences(now, first)
        reach = student(self.confidence, GROUPS - 1) * deviation(judged[1:, :])
        lower, upper = np.maximum(judged[0] - reach, 0), judged[0] + reach
        least, most = now.every.eigenvalue_range(self.measures.size)
        lower[:DIMENSION] = np.minimum(lower[:DIMENSION], least)
        upper[:DIMENSION] = np.maximum(upper[:DIMENSION], most)
        value[DIMENSION], lower[DIMENSION], upper[DIMENSION] = now.dimension, math.nan, math.nan
        if targets is not None:
            ends = self._alignment(now, targets, float(value[ALIGNMENT]))
            value[ALIGNMENT], lower[ALIGNMENT], upper[ALIGNMENT] = ends
        return value, np.minimum(lower, value), np.maximum(upper, value)

    def _differences(self, now: _Pair, first: _Pair) -> Float[np.ndarray, "g q"]:
        """By how much held-out points' quantities differ from what they should be: of all, and without each group."""
        unit = first.chosen.scale
        (found, should), (before, then) = (self._held_out(pair, pair.chosen.scale / unit) for pair in (now, first))
        kept = left_out(self.where.shape[0] - self.size)
        differences = np.stack([self._of(found, before, group) - self._of(should, then, group) for group in kept])
        differences[:, :DIMENSION] *= unit
        return differences

    def _held_out(self, pair: _Pair, scale: float) -> tuple[Float[Array, "h h"], Float[Array, "h h"]]:
        """Their kernel, and what it should be."""
        should = pair.chosen.expected(self.where[self.size :])
        return pair.kernel[self.size :, self.size :] * scale, should * scale

    def _of(self, kernel: Float[Array, "h h"], first: Float[Array, "h h"], kept: list[int]) -> Float[np.ndarray, " q"]:
        """Eigenvalues and drift of all points that some of these stand for; a U-statistic of pairs."""
        xp, size = arrays.namespace(kernel), self.measures.size
        where = xp.asarray(kept, device=arrays.device_of(kernel))
        kernel, first = (xp.take(xp.take(k, where, axis=0), where, axis=1) for k in (kernel, first))
        values = eigenvalues(kernel)
        leading = [float(values[i]) * self.points / len(kept) if i < len(kept) else 0.0 for i in range(size)]
        moved, before = (self._squares(k) for k in (kernel - first, first))
        return np.asarray([*leading, 0.0, 0.0, (moved / before) ** 0.5 if before > 0 else 0.0])

    def _squares(self, kernel: Float[Array, "h h"]) -> float:
        """Σ K_ij² over pairs of all points."""
        xp, count = arrays.namespace(kernel), kernel.shape[0]
        same = float(xp.sum(xp.linalg.diagonal(kernel) ** 2))
        others = float(xp.sum(kernel**2)) - same
        return self.points / count * (same + others * (self.points - 1) / (count - 1))

    def _alignment(self, pair: _Pair, targets: Float[Array, "n c"], value: float) -> tuple[float, float, float]:
        """Estimate and ends, from what the chosen and the held-out ones together say it is.

        With G = YᵀPΨ[S] what P says of YᵀΨ and ε = Ψ − PΨ[S], ‖YᵀΨ‖² = ‖G‖² + 2⟨YG, ε⟩ + ‖Yᵀε‖². Held-out points have
        the middle term's mean and spread. The process expects nothing of it, and of the last what it says is missed;
        regression without shrinking, which P is along smooth directions, twice the last with the other sign. So that
        the sum of both is between plus and minus the last, about nothing: held-out points move the estimate from there
        by as much as their spread is less than that.
        """
        told, others = pair.chosen, self.where[self.size :]
        xp = arrays.namespace(pair.kernel)
        known = pair.every.sum_of(targets)
        if not known > 0:
            return value, value, value
        sums = told.process.coefficients.T @ targets
        p, y = (xp.take(a, others, axis=0) for a in (told.process.coefficients, targets))
        off = pair.kernel[self.size :, : self.size] - p @ told.kernel
        each = 2 * (self.points - self.size) * xp.sum((off @ sums) * y, axis=1)
        count = each.shape[0]
        error, middle = float(xp.std(each, correction=1)) / count**0.5, float(xp.mean(each))
        last = told.missed(targets, self.asked)
        share = last**2 / (last**2 + 3 * error**2) if last > 0 else 0.0  # last²/3 is the variance between both ends
        reach = student(self.confidence, count - 1) * error
        at = told.sum_of(targets) + middle
        best, least, most = known + share * (middle + last), at - reach, at + reach + 2 * last
        return max(best, 0.0) / known * value, max(least, 0.0) / known * value, max(most, 0.0) / known * value
