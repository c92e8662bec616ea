"""The smallest points, features and gradients whose losses are within a tolerance: the stages of a fit, searched.

A tolerance τ is relative. Of the kernel's trace, points that are dropped and directions that are dropped may lose τ
together: the points half of it where their number can grow, the gradients what the points have left. The sketched
kernel may differ from the exact one by τ in relative Frobenius norm, with 95% confidence over seeds. Losses of points
are measured (relative trace residual of the selecting kernel), those of sketches expected from second moments, those
of gradients certified (the trace error of the certificate over the trace).
"""

import dataclasses
import math
from typing import Any

from jaxtyping import Float

from dntk._checks import share
from dntk.arrays import itemsize
from dntk.certificates import certified_trace_loss
from dntk.certificates.tolerance_outcome import StageShare, ToleranceOutcome
from dntk.distill.data import DataSelector
from dntk.distill.gradients import Solution
from dntk.distill.gradients.base import at_ridge
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator.losses import expected_sketch_error
from dntk.estimator.points import KeptPoints, Targets, of_selection
from dntk.estimator.search import FIRST, fewest, resized, shortest
from dntk.estimator.stages import AsGiven, Parts
from dntk.features import TangentFeatures, tangent_features
from dntk.models import batches
from dntk.sketch import Sketch, SketchPlan, SparseSign, choose
from dntk.sketch.choice import deviations
from dntk.sketch.error import SUBSPACE, StatesError
from dntk.sketch.resolution import SMALL
from dntk.spectrum import eigenvalues
from dntk.types import Array

CONFIDENCE = 0.95
"""With which a sketched kernel is within the tolerance."""
LARGEST = 2**32
"""Bytes of features that a search makes at most."""
_DATA = "of the selecting kernel's trace"
_SKETCH = f"of the kernel's Frobenius norm, with confidence {CONFIDENCE:g}"
_GRADIENTS = "of the kernel's trace"


class WithinTolerance:
    """The stages of a fit with the smallest sizes that were found to lose no more than the tolerance.

    Sizes of the parts given are where the search begins; a part without size is used as it is. Sizes are doubled until
    they do, then halved in between; losses are taken to fall with size. :meth:`outcome` tells what was found.
    """

    def __init__(self, parts: Parts, tolerance: float) -> None:
        self.parts, self.tolerance = parts, tolerance
        self._given = AsGiven(parts)
        self._shares: dict[str, StageShare] = {}

    def outcome(self) -> ToleranceOutcome:
        """What every stage lost and may lose."""
        order = ("data", "sketch", "gradients")
        return ToleranceOutcome(tolerance=self.tolerance, shares=tuple(self._shares[name] for name in order))

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
        """All points, or the first of a selector's that leave half the tolerance; others as they are given."""
        data = self.parts.data
        if not isinstance(data, DataSelector) or resized(data, 1) is None:
            kept = self._given.points(x, y, targets, sketch)
            remedy = f"pass a larger {type(data).__name__}, or a selector such as RPCholesky(100), which grows"
            if kept.residual is None:
                msg = f"a tolerance needs points whose loss is known: pass data=RPCholesky(100) instead of {data!r}."
                raise ValueError(msg)
            self._note("data", kept.residual, self.tolerance, kept.targets.shape[0], _DATA, remedy)
            return kept
        phi = tangent_features(self.parts.model, x, sketch=sketch, outputs="sum")
        selection = shortest(data, phi, self.tolerance / 2)
        kept = of_selection(selection, x, targets)
        remedy = "all points are kept, and what is left is rounding: pass a larger tolerance"
        self._note("data", kept.residual or 0.0, self.tolerance / 2, len(selection), _DATA, remedy)
        return kept

    def features(
        self, points: KeptPoints, sketch: Sketch | SketchPlan | None
    ) -> tuple[TangentFeatures, Sketch | SketchPlan | None]:
        """Features of the kept points by a sketch that is large enough; a larger one takes a pass of its own."""
        phi, sketch = self._given.features(points, sketch)
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
        self._note("sketch", loss, self.tolerance, phi.dim, _SKETCH, remedy)
        return phi, sketch

    def gradients(self, phi: TangentFeatures, targets: Float[Array, "m c"], ridge: float) -> DistilledGradients:
        """The fewest synthetic gradients that lose no more than what the points have left; features are reused."""
        given = self.parts.gradients
        assert not isinstance(given, str)  # settled before
        distiller = at_ridge(Solution(FIRST) if given is None else given, ridge)
        lost = self._shares["data"].loss
        allowed = self.tolerance - lost if lost < self.tolerance else self.tolerance / 2
        grads = fewest(distiller, phi, targets, allowed)
        remedy = (
            f"a {type(distiller).__name__} has no size that grows: pass another, such as Solution(8)"
            if resized(distiller, 1) is None
            else "all directions are kept, and what is lost is rounding: pass a larger tolerance"
            if grads.size >= min(len(phi), phi.dim)
            else f"more gradients are not found by {type(distiller).__name__}: pass another, such as Solution(8)"
        )
        self._note("gradients", certified_trace_loss(phi, grads), allowed, grads.size, _GRADIENTS, remedy)
        return grads

    def _note(self, stage: str, loss: float, allowed: float, size: int, measure: str, remedy: str) -> None:
        self._shares[stage] = StageShare(
            stage=stage, loss=loss, allowed=allowed, size=size, measure=measure, remedy=remedy if loss > allowed else ""
        )

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


def _grows(sketch: Any) -> bool:
    """Whether a larger sketch of the family has a smaller error, as a Gaussian one has."""
    if not isinstance(sketch, StatesError) or not dataclasses.is_dataclass(sketch):
        return False
    return sketch.error(1).measure == SUBSPACE and "dim" in {field.name for field in dataclasses.fields(sketch)}


def check_tolerance(tolerance: Any) -> None:
    """Raise ``ValueError`` unless it is None or a number strictly between 0 and 1."""
    if tolerance is not None:
        share("tolerance", tolerance, remedy="use for example 0.05, or None")
