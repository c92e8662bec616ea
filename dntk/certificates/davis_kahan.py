"""Davis and Kahan: how far a leading eigenspace turns.

For the r leading eigenvectors of K and of K̂, with E = K − K̂:

    ‖sin Θ‖₂ ≤ ‖E‖₂/δ,   δ = λ_r(K) − λ_{r+1}(K̂)   (the gap between the two matrices, Davis and Kahan 1970),
    ‖sin Θ‖_F ≤ 2 min(√r‖E‖₂, ‖E‖_F)/(λ_r(K) − λ_{r+1}(K))   (the gap of K alone, Yu, Wang and Samworth 2015).

The constant of the first with the gap of the second is wrong: K = diag(1, 0), E = diag(−0.6, 0.6) has ‖E‖/gap = 0.6 and
sin Θ = 1. Rounding: 10·n·eps·‖K‖ joins ‖E‖; a gap below that says nothing, and the bound is 1.
"""

import math

from dntk.bounds import Bound


def largest_angle(spectral_error: float, eigenvalue: float, next_approximate: float, *, rounding: float) -> Bound:
    """Bound on ‖sin Θ‖₂ from λ_r(K), λ_{r+1}(K̂) and ‖K − K̂‖₂; ``rounding`` is from :func:`gap_rounding`."""
    gap = eigenvalue - next_approximate
    value = 1.0 if gap <= rounding else min(1.0, (spectral_error + rounding) / gap)
    return Bound(value=value, theorem="Davis and Kahan, gap between K and its approximation")


def all_angles(
    spectral_error: float,
    frobenius_error: float,
    eigenvalue: float,
    next_eigenvalue: float,
    *,
    rank: int,
    rounding: float,
) -> Bound:
    """Bound on ‖sin Θ‖_F from λ_r(K), λ_{r+1}(K) and norms of K − K̂."""
    gap, root = eigenvalue - next_eigenvalue, math.sqrt(rank)
    if gap <= rounding:
        return Bound(value=root, theorem="Yu, Wang and Samworth: no gap")
    error = min(root * (spectral_error + rounding), frobenius_error + root * rounding)
    return Bound(value=min(root, 2 * error / gap), theorem="Yu, Wang and Samworth")


def gap_rounding(norm: float, *, eps: float, size: int) -> float:
    """10·N·eps·‖K‖: what rounding may do to eigenvalues, and so to a gap."""
    return 10 * size * float(eps) * norm
