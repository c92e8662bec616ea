"""The search for the smallest sizes within a tolerance, against losses computed densely in float64."""

import dataclasses
import math

import numpy as np
import pytest

import dntk
from dntk.certificates import certified_trace_loss
from dntk.distill.data import Balanced, Random, RPCholesky
from dntk.distill.gradients import LocalGlobal, Principal, Solution
from dntk.estimator.frame import Frame
from dntk.estimator.losses import expected_sketch_error
from dntk.estimator.search import fewest, resized, smallest
from dntk.estimator.trace_loss import TraceLoss
from tests.libraries import LIBRARIES, host, interpreted
from tests.mean_kernels import expected_error
from tests.networks import features, inputs, mlp, targets

NUMPY = LIBRARIES[0]


def lost(phi, basis):
    """Share of the trace of the kernels outside the span of rows."""
    values, rows = host(phi.values).astype(np.float64), host(basis).astype(np.float64)
    return 1 - np.sum((values @ np.swapaxes(rows, 1, 2)) ** 2) / np.sum(values**2)


def shares(est):
    return {share.stage: share for share in est.certificate.tolerance.shares}


def test_what_is_promised_is_the_loss_of_all_training_points_at_all_outputs(library):
    interpreted(library)
    tolerance, model, x = 0.1, mlp(library), inputs(library, n=24)
    est = dntk.DistilledNTK(model, RPCholesky(4), gradients=Principal(4), ridge=1e-2, tolerance=tolerance).fit(x)
    outcome = est.tolerance
    assert outcome.met
    assert [share.stage for share in outcome.shares] == ["data", "sketch", "gradients"]
    points, gradients = shares(est)["data"], shares(est)["gradients"]
    phi = dntk.tangent_features(model, x, sketch=None)
    kept = phi[est.indices]
    assert float(outcome.loss) == pytest.approx(lost(phi, est.span.basis), abs=2e-4)  # rounding of float32 on some
    assert lost(phi, est.span.basis) <= float(outcome.loss) + 1e-6
    assert float(outcome.loss) <= tolerance
    assert outcome.loss.kind == "deterministic"
    assert "all 24 training points read" in str(outcome)
    # It is what points leave with all their directions, and what directions add.
    everything = lost(phi, np.stack([np.linalg.qr(v.T)[0].T for v in host(kept.values).astype("f8")]))
    assert points.loss == pytest.approx(everything, abs=2e-4)
    assert points.loss + gradients.loss == pytest.approx(float(outcome.loss), abs=1e-6)
    assert est.losses.data_trace_residual == pytest.approx(everything, abs=2e-4)
    assert everything <= tolerance / 2
    # Neither fewer points nor fewer gradients would do.
    if points.size > 1:
        fewer = np.stack([np.linalg.qr(v[: points.size - 1].T)[0].T for v in host(kept.values).astype("f8")])
        assert lost(phi, fewer) > tolerance / 2
    if gradients.size > 1:
        fewer = Principal(gradients.size - 1).distill(kept, model(x)[: len(kept), ...])
        assert lost(phi, fewer.basis) > tolerance
    # Every kept and every other point is differentiated once; other sizes take no further pass.
    assert est.ledger["data"].jacobian_rows == 24 + 24 * 3 + points.size * 3
    assert est.ledger["features"].jacobian_rows == 0
    assert est.ledger["gradients"].jacobian_rows == 0


@pytest.mark.parametrize("distiller", [Solution(3), LocalGlobal(size=2, clusters=2), LocalGlobal(clusters=2), None])
def test_every_distiller_with_a_size_grows(distiller):
    est = dntk.DistilledNTK(mlp(NUMPY), None, gradients=distiller, ridge=1e-2, tolerance=0.05).fit(inputs(NUMPY))
    assert est.certificate.tolerance.met
    assert 0.01 < est.losses.gradient_trace_residual <= 0.05
    assert shares(est)["data"].loss == 0
    assert shares(est)["data"].size == 30


@pytest.mark.parametrize("first", [1, 3, 8, 50])
def test_smallest_size_is_found_from_any_start_in_a_logarithm_of_steps(first):
    for least in (1, 2, 7, 8, 9, 31, 40):
        asked = []

        def meets(size, least=least, asked=asked):
            asked.append(size)
            return size >= least

        assert smallest(meets, first=first, most=40) == least
        assert len(asked) == len(set(asked)) <= 2 * math.log2(50) + 2
    assert smallest(lambda size: size > 40, first=first, most=40) is None


def whole(frame):
    """The loss of the points of a frame alone."""
    points = np.arange(len(frame.kept))
    every = TraceLoss(mlp(NUMPY), inputs(NUMPY, n=len(points)), None, spans=1, resolution=1, seed=0, all_kept=True)
    return every.of(frame, points)


def test_fewest_gradients_are_found_on_every_library(library):
    interpreted(library)
    phi, y = features(library, c=2, n=9, k=9, decay=0.5), targets(library, n=9, c=2)
    frame = Frame.of(phi)
    grads, loss = fewest(Principal(2), frame, y, whole(frame), 0.01)
    # Shared directions of K̄: 1 − tr(UᵀK̄U)/tr K̄ bounds what they lose, and losses fall with every direction.
    assert grads.size > 2
    assert lost(phi, grads.basis) <= 0.01 < lost(phi, Principal(grads.size - 1).distill(phi, y).basis)
    assert float(loss.upper) == pytest.approx(lost(phi, grads.basis), abs=1e-4)


def test_a_frame_has_the_same_kernels_and_no_more_coordinates_than_points():
    phi = features(NUMPY, n=12, k=40, dtype="f8")
    own = Frame.of(phi).turned
    assert own.values.shape == (3, 12, 12)
    np.testing.assert_allclose(own.kernel(outputs="each"), phi.kernel(outputs="each"), atol=1e-13)
    assert Frame.of(own).turned is own
    y = targets(NUMPY, n=12, dtype="f8")
    assert Principal(4).distill(own, y).trace_residual == pytest.approx(Principal(4).distill(phi, y).trace_residual)


def test_a_sketch_that_is_too_small_grows_until_its_error_is_within_the_tolerance():
    model, x = mlp(NUMPY, (6, 600, 3)), inputs(NUMPY, n=12)
    est = dntk.DistilledNTK(model, None, sketch=dntk.sketch.SparseSign(64, seed=3), ridge=1e-2, tolerance=0.1).fit(x)
    sketch, share = est.sketch, shares(est)["sketch"]
    assert share.met
    assert (share.size, sketch.seed) == (sketch.dim, 3)
    assert sketch.dim in {64 * 2**i for i in range(1, 7)}
    exact = dntk.ntk(model, x)
    found = dntk.tangent_features(model, x, sketch=sketch).kernel()
    assert 0 < np.linalg.norm(found - exact) <= 0.1 * np.linalg.norm(exact)
    # At 95% confidence: 1.96 root mean squares, for normal tails. Half as many features would not do.
    values = dntk.tangent_features(model, x, sketch=sketch).values.astype(np.float64)
    assert share.loss == pytest.approx(1.959964 * expected_error(values), rel=1e-4)
    assert 1.96 * expected_error(values) * 2**0.5 > 0.09
    again = dntk.DistilledNTK(model, None, sketch=sketch, ridge=1e-2, tolerance=0.1).fit(x)
    assert again.sketch == sketch


def test_the_automatic_sketch_is_chosen_for_the_tolerance():
    model, x = mlp(NUMPY, (6, 3000, 3)), inputs(NUMPY, n=6)
    dims = [
        dntk.DistilledNTK(model, None, sketch=sketch, ridge=1e-2, tolerance=0.2).fit(x).sketch.dim
        for sketch in ("auto", dntk.sketch.choose(model, x, n=6, error=0.4))
    ]
    assert dims == [dntk.sketch.choose(model, x, n=6, error=0.2).sketch.dim] * 2


def test_a_sketch_as_long_as_the_parameters_gives_way_to_none():
    est = dntk.DistilledNTK(mlp(NUMPY), None, sketch=dntk.sketch.Gaussian(8), ridge=1e-2, tolerance=0.05).fit(
        inputs(NUMPY)
    )
    assert est.sketch is None
    assert shares(est)["sketch"].loss == 0


@dataclasses.dataclass(frozen=True)
class Three:
    """A selector whose size cannot be changed."""

    @property
    def size(self):
        return 3

    def select(self, phi):
        return Random(3).select(phi)


def test_a_stage_that_stops_the_search_is_named_with_its_loss_and_the_remedy(tmp_path):
    x = inputs(NUMPY)
    spec = dntk.DistilledNTK(mlp(NUMPY), Three(), ridge=1e-2, tolerance=0.05)
    with pytest.warns(UserWarning, match=r"tolerance 0.05 not met; stopped by: data \(0\.[0-9]+ .*pass a larger Three"):
        est = spec.fit(x)
    outcome = est.certificate.tolerance
    assert not outcome.met
    (stopped,) = outcome.stopped_by
    assert (stopped.stage, stopped.size) == ("data", 3)
    assert 0.05 < stopped.loss <= float(outcome.loss)
    assert stopped.loss == pytest.approx(est.losses.data_trace_residual, rel=1e-9)
    assert "tolerance    0.05 not met; stopped by: data" in str(est.certificate)
    assert est.predict(x).shape == (30, 3)
    assert est.tolerance == outcome
    est.save(tmp_path / "est")
    assert dntk.load(tmp_path / "est").tolerance == outcome
    back = dntk.load(tmp_path / "est").certificate
    assert back.tolerance == outcome
    assert str(back) == str(est.certificate)


def test_rounding_stops_the_gradients_and_all_points_are_kept():
    spec = dntk.DistilledNTK(mlp(NUMPY), None, gradients=Principal(2), ridge=1e-2, tolerance=1e-14)
    with pytest.warns(UserWarning, match="stopped by: gradients .*rounding: pass a larger tolerance"):
        est = spec.fit(inputs(NUMPY, n=9))
    assert shares(est)["gradients"].size == 9


def test_memory_stops_the_sketch(monkeypatch):
    monkeypatch.setattr("dntk.estimator.tolerance.LARGEST", 12 * 3 * 4 * 300)
    model, x = mlp(NUMPY, (6, 3000, 3)), inputs(NUMPY, n=12)
    for sketch in (dntk.sketch.Gaussian(64), "auto"):
        spec = dntk.DistilledNTK(model, None, sketch=sketch, ridge=1e-2, tolerance=0.05)
        with pytest.warns(UserWarning, match="stopped by: sketch .*more features than 256 would take more than"):
            est = spec.fit(x)
        assert est.sketch.dim == 256


def test_a_sketch_without_a_size_that_ensures_the_error_stops_the_search():
    model, x = mlp(NUMPY), inputs(NUMPY, n=6)
    spec = dntk.DistilledNTK(model, None, sketch=dntk.sketch.Mask(50), ridge=1e-2, tolerance=0.05)
    with pytest.warns(UserWarning, match='stopped by: sketch .*a Mask has no size that ensures it: pass sketch="auto"'):
        est = spec.fit(x)
    # E‖K̂ − K‖_F² ≤ V (tr K)², with V = ⌈P/k⌉ − 1.
    exact = est.sketch
    phi = dntk.tangent_features(model, x, sketch=exact)
    kernel = phi.kernel()
    bound = (math.ceil(model.n_parameters / 50) - 1) ** 0.5 * np.trace(kernel) / np.linalg.norm(kernel)
    found = expected_sketch_error(exact, phi, np.linalg.eigvalsh(kernel)[::-1])
    assert found == pytest.approx(bound, rel=1e-4)
    assert est.losses.sketch_relative_error == pytest.approx(bound, rel=1e-4)


def test_parts_inside_parts_are_resized_and_parts_without_size_are_left():
    balanced = Balanced(Random(6), np.arange(30) % 3)
    assert resized(balanced, 12).size == 12
    assert resized(Three(), 12) is None
    assert resized(object(), 12) is None


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("tolerance", [0, 1, -0.1, float("nan"), True, "5%"])
def test_a_tolerance_that_is_no_share_is_refused(tolerance):
    with pytest.raises(ValueError, match=r"`tolerance` must be a share between 0 and 1, got .*use for example 0\.05"):
        dntk.DistilledNTK(mlp(NUMPY), tolerance=tolerance)


def test_the_regression_within_a_tolerance_is_the_one_that_was_asked_for():
    model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, dtype="f8")
    y = targets(NUMPY, n=30, dtype="f8")
    fit = dntk.DistilledNTK(model, None, sketch=None, ridge=5.0, tolerance=0.05).fit(x, y)
    phi = dntk.tangent_features(model, x, sketch=None)
    full = dntk.solve.ridge(phi, y, ridge=5.0).predict(phi)
    np.testing.assert_allclose(fit.predict(x), full, atol=1e-7 * np.abs(full).max())
    assert fit.losses.gradients < 30


def test_the_loss_of_gradients_counts_every_output():
    values = features(NUMPY, n=20, k=40, dtype="f8").values * np.array([1.0, 10.0, 0.1])[:, None, None]
    phi = dntk.TangentFeatures(values)
    grads = Principal(3).distill(phi, targets(NUMPY, dtype="f8"))
    loss = lost(phi, grads.basis)
    assert loss - 1e-12 <= certified_trace_loss(phi, grads) <= loss + 1e-9
