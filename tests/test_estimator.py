import dataclasses

import numpy as np
import pytest

import dntk
from dntk.distill.data import Random, RPCholesky
from dntk.distill.data.last_layer import last_layer_features
from dntk.distill.gradients import LocalGlobal, Principal, Solution
from dntk.ledger import LedgerRecorder
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]


@pytest.mark.parametrize("sketch", [None, dntk.sketch.SparseSign(512), dntk.sketch.Gaussian(512)])
def test_prediction_by_jvp_equals_prediction_by_features(library, sketch):
    model, x, query = mlp(library), inputs(library), inputs(library, n=8, seed=5)
    est = dntk.DistilledNTK(model, sketch=sketch, ridge=1e-2).fit(x)
    phi = dntk.tangent_features(model, x, sketch=sketch)
    fit = dntk.solve.ridge(phi, model(x), ridge=1e-2)
    by_features = host(fit.predict(dntk.tangent_features(model, query, sketch=sketch)))
    np.testing.assert_allclose(host(est.predict(query)), by_features, atol=1e-3 * np.abs(by_features).max())


@pytest.mark.parametrize("gradients", [None, Solution(4), Principal(8), LocalGlobal(size=8)])
def test_every_stage_combination_fits_and_states_its_losses(library, gradients):
    if library.module == "jax" and not isinstance(gradients, Solution):
        pytest.skip("compiling takes half a minute each; the other distillers have their own tests on JAX")
    x = inputs(library, n=40)
    est = dntk.DistilledNTK(mlp(library), data=RPCholesky(20), gradients=gradients, ridge=1e-3).fit(x)
    losses = est.losses
    assert (losses.points, losses.kept_points) == (40, 20)
    assert losses.gradients <= (20 if gradients is None else gradients.size)
    assert losses.gradients >= 4
    assert 0 < losses.data_trace_residual < 1
    assert losses.sketch_relative_error == 0
    assert 0 <= losses.gradient_trace_residual <= 1
    assert len(host(est.indices)) == 20
    assert host(est.spectrum).shape == (20,)
    assert "20 points" in str(losses)
    assert est.fidelity(x) > 0.5


def test_without_compression_the_predictor_is_exact_kernel_regression():
    model, x, query = mlp(NUMPY, dtype="f8"), inputs(NUMPY, dtype="f8"), inputs(NUMPY, n=9, seed=4, dtype="f8")
    est = dntk.DistilledNTK(model, ridge=0.1).fit(x)
    exact = dntk.solve.kernel_ridge(dntk.ntk(model, x, outputs="each"), model(x), ridge=0.1)
    expected = exact.predict(dntk.ntk(model, query, x, outputs="each"))
    np.testing.assert_allclose(est.predict(query), expected, rtol=1e-8)
    np.testing.assert_allclose(est.kernel(x), dntk.ntk(model, x), rtol=1e-8, atol=1e-8)
    assert est.losses.gradient_trace_residual < 1e-12


def test_the_ledger_counts_one_row_per_point_for_selection_and_one_per_output_for_features():
    est = dntk.DistilledNTK(mlp(NUMPY), data=RPCholesky(10), gradients=Solution(2)).fit(inputs(NUMPY))
    assert est.ledger["data"].jacobian_rows == 30
    assert est.ledger["features"].jacobian_rows == 10 * 3
    assert est.ledger.total().jacobian_rows == 60
    assert all(cost.seconds >= 0 for cost in est.ledger.stages)
    with pytest.raises(KeyError, match="it has: data"):
        est.ledger["nothing"]


def test_trust_is_zero_on_the_points_of_the_span_and_grows_away_from_it():
    model, x = mlp(NUMPY, (6, 64, 3)), inputs(NUMPY, n=15)
    est = dntk.DistilledNTK(model, ridge=1e-3).fit(x)
    assert est.trust(x).max() < 1e-4
    assert est.trust(10 * inputs(NUMPY, seed=8)).mean() > 0.05


def test_labels_become_centred_one_hot_targets():
    rng = np.random.default_rng(0)
    x = inputs(NUMPY, n=60)
    labels = np.argmax(x[:, :3] + 0.01 * rng.normal(size=(60, 3)), axis=1)
    est = dntk.DistilledNTK(mlp(NUMPY, (6, 64, 3)), ridge="loo").fit(x, labels)
    assert est.score(x, labels) > 0.9
    np.testing.assert_array_equal(est.predict_label(x), np.argmax(est.predict(x), axis=1))


def test_float_targets_are_fitted_as_they_are():
    model, x = mlp(NUMPY), inputs(NUMPY)
    y = np.stack([x[:, 0], x[:, 1], x[:, 2]], axis=1)
    assert np.mean((dntk.DistilledNTK(model, ridge=1e-4).fit(x, y).predict(x) - y) ** 2) < 0.05


def test_automatic_sketch_is_none_for_small_networks_and_the_chosen_one_for_large():
    x = inputs(NUMPY, n=5)
    small = dntk.DistilledNTK(mlp(NUMPY)).fit(x)
    model = mlp(NUMPY, (6, 3000, 3))
    large = dntk.DistilledNTK(model, seed=4).fit(x)
    plan = dntk.sketch.automatic(model, x, n=5, seed=4)
    assert small.state.sketch is None
    assert large.state.sketch == dntk.tangent_features(model, x, sketch=plan).sketch
    assert large.state.sketch.seed == 4
    assert large.losses.sketch_relative_error == plan.expected_error
    assert plan.sketch.dim == 1024
    assert 0 < plan.expected_error < 0.2


def test_a_sketch_to_more_than_half_as_many_features_as_parameters_is_none():
    model, x = mlp(NUMPY, (6, 410, 3)), inputs(NUMPY, n=600)
    # 600 points ask for 4,096 features, and the network has 4,103 parameters.
    assert 4096 < model.n_parameters < 2 * 4096
    fit = dntk.DistilledNTK(model, ridge=1e-3).fit(x)
    assert fit.sketch is None
    assert fit.weights.shape == (3, model.n_parameters)


@dataclasses.dataclass(frozen=True)
class First:
    """Selects the first points."""

    size: int

    def select(self, phi):
        order = np.arange(min(self.size, len(phi)))
        return dntk.distill.data.Selection(
            indices=order, weights=np.ones(self.size), residual_trace=np.zeros(self.size), trace=1.0
        )


class TestWhatIsDoneWithoutBeingTold:
    """The defaults: which points, features and gradients, and that it is said."""

    def test_all_of_few_points_and_some_of_many_are_kept(self):
        model = mlp(NUMPY, (6, 16, 3))
        few = dntk.DistilledNTK(model, ridge=1e-3).fit(inputs(NUMPY, n=60))
        assert few.losses.kept_points == 60
        assert few.losses.gradients == 40
        assert few.choices[0].startswith("points: all 60")
        many = dntk.DistilledNTK(model, ridge=1e-3).fit(inputs(NUMPY, n=1000))
        assert many.losses.kept_points == 500 == len(set(many.indices.tolist()))
        assert many.choices[0] == "points: 500 of 1,000, by the inputs of the last layer"
        assert many.fidelity(inputs(NUMPY, n=200, seed=9)) > 0.97
        assert many.ledger["data"].jacobian_rows == 0

    def test_the_loss_of_points_chosen_by_the_last_layer_is_measured_on_others(self):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=80, dtype="f8")
        data = dntk.distill.data.LastLayer(Random(16))
        assert isinstance(data, dntk.distill.data.InputSelector)
        fit = dntk.DistilledNTK(model, data=data, sketch=None, ridge=1e-3).fit(x)
        kernel = dntk.ntk(model, x)
        kept = fit.indices
        across = kernel[kept][:, kept]
        left = np.trace(kernel - kernel[:, kept] @ np.linalg.solve(across, kernel[kept])) / np.trace(kernel)
        # All 64 others are the sample; the trace of the others stands for a share 64/80 of the whole.
        others = np.setdiff1d(np.arange(80), kept)
        scale = np.trace(kernel[others][:, others]) / np.trace(kernel) / (64 / 80)
        assert fit.losses.data_trace_residual == pytest.approx(left / scale, rel=1e-3)
        assert fit.ledger["loss of points"].jacobian_rows == 64 * 3

    def test_a_network_that_is_dead_at_the_points_that_are_kept_is_refused_and_at_the_others_loses_nothing(self):
        net = mlp(NUMPY, activation="relu")
        dead = dataclasses.replace(
            net, biases=(np.full(16, -3, dtype="f4"), net.biases[1]), selected=("weights.0", "biases.0")
        )
        awake, asleep = 10 * inputs(NUMPY, n=8), np.zeros((8, 6), dtype="f4")
        data = dntk.distill.data.LastLayer(First(8))
        fit = dntk.DistilledNTK(dead, data=data, ridge=0.1).fit(np.concatenate([awake, asleep]))
        assert fit.losses.data_trace_residual == 0
        with pytest.raises(ValueError, match="zero"):
            dntk.DistilledNTK(dead, data=data, ridge=0.1).fit(np.concatenate([asleep, awake]))

    def test_keeping_much_says_what_it_takes_before_it_is_done(self, monkeypatch):
        monkeypatch.setattr("dntk.estimator.defaults.MEMORY", 1000)
        model, x = mlp(NUMPY), inputs(NUMPY, n=20)
        said = r"all 20 points are kept: .* GiB, 60 gradients and about .* s \(\d+ measured.*\), .* see plan\(x\)"
        with pytest.warns(UserWarning, match=said):
            fit = dntk.DistilledNTK(model, data=None, ridge=1e-3).fit(x)
        assert fit.ledger["features"].jacobian_rows == 60  # what was measured before is no part of the stage

    @pytest.mark.usefixtures("unchecked")
    def test_an_unknown_word_is_refused(self):
        for name in ("data", "gradients"):
            with pytest.raises(ValueError, match=rf"`{name}`='all': expected an object such as"):
                dntk.DistilledNTK(mlp(NUMPY), **{name: "all"})

    def test_the_last_layer_is_looked_at_on_every_library_and_without_one_a_functional(self, library):
        model, x = mlp(library), inputs(library)
        hidden = host(model.observe(x, (model.head(x),)).inputs["weights.1"])[:, 0, :]
        phi = last_layer_features(model, x)
        np.testing.assert_array_equal(host(phi.values)[0], np.concatenate([hidden, np.ones((30, 1))], axis=1))
        margin = last_layer_features(dntk.outputs.margin(model, y="predicted"), x)
        assert margin.sketch.dim == 256


class TestQuery:
    """Prediction, uncertainty and trust from one pass."""

    def test_it_says_what_the_three_say(self, library):
        model, x = mlp(library), inputs(library)
        fit = dntk.DistilledNTK(model, gradients=Solution(5), ridge=1e-2).fit(x)
        query, found = inputs(library, n=6, seed=4), None
        with LedgerRecorder().stage("query") as cost:
            found = fit.query(query)
        assert isinstance(found, dntk.estimator.Query)
        assert cost.jacobian_rows == 6 * 3
        expected = host(fit.predict(query))
        np.testing.assert_allclose(host(found.prediction), expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_array_equal(host(found.uncertainty), host(fit.uncertainty(query)))
        np.testing.assert_array_equal(host(found.trust), host(fit.trust(query)))


def test_a_single_point_can_be_fitted():
    x = inputs(NUMPY, n=1)
    model = mlp(NUMPY)
    est = dntk.DistilledNTK(model, ridge=1e-6).fit(x)
    np.testing.assert_allclose(est.predict(x), model(x), atol=1e-4)


def test_report_is_one_page_without_requests(tmp_path):
    est = dntk.DistilledNTK(mlp(NUMPY), gradients=Solution(3)).fit(inputs(NUMPY))
    est.report(tmp_path / "deep" / "report.html")
    text = (tmp_path / "deep" / "report.html").read_text()
    assert "<svg" in text
    assert "gradient trace residual" in text
    assert "<script" not in text
    assert 'src="http' not in text


@pytest.mark.usefixtures("unchecked")
class TestBadInput:
    def test_a_network_that_is_not_wrapped(self):
        with pytest.raises(TypeError, match="dntk.as_model"):
            dntk.DistilledNTK(object())

    def test_an_unknown_sketch_word(self):
        with pytest.raises(ValueError, match="'auto'"):
            dntk.DistilledNTK(mlp(NUMPY), sketch="gaussian")

    def test_wrong_feature_count(self):
        with pytest.raises(ValueError, match="the model takes 6 features"):
            dntk.DistilledNTK(mlp(NUMPY)).fit(inputs(NUMPY, d=5))

    def test_labels_of_another_length(self):
        with pytest.raises(ValueError, match="29 entries, but there are 30 points"):
            dntk.DistilledNTK(mlp(NUMPY)).fit(inputs(NUMPY), np.zeros(29, dtype=int))

    def test_targets_of_another_length(self):
        with pytest.raises(ValueError, match=r"expected \(30, 3\)"):
            dntk.DistilledNTK(mlp(NUMPY)).fit(inputs(NUMPY), np.zeros((29, 3), dtype="f4"))

    def test_one_class(self):
        with pytest.raises(ValueError, match="all labels are of one class"):
            dntk.DistilledNTK(mlp(NUMPY)).fit(inputs(NUMPY), np.ones(30, dtype=int))

    def test_labels_beyond_the_outputs(self):
        with pytest.raises(ValueError, match="the classes are 0 to 2"):
            dntk.DistilledNTK(mlp(NUMPY)).fit(inputs(NUMPY), np.arange(30) % 5)

    def test_not_finite_inputs(self):
        x = inputs(NUMPY)
        x[7, 2] = np.inf
        with pytest.raises(ValueError, match="`x` has NaN or infinite values in 1"):
            dntk.DistilledNTK(mlp(NUMPY)).fit(x)

    def test_not_finite_outputs(self):
        model = mlp(NUMPY, activation="relu")
        huge = dataclasses.replace(model, weights=tuple(w * np.float32(1e30) for w in model.weights))
        with np.errstate(all="ignore"), pytest.raises(ValueError, match="network's outputs"):
            dntk.DistilledNTK(huge).fit(inputs(NUMPY))

    def test_no_points(self):
        with pytest.raises(ValueError, match="empty"):
            dntk.DistilledNTK(mlp(NUMPY)).fit(np.zeros((0, 6), dtype="f4"))

    def test_integer_images(self):
        with pytest.raises(TypeError, match="/ 255"):
            dntk.DistilledNTK(mlp(NUMPY)).fit(np.zeros((3, 6), dtype=np.uint8))

    def test_another_library(self):
        torch = pytest.importorskip("torch")
        with pytest.raises(TypeError, match="`x` is a torch array, but the model computes with numpy"):
            dntk.DistilledNTK(mlp(NUMPY)).fit(torch.zeros(3, 6))

    def test_a_coreset_larger_than_the_data(self):
        with pytest.raises(ValueError, match="`size`=31 points are asked of 30"):
            dntk.DistilledNTK(mlp(NUMPY), data=Random(31)).fit(inputs(NUMPY))

    def test_more_gradients_than_points(self):
        with pytest.raises(ValueError, match="at most 30 directions"):
            dntk.DistilledNTK(mlp(NUMPY), gradients=Principal(31)).fit(inputs(NUMPY))

    def test_a_dead_network(self):
        model = mlp(NUMPY, activation="relu")
        dead = dataclasses.replace(
            model, biases=(np.full(16, -1e3, dtype="f4"), model.biases[1]), selected=("weights.0", "biases.0")
        )
        with pytest.raises(ValueError, match="zero"):
            dntk.DistilledNTK(dead).fit(inputs(NUMPY))

    def test_a_ridge_that_is_not_positive(self):
        with pytest.raises(ValueError, match="positive"):
            dntk.DistilledNTK(mlp(NUMPY), ridge=0.0).fit(inputs(NUMPY))


def test_inputs_with_labels_go_through_the_pipeline(library):
    model = dntk.outputs.margin(mlp(library))
    x = dntk.outputs.labelled(inputs(library, 20), library.array(np.arange(20) % 3, "i4"))
    coreset = dntk.distill.data.RPCholesky(12, seed=0)
    fit = dntk.DistilledNTK(model, data=coreset, sketch=None, ridge=1e-2).fit(x)
    assert fit.predict(x).shape == (20, 1)
    assert fit.predict(x.take(fit.indices)).shape == (12, 1)


def test_real_targets_are_not_left_out_in_silence_where_inputs_are_made():
    rng = np.random.default_rng(0)
    model = dntk.MLP(weights=(rng.normal(size=(8, 4)), rng.normal(size=(2, 8))), biases=(None, None), activation="tanh")
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))
    spec = dntk.DistilledNTK(model, data=dntk.distill.data.TangentResidual(3, steps=2), sketch=None)
    with pytest.raises(ValueError, match=r"`y` has targets of shape \(20, 2\) .*TangentResidual"):
        spec.fit(x, y)
    assert spec.fit(x).losses.kept_points == 3
    assert spec.fit(x, np.arange(20) % 2).losses.kept_points == 3
