"""The loss of the trace of all training points from a sample of them, against dense linear algebra."""

import numpy as np
import pytest

import dntk
from dntk.distill.data import RPCholesky
from dntk.distill.gradients import Principal
from dntk.estimator import trace_loss
from dntk.estimator.frame import Frame, squared_lengths
from dntk.estimator.trace_loss import TraceLoss
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]


def lost(phi, basis):
    values, rows = host(phi.values).astype(np.float64), host(basis).astype(np.float64)
    return 1 - np.sum((values @ np.swapaxes(rows, 1, 2)) ** 2) / np.sum(values**2)


def uneven(n, dtype="f8"):
    """Inputs of which some are far longer than others, and so their gradients."""
    x = inputs(NUMPY, n=n, dtype=dtype)
    return x * np.random.default_rng(7).lognormal(0, 0.7, size=(n, 1)).astype(dtype)


def test_lengths_are_the_diagonal_of_the_kernel(library):
    interpreted(library)
    model, x = mlp(library), inputs(library, n=11)
    exact = np.trace(host(dntk.ntk(model, x, outputs="full")), axis1=2, axis2=3)[np.arange(11), np.arange(11)]
    np.testing.assert_allclose(squared_lengths(model, x), exact, rtol=1e-4)


@pytest.mark.parametrize("sketch", [None, dntk.sketch.Gaussian(256, seed=1)])
def test_a_sampled_loss_has_its_upper_end_above_the_truth_at_every_seed(sketch, monkeypatch):
    monkeypatch.setattr(trace_loss, "PILOT", 20)
    n, model = 900, mlp(NUMPY, (6, 40, 3), dtype="f8")
    x = uneven(n)
    phi = dntk.tangent_features(model, x, sketch=sketch)
    points = np.arange(0, 60, 2)
    frame = Frame.of(phi[points])
    basis = Principal(8).distill(frame.kept, model(x[points])).basis
    truth, uppers, means = lost(phi, basis), [], []
    for seed in range(12):
        found = TraceLoss(model, x, phi.sketch, spans=1, resolution=0.1, seed=seed, all_kept=False)
        loss = found.of(frame, points)(basis)
        assert not found.complete
        assert loss.upper.confidence == 0.99
        uppers.append(float(loss.upper))
        means.append(loss.mean)
        assert f"of {n} training points read" in loss.upper.theorem
    assert min(uppers) >= truth
    assert max(uppers) <= truth + 0.25  # of some fifty draws
    assert abs(np.mean(means) - truth) <= 4 * np.std(means) / 12**0.5
    found.grow(), found.grow(), found.grow(), found.grow()
    assert found.complete
    assert float(found.of(frame, points)(basis).upper) == pytest.approx(truth, abs=1e-9)


def test_points_are_drawn_in_proportion_to_their_lengths():
    lengths = np.asarray([8.0, 1.0, 1.0, 0.0, 2.0])
    firsts = [trace_loss._drawn(lengths, seed)[0] for seed in range(600)]
    shares = np.bincount(firsts, minlength=5) / 600
    np.testing.assert_allclose(shares, lengths / 12, atol=5 * (0.25 / 600) ** 0.5)
    assert len(trace_loss._drawn(lengths, 0)) == 4


def test_a_sketch_without_theorem_has_all_points_read():
    model, x = mlp(NUMPY), inputs(NUMPY, n=900)
    for sketch, whole in ((dntk.sketch.Mask(64), True), (dntk.sketch.Gaussian(64), False)):
        bound = dntk.tangent_features(model, x[:1], sketch=sketch).sketch
        found = TraceLoss(model, x, bound, spans=1, resolution=0.5, seed=0, all_kept=False)
        assert found.complete is whole


@pytest.mark.parametrize("tolerance", [0.1, 0.3])
def test_what_a_sampled_search_calls_met_is_met(tolerance, monkeypatch):
    monkeypatch.setattr(trace_loss, "PILOT", 40)
    monkeypatch.setattr("dntk.estimator.tolerance.RESOLUTION", 0.75)
    model, x = mlp(NUMPY, (6, 40, 3), dtype="f8"), uneven(1500)
    phi = dntk.tangent_features(model, x, sketch=None)
    for seed in range(3):
        spec = dntk.DistilledNTK(
            model, RPCholesky(8, seed=seed), None, Principal(4), 1e-2, seed=seed, tolerance=tolerance
        )
        est = spec.fit(x)
        assert est.tolerance.loss.kind == "probabilistic"
        assert "1500 training points read" in str(est.tolerance)
        assert est.tolerance.met
        assert lost(phi, est.span.basis) <= float(est.tolerance.loss) <= tolerance
