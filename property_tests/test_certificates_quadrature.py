"""`certificates.quadrature`: Gauss below and Gauss-Radau above rᵀ(K + λI)^{−p} r, p = 1 or 2, equal in the whole space.

The upper bound is not above ‖r‖²/λ^p, the trivial one, and neither moves away from the truth with more products.
Rounding: the quadratures are those of K + ΔK, ‖ΔK‖ ≤ η = 4·0.71·eps·N·‖K‖, which they count themselves; their own
arithmetic adds 4·0.74·eps·N (C1) of ‖r‖²/λ^p.
"""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dntk.certificates.quadrature import lanczos
from dntk.certificates.rounding import allowance
from property_tests.allowances import eps
from property_tests.strategies import features, for_libraries, relative_ridges


class Measure:
    """Residuals (C, 2, n) with kernels and a ridge: targets, and an eigenvector with one more."""

    def __init__(self, library, case, relative):
        self.case, self.ridge = case, relative * case.norm
        n = case.shape[1]
        vectors = np.linalg.eigh(case.kernels)[1]
        starts = np.stack([case.wide_targets.T, vectors[:, :, 0] + vectors[:, :, n // 2]], axis=1)
        self.starts = starts.astype(case.dtype).astype(np.float64)
        self.placed = library.array(starts, case.dtype)
        self.phi = case.phi(library).values
        trace = float(np.max(np.sum(case.wide**2, axis=(1, 2))))
        self.rounding = allowance("backward", eps(case.dtype), max(case.shape[1:]), trace)

    def exact(self, power):
        """rᵀ(K + λI)^{−p} r by eigenvectors in float64."""
        values, vectors = np.linalg.eigh(self.case.kernels)
        inside = np.einsum("cnm,cqn->cqm", vectors, self.starts) ** 2
        return np.sum(inside / (np.clip(values, 0, None) + self.ridge)[:, None, :] ** power, axis=2)

    def bounds(self, steps, power):
        """Lower and upper bounds after ``steps`` products."""
        spaces = lanczos(lambda rows: (rows @ self.phi) @ self.phi.mT, self.placed, steps)
        return spaces.quadratures(self.ridge, power, self.rounding)

    def trivial(self, power):
        """‖r‖²/λ^p."""
        return np.sum(self.starts**2, axis=2) / self.ridge**power

    def slack(self, power):
        """Rounding of the quadratures' own arithmetic."""
        return power * allowance("galerkin", eps(self.case.dtype), max(self.case.shape[1:]), 1.0) * self.trivial(power)


@for_libraries(
    case=features(),
    relative=relative_ridges,
    steps=st.sampled_from([1, 2, 5, 40]),
    power=st.sampled_from([1, 2]),
    jax_examples=4,
)
def test_quadratures_bracket_the_form(library, case, relative, steps, power):
    assume(case.norm > 0)
    measure = Measure(library, case, relative)
    (lower, upper), exact, slack = measure.bounds(steps, power), measure.exact(power), measure.slack(power)
    assert np.all(lower <= exact + slack)
    assert np.all(exact <= upper + slack)
    # The node at −η weighs at most as the trivial bound with λ − 2η.
    shrunk = max(measure.ridge - 2 * measure.rounding, 0.0)
    if shrunk > 0:
        assert np.all(upper <= measure.trivial(power) * (measure.ridge / shrunk) ** power + slack)


@for_libraries(case=features(), relative=relative_ridges, power=st.sampled_from([1, 2]), jax_examples=3)
def test_in_the_whole_space_both_are_the_form(library, case, relative, power):
    assume(case.norm > 0)
    measure = Measure(library, case, relative)
    share = measure.rounding / measure.ridge
    assume(power * share < 0.05)
    (lower, upper), exact = measure.bounds(40, power), measure.exact(power)
    # λ ± η in place of λ: a factor 1 ± p·η/λ to first order.
    slack = measure.slack(power) + 3 * power * share * exact
    if case.shape[1] <= 3 or case.dtype == "float64":
        assert np.all(np.abs(lower - exact) <= slack)
        assert np.all(np.abs(upper - exact) <= slack)


@for_libraries(case=features(), relative=relative_ridges, power=st.sampled_from([1, 2]), jax_examples=3)
def test_more_products_never_move_the_bounds_apart(library, case, relative, power):
    assume(case.norm > 0)
    measure = Measure(library, case, relative)
    slack = 2 * measure.slack(power)
    before = measure.bounds(1, power)
    for steps in (2, 5):
        after = measure.bounds(steps, power)
        room = slack + 3 * power * measure.rounding / measure.ridge * measure.trivial(power)
        assert np.all(after[0] >= before[0] - room)
        assert np.all(~np.isfinite(before[1]) | (after[1] <= before[1] + room))
        before = after


@for_libraries(case=features(), jax_examples=2)
def test_a_ridge_that_drowns_in_rounding_gives_no_upper_bound(library, case):
    assume(case.norm > 0)
    measure = Measure(library, case, 1.0)
    measure.ridge = 1.5 * measure.rounding
    _, upper = measure.bounds(3, 1)
    assert np.all(np.isinf(upper[np.sum(measure.starts**2, axis=2) > 0]))
