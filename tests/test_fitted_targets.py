"""Targets in closed form, with which kept points regress as all points would in their span."""

import numpy as np
import pytest

import dntk
from dntk.distill.data import FittedTargets, fitted_targets
from tests.libraries import LIBRARIES, host
from tests.networks import features, inputs, mlp, targets

NUMPY = LIBRARIES[0]
RIDGE = 0.3


def objective(phi, y, weights, ridge):
    values = host(phi.values).astype("f8")
    predicted = np.einsum("cnk,ck->nc", values, host(weights).astype("f8"))
    return np.sum((predicted - host(y)) ** 2) + ridge * np.sum(host(weights).astype("f8") ** 2)


def scene(library, n=12, m=5, k=30, dtype="f4"):
    phi = features(library, c=3, n=n, k=k, dtype=dtype)
    return phi[:m], phi, targets(library, n=n, c=3, dtype=dtype)


def test_a_regression_on_them_has_these_weights_and_objective(library):
    kept, phi, y = scene(library)
    found = fitted_targets(kept, phi, y, ridge=RIDGE)
    assert isinstance(found, FittedTargets)
    assert found.targets.shape == (5, 3)
    fit = dntk.solve.ridge(kept, found.targets, ridge=RIDGE)
    scale = np.abs(host(found.weights)).max()
    np.testing.assert_allclose(host(fit.weights), host(found.weights), atol=2e-4 * scale)
    assert found.objective == pytest.approx(objective(phi, y, found.weights, RIDGE), rel=1e-4)


def test_a_point_of_tiny_features_beside_a_large_one_is_held_whole(library):
    rng = np.random.default_rng(1)
    values = (rng.standard_normal((20, 6, 9)) * np.array([2e-5, 1, 1, 1, 1, 1])[:, None]).astype("f4")
    y = rng.standard_normal((6, 20)).astype("f4")
    phi = dntk.TangentFeatures(library.array(values, "f4"))
    found = fitted_targets(phi[[0, 5]], phi, library.array(y, "f4"), ridge=RIDGE)
    for wide, goals, own in zip(values.astype("f8"), y.T, host(found.targets).T, strict=True):
        mine = wide[[0, 5]]
        span = np.linalg.qr(mine.T).Q
        best = span @ np.linalg.solve(span.T @ wide.T @ wide @ span + RIDGE * np.eye(2), span.T @ wide.T @ goals)
        again = mine.T @ np.linalg.solve(mine @ mine.T + RIDGE * np.eye(2), own.astype("f8"))
        np.testing.assert_allclose(again, best, atol=1e-5 * np.abs(best).max())


def test_the_objective_is_that_of_the_weights_where_points_are_of_very_different_sizes():
    rng = np.random.default_rng(1)
    sizes, spectrum = 10.0 ** rng.uniform(-10, 0, (24, 1)), np.arange(1.0, 41) ** -2.0
    values = (rng.standard_normal((1, 24, 40)) * sizes) @ np.diag(spectrum)
    y = rng.standard_normal((24, 1))
    for library in (library for library in LIBRARIES if library.module in ("numpy", "torch") and not library.why_not()):
        phi, goals = dntk.TangentFeatures(library.array(values)), library.array(y)
        found = fitted_targets(phi[list(range(10))], phi, goals, ridge=1e-16)
        assert found.objective == pytest.approx(objective(phi, y, found.weights, 1e-16), rel=1e-11)


def test_no_other_targets_of_the_kept_points_have_a_smaller_objective():
    kept, phi, y = scene(NUMPY, dtype="f8")
    found, rng = fitted_targets(kept, phi, y, ridge=RIDGE), np.random.default_rng(0)
    others = [y[:5], found.targets + 1e-3 * rng.standard_normal((5, 3))]
    for own in others:
        for ridge in (RIDGE, 0.1 * RIDGE, 10 * RIDGE):
            weights = dntk.solve.ridge(kept, own, ridge=ridge).weights
            assert objective(phi, y, weights, RIDGE) > found.objective


def test_they_are_nearest_to_the_regression_on_all_points():
    kept, phi, y = scene(NUMPY, dtype="f8")
    found = fitted_targets(kept, phi, y, ridge=RIDGE)
    best = dntk.solve.ridge(phi, y, ridge=RIDGE).weights
    # In the norm of ΦᵀΦ + λI the error is orthogonal to the span: Pythagoras for any other weights in it.
    for c in range(3):
        metric = phi.values[c].T @ phi.values[c] + RIDGE * np.eye(30)
        np.testing.assert_allclose(kept.values[c] @ metric @ (found.weights[c] - best[c]), 0, atol=1e-9)
    excess = found.objective - objective(phi, y, best, RIDGE)
    error = found.weights - best
    norm = sum(e @ (p.T @ p + RIDGE * np.eye(30)) @ e for e, p in zip(error, phi.values, strict=True))
    assert excess == pytest.approx(norm, rel=1e-8)
    assert excess > 0


def test_a_span_that_holds_the_regression_gives_it():
    phi, y = features(NUMPY, c=3, n=12, k=6, dtype="f8"), targets(NUMPY, n=12, dtype="f8")
    found = fitted_targets(phi[:6], phi, y, ridge=RIDGE)  # six points span all six coordinates
    np.testing.assert_allclose(found.weights, dntk.solve.ridge(phi, y, ridge=RIDGE).weights, rtol=1e-7, atol=1e-10)


def test_equal_points_are_no_two_directions():
    kept, phi, y = scene(NUMPY, dtype="f8")
    twice = fitted_targets(phi[[0, 1, 2, 3, 4, 4]], phi, y, ridge=RIDGE)
    assert twice.objective == pytest.approx(fitted_targets(kept, phi, y, ridge=RIDGE).objective, rel=1e-9)
    np.testing.assert_allclose(twice.targets[4], twice.targets[5], rtol=1e-6)


def test_features_on_the_disk_are_read_chunk_by_chunk(tmp_path):
    model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=40, dtype="f8")
    phi, y = dntk.tangent_features(model, x, sketch=None), model(x)
    stored = dntk.tangent_features(model, x, sketch=None, store=tmp_path / "phi", batch_size=16)
    expected, found = (fitted_targets(phi[:6], every, y, ridge=RIDGE) for every in (phi, stored))
    np.testing.assert_allclose(found.targets, expected.targets, rtol=1e-8)
    assert found.objective == pytest.approx(expected.objective)


def test_what_does_not_belong_together_is_refused():
    kept, phi, y = scene(NUMPY)
    for ridge in (0.0, float("inf")):
        with pytest.raises(ValueError, match="`ridge` must be positive and finite"):
            fitted_targets(kept, phi, y, ridge=ridge)
    with pytest.raises(ValueError, match="`reference` has 3 outputs of 29 features"):
        fitted_targets(kept, features(NUMPY, c=3, n=12, k=29), y, ridge=RIDGE)
    with pytest.raises(ValueError, match="targets"):
        fitted_targets(kept, phi, y[:11], ridge=RIDGE)
