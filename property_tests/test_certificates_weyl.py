"""`dntk.certificates.perturbation`: |λ_i(K) − λ_i(K̂)| ≤ ‖K − K̂‖₂, reached by K̂ = K + tI.

Rounding: the module's own, 4·0.46·eps·N·(‖K̂‖ + ‖K − K̂‖), where the library forms K̂ and its eigenvalues in the dtype
under test; K, ‖K − K̂‖₂ and λ_i(K) are NumPy's in float64.
"""

import numpy as np
from hypothesis import strategies as st

from dntk.certificates.perturbation import eigenvalues_near
from dntk.certificates.rounding import allowance
from property_tests.allowances import eps
from property_tests.kernel_pairs import eigen_in, pairs, spectrum_in
from property_tests.strategies import eigenvalues, for_libraries, host64


@for_libraries(pair=pairs(), jax_examples=6)
def test_eigenvalues_are_within_the_spectral_error(library, pair):
    found = eigenvalues_near(spectrum_in(library, pair.others), float(np.linalg.norm(pair.error, 2)), size=pair.size)
    lower, upper = (host64(end) for end in found)
    exact = eigenvalues(pair.kernel)
    assert found.kind == "deterministic"
    assert np.all(lower <= exact)
    assert np.all(exact <= upper)


@for_libraries(pair=pairs(kinds=("equal",)), shift=st.sampled_from([1e-3, 1.0, 1e3]), jax_examples=4)
def test_shifted_kernels_reach_the_ends(library, pair, shift):
    distance = shift * (pair.norm or 1.0)
    exact = eigenvalues(pair.kernel)
    for sign, end in ((1, 0), (-1, 1)):
        moved = library.array((pair.kernel + sign * distance * np.eye(pair.points)).astype(pair.dtype))
        found = eigenvalues_near(eigen_in(moved)[0], distance, size=pair.size)
        slack = 2 * allowance("weyl", eps(pair.dtype), pair.size, pair.norm + 2 * distance)
        assert np.all(np.abs(host64(found[end]) - exact) <= slack)
