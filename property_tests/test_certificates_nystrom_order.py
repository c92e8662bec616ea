"""`dntk.certificates.kernel_errors`: R = K − K_Π = Φ(I − Π)Φᵀ ≥ 0 and what follows from it.

    tr R = ‖(I − Π)Φᵀ‖_F² exactly,  ‖R‖₂ ≤ ‖R‖_F ≤ √(‖R‖₂ tr R) ≤ tr R (equalities at rank one),
    λ_i(K) − ‖R‖₂ ≤ λ_i(K_Π) ≤ λ_i(K).

The library forms traces and eigenvalues in the dtype, of features and of their projections as rounded to it;
the reference is NumPy's in float64. Rounding: the module's own; rounding the projection to the dtype moves K_Π by at
most 2·eps·‖Φ‖‖Φ‖_F, counted as `turned`.
"""

import numpy as np

from dntk import arrays
from dntk.bounds import Bound
from dntk.certificates.kernel_errors import eigenvalues_above, frobenius_residual, trace_residual
from dntk.certificates.rounding import allowance
from property_tests.allowances import eps
from property_tests.kernel_pairs import frobenius, gram_in, pairs, spectrum_in
from property_tests.strategies import eigenvalues, for_libraries, host64

PROJECTED = pairs(kinds=("projected", "nothing", "equal"))


def squares_in(library, rows):
    """‖F‖_F² by the library in the dtype."""
    placed = library.array(rows)
    xp = arrays.namespace(placed)
    return float(xp.sum(placed**2))


def turned(pair):
    """What rounding of the projected features to the dtype moves K_Π by."""
    return 2 * eps(pair.dtype) * np.sqrt(pair.norm) * frobenius(pair.features.astype(np.float64))


@for_libraries(pair=PROJECTED, jax_examples=6)
def test_the_trace_residual_is_the_trace_of_what_is_left(library, pair):
    trace = squares_in(library, pair.features)
    bound = trace_residual(trace, squares_in(library, pair.others), eps=eps(pair.dtype), size=pair.size)
    exact, slack = float(np.trace(pair.error)), turned(pair) * np.sqrt(pair.points)
    assert exact <= float(bound) + slack
    assert float(bound) <= max(exact, 0) + 2 * allowance("trace residual", eps(pair.dtype), pair.size, trace) + slack
    left = pair.features.astype(np.float64) - pair.others.astype(np.float64)
    assert np.sum(left**2) <= float(bound) + slack
    assert bound.kind == "deterministic"


@for_libraries(pair=PROJECTED, jax_examples=6)
def test_eigenvalues_of_the_kernel_lie_above_those_of_its_projection(library, pair):
    spectral = float(np.linalg.norm(pair.error, 2))
    found = eigenvalues_above(spectrum_in(library, pair.others), spectral, norm=pair.norm, size=pair.size)
    exact, slack = eigenvalues(pair.kernel), turned(pair)
    lower, upper = (host64(end) for end in found)
    assert np.all(lower <= np.clip(exact, 0, None) + slack)
    assert np.all(exact <= upper + slack)
    assert np.all(lower >= 0)
    # One-sided: as wide as ‖R‖₂, half of Weyl's, and the top of the spectrum reaches its end where nothing was kept.
    room = 2 * allowance("nystrom", eps(pair.dtype), pair.size, pair.norm)
    assert np.all(upper - lower <= spectral + 2 * room)
    if pair.kind == "nothing":
        assert abs(upper[0] - exact[0]) <= room


@for_libraries(pair=PROJECTED, jax_examples=6)
def test_norms_of_the_residual_are_bounded(library, pair):
    spectral, trace = float(np.linalg.norm(pair.error, 2)), max(float(np.trace(pair.error)), 0.0)
    bound = frobenius_residual(Bound(value=spectral, theorem="exact"), Bound(value=trace, theorem="exact"))
    whole = frobenius(pair.error)
    formed = host64(gram_in(library, pair.features) - gram_in(library, pair.others))
    slack = allowance("norms", eps(pair.dtype), pair.size, pair.norm) + turned(pair)
    assert whole <= float(bound) + slack
    assert frobenius(formed) <= float(bound) + slack + allowance("norms", eps(pair.dtype), pair.size, pair.norm)
    assert float(bound) <= max(trace, spectral) + slack
    singular = np.linalg.svd(pair.error, compute_uv=False)
    if np.sum(singular[1:]) <= slack:
        assert float(bound) <= whole + np.sqrt(2 * spectral * slack) + 2 * slack  # rank one


def test_probabilistic_inputs_make_probabilistic_bounds():
    spectral = Bound(value=2.0, theorem="sampled", kind="probabilistic", confidence=0.9)
    found = frobenius_residual(spectral, Bound(value=8.0, theorem="exact"))
    assert (found.value, found.kind, found.confidence) == (4.0, "probabilistic", 0.9)
