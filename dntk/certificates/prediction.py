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
from dntk.ledger import count_product
from dntk.types import Array


def posterior_variance(
    features: Float[Array, "c q k"], basis: Float[Array, "g s k"], squares: Float[Array, "g s"], *, ridge: float
) -> Float[Array, "c q"]:
    """The upper bound v̂ of the posterior variance at q points, v ≤ v̂ ≤ κ_xx, in spans of every output or one for all.

    With p_j = ⟨b_j, ψ⟩ and g_j = σ_j²/(σ_j² + λ), from the right singular vectors b_j of the synthetic gradients and
    their squared singular values σ_j²,

        v̂ = κ_xx − Σ_j g_j p_j² = ‖ψ − Σ_j g_j p_j b_j‖² + λ Σ_j (g_j p_j/σ_j)²,

    the least over β of ‖ψ − Φ̂ᵀβ‖² + λ‖β‖², so that errors of p and g only raise it. The difference loses √(eps·κ_xx) of
    √v̂ to rounding, the sum of squares what is added to its root: 0.75·eps·√s·√κ_xx for the basis as stored,
    4·0.18·eps·√(s + 64)·σ_1‖β‖ for the synthetic gradients, 4·0.18·eps·N·(1 + σ_1/(2√λ))·√κ_xx for what is computed, in
    float64 where the device has it. Where it has not, the difference may be the smaller of the two, and nothing is
    known below 4·0.18·eps·N·κ_xx, its allowance. √(s + 64) is an observation, as are all constants of
    ``dntk/certificates/rounding.py``: errors of many terms add at random.

    Examples
    --------
    >>> basis, squares = np.eye(3)[None, :1, :], np.array([[4.0]])  # one gradient, of norm 2
    >>> psi = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> found = dntk.certificates.posterior_variance(psi, basis, squares, ridge=1.0)
    >>> found.round(6).tolist()  # 1 − 4/(4 + 1) along the gradient
    [[0.2, 1.0]]
    """
    xp = arrays.namespace(features)
    wide = arrays.accumulation_dtype(features)
    psi, b = xp.astype(features, wide, copy=False), xp.astype(basis, wide, copy=False)
    prior = xp.sum(psi**2, axis=2)
    squares = xp.astype(squares, wide, copy=False)
    gain = squares / (squares + ridge)
    count_product(psi, b.mT)
    along = psi @ b.mT
    count_product(along, b)
    rest = xp.sum((psi - (along * gain[:, None, :]) @ b) ** 2, axis=2)
    dual = xp.sum(along**2 * (gain / (squares + ridge))[:, None, :], axis=2)
    # A basis in float64 may have been made from one that was stored as the features are.
    stored = max(arrays.epsilon(features), arrays.epsilon(basis))
    width = _rounding(stored, psi, squares, ridge) * xp.sqrt(prior)
    made = allowance("prediction", stored, 1, 1.0) * (basis.shape[1] + 64) ** 0.5
    width = width + made * xp.sqrt(xp.max(squares, axis=1)[:, None] * dual)
    found = (xp.sqrt(rest + ridge * dual) + width) ** 2
    if xp.finfo(wide).bits < 64:
        slack = allowance("prediction", arrays.epsilon(psi), max(features.shape[2], basis.shape[1]), 1.0)
        inside = xp.sum(along**2 * gain[:, None, :], axis=2)
        found = xp.minimum(found, xp.clip(prior - inside, min=0) + slack * prior)
    return xp.minimum(prior, found)


def _rounding(stored: float, psi: Array, squares: Array, ridge: float) -> Float[Array, "c 1"]:
    """Rounding of √v̂ relative to √κ_xx: of the basis, stored to ``stored``, and of what was computed."""
    xp = arrays.namespace(psi)
    computed = allowance("prediction", arrays.epsilon(psi), max(psi.shape[2], squares.shape[1]), 1.0)
    return 0.75 * stored * squares.shape[1] ** 0.5 + computed * (
        1 + xp.sqrt(xp.max(squares, axis=1) / ridge)[:, None] / 2
    )


def pointwise(variance: Float[Array, "c q"], energy: Bound, *, ridge: float) -> Bound:
    """Bound (q, C) on |f̂_c(x) − f*_c(x)|: √(v̂(x)/λ) √(gᵀH⁻¹g), from the upper bound v̂ and one on gᵀH⁻¹g (C,)."""
    xp = arrays.namespace(variance)
    value = (xp.sqrt(variance / ridge) * xp.sqrt(energy.value)[:, None]).T
    return dataclasses.replace(energy, value=value, theorem=f"power function (C2); {energy.theorem}")
