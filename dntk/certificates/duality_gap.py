"""The duality gap: how far any weights are from the ridge solution, from any dual vector.

With P(w) = ‖Φw − y‖² + λ‖w‖² and D(α) = 2λ αᵀy − λ αᵀ(K + λI)α, for every w and α

    ‖Φ(w − w*)‖² + λ‖w − w*‖² = P(w) − P* ≤ P(w) − D(α),

with equality at α*. Source: Fenchel duality; completing the square. Rounding: c = 0.74 of κ-free scale P(w) + |D(α)|,
which is what the subtraction loses.
"""

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound
from dntk.certificates.rounding import allowance
from dntk.types import Array


def excess_objective(
    features: Float[Array, "c n k"],
    targets: Float[Array, "n c"],
    weights: Float[Array, "c k"],
    dual: Float[Array, "c n"],
    *,
    ridge: float,
) -> Bound:
    """Bound (C,) on P(w) − P* = ‖Φ(w − w*)‖² + λ‖w − w*‖² of every output; two passes over the features."""
    xp = arrays.namespace(features)
    wide = arrays.accumulation_dtype(features)
    phi, y = xp.astype(features, wide, copy=False), xp.astype(targets, wide, copy=False).T
    w, a = xp.astype(weights, wide, copy=False), xp.astype(dual, wide, copy=False)
    misfit = (phi @ w[:, :, None])[:, :, 0] - y
    image = (phi.mT @ a[:, :, None])[:, :, 0]
    primal = xp.sum(misfit**2, axis=1) + ridge * xp.sum(w**2, axis=1)
    # λα has the size of the targets; λ² and α² leave the range of float32 where kernels are large.
    fit = ridge * a
    linear, quadratic = 2 * xp.sum(fit * y, axis=1), ridge * xp.sum(image**2, axis=1) + xp.sum(fit**2, axis=1)
    slack = allowance("galerkin", arrays.epsilon(phi), max(features.shape), 1.0)
    scale = primal + xp.abs(linear) + quadratic
    return Bound(value=xp.clip(primal - linear + quadratic, min=0) + slack * scale, theorem="duality gap")
