"""Singular values after a Gaussian sketch of k rows: the band of Davidson and Szarek, and one by place.

For Φ of rank r and S with entries N(0, 1/k), σ̂_i the singular values of ΦSᵀ, with probability 1 − δ for all i

    G1   (1 − √(r/k) − t/√k)₊ σ_i ≤ σ̂_i ≤ (1 + √(r/k) + t/√k) σ_i,   t = √(2 ln(2/δ)),
    G2   σ_i (1 − √(i/k) − t₂/√k)₊ ≤ σ̂_i ≤ σ_i (1 + t₂/√k) + (Σ_{j≥i} σ_j²)^{1/2}/√k,   t₂ = √(2 ln(3n/δ)),

the latter for k < n too. Sources: Davidson and Szarek 2001; Courant and Fischer with Chevet's inequality. Constants
hold; k ≥ P does not make a Gaussian sketch an isometry.
"""

import math

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Intervals
from dntk.types import Array


def gains(rank: int, dim: int, failure: float) -> tuple[float, float]:
    """Least and largest factor of G1 on singular values of a matrix of this rank; 0 where the least says nothing."""
    width = (math.sqrt(rank) + math.sqrt(2 * math.log(2 / failure))) / math.sqrt(dim)
    return max(0.0, 1 - width), 1 + width


def sketched_singular_values(singular: Float[Array, " n"], dim: int, failure: float) -> Intervals:
    """Intervals (G2) of the singular values of the sketched matrix, from the exact ones in descending order."""
    xp = arrays.namespace(singular)
    n = singular.shape[0]
    t = math.sqrt(2 * math.log(3 * n / failure)) / math.sqrt(dim)
    place = xp.arange(1, n + 1, dtype=singular.dtype, device=arrays.device_of(singular))
    largest = xp.max(singular)
    scaled = singular / xp.where(largest > 0, largest, xp.ones_like(largest))  # squares stay in range
    tail = largest * xp.sqrt(xp.flip(xp.cumulative_sum(xp.flip(scaled**2, axis=0)), axis=0))
    return Intervals(
        lower=singular * xp.clip(1 - xp.sqrt(place / dim) - t, min=0),
        upper=singular * (1 + t) + tail / math.sqrt(dim),
        theorem="Davidson and Szarek, by place",
        kind="probabilistic",
        confidence=1 - failure,
    )


def exact_upper_factors(count: int, outputs: int, dim: int, failure: float) -> list[float]:
    """Factors f_i with σ_i ≤ f_i σ̂_i for the i-th eigenvalue σ_i² of a mean kernel of ``outputs``, i = 1 … count.

    The lower half of G2 on the i·C features that the i leading eigenvectors combine; infinite where i·C does not fit
    into k.
    """
    t = math.sqrt(2 * math.log(3 * count / failure)) / math.sqrt(dim)
    lows = [1 - math.sqrt(i * outputs / dim) - t for i in range(1, count + 1)]
    return [1 / low if low > 0 else math.inf for low in lows]
