"""How far eigenvalues and eigenspaces of two kernels can be apart: Weyl, Mirsky, Davis and Kahan.

For symmetric K and K̂ with E = K − K̂, eigenvalues in descending order:

    max_i |λ_i − λ̂_i| ≤ ‖E‖₂   (Weyl; Horn and Johnson, Matrix Analysis, 4.3.2),
    (Σ_i (λ_i − λ̂_i)²)^{1/2} ≤ ‖E‖_F   (Hoffman and Wielandt),
    Σ_i |λ_i − λ̂_i| ≤ ‖E‖_*, with equality for K̂ ≤ K   (Mirsky 1960),
    ‖sin Θ‖₂ ≤ ‖E‖₂/δ,   δ = λ_r − λ̂_{r+1}   (the gap between the two matrices, Davis and Kahan 1970),
    ‖sin Θ‖_F ≤ 2 min(√r‖E‖₂, ‖E‖_F)/(λ_r − λ_{r+1})   (the gap of K alone, Yu, Wang and Samworth 2015),

Θ the angles between the r leading eigenvectors of each. The constant of Davis and Kahan with the gap of Yu, Wang and
Samworth is wrong: K = diag(1, 0), E = diag(−0.6, 0.6) has ‖E‖/gap = 0.6 and sin Θ = 1.

Rounding: c = 0.46 of the larger norm for Weyl, 0.69 for Hoffman and Wielandt, n times that for Mirsky; 10·N·eps·‖K‖
joins ‖E‖ for angles, and a gap below that says nothing. In float32 nothing relative can be said of eigenvalues of a
Gram matrix below √eps of the largest.
"""

import math

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound, Intervals, Kind
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
    """Intervals of λ_i(K), from the eigenvalues of K̂ in descending order and a bound on ‖K − K̂‖₂.

    Examples
    --------
    >>> low, high = dntk.certificates.eigenvalues_near(np.array([5.0, 1.0]), 0.5, size=2)
    >>> low.round(6).tolist(), high.round(6).tolist()
    ([4.5, 0.5], [5.5, 1.5])
    """
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


def spectrum_distance(
    frobenius_error: float,
    *,
    norm: float,
    eps: float,
    size: int,
    kind: Kind = "deterministic",
    confidence: float = 1.0,
) -> Bound:
    """Bound on (Σ (λ_i − λ̂_i)²)^{1/2}, from one on ‖K − K̂‖_F.

    ``norm`` is the larger spectral norm, ``eps`` that of the dtype and ``size`` the largest dimension of the products
    that the eigenvalues were computed with.

    Examples
    --------
    >>> found = dntk.certificates.spectrum_distance(0.1, norm=9.0, eps=2.0**-52, size=40)
    >>> round(float(found), 6)  # Hoffman and Wielandt: no more than the kernels'
    0.1
    """
    value = frobenius_error + allowance("mirsky", eps, size, norm)
    return Bound(value=value, theorem="Hoffman and Wielandt", kind=kind, confidence=confidence)


def total_distance(nuclear_error: float, *, norm: float, eps: float, size: int, points: int) -> Bound:
    """Bound on Σ |λ_i − λ̂_i|, from one on ‖K − K̂‖_*, which is tr(K − K̂) where K̂ ≤ K; n is ``points``."""
    return Bound(value=nuclear_error + allowance("mirsky", eps, size, points * norm), theorem="Mirsky")


def largest_angle(
    spectral_error: float, eigenvalue: float, next_approximate: float, *, norm: float, eps: float, size: int
) -> Bound:
    """Bound on ‖sin Θ‖₂ from λ_r(K), λ_{r+1}(K̂) and ‖K − K̂‖₂; ``norm`` is ‖K‖.

    Examples
    --------
    >>> found = dntk.certificates.largest_angle(0.1, 5.0, 1.0, norm=9.0, eps=2.0**-52, size=40)
    >>> round(float(found), 6), found.kind  # 0.1/(5 − 1)
    (0.025, 'deterministic')
    """
    gap, rounding = eigenvalue - next_approximate, _gap_rounding(norm, eps=eps, size=size)
    value = 1.0 if gap <= rounding else min(1.0, (spectral_error + rounding) / gap)
    return Bound(value=value, theorem="Davis and Kahan, gap between K and its approximation")


def all_angles(
    spectral_error: float,
    frobenius_error: float,
    eigenvalue: float,
    next_eigenvalue: float,
    *,
    rank: int,
    norm: float,
    eps: float,
    size: int,
) -> Bound:
    """Bound on ‖sin Θ‖_F from λ_r(K), λ_{r+1}(K) and norms of K − K̂; r is ``rank`` and ``norm`` is ‖K‖.

    Examples
    --------
    >>> found = dntk.certificates.all_angles(
    ...     0.1, 0.1, 5.0, 1.0, rank=2, norm=9.0, eps=2.0**-52, size=40
    ... )
    >>> found.kind, float(found) < 0.1
    ('deterministic', True)
    """
    gap, root = eigenvalue - next_eigenvalue, math.sqrt(rank)
    rounding = _gap_rounding(norm, eps=eps, size=size)
    if gap <= rounding:
        return Bound(value=root, theorem="Yu, Wang and Samworth: no gap")
    error = min(root * (spectral_error + rounding), frobenius_error + root * rounding)
    return Bound(value=min(root, 2 * error / gap), theorem="Yu, Wang and Samworth")


def _gap_rounding(norm: float, *, eps: float, size: int) -> float:
    """10·N·eps·‖K‖: what rounding may do to eigenvalues, and so to a gap."""
    return 10 * size * float(eps) * norm
