"""What every distiller of gradients must satisfy, and what its certificate promises.

* Directions are orthonormal whatever the features: ‖UᵀU − I‖ ≤ 8·eps·m·√s.
* On the same span, J(same-span solve) ≤ J(the paper's solve), Algorithm 1 included (T2): C3's
  4c·eps·N·κ‖y‖², c = 0.31, plus 2·eps·N·κ‖y‖² for directions dropped below N·eps of the largest.
* SpanCertificate: ‖e‖_A ≤ energy ≤ √(1 + ‖K‖/λ)·‖e‖_A and J(ŵ) − J* ≤ objective, up to the
  allowance of energies (C1), and the backward error of features and weights stored in the dtype.
* Krylov spaces are nested: energies do not grow with s and obey Chebyshev's bound (T5).
* With q solutions among s directions Σ_{i>s} λ_i ≤ tr(K − K_Π) ≤ Σ_{i>s−q} λ_i (T7), H1's
  allowance; shared directions keep at least Σ_{i≤s−q} λ_i(K̄) of K̄.
* All kernels equal, so are shared and per-class directions' residuals (Principal: the optimum).
* Coverage in energy form is ‖Uᵀu‖² ∈ [0, 1] and never above the form of a maximum over clusters.
"""

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import dntk
from dntk.certificates import span_certificate
from dntk.distill.gradients import Krylov, LocalGlobal, Principal, Solution
from dntk.distill.gradients.diagnostics import largest_local_coverage
from dntk.solve import ridge as solve_ridge
from dntk.solve import same_span
from dntk.spectrum import coverage, leading_eigenpairs
from property_tests.allowances import allowance, defect, eps
from property_tests.strategies import (
    SHAPES,
    eigenvalues,
    features,
    for_libraries,
    fractions,
    host64,
    part,
    per_output,
    relative_ridges,
)

MAKES = {
    "principal": lambda size, _: Principal(size),
    "principal per class": lambda size, _: Principal(size, per_output=True),
    "krylov": lambda size, _: Krylov(size),
    "krylov shared": lambda size, _: Krylov(size, per_output=False),
    "solution": lambda size, ridge: Solution(size, ridge=ridge),
    "solution shared": lambda size, ridge: Solution(size, ridge=ridge, per_output=False),
    "solution path": lambda size, ridge: Solution(size, ridge=ridge, multiples=(0.1, 1.0)),
    "local-global": lambda size, _: LocalGlobal(size=size, clusters=2),
}


def kinds(library):
    """Distillers; on a library that compiles, one of each new algorithm."""
    return st.sampled_from(["krylov", "solution shared"] if library.module == "jax" else sorted(MAKES))


@for_libraries(jax_examples=4, case=features(), kind=kinds, fraction=fractions, relative=relative_ridges)
def test_directions_are_orthonormal_and_the_same_span_solve_is_no_worse(library, case, kind, fraction, relative):
    m, ridge = case.shape[1], relative * case.norm
    assume(library.has_float64 or np.linalg.norm(case.wide_targets) / ridge < 1e15)
    grads = MAKES[kind](part(fraction, m), ridge).distill(case.phi(library), case.y(library))
    assert 1 <= grads.size <= part(fraction, m)
    for u in per_output(host64(grads.directions), 1) if grads.directions.ndim == 2 else host64(grads.directions):
        assert defect(u) <= 8 * eps(case.dtype) * m * np.sqrt(grads.size)
    y = case.wide_targets.T

    def objective(weights):
        fits = np.einsum("cmk,ck->cm", case.wide, weights)
        return np.sum((y - fits) ** 2, axis=1) + ridge * np.sum(weights**2, axis=1)

    paper = objective(host64(solve_ridge(grads, ridge=ridge).weights))
    better = objective(host64(same_span(grads, ridge=ridge).weights))
    scale = (1 + 1 / relative) * float(np.max(np.sum(y**2, axis=1)))
    slack = allowance("C3", case.dtype, case.size, scale) + 2 * eps(case.dtype) * case.size * scale
    assert np.all(better <= paper + slack)


@for_libraries(jax_examples=4, case=features(), kind=kinds, fraction=fractions, relative=relative_ridges)
def test_certificates_hold(library, case, kind, fraction, relative):
    m, ridge = case.shape[1], relative * case.norm
    assume(library.has_float64 or np.linalg.norm(case.wide_targets) / ridge < 1e15)
    grads = MAKES[kind](part(fraction, m), ridge).distill(case.phi(library), case.y(library))
    found = span_certificate(grads, ridge=ridge)
    y = case.wide_targets.T
    a = case.kernels + ridge * np.eye(m)
    alpha = np.linalg.solve(a, y[:, :, None])[:, :, 0]
    e = alpha - host64(solve_ridge(grads, ridge=ridge).dual)
    exact = np.einsum("cm,cmn,cn->c", e, a, e)
    kappa, y2 = 1 + 1 / relative, float(np.max(np.sum(y**2, axis=1)))
    slack = allowance("C1", case.dtype, case.size, kappa * y2 / ridge)
    energy = host64(found.energy.value) ** 2
    assert np.all(exact <= energy * (1 + 100 * eps(case.dtype)) + slack)
    assert np.all(energy <= exact * kappa * (1 + 100 * eps(case.dtype)) + kappa * slack)
    weights = host64(same_span(grads, ridge=ridge).weights)
    fits = np.einsum("cmk,ck->cm", case.wide, weights)
    excess = np.sum((y - fits) ** 2, axis=1) + ridge * np.sum(weights**2, axis=1) - ridge * np.sum(y * alpha, axis=1)
    slack = allowance("C3", case.dtype, case.size, kappa * y2)
    assert np.all(excess <= host64(found.objective.value) + slack)


@for_libraries(
    jax_examples=4,
    case=features(shapes=[s for s in SHAPES if s[1] > 2]),
    relative=relative_ridges,
    size=st.sampled_from([1, 2]),
)
def test_krylov_energies_fall_as_chebyshev_says(library, case, relative, size):
    if not library.has_float64:
        pytest.skip("without float64, directions whose image is rounding are left out, with their share of the energy")
    ridge = relative * case.norm
    y = case.wide_targets.T
    a = case.kernels + ridge * np.eye(case.shape[1])
    alpha = np.linalg.solve(a, y[:, :, None])[:, :, 0]

    def energy(s):
        grads = Krylov(s).distill(case.phi(library), case.y(library))
        e = alpha - host64(solve_ridge(grads, ridge=ridge).dual)
        return np.einsum("cm,cmn,cn->c", e, a, e)

    kappa = 1 + 1 / relative
    start = np.einsum("cm,cmn,cn->c", alpha, a, alpha)
    # A direction below 1e-6 of its candidate's norm is left out: so much may be missing of it.
    slack = allowance("C1", case.dtype, case.size, kappa * float(np.max(np.sum(y**2, axis=1))) / ridge)
    slack += 1e-12 * kappa * float(np.max(start))
    # Directions in the null space have no gradient and are left out: once the others are exhausted, no more is left
    # than the part of alpha there, as the polynomial through the other eigenvalues shows.
    values, vectors = np.linalg.eigh(case.kernels)
    slack += ridge * float(
        np.max(np.sum((vectors.mT @ alpha[:, :, None])[..., 0] ** 2 * (values < 1e-11 * case.norm), 1))
    )
    # An output that depends on nothing has no Krylov space: any directions give it the right, zero, predictor.
    alive = np.any(case.wide != 0, axis=(1, 2))
    start, first, second = start[alive], energy(size)[alive], energy(size + 1)[alive]
    rate = (np.sqrt(kappa) - 1) / (np.sqrt(kappa) + 1)
    assert np.all(first <= (2 * rate**size) ** 2 * start + slack)
    assert np.all(second <= first + slack)


@for_libraries(
    jax_examples=4,
    case=features(shapes=[s for s in SHAPES if s[1] > 2]),
    relative=relative_ridges,
    multiples=st.sampled_from([(1.0,), (0.1, 1.0), (0.1, 1.0, 10.0)]),
)
def test_solutions_cost_one_principal_direction_each(library, case, relative, multiples):
    c, m, _ = case.shape
    q = len(multiples)
    size, ridge = max(q, m // 2), relative * case.norm
    phi, y = case.phi(library), case.y(library)
    trace = np.sum(case.wide**2, axis=(1, 2))
    slack = sum(allowance("H1", case.dtype, case.size, t) for t in trace)
    tails = np.cumsum(np.clip(eigenvalues(case.kernels), 0, None)[:, ::-1], axis=1)[:, ::-1]
    tails = np.concatenate([tails, np.zeros((c, 1))], axis=1)
    lost = Solution(size, ridge=ridge, multiples=multiples).distill(phi, y).trace_residual * np.sum(trace)
    assert np.sum(tails[:, size]) - slack <= lost <= np.sum(tails[:, size - q]) + slack
    shared = Solution(size, ridge=ridge, multiples=multiples, per_output=False).distill(phi, y)
    q = min(q * c, size)
    mean = np.clip(eigenvalues(np.mean(case.kernels, axis=0)), 0, None)
    assert shared.trace_residual * np.sum(trace) <= c * np.sum(mean[size - q :]) + slack


@for_libraries(
    jax_examples=4,
    case=features(shapes=[(1, 7, 3), (1, 20, 5), (1, 24, 40)], few=[(1, 6, 9)]),
    fraction=fractions,
)
def test_shared_directions_are_those_of_every_output_where_all_kernels_are_equal(library, case, fraction):
    size = part(fraction, case.shape[1])
    phi = dntk.TangentFeatures(library.array(np.repeat(case.values, 3, axis=0)))
    y = library.array(np.repeat(case.targets, 3, axis=1))
    # Solution's residual depends on which eigenvectors of equal eigenvalues are taken: see the unit tests.
    slack = 3 * allowance("H1", case.dtype, 3 * case.size, 1.0)
    shared, each = (Principal(size, per_output=mode).distill(phi, y) for mode in (False, True))
    assert abs(shared.trace_residual - each.trace_residual) <= slack


@for_libraries(jax_examples=4, case=features(), variance=st.sampled_from([0.5, 0.95]), clusters=st.sampled_from([1, 3]))
def test_energy_coverage_is_a_projection_and_below_the_largest_share(library, case, variance, clusters):
    phi, m = case.phi(library), case.shape[1]
    found = LocalGlobal(variance=variance, clusters=clusters).diagnose(phi)
    _, vectors = leading_eigenpairs(phi.joined(), m)
    local = host64(found.local_directions)
    energy = host64(coverage(vectors, found.local_directions))
    dtype = "float64" if library.has_float64 else "float32"
    slack = 8 * eps(dtype) * m + 2 * defect(local)
    u = host64(vectors)
    assert np.all((energy >= 0) & (energy <= 1))
    assert np.all(np.abs(energy - (1 - np.sum((u - local @ (local.T @ u)) ** 2, axis=0))) <= 2 * slack)
    largest = host64(largest_local_coverage(vectors, found))
    assert np.all(largest >= energy - 4 * slack * np.sqrt(m))
    assert np.all(largest <= 1)
