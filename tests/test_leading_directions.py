"""Few rows that stand for all points, and the tangent residual's descent on them."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.distill.data import KMeans, TangentResidual, tangent_residual
from dntk.distill.data.draws import minibatch, split
from dntk.distill.data.leading_directions import LeadingDirections
from dntk.distill.data.nystrom_residual import residual
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
pytestmark = pytest.mark.usefixtures("compiled_quickly")
STILL = TangentResidual(5, steps=2, learning_rate=1e-12, seed=3)
"""Inputs stand still, so that the losses tell on which rows they were measured."""


def joined(net, x):
    return dntk.tangent_features(net, x, sketch=None).joined()


def test_rows_are_the_best_of_their_number_and_coordinates_keep_the_kernel(library):
    features = np.random.default_rng(0).normal(size=(12, 40)) * np.linspace(0.1, 3, 40)
    leading = LeadingDirections.of(library.array(features, np.float32))
    values = np.linalg.svd(features, compute_uv=False)
    np.testing.assert_allclose(host(leading.values), values**2, rtol=1e-5)
    rows = host(leading.rows(5)).astype(np.float64)
    assert rows.shape == (5, 40)
    np.testing.assert_allclose(rows @ rows.T, np.diag(values[:5] ** 2), atol=1e-5 * values[0] ** 2)
    best = np.linalg.svd(features)[2][:5]
    np.testing.assert_allclose(rows.T @ rows, (best.T * values[:5] ** 2) @ best, atol=1e-4 * values[0] ** 2)
    coordinates = host(leading.coordinates()).astype(np.float64)
    np.testing.assert_allclose(coordinates @ coordinates.T, features @ features.T, atol=1e-5 * values[0] ** 2)
    assert leading.rows(5).dtype == leading.features.dtype == leading.coordinates().dtype


def test_all_points_are_fitted_to_by_their_leading_directions_and_what_these_lack_is_left(monkeypatch):
    monkeypatch.setattr(tangent_residual, "DIRECTIONS", 7)
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 100, dtype="f8")
    data = STILL.distill(net, x)
    fit, held = split(100, 0.2, seed=3)
    start = KMeans(5, seed=3).select(dntk.tangent_features(net, x[fit], sketch=None)).indices
    np.testing.assert_allclose(data.x, x[fit][start], atol=1e-9)
    points, inducing = joined(net, x[fit]), joined(net, data.x)
    values, right = np.linalg.svd(points, full_matrices=False)[1:]
    rows = values[:10, None] * right[:10]  # twice as many as inputs
    captured = (1 - residual(rows, inducing, ridge=1e-6)) * np.sum(rows**2)
    np.testing.assert_allclose(data.history["loss"], 1 - captured / np.sum(points**2), rtol=1e-6)
    assert data.history["loss"][0] > residual(points, inducing, ridge=1e-6)
    left = residual(joined(net, x[held]), inducing, ridge=1e-6)
    np.testing.assert_allclose(data.history["residual"], left, rtol=1e-6)


def test_more_points_than_fit_at_once_come_in_minibatches(monkeypatch):
    monkeypatch.setattr(tangent_residual, "AT_ONCE", 30)
    monkeypatch.setattr(tangent_residual, "MINIBATCH", 10)
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 60, dtype="f8")
    data = STILL.distill(net, x)
    fit, _ = split(60, 0.2, seed=3)
    left = [
        residual(joined(net, x[fit[minibatch(48, 10, seed=3, step=step)]]), joined(net, data.x), ridge=1e-6)
        for step in range(3)
    ]
    np.testing.assert_allclose(data.history["loss"], left, rtol=1e-6)


def test_descent_on_few_directions_ends_where_descent_on_all_points_does(library, monkeypatch):
    monkeypatch.setattr(tangent_residual, "DIRECTIONS", 16)
    net, x = mlp(library), inputs(library, 100)
    few = TangentResidual(5, steps=30, learning_rate=0.05)
    every = dataclasses.replace(few, batch_size=80)
    ends = [min(objective.distill(net, x).history["residual"]) for objective in (few, every)]
    start = every.distill(net, x).history["residual"][0]
    assert ends[0] < start
    assert ends[0] - ends[1] < (start - ends[1]) / 4


def test_an_interrupted_descent_on_leading_directions_goes_on_to_the_identical_result(tmp_path, monkeypatch):
    monkeypatch.setattr(tangent_residual, "DIRECTIONS", 7)
    objective, net, x = TangentResidual(5, steps=5), mlp(NUMPY), inputs(NUMPY, 100)
    whole, moved = objective.distill(net, x), dntk.distill.data.descent._moved

    def killed(state, *rest):
        if state.step == 3:
            raise KeyboardInterrupt
        return moved(state, *rest)

    monkeypatch.setattr("dntk.distill.data.descent._moved", killed)
    with pytest.raises(KeyboardInterrupt):
        objective.distill(net, x, checkpoint=tmp_path / "run", every=3600)
    monkeypatch.setattr("dntk.distill.data.descent._moved", moved)
    resumed = objective.distill(net, x, checkpoint=tmp_path / "run", every=3600)
    np.testing.assert_array_equal(resumed.x, whole.x)
    assert resumed.history == whole.history
