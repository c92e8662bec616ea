"""Rounding and sampling allowances, derived; nothing here was tuned until a test passed.

Rounding: every inequality has a constant c, the largest multiple of eps·N·scale by which it was
exceeded over 13,500 adversarial cases in float64 and float32 (N: the largest dimension of the
products, inner ones included). The allowance is four times that. Where a step has its own rigorous
bound, that bound is used instead, with γ_n = n·eps/(1 − n·eps), which holds for every order of
summation. All of it is computed in Python floats, because ``float32 eps × Python float`` is float32
and leaves its range.

Sampling: theorems with constants, at failure probability 1e-12 a draw.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

DELTA = 1e-12
"""Failure probability of one probabilistic assertion."""

DAVIDSON_SZAREK_T = 7.53
"""t with 2 exp(−t²/2) = 1e-12."""

CONSTANTS = {
    "I1": 2.0,  # λ_{i+m−s}(K) ≤ λ_i(UᵀKU) ≤ λ_i(K); scale ‖K‖
    "I1'": 1.8,  # σ_i(UᵀΦ) ≤ σ_i(Φ); scale ‖Φ‖
    "I2": 2.0,  # tr UᵀKU ≤ Σ_{i≤s} λ_i; scale ‖K‖
    "W1": 0.46,  # Weyl; scale max ‖·‖
    "N1": 1.9,  # K − K_nys ≥ 0; scale ‖K‖
    "N2": 1.9,  # eigenvalues of Nyström approximations; scale ‖K‖
    "N4": 18.8,  # |R_ij| ≤ √(R_ii R_jj); scale √n‖K‖
    "N5": 1.9,  # tr R = ‖(I − Π)Φᵀ‖_F²; scale tr K
    "N7": 8.1,  # residual diagonal of partial Cholesky; scale tr K
    "K1": 0.71,  # ‖Aα̂ − y‖; scale (‖K‖ + λ)‖α̂‖
    "K2": 0.18,  # fits of an approximate kernel; scale κ‖y‖
    "K3": 0.18,  # fits; scale κ‖y‖
    "K5": 0.42,  # yᵀ(K + λ)⁻¹y of ordered kernels; scale κ‖y‖²/λ
    "K6": 0.16,  # d_λ; scale nκ
    "K7": 0.37,  # leave-one-out residuals; scale κ²‖y‖
    "C1": 0.74,  # Galerkin energies; scale κ‖y‖²/λ
    "C3": 0.31,  # same-span objective; scale κ‖y‖²
    "H1": 9.0,  # 2e-15 of tr K in float64 is 9 eps; scale tr K
}


def eps(dtype: str) -> float:
    """Spacing of numbers next to 1."""
    return {"float32": 2.0**-23, "float64": 2.0**-52}[dtype]


def allowance(which: str, dtype: str, size: int, scale: float) -> float:
    """4·c·eps·N·scale for the inequality ``which``."""
    return 4 * CONSTANTS[which] * eps(dtype) * size * float(scale)


def solved(dtype: str, size: int, kappa: float, norm: float) -> float:
    """Allowance of λ·α for one solve of (K + λI)α = y: K1 carried forward.

    ‖Δα‖ ≤ ‖(K + λI)⁻¹‖ · 4c·eps·N·(‖K‖ + λ)‖α‖ ≤ 4c·eps·N·κ‖y‖/λ, where ``norm`` is ‖y‖.
    """
    return allowance("K1", dtype, size, kappa * norm)


def underflow(terms: int, dtype: str) -> float:
    """Bound on what gradual underflow takes from a sum of so many products."""
    return terms * {"float32": 2.0**-149, "float64": 2.0**-1074}[dtype]


def gamma(terms: int, dtype: str) -> float:
    """γ of a sum of so many products, any order: |fl(Σ x_j y_j) − Σ x_j y_j| ≤ γ Σ |x_j||y_j|."""
    error = terms * eps(dtype)
    return error / (1 - error)


def bernstein(draws: int, variance: float, bound: float, delta: float = DELTA) -> float:
    """Deviation t with P(|mean − EX| > t) ≤ δ for independent draws with |X − EX| ≤ ``bound``."""
    log = math.log(2 / delta)
    return math.sqrt(2 * variance * log / draws) + 2 * bound * log / (3 * draws)


def defect(u: npt.NDArray[Any]) -> float:
    """‖UᵀU − I‖₂ of directions as they were returned (T1: it joins the allowance, times ‖K‖)."""
    return float(np.linalg.norm(u.T @ u - np.eye(u.shape[1]), 2))
