"""How far predictions anywhere are from those of the exact ridge regression, and how uncertain those are.

With weights w, g = Φᵀ(Φw − y) + λw and H = ΦᵀΦ + λI, at any x with features ψ:

    f̂(x) − f*(x) = ⟨ψ, H⁻¹g⟩,   |f̂(x) − f*(x)|² ≤ (v(x)/λ) · gᵀH⁻¹g,   v = λ ψᵀH⁻¹ψ,

v the exact posterior variance of a Gaussian process with kernel K and noise λ. It is at most that of the synthetic
gradients, v ≤ v̂ = κ_xx − κ_xᵀU(UᵀAU)⁻¹Uᵀκ_x ≤ κ_xx (the power function, C2), which needs s numbers per output. The
variance of a process on projected features, without what lies outside their span, is not an upper bound.
"""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound
from dntk.certificates.rounding import allowance
from dntk.types import Array


def posterior_variance(
    features: Float[Array, "c q k"], basis: Float[Array, "c s k"], squares: Float[Array, "c s"], *, ridge: float
) -> Float[Array, "c q"]:
    """The upper bound v̂ of the posterior variance at q points, v ≤ v̂ ≤ κ_xx.

    κ_xx − Σ_j σ_j²/(σ_j² + λ) ⟨b_j, ψ⟩², from the right singular vectors b_j of the synthetic gradients and their
    squared singular values. Rounding, of basis and features as stored, is added.
    """
    xp = arrays.namespace(features)
    wide = arrays.accumulation_dtype(features)
    psi, b = xp.astype(features, wide, copy=False), xp.astype(basis, wide, copy=False)
    prior = xp.sum(psi**2, axis=2)
    gain = xp.astype(squares, wide, copy=False)
    gain = gain / (gain + ridge)
    inside = xp.sum((psi @ b.mT) ** 2 * gain[:, None, :], axis=2)
    slack = allowance("prediction", arrays.epsilon(features), max(features.shape[2], basis.shape[1]), 1.0)
    return xp.minimum(prior, xp.clip(prior - inside, min=0) + slack * prior)


def pointwise(variance: Float[Array, "c q"], energy: Bound, *, ridge: float) -> Bound:
    """Bound (q, C) on |f̂_c(x) − f*_c(x)|: √(v̂(x)/λ) √(gᵀH⁻¹g), from the upper bound v̂ and one on gᵀH⁻¹g (C,)."""
    xp = arrays.namespace(variance)
    value = (xp.sqrt(variance / ridge) * xp.sqrt(energy.value)[:, None]).T
    return dataclasses.replace(energy, value=value, theorem=f"power function (C2); {energy.theorem}")
