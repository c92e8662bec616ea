"""What rounding may add to an inequality.

Every inequality has a measured constant c: the largest multiple of eps·N·scale by which it was exceeded in 13,500
adversarial cases (N the largest dimension of the products, inner ones included). The allowance is four times that,
computed in Python floats, because float32 eps times a Python float is float32 and leaves its range.

The constants are observations, no theorems. What is proved of sums of N products, γ_N = N·eps/(2 − N·eps) times the sum
of magnitudes (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, section 3.1), is of the same form with
‖|X||Y|‖ in place of the scale, up to N times larger; that of random rounding, √N in place of N (Higham and Mary, *A new
approach to probabilistic rounding error analysis*, SIAM J. Sci. Comput. 2019), assumes independent errors.
"""

CONSTANTS = {
    "interlacing": 2.0,  # scale ‖K‖
    "trace": 2.0,  # tr UᵀKU ≤ Σ_{i≤s} λ_i; scale ‖K‖
    "ostrowski": 1.0,  # scale ‖X‖²‖K‖
    "weyl": 0.46,  # scale max ‖·‖
    "mirsky": 0.69,  # scale max ‖·‖, times n for the nuclear norm
    "nystrom": 1.9,  # 0 ≤ K − K_nys; scale ‖K‖
    "norms": 3.8,  # ‖R‖₂ ≤ ‖R‖_F ≤ √(‖R‖₂ tr R) ≤ tr R; scale ‖K‖
    "trace residual": 1.9,  # tr R = ‖(I − Π)Φᵀ‖_F²; scale tr K
    "backward": 0.71,  # ‖(K + λI)α̂ − y‖; scale (‖K‖ + λ)‖α̂‖
    "galerkin": 0.74,  # energies; scale κ‖y‖²/λ
    "prediction": 0.18,  # v̂ and pointwise bounds; scale κ_xx
}
"""Measured constants c by inequality, the larger of float64's and float32's."""


def allowance(inequality: str, eps: float, size: int, scale: float) -> float:
    """4·c·eps·N·scale."""
    return 4 * CONSTANTS[inequality] * float(eps) * size * float(scale)
