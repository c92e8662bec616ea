"""`certificates.prediction`: distance of any predictor from the exact ridge regression, on the reference and anywhere.

    v ≤ v̂ ≤ κ_xx,  v = v̂ where the basis is all of the features' span      (the power function, C2)
    |f̂(x) − f*(x)| ≤ √(v̂(x)/λ) √(gᵀH⁻¹g),  an equality at ψ(x) ∝ g, g = H(w − w*), where v̂ = v
    ‖f̂ − f*‖ ≤ ‖r‖, r = f̂ − K(y − f̂)/λ       (K2), an equality where K = 0

The reference inverts H = ΦᵀΦ + λI by singular vectors in float64. Rounding: the module's own, 4·0.18·eps·N·κ_xx, and as
much again for the basis as stored; sums of squares in the dtype add 4·0.74·eps·N of themselves.
"""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dntk.bounds import Bound
from dntk.certificates.prediction import pointwise, posterior_variance
from dntk.certificates.regression import in_sample_error
from dntk.certificates.rounding import allowance
from property_tests.allowances import eps
from property_tests.strategies import features, for_libraries, fractions, host64, orthonormal, part, relative_ridges


class Process:
    """Features, queries, and a span of synthetic gradients with their singular values, host and library."""

    def __init__(self, library, case, relative, fraction, seed):
        self.case, self.ridge, self.library = case, relative * case.norm, library
        c, n, k = case.shape
        rng = np.random.default_rng(seed)
        directions = orthonormal(seed, n, part(fraction, n))
        rows = np.einsum("ns,cnk->csk", directions, case.wide)
        _, singular, right = np.linalg.svd(rows, full_matrices=False)
        scale = np.sqrt(case.norm / k)
        self.queries = np.concatenate([case.wide, scale * rng.standard_normal((c, 2, k))], axis=1).astype(case.dtype)
        self.queries = self.queries.astype(np.float64)
        self.basis, self.squares = right, singular**2

    def whole(self):
        """H⁻¹ (C, k, k) by singular vectors."""
        _, singular, right = np.linalg.svd(self.case.wide, full_matrices=True)
        k = self.case.shape[2]
        squares = np.zeros((len(right), k))
        squares[:, : singular.shape[1]] = singular**2
        return np.einsum("cji,cj,cjl->cil", right, 1 / (squares + self.ridge), right)

    def variance(self):
        """The exact posterior variance λψᵀH⁻¹ψ of every query (C, q)."""
        return self.ridge * np.einsum("cqk,ckl,cql->cq", self.queries, self.whole(), self.queries)

    def bound(self):
        """The module's v̂ (C, q) on the library."""
        arrays_of = [self.library.array(x, self.case.dtype) for x in (self.queries, self.basis, self.squares)]
        return posterior_variance(*arrays_of, ridge=self.ridge)

    def slack(self):
        """Rounding of v̂, of the basis as stored, and of the reference, (C, q).

        Singular values and vectors of the latter are those of a matrix within 4·2.0·eps·N, in float64, of H: times κ.
        """
        prior = np.sum(self.queries**2, axis=2)
        size, kappa = max(self.case.shape[1:]), 1 + self.case.norm / self.ridge
        reference = allowance("interlacing", eps("float64"), size, kappa)
        return (2 * allowance("prediction", eps(self.case.dtype), size, 1.0) + reference) * prior


def bound_on(library, energy):
    """gᵀH⁻¹g as a bound."""
    return Bound(value=library.array(energy, wide_of(library)), theorem="exact")


def wide_of(library):
    """The dtype of variances: float64 where there is one."""
    return "float64" if library.has_float64 else "float32"


CHOICES = {
    "case": features(),
    "relative": relative_ridges,
    "fraction": fractions,
    "seed": st.integers(0, 2**32 - 1),
}


@for_libraries(**CHOICES, jax_examples=4)
def test_the_posterior_variance_is_below_the_power_function_and_that_below_the_prior(
    library, case, relative, fraction, seed
):
    assume(case.norm > 0)
    process = Process(library, case, relative, fraction, seed)
    found, prior = host64(process.bound()), np.sum(process.queries**2, axis=2)
    assert np.all(process.variance() <= found + process.slack())
    assert np.all(found <= prior * (1 + case.shape[2] * eps(case.dtype)))


@for_libraries(case=features(), relative=relative_ridges, seed=st.integers(0, 2**32 - 1), jax_examples=4)
def test_a_whole_basis_gives_the_posterior_variance_itself(library, case, relative, seed):
    """Up to what √v̂ is raised by: rounding of the basis, and of synthetic gradients, σ_1‖β‖ ≤ √κ·√κ_xx/2 in all."""
    assume(case.norm > 0)
    process = Process(library, case, relative, 1.0, seed)
    prior, exact = np.sum(process.queries**2, axis=2), process.variance()
    root = (1 + case.norm / process.ridge) ** 0.5
    size = max(case.shape[1:])
    raised = allowance("prediction", eps(case.dtype), 1, 1 + root) * 2 * (size + 64) ** 0.5
    raised = (raised + allowance("prediction", eps("float64"), size, 1 + root)) * np.sqrt(prior)
    found = host64(process.bound())
    assert np.all(found <= (np.sqrt(exact + process.slack()) + raised) ** 2)
    assert np.all(exact <= found + process.slack())


@for_libraries(**CHOICES, step=st.sampled_from([1e-3, 1.0, 30.0]), jax_examples=4)
def test_predictions_are_within_the_pointwise_bound(library, case, relative, fraction, seed, step):
    assume(case.norm > 0)
    process = Process(library, case, relative, fraction, seed)
    rng = np.random.default_rng(seed)
    inverse = process.whole()
    exact = np.einsum("ckl,cnl,nc->ck", inverse, case.wide, case.wide_targets)
    weights = exact + step * (np.max(np.abs(exact)) or 1.0) * rng.standard_normal(exact.shape)
    apart = weights - exact
    image = np.einsum("cnk,ck->cn", case.wide, apart)
    energy = np.sum(image**2, axis=1) + process.ridge * np.sum(apart**2, axis=1)  # gᵀH⁻¹g
    variance = process.bound()
    found = host64(pointwise(variance, bound_on(library, energy), ridge=process.ridge).value)
    distance = np.abs(np.einsum("cqk,ck->qc", process.queries, apart))
    slack = np.sqrt(process.slack().T * energy / process.ridge)
    assert np.all(distance <= found + slack)


@for_libraries(case=features(), relative=relative_ridges, seed=st.integers(0, 2**32 - 1), jax_examples=3)
def test_the_worst_query_reaches_the_pointwise_bound(library, case, relative, seed):
    """ψ = H(w − w*)/‖·‖ turns Cauchy's inequality into an equality, where v̂ is exact."""
    assume(case.norm > 0)
    process = Process(library, case, relative, 1.0, seed)
    c, _, k = case.shape
    apart = np.random.default_rng(seed).standard_normal((c, k)) / np.sqrt(case.norm)
    worst = np.einsum("cnk,cn->ck", case.wide, np.einsum("cnk,ck->cn", case.wide, apart)) + process.ridge * apart
    worst = worst / np.linalg.norm(worst, axis=1, keepdims=True) * np.sqrt(case.norm)
    process.queries = worst[:, None, :].astype(case.dtype).astype(np.float64)
    image = np.einsum("cnk,ck->cn", case.wide, apart)
    energy = np.sum(image**2, axis=1) + process.ridge * np.sum(apart**2, axis=1)
    variance = process.bound()
    found = host64(pointwise(variance, bound_on(library, energy), ridge=process.ridge).value)
    distance = np.abs(np.einsum("cqk,ck->qc", process.queries, apart))
    slack = np.sqrt(process.slack().T * energy / process.ridge)
    assert np.all(distance <= found + slack)
    assert np.all(found <= distance * (1 + 8 * k * eps(case.dtype)) + slack)


@for_libraries(case=features(), relative=relative_ridges, step=st.sampled_from([0.0, 1e-2, 1.0]), jax_examples=4)
def test_fits_are_no_further_from_the_exact_ones_than_the_residual_is_long(library, case, relative, step):
    assume(case.norm > 0)
    ridge, y = relative * case.norm, case.wide_targets.T
    values, vectors = np.linalg.eigh(case.kernels)
    values = np.clip(values, 0, None)
    shrunk = np.einsum("cnm,cn->cm", vectors, y) * values / (values + ridge)
    exact = np.einsum("cnm,cm->cn", vectors, shrunk)
    rng = np.random.default_rng(0)
    fits = exact + step * rng.standard_normal(exact.shape)
    residual = fits - np.einsum("cnm,cm->cn", case.kernels, y - fits) / ridge
    placed = library.array(residual, case.dtype)
    rounding = float(np.max(np.linalg.norm(residual - host64(placed), axis=1)))
    found = host64(in_sample_error(placed, rounding=rounding).value)
    unit = 1 + allowance("galerkin", eps(case.dtype), case.shape[1], 1.0)
    # The residual of the reference is itself rounded, by κ eps of float64.
    slack = allowance("backward", eps("float64"), max(case.shape), (1 + 1 / relative) * np.linalg.norm(y))
    distance = np.linalg.norm(fits - exact, axis=1)
    assert np.all(distance <= found * unit + slack)
    assert np.all(found <= (1 + 1 / relative) * distance * unit + slack + 2 * rounding)
