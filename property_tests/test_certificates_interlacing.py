"""`dntk.certificates.eigenvalues`: Poincaré's separation and Ostrowski's factors, as intervals, and back from traces.

For U (m, s), UᵀU = I: λ_{i+m−s}(K) ≤ λ_i(UᵀKU) ≤ λ_i(K), both ends reached by eigenvectors; for any X the ends take
the factors σ_min(X)² and ‖X‖². Back: λ_i(UᵀKU) ≤ λ_i(K) ≤ λ_i(UᵀKU) + tr K − tr UᵀKU. Rounding: the module's own, 4·2.0
(1.0 with factors) eps·N·‖K‖; U is rounded to the dtype, which adds its measured defect ‖UᵀU − I‖ times ‖K‖ (T1).
"""

import numpy as np
import pytest
from hypothesis import strategies as st

from dntk import arrays
from dntk.certificates.eigenvalues import distilled_eigenvalues, eigenvalues_from_trace
from dntk.certificates.rounding import allowance
from property_tests.allowances import defect, eps
from property_tests.kernel_pairs import gram_in, leading, pairs, spectrum_in
from property_tests.strategies import eigenvalues, for_libraries, fractions, host64, orthonormal, part


def distilled(library, pair, columns):
    """Descending eigenvalues of XᵀKX, all of it formed by the library in the dtype."""
    kernel, x = gram_in(library, pair.features), library.array(columns, pair.dtype)
    xp = arrays.namespace(kernel)
    return xp.flip(xp.linalg.eigvalsh(x.mT @ kernel @ x), axis=0)


EQUAL = pairs(kinds=("equal",))


@for_libraries(pair=EQUAL, fraction=fractions, seed=st.integers(0, 2**32 - 1), jax_examples=4)
def test_distilled_eigenvalues_are_in_their_intervals(library, pair, fraction, seed):
    size = part(fraction, pair.points)
    u = orthonormal(seed, pair.points, size).astype(pair.dtype).astype(np.float64)
    lower, upper = distilled_eigenvalues(spectrum_in(library, pair.features), size, inner=pair.size)
    exact, turned = eigenvalues(u.T @ pair.kernel @ u), defect(u) * pair.norm
    assert np.all(host64(lower) - turned <= exact)
    assert np.all(exact <= host64(upper) + turned)


@for_libraries(pair=EQUAL, fraction=fractions, jax_examples=4)
def test_eigenvectors_reach_both_ends(library, pair, fraction):
    size = part(fraction, pair.points)
    found = distilled_eigenvalues(spectrum_in(library, pair.features), size, inner=pair.size)
    whole = leading(pair.kernel, pair.points)
    for u, end in ((whole[:, :size], found.upper), (whole[:, pair.points - size :], found.lower)):
        slack = 3 * allowance("interlacing", eps(pair.dtype), pair.size, pair.norm)
        assert np.all(np.abs(eigenvalues(u.T @ pair.kernel @ u) - host64(end)) <= slack)


@for_libraries(
    pair=EQUAL,
    fraction=fractions,
    spread=st.sampled_from([0, 1, 3]),
    seed=st.integers(0, 2**32 - 1),
    jax_examples=4,
)
def test_any_columns_are_in_ostrowskis_intervals(library, pair, fraction, spread, seed):
    size = part(fraction, pair.points)
    rng = np.random.default_rng(seed)
    x = orthonormal(seed, pair.points, size) * 10.0 ** rng.uniform(-spread, spread, size)
    x = (x @ orthonormal(seed + 1, size, size)).astype(pair.dtype).astype(np.float64)
    singular = np.linalg.svd(x, compute_uv=False)
    gains = (float(singular[-1]) ** 2, float(singular[0]) ** 2)
    found = distilled_eigenvalues(spectrum_in(library, pair.features), size, gains=gains, inner=pair.size)
    exact = eigenvalues(x.T @ pair.kernel @ x)
    assert found.theorem == ("Poincaré separation" if gains == (1.0, 1.0) else "Ostrowski")
    assert np.all(host64(found.lower) <= exact)
    assert np.all(exact <= host64(found.upper))


@for_libraries(pair=EQUAL, factor=st.sampled_from([0.5, 2.0]), jax_examples=3)
def test_scaled_eigenvectors_reach_ostrowskis_factors(library, pair, factor):
    found = distilled_eigenvalues(
        spectrum_in(library, pair.features), pair.points, gains=(factor**2, factor**2), inner=pair.size
    )
    slack = 3 * allowance("interlacing", eps(pair.dtype), pair.size, factor**2 * pair.norm)
    for end in found:
        assert np.all(np.abs(host64(end) - factor**2 * eigenvalues(pair.kernel)) <= slack)


@for_libraries(pair=EQUAL, fraction=fractions, seed=st.integers(0, 2**32 - 1), jax_examples=4)
def test_reference_eigenvalues_follow_from_distilled_ones_and_the_trace(library, pair, fraction, seed):
    size = part(fraction, pair.points)
    # No eigenvalue is negative but by rounding of the reference.
    exact, trace = np.clip(eigenvalues(pair.kernel)[:size], 0, None), float(np.trace(pair.kernel))
    for u in (orthonormal(seed, pair.points, size), leading(pair.kernel, size)):
        rounded = u.astype(pair.dtype).astype(np.float64)
        found = eigenvalues_from_trace(distilled(library, pair, rounded), trace, size=pair.size)
        turned = defect(rounded) * trace
        assert np.all(host64(found.lower) <= exact + turned)
        assert np.all(exact <= host64(found.upper) + turned)
    # Along eigenvectors the interval is one tail wide: Σ_{i>s} λ_i, and a point where s = m.
    width = host64(found.upper) - host64(found.lower)
    tail = float(np.sum(np.clip(eigenvalues(pair.kernel)[size:], 0, None)))
    assert np.all(width <= tail + 4 * allowance("trace", eps(pair.dtype), pair.size, trace) + 2 * turned)


@pytest.mark.parametrize("size", [0, 4, -1])
def test_sizes_outside_the_kernel_are_refused(size):
    with pytest.raises(ValueError, match="`size` must be between 1 and the 3 eigenvalues given, got"):
        distilled_eigenvalues(np.ones(3), size)
