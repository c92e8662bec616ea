"""`dntk.certificates.sketch`: singular values after a Gaussian sketch of k rows, at failure 1e-9 a draw.

    G1   (1 − √(r/k) − t/√k)₊ σ_i ≤ σ̂_i ≤ (1 + √(r/k) + t/√k) σ_i, t = √(2 ln(2/δ))
    G2   σ_i(1 − √(i/k) − t₂/√k)₊ ≤ σ̂_i ≤ σ_i(1 + t₂/√k) + (Σ_{j≥i} σ_j²)^{1/2}/√k, t₂ = √(2 ln(3n/δ))

k ranges from one row, fewer than the rank, to many more than features. Rounding: singular values of the sketched
features are found by NumPy in float64 from what the library sketched in the dtype: 4·1.8·eps·N·‖Φ‖‖S‖ (I1'),
‖S‖ ≤ 1 + √(P/k) + t. Of 200 seeds at failure 0.1 no more may fail than a binomial variable exceeds with probability
1e-6.
"""

import math

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.stats import binom

from dntk.certificates.sketch import exact_upper_factors, sketch_gains, sketched_singular_values
from dntk.sketch import Gaussian
from property_tests.allowances import allowance
from property_tests.kernel_pairs import pairs
from property_tests.strategies import eigenvalues, features, for_libraries, host64, seeds, singular_values

FAILURE = 1e-9
CONFIDENCE = 1 - FAILURE
SEEDS = 200


def dims(library):
    """k; one where each has to be compiled."""
    return st.sampled_from([64] if library.module == "jax" else [1, 4, 64, 200])


def padded(values, n):
    """The first n values, zeros where there are fewer."""
    return np.concatenate([values, np.zeros(n)])[:n]


@for_libraries(pair=pairs(kinds=("equal",)), dim=dims, seed=seeds(), jax_examples=4)
def test_singular_values_stay_in_both_bands(library, pair, dim, seed):
    n, width = pair.features.shape
    wide = pair.features.astype(np.float64)
    exact = padded(np.linalg.svd(wide, compute_uv=False), n)
    sketched = host64(Gaussian(dim, seed=seed).apply(library.array(pair.features)))
    found = padded(np.linalg.svd(sketched, compute_uv=False), n)
    longest = 1 + math.sqrt(width / dim) + math.sqrt(2 * math.log(2 / FAILURE) / dim)
    slack = allowance("I1'", pair.dtype, max(pair.size, dim), longest * math.sqrt(pair.norm))
    least, most = sketch_gains(min(n, width), dim, confidence=CONFIDENCE)
    assert np.all(least * exact - slack <= found)
    assert np.all(found <= most * exact + slack)
    intervals = sketched_singular_values(library.array(exact.astype(pair.dtype)), dim, confidence=CONFIDENCE)
    assert np.all(host64(intervals.lower) - slack <= found)
    assert np.all(found <= host64(intervals.upper) + slack)
    assert intervals.kind == "probabilistic"
    assert intervals.confidence == CONFIDENCE


@for_libraries(case=features(), dim=dims, seed=seeds(), jax_examples=4)
def test_eigenvalues_of_exact_mean_kernels_are_below_their_factors(library, case, dim, seed):
    """All outputs share one sketch: i·C features for the i-th eigenvalue."""
    c, n, _ = case.shape
    hats = host64(Gaussian(dim, seed=seed).apply(library.array(case.values)))
    exact = np.sqrt(np.clip(eigenvalues(case.joined @ case.joined.T), 0, None))
    found = np.sqrt(np.clip(eigenvalues(np.mean(hats @ np.swapaxes(hats, 1, 2), axis=0)), 0, None))
    factors = np.array(exact_upper_factors(n, c, dim, confidence=CONFIDENCE))
    told = np.isfinite(factors)
    assert np.all(factors >= 1)
    assert not np.any(told[np.arange(1, n + 1) * c >= dim])
    # Eigenvalues within 4·2·eps·N·‖K‖‖S‖²: singular values within its root.
    scale = case.norm * (2 + 8 / math.sqrt(dim)) ** 2
    slack = math.sqrt(allowance("I1", "float64", max(case.size, dim), scale))
    slack += allowance("I1'", case.dtype, max(case.size, dim), math.sqrt(scale))
    assert np.all(exact[told] <= factors[told] * (found[told] + slack))


@for_libraries(pair=pairs(), exponent=st.sampled_from([-30, -20, 0, 15, 30]), jax_examples=3)
def test_bands_do_not_depend_on_the_scale(library, pair, exponent):
    values = singular_values("polynomial", pair.points)
    one = sketched_singular_values(library.array(values, pair.dtype), 64, confidence=CONFIDENCE)
    other = sketched_singular_values(library.array(values * 10.0**exponent, pair.dtype), 64, confidence=CONFIDENCE)
    for first, second in zip(one, other, strict=True):
        np.testing.assert_allclose(host64(second), host64(first) * 10.0**exponent, rtol=1e-5)


def test_bands_are_tight_where_the_theorem_is():
    """A flat spectrum of rank r = k/4 fills [1 − √(r/k), 1 + √(r/k)]: the band is only t/√k wider."""
    rank, dim = 100, 400
    drawn = np.random.default_rng(0).standard_normal((rank, dim)) / math.sqrt(dim)
    found = np.linalg.svd(drawn, compute_uv=False)
    least, most = sketch_gains(rank, dim, confidence=CONFIDENCE)
    t = math.sqrt(2 * math.log(2 / FAILURE) / dim)
    assert most - 1.1 * t <= found[0] <= most
    assert least <= found[-1] <= least + 1.2 * t
    lower, upper = sketched_singular_values(np.ones(rank), dim, confidence=CONFIDENCE)
    by_place = math.sqrt(2 * math.log(3 * rank / FAILURE) / dim)
    assert upper[0] == pytest.approx(1 + math.sqrt(rank / dim) + by_place)
    assert lower[-1] == pytest.approx(max(0.0, 1 - math.sqrt(rank / dim) - by_place))


def test_outputs_that_share_a_sketch_use_it_up_together():
    """25 outputs take √(25/100) of the band for the first eigenvalue, and t/√k = 0.23; 100 outputs take all of it."""
    assert exact_upper_factors(2, 25, 100, confidence=0.6)[0] == pytest.approx(
        1 / (0.5 - math.sqrt(2 * math.log(15)) / 10)
    )
    assert exact_upper_factors(2, 100, 100, confidence=0.6) == [math.inf, math.inf]
    assert exact_upper_factors(2, 1, 100, confidence=0.6) < exact_upper_factors(2, 25, 100, confidence=0.6)


@pytest.mark.parametrize("spectrum", ["flat", "exponential", "deficient"])
@pytest.mark.parametrize("dim", [10, 200])
def test_bands_fail_no_more_often_than_they_say(spectrum, dim):
    rng, failure = np.random.default_rng(dim), 0.1
    exact = singular_values(spectrum, 12)
    rank = int(np.sum(exact > 0))
    least, most = sketch_gains(rank, dim, confidence=1 - failure)
    lower, upper = sketched_singular_values(exact, dim, confidence=1 - failure)
    failed = np.zeros(2, dtype=int)
    for _ in range(SEEDS):
        drawn = exact[:, None] * rng.standard_normal((12, dim)) / math.sqrt(dim)
        found = padded(np.linalg.svd(drawn, compute_uv=False), 12)
        failed[0] += np.any(found < least * exact - 1e-12) or np.any(found > most * exact + 1e-12)
        failed[1] += np.any(found < lower - 1e-12) or np.any(found > upper + 1e-12)
    assert np.all(failed <= binom.isf(1e-6, SEEDS, failure))
