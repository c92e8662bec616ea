"""Eigenvalues, truncation rank, coverage and alignment keep their definitions.

* Eigenvalues of features: |λ̂_i − λ_i| ≤ 4c·eps·N·‖K‖, c = 0.46 (W1); where there is no float64,
  singular values instead, |σ̂_i − σ_i| ≤ 4c·eps·N·‖F‖, c = 1.8 (I1'): the Gram matrix would lose
  those below 3e-4.
* r_ε is the least r with Σ_{i≤r} λ_i ≥ (1 − ε) Σ λ_i, up to 2n·eps of the sum, and does not grow
  with ε.
* c_j = ‖Uᵀu_j‖² lies in [0, 1] and 1 − c_j = ‖u_j − UUᵀu_j‖², up to 2γ_{m+s+4}·m and the
  orthonormality defect. The maximum over clusters of normalised shares is not a coverage: it can
  say 1 where one per cent is covered.
* 0 ≤ ⟨K, YYᵀ⟩/(‖K‖_F ‖YYᵀ‖_F) ≤ 1 for K ≥ 0, with 1 for K = YYᵀ, whatever the scale of K:
  γ_{4n+4}·√n.
* Ritz values of the randomised eigensolver do not exceed eigenvalues (I1).
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dntk
from dntk import spectrum
from property_tests.allowances import allowance, defect, eps, gamma
from property_tests.strategies import (
    eigenvalues,
    features,
    for_libraries,
    fractions,
    host64,
    orthogonal,
    orthonormal,
    part,
    seeds,
)

EPSILONS = [0.0, 1e-6, 0.01, 0.05, 0.3, 0.9]


@for_libraries(case=features())
def test_eigenvalues_are_those_of_the_kernel(library, case):
    values = host64(spectrum.eigenvalues(case.phi(library)))
    n, joined = case.shape[1], case.joined
    exact = np.concatenate([np.linalg.svd(joined, compute_uv=False), np.zeros(n)])[:n]
    norm = exact[0]
    assert values.shape == (n,)
    assert np.all(values >= 0)
    assert np.all(np.diff(values) <= 0)
    if library.has_float64:
        assert np.all(np.abs(values - exact**2) <= allowance("W1", case.dtype, case.size, norm**2))
    slack = allowance("I1'", case.dtype, case.size, norm)
    if not library.has_float64:
        assert np.all(np.abs(np.sqrt(values) - exact) <= slack)
    matrix = library.array((joined @ joined.T).astype(case.dtype))
    values = host64(spectrum.eigenvalues(matrix))
    assert np.all(np.abs(values - exact**2) <= allowance("W1", case.dtype, case.size, norm**2))


@for_libraries(case=features(), fraction=fractions)
def test_eigenpairs_are_orthonormal_and_solve_the_equation(library, case, fraction):
    size = part(fraction, case.shape[1])
    values, vectors = spectrum.leading_eigenpairs(case.phi(library).joined(), size)
    values, vectors = host64(values), host64(vectors)
    computed = "float64" if library.has_float64 else "float32"
    kernel = case.joined @ case.joined.T
    norm = np.linalg.norm(kernel, 2)
    assert vectors.shape == (case.shape[1], size)
    assert defect(vectors) <= 8 * eps(computed) * case.shape[1]
    residual = np.linalg.norm(kernel @ vectors - vectors * values, axis=0)
    assert np.all(residual <= allowance("I1", case.dtype, case.size, norm))
    top = eigenvalues(kernel)[:size]
    assert np.all(np.abs(values - top) <= allowance("W1", case.dtype, case.size, norm))


@given(kind=st.sampled_from([2.0**-0.25, 0.5, 0.9]), size=st.sampled_from([1, 5, 8]), seed=seeds())
def test_randomised_eigenvalues_do_not_exceed_the_exact_ones(kind, size, seed):
    n, d = 2100, 64
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.standard_normal((n, d)))
    singular = kind ** np.arange(d)
    joined = (left * singular) @ orthogonal(rng, d)
    values, vectors = spectrum.leading_eigenpairs(joined, size, seed=seed)
    slack = allowance("I1", "float64", n, 1.0)
    assert defect(vectors) <= 8 * eps("float64") * n
    assert np.all(values <= singular[:size] ** 2 + slack)
    ritz = np.sum((joined.T @ vectors) ** 2, axis=0)
    assert np.all(np.abs(ritz - values) <= slack)


def rank_slack(dtype, n):
    return 2 * n * eps(dtype)


@for_libraries(case=features(), epsilon=st.sampled_from(EPSILONS), other=st.sampled_from(EPSILONS))
def test_truncation_rank_is_least_and_does_not_grow(library, case, epsilon, other):
    phi = case.phi(library)
    values = spectrum.eigenvalues(phi)
    rank = spectrum.truncation_rank(values, epsilon)
    assert rank == spectrum.truncation_rank(phi, epsilon)
    host = host64(values)
    assert 1 <= rank <= len(host)
    computed = "float64" if library.has_float64 else "float32"
    slack = rank_slack(computed, len(host)) * np.sum(host)
    needed = (1 - epsilon) * np.sum(host)
    assert np.sum(host[:rank]) >= needed - slack
    assert np.sum(host[: rank - 1]) <= needed + slack
    more = spectrum.truncation_rank(values, max(epsilon, other))
    assert more <= spectrum.truncation_rank(values, min(epsilon, other))


@for_libraries(
    m=st.sampled_from([1, 2, 9]),
    fraction=fractions,
    seed=st.integers(0, 2**32 - 1),
    inside=st.booleans(),
)
def test_coverage_is_energy_and_its_complement_a_residual(library, m, fraction, seed, inside):
    dtype = "float64" if library.has_float64 else "float32"
    u = orthonormal(seed, m, part(fraction, m)).astype(dtype)
    vectors = orthonormal(seed + 1, m, m)
    if inside:
        rotation = orthogonal(np.random.default_rng(seed), u.shape[1])
        vectors = u.astype(np.float64) @ rotation
    vectors = vectors.astype(dtype)
    found = host64(spectrum.coverage(library.array(vectors), library.array(u)))
    wide, exact = u.astype(np.float64), vectors.astype(np.float64)
    slack = 2 * gamma(sum(u.shape) + 4, dtype) * m + 2 * defect(wide) + defect(exact)
    assert np.all((found >= 0) & (found <= 1))
    residual = np.sum((exact - wide @ (wide.T @ exact)) ** 2, axis=0)
    assert np.all(np.abs(1 - found - residual) <= slack)
    if inside or u.shape[1] == m:
        assert np.all(found >= 1 - slack)
    turned = (wide @ orthogonal(np.random.default_rng(seed + 2), u.shape[1])).astype(dtype)
    again = host64(spectrum.coverage(library.array(vectors), library.array(turned)))
    assert np.all(np.abs(found - again) <= 2 * slack + 2 * defect(turned.astype(np.float64)))


@given(share=st.floats(0.001, 0.5))
def test_largest_share_over_clusters_is_no_coverage(share):
    # u has the energy `share` in cluster 1, where U covers it fully, the rest in cluster 2, where U is blind to it.
    u = np.array([math.sqrt(share), 0.0, 0.0, math.sqrt(1 - share)])
    local = [np.array([1.0, 0.0]), np.array([1.0, 0.0])]
    parts = [u[:2], u[2:]]
    largest = max(float((v @ p) ** 2 / (p @ p)) for v, p in zip(local, parts, strict=True))
    directions = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0]]).T
    assert largest == pytest.approx(1)
    assert spectrum.coverage(u[:, None], directions)[0] == pytest.approx(share)


@for_libraries(case=features(), fraction=fractions, epsilon=st.sampled_from(EPSILONS), seed=seeds())
def test_coverage_gap_is_the_weighted_share_that_is_missed(library, case, fraction, epsilon, seed):
    m = case.shape[1]
    u = orthonormal(seed, m, part(fraction, m)).astype(case.dtype)
    gap = spectrum.coverage_gap(case.phi(library), library.array(u), epsilon)
    assert 0 <= gap <= 1
    values, vectors = spectrum.leading_eigenpairs(case.phi(library).joined(), m)
    rank = spectrum.truncation_rank(values, epsilon)
    values, vectors = host64(values)[:rank], host64(vectors)[:, :rank]
    missed = vectors - u.astype(np.float64) @ (u.T.astype(np.float64) @ vectors)
    exact = np.sum(values * np.sum(missed**2, axis=0)) / np.sum(values)
    # The eigenvectors and their number may come out differently when computed again: same calls, same results.
    slack = (2 * gamma(2 * m + 8, case.dtype) + 8 * eps(case.dtype)) * m + 3 * defect(u.astype(np.float64))
    assert abs(gap - exact) <= slack
    assert spectrum.coverage_gap(case.phi(library), library.array(np.eye(m), case.dtype)) <= slack


@for_libraries(case=features(), factor=st.sampled_from([1.0, 1e-6, 1e6]))
def test_alignment_is_a_cosine(library, case, factor):
    n = case.shape[1]
    kernel = case.joined @ case.joined.T
    kernel = (kernel / np.linalg.norm(kernel) * factor).astype(case.dtype)
    y = case.targets
    found = spectrum.alignment(library.array(kernel), library.array(y))
    wide, targets = kernel.astype(np.float64), y.astype(np.float64)
    outer = targets @ targets.T
    exact = np.sum(wide * outer) / (np.linalg.norm(wide) * np.linalg.norm(outer))
    slack = gamma(4 * n + 2 * y.shape[1] + 8, case.dtype) * math.sqrt(n)
    # ‖Y‖_F² / ‖YᵀY‖_F, at most √C, is how much larger the products are than the norm they are divided by.
    slack *= max(1.0, np.sum(targets**2) / np.linalg.norm(outer))
    assert -slack <= found <= 1 + slack
    assert abs(found - exact) <= slack
    own = (y @ y.T).astype(case.dtype)
    assert abs(spectrum.alignment(library.array(own), library.array(y)) - 1) <= slack


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("exponent", [-28, -24, 22, 28])
def test_alignment_does_not_depend_on_the_scale_of_the_kernel(exponent, seed):
    root = np.random.default_rng(seed).standard_normal((5, 3))
    kernel, y = (root @ root.T).astype(np.float32), np.ones((5, 1), np.float32)
    scaled = spectrum.alignment(kernel * np.float32(10.0**exponent), y)
    assert abs(scaled - spectrum.alignment(kernel, y)) <= gamma(64, "float32")


@for_libraries(case=features(), relative=st.sampled_from([0.0, 1e-3, 10.0]))
def test_condition_number_is_that_of_the_shifted_kernel(library, case, relative):
    phi = case.phi(library)
    values = host64(spectrum.eigenvalues(phi))
    found = spectrum.condition_number(phi, relative * values[0])
    assert found >= 1
    least = values[-1] + relative * values[0]
    exact = (1 + relative) * values[0] / least if least > 0 else math.inf
    assert found == exact or abs(found / exact - 1) <= 4 * eps(case.dtype)


def test_zero_kernel():
    zero = dntk.TangentFeatures(np.zeros((1, 4, 3)))
    assert spectrum.truncation_rank(zero) == 0
    assert spectrum.effective_dimension(zero, 1.0) == 0
    assert spectrum.condition_number(zero) == math.inf
