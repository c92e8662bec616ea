"""From derivatives of a loss in features, outputs or layers' inputs to its gradient in the network's inputs."""

from collections.abc import Mapping

from jaxtyping import Float

from dntk import arrays
from dntk.arrays import itemsize
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.models.batching import block_bytes
from dntk.models.input_gradients import InputDifferentiable, Observed
from dntk.sketch.base import CHUNK_ENTRIES
from dntk.types import Array

_DIRECTION_BYTES = 2**28
"""Bytes of parameter directions, one per point and output, that are alive at once."""

_COPIES = 3
"""Vectors of parameters that are alive for each direction: itself, in parts, and derivatives along it."""

_HASHED = 18
"""Such vectors that the adjoint of a sparse sketch takes beside: places, signs and products of eight rows."""


def pull_features(
    model: InputDifferentiable,
    x: Array,
    phi: TangentFeatures,
    cotangents: Float[Array, "q c"],
    gradient: Float[Array, "q n k"],
    *,
    memory_limit: int | None = None,
) -> Array:
    """Gradient in the inputs ``x`` of a loss whose gradient in their tangent features Ψ is ``gradient``.

    Σ ∂L/∂Ψ_qi · S ∇_θ⟨u_q, f(x_i)⟩ is linear in the derivative along Sᵀ ∂L/∂Ψ_qi, a vector of parameters of every
    point and functional, so that few points are taken at once where there are many parameters. ``memory_limit`` bounds
    these vectors and what their derivatives keep of layers; ``ValueError`` where it does not suffice for one point.

    Cost: a Jacobian-vector product per point and functional, differentiated once.
    """
    xp = model.namespace
    q, n, _ = gradient.shape
    each = q * model.n_parameters * itemsize(gradient)
    chunk = max(1, _DIRECTION_BYTES // each)
    if memory_limit is not None:
        chunk = min(chunk, _fitting(model, x, cotangents, each, memory_limit))
    pieces = []
    for start, stop in arrays.spans(n, chunk):
        count(jacobian_rows=q * (stop - start))
        rows = xp.permute_dims(gradient[:, start:stop, :], (1, 0, 2))
        directions = rows if phi.sketch is None else phi.sketch.adjoint(rows)
        pieces.append(model.input_gradient(x[start:stop, ...], cotangents, directions))
    return xp.concat(pieces, axis=0)


def _fitting(model: InputDifferentiable, x: Array, cotangents: Array, each: int, memory_limit: int) -> int:
    """Points at once, whose directions take ``each`` bytes a point; an adjoint works on a chunk of coordinates."""
    steady = 2 * block_bytes(model, x, cotangents) + _COPIES * each
    chunk = _HASHED * CHUNK_ENTRIES * itemsize(cotangents)
    found = max((memory_limit - chunk) // steady, memory_limit // (steady + _HASHED * each))
    if found < 1:
        needed = steady + min(chunk, _HASHED * each)
        msg = (
            f"`memory_limit` leaves {memory_limit:,} bytes beside the features of all data, and the directions of one "
            f"point take {needed:,}. Pass {needed - memory_limit:,} more, fewer points, or a smaller sketch."
        )
        raise ValueError(msg)
    return found


def pull_observed(seen: Observed, outputs: Float[Array, "n c"], inputs: Mapping[str, Float[Array, "n t d"]]) -> Array:
    """Gradient in the network's inputs of a loss with these derivatives in outputs and layers' inputs."""
    count(jacobian_rows=outputs.shape[0])
    return seen.pull(outputs, inputs)
