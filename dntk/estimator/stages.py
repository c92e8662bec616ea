"""What a fit is made of, and its stages with the parts exactly as they were given."""

import dataclasses
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float

from dntk.arrays import itemsize
from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.distill.data import DataDistiller, DataSelector, DistilledData, InputSelector, LastLayer
from dntk.distill.gradients import GradientDistiller, Solution
from dntk.distill.gradients.base import TakesKernels, at_ridge
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator.points import KeptPoints, Targets, all_points, chosen_inputs, dim_of, distilled, selected
from dntk.estimator.resumption import NOWHERE, Keep, require_memory
from dntk.features import TangentFeatures
from dntk.models import batches
from dntk.models.base import Model
from dntk.outputs import FeatureOutputs
from dntk.sketch import Sketch, SketchPlan, automatic
from dntk.sketch._mean_kernel import ROWS
from dntk.sketch.resolution import LARGEST, MEMORY
from dntk.solve.problem import RidgeProblem
from dntk.solve.regressions import SEPARATE, Regression
from dntk.solve.rules import Ridge
from dntk.types import Array

_SHARED_POINTS = 2048
"""Rows up to which gradients are distilled by the kernels of the regression; beyond, by fewer eigenpairs."""

GRADIENTS = 40
"""Synthetic gradients per output where their number is left open, about the truncation rank of a class's kernel. One of
them carries the prediction, the others the kernel that trust and uncertainty are measured by."""


CHOOSING = 2048
"""Features of one functional by which points are chosen where the sketch is left open: of all points, not of those
that are kept, and picks need them less exact than a regression."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a :class:`dntk.DistilledNTK`, which describes them."""

    model: Model
    data: DataSelector | InputSelector | DataDistiller | DistilledData | Literal["auto"] | None
    sketch: Sketch | SketchPlan | Literal["auto"] | None
    gradients: GradientDistiller | Literal["auto"] | None
    ridge: Ridge
    seed: int
    regression: Regression = SEPARATE

    def rows(self, points: int) -> tuple[int, int]:
        """Independent problems g, and rows of each, of a regression on so many points."""
        problems = self.regression.problems(self.model.n_outputs)
        return problems, points * self.regression.functionals(self.model.n_outputs) // problems

    def automatic_gradients(self, rows: int) -> int:
        """Synthetic gradients of each problem where their number is left open: as many in all as of separate ones."""
        return min(rows, GRADIENTS * self.model.n_outputs // self.regression.problems(self.model.n_outputs))


@runtime_checkable
class Stages(Protocol):
    """The stages of a fit before its regression, in the order in which they run."""

    @property
    def parts(self) -> Parts:
        """What was given."""

    @property
    def keep(self) -> Keep:
        """Where stages keep what they made."""

    def sketch(self, x: Array) -> Sketch | SketchPlan | None:
        """The sketch to begin with."""

    def points(self, x: Array, y: Array | None, targets: Targets, sketch: Sketch | SketchPlan | None) -> KeptPoints:
        """The points that are kept, and what they leave of the kernel."""

    def features(
        self, points: KeptPoints, sketch: Sketch | SketchPlan | None
    ) -> tuple[TangentFeatures, Sketch | SketchPlan | None]:
        """Features of the kept points, and the sketch or plan that made them."""

    def gradients(
        self, phi: TangentFeatures, targets: Float[Array, "m c"], ridge: float, problem: RidgeProblem
    ) -> DistilledGradients | None:
        """Synthetic gradients for this regression with this λ; None where gradients are not distilled."""

    def outcome(self) -> ToleranceOutcome | None:
        """Whether a tolerance was met, once all stages have run; None where none was asked for."""


@dataclasses.dataclass(frozen=True)
class AsGiven:
    """The stages of a fit by its parts as they are."""

    parts: Parts
    keep: Keep = NOWHERE

    def sketch(self, x: Array) -> Sketch | SketchPlan | None:
        """The sketch that was given, or the one chosen for as many points as are kept."""
        given = self.parts.sketch
        if isinstance(given, str):
            kept = kept_count(self.parts.data, batches.count(x))
            rows, room = self.parts.rows(kept)[1], self._room(kept)
            outputs: FeatureOutputs = "each" if self.parts.regression.of_outputs else "sum"
            return automatic(
                self.parts.model, x, n=rows, outputs=outputs, seed=self.parts.seed, memory=room * rows // kept
            )
        return given

    def _room(self, points: int) -> int:
        """Bytes of features up to which an automatic sketch grows, so that the algebra is within the memory limit."""
        model, limit = self.parts.model, self.keep.memory_limit
        like = next(iter(model.parameters.values()))
        feature = points * self.parts.regression.functionals(model.n_outputs) * itemsize(like)
        dim = LARGEST
        while limit is not None and dim > 1 and self._algebra_bytes(points, dim, like) > limit:
            dim //= 2
        return min(MEMORY, dim * feature)

    def choosing(self, sketch: Sketch | SketchPlan | None) -> Sketch | SketchPlan | None:
        """The sketch by which points are chosen among all: of one that was left open no more features than it takes."""
        if not isinstance(self.parts.sketch, str) or not isinstance(sketch, SketchPlan):
            return sketch
        plain: Any = sketch.sketch
        return dataclasses.replace(plain, dim=min(plain.dim, CHOOSING))

    def points(self, x: Array, y: Array | None, targets: Targets, sketch: Sketch | SketchPlan | None) -> KeptPoints:
        """The points that are kept, all of them, chosen or made, and what they leave of the kernel."""
        data, model = self.parts.data, self.parts.model
        assert not isinstance(data, str)  # settled before
        if data is None:
            return all_points(x, targets, self.keep.client)
        if isinstance(data, InputSelector):
            return chosen_inputs(data, model, x, targets, keep=self.keep)
        if isinstance(data, DataSelector):
            return selected(data.select, model, x, targets, sketch=self.choosing(sketch), keep=self.keep)
        return distilled(data, model, x, y, targets, sketch=sketch, keep=self.keep)

    def features(
        self, points: KeptPoints, sketch: Sketch | SketchPlan | None
    ) -> tuple[TangentFeatures, Sketch | SketchPlan | None]:
        """Features of the kept points, and the sketch or plan that made them."""
        model, m = self.parts.model, points.targets.shape[0]
        dim = dim_of(sketch, model)
        self.require_algebra(m, dim, points.targets)
        differentiated, at = self.parts.regression.differentiated(model, points.x)
        return self.keep.features("features", differentiated, at, sketch=sketch), sketch

    def require_algebra(self, points: int, dim: int, like: Array) -> int:
        """Bytes of features with their batches; and in float64 of one output of them, and a few matrices per output.

        Raises
        ------
        ValueError
            The memory limit is less.
        """
        needed = self._algebra_bytes(points, dim, like)
        require_memory(self.keep.memory_limit, needed, "features and kernels", "Keep fewer points, or pass a sketch.")
        return needed

    def _algebra_bytes(self, points: int, dim: int, like: Array) -> int:
        problems, rows = self.parts.rows(points)
        side, across = min(rows, dim), min(ROWS, problems * rows)
        needed = 2 * itemsize(like) * problems * rows * dim
        return needed + 8 * (2 * rows * dim + 4 * problems * side**2 + 2 * across**2)

    def gradients(
        self, phi: TangentFeatures, targets: Float[Array, "m c"], ridge: float, problem: RidgeProblem
    ) -> DistilledGradients | None:
        """Synthetic gradients where gradients are distilled, for λ unless their distiller was given its own."""
        distiller = self.parts.gradients
        if isinstance(distiller, str):
            distiller = Solution(self.parts.automatic_gradients(len(phi)), seed=self.parts.seed)
        if distiller is None:
            return None
        settled = at_ridge(distiller, ridge)
        return self.keep.gradients(phi, lambda: _distilled_of(settled, phi, targets, problem))

    def outcome(self) -> None:
        """No tolerance was asked for."""


def _distilled_of(
    distiller: GradientDistiller, phi: TangentFeatures, targets: Float[Array, "m c"], problem: RidgeProblem
) -> DistilledGradients:
    """By the kernels of the regression, where it has formed them and is small."""
    if isinstance(distiller, TakesKernels) and problem.dual and problem.points <= _SHARED_POINTS:
        return distiller.distill_by(phi, targets, problem.gram)
    return distiller.distill(phi, targets)


def kept_count(data: Any, n: int) -> int:
    """How many points a part keeps of n, as far as it says."""
    inner = data.selector if isinstance(data, LastLayer) else data
    if isinstance(inner, DataSelector):
        return min(n, inner.size)
    return len(inner) if isinstance(inner, DistilledData) else n
