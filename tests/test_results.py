"""Results and protocols by their public names: what they state is so, and what fits them is taken."""

import dataclasses
import typing

import numpy as np
import pytest
import scipy.special
import scipy.stats

import dntk
from dntk.backend import BackendStatus, entries
from dntk.bounds import Intervals
from dntk.certificates import StageError, certify
from dntk.distill import data, gradients
from dntk.models import batches
from dntk.outputs import FeatureOutputs, KernelOutputs, Labelled, TransformedModel, labelled, margin
from dntk.random import drawing_dtype, integers_of, signs_of
from dntk.sketch import Interval, LayerPlan, Layout, ParameterMatrix, SketchDiagnosis, choose, diagnose, layout_of
from dntk.spectrum import eigenpairs_holding
from dntk.testing import Destination, Place
from tests.libraries import LIBRARIES, host
from tests.networks import features, inputs, mlp, targets

NUMPY = LIBRARIES[0]
EPS = np.finfo(np.float64).eps


@pytest.fixture
def phi():
    return features(NUMPY, dtype="f8")


@pytest.fixture
def y():
    return targets(NUMPY, dtype="f8")


def test_a_status_says_why_a_backend_cannot_be_used():
    found = dntk.backends()
    assert set(entries()) <= set(found)
    for name, status in found.items():
        assert isinstance(status, BackendStatus)
        assert status.name == name
        assert status.available == (not status.why_not)
    assert found["numpy"].version == np.__version__


def test_intervals_unpack_and_state_their_theorem():
    intervals = Intervals(lower=np.asarray([1.0, 2.0]), upper=np.asarray([3.0, 4.0]), theorem="Weyl")
    lower, upper = intervals
    assert lower is intervals[0] is intervals.lower
    assert upper is intervals[1] is intervals.upper
    assert intervals.to_dict() == {
        "lower": [1.0, 2.0],
        "upper": [3.0, 4.0],
        "theorem": "Weyl",
        "kind": "deterministic",
        "confidence": 1.0,
    }


def test_stages_of_a_certificate_are_errors_relative_to_what_they_say(phi, y):
    grads = gradients.Principal(4).distill(phi, y)
    certificate = certify(phi, grads, y, ridge=0.1)
    stages = {stage.measure: stage.error for stage in certificate.stages}
    assert all(isinstance(stage, StageError) for stage in certificate.stages)
    assert stages["of the kernel's trace"] == float(certificate.trace_error) / certificate.trace
    rms = float(np.sqrt(np.mean(certificate.prediction_error.value**2)))
    size = float(np.sqrt(np.mean(y**2)))
    assert stages["of the targets' root mean square"] == pytest.approx(rms / size, rel=100 * EPS)


def test_a_selection_is_the_curve_of_its_smaller_ones(phi):
    whole = data.RPCholesky(6, seed=1).select(phi)
    assert isinstance(whole, data.Selection)
    part = whole.first(3)
    np.testing.assert_array_equal(part.indices, whole.indices[:3])
    np.testing.assert_array_equal(part.residual_trace, whole.residual_trace[:3])
    with pytest.raises(ValueError, match="`size`"):
        whole.first(7)


def test_selectors_and_distillers_of_data_and_of_gradients_are_told_apart():
    kinds = (data.DataSelector, data.DataDistiller, gradients.GradientDistiller)
    for part, kind in [
        (data.RPCholesky(3), data.DataSelector),
        (data.KernelInducing(3), data.DataDistiller),
        (gradients.Krylov(3), gradients.GradientDistiller),
    ]:
        assert isinstance(part, kind)
        assert isinstance(part, data.DataSelector) == (kind is data.DataSelector)
    assert not any(isinstance(object(), kind) for kind in kinds)


def test_distilled_data_say_where_they_come_from():
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=12, dtype="f8")
    objective = data.TangentResidual(3, steps=2, seed=5)
    made = objective.distill(net, x).provenance
    assert isinstance(made, data.Provenance)
    assert (made.objective, made.seed, made.fields["steps"]) == ("TangentResidual", 5, 2)
    other = objective.distill(mlp(NUMPY, seed=9, dtype="f8"), x).provenance
    assert other.model != made.model
    assert other.data == made.data


def test_a_coverage_curve_is_the_energy_of_eigenvectors_in_the_span(phi, y):
    grads = gradients.Krylov(4, per_output=False).distill(phi, y)
    curve = gradients.coverage_curve(phi, grads, 3)
    assert isinstance(curve, gradients.CoverageCurve)
    values, vectors = np.linalg.eigh(np.mean(phi.values @ phi.values.mT, axis=0))
    values, vectors = values[::-1][:3], vectors[:, ::-1][:, :3]
    covered = np.sum((grads.directions.T @ vectors) ** 2, axis=0)
    np.testing.assert_allclose(curve.eigenvalues, values, rtol=1e-10)
    np.testing.assert_allclose(curve.covered, covered, atol=1e-10)
    missed = [1 - values[:r] @ covered[:r] / values[:r].sum() for r in (1, 2, 3)]
    np.testing.assert_allclose(curve.gap, missed, atol=1e-10)


def test_the_rank_of_every_output_is_the_least_that_holds_the_trace(phi):
    found = gradients.low_rank(phi, 0.1)
    assert isinstance(found, gradients.LowRank)
    for rank, kernel in zip(found.ranks, phi.values @ phi.values.mT, strict=True):
        values = np.linalg.eigvalsh(kernel)[::-1]
        assert values[:rank].sum() >= 0.9 * values.sum() > values[: rank - 1].sum()


def test_gaps_are_those_of_the_diagnosis(phi):
    distiller = gradients.LocalGlobal(variance=0.9, clusters=3)
    gaps = gradients.coverage_gaps(phi, distiller, 0.1)
    found = gaps.diagnosis
    assert isinstance(gaps, gradients.CoverageGaps)
    assert isinstance(found, gradients.LocalGlobalDiagnosis)
    assert found.local_directions.shape == (len(phi), sum(found.local_ranks))
    values, vectors = np.linalg.eigh(np.mean(phi.values @ phi.values.mT, axis=0))
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = int(np.sum(np.cumsum(values) < 0.9 * values.sum())) + 1
    covered = np.sum((found.local_directions.T @ vectors[:, :rank]) ** 2, axis=0)
    assert gaps.mean == pytest.approx(1 - values[:rank] @ covered / values[:rank].sum(), abs=1e-10)
    assert found.gap == tuple(j for j in range(found.global_rank) if found.local_coverage[j] < distiller.coverage)


def test_a_search_chooses_the_trial_of_least_error(phi, y):
    search = gradients.LocalGlobalSearch(variances=(0.6, 0.9), coverages=(0.5,), clusters=(2, 4))
    validation, truth = features(NUMPY, n=9, seed=12, dtype="f8"), targets(NUMPY, n=9, seed=13, dtype="f8")
    found = search.select(phi, y, validation, truth, ridge=0.1)
    assert isinstance(found, gradients.LocalGlobalChoice)
    assert all(isinstance(trial, gradients.LocalGlobalTrial) for trial in found.trials)
    assert len(found.trials) == 4
    best = min(found.trials, key=lambda trial: trial.mse)
    assert (found.distiller, found.gradients.directions.shape[-1]) == (best.distiller, best.size)


def test_a_span_certificate_bounds_what_it_is_about(phi, y):
    grads = gradients.Krylov(3).distill(phi, y)
    found = dntk.certificates.span_certificate(grads, ridge=0.1)
    assert isinstance(found, dntk.certificates.SpanCertificate)
    full = dntk.solve.ridge(phi, y, ridge=0.1).predict(phi)
    galerkin = dntk.solve.ridge(grads, ridge=0.1).predict(phi)
    spanned = dntk.solve.same_span(grads, ridge=0.1).predict(phi)
    assert (np.abs(full - galerkin) <= found.galerkin_bound(phi).value + 1e-10).all()
    assert (np.abs(full - spanned) <= found.same_span_bound(phi).value + 1e-10).all()


def test_streamed_gradients_bound_their_distance_from_the_regression(phi, y):
    streamed = gradients.Streaming(6).stream([(phi[:12], y[:12]), (phi[12:], y[12:])])
    assert isinstance(streamed, gradients.StreamedGradients)
    assert streamed.points == len(phi)
    fit = streamed.solve(0.1)
    assert isinstance(fit, gradients.StreamedFit)
    full = dntk.solve.ridge(phi, y, ridge=0.1).predict(phi)
    assert (np.abs(full - fit.predict(phi)) <= fit.prediction_bound(phi).value + 1e-10).all()


@pytest.mark.parametrize("outputs", [*typing.get_args(typing.get_args(FeatureOutputs)[0]), 1])
def test_features_are_made_for_every_word_of_their_outputs(outputs):
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=4, dtype="f8")
    found = dntk.tangent_features(net, x, outputs=outputs, sketch=None)
    expected = dntk.ntk(net, x, outputs=outputs)
    gram = found.values @ found.values.mT
    np.testing.assert_allclose(gram if outputs == "each" else gram[0], expected, rtol=1e-10)


@pytest.mark.parametrize("outputs", [*typing.get_args(typing.get_args(KernelOutputs)[0]), 1])
def test_kernels_are_made_for_every_word_of_their_outputs(outputs):
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=4, dtype="f8")
    whole = np.asarray(dntk.ntk(net, x, outputs="full"))  # (n, n, C, C), as a kernel of all pairs
    found = np.asarray(dntk.ntk(net, x, outputs=outputs))
    own = np.einsum("ccij->cij", whole) if whole.shape[0] == 3 else np.einsum("ijcc->cij", whole)
    total = whole.sum(axis=(0, 1) if whole.shape[0] == 3 else (2, 3))
    expected = {"full": whole, "each": own, "mean": own.mean(axis=0), "sum": total / 3, 1: own[1]}[outputs]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_labelled_inputs_keep_their_labels_when_they_are_cut():
    x, labels = inputs(NUMPY, n=5), np.asarray([0, 1, 2, 0, 1])
    both = labelled(x, labels)
    assert isinstance(both, Labelled)
    np.testing.assert_array_equal(batches.span(both, 1, 3).y, labels[1:3])
    taken = both.take(np.asarray([4, 0]))
    np.testing.assert_array_equal(taken.x, x[[4, 0]])
    np.testing.assert_array_equal(taken.y, labels[[4, 0]])


def test_a_margin_is_a_model_with_the_parameters_of_its_network():
    net, x, labels = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=5, dtype="f8"), np.asarray([0, 1, 2, 0, 1])
    model = margin(net)
    assert isinstance(model, TransformedModel)
    assert (model.n_parameters, model.n_outputs) == (net.n_parameters, 1)
    outputs = np.asarray(net(x))
    others = scipy.special.logsumexp(np.where(np.eye(3)[labels] == 1, -np.inf, outputs), axis=1)
    found = np.asarray(model(labelled(x, labels)))[:, 0]
    np.testing.assert_allclose(found, outputs[np.arange(5), labels] - others, rtol=1e-12, atol=1e-12)


def test_signs_are_the_lowest_bits_and_integers_the_others(library):
    drawn = library.array(np.asarray([0, 1, 2, 2**31 + 1, 2**32 - 1]), np.int64 if library.has_float64 else np.uint32)
    for name in ("float32", "float64") if library.has_float64 else ("float32",):
        like = library.array(np.ones(1), name)
        assert drawing_dtype(like) is getattr(np, name)
        signs = signs_of(drawn, like)
        np.testing.assert_array_equal(host(signs), [-1, 1, -1, 1, 1])
        assert host(signs).dtype == name
    np.testing.assert_array_equal(host(integers_of(drawn, 10)), [0, 0, 0, 5, 9])


def test_a_layout_covers_the_parameters_without_gaps():
    net = mlp(NUMPY)
    found = layout_of(net)
    assert isinstance(found, typing.get_origin(Layout))
    assert all(isinstance(matrix, typing.get_args(Layout)[0]) for matrix in found)
    assert typing.get_args(Layout)[0] is ParameterMatrix
    ends = [matrix.stop for matrix in found]
    assert [matrix.offset for matrix in found] == [0, *ends[:-1]]
    assert ends[-1] == net.n_parameters


def test_a_plan_costs_what_its_layers_and_the_kernel_cost():
    net, n = mlp(NUMPY), 1000
    plan = choose(net, inputs(NUMPY), n=n, error=0.3)
    assert {layer.probe.name for layer in plan.layers} == set(net.parameters)
    assert all(isinstance(layer, LayerPlan) for layer in plan.layers)
    k = plan.sketch.dim
    kernel = min(n, k) * net.n_outputs * k / 2
    assert plan.cost == pytest.approx(sum(layer.cost for layer in plan.layers) + kernel)


def test_a_diagnosis_is_the_mean_over_seeds_with_its_t_interval():
    net, x, draws = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=8, dtype="f8"), 5
    sketch = dntk.sketch.Gaussian(20)
    found = diagnose(net, x, sketch, draws=draws, seed=3, confidence=0.9)
    assert isinstance(found, SketchDiagnosis)
    exact, errors = dntk.ntk(net, x), []
    for seed in range(4, 4 + draws):
        values = dntk.tangent_features(net, x, sketch=dataclasses.replace(sketch, seed=seed)).values
        errors.append(np.linalg.norm(np.mean(values @ values.mT, axis=0) - exact) / np.linalg.norm(exact))
    lower, upper = scipy.stats.t.interval(0.9, draws - 1, np.mean(errors), scipy.stats.sem(errors))
    expected = Interval(mean=float(np.mean(errors)), lower=float(max(lower, 0)), upper=float(upper))
    for name in ("mean", "lower", "upper"):
        assert getattr(found.gram_error, name) == pytest.approx(getattr(expected, name), rel=1e-9)
    assert str(expected) in str(found)


@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
def test_eigenpairs_that_hold_a_share_are_leading_ones_and_hold_it(phi, share):
    values, vectors = eigenpairs_holding(phi, share, first=1, last=20)
    kernel = np.mean(phi.values @ phi.values.mT, axis=0)
    exact = np.linalg.eigvalsh(kernel)[::-1]
    r = values.shape[0]
    assert exact[:r].sum() >= share * exact.sum() * (1 - 20 * EPS)
    assert r == 20 or exact[: r // 2].sum() < share * exact.sum()
    np.testing.assert_allclose(values, exact[:r], rtol=1e-9)
    np.testing.assert_allclose(kernel @ vectors, vectors * values, atol=1e-9 * exact[0])


def test_any_maker_of_arrays_is_a_destination():
    assert isinstance(Place.called("numpy"), Destination)
    assert isinstance(NUMPY, Destination)
    assert not isinstance(object(), Destination)


def test_what_a_fit_kept_is_a_span_and_estimates_of_traces_carry_their_error():
    model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=12, dtype="f8")
    span = dntk.DistilledNTK(model, gradients=gradients.Principal(3), ridge=0.1).fit(x).span
    assert isinstance(span, dntk.certificates.Span)
    np.testing.assert_allclose(span.basis @ span.basis.mT, np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-12)
    kernel = dntk.ntk(model, x)
    found = dntk.certificates.xtrace(lambda v: kernel @ v, kernel, probes=12)
    assert isinstance(found, dntk.certificates.TraceEstimate)
    assert found.value == pytest.approx(np.trace(kernel))
    assert set(typing.get_args(dntk.certificates.Kind)) >= {"deterministic", "probabilistic", "empirical"}
