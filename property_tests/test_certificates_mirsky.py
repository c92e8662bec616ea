"""`dntk.certificates.perturbation`: ‖λ(K) − λ(K̂)‖₂ ≤ ‖K − K̂‖_F and Σ|λ_i − λ̂_i| ≤ ‖K − K̂‖_*, an equality where K̂ ≤ K.

The former is reached by K̂ = K + tI. Rounding: the module's own, 4·0.69·eps·N·max(‖K‖, ‖K̂‖), times n for the nuclear
norm; the library forms both kernels and their eigenvalues in the dtype under test.
"""

import numpy as np
from hypothesis import strategies as st

from dntk.certificates.perturbation import spectrum_distance, total_distance
from dntk.certificates.rounding import allowance
from property_tests.allowances import eps
from property_tests.kernel_pairs import frobenius, pairs, spectrum_in
from property_tests.strategies import eigenvalues, for_libraries, host64


def distance(first, second):
    """(Σ (λ_i − λ̂_i)²)^{1/2} in float64."""
    return float(np.linalg.norm(host64(first) - host64(second)))


@for_libraries(pair=pairs(), jax_examples=6)
def test_spectra_are_no_further_apart_than_kernels(library, pair):
    first, second = spectrum_in(library, pair.features), spectrum_in(library, pair.others)
    place = {"norm": pair.norm, "eps": eps(pair.dtype), "size": pair.size}
    assert distance(first, second) <= float(spectrum_distance(frobenius(pair.error), **place))
    total = float(np.sum(np.abs(host64(first) - host64(second))))
    nuclear = float(np.sum(np.abs(np.linalg.eigvalsh(pair.error))))
    assert total <= float(total_distance(nuclear, points=pair.points, **place))


@for_libraries(pair=pairs(kinds=("projected", "nothing")), jax_examples=6)
def test_below_the_kernel_the_nuclear_bound_is_the_trace_and_reached(library, pair):
    first, second = spectrum_in(library, pair.features), spectrum_in(library, pair.others)
    place = {"norm": pair.norm, "eps": eps(pair.dtype), "size": pair.size, "points": pair.points}
    trace = float(np.trace(pair.error))
    bound = float(total_distance(trace, **place))
    total = float(np.sum(np.abs(host64(first) - host64(second))))
    slack = allowance("mirsky", eps(pair.dtype), pair.size, pair.points * pair.norm)
    assert total <= bound
    assert bound - 2 * slack <= total


@for_libraries(pair=pairs(kinds=("equal",)), shift=st.sampled_from([-1.0, 1e-3, 1e3]), jax_examples=4)
def test_shifted_kernels_reach_the_frobenius_bound(library, pair, shift):
    moved = shift * (pair.norm or 1.0)
    exact = eigenvalues(pair.kernel)
    first, second = library.array(exact.astype(pair.dtype)), library.array((exact + moved).astype(pair.dtype))
    norm = pair.norm + abs(moved)
    bound = spectrum_distance(np.sqrt(pair.points) * abs(moved), norm=norm, eps=eps(pair.dtype), size=pair.size)
    slack = allowance("mirsky", eps(pair.dtype), pair.size, norm)
    assert distance(first, second) <= float(bound) <= distance(first, second) + 2 * slack
