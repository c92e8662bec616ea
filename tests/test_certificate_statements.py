"""What the statements of a certificate spend of its confidence, draw from its seed, and allow for rounding.

Allowances are seen where nothing is lost: bounds of an approximation that is the reference itself are rounding alone.
"""

import dataclasses
import math

import numpy as np
import pytest

import dntk
from dntk import certificates
from dntk.certificates import (
    DroppedPoints,
    compose,
    posterior_variance,
    span_certificate,
    tangent_residual,
    with_unsketched,
)
from dntk.certificates.certificate import StageError
from dntk.certificates.rounding import allowance
from dntk.distill.gradients import Principal, Solution, Streaming
from tests import pages
from tests.libraries import Library, host, interpreted
from tests.networks import features, inputs, mlp, targets

NUMPY = Library("numpy", "numpy")
EPS = float(np.finfo("f8").eps)
C, N, K = 3, 90, 60
RIDGE = 0.05


def reference(n=N, k=K, decay=0.97, dtype="f8"):
    """Features that no random subspace of 24 or 40 dimensions exhausts, and targets."""
    return features(NUMPY, C, n, k, decay=decay, dtype=dtype), targets(NUMPY, n, C, dtype=dtype)


def solvable():
    """Features of six dimensions, with targets that they fit: the exact dual lies in the span of six directions."""
    phi, _ = reference(k=6)
    weights = np.random.default_rng(7).normal(size=(C, 6))
    return phi, np.einsum("cnk,ck->nc", phi.values, weights)


def fewer(phi):
    """The first half of the coordinates, as if from another sketch."""
    return dntk.TangentFeatures(phi.values[:, :, : phi.dim // 2])


def trace_of(phi):
    return float(np.sum(phi.values**2)) / phi.n_outputs


def spent(*statements):
    """Probability that any of them fails, at most."""
    return sum(1 - statement.confidence for statement in statements)


@pytest.mark.parametrize("kind", ["gradients", "features"])
def test_statements_of_a_certificate_fail_together_no_oftener_than_it_says(kind):
    phi, y = reference()
    found = Principal(5).distill(phi, y) if kind == "gradients" else fewer(phi)
    certificate = dntk.certify(phi, found, y, RIDGE, 0.99)
    # The Frobenius norm of a projection's error follows from the spectral one: that is one event, not two.
    norms = [certificate.spectral_error] + ([certificate.frobenius_error] if kind == "features" else [])
    assert {bound.kind for bound in norms} == {certificate.eigenvalue_intervals.kind} == {"probabilistic"}
    assert spent(*norms, certificate.eigenvalue_intervals) == pytest.approx(0.01, rel=1e-9)
    assert spent(certificate.trace_error, certificate.prediction_error, certificate.energy_error) == 0
    for end in (1 - 1e-14, 1.0, 0.0):
        with pytest.raises(ValueError, match="`confidence`"):
            dntk.certify(phi, found, confidence=end)


def under_a_sketch(confidence=0.99, n=8, dim=1500):
    """A certificate with what a Gaussian sketch says of the kernel without it, and the features."""
    model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=n, dtype="f8")
    phi = dntk.tangent_features(model, x, sketch=dntk.sketch.Gaussian(dim, seed=1))
    certificate = dntk.certify(phi, Principal(3).distill(phi, model(x)))
    return with_unsketched(certificate, phi, confidence=confidence), phi


def test_statements_without_sketch_share_its_confidence_and_that_of_their_intervals():
    certificate, _ = under_a_sketch(0.99)
    both = spent(certificate.unsketched_eigenvalue_intervals, certificate.unsketched_trace_error)
    assert both == pytest.approx(0.01 + spent(certificate.eigenvalue_intervals), rel=1e-9)
    doubtful = dataclasses.replace(certificate.eigenvalue_intervals, kind="probabilistic", confidence=0.98)
    again, phi = under_a_sketch(0.99)
    again = with_unsketched(dataclasses.replace(again, eigenvalue_intervals=doubtful), phi, confidence=0.99)
    assert spent(again.unsketched_eigenvalue_intervals) == pytest.approx(0.005 + 0.02, rel=1e-9)


def test_unsketched_bounds_are_those_of_davidson_and_szarek_for_all_points_and_outputs():
    """By the theorem, not by the library: w = (√r + √(2 ln(2/δ)))/√k for gradients of rank r, once for every output."""
    certificate, phi = under_a_sketch(0.99)
    n, c, dim = len(phi), phi.n_outputs, phi.dim
    half = 0.01 / 2  # for each of the two statements
    width = (math.sqrt(n) + math.sqrt(2 * math.log(2 * c / half))) / math.sqrt(dim)
    expected = float(certificate.trace_error) / (1 - width) ** 2
    assert float(certificate.unsketched_trace_error) == pytest.approx(expected, rel=1e-9)
    # Eigenvalues mix the gradients of all outputs; half of the probability goes to the ends by place.
    width = (math.sqrt(n * c) + math.sqrt(2 * math.log(2 / (half / 2)))) / math.sqrt(dim)
    lower, upper = certificate.eigenvalue_intervals
    low, high = certificate.unsketched_eigenvalue_intervals
    np.testing.assert_allclose(low, lower / (1 + width) ** 2, rtol=1e-9)
    place = np.sqrt(np.arange(1, n + 1) * c / dim) + math.sqrt(2 * math.log(3 * n / (half / 2)) / dim)
    whole = 1 / (2 - (1 + width) ** 2) if (1 + width) ** 2 < 2 else math.inf
    np.testing.assert_allclose(high, upper * np.minimum(1 / (1 - place) ** 2, whole), rtol=1e-9)


def same(a, b):
    """Up to rounding, which differs with the alignment of memory; other draws differ by far more."""
    return np.abs(a - b) <= 1e-9 * np.abs(a)


@pytest.mark.parametrize("kind", ["gradients", "features"])
def test_bounds_are_drawn_from_the_seed(kind):
    phi, y = reference()
    found = Principal(5).distill(phi, y) if kind == "gradients" else fewer(phi)
    first, again, other = (dntk.certify(phi, found, y, RIDGE, seed=seed) for seed in (1, 1, 2))
    for name in ("spectral_error", "frobenius_error"):
        assert same(float(getattr(first, name)), float(getattr(again, name)))
        assert not same(float(getattr(first, name)), float(getattr(other, name)))
    lower = [one.eigenvalue_intervals.lower[5:] for one in (first, again, other)]
    assert np.all(same(lower[0], lower[1]))
    assert not np.any(same(lower[0], lower[2]))


def test_the_rest_of_the_kernel_is_bounded_from_the_seed(monkeypatch):
    phi, y = reference()
    start = np.random.default_rng(0).normal(size=(N, 24))
    monkeypatch.setattr(compose, "suggested_start", lambda *_, **__: start)
    grads = Principal(5).distill(phi, y)
    first, other = (dntk.certify(phi, grads, seed=seed).eigenvalue_intervals for seed in (1, 2))
    assert np.all(same(first.lower, other.lower))
    assert not np.any(same(first.upper, other.upper))


def test_points_that_were_not_kept_are_drawn_from_the_seed():
    model, x = mlp(NUMPY), inputs(NUMPY, n=400)
    first, again, other = (
        DroppedPoints.of(model, x, np.arange(50), rows=10, seed=seed, least=64).x for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert len({row.tobytes() for row in first} & {row.tobytes() for row in other}) < len(first) / 2


def test_errors_of_the_reference_itself_are_its_rounding():
    phi, _ = reference()
    certificate = dntk.certify(phi, dntk.TangentFeatures(phi.values))
    rounding = allowance("trace residual", EPS, N, trace_of(phi))
    for bound in (certificate.spectral_error, certificate.frobenius_error, certificate.trace_error):
        assert float(bound) == pytest.approx(rounding, rel=1e-6, abs=0)


def test_errors_of_a_span_of_everything_are_its_rounding():
    phi, y = reference(k=6)
    certificate = dntk.certify(phi, Principal(6).distill(phi, y))
    trace, computed = trace_of(phi), 20 * EPS * trace_of(phi)
    rounding = allowance("trace residual", EPS, N, trace)
    for bound in (certificate.trace_error, certificate.spectral_error, certificate.frobenius_error):
        assert rounding * 0.99 <= float(bound) <= rounding + computed
    assert certificate.pca_tail.upper[0] >= 0.99 * allowance("trace", EPS, N, trace)


def test_norms_in_the_whole_space_are_rounded_upwards():
    phi, y = reference(n=30, k=30)
    grads = Principal(5).distill(phi, y)
    bound = dntk.certify(phi, grads).spectral_error
    left = phi.values - (phi.values @ grads.basis.mT) @ grads.basis
    exact = np.linalg.norm(np.mean(left @ left.mT, axis=0), 2)
    assert bound.theorem == "Rayleigh and Ritz in the whole space"
    assert float(bound) - exact >= 0.5 * allowance("nystrom", EPS, 30, trace_of(phi))


def test_eigenvalues_that_are_known_exactly_are_rounded_both_ways():
    phi, _ = reference(n=20, k=30, decay=0.9)
    lower, upper = dntk.certify(phi, phi).eigenvalue_intervals
    exact = np.linalg.eigvalsh(phi.kernel())[::-1]
    rounding = allowance("interlacing", EPS, 30, exact[0])
    assert np.all(upper - exact >= 0.5 * rounding)
    assert np.all((exact - lower >= 0.5 * rounding) | (lower == 0))
    assert lower[0] > 0


@pytest.mark.parametrize("kind", ["gradients", "features"])
def test_distances_of_the_exact_regression_itself_are_its_rounding(kind):
    phi, y = solvable()
    found = Principal(6, per_output=True).distill(phi, y) if kind == "gradients" else dntk.TangentFeatures(phi.values)
    certificate = dntk.certify(phi, found, y, RIDGE)
    kernels = phi.values @ phi.values.mT
    dual = np.linalg.solve(kernels + RIDGE * np.eye(N), y.T[:, :, None])[:, :, 0]
    trace = float(np.max(np.trace(kernels, axis1=1, axis2=2)))
    rounding = allowance("backward", EPS, N, trace + RIDGE) * np.linalg.norm(dual, axis=1)
    assert np.all(certificate.prediction_error.value * math.sqrt(N) >= 0.99 * rounding)
    assert np.all(certificate.energy_error.value >= 0.99 * rounding**2 * (trace / RIDGE))


def test_a_residual_of_points_in_the_span_is_rounding():
    model, x = mlp(NUMPY), inputs(NUMPY, n=20)
    phi = dntk.tangent_features(model, x, sketch=None)
    basis = np.stack([np.linalg.svd(v, full_matrices=False)[2] for v in phi.values])
    found = DroppedPoints.of(model, x, np.arange(5), rows=10, seed=0).residual(basis, None, confidence=0.999)
    assert found.upper[0] >= 0.99 * allowance("trace residual", float(np.finfo("f4").eps), phi.dim, 1.0)


def test_the_variance_of_what_is_known_is_its_rounding():
    basis = np.eye(4)[None, :2]
    variance = posterior_variance(basis[:, :1], basis, np.full((1, 2), 1.0), ridge=1e-20)
    # Of two stored rows, of sums of four products at κ = 10²⁰, and of synthetic gradients, ‖β‖ = σ₁ = 1.
    made = allowance("prediction", EPS, 1, 1.0) * 66**0.5
    width = 0.75 * EPS * 2**0.5 + allowance("prediction", EPS, 4, 1 + 1e10 / 2) + made
    assert float(variance[0, 0]) == pytest.approx((1e-10 + width) ** 2, rel=1e-6, abs=0)


def test_variance_at_points_of_the_regression_is_below_the_ridge_but_not_in_a_span_that_does_not_hold_them():
    """What docs/method.md says of uncertainty with synthetic gradients: it is what lies outside, not rounding."""
    values = np.asarray(features(NUMPY, c=1, n=20, k=40, dtype="f8").values)
    kernel, ridge = (values @ values.mT)[0], 1e-8
    exact = np.diag(kernel - kernel @ np.linalg.solve(kernel + ridge * np.eye(20), kernel))
    _, sigma, rows = np.linalg.svd(values, full_matrices=False)
    whole = posterior_variance(values, rows, sigma**2, ridge=ridge)[0]
    part = posterior_variance(values, rows[:, :5], sigma[:, :5] ** 2, ridge=ridge)[0]
    outside = np.sum((values - values @ rows[:, :5].mT @ rows[:, :5]) ** 2, axis=2)[0]
    assert np.all(exact <= ridge * (1 + 1e-5))
    np.testing.assert_allclose(whole, exact, rtol=1e-3)
    np.testing.assert_allclose(part, outside, rtol=1e-3)
    assert np.all(part > 1e5 * exact)


def test_tangent_residuals_are_the_share_of_gradients_outside_the_span(library):
    interpreted(library)
    phi = features(library, n=7, k=12)
    basis = np.stack([np.linalg.qr(np.random.default_rng(c).normal(size=(12, 4)))[0].T for c in range(3)])
    outside = host(phi.values) - (host(phi.values) @ basis.mT) @ basis
    expected = np.sum(outside**2, axis=(0, 2)) / np.sum(host(phi.values) ** 2, axis=(0, 2))
    assert np.all((expected > 0.3) & (expected < 1))
    found = tangent_residual(phi, library.array(basis, "f4"))
    np.testing.assert_allclose(host(found), expected, atol=12 * np.finfo("f4").eps)


def test_features_of_lower_precision_are_certified_in_the_higher():
    phi, y = reference(dtype="f4")
    wide = dntk.TangentFeatures(phi.values.astype("f8"))
    narrow, exact = (dntk.certify(one, fewer(one), y.astype(one.values.dtype), 1e-4) for one in (phi, wide))
    assert narrow.eigenvalue_intervals.lower.dtype == np.float64
    assert float(narrow.trace_error) == pytest.approx(float(exact.trace_error), rel=1e-12)
    assert float(narrow.spectral_error) == pytest.approx(float(exact.spectral_error), rel=1e-9)
    zero = dntk.certify(phi, dntk.TangentFeatures(phi.values))
    assert float(zero.trace_error) < 1e-3 * np.finfo("f4").eps * zero.trace * N


def test_the_worst_stage_is_the_one_that_lost_most():
    phi, y = reference()
    certificate = dntk.certify(phi, Principal(5).distill(phi, y), y, RIDGE)
    stages = tuple(
        StageError(stage=name, error=e, measure="of it", theorem="t") for name, e in zip("abc", (1, 3, 2), strict=True)
    )
    worst = dataclasses.replace(certificate, stages=stages)
    assert worst.worst_stage is stages[1]
    assert "verdict      b lost most: 300.00% of it" in str(worst)
    assert dataclasses.replace(certificate, stages=()).worst_stage is None


def test_stages_say_how_they_are_known():
    phi, y = reference()
    certificate = dntk.certify(phi, Principal(5).distill(phi, y), y, RIDGE)
    assert [stage.kind for stage in certificate.stages] == ["deterministic", "deterministic"]
    guessed = dataclasses.replace(certificate.trace_error, kind="probabilistic", confidence=0.9)
    stages = compose.stage_errors(dataclasses.replace(certificate, trace_error=guessed), "gradients")
    assert [stage.kind for stage in stages] == ["probabilistic", "deterministic"]


def test_every_bound_of_a_distilled_regression_names_its_theorem():
    phi, y = reference()
    query, _ = reference(n=5)
    found = span_certificate(Solution(4, ridge=RIDGE).distill(phi, y), ridge=RIDGE)
    streamed = Streaming(8).stream([(phi, y)]).solve(RIDGE)
    certified = dntk.certify(phi, Principal(5).distill(phi, y), y, RIDGE)
    bounds = [found.energy, found.objective, found.trace_residual, streamed.energy]
    bounds += [found.galerkin_bound(query), found.same_span_bound(query), streamed.prediction_bound(query)]
    for bound in [*bounds, certified.prediction_bound(query)]:
        assert isinstance(bound, dntk.Bound)
        assert bound.theorem
        assert (bound.kind, bound.confidence) == ("deterministic", 1.0)
    for bound in [*bounds[4:], certified.prediction_bound(query)]:
        assert bound.value.shape == (5, C)
    assert str(streamed.energy).endswith("always (gradient of the objective, Frequent Directions)")


def test_bounds_of_a_regression_in_its_own_span_are_rounding():
    phi, y = solvable()
    kernels = phi.values @ phi.values.mT
    dual = np.linalg.solve(kernels + RIDGE * np.eye(N), y.T[:, :, None])[:, :, 0]
    trace = np.trace(kernels, axis1=1, axis2=2)
    rounding = allowance("backward", EPS, N, float(np.min(trace)) + RIDGE) * np.linalg.norm(dual, axis=1)
    found = span_certificate(Principal(6, per_output=True).distill(phi, y), ridge=RIDGE)
    assert np.all(found.energy.value >= 0.99 * rounding / math.sqrt(RIDGE))
    assert float(found.trace_residual) >= 0.99 * allowance("trace residual", EPS, N, 1.0)
    assert np.all(found.objective.value >= 0.99 * allowance("galerkin", EPS, N, np.min(RIDGE * np.sum(dual * y.T, 1))))
    streamed = Streaming(6).stream([(phi, y)])
    size = np.sqrt(trace * np.sum(y**2, axis=0))
    assert np.all(streamed.solve(RIDGE).energy.value >= 2 * EPS * N * size / math.sqrt(RIDGE))


def test_every_name_of_the_room_is_there_and_no_other():
    assert certificates.__all__ == sorted(certificates.__all__)
    for name in certificates.__all__:
        assert getattr(certificates, name) is not None


@pytest.mark.usefixtures("unchecked")
def test_the_examples_of_the_reference_page_run():
    ran = pages.run(pages.ROOT / "docs/reference/certificates.md")
    assert ran.names["least"] == pytest.approx(0.8, abs=0.03)
    printed = "".join(text for text, _ in ran.printed.values())
    for part in ("certificate of 60 points", "Davis and Kahan", "Chernoff", "TraceEstimate"):
        assert part in printed
