"""Löwner order of projections: what a span of features leaves of a kernel.

With Π a projector on a span of features and K_Π = ΦΠΦᵀ (a Nyström approximation where chosen points span it),
R = K − K_Π = Φ(I − Π)Φᵀ ≥ 0, so that

    tr R = ‖(I − Π)Φᵀ‖_F² exactly,   ‖R‖₂ ≤ ‖R‖_F ≤ √(‖R‖₂ tr R) ≤ tr R,   |R_ij| ≤ √(R_ii R_jj),
    λ_i(K) − ‖R‖₂ ≤ λ_i(K_Π) ≤ λ_i(K).

Source: Gittens and Mahoney 2016; Chen, Epperly, Tropp and Webber 2025. Rounding: c = 1.9 (order, trace), 3.8 (norms).
The forms K_XS K_SS⁻¹ K_SX with a solve or a pseudo-inverse are not used: on dependent points they are not below K.
"""

import math

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound, Intervals, Kind
from dntk.certificates.rounding import allowance
from dntk.types import Array


def trace_residual(trace: float, projected: float, *, eps: float, size: int) -> Bound:
    """Bound on tr R from tr K and tr K_Π = ‖ΠΦᵀ‖_F²."""
    value = max(0.0, trace - projected) + allowance("trace residual", eps, size, trace)
    return Bound(value=value, theorem="trace residual of a projection")


def frobenius_residual(spectral: Bound, trace: Bound) -> Bound:
    """Bound on ‖R‖_F of a positive semidefinite R: √(‖R‖₂ tr R)."""
    return Bound(
        value=math.sqrt(float(spectral) * float(trace)),
        theorem="‖R‖_F ≤ √(‖R‖₂ tr R)",
        kind=spectral.kind,
        confidence=spectral.confidence,
    )


def reference_eigenvalues(
    approximate: Float[Array, " r"],
    spectral: float,
    *,
    norm: float,
    size: int,
    kind: Kind = "deterministic",
    confidence: float = 1.0,
) -> Intervals:
    """Intervals of λ_i(K) from λ_i(K_Π) and ‖R‖₂: one-sided, [λ_i(K_Π), λ_i(K_Π) + ‖R‖₂]."""
    xp = arrays.namespace(approximate)
    slack = allowance("nystrom", arrays.epsilon(approximate), size, norm)
    return Intervals(
        lower=xp.clip(approximate - slack, min=0),
        upper=approximate + spectral + slack,
        theorem="Löwner order",
        kind=kind,
        confidence=confidence,
    )


def entries(residual_diagonal: Float[Array, " n"], *, norm: float, size: int) -> Float[Array, "n n"]:
    """Bounds on |R_ij| of a positive semidefinite R; for tests and small n."""
    xp = arrays.namespace(residual_diagonal)
    root = xp.sqrt(xp.clip(residual_diagonal, min=0))
    n = residual_diagonal.shape[0]
    # √(R_ii R_jj) of diagonals that carry rounding; c = 18.8 of √n‖K‖ covers both.
    return root[:, None] * root[None, :] + 4 * 18.8 * arrays.epsilon(root) * size * math.sqrt(n) * norm
