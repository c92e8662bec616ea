"""Regression on synthetic gradients is a Galerkin projection (C1), bettered in its span (C3, T2).

With A = K + λI, α = A⁻¹y, orthonormal U, a = (UᵀAU)⁻¹Uᵀy, e = α − Ua and r = y − AUa:

    ‖e‖_A = min over span(U),   ‖e‖_A² = yᵀα − ŷᵀa,   ‖r‖²/(λ + ‖K‖) ≤ ‖e‖_A² ≤ ‖r‖²/λ,

and ‖e‖_A does not grow when U is enlarged. With J(w) = ‖Φw − y‖² + λ‖w‖², J(same span) ≤
J(Galerkin) in the same span, and both predictors are those of the span: U → UM changes nothing for
orthogonal M.

Rounding: energies 4c·eps·N·κ‖y‖²/λ, c = 0.74 (C1); objectives 4c·eps·N·κ‖y‖², c = 0.31 (C3), plus
2·eps·N·κ‖y‖² because the same-span basis drops directions below N·eps of the largest; predictions
4c·eps·N·κ‖y‖, c = 0.18 (K3), for same_span times σ_1/σ_s of the synthetic gradients, whose row
space is only known that well. κ = (‖K‖ + λ)/λ. A direction of U is rounded to the dtype: η‖K‖ (T1)
is a backward error as the one that C1 already counts.
"""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dntk.distilled_gradients import distil_along
from dntk.solve import ridge as solve_ridge
from dntk.solve import same_span
from property_tests.allowances import allowance, eps, solved, underflow
from property_tests.strategies import (
    features,
    for_libraries,
    fractions,
    host64,
    orthogonal,
    orthonormal,
    part,
    per_output,
    relative_ridges,
)


class Problem:
    """Exact solution of every output in float64, and the fits of dntk along random directions."""

    def __init__(self, library, case, fraction, relative, seed):
        self.library, self.case = library, case
        c, m, _ = case.shape
        self.dtype, self.size = case.dtype, case.size
        self.u = orthonormal(seed, m, part(fraction, m)).astype(case.dtype)
        self.ridge = relative * (case.norm or 1.0)
        self.grads = self.along(self.u)
        self.a = case.kernels + self.ridge * np.eye(m)
        self.y = case.wide_targets.T
        self.alpha = np.linalg.solve(self.a, self.y[:, :, None])[:, :, 0]
        self.kappa = 1 + case.norm / self.ridge
        self.y2 = float(np.max(np.sum(self.y**2, axis=1)))
        self.outputs = c

    def along(self, u):
        """Distil along u."""
        directions = self.library.array(u, self.dtype)
        return distil_along(self.case.phi(self.library), self.case.y(self.library), directions)

    def energy(self, dual):
        """‖α − dual‖_A² of every output."""
        e = self.alpha - dual
        return np.einsum("cm,cmn,cn->c", e, self.a, e)

    def objective(self, weights):
        """J(w) of every output."""
        fits = np.einsum("cmk,ck->cm", self.case.wide, weights)
        return np.sum((fits - self.y) ** 2, axis=1) + self.ridge * np.sum(weights**2, axis=1)

    def galerkin(self):
        """Ridge regression on the synthetic gradients."""
        return solve_ridge(self.grads, ridge=self.ridge)

    @property
    def energy_slack(self):
        """Allowance of energies."""
        return allowance("C1", self.dtype, self.size, self.kappa * self.y2 / self.ridge)


@for_libraries(
    case=features(),
    fraction=fractions,
    relative=relative_ridges,
    seed=st.integers(0, 2**32 - 1),
    step=st.sampled_from([1e-3, 1e-1, 1.0, 10.0]),
)
def test_galerkin_error_is_least_in_the_span(library, case, fraction, relative, seed, step):
    problem = Problem(library, case, fraction, relative, seed)
    dual = host64(problem.galerkin().dual)
    best = problem.energy(dual)
    rng = np.random.default_rng(seed)
    u = problem.u.astype(np.float64)
    for size in (step, -step):
        other = rng.standard_normal((problem.outputs, u.shape[1]))
        other *= size * (np.linalg.norm(dual) + 1e-300) / np.linalg.norm(other)
        assert np.all(best <= problem.energy(dual + other @ u.T) + problem.energy_slack)
        assert np.all(best <= problem.energy(other @ u.T) + problem.energy_slack)


@for_libraries(case=features(), fraction=fractions, relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_galerkin_energy_identity_and_residual_bounds(library, case, fraction, relative, seed):
    problem = Problem(library, case, fraction, relative, seed)
    dual = host64(problem.galerkin().dual)
    energy, slack = problem.energy(dual), problem.energy_slack
    gap = np.sum(problem.y * problem.alpha, axis=1) - np.sum(problem.y * dual, axis=1)
    assert np.all(np.abs(energy - gap) <= slack)
    r = problem.y - np.einsum("cmn,cn->cm", problem.a, dual)
    squared, norms = np.sum(r**2, axis=1), np.linalg.norm(case.kernels, 2, axis=(1, 2))
    assert np.all(squared / (norms + problem.ridge) <= energy + slack)
    assert np.all(energy <= squared / problem.ridge + slack)


@for_libraries(case=features(), fraction=fractions, relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_galerkin_error_does_not_grow_with_the_span(library, case, fraction, relative, seed):
    smaller = Problem(library, case, fraction, relative, seed)
    larger = Problem(library, case, 1.0, relative, seed)
    for problem in (smaller, larger):
        problem.error = problem.energy(host64(problem.galerkin().dual))
    assert np.all(larger.error <= smaller.error + smaller.energy_slack)
    assert np.all(larger.error <= smaller.energy_slack)  # span(U) = R^m: the exact solution


@for_libraries(case=features(), fraction=fractions, relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_dual_and_weights_are_one_predictor(library, case, fraction, relative, seed):
    problem = Problem(library, case, fraction, relative, seed)
    fit = problem.galerkin()
    weights = np.einsum("cmk,cm->ck", case.wide, host64(fit.dual))
    norm = np.sqrt(case.norm)
    # w = Φᵀα: each carries the forward error of the small system, times ‖Φ‖.
    slack = 2 * solved(problem.dtype, problem.size, problem.kappa, np.sqrt(problem.y2))
    assert np.all(np.linalg.norm(weights - host64(fit.weights), axis=1) <= norm * slack / problem.ridge)


@for_libraries(case=features(), fraction=fractions, relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_same_span_objective_is_not_above_galerkin(library, case, fraction, relative, seed):
    problem = Problem(library, case, fraction, relative, seed)
    better = same_span(problem.grads, ridge=problem.ridge)
    scale = problem.kappa * problem.y2
    slack = allowance("C3", problem.dtype, problem.size, scale)
    slack += 2 * eps(problem.dtype) * problem.size * scale
    galerkin = problem.objective(host64(problem.galerkin().weights))
    objective = problem.objective(host64(better.weights))
    assert np.all(objective <= galerkin + slack)
    assert np.all(objective <= problem.y2 + slack)  # w = 0 is in every span
    least = problem.ridge * np.sum(problem.y * problem.alpha, axis=1)  # J(w*) = λ yᵀα
    assert np.all(objective >= least - slack)


@for_libraries(case=features(), fraction=fractions, relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_predictors_depend_on_the_span_only(library, case, fraction, relative, seed):
    problem = Problem(library, case, fraction, relative, seed)
    s = problem.u.shape[1]
    rotation = orthogonal(np.random.default_rng(seed + 1), s)
    turned = problem.along((problem.u.astype(np.float64) @ rotation).astype(case.dtype))
    slack = allowance("K3", problem.dtype, problem.size, problem.kappa * np.sqrt(problem.y2))

    def fits(fit):
        return np.einsum("cmk,ck->cm", case.wide, host64(fit.weights))

    first = fits(problem.galerkin())
    second = fits(solve_ridge(turned, ridge=problem.ridge))
    assert np.all(np.linalg.norm(first - second, axis=1) <= slack)

    synthetic = np.einsum("ms,cmk->csk", problem.u.astype(np.float64), case.wide)
    singular = np.linalg.svd(synthetic, compute_uv=False)
    relative_singular = singular / np.where(singular[:, :1] > 0, singular[:, :1], 1)
    threshold = max(synthetic.shape[1:]) * eps(case.dtype)
    # Not a rank that rounding decides.
    assume(np.all((relative_singular > 100 * threshold) | (relative_singular < threshold / 100)))
    kept = relative_singular[relative_singular > threshold]
    slack *= 1 / float(np.min(kept, initial=1.0))
    first = fits(same_span(problem.grads, ridge=problem.ridge))
    second = fits(same_span(turned, ridge=problem.ridge))
    assert np.all(np.linalg.norm(first - second, axis=1) <= slack)


@for_libraries(case=features(), relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_basis_is_orthonormal_and_projections_are_in_it(library, case, relative, seed):
    problem = Problem(library, case, 0.4, relative, seed)
    basis, projected = host64(problem.grads.basis), host64(problem.grads.projected)
    for z, b, phi in zip(projected, basis, case.wide, strict=True):
        kept = b[np.any(b != 0, axis=1)]
        size = max(case.shape[1:])
        assert np.all(np.abs(kept @ kept.T - np.eye(len(kept))) <= 8 * eps(case.dtype) * size)
        slack = 2 * size * eps(case.dtype) * (np.abs(phi) @ np.abs(b.T))
        assert np.all(np.abs(z - phi @ b.T) <= slack + underflow(size, case.dtype))
    total, kept = np.sum(case.wide**2), np.sum(projected**2)
    slack = allowance("N5", case.dtype, case.size, 1.0)
    assert abs(problem.grads.trace_residual - (1 - kept / total)) <= slack
    assert 0 <= problem.grads.trace_residual <= 1
    assert per_output(host64(problem.grads.directions), problem.outputs).shape[0] == problem.outputs
