"""Certificates against kernels, eigenvalues and regressions computed densely in float64."""

import dataclasses
import json

import numpy as np
import pytest

import dntk
from dntk.certify.approximation import orthonormal_rows
from dntk.certify.prediction import posterior_variance
from dntk.certify.stages import with_earlier_stages
from dntk.distill.data import RPCholesky
from dntk.distill.gradients import Principal, Solution
from tests.jacobians import float_of
from tests.libraries import Library, host

NUMPY = Library("numpy", "numpy")
C, N, K = 2, 24, 40
RIDGE = 0.05


def features(seed=0, n=N):
    """Features whose kernels have eigenvalues 4^-i, and smooth targets."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(C):
        left, _ = np.linalg.qr(rng.normal(size=(n, n)))
        right, _ = np.linalg.qr(rng.normal(size=(K, n)))
        values.append(left * 2.0 ** -np.arange(n) @ right.T)
    values = np.stack(values).astype(np.float32).astype(np.float64)
    targets = np.stack([v @ rng.normal(size=K) + 0.05 * rng.normal(size=n) for v in values], axis=1)
    return values, targets.astype(np.float32).astype(np.float64)


def in_library(library, seed=0):
    values, targets = features(seed)
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
        "gradients": Principal(5).distill(phi, targets),
        "solution": Solution(4, ridge=RIDGE).distill(phi, targets),
        "selection": RPCholesky(9, seed=3).select(phi),
        "features": dntk.TangentFeatures(phi.values[:, :, : K // 2]),
    }


NAMES = ["gradients", "solution", "selection", "features"]


def spare_compilation(library, name):
    """One approximation is enough on a library that compiles every operation for every shape."""
    if library.id == "jax" and name != "gradients":
        pytest.skip("compiling every operation for every approximation takes long")


def projected(name, found, values):
    """Features under the approximation, exactly in float64."""
    if name == "features":
        return values[:, :, : K // 2]
    if name == "selection":
        rows = values[:, host(found.indices), :]
    else:
        rows = np.swapaxes(host(found.directions).astype(np.float64), -1, -2) @ values
    right = [np.linalg.svd(r, full_matrices=False) for r in rows]
    spans = [b[s > 1e-12 * s[0]] for _, s, b in right]
    return np.stack([v @ b.T @ b for v, b in zip(values, spans, strict=True)])


@pytest.mark.parametrize("name", NAMES)
def test_errors_of_the_kernel_are_bounded_and_not_by_much(library, name):
    spare_compilation(library, name)
    phi, y, values, _ = in_library(library)
    found = approximations(phi, y)[name]
    certificate = dntk.certify(phi, found, y, RIDGE)
    exact = np.mean(kernels(values) - kernels(projected(name, found, values)), axis=0)
    slack = 100 * np.finfo(float_of(library)).eps * certificate.trace
    spectral, frobenius = np.linalg.norm(exact, 2), np.linalg.norm(exact)
    assert spectral - slack <= float(certificate.spectral_error) <= 4 * spectral + slack
    assert frobenius - slack <= float(certificate.frobenius_error) <= 8 * frobenius + slack
    assert abs(np.trace(exact)) - slack <= float(certificate.trace_error) <= 1.01 * abs(np.trace(exact)) + 10 * slack
    assert certificate.trace == pytest.approx(np.trace(np.mean(kernels(values), axis=0)), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_intervals_hold_the_leading_eigenvalues_and_are_narrow(library, name):
    spare_compilation(library, name)
    phi, y, values, _ = in_library(library)
    lower, upper = dntk.certify(phi, approximations(phi, y)[name]).eigenvalue_intervals
    exact = np.linalg.eigvalsh(np.mean(kernels(values), axis=0))[::-1]
    lower, upper = host(lower), host(upper)
    assert lower.shape == upper.shape
    assert len(lower) >= 10
    assert np.all(lower <= exact[: len(lower)])
    assert np.all(exact[: len(lower)] <= upper)
    if library.has_float64:
        assert np.all(upper[:10] - lower[:10] < 0.2 * exact[:10])


@pytest.mark.parametrize("name", NAMES)
def test_distance_to_the_exact_regression_is_bounded(library, name):
    spare_compilation(library, name)
    phi, y, values, targets = in_library(library)
    found = approximations(phi, y)[name]
    certificate = dntk.certify(phi, found, y, RIDGE)
    exact = np.einsum("cnk,ck->nc", values, fitted(values, targets))
    if name == "features":
        fits = [dntk.solve.ridge(found, y, ridge=RIDGE)]
    elif name == "selection":
        rows = library.array(targets[host(found.indices)], float_of(library))
        fits = [dntk.solve.ridge(phi[found.indices], rows, ridge=RIDGE)]
    else:  # both solves in the span are covered
        fits = [dntk.solve.same_span(found, ridge=RIDGE), dntk.solve.ridge(found, ridge=RIDGE)]
    seen = found if name == "features" else phi
    distances = [np.sqrt(np.mean((host(fit.predict(seen)) - exact) ** 2, axis=0)) for fit in fits]
    bound, worst = host(certificate.prediction_error.value), np.max(distances, axis=0)
    slack = 1e4 * np.finfo(float_of(library)).eps * np.max(np.abs(targets))
    assert bound.shape == (C,)
    assert np.all(worst <= bound + slack)
    if library.has_float64:
        assert np.all(bound <= 1.5 * worst + slack)
    if name != "features":
        other = features(9, n=7)[0]
        pointwise = host(certificate.prediction_bound(dntk.TangentFeatures(library.array(other, float_of(library)))))
        assert pointwise.shape == (7, C)
        for fit in fits:
            apart = np.einsum("cnk,ck->nc", other, host(fit.weights) - fitted(values, targets))
            assert np.all(np.abs(apart) <= pointwise + slack)


def test_exact_variance_is_below_the_distilled_one_and_that_below_the_prior(library):
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
    for part in ("24 points, 2 outputs", "trace error at most", "leading 10 are known within", "lost most"):
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


def test_stages_before_the_features_are_listed_and_enter_no_bound():
    phi, y, *_ = in_library(NUMPY)
    certificate = dntk.certify(phi, Principal(5).distill(phi, y), y, RIDGE)
    losses = dntk.DistilledNTK(
        dntk.MLP(weights=(np.ones((3, 2)), np.ones((2, 3))), biases=(None, None), activation="tanh")
    )
    found = losses.fit(np.random.default_rng(0).normal(size=(9, 2)))
    whole = with_earlier_stages(certificate, found.losses_)
    assert [stage.stage for stage in whole.stages] == ["data", "sketch", "gradients", "solve"]
    assert dataclasses.replace(whole, stages=certificate.stages) == certificate
    assert [stage.stage for stage in found.certificate_.stages] == ["data", "sketch", "solve"]


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_certified_is_refused():
    phi, y, *_ = in_library(NUMPY)
    with pytest.raises(TypeError, match=r"`approximation` is a list: expected DistilledGradients, a Selection"):
        dntk.certify(phi, [1, 2])
    with pytest.raises(ValueError, match=r"`approximation` has 2 outputs at 3 points, the reference 2 at 24"):
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
