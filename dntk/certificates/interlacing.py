"""Poincaré separation (Cauchy interlacing): what distillation along orthonormal directions does to eigenvalues.

For K (m, m) and U (m, s) with UᵀU = I: λ_{i+m−s}(K) ≤ λ_i(UᵀKU) ≤ λ_i(K), and tr UᵀKU ≤ Σ_{i≤s} λ_i(K).
Without orthonormality Ostrowski's factors enter: σ_min(X)² λ_{i+m−s}(K) ≤ λ_i(XᵀKX) ≤ ‖X‖² λ_i(K); columns of unit
norm are not enough. Source: Horn and Johnson, Matrix Analysis, 4.3.37 and 4.5.9. Rounding: c = 2.0 of ‖K‖.
"""

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Intervals
from dntk.certificates.rounding import allowance
from dntk.types import Array


def distilled_eigenvalues(
    eigenvalues: Float[Array, "*c m"], size: int, *, gains: tuple[float, float] = (1.0, 1.0), inner: int = 0
) -> Intervals:
    """Intervals of the s eigenvalues of XᵀKX, from the descending eigenvalues of K.

    ``gains``: σ_min(X)² and ‖X‖², both 1 for orthonormal directions. ``inner``: inner dimension of the products that
    formed the kernels, where it exceeds m. ``size`` is between 1 and m.
    """
    points = eigenvalues.shape[-1]
    if not 1 <= size <= points:
        msg = f"`size` must be between 1 and the {points} eigenvalues given, got {size}."
        raise ValueError(msg)
    slack = _slack(eigenvalues, gains[1], max(inner, points), "interlacing" if gains == (1.0, 1.0) else "ostrowski")
    return Intervals(
        lower=gains[0] * eigenvalues[..., points - size :] - slack,
        upper=gains[1] * eigenvalues[..., :size] + slack,
        theorem="Poincaré separation" if gains == (1.0, 1.0) else "Ostrowski",
    )


def reference_eigenvalues(distilled: Float[Array, " s"], trace: float, *, size: int) -> Intervals:
    """Intervals of the s leading eigenvalues of K, from those of UᵀKU and tr K.

    λ_i(UᵀKU) ≤ λ_i(K) ≤ λ_i(UᵀKU) + (tr K − tr UᵀKU), as no term of Σ_{i≤s} λ_i(K) − λ_i(UᵀKU) is negative.
    ``size`` is N, the largest dimension of the products.
    """
    xp = arrays.namespace(distilled)
    slack = allowance("trace", arrays.epsilon(distilled), size, trace)
    missing = max(0.0, trace - float(xp.sum(distilled)))
    return Intervals(
        lower=xp.clip(distilled - slack, min=0),
        upper=distilled + missing + slack,
        theorem="Poincaré separation and traces",
    )


def _slack(eigenvalues: Float[Array, "*c m"], gain: float, size: int, constant: str) -> float:
    xp = arrays.namespace(eigenvalues)
    return allowance(constant, arrays.epsilon(eigenvalues), size, gain * float(xp.max(xp.abs(eigenvalues))))
