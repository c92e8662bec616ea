"""Leading eigenvalues of K from a subspace: Ritz values below, Lehmann's bound above.

For orthonormal Q (n, r), T = QᵀKQ, residual E = KQ − QT and any μ ≥ ‖(I − QQᵀ)K(I − QQᵀ)‖₂,

    λ_i(T) ≤ λ_i(K) ≤ λ_i([[T, Gᵀ], [G, μI]]),   GᵀG = EᵀE.

In a basis that starts with Q, K has blocks T, E and its compression to the complement, which is at most μI:
eigenvalues do not fall when a symmetric matrix grows (Weyl), and G is E in coordinates. Where λ_i(T) exceeds μ the
interval is about ‖Eu_i‖²/(λ_i(T) − μ) wide: quadratic in the residual. Source: Lehmann 1949; Mathias 1998.
Rounding: c = 2.0 of ‖K‖. G is the triangular factor of E, not the root of EᵀE: that would lose √eps‖E‖, which counts in
full where λ_i(T) meets μ, and leave the range of float32.
"""

import math

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Intervals, Kind
from dntk.certificates.rounding import allowance
from dntk.types import Array


def lehmann(
    quotient: Float[Array, "*c r r"], residual: Float[Array, "*c n r"], rest: Float[Array, "*c"] | float
) -> Float[Array, "*c r"]:
    """Upper bounds of the r leading eigenvalues, from T, E and μ, in exact arithmetic; O(n·r² + r³)."""
    xp = arrays.namespace(quotient)
    r = quotient.shape[-1]
    _, factor = xp.linalg.qr(residual)
    eye = xp.eye(r, dtype=quotient.dtype, device=arrays.device_of(quotient))
    bottom = xp.broadcast_to(rest * eye if isinstance(rest, float) else rest[..., None, None] * eye, quotient.shape)
    above = xp.concat([(quotient + quotient.mT) / 2, factor.mT], axis=-1)
    below = xp.concat([factor, bottom], axis=-1)
    whole = xp.concat([above, below], axis=-2)
    return xp.flip(xp.linalg.eigvalsh(whole), axis=-1)[..., :r]


def leading_eigenvalues(
    quotient: Float[Array, "r r"],
    residual: Float[Array, "n r"],
    rest: float,
    *,
    trace: float,
    size: int,
    kind: Kind = "deterministic",
    confidence: float = 1.0,
) -> Intervals:
    """Intervals of the r leading eigenvalues of K from T, E, and μ = ``rest``; N = ``size``."""
    xp = arrays.namespace(quotient)
    ritz = xp.flip(xp.linalg.eigvalsh((quotient + quotient.mT) / 2), axis=0)
    missing = max(0.0, trace - float(xp.sum(ritz)))
    norm = float(ritz[0]) + min(rest, missing)
    slack = allowance("interlacing", arrays.epsilon(quotient), size, norm)
    # No Ritz value falls short of its eigenvalue by more than the trace that is left.
    upper = ritz + missing
    if math.isfinite(rest):
        upper = xp.minimum(upper, lehmann(quotient, residual, float(rest)))
    return Intervals(
        lower=xp.clip(ritz - slack, min=0),
        upper=upper + slack,
        theorem="Ritz values and Lehmann's bound",
        kind=kind,
        confidence=confidence,
    )
