"""`dntk.certificates.regression`: P(w) − P* ≤ P(w) − D(α) for every w and α, nothing at the optimum.

With P(w) = ‖Φw − y‖² + λ‖w‖², D(α) = 2λαᵀy − λαᵀ(K + λI)α and A = K + λI, exactly

    P(w) − D(α) = ‖Φ(w − w*)‖² + λ‖w − w*‖² + λ‖α − α*‖_A²,

so that the bound is the truth where α is optimal. The reference evaluates the right-hand side from a singular value
decomposition in float64. Rounding: the module's own, 4·0.74·eps·N·(P + |2λαᵀy| + λαᵀAα + 2‖Φw − y‖‖y‖), once added by
the bound, once lost by its subtraction, and once for the weights and duals, which are rounded to the dtype.
"""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dntk.certificates.regression import excess_objective
from dntk.certificates.rounding import allowance
from property_tests.allowances import eps
from property_tests.strategies import build, features, for_libraries, host64, relative_ridges
from tests.libraries import LIBRARIES


class Optimum:
    """w* (C, k) and α* (C, n) of a case in float64, and the sizes of what the gap subtracts."""

    def __init__(self, case, relative):
        self.case, self.ridge, self.y = case, relative * case.norm, case.wide_targets.T
        self.weights, self.dual = [], []
        for phi, y in zip(case.wide, self.y, strict=True):
            left, singular, right = np.linalg.svd(phi, full_matrices=False)
            gain = singular / (singular**2 + self.ridge)
            self.weights.append(right.T @ (gain * (left.T @ y)))
            self.dual.append((y - left @ (singular * gain * (left.T @ y))) / self.ridge)
        self.weights, self.dual = np.stack(self.weights), np.stack(self.dual)

    def excess(self, weights):
        """P(w) − P* by the distance to the optimum."""
        apart = weights - self.weights
        fits = np.einsum("cnk,ck->cn", self.case.wide, apart)
        return np.sum(fits**2, axis=1) + self.ridge * np.sum(apart**2, axis=1)

    def missing(self, dual):
        """D* − D(α) = λ‖α − α*‖_A²."""
        apart = dual - self.dual
        image = np.einsum("cnk,cn->ck", self.case.wide, apart)
        return self.ridge * np.sum(image**2, axis=1) + np.sum((self.ridge * apart) ** 2, axis=1)

    def slack(self, weights, dual):
        """The module's allowance."""
        misfit = np.einsum("cnk,ck->cn", self.case.wide, weights) - self.y
        image = np.einsum("cnk,cn->ck", self.case.wide, dual)
        scale = np.sum(misfit**2, axis=1) + self.ridge * np.sum(weights**2, axis=1)
        scale = scale + 2 * np.linalg.norm(misfit, axis=1) * np.linalg.norm(self.y, axis=1)
        scale = scale + 2 * self.ridge * np.abs(np.sum(dual * self.y, axis=1))
        scale = scale + self.ridge * np.sum(image**2, axis=1) + np.sum((self.ridge * dual) ** 2, axis=1)
        return np.array([allowance("galerkin", eps(self.case.dtype), max(self.case.shape), s) for s in scale])

    def rounding(self, weights, dual):
        """Of the reference: w* is off by γ‖w*‖ and α* = (y − Φw*)/λ by γ‖y‖/λ, in squares of distances to them."""
        phi, apart, other = self.case.wide, weights - self.weights, dual - self.dual
        gradient = np.einsum("cnk,cn->ck", phi, np.einsum("cnk,ck->cn", phi, apart)) + self.ridge * apart
        image = np.einsum("cnk,ck->cn", phi, np.einsum("cnk,cn->ck", phi, other)) + self.ridge * other
        sizes = np.linalg.norm(gradient, axis=1) * np.linalg.norm(self.weights, axis=1)
        sizes = sizes + np.linalg.norm(image, axis=1) * np.linalg.norm(self.y, axis=1)
        return np.array([2 * allowance("galerkin", eps("float64"), max(self.case.shape), size) for size in sizes])

    def bound(self, library, weights, dual):
        """The module's bound on the library, and the numbers that it was given."""
        placed = [library.array(x, self.case.dtype) for x in (weights, dual)]
        phi, y = self.case.phi(library).values, self.case.y(library)
        found = host64(excess_objective(phi, y, *placed, ridge=self.ridge).value)
        return found, *(host64(x) for x in placed)


STEPS = st.sampled_from([0.0, 1e-6, 1e-2, 1.0, 30.0])


@for_libraries(
    case=features(), relative=relative_ridges, first=STEPS, second=STEPS, seed=st.integers(0, 2**32 - 1), jax_examples=6
)
def test_the_gap_bounds_the_excess_objective_and_is_what_it_says(library, case, relative, first, second, seed):
    assume(case.norm > 0)
    compare(library, case, relative, first, second, seed)


def compare(library, case, relative, first, second, seed):
    """The bound on an excess objective beside the truth, at weights and duals off the optimum by so much."""
    best, rng = Optimum(case, relative), np.random.default_rng(seed)
    weights = best.weights + first * rng.standard_normal(best.weights.shape) * np.max(np.abs(best.weights))
    dual = best.dual + second * rng.standard_normal(best.dual.shape) * np.max(np.abs(best.dual))
    found, weights, dual = best.bound(library, weights, dual)
    excess, slack = best.excess(weights), best.slack(weights, dual)
    assert np.all(np.isfinite(found))
    assert np.all(excess <= found)
    assert np.all(np.abs(found - excess - best.missing(dual)) <= 3 * slack + best.rounding(weights, dual))


def test_what_is_squared_is_rounded_as_the_targets_are():
    # Found by `make fuzz`: a residual much smaller than the targets, at the optimal dual.
    compare(LIBRARIES[0], build((4, 1, 2), "float32", "step", "plain", 1, False, 895020), 1e-3, 1.0, 0.0, 0)


@for_libraries(case=features(), relative=relative_ridges, jax_examples=4)
def test_the_gap_closes_at_the_optimum(library, case, relative):
    assume(case.norm > 0)
    best = Optimum(case, relative)
    found, weights, dual = best.bound(library, best.weights, best.dual)
    # Rounded to the dtype, w and α are off by eps/2 of themselves, which the excess squares.
    assert np.all(found <= 3 * best.slack(weights, dual))
    # Weights of zero: the excess is ‖y‖² − P*, P* = λ yᵀα*.
    found, *_ = best.bound(library, 0 * best.weights, best.dual)
    exact = np.sum(best.y**2, axis=1) - best.ridge * np.sum(best.y * best.dual, axis=1)
    assert np.all(np.abs(found - exact) <= 3 * best.slack(0 * best.weights, best.dual))
