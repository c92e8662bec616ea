"""What ridge regression returns."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from jaxtyping import Float

from dntk.features import TangentFeatures, require_comparable
from dntk.features.passes import of_points
from dntk.solve.conditioning import SolveReport
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class RidgeFit:
    """Solution of ridge regression, one independent problem per output.

    Parameters
    ----------
    weights
        w (C, k): the prediction of output c at x is ⟨w_c, ψ_c(x)⟩.
    dual
        α (C, n) with w_c = Ψ^cᵀ α_c.
    ridge
        λ, absolute, shared by the outputs; one for each where they were chosen or given so.
    left_out
        Computes the leave-one-out error.
    report
        Condition, rounding, jitter and refinement of the solve.
    sketch
        Sketch of the features.
    shared
        Whether all outputs regress on one set of features.
    """

    weights: Float[Array, "c k"]
    dual: Float[Array, "c n"]
    ridge: float | tuple[float, ...]
    left_out: Callable[[], float] = dataclasses.field(repr=False, compare=False)
    report: SolveReport
    sketch: Any = None
    shared: bool = False

    @functools.cached_property
    def loo_error(self) -> float:
        """Mean squared leave-one-out residual over points and outputs, in squared units of the targets.

        For synthetic gradients: over the reference points, of the regression in the same span. Beyond 10⁴ points the
        leverages cost as much as the solve: they are computed when this is first read, from the features, which the
        fit refers to until then.
        """
        return self.left_out()

    def predict(self, phi: TangentFeatures) -> Float[Array, "n c"]:
        """Predictions ⟨w_c, ψ_c(x)⟩ at points given by their features.

        Raises
        ------
        ValueError
            The features have another number of outputs or dimensions, or were made by another sketch.
        """
        own = self.weights[:1, None, :] if self.shared else self.weights[:, None, :]
        require_comparable(own, self.sketch, phi, "phi")
        of = _shared if self.shared else _predicted
        return of_points(phi, functools.partial(of, self.weights), name="predictions")


def _shared(weights: Float[Array, "c k"], phi: TangentFeatures) -> Float[Array, "n c"]:
    return phi.values[0, :, :] @ weights.T


def _predicted(weights: Float[Array, "c k"], phi: TangentFeatures) -> Float[Array, "n c"]:
    return (phi.values @ weights[:, :, None])[:, :, 0].T
