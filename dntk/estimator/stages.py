"""What a fit is made of, and its stages with the parts exactly as they were given."""

import dataclasses
from typing import Literal

from jaxtyping import Float

from dntk import arrays
from dntk.distill.data import DataDistiller, DataSelector, DistilledData
from dntk.distill.gradients import GradientDistiller
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator.points import KeptData, distilled, kept, selected
from dntk.features import TangentFeatures, tangent_features
from dntk.models.base import Model
from dntk.sketch import Sketch, SketchPlan, choose
from dntk.sketch.error import SUBSPACE, StatesError
from dntk.solve._ridge import Ridge
from dntk.types import Array

SMALL = 4096
"""Parameters up to which gradients are kept whole where the sketch is chosen automatically."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The parts of a :class:`dntk.DistilledNTK`, as its constructor describes them."""

    model: Model
    data: DataSelector | DataDistiller | DistilledData | None
    sketch: Sketch | SketchPlan | Literal["auto"] | None
    gradients: GradientDistiller | None
    ridge: Ridge
    seed: int
    tolerance: float | None = None


@dataclasses.dataclass(frozen=True)
class AsGiven:
    """The stages of a fit by the parts of its recipe as they are."""

    recipe: Recipe

    def sketch(self, x: Array) -> Sketch | SketchPlan | None:
        """The sketch that was given, or the one chosen for a relative kernel error of 5%."""
        given = self.recipe.sketch
        return automatic_sketch(self.recipe, x, error=0.05) if isinstance(given, str) else given

    def points(
        self, x: Array, y: Array | None, targets: Float[Array, "n c"], sketch: Sketch | SketchPlan | None
    ) -> KeptData:
        """The points that are kept, all of them, chosen or made, and what they leave of the kernel."""
        data, model = self.recipe.data, self.recipe.model
        if data is None:
            return kept(x, targets)
        if isinstance(data, DataSelector):
            return selected(data, model, x, targets, sketch=sketch)
        return distilled(data, model, x, y, targets, sketch=sketch)

    def features(
        self, points: KeptData, sketch: Sketch | SketchPlan | None
    ) -> tuple[TangentFeatures, Sketch | SketchPlan | None]:
        """Features of the kept points, and the sketch or plan that made them."""
        return tangent_features(self.recipe.model, points.x, sketch=sketch), sketch

    def gradients(self, phi: TangentFeatures, targets: Float[Array, "m c"], _ridge: float) -> DistilledGradients | None:
        """Synthetic gradients, where gradients are distilled; their distiller has a ridge of its own."""
        distiller = self.recipe.gradients
        return None if distiller is None else distiller.distill(phi, targets)


def automatic_sketch(recipe: Recipe, x: Array, *, error: float) -> SketchPlan | None:
    """The plan for the points of the fit; none for small networks, or where it has as many features as parameters."""
    if recipe.model.n_parameters <= SMALL:
        return None
    plan = choose(recipe.model, x, n=x.shape[0], error=error, seed=recipe.seed)
    return plan if plan.candidate.dim < recipe.model.n_parameters else None


def expected_sketch_error(
    sketch: Sketch | SketchPlan | None, phi: TangentFeatures, spectrum: Float[Array, " m"]
) -> float:
    """Root mean square of ‖K̂ − K‖_F/‖K‖_F over seeds, from the spectrum of K̂.

    With sr = tr K/‖K‖_F it is

    - the plan's;
    - √((sr² + 1)/k), that of a Gaussian sketch, for it and for those that keep to its band;
    - at most √V sr for others, of which Var⟨Su, Sv⟩ ≤ V‖u‖²‖v‖² is known.
    """
    if isinstance(sketch, SketchPlan):
        return sketch.expected_error
    if phi.sketch is None:
        return 0.0
    xp = arrays.namespace(spectrum)
    largest = float(spectrum[0])
    if largest == 0:
        return 0.0
    scaled = spectrum / largest
    squared = float(xp.sum(scaled) ** 2 / xp.sum(scaled**2))
    if isinstance(phi.sketch, StatesError):
        known = phi.sketch.error(len(phi))
        if known.measure != SUBSPACE:
            return known.value * float(known.failure * squared) ** 0.5
    return float((squared + 1) / phi.dim) ** 0.5
