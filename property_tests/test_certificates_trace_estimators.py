"""`certificates.estimators`: XTrace and Hutch++ are unbiased, and exact where their subspaces hold the range.

XTrace with q probes is exact for rank < q, Hutch++ with 3q products for rank ≤ q, up to 4·2.0·eps·N·tr K (I2) times
products of the trace with ‖ω‖² = n and the condition of the image of the probes, by which rounding turns its range.
Over 200 seeds the mean is within five standard errors of the trace, and XTrace's own error is of the size of the
spread. Estimates, not bounds: nothing else is asserted.
"""

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from dntk.certificates.estimators import gaussian_probes, hutch_plus_plus, xtrace
from dntk.testing.place import host64
from property_tests.allowances import allowance
from property_tests.strategies import for_libraries, orthogonal, seeds, singular_values

SEEDS = 200
POINTS, RANK = 12, 3


def low_rank(seed, rank, scale):
    """A symmetric matrix (n, n) of a rank with eigenvalues of both signs."""
    vectors = orthogonal(np.random.default_rng(seed), POINTS)[:, :rank]
    signs = np.where(np.arange(rank) == 1, -1.0, 1.0)
    return scale * (vectors * signs * singular_values("polynomial", rank)) @ vectors.T


@for_libraries(
    rank=st.integers(0, RANK),
    scale=st.sampled_from([1e-15, 1.0, 1e15]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
    jax_examples=3,
)
def test_traces_of_low_rank_are_exact(library, rank, scale, dtype, seed):
    assume(library.has_float64 or dtype == "float32")
    matrix = low_rank(seed, rank, scale).astype(dtype)
    placed = library.array(matrix)
    exact = float(np.trace(matrix.astype(np.float64)))
    slack = POINTS * allowance("I2", dtype, POINTS, 3 * scale)
    q = RANK + 1
    for stream, count, left_out, found in (
        ("xtrace", q, range(q), xtrace(lambda v: placed @ v, placed, probes=q, seed=seed)),
        ("hutch++", 2 * q, (), hutch_plus_plus(lambda v: placed @ v, placed, products=3 * q, seed=seed)),
    ):
        drawn = host64(gaussian_probes(POINTS, count, seed=seed, stream=stream, like=placed))[:, :q]
        worst = max(condition(matrix, np.delete(drawn, i, axis=1), rank) for i in left_out or ((),))
        assert abs(found.value - exact) <= worst * slack
        assert found.error <= worst * slack


def condition(matrix, probes, rank):
    """By how much more than itself rounding turns the range that these probes show."""
    found = np.linalg.svd(matrix.astype(float) @ probes, compute_uv=False)
    return found[0] / found[rank - 1] if rank else 1.0


@pytest.mark.parametrize("spectrum", ["flat", "polynomial", "clustered", "step"])
def test_means_over_seeds_are_the_trace(spectrum):
    vectors = orthogonal(np.random.default_rng(1), POINTS)
    values = singular_values(spectrum, POINTS) * np.where(np.arange(POINTS) % 3 == 1, -1.0, 1.0)
    skew = np.triu(np.random.default_rng(2).standard_normal((POINTS, POINTS)), 1)
    matrix = vectors * values @ vectors.T + 0.1 * (skew - skew.T)  # any square matrix will do
    exact = float(np.sum(values))
    for estimate in (
        lambda seed: xtrace(lambda v: matrix @ v, matrix, probes=5, seed=seed),
        lambda seed: hutch_plus_plus(lambda v: matrix @ v, matrix, products=9, seed=seed),
    ):
        drawn = [estimate(seed) for seed in range(SEEDS)]
        found = np.array([one.value for one in drawn])
        spread = float(np.std(found, ddof=1))
        assert spread > 0
        assert abs(float(np.mean(found)) - exact) <= 5 * spread / np.sqrt(SEEDS)
        told = float(np.sqrt(np.mean([one.error**2 for one in drawn])))
        assert 0.3 * spread <= told <= 3 * spread


def counts(library):
    """Numbers of probes; one where each has to be compiled."""
    return st.sampled_from([RANK + 1] if library.module == "jax" else [2, 4])


@for_libraries(probes=counts, seed=seeds(), jax_examples=1)
def test_products_are_counted(library, probes, seed):
    calls = []
    placed = library.array(np.eye(POINTS), "float32")

    def multiply(block):
        calls.append(block.shape[1])
        return placed @ block

    assert xtrace(multiply, placed, probes=probes, seed=seed).products == sum(calls)
    calls.clear()
    assert hutch_plus_plus(multiply, placed, products=3 * probes + 1, seed=seed).products == sum(calls)


@pytest.mark.parametrize("probes", [1, POINTS + 1])
def test_impossible_numbers_of_probes_are_refused(probes):
    with pytest.raises(ValueError, match="`probes` must be between 2 and the 12 points, got"):
        xtrace(lambda v: v, np.eye(POINTS), probes=probes)
    with pytest.raises(ValueError, match="`products` must be between 6 and 36"):
        hutch_plus_plus(lambda v: v, np.eye(POINTS), products=3 * probes)
