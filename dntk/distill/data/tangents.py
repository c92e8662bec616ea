"""Tangent features as objectives of inputs see them: joined over outputs, at a fixed sketch."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.checkpoints import Checkpoints
from dntk.distill.data.pulling import pull_features
from dntk.features import TangentFeatures, kept_features
from dntk.models.input_gradients import InputDifferentiable
from dntk.outputs import FeatureOutputs
from dntk.outputs.functionals import cotangents_for
from dntk.sketch import Sketch
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tangents:
    """Features of a model at one sketch, and the way back from them to inputs.

    Of inputs x they are F = [Ψ¹ … Ψ^Q]/√Q (n, Q·k), with F Fᵀ the mean kernel.
    """

    model: InputDifferentiable
    sketch: Sketch | None
    outputs: FeatureOutputs

    def features(self, x: Array, kept: Checkpoints | None = None) -> TangentFeatures:
        """Features of inputs; of all data they are kept in a folder, if there is one."""
        place = None if kept is None else (kept, "features")
        return kept_features(self.model, x, sketch=self.sketch, outputs=self.outputs, kept=place)

    def joined(self, phi: TangentFeatures) -> Float[Array, "n d"]:
        """F, in float64 where the device has it."""
        return arrays.in_float64(phi.joined())

    def pull(self, x: Array, phi: TangentFeatures, gradient: Float[Array, "n d"]) -> Array:
        """Gradient in the inputs of a loss with this gradient in F."""
        xp = self.model.namespace
        q, n, k = phi.values.shape
        parts = xp.permute_dims(xp.reshape(gradient * q**-0.5, (n, q, k)), (1, 0, 2))
        parts = xp.astype(parts, phi.values.dtype)
        dtype = arrays.kernel_dtype(xp, self.model.dtype)
        place = {"xp": xp, "dtype": dtype, "device": self.model.device}
        cotangents = cotangents_for(self.outputs, self.model.n_outputs, **place)
        return pull_features(self.model, x, phi, cotangents, parts)
