"""The smallest points, features and gradients whose loss is within a tolerance: the stages of a fit, searched.

A tolerance τ is relative, and its promise is one quantity of one kernel: of the trace of K̄, the mean kernel of all
outputs, over all training points, at most τ lies outside the span that is kept. The features are those that are
sketched. :mod:`dntk.estimator.trace_loss` reads all points or bounds it from a sample with 99% confidence, for all
spans that the search may ask about together.

The search is free to err, since its last span is judged: points are added until they are estimated to leave τ/2, then
gradients until the upper end of the loss is within τ. What a sketch changes the kernel by is another statement, and
must be within τ too: expected from second moments, in relative Frobenius norm, with 95% confidence over seeds if errors
have normal tails.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from dntk._checks import share
from dntk.arrays import itemsize
from dntk.backend import backend_of
from dntk.certificates.tolerance_outcome import StageShare, ToleranceOutcome
from dntk.checkpoints import digest
from dntk.distill.data import DataSelector, InputSelector, Selection
from dntk.distill.gradients import Solution
from dntk.distill.gradients.base import at_ridge
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator.frame import Frame
from dntk.estimator.losses import expected_sketch_error
from dntk.estimator.points import KeptPoints, Targets, of_selection
from dntk.estimator.resumption import NOWHERE, Keep
from dntk.estimator.search import FIRST, fewest, resized, shortest
from dntk.estimator.stages import AsGiven, Parts, kept_count
from dntk.estimator.trace_loss import Loss, TraceLoss
from dntk.features import TangentFeatures
from dntk.models import batches
from dntk.models.base import Model
from dntk.sketch import Sketch, SketchPlan, SparseSign, choose
from dntk.sketch.choice import deviations
from dntk.sketch.error import SUBSPACE, StatesError
from dntk.sketch.resolution import SMALL
from dntk.solve.problem import RidgeProblem
from dntk.spectrum import eigenvalues
from dntk.types import Array

CONFIDENCE = 0.95
"""With which a sketched kernel is within the tolerance."""
LARGEST = 2**32
"""Bytes of features that a search makes at most."""
RESOLUTION = 0.25
"""Share of the tolerance that the first sample of points tells apart."""
_DATA = "of the trace, by dropping points"
_SKETCH = f"of the kernel's Frobenius norm, expected with confidence {CONFIDENCE:g}"
_GRADIENTS = "of the trace, by dropping directions"


class WithinTolerance:
    """The stages of a fit with the smallest sizes that were found to lose no more than the tolerance.

    Sizes of the parts given are where the search begins; a part without size is used as it is. Sizes are doubled until
    they do, then halved in between; losses are taken to fall with size. :meth:`outcome` tells what was found.
    """

    def __init__(self, parts: Parts, tolerance: float, keep: Keep = NOWHERE) -> None:
        self.parts, self.tolerance, self.keep = parts, tolerance, keep
        self._given = AsGiven(parts, keep)
        self._shares: dict[str, StageShare] = {}
        self._kept: TangentFeatures | None = None
        self._positions: np.ndarray | None = None
        self._loss: TraceLoss | None = None
        self._found: Loss | None = None

    def outcome(self) -> ToleranceOutcome:
        """What was lost, and by every stage."""
        assert self._found is not None
        order = ("data", "sketch", "gradients")
        return ToleranceOutcome(
            tolerance=self.tolerance,
            loss=self._found.upper,
            mean=self._found.mean,
            shares=tuple(self._shares[name] for name in order),
        )

    def sketch(self, x: Array) -> Sketch | SketchPlan | None:
        """The sketch to begin with: what was given, or the cheapest that is within the tolerance on its network."""
        model, given = self.parts.model, self.parts.sketch
        if isinstance(given, SketchPlan):
            if given.expected_error * deviations(CONFIDENCE) <= self.tolerance:
                return given
            found = choose(model, x, n=given.n, error=self.tolerance, seed=given.sketch.seed)
            return self._fitting(found if found.sketch.dim < model.n_parameters else None, x)
        if isinstance(given, str):
            return self._fitting(self._automatic(x), x)
        return given

    def _automatic(self, x: Array) -> SketchPlan | None:
        """The plan for the tolerance; none for small networks, or where it has as many features as parameters."""
        model = self.parts.model
        if model.n_parameters <= SMALL:
            return None
        plan = choose(model, x, n=batches.count(x), error=self.tolerance, seed=self.parts.seed)
        return plan if plan.sketch.dim < model.n_parameters else None

    def points(self, x: Array, y: Array | None, targets: Targets, sketch: Sketch | SketchPlan | None) -> KeptPoints:
        """All points, or the first of a selector's that are estimated to leave half the tolerance; others as given."""
        data = self.parts.data
        if not isinstance(data, DataSelector | InputSelector) or resized(data, 1) is None:
            kept = self._given.points(x, y, targets, sketch)
            left = self._left(x, kept.x, sketch, kept.indices)
            return kept if data is None else dataclasses.replace(kept, residual=float(left[-1]))
        selection, resize = self._picks(data, x, sketch)
        while True:
            left = self._left(x, batches.take(x, selection.indices), sketch, selection.indices)
            if left[-1] <= self.tolerance / 2 or len(selection) == batches.count(x):
                break
            selection = resize(min(2 * len(selection), batches.count(x)))
        enough = np.flatnonzero(left <= self.tolerance / 2)
        number = int(enough[0]) + 1 if enough.size else len(selection)
        assert self._kept is not None
        assert self._positions is not None
        self._kept, self._positions = self._kept[:number], self._positions[:number]
        return dataclasses.replace(
            of_selection(selection.first(number), x, targets), residual=float(left[min(number, len(left)) - 1])
        )

    def features(
        self, points: KeptPoints, sketch: Sketch | SketchPlan | None
    ) -> tuple[TangentFeatures, Sketch | SketchPlan | None]:
        """Features of the kept points by a sketch that is large enough; a larger one takes a pass of its own."""
        assert self._kept is not None
        phi = self._kept
        loss = self._sketch_loss(sketch, phi)
        while loss > self.tolerance:
            larger = self._larger(sketch, loss, phi)
            if larger is sketch:
                break
            phi, sketch = self._given.features(points, larger)
            loss = self._sketch_loss(sketch, phi)
        remedy = (
            f"more features than {phi.dim} would take more than {LARGEST / 2**30:.3g} GiB: fit fewer points"
            if _grows(phi.sketch) or isinstance(self.parts.sketch, str | SketchPlan)
            else f'a {type(phi.sketch).__name__} has no size that ensures it: pass sketch="auto"'
        )
        self._note("sketch", loss, phi.dim, _SKETCH, remedy if loss > self.tolerance else "")
        return phi, sketch

    def gradients(
        self, phi: TangentFeatures, targets: Float[Array, "m c"], ridge: float, _problem: RidgeProblem
    ) -> DistilledGradients:
        """The fewest synthetic gradients with which the loss is within the tolerance; features are reused."""
        given, found = self.parts.gradients, self._loss
        assert not isinstance(given, str)  # settled before
        assert found is not None
        distiller = at_ridge(Solution(FIRST) if given is None else given, ridge)
        frame = Frame.of(phi)
        found.under(phi.sketch, spans=2 * len(phi))
        while True:
            loss = found.of(frame, self._positions)
            grads, self._found = fewest(distiller, frame, targets, loss, self.tolerance)
            if float(self._found.upper) <= self.tolerance or found.complete:
                break
            found.grow()
        self._blame(distiller, phi, grads, loss(None))
        return grads

    def _blame(self, distiller: Any, phi: TangentFeatures, grads: DistilledGradients, everything: Loss) -> None:
        """Share the loss among points and gradients, and say what would help where it is too large."""
        assert self._found is not None
        assert self._loss is not None
        name, data = type(distiller).__name__, self.parts.data
        stopped = float(self._found.upper) > self.tolerance
        all_kept = self._positions is not None and len(self._positions) == self._loss.points
        by_points = stopped and float(everything.upper) > self.tolerance and not all_kept
        of_points = f"pass a larger {type(data).__name__}, or a selector such as RPCholesky(100), which grows"
        of_gradients = (
            f"a {name} has no size that grows: pass another, such as Solution(8)"
            if resized(distiller, 1) is None
            else "all directions are kept, and what is lost is rounding: pass a larger tolerance"
            if grads.size >= min(len(phi), phi.dim)
            else f"more gradients are not found by {name}: pass another, such as Solution(8)"
        )
        lost = 0.0 if all_kept else everything.mean
        self._note("data", lost, len(phi), _DATA, of_points if by_points else "")
        added = max(0.0, self._found.mean - lost)
        self._note("gradients", added, grads.size, _GRADIENTS, of_gradients if stopped and not by_points else "")

    def _picks(
        self, data: Any, x: Array, sketch: Sketch | SketchPlan | None
    ) -> tuple[Selection, Callable[[int], Selection]]:
        """What a selector picks to begin with, and what picks another number.

        One that sees features of a functional has those made once, and begins with as many as leave half of the
        tolerance of that functional's kernel.
        """
        model = self.parts.model
        if isinstance(data, InputSelector):
            size = min(kept_count(data, batches.count(x)), batches.count(x))
            look = functools.partial(_looked_at, model=model, x=x, keep=self.keep)
            return look(resized(data, size)), lambda number: look(resized(data, number))
        phi = self.keep.features("selecting", model, x, sketch=sketch, outputs="sum")
        return shortest(data, phi, self.tolerance / 2), lambda number: _picked(resized(data, number), phi)

    def _left(self, x: Array, kept: Array, sketch: Sketch | SketchPlan | None, indices: Array | None) -> np.ndarray:
        """What the first of the kept points are estimated to leave, the last entry what all do."""
        positions = None if indices is None else np.asarray(backend_of(indices).to_numpy(indices), dtype=np.int64)
        phi = self._features_of(x, kept, positions, sketch)
        self._kept, self._positions = phi, positions
        if self._loss is None:
            self._loss = TraceLoss(
                self.parts.model,
                x,
                phi.sketch,
                spans=2 * len(phi),
                resolution=RESOLUTION * self.tolerance,
                seed=self.parts.seed,
                all_kept=positions is not None and len(positions) == batches.count(x),
                client=self.keep.client,
            )
        return self._loss.by_size(phi)

    def _features_of(
        self, x: Array, kept: Array, positions: np.ndarray | None, sketch: Sketch | SketchPlan | None
    ) -> TangentFeatures:
        """Features of kept points; those that are known already are not made again."""
        known, model = self._positions, self.parts.model
        if self._kept is None or known is None or positions is None:
            return self.keep.features(f"searched-{digest(positions)}", model, kept, sketch=sketch)
        place = {int(position): i for i, position in enumerate(known)}
        fresh = np.asarray([position for position in positions if int(position) not in place], dtype=np.int64)
        phi = self._kept
        if fresh.size:
            name = f"searched-{digest(fresh)}"
            more = self.keep.features(name, model, batches.take(x, fresh), sketch=sketch)
            place |= {int(position): len(known) + j for j, position in enumerate(fresh)}
            phi = dataclasses.replace(phi, values=model.namespace.concat([phi.values, more.values], axis=1))
        return phi[[place[int(position)] for position in positions]]

    def _note(self, stage: str, loss: float, size: int, measure: str, remedy: str) -> None:
        self._shares[stage] = StageShare(stage=stage, loss=loss, size=size, measure=measure, remedy=remedy)

    def _sketch_loss(self, sketch: Sketch | SketchPlan | None, phi: TangentFeatures) -> float:
        if phi.sketch is None:
            return 0.0
        return deviations(CONFIDENCE) * expected_sketch_error(sketch, phi, eigenvalues(phi))

    def _fitting(self, plan: SketchPlan | None, x: Array) -> Sketch | SketchPlan | None:
        """The plan, or all parameters, or the largest sketch whose features fit into memory."""
        model = self.parts.model
        rows = batches.count(x) * (model.n_outputs if self.parts.data is None else 1)
        most = max(1, LARGEST // (rows * itemsize(next(iter(model.parameters.values())))))
        needed = model.n_parameters if plan is None else plan.sketch.dim
        return plan if needed <= most else SparseSign(2 ** (most.bit_length() - 1), seed=self.parts.seed)

    def _larger(
        self, sketch: Sketch | SketchPlan | None, loss: float, phi: TangentFeatures
    ) -> Sketch | SketchPlan | None:
        """A sketch doubled as often as its error asks for, none where that is all parameters; itself if it cannot."""
        if isinstance(sketch, SketchPlan) or not _grows(phi.sketch):
            return sketch
        given: Any = sketch
        most = LARGEST // (phi.n_outputs * len(phi) * itemsize(phi.values))
        dim = given.dim * 2 ** max(1, math.ceil(2 * math.log2(loss / self.tolerance)))
        parameters = self.parts.model.n_parameters
        if dim >= parameters and parameters <= most:
            return None
        while dim > most:
            dim //= 2
        return dataclasses.replace(given, dim=dim) if dim > given.dim else sketch


def _picked(selector: DataSelector, phi: TangentFeatures) -> Selection:
    return selector.select(phi)


def _looked_at(selector: InputSelector, model: Model, x: Array, keep: Keep) -> Selection:
    return selector.select_inputs(model, x, **keep.limited(selector.select_inputs))


def _grows(sketch: Any) -> bool:
    """Whether a larger sketch of the family has a smaller error, as a Gaussian one has."""
    if not isinstance(sketch, StatesError) or not dataclasses.is_dataclass(sketch):
        return False
    return sketch.error(1).measure == SUBSPACE and "dim" in {field.name for field in dataclasses.fields(sketch)}


def check_tolerance(tolerance: Any) -> None:
    """Raise ``ValueError`` unless it is None or a number strictly between 0 and 1."""
    if tolerance is not None:
        share("tolerance", tolerance, remedy="use for example 0.05, or None")
