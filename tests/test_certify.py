"""Certificates against kernels, eigenvalues and regressions computed densely in float64."""

import json

import numpy as np
import pytest

import dntk
from dntk.certificates.approximation import orthonormal_rows
from dntk.certificates.prediction import posterior_variance
from dntk.certificates.rounding import allowance
from dntk.distill.data import RPCholesky
from dntk.distill.gradients import Principal, Solution
from tests.jacobians import float_of
from tests.libraries import Library, host, interpreted

NUMPY, JAX = Library("numpy", "numpy"), Library("jax", "jax")
C, N, K = 2, 90, 60
RIDGE = 0.05
FEW, MANY = 4, 40
"""Products: so few that bounds are inequalities, not identities, and so many that they are tight."""

SLOW = 1.0 / (1 + np.arange(K))
"""Singular values that no subspace of 24 or 40 dimensions exhausts."""
FAST = 2.0 ** -np.arange(K)


def features(seed=0, n=N, k=K, singular=SLOW):
    """Features of these singular values, and smooth targets; all of them float32 numbers."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(C):
        r = min(n, k)
        left, _ = np.linalg.qr(rng.normal(size=(n, r)))
        right, _ = np.linalg.qr(rng.normal(size=(k, r)))
        values.append(left * singular[:r] @ right.T)
    values = np.stack(values).astype(np.float32).astype(np.float64)
    targets = np.stack([v @ rng.normal(size=k) + 0.05 * rng.normal(size=n) for v in values], axis=1)
    return values, targets.astype(np.float32).astype(np.float64)


def in_library(library, seed=0, **what):
    values, targets = features(seed, **what)
    dtype = float_of(library)
    return dntk.TangentFeatures(library.array(values, dtype)), library.array(targets, dtype), values, targets


def kernels(values):
    return values @ np.swapaxes(values, 1, 2)


def fitted(values, targets, ridge=RIDGE):
    """Exact ridge regressions: their weights (C, k)."""
    eye = np.eye(values.shape[1])
    return np.stack([v.T @ np.linalg.solve(v @ v.T + ridge * eye, t) for v, t in zip(values, targets.T, strict=True)])


def approximations(phi, targets):
    return {
        "gradients": lambda: Principal(5).distill(phi, targets),
        "solution": lambda: Solution(4, ridge=RIDGE).distill(phi, targets),
        "selection": lambda: RPCholesky(9, seed=3).select(phi),
        "features": lambda: dntk.TangentFeatures(phi.values[:, :, : phi.dim // 2]),
    }


NAMES = ["gradients", "solution", "selection", "features"]


def projected(name, found, values):
    """Features under the approximation, exactly in float64."""
    if name == "features":
        return values[:, :, : values.shape[2] // 2]
    if name == "selection":
        rows = values[:, host(found.indices), :]
    else:
        rows = np.swapaxes(host(found.directions).astype(np.float64), -1, -2) @ values
    right = [np.linalg.svd(r, full_matrices=False) for r in rows]
    spans = [b[s > 1e-12 * s[0]] for _, s, b in right]
    return np.stack([v @ b.T @ b for v, b in zip(values, spans, strict=True)])


class Certified:
    """A certificate beside what dense kernels in float64 say."""

    def __init__(self, library, name, products, **what):
        self.library, self.name = library, name
        self.phi, self.y, self.values, self.targets = in_library(library, **what)
        self.found = approximations(self.phi, self.y)[name]()
        self.certificate = dntk.certify(self.phi, self.found, self.y, RIDGE, 1 - 1e-9, products=products)
        self.kernel = np.mean(kernels(self.values), axis=0)
        self.error = self.kernel - np.mean(kernels(projected(name, self.found, self.values)), axis=0)

    def slack(self, inequality, scale=None):
        """What rounding the basis to the library's dtype, and the dense reference, may add."""
        eps, size = float(np.finfo(float_of(self.library)).eps), max(self.values.shape[1:])
        return allowance(inequality, eps, size, float(np.trace(self.kernel) if scale is None else scale))

    def regression_slack(self):
        """What ‖f̂ − f*‖ (C,) is off by, two backward errors; and κ."""
        kappa = 1 + C * np.trace(self.kernel) / RIDGE
        return 2 * self.slack("backward", kappa) * np.linalg.norm(self.targets, axis=0), kappa

    def predictors(self):
        """What the certificate covers: fits (C, n) and weights (C, k), Ψᵀα̂ of the fits for other features."""
        if self.name == "features":
            fewer = self.values[:, :, : self.values.shape[2] // 2]
            fits = np.einsum("cnk,ck->cn", fewer, fitted(fewer, self.targets))
            return [(fits, np.einsum("cnk,cn->ck", self.values, (self.targets.T - fits) / RIDGE))]
        if self.name == "selection":
            rows = self.library.array(self.targets[host(self.found.indices)], float_of(self.library))
            fits = [dntk.solve.ridge(self.phi[self.found.indices], rows, ridge=RIDGE)]
        else:  # both solves in the span are covered
            fits = [solve(self.found, ridge=RIDGE) for solve in (dntk.solve.same_span, dntk.solve.ridge)]
        weights = [host(fit.weights).astype(np.float64) for fit in fits]
        return [(np.einsum("cnk,ck->cn", self.values, w), w) for w in weights]

    def distances(self):
        """‖f̂ − f*‖/√n and ‖Ψ(w − w*)‖² + λ‖w − w*‖² of every predictor and output."""
        exact = fitted(self.values, self.targets)
        rms, excess = [], []
        for fits, weights in self.predictors():
            apart = weights - exact
            fitted_apart = np.einsum("cnk,ck->cn", self.values, apart)
            rms.append(np.sqrt(np.mean((fits - np.einsum("cnk,ck->cn", self.values, exact)) ** 2, axis=1)))
            excess.append(np.sum(fitted_apart**2, axis=1) + RIDGE * np.sum(apart**2, axis=1))
        return np.max(rms, axis=0), np.max(excess, axis=0)


def errors_of_the_kernel_are_bounded(c):
    assert np.linalg.norm(c.error, 2) <= float(c.certificate.spectral_error) + c.slack("nystrom")
    assert np.linalg.norm(c.error) <= float(c.certificate.frobenius_error) + c.slack("norms")
    assert abs(np.trace(c.error)) <= float(c.certificate.trace_error) + c.slack("trace residual")
    assert abs(c.certificate.trace - np.trace(c.kernel)) <= c.slack("trace")
    if c.name != "features":
        rows = c.certificate.pointwise.basis.shape[1]
        tail = np.mean(np.sum(np.linalg.svd(c.values, compute_uv=False)[:, rows:] ** 2, axis=1))
        lower, upper = (float(host(end)[0]) for end in c.certificate.pca_tail)
        assert lower - c.slack("trace") <= tail <= upper + c.slack("trace")
        assert np.trace(c.error) - tail <= float(c.certificate.misalignment_gap) + c.slack("trace residual")


def intervals_hold_the_leading_eigenvalues(c):
    lower, upper = (host(end) for end in c.certificate.eigenvalue_intervals)
    exact = np.linalg.eigvalsh(c.kernel)[::-1][: len(lower)]
    assert lower.shape == upper.shape == (24,)
    assert np.all(lower <= exact + c.slack("interlacing"))
    assert np.all(exact <= upper + c.slack("interlacing"))


def distance_to_the_exact_regression_is_bounded(c):
    slack, kappa = c.regression_slack()
    rms, excess = c.distances()
    bound, energy = host(c.certificate.prediction_error.value), host(c.certificate.energy_error.value)
    assert bound.shape == energy.shape == (C,)
    assert np.all(np.sqrt(c.values.shape[1]) * rms <= np.sqrt(c.values.shape[1]) * bound + slack)
    assert np.all(np.sqrt(excess) <= np.sqrt(energy) + slack * np.sqrt(kappa))
    if c.name != "features":
        other = features(9, n=7, k=c.values.shape[2])[0]
        there = dntk.TangentFeatures(c.library.array(other, float_of(c.library)))
        pointwise = host(c.certificate.prediction_bound(there).value)
        assert pointwise.shape == (7, C)
        reach = np.linalg.norm(other, axis=2).T * slack / RIDGE
        for _, weights in c.predictors():
            apart = np.einsum("cnk,ck->nc", other, weights - fitted(c.values, c.targets))
            assert np.all(np.abs(apart) <= pointwise + reach)


@pytest.mark.parametrize("name", NAMES)
def test_errors_of_the_kernel_are_bounded_by_subspaces_that_do_not_fill_it(library, name):
    interpreted(library)
    errors_of_the_kernel_are_bounded(Certified(library, name, FEW))


@pytest.mark.parametrize("name", NAMES)
def test_intervals_hold_eigenvalues_that_the_subspace_misses_and_ten_are_narrow(library, name):
    interpreted(library)
    c = Certified(library, name, FEW)
    intervals_hold_the_leading_eigenvalues(c)
    lower, upper = (host(end) for end in c.certificate.eigenvalue_intervals)
    exact = np.linalg.eigvalsh(c.kernel)[::-1]
    # The last Ritz value falls visibly short: the upper ends are not those of an invariant subspace.
    assert lower[-1] < 0.999 * exact[23]
    # The trace that is left would make the tenth 25% wide and more: this is Lehmann's bound.
    assert np.all(upper[:10] - lower[:10] < 0.2 * exact[:10])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("products", [1, 8])
def test_distance_to_the_exact_regression_is_bounded_by_few_products(library, name, products):
    interpreted(library)
    c = Certified(library, name, products)
    distance_to_the_exact_regression_is_bounded(c)


def test_certificate_holds_where_every_operation_is_compiled_for_every_shape():
    if JAX.why_not():
        pytest.skip(JAX.why_not())
    c = Certified(JAX, "gradients", 2, n=48, k=20)
    errors_of_the_kernel_are_bounded(c)
    intervals_hold_the_leading_eigenvalues(c)
    distance_to_the_exact_regression_is_bounded(c)


@pytest.mark.parametrize("name", NAMES)
def test_bounds_of_many_products_are_tight(library, name):
    interpreted(library)
    c = Certified(library, name, MANY, singular=FAST)
    for holds in (
        errors_of_the_kernel_are_bounded,
        intervals_hold_the_leading_eigenvalues,
        distance_to_the_exact_regression_is_bounded,
    ):
        holds(c)
    assert float(c.certificate.spectral_error) <= 4 * np.linalg.norm(c.error, 2)
    assert float(c.certificate.frobenius_error) <= 8 * np.linalg.norm(c.error)
    assert float(c.certificate.trace_error) <= 1.01 * abs(np.trace(c.error))
    lower, upper = (host(end) for end in c.certificate.eigenvalue_intervals)
    assert np.all(upper[:10] - lower[:10] < 0.2 * np.linalg.eigvalsh(c.kernel)[::-1][:10])
    slack, _ = c.regression_slack()
    assert np.all(host(c.certificate.prediction_error.value) <= 1.5 * c.distances()[0] + slack)


def test_a_small_ridge_leaves_the_bound_on_predictions_tight(library):
    """Forty products alone end at eighty times the distance here: λ is 1e-9 of ‖K‖."""
    interpreted(library)
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(2, 60, 90)) * 0.9 ** np.arange(90)).astype("f4")
    y = (values @ rng.normal(size=90)).T + 0.01 * rng.normal(size=(60, 2))
    ridge = 1e-9 * float(np.linalg.norm(values[0], 2)) ** 2
    phi, targets = dntk.TangentFeatures(library.array(values)), library.array(y.astype("f4"))
    grads = Principal(20).distill(phi, targets)
    found = dntk.certify(phi, grads, targets, ridge, products=8).prediction_error

    wide = values.astype(np.float64)
    left, singular, _ = np.linalg.svd(wide, full_matrices=False)
    exact = np.einsum("cnr,cr,cmr,mc->cn", left, singular**2 / (singular**2 + ridge), left, host(targets))
    predictors = [host(solve(grads, ridge=ridge).weights) for solve in (dntk.solve.same_span, dntk.solve.ridge)]
    fits = [np.einsum("cnk,ck->cn", wide, w.astype(np.float64)) for w in predictors]
    true = np.max([np.linalg.norm(fit - exact, axis=1) for fit in fits], axis=0) / 60**0.5
    assert np.all(true * (1 - 1e-6) <= host(found.value))
    assert np.all(host(found.value) <= 1.01 * true)
    assert "products" not in found.theorem


def test_exact_variance_is_below_the_distilled_one_and_that_below_the_prior(library):
    interpreted(library)
    phi, y, values, _ = in_library(library)
    grads = Principal(5).distill(phi, y)
    pointwise = dntk.certify(phi, grads, y, RIDGE).pointwise
    other = features(4, n=6)[0]
    found = host(
        posterior_variance(
            library.array(other, float_of(library)), pointwise.basis, pointwise.squares, ridge=pointwise.ridge
        )
    )
    prior = np.sum(other**2, axis=2)
    cross = other @ np.swapaxes(values, 1, 2)
    exact = prior - np.einsum("cqn,cnq->cq", cross, np.linalg.solve(kernels(values) + RIDGE * np.eye(N), cross.mT))
    slack = 100 * np.finfo(float_of(library)).eps * np.max(prior)
    assert np.all(exact <= found + slack)
    assert np.all(found <= prior + slack)
    assert np.all(found[:, 0] < prior[:, 0])


def test_verdict_and_dictionary_tell_every_stage():
    phi, y, *_ = in_library(NUMPY)
    certificate = dntk.certify(phi, Principal(5).distill(phi, y), y, RIDGE)
    assert [stage.stage for stage in certificate.stages] == ["gradients", "solve"]
    text = str(certificate)
    for part in (f"{N} points, 2 outputs", "trace error at most", "leading 10 are known within", "lost most"):
        assert part in text
    stored = json.loads(json.dumps(certificate.to_dict()))
    again = dntk.Certificate.from_dict(stored, phi.values)
    assert str(again) == text
    assert again.to_dict() == certificate.to_dict()
    assert stored["prediction_error"]["kind"] == "deterministic"


def test_certificate_does_not_depend_on_the_unit_of_the_features():
    phi, y, values, _ = in_library(NUMPY)
    plain = dntk.certify(phi, Principal(5).distill(phi, y), y, RIDGE)
    for scale in (2.0**-40, 2.0**40):
        scaled = dntk.TangentFeatures(values * scale)
        found = dntk.certify(scaled, Principal(5).distill(scaled, y), y, RIDGE * scale**2)
        assert float(found.trace_error) == pytest.approx(float(plain.trace_error) * scale**2, rel=1e-9)
        np.testing.assert_allclose(found.prediction_error.value, plain.prediction_error.value, rtol=1e-6)


def test_without_targets_nothing_is_said_of_predictions():
    phi, y, *_ = in_library(NUMPY)
    certificate = dntk.certify(phi, RPCholesky(5).select(phi))
    assert certificate.prediction_error is None
    with pytest.raises(ValueError, match="no pointwise bound: it needs targets"):
        certificate.prediction_bound(phi)
    assert dntk.certify(phi, RPCholesky(5).select(phi), y).prediction_error is not None


def test_one_point_and_zero_features_have_certificates():
    values, targets = features()
    one = dntk.TangentFeatures(values[:, :1, :])
    certificate = dntk.certify(one, one, targets[:1], RIDGE)
    assert float(certificate.trace_error) <= 1e-12 * certificate.trace
    zero = dntk.TangentFeatures(np.zeros((C, 4, 3)))
    certificate = dntk.certify(zero, zero, np.zeros((4, C)), 1.0)
    assert float(certificate.spectral_error) == 0
    assert np.all(certificate.eigenvalue_intervals.upper == 0)


def test_more_points_than_features_span_all_of_them():
    values, targets = features()
    phi = dntk.TangentFeatures(values[:, :, :6])
    for found in (RPCholesky(12).select(phi), Principal(6).distill(phi, targets)):
        certificate = dntk.certify(phi, found, targets, RIDGE)
        assert float(certificate.trace_error) <= 1e-10 * certificate.trace
        assert certificate.pointwise.basis.shape == (C, 6, 6)


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_certified_is_refused():
    phi, y, *_ = in_library(NUMPY)
    with pytest.raises(TypeError, match=r"`approximation` is a list: expected DistilledGradients, a Selection"):
        dntk.certify(phi, [1, 2])
    with pytest.raises(ValueError, match=r"`approximation` has 2 outputs at 3 points, the reference 2 at 90"):
        dntk.certify(phi, phi[:3])
    with pytest.raises(ValueError, match="`confidence` must be between 0 and 1, got 1"):
        dntk.certify(phi, phi, confidence=1)
    with pytest.raises(ValueError, match="ridge"):
        dntk.certify(phi, phi, y, -1.0)
    with pytest.raises(ValueError, match="targets"):
        dntk.certify(phi, phi, y[:3], 1.0)


def test_rows_that_are_nearly_orthonormal_become_so(library):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 4)))[0].T[None, :, :]
    dtype = float_of(library)
    near = library.array((basis + 1e-5 * np.random.default_rng(1).normal(size=basis.shape)).astype(dtype), dtype)
    found = host(orthonormal_rows(near)).astype(np.float64)
    assert np.max(np.abs(found @ found.mT - np.eye(4))) < 30 * np.finfo(dtype).eps


@pytest.mark.parametrize(("points", "kind"), [(40, "gradients"), (60, "solution"), (90, "selection")])
def test_bounds_at_points_are_the_distances_where_the_reference_can_be_solved(points, kind):
    """Fewer points than features, as many, more. Cauchy and Schwarz alone were 210 times the distance on digits."""
    ridge = 1e-6
    values, y = features(3, n=points, singular=FAST)
    values = 30 * values
    phi = dntk.TangentFeatures(values)
    found = approximations(phi, y)[kind]()
    certificate = dntk.certify(phi, found, y, ridge)
    queries = np.concatenate([values[:, :10, :], np.random.default_rng(0).standard_normal((C, 10, K))], axis=1)
    bound = host(certificate.prediction_bound(dntk.TangentFeatures(queries)).value).T
    left, singular, right = np.linalg.svd(values, full_matrices=False)
    exact = np.einsum("crk,cr,cnr,nc->ck", right, singular / (singular**2 + ridge), left, y)
    if kind == "selection":
        fits = [dntk.solve.ridge(phi[found.indices], y[host(found.indices)], ridge=ridge)]
    else:
        fits = [solve(found, ridge=ridge) for solve in (dntk.solve.same_span, dntk.solve.ridge)]
    distance = np.max([np.abs(np.einsum("cqk,ck->cq", queries, fit.weights - exact)) for fit in fits], axis=0)
    # Singular vectors of the reference are good to eps·κ^½ of w* in the queries that see what is small.
    slack = 64 * np.finfo(float).eps * (singular[:, :1] ** 2 / ridge) ** 0.5
    slack = slack * np.linalg.norm(queries, axis=2) * np.linalg.norm(exact, axis=1)[:, None]
    assert np.all(distance <= bound + slack)
    assert np.median(bound / distance) < 1.1
