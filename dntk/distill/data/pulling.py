"""From derivatives of a loss in features, outputs or layers' inputs to its gradient in the network's inputs."""

from collections.abc import Mapping

from jaxtyping import Float

from dntk import arrays
from dntk.arrays import itemsize
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.models.input_gradients import InputDifferentiable, Observed
from dntk.types import Array

_DIRECTION_BYTES = 2**28
"""Bytes of parameter directions, one per point and output, that are alive at once."""


def pull_features(
    model: InputDifferentiable,
    x: Array,
    phi: TangentFeatures,
    cotangents: Float[Array, "q c"],
    gradient: Float[Array, "q n k"],
) -> Array:
    """Gradient in the inputs ``x`` of a loss whose gradient in their tangent features Ψ is ``gradient``.

    Σ ∂L/∂Ψ_qi · S ∇_θ⟨u_q, f(x_i)⟩ is linear in the derivative along Sᵀ ∂L/∂Ψ_qi, a vector of parameters of every
    point and functional, so that few points are taken at once where there are many parameters.

    Cost: a Jacobian-vector product per point and functional, differentiated once.
    """
    xp = model.namespace
    q, n, _ = gradient.shape
    chunk = max(1, _DIRECTION_BYTES // (q * model.n_parameters * itemsize(gradient)))
    pieces = []
    for start, stop in arrays.spans(n, chunk):
        count(jacobian_rows=q * (stop - start))
        rows = xp.permute_dims(gradient[:, start:stop, :], (1, 0, 2))
        directions = rows if phi.sketch is None else phi.sketch.adjoint(rows)
        pieces.append(model.input_gradient(x[start:stop, ...], cotangents, directions))
    return xp.concat(pieces, axis=0)


def pull_observed(seen: Observed, outputs: Float[Array, "n c"], inputs: Mapping[str, Float[Array, "n t d"]]) -> Array:
    """Gradient in the network's inputs of a loss with these derivatives in outputs and layers' inputs."""
    count(jacobian_rows=outputs.shape[0])
    return seen.pull(outputs, inputs)
