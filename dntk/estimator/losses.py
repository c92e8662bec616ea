"""The measured statement of what was lost."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk._text import printable
from dntk.features import TangentFeatures
from dntk.sketch import Sketch, SketchPlan
from dntk.sketch._mean_kernel import mean_kernel_error
from dntk.sketch.error import SUBSPACE, StatesError
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses:
    """What each stage of a fit lost, measured where the stage ran.

    Parameters
    ----------
    points, kept_points
        n and m.
    data_trace_residual
        Relative trace residual of the kernel of all points, given the kept ones, for the functional that the
        selector saw; of K̄, from a sample of 64 other points, where they were chosen by something else, and from what
        a tolerance had read; 0 without selection.
    sketch_relative_error
        Expected relative Frobenius error of the sketched mean kernel: the root mean square over seeds of a Gaussian
        sketch that all outputs share, from the features themselves; of other sketches an upper bound. 0 without sketch.
    gradients
        s, directions kept per output; for all outputs together where they were one regression.
    gradient_trace_residual
        Relative trace residual of the kept points' kernels outside the span of the synthetic gradients.
    coverage_gap
        Eigenvalue-weighted share of the leading eigenvectors that the directions miss.
    truncation_rank
        r_ε of the mean kernel at ε = 0.05.
    condition_number
        Of K̄ + λI.
    loo_error
        Mean squared leave-one-out residual; where all outputs were one regression, a point is left out with all its
        rows.
    fidelity
        Share of the kept points where predictor and network agree; in sample. Of functionals, at the first of them.
    together
        Whether all outputs were one regression, whose rows then take the place of points in ranks and errors.
    """

    points: int
    kept_points: int
    data_trace_residual: float
    sketch_relative_error: float
    gradients: int
    gradient_trace_residual: float
    coverage_gap: float
    truncation_rank: int
    condition_number: float
    loo_error: float
    fidelity: float
    together: bool = False

    @printable
    def __str__(self) -> str:
        """A verdict in words."""
        data, gradients = self.data_trace_residual, self.gradient_trace_residual
        each = "for all outputs" if self.together else "per output"
        return "\n".join(
            (
                f"data       {self.points} → {self.kept_points} points, {data:.2%} of the trace lost",
                f"sketch     relative kernel error about {self.sketch_relative_error:.2%} (expected, Frobenius)",
                f"gradients  {self.kept_points} → {self.gradients} {each}, {gradients:.2%} of the trace lost, "
                f"coverage gap {self.coverage_gap:.2%}",
                f"kernel     truncation rank {self.truncation_rank}, condition number {self.condition_number:.3g}",
                f"predictor  leave-one-out error {self.loo_error:.4g}, fidelity in sample {self.fidelity:.2%}",
            )
        )


def expected_sketch_error(
    sketch: Sketch | SketchPlan | None, phi: TangentFeatures, spectrum: Float[Array, " m"]
) -> float:
    """Root mean square of ‖K̂ − K̄‖_F/‖K̄‖_F over seeds, from sketched features and the spectrum of K̂.

    - That of a Gaussian sketch which all outputs share, for those of its band; sparse and random signs have less, see
      ``dntk.sketch._mean_kernel``;
    - the plan's, an upper bound, for other sketches that were chosen by a plan;
    - at most √V sr, sr = tr K̄/‖K̄‖_F, for others, of which Var⟨Su, Sv⟩ ≤ V‖u‖²‖v‖² is known.
    """
    if phi.sketch is None:
        return 0.0
    xp = arrays.namespace(spectrum)
    largest = float(spectrum[0])
    if largest == 0:
        return 0.0
    known = phi.sketch.error(len(phi)) if isinstance(phi.sketch, StatesError) else None
    if known is None or known.measure == SUBSPACE:
        return mean_kernel_error(phi.values, spectrum)
    if isinstance(sketch, SketchPlan):
        return sketch.expected_error
    scaled = spectrum / largest
    squared = float(xp.sum(scaled) ** 2 / xp.sum(scaled**2))
    return known.value * float((1 - known.confidence) * squared) ** 0.5
