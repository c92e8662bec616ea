"""`dntk.certificates.estimators`: norms from products with random vectors, at failure 1e-9 a draw.

    ‖R‖_F ≤ √(mean‖Rg_j‖²/c), (c e^{1−c})^{q/2} = δ                     (Chernoff: sharp at rank one)
    ‖R‖₂ ≤ δ^{−1/q} √(2/π) max‖Rg_j‖                                    (Halko, Martinsson and Tropp)
    ‖R‖₂ ≤ θ/(1 − ε), ε = (ln(1.648√n/δ)/(2q − 1))², R ≥ 0              (Kuczyński and Woźniakowski)

R is the difference of two kernels, or a kernel for the last; the library multiplies in the dtype. The last is the norm
itself once the Krylov space is everything. Rounding: 4·0.71·eps·N of the norm (K1) times what a bound magnifies. Of 200
seeds at failure 0.1 no more may fail than a binomial variable exceeds with probability 1e-6.
"""

import math

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.stats import binom

from dntk.certificates.estimators import (
    chernoff_factor,
    frobenius_norm,
    gaussian_probes,
    lanczos_gap,
    semidefinite_norm,
    spectral_norm,
)
from property_tests.allowances import allowance
from property_tests.kernel_pairs import build_pair, frobenius, gram_in, pairs
from property_tests.strategies import build, for_libraries, seeds
from tests.libraries import LIBRARIES

FAILURE = 1e-9
CONFIDENCE = 1 - FAILURE
SEEDS = 200


def counts(library):
    """Numbers of probes; one where each has to be compiled."""
    return st.sampled_from([5] if library.module == "jax" else [1, 5, 20])


def blocks(library):
    """Widths of Krylov blocks; one where each has to be compiled."""
    return st.sampled_from([1] if library.module == "jax" else [1, 4])


@for_libraries(pair=pairs(), probes=counts, seed=seeds(), jax_examples=4)
def test_images_of_probes_bound_both_norms(library, pair, probes, seed):
    matrix = gram_in(library, pair.features) - gram_in(library, pair.others)
    images = matrix @ gaussian_probes(pair.points, probes, seed=seed, stream="test", like=matrix)
    slack = allowance("K1", pair.dtype, pair.size, pair.norm)
    whole, spectral = (f(images, confidence=CONFIDENCE) for f in (frobenius_norm, spectral_norm))
    assert frobenius(pair.error) <= float(whole) + slack * math.sqrt(pair.points)
    assert np.linalg.norm(pair.error, 2) <= float(spectral) + slack
    assert whole.confidence == spectral.confidence == CONFIDENCE
    # Sane: q·n standard normals are no longer than √(qn) + 8, and the factors are what the docstring says.
    length = frobenius(pair.error) * (math.sqrt(pair.points * probes) + 8) + slack * 8 * pair.points * probes
    assert float(whole) <= length / math.sqrt(probes * chernoff_factor(probes, FAILURE))
    assert float(spectral) <= length * FAILURE ** (-1 / probes)


@for_libraries(pair=pairs(), block=blocks, steps=st.sampled_from([4, 40]), seed=seeds(), jax_examples=2)
def test_block_lanczos_bounds_the_norm_of_semidefinite_matrices(library, pair, block, steps, seed):
    kernel = gram_in(library, pair.others)
    start = gaussian_probes(pair.points, block, seed=seed, stream="test", like=kernel)
    slack = allowance("N1", pair.dtype, pair.size, pair.norm)
    found = semidefinite_norm(lambda v: kernel @ v, start, steps=steps, confidence=CONFIDENCE, rounding=slack)
    exact = float(np.linalg.norm(pair.approximate, 2))
    assert exact <= float(found)
    if min(block, pair.points) * steps >= pair.points:  # the space is everything
        assert found.kind == "deterministic"
        assert float(found) <= exact + 2 * slack
    else:
        gap = lanczos_gap(pair.points, steps, FAILURE ** (1 / block))
        assert found.kind == "probabilistic"
        assert float(found) <= (exact + 2 * slack) / (1 - gap) if gap < 1 else math.isinf(float(found))


def test_a_krylov_space_that_is_complete_is_filled_with_columns_that_are_new():
    # Found by `make fuzz`: equal eigenvalues, so that all but a few columns are rounding of those before.
    pair = build_pair(build((1, 24, 40), "float32", "flat", "duplicated", 1e8, False, 27), "projected", 0)
    kernel = gram_in(LIBRARIES[0], pair.others)
    start = gaussian_probes(pair.points, 1, seed=0, stream="test", like=kernel)
    slack = allowance("N1", pair.dtype, pair.size, pair.norm)
    found = semidefinite_norm(lambda v: kernel @ v, start, steps=40, confidence=CONFIDENCE, rounding=slack)
    assert 0 <= float(found) - np.linalg.norm(pair.approximate, 2) <= 2 * slack


@pytest.mark.parametrize("probes", [1, 2, 10, 100])
@pytest.mark.parametrize("failure", [0.5, 1e-3, 1e-9])
def test_chernoff_factors_solve_their_equation(probes, failure):
    c = chernoff_factor(probes, failure)
    assert 0 < c < 1
    assert (probes / 2) * (math.log(c) + 1 - c) == pytest.approx(math.log(failure), rel=1e-9)


@for_libraries(pair=pairs(), exponent=st.sampled_from([-30, 0, 30]), jax_examples=2)
def test_norms_of_images_neither_overflow_nor_vanish(library, pair, exponent):
    images = np.random.default_rng(0).standard_normal((pair.points, 5))
    for bound in (frobenius_norm, spectral_norm):
        one, other = (bound(library.array(images * s, pair.dtype), confidence=0.9) for s in (1.0, 10.0**exponent))
        assert float(other) == pytest.approx(float(one) * 10.0**exponent, rel=1e-5)
        assert float(bound(library.array(0 * images, pair.dtype), confidence=0.9)) == 0


@pytest.mark.parametrize("spectrum", ["flat", "close", "rank one"])
@pytest.mark.parametrize("probes", [2, 10])
def test_bounds_fail_no_more_often_than_they_say(spectrum, probes):
    rng, failure, n = np.random.default_rng(probes), 0.1, 30
    # Close eigenvalues: ten steps of Lanczos still fall short of the largest.
    values = {"flat": np.ones(n), "close": 1 - 0.02 * np.arange(n), "rank one": np.eye(1, n)[0]}[spectrum]
    allowed, failed = binom.isf(1e-6, SEEDS, failure), np.zeros(3, dtype=int)
    for _ in range(SEEDS):
        images = values[:, None] * rng.standard_normal((n, probes))
        failed[0] += float(frobenius_norm(images, confidence=1 - failure)) < np.linalg.norm(values)
        failed[1] += float(spectral_norm(images, confidence=1 - failure)) < values[0]
        start = rng.standard_normal((n, 1))
        found = semidefinite_norm(lambda v: values[:, None] * v, start, steps=probes, confidence=1 - failure)
        failed[2] += float(found) < values[0] * (1 - 1e-12)
    assert np.all(failed <= allowed)


def test_the_frobenius_bound_is_sharp_at_rank_one_and_tightens_with_probes():
    rng = np.random.default_rng(0)
    ratios = []
    for probes in (5, 20, 80):
        drawn = [float(frobenius_norm(rng.standard_normal((1, probes)), confidence=0.99)) for _ in range(SEEDS)]
        ratios.append(np.median(drawn))
    assert 1 < ratios[2] < ratios[1] < ratios[0]
    assert ratios[2] < 1.35
