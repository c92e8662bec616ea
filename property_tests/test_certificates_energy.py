"""`dntk.certificates.regression`: the energy of the error of any approximate dual, by its residual and by Gauss-Radau.

For A = K + λI, α = A⁻¹y, any α̂, e = α − α̂ and r = y − Aα̂

    ‖r‖²/(λ + ‖K‖) ≤ ‖e‖_A² ≤ Gauss-Radau ≤ ‖r‖²/λ, all equal where K = 0 or r is an eigenvector.

The reference is ‖e‖_A² = rᵀA⁻¹r with the residual of the dual as rounded, in float64 and by eigenvectors. Rounding: the
module's own, ‖Δr‖ ≤ 4·0.71·eps·N·(‖K‖ + λ)‖α̂‖ and that of the quadrature; its values are rounded upwards.
"""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dntk import arrays
from dntk.certificates.regression import energy_error, residual_energies, residual_rounding
from dntk.certificates.rounding import allowance
from property_tests.allowances import eps
from property_tests.strategies import features, for_libraries, host64, relative_ridges


class Approximation:
    """An approximate dual (C, n) on a library, its residual there, and both exactly."""

    def __init__(self, library, case, relative, step, seed):
        self.case, self.ridge = case, relative * case.norm
        self.values, self.vectors = np.linalg.eigh(case.kernels)
        self.values = np.clip(self.values, 0, None)
        self.y = case.wide_targets.T
        rng = np.random.default_rng(seed)
        exact = self.solved(self.y)
        dual = step * (exact + rng.standard_normal(exact.shape) * np.max(np.abs(exact)))
        self.placed = library.array(dual, case.dtype)
        self.dual = host64(self.placed)
        phi = case.phi(library).values
        self.multiply = lambda rows: (rows @ phi) @ phi.mT
        xp = arrays.namespace(phi)
        image = self.multiply(self.placed[:, None, :])[:, 0, :]
        self.residual = xp.matrix_transpose(case.y(library)) - image - self.ridge * self.placed
        self.trace = float(np.max(np.sum(case.wide**2, axis=(1, 2))))
        self.norms = np.max(self.values, axis=1)

    def solved(self, y):
        """(K + λI)⁻¹y."""
        inside = np.einsum("cnm,cn->cm", self.vectors, y) / (self.values + self.ridge)
        return np.einsum("cnm,cm->cn", self.vectors, inside)

    def energy(self):
        """‖α − α̂‖_A² = rᵀA⁻¹r with r in float64."""
        r = self.y - np.einsum("cnm,cm->cn", self.case.kernels, self.dual) - self.ridge * self.dual
        inside = np.einsum("cnm,cn->cm", self.vectors, r) ** 2
        return np.sum(inside / (self.values + self.ridge), axis=1)

    def rounded(self):
        """The module's bound on ‖Δr‖."""
        norm = float(np.max(np.linalg.norm(self.dual, axis=1)))
        return residual_rounding(eps(self.case.dtype), self.size, trace=self.trace, ridge=self.ridge, dual_norm=norm)

    @property
    def size(self):
        """N."""
        return max(self.case.shape[1:])

    def bound(self, steps):
        """The module's bound."""
        sizes = {"ridge": self.ridge, "trace": self.trace, "size": self.size}
        found = energy_error(self.multiply, self.residual, steps=steps, residual_rounding=self.rounded(), **sizes)
        return host64(found.value)


CHOICES = {
    "case": features(),
    "relative": relative_ridges,
    "step": st.sampled_from([0.0, 0.5, 1.0]),
    "seed": st.integers(0, 2**32 - 1),
}


@for_libraries(**CHOICES, steps=st.sampled_from([1, 3, 40]), jax_examples=4)
def test_gauss_radau_bounds_the_energy_and_the_residual_bounds_it(library, case, relative, step, seed, steps):
    assume(case.norm > 0)
    problem = Approximation(library, case, relative, step, seed)
    energy, found = problem.energy(), problem.bound(steps)
    assert np.all(energy <= found)
    residual = host64(problem.residual)
    trivial = (np.linalg.norm(residual, axis=1) + problem.rounded()) ** 2 / problem.ridge
    assert np.all(found <= trivial * (1 + 2 * allowance("galerkin", eps(case.dtype), problem.size, 1.0)))


@for_libraries(**CHOICES, jax_examples=4)
def test_the_residual_brackets_the_energy(library, case, relative, step, seed):
    assume(case.norm > 0)
    problem = Approximation(library, case, relative, step, seed)
    root, delta = np.sqrt(problem.energy()), problem.rounded() / np.sqrt(problem.ridge)
    delta = delta + allowance("galerkin", eps(case.dtype), problem.size, 1.0) * root
    for norm, at in ((case.norm, 0), (0.0, 1)):
        found = residual_energies(problem.residual, ridge=problem.ridge, norm=norm)
        ends = [np.sqrt(host64(end)) for end in found]
        assert np.all(ends[0] <= ends[1])
        if at == 0:
            assert np.all(ends[0] <= root + delta)
        assert np.all(root <= ends[1] + delta)


@for_libraries(case=features(), relative=relative_ridges, place=st.sampled_from([0.0, 0.5, 1.0]), jax_examples=3)
def test_eigenvectors_are_measured_exactly(library, case, relative, place):
    """For r = u_i, rᵀA⁻¹r = 1/(λ_i + λ), the lower residual bound at the top of the spectrum."""
    assume(case.norm > 0)
    problem = Approximation(library, case, relative, 0.0, 0)
    assume(allowance("backward", eps(case.dtype), problem.size, problem.trace) < 0.01 * problem.ridge)
    i = round(place * (case.shape[1] - 1))
    problem.residual = library.array(problem.vectors[:, :, i], case.dtype)
    exact = 1 / (problem.values[:, i] + problem.ridge)
    slack = 0.05 * exact + allowance("galerkin", eps(case.dtype), problem.size, 1 / problem.ridge)
    found = problem.bound(40)
    assert np.all(found <= exact + slack)
    assert np.all(found >= exact * (1 - 1e-5))
    if place == 1.0 and np.ptp(problem.norms) == 0:
        lower, _ = residual_energies(problem.residual, ridge=problem.ridge, norm=float(problem.norms[0]))
        assert np.all(np.abs(host64(lower) - exact) <= slack)
