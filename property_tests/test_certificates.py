"""Certificates of synthetic gradients, selections and other features hold what dense float64 computations find.

With K̂ = ΨΠΨᵀ for the projector Π on what an approximation kept, or the kernel of fewer features, f̂ its regression and
f* the exact one:

    λ_i(K̄) in their intervals,   ‖K̄ − K̂‖₂, ‖K̄ − K̂‖_F, |tr(K̄ − K̂)| within their bounds,
    Σ_{i>s} λ_i within the tail's interval,   tr(K̄ − K̂) less the tail within the misalignment gap,
    ‖f̂ − f*‖/√n,   ‖Ψ(w − w*)‖² + λ‖w − w*‖²   and   |f̂(x) − f*(x)| anywhere within theirs,

and the exact posterior variance is at most the distilled one, which is at most the prior. Shapes go beyond what random
subspaces of 24 and 40 dimensions fill, with 2 products and more: there the bounds are inequalities, not identities.

Rounding is part of every bound, so that only the reference's own has to be allowed for, in float64: 4c·eps·N·scale with
the c of `dntk.certificates.rounding`; tr K̄ ≥ ‖K̄‖ is the scale. Fits f* = K(K + λI)⁻¹y have the backward error c = 0.71:
λ‖Δα‖ ≤ 4c·eps·N·κ‖y‖. For w* = H⁻¹Ψᵀy a change ΔΨ gives H⁻¹(ΔΨᵀ(y − Ψw*) − ΨᵀΔΨw*), of H-norm at most
‖ΔΨ‖‖y‖/√λ + ‖ΔΨ‖‖w*‖ ≤ 1.5‖ΔΨ‖‖y‖/√λ, and evaluating Ψ(w − w*) adds ‖ΔΨ‖(‖w‖ + ‖w*‖) ≤ ‖ΔΨ‖‖y‖/√λ, as every ridge
solution has ‖w‖ ≤ ‖y‖/(2√λ). Regressions on synthetic gradients are those that the certificate is of, to the last bit.

Randomised bounds are asked for at confidence 1 − 1e-12, so that no seed of any run is expected to fail. Products are
those with every kernel, of a Lanczos process that stops by itself. JAX compiles a certificate for ten seconds and more
per shape: `tests/test_certify.py` has one there.
"""

import dataclasses
from unittest import mock

import numpy as np
import pytest
from hypothesis import strategies as st

import dntk
from dntk.certificates import reference_weights
from dntk.certificates.prediction import posterior_variance
from dntk.certificates.rounding import allowance
from dntk.distill.data import RPCholesky
from dntk.distill.gradients import Principal, Solution
from property_tests.allowances import eps
from property_tests.strategies import build, features, for_libraries, host64, part, seeds

CONFIDENCE = 1 - 1e-12
LARGE = [(1, 100, 60), (2, 60, 90), (3, 80, 12), (1, 90, 120)]
"""More points than two random subspaces of 24 and 40 dimensions fill, fewer and more features than points."""
FEW = [(1, 1, 1), (1, 1, 7), (1, 7, 3), (4, 8, 8), (2, 12, 30)]
EPS = eps("float64")

KINDS = ["principal", "solution", "selection", "features"]
choices = {
    "case": features(shapes=[*LARGE, *LARGE, *FEW]),
    "kind": st.sampled_from(KINDS),
    "fraction": st.sampled_from([0.0, 0.1, 0.4, 1.0]),
    "products": st.sampled_from([2, 4, 8, 40]),
    "relative": st.sampled_from([1e-3, 1e-2, 1.0, 100.0]),
    "seed": seeds(),
}


@dataclasses.dataclass(frozen=True)
class Tried:
    """An approximation of a case, its certificate, and what it is the certificate of, densely in float64."""

    library: object
    case: object
    kind: str
    found: object
    ridge: float
    certificate: dntk.Certificate

    @property
    def size(self):
        """N of the allowances."""
        return self.case.size

    @property
    def trace(self):
        """Trace of K̄, which is at least ‖K̄‖."""
        return float(np.sum(self.case.wide**2)) / self.case.shape[0]

    def slack(self, inequality):
        """What the dense reference is off by, for inequalities of kernels."""
        return allowance(inequality, EPS, self.size, self.trace)

    @property
    def in_the_norm_of_h(self):
        """What the reference's w* and Ψ(w − w*) are off by, in the norm of H (C,)."""
        kappa = 1 + self.case.norm / self.ridge
        return (
            2.5 * allowance("backward", EPS, self.size, np.sqrt(kappa)) * np.linalg.norm(self.case.wide_targets, axis=0)
        )

    def spans(self):
        """Orthonormal columns (k, r) of what was kept of every output."""
        basis = host64(self.found.basis if self.kind in ("principal", "solution") else self.certificate.pointwise.basis)
        return [np.linalg.qr(b[np.any(b != 0, axis=1)].T)[0] for b in basis]

    def error(self):
        """K̄ − K̂."""
        wide = self.case.wide
        if self.kind == "features":
            fewer = host64(self.found.values)
            return np.mean(wide @ wide.mT - fewer @ fewer.mT, axis=0)
        left = np.stack([v - (v @ q) @ q.T for v, q in zip(wide, self.spans(), strict=True)])
        return np.mean(left @ left.mT, axis=0)

    def weights(self):
        """Predictors (q, C, k) that the certificate covers, as they were computed; for features Ψᵀα̂ of their fits."""
        if self.kind == "features":
            dual = (self.case.wide_targets.T - self.fits()[0]) / self.ridge
            return [np.einsum("cnk,cn->ck", self.case.wide, dual)]
        if self.kind == "selection":
            rows = self.library.array(self.case.targets[host64(self.found.indices).astype(int)])
            kept = self.case.phi(self.library)[self.found.indices]
            return [host64(dntk.solve.ridge(kept, rows, ridge=self.ridge).weights)]
        solvers = (dntk.solve.same_span, dntk.solve.ridge)
        return [host64(solve(self.found, ridge=self.ridge).weights) for solve in solvers]

    def fits(self):
        """f̂ (q, C, n) on the reference."""
        if self.kind == "features":
            fewer = host64(self.found.values)
            weights = exact_weights(fewer, self.case.wide_targets, self.ridge)
            return [np.einsum("cnk,ck->cn", fewer, weights)]
        return [np.einsum("cnk,ck->cn", self.case.wide, w) for w in self.weights()]


def exact_weights(values, targets, ridge):
    """(ΨᵀΨ + λI)⁻¹Ψᵀy (C, k) by singular values."""
    left, singular, right = np.linalg.svd(values, full_matrices=False)
    gain = singular / (singular**2 + ridge)
    return np.einsum("crk,cr,cnr,nc->ck", right, gain, left, targets)


def tried(library, case, kind, fraction, products, relative, seed):
    """The certificate of one approximation; gradients are made where there is anything to make them of."""
    if library.module == "jax":
        pytest.skip("a certificate takes more than ten seconds to compile on JAX: tests/test_certify.py has one there")
    _, n, k = case.shape
    phi, y = case.phi(library), case.y(library)
    ridge = relative * (case.norm or 1.0)
    found = {
        "principal": lambda: Principal(part(fraction, n)).distill(phi, y),
        "solution": lambda: Solution(part(fraction, n), ridge=ridge).distill(phi, y),
        "selection": lambda: RPCholesky(part(fraction, n), seed=seed).select(phi),
        "features": lambda: dntk.TangentFeatures(phi.values[:, :, : part(fraction, k)]),
    }[kind]()
    certificate = dntk.certify(phi, found, y, ridge, CONFIDENCE, products=products, seed=seed)
    return Tried(library, case, kind, found, ridge, certificate)


@for_libraries(**choices)
def test_errors_of_the_kernel_are_bounded_and_what_no_span_avoids_is_told_apart(library, **choice):
    t = tried(library, **choice)
    error = t.error()
    assert np.linalg.norm(error, 2) <= float(t.certificate.spectral_error) + t.slack("nystrom")
    assert np.linalg.norm(error) <= float(t.certificate.frobenius_error) + t.slack("norms")
    assert abs(np.trace(error)) <= float(t.certificate.trace_error) + t.slack("trace residual")
    assert abs(t.certificate.trace - t.trace) <= t.slack("trace")
    if t.kind == "features":
        return
    rows = t.certificate.pointwise.basis.shape[1]
    tail = np.sum(np.linalg.svd(t.case.wide, compute_uv=False)[:, rows:] ** 2) / t.case.shape[0]
    lower, upper = (float(host64(end)[0]) for end in t.certificate.pca_tail)
    assert lower <= tail + t.slack("trace")
    assert tail <= upper + t.slack("trace")
    gap = float(t.certificate.misalignment_gap)
    assert np.trace(error) - tail <= gap + t.slack("trace") + t.slack("trace residual")


@for_libraries(**choices)
def test_leading_eigenvalues_are_in_their_intervals(library, **choice):
    t = tried(library, **choice)
    lower, upper = (host64(end) for end in t.certificate.eigenvalue_intervals)
    exact = np.zeros(len(lower))
    known = np.linalg.svd(t.case.joined, compute_uv=False)[: len(lower)] ** 2
    exact[: len(known)] = known
    slack = t.slack("interlacing")
    assert len(lower) == min(24, t.case.shape[1])
    assert np.all(lower <= exact + slack)
    assert np.all(exact <= upper + slack)
    assert t.certificate.largest <= exact[0] + slack


@for_libraries(**choices | {"kind": st.sampled_from(KINDS[:3])})
def test_span_is_orthonormal_and_holds_what_was_kept(library, **choice):
    t = tried(library, **choice)
    basis, squares = host64(t.certificate.pointwise.basis), host64(t.certificate.pointwise.squares)
    kept = host64(t.case.phi(library)[t.found.indices].values if t.kind == "selection" else t.found.values)
    unit = eps(t.case.dtype) * max(t.case.shape[1:])
    for b, squared, rows in zip(basis, squares, kept, strict=True):
        # Newton's steps leave the rounding of a product; turning by singular vectors adds theirs.
        gram = b @ b.T
        assert np.all(np.abs(gram - np.diag(np.round(np.diag(gram)))) <= 8 * EPS * max(b.shape))
        norm = np.linalg.norm(rows, 2)
        # Directions below N·eps of the dtype are dropped, and the rest stored in it: both backward errors of the rows.
        assert np.linalg.norm(rows - (rows @ b.T) @ b, 2) <= 4 * unit * norm
        singular = np.zeros(len(b))
        known = np.linalg.svd(rows, compute_uv=False)[: len(b)]
        singular[: len(known)] = known
        assert np.all(np.abs(np.sqrt(squared) - singular) <= 4 * unit * norm)


def regressions_are_within_their_bounds(t):
    """Fits on the reference, and the objective, of every predictor that the certificate covers."""
    wide, y = t.case.wide, t.case.wide_targets
    n, norms = t.case.shape[1], np.linalg.norm(y, axis=0)
    exact = exact_weights(wide, y, t.ridge)
    bound, energy = host64(t.certificate.prediction_error.value), host64(t.certificate.energy_error.value)
    kappa = 1 + t.case.norm / t.ridge
    slack = 2 * allowance("backward", EPS, t.size, kappa) * norms
    # Of w − w* in the norm of H; for features the fits' slack comes through Ψᵀα̂ as well, ‖Ψ‖‖Δα̂‖√(‖K‖ + λ).
    off = t.in_the_norm_of_h + (slack * kappa if t.kind == "features" else 0)
    best = np.einsum("cnk,ck->cn", wide, exact)
    for fits, weights in zip(t.fits(), t.weights(), strict=True):
        assert np.all(np.linalg.norm(fits - best, axis=1) <= np.sqrt(n) * bound + slack)
        apart = weights - exact
        excess = np.sum(np.einsum("cnk,ck->cn", wide, apart) ** 2, axis=1) + t.ridge * np.sum(apart**2, axis=1)
        assert np.all(np.sqrt(excess) <= np.sqrt(energy) + off)


def predictions_and_variances_anywhere_are_within_their_bounds(t, seed):
    """At points of the reference, at random ones, and where there are no features."""
    wide, (c, _, k) = t.case.wide, t.case.shape
    rng, size = np.random.default_rng(seed), np.sqrt(t.case.norm)
    psi = np.concatenate([wide[:, :2], size * rng.standard_normal((c, 4, k)), np.zeros((c, 1, k))], axis=1)
    queries = t.library.array(psi.astype(t.case.dtype))
    psi = psi.astype(t.case.dtype).astype(np.float64)
    lengths = np.linalg.norm(psi, axis=2)
    bound = host64(t.certificate.prediction_bound(dntk.TangentFeatures(queries)).value).T
    off = t.in_the_norm_of_h / np.sqrt(t.ridge)
    exact = exact_weights(wide, t.case.wide_targets, t.ridge)
    for weights in t.weights():
        apart = np.abs(np.einsum("cqk,ck->cq", psi, weights - exact))
        assert np.all(apart <= bound + off[:, None] * lengths)

    span = t.certificate.pointwise
    found = host64(posterior_variance(queries, span.basis, span.squares, ridge=span.ridge))
    kappa = 1 + t.case.norm / t.ridge
    prior, slack = lengths**2, allowance("prediction", EPS, t.size, kappa) * lengths**2
    singular, right = np.linalg.svd(wide, full_matrices=False)[1:]
    gain = singular**2 / (singular**2 + t.ridge)
    variance = prior - np.sum((psi @ right.mT) ** 2 * gain[:, None, :], axis=2)
    assert np.all(variance <= found + slack)
    assert np.all(found <= prior + slack)


@for_libraries(**choices | {"largest": st.sampled_from([0, reference_weights.LARGEST])})
def test_regressions_and_predictions_anywhere_are_within_their_bounds(library, largest, **choice):
    """By the solution on the reference, and by products alone."""
    with mock.patch.object(reference_weights, "LARGEST", largest):
        t = tried(library, **choice)
    regressions_are_within_their_bounds(t)
    if t.kind != "features":
        predictions_and_variances_anywhere_are_within_their_bounds(t, choice["seed"])


def test_certificate_is_of_the_very_predictor_that_is_used(library):
    """Found by the property: synthetic targets were summed anew, in another order than those that are stored."""
    case = build((3, 80, 12), "float32", "exponential", "plain", 1e-08, False, 213)
    t = tried(library, case, "principal", 0.4, 8, 1e-3, 312429)
    regressions_are_within_their_bounds(t)
