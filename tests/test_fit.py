"""A fit is a value, and what it says is what dense float64 linear algebra says."""

import copy
import dataclasses
import pickle
import threading

import numpy as np
import pytest

import dntk
from dntk.distill.data import Random, RPCholesky
from dntk.distill.gradients import Principal, Solution
from dntk.estimator.once import Once
from dntk.solve import LeaveOneOut
from tests.libraries import LIBRARIES, host
from tests.mean_kernels import expected_error
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
RIDGE = 0.05


def jacobians(model, x):
    """Φ (C, n, P) in float64."""
    return host(dntk.tangent_features(model, x, sketch=None).values).astype(np.float64)


def regression(phi, y, ridge):
    """w (C, P) of ridge regression of every output, by the normal equations of the dual."""
    return np.stack(
        [p.T @ np.linalg.solve(p @ p.T + ridge * np.eye(len(p)), target) for p, target in zip(phi, y.T, strict=True)]
    )


@pytest.fixture(scope="module")
def scene():
    """A network in float64, points, the fit of 20 of them by all their gradients, and their gradients."""
    model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=40, dtype="f8")
    fit = dntk.DistilledNTK(model, data=Random(20, seed=3), sketch=None, gradients=None, ridge=RIDGE).fit(x)
    return model, x, fit, jacobians(model, x[fit.indices])


class TestTheFitIsTheRegressionThatWasAskedFor:
    """Solution's directions hold the regression at their own λ: which one shows in the predictions."""

    @pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
    def test_of_a_given_ridge(self, ridge):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=40, dtype="f8")
        fit = dntk.DistilledNTK(model, sketch=None, gradients=Solution(3), ridge=ridge).fit(x)
        phi, y = jacobians(model, x), model(x)
        expected = np.einsum("cp,cnp->nc", regression(phi, y, ridge), phi)
        np.testing.assert_allclose(fit.predict(x), expected, atol=1e-8 * np.abs(expected).max())
        assert fit.ridge == ridge
        assert float(fit.certificate.prediction_error) < 1e-6

    @pytest.mark.parametrize("rule", ["loo", (0.03, 0.3, 3.0), LeaveOneOut((0.5, 5.0))])
    def test_of_a_ridge_that_is_chosen(self, rule):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=40, dtype="f8")
        y = inputs(NUMPY, n=40, d=3, seed=5, dtype="f8")  # noise: a large ridge is best
        fit = dntk.DistilledNTK(model, sketch=None, gradients=Solution(3), ridge=rule).fit(x, y)
        plain = dntk.DistilledNTK(model, sketch=None, gradients=None, ridge=rule).fit(x, y)
        assert fit.ridge == plain.ridge
        np.testing.assert_allclose(fit.predict(x), plain.predict(x), atol=1e-8)

    def test_on_every_library(self, library):
        model, x = mlp(library), inputs(library)
        fit = dntk.DistilledNTK(model, sketch=None, gradients=Solution(3), ridge=0.1).fit(x)
        phi, y = jacobians(model, x), host(model(x)).astype(np.float64)
        expected = np.einsum("cp,cnp->nc", regression(phi, y, 0.1), phi)
        # Conjugate gradients stop where their residual is rounding; κ(K + λI) of it is left in the solution.
        condition = max(np.linalg.norm(p, 2) ** 2 for p in phi) / 0.1
        allowance = 100 * np.finfo(np.float32).eps * condition * np.abs(y).max()
        np.testing.assert_allclose(host(fit.predict(x)), expected, atol=allowance)

    def test_a_distiller_with_a_ridge_of_its_own_keeps_it(self):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, dtype="f8")
        given = Solution(3, ridge=5.0)
        assert given.at_ridge(0.1) is given
        assert Solution(3).at_ridge(0.1) == Solution(3, ridge=0.1)
        fit = dntk.DistilledNTK(model, sketch=None, gradients=given, ridge=0.1).fit(x)
        apart = dntk.solve.same_span(given.distill(dntk.tangent_features(model, x, sketch=None), model(x)), ridge=0.1)
        np.testing.assert_allclose(fit.weights, apart.weights, rtol=1e-10)

    def test_flipped_labels_are_smoothed_by_the_ridge_that_was_asked_for(self):
        model, x = mlp(NUMPY, (6, 64, 3), dtype="f8"), inputs(NUMPY, n=200, dtype="f8")
        labels = np.argmax(x[:, :3], axis=1)
        flipped = np.where(np.random.default_rng(0).random(200) < 0.3, (labels + 1) % 3, labels)
        spec = dntk.DistilledNTK(model, sketch=None, gradients=Solution(5), ridge=30.0)
        query = inputs(NUMPY, n=200, seed=8, dtype="f8")
        full = dataclasses.replace(spec, gradients=None).fit(x, flipped)
        np.testing.assert_allclose(spec.fit(x, flipped).predict(query), full.predict(query), atol=1e-6)

    def test_leave_one_out_runs_once(self, monkeypatch):
        asked = []
        plain = LeaveOneOut.errors
        monkeypatch.setattr(LeaveOneOut, "errors", lambda *a: asked.append(1) or plain(*a))
        dntk.DistilledNTK(mlp(NUMPY), gradients=Solution(3), ridge="loo").fit(inputs(NUMPY))
        assert asked == [1]


class TestWhatItSays:
    """Every number of a fit against its definition."""

    def test_predictions_are_those_of_the_regression_on_the_kept_points(self, scene):
        model, x, fit, phi = scene
        query = inputs(NUMPY, n=7, seed=4, dtype="f8")
        w = regression(phi, model(x)[fit.indices], RIDGE)
        expected = np.einsum("cp,cnp->nc", w, jacobians(model, query))
        np.testing.assert_allclose(fit.predict(query), expected, atol=1e-10)

    @pytest.mark.parametrize("gradients", [None, Principal(4)])
    def test_uncertainty_is_the_root_of_the_posterior_variance_at_the_ridge(self, gradients):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, dtype="f8")
        fit = dntk.DistilledNTK(model, sketch=None, gradients=gradients, ridge=RIDGE).fit(x)
        query = inputs(NUMPY, n=6, seed=4, dtype="f8")
        kept, new = jacobians(model, x), jacobians(model, query)
        if gradients is not None:
            u = Principal(4).distill(dntk.tangent_features(model, x, sketch=None), model(x)).directions
            kept = np.swapaxes(u, -1, -2) @ kept
        for c in range(3):
            k, cross = kept[c] @ kept[c].T, new[c] @ kept[c].T
            prior = np.sum(new[c] ** 2, axis=1)
            variance = prior - np.sum(cross * np.linalg.solve(k + RIDGE * np.eye(len(k)), cross.T).T, axis=1)
            found = fit.uncertainty(query)[:, c]
            # Rounding of the variance is relative to the prior, and always added: the root never reads too low.
            slack = 200 * np.finfo(float).eps * new.shape[2] * prior
            assert np.all(found**2 >= variance * (1 - 1e-12))
            assert np.all(found**2 <= variance + slack)

    def test_trust_is_the_share_of_a_query_outside_the_span(self):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, dtype="f8")
        fit = dntk.DistilledNTK(model, sketch=None, gradients=Principal(4), ridge=RIDGE).fit(x)
        query = inputs(NUMPY, n=6, seed=4, dtype="f8")
        u = Principal(4).distill(dntk.tangent_features(model, x, sketch=None), model(x)).directions
        new, span = jacobians(model, query), np.swapaxes(u, -1, -2) @ jacobians(model, x)
        outside = [p - p @ np.linalg.pinv(s) @ s for p, s in zip(new, span, strict=True)]
        expected = sum(np.sum(o**2, axis=1) for o in outside) / np.sum(new**2, axis=(0, 2))
        assert 0.1 < expected.mean() < 0.9
        np.testing.assert_allclose(fit.trust(query), expected, atol=1e-10)

    def test_kernel_is_that_of_the_span_alone(self):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, dtype="f8")
        fit = dntk.DistilledNTK(model, sketch=None, gradients=Principal(3), ridge=RIDGE).fit(x)
        query = inputs(NUMPY, n=5, seed=4, dtype="f8")
        u = Principal(3).distill(dntk.tangent_features(model, x, sketch=None), model(x)).directions
        phi = jacobians(model, x)
        span, new = np.swapaxes(u, -1, -2) @ phi, jacobians(model, query)
        projected = [p @ np.linalg.pinv(s) @ s for p, s in zip(phi, span, strict=True)]
        expected = np.mean([a @ b.T for a, b in zip(projected, new, strict=True)], axis=0)
        np.testing.assert_allclose(fit.kernel(x, query), expected, atol=1e-10)
        assert np.trace(fit.kernel(x)) < 0.95 * np.trace(dntk.ntk(model, x))

    def test_fidelity_compares_with_the_network_and_score_with_labels(self):
        model, x = mlp(NUMPY, (6, 64, 3), dtype="f8"), inputs(NUMPY, n=60, dtype="f8")
        labels = (np.argmax(model(x), axis=1) + 1) % 3  # the opposite of what the network says
        fit = dntk.DistilledNTK(model, sketch=None, gradients=None, ridge=1e-6).fit(x, labels)
        assert fit.score(x, labels) == 1.0
        assert fit.fidelity(x) == 0.0
        assert fit.losses.fidelity == 0.0
        np.testing.assert_array_equal(fit.predict_label(x), labels)

    def test_losses_are_those_of_dense_linear_algebra(self, scene):
        model, x, fit, phi = scene
        y, losses = model(x)[fit.indices], fit.losses
        eigenvalues = np.linalg.eigvalsh(np.mean(phi @ np.swapaxes(phi, 1, 2), axis=0))[::-1]
        np.testing.assert_allclose(fit.spectrum, eigenvalues, atol=1e-10 * eigenvalues[0])
        assert losses.condition_number == pytest.approx((eigenvalues[0] + RIDGE) / (eigenvalues[-1] + RIDGE))
        errors = []
        for i in range(20):
            rest = np.arange(20) != i
            w = regression(phi[:, rest, :], y[rest], RIDGE)
            errors.append(np.einsum("cp,cp->c", w, phi[:, i, :]) - y[i])
        assert losses.loo_error == pytest.approx(np.mean(np.square(errors)), rel=1e-8)
        assert losses.fidelity == np.mean(np.argmax(fit.predict(x[fit.indices]), axis=1) == np.argmax(y, axis=1))
        # Random points are drawn without a look: what they leave is measured on the others, 20 of 40, for K̄.
        every = np.concatenate(list(jacobians(model, x)), axis=1)
        kept, others = every[fit.indices], every[np.setdiff1d(np.arange(40), fit.indices)]
        outside = others - others @ np.linalg.pinv(kept) @ kept
        assert losses.data_trace_residual == pytest.approx(0.5 * np.sum(outside**2) / np.sum(others**2), rel=1e-6)

    def test_chosen_points_lose_what_is_outside_their_span_of_the_kernel_that_chose_them(self):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, dtype="f8")
        fit = dntk.DistilledNTK(model, RPCholesky(5), sketch=None, gradients=None, ridge=0.5).fit(x)
        summed = np.sum(list(jacobians(model, x)), axis=0)  # one functional, the sum of all outputs
        kept = summed[fit.indices]
        outside = summed - summed @ np.linalg.pinv(kept) @ kept
        assert fit.losses.data_trace_residual == pytest.approx(np.sum(outside**2) / np.sum(summed**2), rel=1e-6)

    def test_the_leave_one_out_error_is_that_of_all_features_not_of_a_span_made_from_the_targets(self):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, dtype="f8")
        y = inputs(NUMPY, d=3, seed=6, dtype="f8")
        spec = dntk.DistilledNTK(model, sketch=None, gradients=None, ridge=0.5)
        full = spec.fit(x, y).losses.loo_error
        distilled = dataclasses.replace(spec, gradients=Solution(1)).fit(x, y)
        assert distilled.losses.loo_error == pytest.approx(full, rel=1e-10)
        flattering = dntk.solve.same_span(
            Solution(1, ridge=0.5).distill(dntk.tangent_features(model, x, sketch=None), y), ridge=0.5
        ).loo_error
        assert flattering < 0.95 * full

    def test_the_ledger_has_the_bytes_of_features_and_of_what_is_kept(self, scene):
        _, _, fit, phi = scene
        assert fit.ledger["data"].nbytes == 20 * 8
        assert fit.ledger["features"].nbytes == phi.size * 8
        assert fit.ledger["gradients"].nbytes == fit.weights.size * 8
        model, x = mlp(NUMPY), inputs(NUMPY)
        distilled = dntk.DistilledNTK(model, gradients=Principal(4), ridge=RIDGE).fit(x)
        assert distilled.ledger["gradients"].nbytes == (3 * 4 + 3) * model.n_parameters * 4

    def test_uncertainty_of_kept_points_has_the_digits_of_float32_features(self):
        """κ(x, x) − κ_xᵀ(K + λI)⁻¹κ_x loses √(eps·κ): on digits it was 176 times the deviation."""
        model, x = mlp(NUMPY, (6, 60, 3)), inputs(NUMPY, n=30)
        fit = dntk.DistilledNTK(model, None, None, None, ridge=1e-5).fit(x)
        values = dntk.tangent_features(model, x, sketch=None).values.astype(np.float64)
        exact = []
        for features in values:
            _, singular, right = np.linalg.svd(features, full_matrices=False)
            along = features @ right.T
            exact.append(np.sqrt(np.sum(along**2 * 1e-5 / (singular**2 + 1e-5), axis=1)))
        found = fit.uncertainty(x).T
        assert np.all(found >= np.array(exact) * (1 - 1e-6))
        assert np.max(found / np.array(exact)) < 1.5

    def test_the_sketch_error_is_that_of_a_gaussian_sketch_of_these_features(self):
        model, x = mlp(NUMPY, (6, 60, 3), dtype="f8"), inputs(NUMPY, n=12, dtype="f8")
        sketch = dntk.sketch.Gaussian(300, seed=1)
        fit = dntk.DistilledNTK(model, sketch=sketch, ridge=RIDGE).fit(x)
        values = dntk.tangent_features(model, x, sketch=sketch).values
        assert fit.losses.sketch_relative_error == pytest.approx(expected_error(values), rel=1e-9)


class TestItsCertificate:
    """How the certificate of a fit is put together."""

    @pytest.fixture(scope="class")
    @classmethod
    def fits(cls):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=600, dtype="f8")
        spec = dntk.DistilledNTK(model, Random(80), dntk.sketch.SparseSign(64), Principal(3), RIDGE)
        return [dataclasses.replace(spec, seed=seed).fit(x) for seed in (0, 0, 1)]

    def test_its_stages_are_those_of_the_fit_in_order(self, fits):
        fit = fits[0]
        stages = {stage.stage: stage for stage in fit.certificate.stages}
        assert list(stages) == ["data", "sketch", "gradients", "solve"]
        assert stages["data"].error == fit.losses.data_trace_residual
        assert stages["sketch"].error == fit.losses.sketch_relative_error
        assert stages["gradients"].error == pytest.approx(fit.losses.gradient_trace_residual, rel=1e-6)
        assert len({stage.error for stage in stages.values()}) == 4
        assert (stages["data"].kind, stages["sketch"].kind) == ("measured", "expected")

    def test_all_its_statements_share_one_probability_of_failing(self, fits):
        found = fits[0].certificate
        assert found.confidence == 0.999
        assert found.dropped_residual.confidence == pytest.approx(1 - 0.001 / 4)
        spent = 1 - found.eigenvalue_intervals.confidence + 1 - found.spectral_error.confidence
        assert 0 < spent <= 0.001 / 2 * (1 + 1e-9)

    def test_what_it_says_without_sketch_takes_a_quarter_of_the_probability_of_failing(self):
        model, x = mlp(NUMPY, (6, 600, 3), dtype="f8"), inputs(NUMPY, n=12, dtype="f8")
        sketch = dntk.sketch.Gaussian(2000)
        found = dntk.DistilledNTK(model, sketch=sketch, gradients=Principal(3), ridge=RIDGE).fit(x).certificate
        spent = 2 - found.unsketched_trace_error.confidence - found.unsketched_eigenvalue_intervals.confidence
        assert 0 < spent <= 0.001 / 4 * (1 + 1e-9)

    def test_its_random_starts_and_its_sample_follow_the_seed(self, fits):
        same, again, other = (fit.certificate for fit in fits)
        np.testing.assert_array_equal(same.dropped_residual.upper, again.dropped_residual.upper)
        assert same.dropped_residual.upper != other.dropped_residual.upper
        assert float(same.spectral_error) == float(again.spectral_error)
        assert float(same.spectral_error) != float(other.spectral_error)

    def test_it_is_made_once_whatever_threads_ask(self, fits):
        fit = copy.deepcopy(fits[2])
        found = []
        threads = [threading.Thread(target=lambda: found.append(fit.certificate)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert all(one is found[0] for one in found)


class TestItIsAValue:
    """Nothing about a specification or a fit changes, and copies are whole."""

    def test_a_specification_and_a_fit_are_frozen(self):
        spec = dntk.DistilledNTK(mlp(NUMPY))
        fit = spec.fit(inputs(NUMPY))
        with pytest.raises(dataclasses.FrozenInstanceError):
            spec.ridge = 1.0
        assert isinstance(fit, dntk.Fit)
        assert isinstance(fit.losses, dntk.estimator.Losses)
        with pytest.raises(dataclasses.FrozenInstanceError):
            fit.model = mlp(NUMPY)
        assert dataclasses.replace(spec, ridge=1.0).fit(inputs(NUMPY)).ridge == 1.0

    def test_two_fits_of_one_specification_know_nothing_of_each_other(self):
        spec = dntk.DistilledNTK(mlp(NUMPY, dtype="f8"), sketch=None, ridge=RIDGE)
        x, other = inputs(NUMPY, dtype="f8"), inputs(NUMPY, seed=9, dtype="f8")
        first = spec.fit(x)
        before = first.predict(x)
        second = spec.fit(other, inputs(NUMPY, d=3, seed=5, dtype="f8"))
        np.testing.assert_array_equal(first.predict(x), before)
        np.testing.assert_array_equal(spec.fit(x).predict(x), before)
        assert np.abs(second.predict(x) - before).max() > 0.1

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda fit: pickle.loads(pickle.dumps(fit))])
    @pytest.mark.parametrize("made", [False, True])
    def test_copies_and_pickles_say_what_the_original_says(self, library, copied, made):
        if library.id.startswith("strict"):
            pytest.skip("array-api-strict arrays cannot be copied or pickled")
        model, x = mlp(library), inputs(library)
        fit = dntk.DistilledNTK(model, Random(12), gradients=Solution(3), ridge=RIDGE).fit(x)
        certificate = str(fit.certificate) if made else None
        back = copied(fit)
        np.testing.assert_array_equal(host(back.predict(x)), host(fit.predict(x)))
        np.testing.assert_array_equal(host(back.uncertainty(x)), host(fit.uncertainty(x)))
        assert back.losses == fit.losses
        assert back.state.certificate.is_made is made
        assert str(back.certificate) == (certificate or str(fit.certificate))

    def test_a_fit_of_a_pytorch_network_is_pickled_with_it(self):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).eval()
        x = inputs(LIBRARIES[1])
        fit = dntk.DistilledNTK(dntk.as_model(net), gradients=Solution(3), ridge=1e-3).fit(x)
        back = pickle.loads(pickle.dumps(fit))
        np.testing.assert_array_equal(host(back.predict(x)), host(fit.predict(x)))
        assert str(back.certificate) == str(fit.certificate)

    def test_its_repr_tells_what_became_of_the_points(self):
        x = inputs(NUMPY, n=40)
        fit = dntk.DistilledNTK(mlp(NUMPY), Random(20), dntk.sketch.Gaussian(32), Solution(3), 0.25).fit(x)
        text = repr(fit)
        assert "40 points → 20 kept → 32 features (Gaussian) → 3 gradients per output; ridge 0.25" in text
        assert f"fidelity in sample {fit.losses.fidelity:.2%}" in text
        assert "not made yet" in text
        share = float(fit.certificate.trace_error) / fit.certificate.trace
        assert f"trace error at most {share:.2%}" in repr(fit)

    def test_a_plan_can_be_passed_wherever_a_sketch_can(self):
        model, x = mlp(NUMPY, (6, 600, 3)), inputs(NUMPY, n=12)
        plan = dntk.sketch.choose(model, x, n=12, error=0.3)
        assert plan.exact_is_cheaper
        phi = dntk.tangent_features(model, x, sketch=plan)
        assert phi.dim == plan.sketch.dim < model.n_parameters
        assert dntk.DistilledNTK(model, sketch=plan, ridge=RIDGE).fit(x).sketch == phi.sketch
        np.testing.assert_array_equal(dntk.tangent_features(model, x, sketch=plan.sketch).values, phi.values)
        for objective in (dntk.distill.data.TangentResidual, dntk.distill.data.KernelInducing):
            y = np.arange(12) % 3
            by_plan = objective(2, steps=1, sketch=plan).distill(model, x, y)
            np.testing.assert_array_equal(by_plan.x, objective(2, steps=1, sketch=plan.sketch).distill(model, x, y).x)

    def test_auto_means_the_same_sketch_everywhere(self):
        x = inputs(NUMPY, n=8)
        for hidden, whole in ((16, True), (3000, False)):
            model = mlp(NUMPY, (6, hidden, 3))
            phi = dntk.tangent_features(model, x, sketch="auto")
            fit = dntk.DistilledNTK(model, sketch="auto", ridge=RIDGE).fit(x)
            assert phi.sketch == fit.sketch
            assert (phi.sketch is None) is whole
            plan = dntk.sketch.automatic(model, x, n=8)
            assert (plan is None) is whole
            assert whole or plan.sketch.dim == phi.dim == 1024


class TestOnce:
    """A value made when it is first asked for."""

    def test_what_makes_it_is_let_go_and_an_error_is_raised_again(self):
        calls = []

        def make():
            calls.append(1)
            if len(calls) == 1:
                msg = "not yet"
                raise RuntimeError(msg)
            return 7

        once = Once(make)
        with pytest.raises(RuntimeError, match="not yet"):
            once()
        assert not once.is_made
        assert (once(), once(), len(calls), once.is_made) == (7, 7, 2, True)
        assert once.__getstate__() == {"make": None, "value": 7}
