"""Mirsky's inequality: whole spectra move by at most the difference, in every unitarily invariant norm.

‖λ(K) − λ(K̂)‖₂ ≤ ‖K − K̂‖_F (Hoffman and Wielandt) and Σ|λ_i − λ̂_i| ≤ ‖K − K̂‖_*, with equality for K̂ ≤ K. Source:
Mirsky 1960. Rounding: c = 0.69 of the larger norm, times n for the nuclear norm.
"""

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound, Kind
from dntk.certificates.rounding import allowance
from dntk.types import Array


def spectrum_distance(
    frobenius_error: float,
    *,
    norm: float,
    eps: float,
    size: int,
    kind: Kind = "deterministic",
    confidence: float = 1.0,
) -> Bound:
    """Bound on (Σ (λ_i − λ̂_i)²)^{1/2}, from one on ‖K − K̂‖_F; ``norm`` is the larger spectral norm."""
    value = frobenius_error + allowance("mirsky", eps, size, norm)
    return Bound(value=value, theorem="Hoffman and Wielandt", kind=kind, confidence=confidence)


def total_distance(nuclear_error: float, *, norm: float, eps: float, size: int, points: int) -> Bound:
    """Bound on Σ |λ_i − λ̂_i|, from one on ‖K − K̂‖_*, which is tr(K − K̂) where K̂ ≤ K."""
    return Bound(value=nuclear_error + allowance("mirsky", eps, size, points * norm), theorem="Mirsky")


def distance(eigenvalues: Float[Array, " n"], others: Float[Array, " n"]) -> float:
    """(Σ (λ_i − λ̂_i)²)^{1/2}, without overflow at scales where squares leave the range."""
    xp = arrays.namespace(eigenvalues, others)
    difference = xp.abs(eigenvalues - others)
    largest = float(xp.max(difference))
    return 0.0 if largest == 0 else largest * float(xp.sqrt(xp.sum((difference / largest) ** 2)))
