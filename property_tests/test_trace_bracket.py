"""What `Solution` loses of the kernel is bracketed (T7, H1), and its predictor is the exact one.

With U = [α̂, u_1 … u_{s−1}] and Π the projector on the span of the synthetic gradients, for every
output:

    Σ_{i>s} λ_i ≤ tr(K − K_Π) ≤ Σ_{i≥s} λ_i.

`Principal` attains the lower end (Eckart and Young, E1). Rounding: 4c·eps·N·tr K, c = 9 (H1: 2e-15
of tr K in float64). Conjugate gradients obey ‖α − α_t‖_A ≤ 2((√κ − 1)/(√κ + 1))^t ‖α‖_A and never
raise it (T5), up to the κ-scaled allowance of energies (C1). With α̂ in the span, the Galerkin
predictor is the full one: 4c·eps·N·κ‖y‖, c = 0.18 (K3).
"""

import math

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import dntk
from dntk.distill.gradients import Principal, Solution
from dntk.solve import Preconditioner, preconditioned_cg
from dntk.solve import ridge as solve_ridge
from dntk.spectrum import leading_eigenpairs
from property_tests.allowances import allowance, eps
from property_tests.strategies import (
    eigenvalues,
    features,
    for_libraries,
    fractions,
    host64,
    part,
    relative_ridges,
)


def residuals(case, grads):
    """tr(K − K_Π) of every output, Π from the rows of the synthetic gradients themselves."""
    out = []
    for phi, values in zip(case.wide, host64(grads.values), strict=True):
        scale = np.linalg.norm(values, 2) or 1.0
        _, singular, rows = np.linalg.svd(values / scale, full_matrices=False)
        rows = rows[singular > max(values.shape) * eps(case.dtype)]
        out.append(np.sum((phi - phi @ rows.T @ rows) ** 2))
    return np.array(out)


def tails(case, size):
    """Σ_{i>s} λ_i of every output."""
    return np.sum(np.clip(eigenvalues(case.kernels), 0, None)[:, size:], axis=1)


@for_libraries(case=features(), fraction=fractions, relative=relative_ridges)
def test_solution_loses_at_most_one_principal_direction(library, case, fraction, relative):
    size = part(fraction, case.shape[1])
    ridge = relative * case.norm
    grads = Solution(size, ridge=ridge).distill(case.phi(library), case.y(library))
    trace = np.sum(case.wide**2, axis=(1, 2))
    slack = np.array([allowance("H1", case.dtype, case.size, t) for t in trace])
    lost = residuals(case, grads)
    assert np.all(lost >= tails(case, size) - slack)
    assert np.all(lost <= tails(case, size - 1) + slack)
    assert abs(grads.trace_residual * np.sum(trace) - np.sum(lost)) <= np.sum(slack)


@for_libraries(case=features(), fraction=fractions, per_output=st.booleans())
def test_principal_loses_the_least_possible(library, case, fraction, per_output):
    size = part(fraction, case.shape[1])
    grads = Principal(size, per_output=per_output).distill(case.phi(library), case.y(library))
    trace = np.sum(case.wide**2, axis=(1, 2))
    slack = np.array([allowance("H1", case.dtype, case.size, t) for t in trace])
    lost = residuals(case, grads)
    assert np.all(lost >= tails(case, size) - slack)
    if per_output or case.shape[0] == 1:
        assert np.all(lost <= tails(case, size) + slack)


@for_libraries(
    case=features(),
    fraction=fractions,
    relative=relative_ridges,
    rank=st.sampled_from([1, 4, 40]),
)
def test_solution_reproduces_the_full_predictor(library, case, fraction, relative, rank):
    size = part(fraction, case.shape[1])
    ridge = relative * case.norm
    largest = np.linalg.norm(case.wide_targets) / ridge  # of α; without float64 its square must exist
    assume(library.has_float64 or 1e-15 < largest < 1e15)
    # 30 steps suffice where the preconditioner holds all eigenpairs, 2n where it holds few and κ is moderate.
    solver = Solution(size, ridge=ridge, rank=rank, iterations=30 if rank == 40 else 120)
    grads = solver.distill(case.phi(library), case.y(library))
    assert grads.ridge == ridge
    fit = solve_ridge(grads, ridge=ridge)
    y = case.wide_targets.T
    a = case.kernels + ridge * np.eye(case.shape[1])
    exact = np.einsum("cmn,cn->cm", case.kernels, np.linalg.solve(a, y[:, :, None])[:, :, 0])
    fits = np.einsum("cmk,ck->cm", case.wide, host64(fit.weights))
    slack = allowance("K3", case.dtype, case.size, (1 + 1 / relative) * np.linalg.norm(y))
    if rank < case.shape[1]:
        root = math.sqrt(1 + 1 / relative)
        contraction = 2 * ((root - 1) / (root + 1)) ** 120
        # ‖f − f̂‖ ≤ ‖K A^{-1/2}‖ ‖e‖_A ≤ √‖K‖ contraction ‖α‖_A, ‖α‖_A ≤ ‖y‖/√λ
        slack += math.sqrt(case.norm / ridge) * contraction * np.linalg.norm(y)
    assert np.all(np.linalg.norm(fits - exact, axis=1) <= slack)


@pytest.mark.parametrize("scale", [1e-10, 1e12])
def test_solution_finds_its_direction_whatever_the_scale_in_float32(scale):
    jnp = pytest.importorskip("jax.numpy", reason="the library without float64 is JAX")
    values = np.random.default_rng(0).standard_normal((1, 6, 9)).astype("float32")
    y = np.random.default_rng(1).standard_normal((6, 1)).astype("float32")
    spans = []
    for factor in (1.0, scale):
        phi = dntk.TangentFeatures(jnp.asarray(values * np.float32(factor)))
        grads = Solution(1, ridge=0.01 * factor**2).distill(phi, jnp.asarray(y))
        spans.append(host64(grads.directions)[0, :, 0])
    assert abs(spans[0] @ spans[1]) >= 1 - 1e-3


@for_libraries(
    case=features(),
    relative=relative_ridges,
    rank=st.sampled_from([1, 3]),
    steps=st.sampled_from([0, 1, 2, 5]),
)
def test_conjugate_gradients_obey_chebyshev_and_never_step_back(library, case, relative, rank, steps):
    ridge = relative * case.norm
    phi, y = case.phi(library), case.wide_targets.T
    values, vectors = leading_eigenpairs(phi.values, rank)
    precondition = Preconditioner(values=values, vectors=vectors, ridge=ridge)
    kernels = np.asarray(case.kernels)
    wide = library.array(kernels + ridge * np.eye(case.shape[1]), str(host64(values).dtype))
    if not library.has_float64:
        wide = library.array(kernels + ridge * np.eye(case.shape[1]), "float32")
    dtype = "float64" if library.has_float64 else "float32"
    rhs = library.array(y, dtype)
    a = kernels + ridge * np.eye(case.shape[1])
    alpha = np.linalg.solve(a, y[:, :, None])[:, :, 0]

    def energy(iterations):
        found = preconditioned_cg(lambda v: (wide @ v[:, :, None])[:, :, 0], rhs, precondition, iterations=iterations)
        x = host64(found.solution)
        residual = np.linalg.norm(y - np.einsum("cmn,cn->cm", a, x), axis=1)
        told = host64(found.relative_residual) * np.linalg.norm(y, axis=1)
        norm = np.linalg.norm(x, axis=1)
        backward = allowance("K1", dtype, case.size, 1.0) * (case.norm + ridge) * norm
        assert np.all(np.abs(residual - told) <= backward + allowance("K1", dtype, case.size, residual.max()))
        e = alpha - x
        return np.einsum("cm,cmn,cn->c", e, a, e)

    # The deflated system: κ = (λ_{r+1} + λ)/λ up to the eigenvalue that replaces the deflated ones.
    top = eigenvalues(kernels)
    kappa = (np.maximum(top[:, min(rank, top.shape[1]) - 1], 0) + ridge) / ridge
    root = np.sqrt(kappa)
    factor = np.minimum(1.0, 2 * ((root - 1) / (root + 1)) ** steps)
    start, reached, further = energy(0), energy(steps), energy(steps + 1)
    slack = allowance("C1", dtype, case.size, (1 + 1 / relative) * np.max(np.sum(y**2, axis=1)) / ridge)
    assert np.all(reached <= factor**2 * start + slack)
    assert np.all(further <= reached + slack)
