"""One weight vector for all outputs, on rows of all outputs or on one functional for each input."""

import numpy as np
import pytest

import dntk
from dntk.distilled_gradients import row_basis
from tests.libraries import LIBRARIES, host
from tests.networks import features, inputs, mlp, targets

NUMPY = LIBRARIES[0]


def cotangents(library, n, c, seed=3):
    return library.array(np.random.default_rng(seed).standard_normal((n, c)), "f4")


def functionals(model, x, g, sketch=None):
    return dntk.tangent_features(dntk.outputs.functional(model), dntk.outputs.labelled(x, g), sketch=sketch)


def minimiser(rows, goals, ridge):
    return np.linalg.solve(rows.T @ rows + ridge * np.eye(rows.shape[1]), rows.T @ goals)


class TestFunctionals:
    """⟨g, f(x)⟩ with a g for every input."""

    def test_values_and_features_are_those_of_the_outputs_combined(self, library):
        model, x, g = mlp(library), inputs(library, n=7), cotangents(library, 7, 3)
        combined = dntk.outputs.functional(model)
        here = dntk.outputs.labelled(x, g)
        np.testing.assert_allclose(
            host(combined(here))[:, 0], np.sum(host(model(x)) * host(g), axis=1), rtol=1e-4, atol=1e-5
        )
        every = host(dntk.tangent_features(model, x, sketch=None).values)
        found = functionals(model, x, g)
        assert found.values.shape == (1, 7, model.n_parameters)
        np.testing.assert_allclose(host(found.values)[0], np.einsum("nc,cnp->np", host(g), every), rtol=1e-3, atol=1e-5)

    def test_the_derivative_along_parameters_is_that_of_the_features(self):
        model, x, g = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=5, dtype="f8"), cotangents(NUMPY, 5, 3).astype("f8")
        combined, here = dntk.outputs.functional(model), dntk.outputs.labelled(x, g)
        along = np.random.default_rng(0).standard_normal((2, model.n_parameters))
        rows = functionals(model, x, g).values[0]
        np.testing.assert_allclose(combined.jvp(here, along)[:, :, 0], along @ rows.T, rtol=1e-9)
        np.testing.assert_allclose(combined.vjp(here, np.ones((5, 1))), rows.sum(0), rtol=1e-9)

    def test_one_row_per_input_is_paid_for(self):
        model, x = mlp(NUMPY), inputs(NUMPY, n=9)
        recorder = dntk.ledger.LedgerRecorder()
        with recorder.stage("features"):
            functionals(model, x, cotangents(NUMPY, 9, 3))
        assert recorder.ledger().total().jacobian_rows == 9

    def test_what_are_no_cotangents_is_refused(self):
        model, x = mlp(NUMPY), inputs(NUMPY, n=4)
        combined = dntk.outputs.functional(model)
        with pytest.raises(ValueError, match=r"`x` has no cotangents: pass dntk.outputs.labelled\(x, g\)"):
            combined.check_inputs(x)
        with pytest.raises(TypeError, match="have dtype int64: pass"):
            combined.check_inputs(dntk.outputs.labelled(x, np.arange(4)))
        with pytest.raises(ValueError, match=r"have shape \(4, 2\): pass .* of shape \(n, 3\)"):
            combined.check_inputs(dntk.outputs.labelled(x, np.ones((4, 2))))


class TestJointRegression:
    """argmin Σ (⟨w, ρ⟩ − t)² + λ‖w‖²."""

    def test_it_is_the_minimiser_over_all_rows(self, library):
        phi, y = features(library, c=3, n=6, k=25, dtype="f4"), targets(library, n=6, c=3)
        fit = dntk.solve.joint_ridge(phi, y, ridge=0.5)
        rows = host(phi.values).astype("f8").reshape(18, 25)
        expected = minimiser(rows, host(y).astype("f8").T.reshape(18), 0.5)
        np.testing.assert_allclose(host(fit.weights), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        assert isinstance(fit, dntk.solve.JointFit)
        assert fit.ridge == 0.5
        new = features(library, c=3, n=4, k=25, seed=9, dtype="f4")
        predicted = np.einsum("cnk,k->nc", host(new.values).astype("f8"), expected)
        np.testing.assert_allclose(host(fit.predict(new)), predicted, rtol=1e-3, atol=1e-3 * np.abs(predicted).max())

    def test_functionals_are_regressed_on_their_own_targets(self, library):
        model, x = mlp(library), inputs(library, n=8)
        g, y = cotangents(library, 8, 3), model(x)
        fit = dntk.solve.joint_ridge(functionals(model, x, g), y, cotangents=g, ridge=0.1)
        every = host(dntk.tangent_features(model, x, sketch=None).values).astype("f8")
        rows, goals = np.einsum("nc,cnp->np", host(g), every), np.sum(host(g) * host(y), axis=1)
        np.testing.assert_allclose(host(fit.weights), minimiser(rows, goals, 0.1), rtol=2e-2, atol=2e-4)

    def test_a_function_that_is_linear_in_the_parameters_is_found_from_enough_rows(self):
        rng, phi = np.random.default_rng(0), features(NUMPY, c=4, n=10, k=20, dtype="f8")
        truth = rng.standard_normal(20)
        y = np.einsum("cnk,k->nc", phi.values, truth)
        fit = dntk.solve.joint_ridge(phi, y, ridge=1e-9)
        np.testing.assert_allclose(fit.weights, truth, rtol=1e-5)
        # Ten rows of an output do not determine twenty weights: separate problems do not find it.
        alone = dntk.solve.ridge(phi, y, ridge=1e-9)
        assert np.abs(alone.weights - truth).max() > 0.1
        # Nor do they need all outputs of an input: as many inputs as weights, one functional of each.
        many = features(NUMPY, c=4, n=20, k=20, seed=5, dtype="f8")
        g = rng.standard_normal((20, 4))
        one = dntk.TangentFeatures(np.einsum("nc,cnk->nk", g, many.values)[None])
        fit = dntk.solve.joint_ridge(one, np.einsum("cnk,k->nc", many.values, truth), cotangents=g, ridge=1e-9)
        np.testing.assert_allclose(fit.weights, truth, rtol=1e-3)

    def test_outputs_with_orthogonal_features_are_regressed_as_each_for_itself(self):
        blocks = features(NUMPY, c=3, n=5, k=7, dtype="f8").values
        values = np.zeros((3, 5, 21))
        for c in range(3):
            values[c, :, 7 * c : 7 * c + 7] = blocks[c]
        phi, y = dntk.TangentFeatures(values), targets(NUMPY, n=5, dtype="f8")
        joint, alone = dntk.solve.joint_ridge(phi, y, ridge=0.2), dntk.solve.ridge(phi, y, ridge=0.2)
        np.testing.assert_allclose(joint.weights, alone.weights.sum(0), rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(joint.predict(phi), alone.predict(phi), rtol=1e-8)

    def test_the_span_of_all_rows_leaves_no_more_than_those_of_each_output(self):
        model = mlp(NUMPY, (6, 12, 3), dtype="f8")
        kept = dntk.tangent_features(model, inputs(NUMPY, n=6, dtype="f8"), sketch=None).values
        others = dntk.tangent_features(model, inputs(NUMPY, n=40, seed=4, dtype="f8"), sketch=None).values

        def left(basis):
            return np.sum(others**2) - np.sum((others @ np.swapaxes(basis, 1, 2)) ** 2)

        assert left(row_basis(kept.reshape(1, 18, -1))) < left(row_basis(kept))

    def test_at_one_ridge_it_is_the_regression_on_the_stacked_rows(self):
        phi, y = features(NUMPY, c=3, n=6, k=25, dtype="f8"), targets(NUMPY, n=6, dtype="f8")
        fit = dntk.solve.joint_ridge(phi, y)
        stacked = dntk.TangentFeatures(phi.values.reshape(1, 18, 25))
        alone = dntk.solve.ridge(stacked, y.T.reshape(18, 1), ridge=fit.ridge)
        np.testing.assert_allclose(fit.weights, alone.weights[0], rtol=1e-10)

    def test_what_does_not_belong_together_is_refused(self, tmp_path):
        phi, y = features(NUMPY, c=3, n=6, k=9), targets(NUMPY, n=6)
        with pytest.raises(ValueError, match="`cotangents` has shape .* `features` 3 outputs"):
            dntk.solve.joint_ridge(phi, y, cotangents=np.ones((6, 3), dtype="f4"))
        with pytest.raises(ValueError, match="targets"):
            dntk.solve.joint_ridge(phi, y[:5])
        with pytest.raises(ValueError, match="9"):
            dntk.solve.joint_ridge(phi, y, ridge=1.0).predict(features(NUMPY, c=3, n=6, k=8))
        stored = dntk.tangent_features(mlp(NUMPY), inputs(NUMPY, n=6), sketch=None, store=tmp_path / "phi")
        with pytest.raises(TypeError, match="on the disk"):
            dntk.solve.joint_ridge(stored, y)

    def test_a_sketch_of_functionals_is_that_of_outputs(self):
        model, x, sketch = mlp(NUMPY), inputs(NUMPY, n=6), dntk.sketch.SparseSign(32, seed=1)
        g = cotangents(NUMPY, 6, 3)
        fit = dntk.solve.joint_ridge(functionals(model, x, g, sketch), model(x), cotangents=g, ridge=0.1)
        assert fit.predict(dntk.tangent_features(model, x, sketch=sketch)).shape == (6, 3)
        with pytest.raises(ValueError, match="one sketch"):
            fit.predict(dntk.tangent_features(model, x, sketch=dntk.sketch.SparseSign(32, seed=2)))
