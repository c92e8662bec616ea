"""Weyl's inequality: eigenvalues of symmetric matrices move by at most the spectral norm of their difference.

max_i |λ_i(K) − λ_i(K̂)| ≤ ‖K − K̂‖₂. Source: Horn and Johnson, Matrix Analysis, 4.3.2. Rounding: c = 0.46 of the larger
norm. In float32 nothing relative can be said of eigenvalues of a Gram matrix below √eps of the largest.
"""

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Intervals, Kind
from dntk.certificates.rounding import allowance
from dntk.types import Array


def eigenvalues_near(
    eigenvalues: Float[Array, "*c n"],
    spectral_error: float,
    *,
    size: int,
    kind: Kind = "deterministic",
    confidence: float = 1.0,
) -> Intervals:
    """Intervals of λ_i(K), from the eigenvalues of K̂ in descending order and a bound on ‖K − K̂‖₂."""
    xp = arrays.namespace(eigenvalues)
    norm = float(xp.max(xp.abs(eigenvalues))) + spectral_error
    radius = spectral_error + allowance("weyl", arrays.epsilon(eigenvalues), size, norm)
    return Intervals(
        lower=eigenvalues - radius,
        upper=eigenvalues + radius,
        theorem="Weyl",
        kind=kind,
        confidence=confidence,
    )
