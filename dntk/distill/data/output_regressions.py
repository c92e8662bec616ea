"""Separate regressions of outputs on the features of a few inputs, and how their errors elsewhere change with both."""

import dataclasses
from typing import NamedTuple

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.distill.data.draws import Indices
from dntk.ledger import count
from dntk.types import Array


class Points(NamedTuple):
    """Tangent features Ψ of points and the network's outputs there."""

    features: Float[Array, "c n k"]
    outputs: Float[Array, "n c"]

    def at(self, positions: Indices) -> "Points":
        """Some of them."""
        xp = arrays.namespace(self.features)
        where = backend_of(self.features).from_numpy(positions, device=arrays.device_of(self.features))
        return Points(xp.take(self.features, where, axis=1), xp.take(self.outputs, where, axis=0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputRegressions:
    """α_c = (Ψ̃_cΨ̃_cᵀ + λ_c I)⁻¹ ỹ_c and w_c = Ψ̃_cᵀα_c, with λ_c = λ' tr(Ψ̃_cΨ̃_cᵀ).

    In float64 where the device has it.
    """

    inducing: Float[Array, "c m k"]
    matrices: Float[Array, "c m m"]
    share: float
    coefficients: Float[Array, "c m 1"]
    weights: Float[Array, "c k 1"]

    @classmethod
    def of(cls, inducing: Float[Array, "c m k"], targets: Float[Array, "m c"], ridge: float) -> "OutputRegressions":
        """Solve for all outputs; λ' = ridge/m, at least what rounding asks for."""
        xp = arrays.namespace(inducing)
        q, m, k = inducing.shape
        share = max(ridge, 8 * m * arrays.epsilon(inducing)) / m
        wide = arrays.in_float64(inducing)
        grams = xp.matmul(wide, xp.matrix_transpose(wide))
        identity = xp.eye(m, dtype=wide.dtype, device=arrays.device_of(wide))
        traces = xp.sum(wide * wide, axis=(1, 2))
        matrices = grams + share * xp.reshape(traces, (q, 1, 1)) * identity
        goals = xp.expand_dims(arrays.in_float64(targets).T, axis=2)
        coefficients = xp.linalg.solve(matrices, goals)
        weights = xp.matmul(xp.matrix_transpose(wide), coefficients)
        count(flops=2 * q * m * k * (m + 1))
        return cls(inducing=wide, matrices=matrices, share=share, coefficients=coefficients, weights=weights)

    def error(self, points: Points) -> float:
        """‖f̂ − f‖²/‖f‖² over points."""
        left, total = self._left(points)
        xp = arrays.namespace(left)
        return float(xp.sum(left * left) / total)

    def slopes(self, points: Points) -> tuple[float, Float[Array, "c m k"], Float[Array, "m c"]]:
        """The error, and its gradients in Ψ̃ and in ỹ.

        With D its gradient in the predictions and H_c = (Ψ̃_cΨ̃_cᵀ + λ_c I)⁻¹ Ψ̃_cΨ_cᵀD_c, that in ỹ is H; in Ψ̃_c it is
        α_c D_cᵀΨ_c − (H_cα_cᵀ + α_cH_cᵀ)Ψ̃_c − 2λ' ⟨H_c, α_c⟩ Ψ̃_c.
        """
        left, total = self._left(points)
        xp = arrays.namespace(left)
        across = xp.astype(2 * left / total, points.features.dtype, copy=False)
        pulled = arrays.in_float64(xp.matmul(xp.matrix_transpose(across), points.features))
        inner = xp.linalg.solve(self.matrices, xp.matmul(self.inducing, xp.matrix_transpose(pulled)))
        crossed = xp.matmul(inner, xp.matrix_transpose(self.coefficients))
        damping = 2 * self.share * xp.sum(inner * self.coefficients, axis=(1, 2), keepdims=True)
        own = crossed + xp.matrix_transpose(crossed)
        in_features = xp.matmul(self.coefficients, pulled) - xp.matmul(own, self.inducing) - damping * self.inducing
        q, m, k = self.inducing.shape
        count(flops=2 * q * k * (points.outputs.shape[0] + m * (m + 2)))
        return float(xp.sum(left * left) / total), in_features, xp.squeeze(inner, axis=2).T

    def _left(self, points: Points) -> tuple[Float[Array, "c n 1"], Float[Array, ""]]:
        """Errors of predictions, and the squares of what is predicted."""
        xp = arrays.namespace(points.features)
        narrow = xp.astype(self.weights, points.features.dtype, copy=False)
        found = arrays.in_float64(xp.matmul(points.features, narrow))
        goals = xp.expand_dims(arrays.in_float64(points.outputs).T, axis=2)
        count(flops=2 * points.outputs.shape[0] * self.weights.shape[0] * self.weights.shape[1])
        total = xp.sum(goals * goals)
        return found - goals, xp.where(total > 0, total, xp.ones_like(total))
