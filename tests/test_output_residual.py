"""Inputs from which outputs are regressed: what is measured, and that regressions by the library become better."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.distill.data import KMeans, OutputResidual, output_residual
from dntk.distill.data.draws import minibatch, split
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
pytestmark = pytest.mark.usefixtures("compiled_quickly")
STILL = OutputResidual(5, steps=2, learning_rate=1e-12, ridge=0.1, seed=3)
"""Inputs stand still, so that the losses tell on which points they were measured."""


def error(net, made, points):
    """The definition, output by output."""
    phi, psi = (dntk.tangent_features(net, at, sketch=None).values for at in (made, points))
    left = total = 0.0
    for few, many, known, wanted in zip(phi, psi, net(made).T, net(points).T, strict=True):
        gram = few @ few.T
        ridge = 0.1 * np.trace(gram) / len(few)
        left += np.sum((many @ few.T @ np.linalg.solve(gram + ridge * np.eye(len(few)), known) - wanted) ** 2)
        total += np.sum(wanted**2)
    return left / total


def test_the_loss_is_the_error_of_separate_regressions_and_is_judged_on_what_is_held_out():
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 100, dtype="f8")
    data = STILL.distill(net, x)
    fit, held = split(100, 0.2, seed=3)
    start = KMeans(5, seed=3).select(dntk.tangent_features(net, x[fit], sketch=None)).indices
    np.testing.assert_allclose(data.x, x[fit][start], atol=1e-9)
    np.testing.assert_allclose(data.y, net(data.x))
    np.testing.assert_allclose(data.history["loss"], error(net, data.x, x[fit]), rtol=1e-6)
    np.testing.assert_allclose(data.history["held_out_loss"], error(net, data.x, x[held]), rtol=1e-6)


@pytest.mark.parametrize("given", [True, False], ids=["asked for", "of many points"])
def test_it_takes_minibatches(given, monkeypatch):
    monkeypatch.setattr(output_residual, "AT_ONCE", 30)
    monkeypatch.setattr(output_residual, "MINIBATCH", 10)
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 60, dtype="f8")
    data = dataclasses.replace(STILL, batch_size=10 if given else None).distill(net, x)
    fit, _ = split(60, 0.2, seed=3)
    left = [error(net, data.x, x[fit[minibatch(48, 10, seed=3, step=step)]]) for step in range(3)]
    np.testing.assert_allclose(data.history["loss"], left, rtol=1e-6)


def test_regressions_on_what_it_makes_predict_better_than_on_the_points_it_starts_from(library):
    net, x = mlp(library), inputs(library, 150)
    few = OutputResidual(8, steps=30, held_out=0.3)
    start = dataclasses.replace(few, steps=0).distill(net, x).x
    made = few.distill(net, x)
    new = inputs(library, 100, seed=7)
    test, wanted = dntk.tangent_features(net, new, sketch=None), host(net(new))

    def left(at):
        phi = dntk.tangent_features(net, at, sketch=None)
        return float(np.mean((host(dntk.solve.ridge(phi, net(at), ridge="loo").predict(test)) - wanted) ** 2))

    assert left(made.x) < 0.9 * left(start)
    assert min(made.history["held_out_loss"]) < made.history["held_out_loss"][0]


def test_labels_of_the_points_it_starts_from_become_targets():
    net, x, y = mlp(NUMPY), inputs(NUMPY, 60), np.arange(60) % 3
    data = dataclasses.replace(STILL, steps=0).distill(net, x, y)
    at = [int(np.flatnonzero((x == point).all(1))[0]) for point in data.x]
    np.testing.assert_array_equal(data.y, y[at])


def test_a_start_of_another_size_is_refused():
    with pytest.raises(ValueError, match="`start` chooses 4 points, but `size`=5"):
        dataclasses.replace(STILL, start=KMeans(4)).distill(mlp(NUMPY), inputs(NUMPY, 60))
