"""A fit whose outputs are one regression: on all their rows, or on one functional of each point."""

import numpy as np
import pytest

import dntk
from dntk.distill.data import Random, RPCholesky, Wasserstein
from dntk.distill.gradients import Principal
from dntk.ledger import LedgerRecorder
from dntk.solve import Functionals, Joint, Regression, Separate
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import features, inputs, mlp, targets

NUMPY = LIBRARIES[0]
RIDGE = 0.05


def dense_rows(model, x, regression):
    """Rows (r, P) and the map (r, m·C) from targets, a row of C for each point, to goals, in float64."""
    phi = host(dntk.tangent_features(model, x, sketch=None).values).astype("f8")
    c, m, p = phi.shape
    if isinstance(regression, Joint):
        return phi.reshape(c * m, p), lambda y: y.T.reshape(c * m)
    g = host(regression.cotangents(m, c, x)).astype("f8")
    return np.einsum("nc,cnp->np", g, phi), lambda y: np.sum(g * y, axis=1)


def dense(model, x, regression):
    """(mean, deviation) at queries by the normal equations of all rows, which know nothing of spans."""
    rows, goals = dense_rows(model, x, regression)
    inverse = np.linalg.inv(rows.T @ rows + RIDGE * np.eye(rows.shape[1]))
    weights = inverse @ rows.T @ goals(host(model(x)).astype("f8"))

    def at(queries):
        psi = host(dntk.tangent_features(model, queries, sketch=None).values).astype("f8")
        return (psi @ weights).T, np.sqrt(RIDGE * np.einsum("cnp,pq,cnq->nc", psi, inverse, psi))

    return at


@pytest.mark.parametrize("regression", [Joint(), Functionals(seed=4)], ids=["joint", "functionals"])
class TestWhatItSays:
    """Of predictions, uncertainty, trust and the kernel."""

    def test_predictions_and_deviations_are_those_of_one_process_for_all_outputs(self, library, regression):
        if regression == Joint():
            interpreted(library)
        model, x, new = mlp(library, (6, 5, 3)), inputs(library, n=8), inputs(library, n=4, seed=9)
        spec = dntk.DistilledNTK(model, None, None, None, RIDGE, regression=regression)
        fit, (mean, deviation) = spec.fit(x), dense(model, x, regression)(new)
        scale = np.abs(mean).max()
        np.testing.assert_allclose(host(fit.predict(new)), mean, rtol=2e-3, atol=2e-3 * scale)
        np.testing.assert_allclose(host(fit.uncertainty(new)), deviation, rtol=1e-2)
        query = fit.query(new)
        np.testing.assert_allclose(host(query.prediction), host(fit.predict(new)), rtol=1e-3, atol=1e-4 * scale)
        assert fit.weights.shape == (3, model.n_parameters)
        assert query.uncertainty.shape == (4, 3)

    def test_a_prediction_is_one_sweep_for_all_outputs(self, regression):
        model, x = mlp(NUMPY, (6, 5, 3)), inputs(NUMPY, n=8)
        fit = dntk.DistilledNTK(model, None, None, None, RIDGE, regression=regression).fit(x)
        recorder = LedgerRecorder()
        with recorder.stage("prediction"):
            fit.predict(inputs(NUMPY, n=4, seed=9))
        assert recorder.ledger()["prediction"].jacobian_rows == 4

    def test_trust_and_the_kernel_are_of_the_span_of_all_rows(self, regression):
        model, x, new = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=6, dtype="f8"), inputs(NUMPY, n=5, seed=9, dtype="f8")
        fit = dntk.DistilledNTK(model, None, None, None, RIDGE, regression=regression).fit(x)
        _, s, vt = np.linalg.svd(dense_rows(model, x, regression)[0], full_matrices=False)
        basis = vt[s > 1e-10 * s[0]]
        psi = dntk.tangent_features(model, new, sketch=None).values
        left = 1 - np.sum((psi @ basis.T) ** 2, axis=(0, 2)) / np.sum(psi**2, axis=(0, 2))
        np.testing.assert_allclose(fit.trust(new), left, rtol=1e-6, atol=1e-9)
        inside = psi @ basis.T
        np.testing.assert_allclose(fit.kernel(new), np.mean(inside @ np.swapaxes(inside, 1, 2), axis=0), rtol=1e-8)
        np.testing.assert_allclose(fit.spectrum[: len(s)], s**2, rtol=1e-6, atol=1e-12)

    def test_gradients_are_distilled_of_all_rows_together(self, regression):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=12, dtype="f8")
        whole = dntk.DistilledNTK(model, None, None, None, RIDGE, regression=regression).fit(x)
        auto = dntk.DistilledNTK(model, None, None, "auto", RIDGE, regression=regression).fit(x)
        assert auto.losses.gradients == min(40 * 3, 36 if isinstance(regression, Joint) else 12)
        np.testing.assert_allclose(auto.predict(x), whole.predict(x), atol=1e-6)
        few = dntk.DistilledNTK(model, None, None, Principal(4), RIDGE, regression=regression).fit(x)
        assert few.span.basis.shape[:2] == (1, 4)
        assert np.all(few.uncertainty(x) >= whole.uncertainty(x) * (1 - 1e-9))
        assert "4 for all outputs" in str(few.losses)
        assert "4 gradients for all outputs" in repr(few)

    def test_the_certificate_is_of_the_rows_and_holds(self, regression):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=30, dtype="f8")
        spec = dntk.DistilledNTK(model, Random(10), None, Principal(6), RIDGE, regression=regression)
        fit = spec.fit(x)
        certificate, rows = fit.certificate, 30 if isinstance(regression, Joint) else 10
        assert (certificate.points, certificate.outputs, certificate.rows_of) == (rows, 1, 10)
        assert f"one regression for all outputs, on {rows} rows of 10 points" in str(certificate)
        made, goals = dense_rows(model, x[fit.indices], regression)
        y = goals(model(x[fit.indices]))
        kernel = made @ made.T
        exact = kernel @ np.linalg.solve(kernel + RIDGE * np.eye(rows), y)
        apart = np.sqrt(np.mean((made @ fit.weights[0] - exact) ** 2))
        assert apart <= float(certificate.prediction_error.value[0]) * (1 + 1e-9)
        assert apart > 1e-6
        inside = made @ fit.span.basis[0].T
        lost = np.trace(kernel) - np.sum(inside**2)
        assert 0.05 * np.trace(kernel) < lost <= float(certificate.trace_error) * (1 + 1e-9)
        assert certificate.dropped_residual is not None

    def test_rows_are_counted_as_the_plan_says(self, regression):
        model, x = mlp(NUMPY), inputs(NUMPY, n=40)
        spec = dntk.DistilledNTK(model, RPCholesky(20), None, regression=regression)
        fit, plan = spec.fit(x), spec.plan(x)
        assert fit.losses.kept_points == 20
        # A functional of each point, and the outputs of sixteen at which the predictor is compared with the network.
        assert fit.ledger["features"].jacobian_rows == (60 if isinstance(regression, Joint) else 20 + 16 * 3)
        for stage in ("data", "features", "ridge", "gradients", "spectrum"):
            assert plan[stage].cost.jacobian_rows == fit.ledger[stage].jacobian_rows, stage
            assert plan[stage].cost.nbytes == fit.ledger[stage].nbytes, stage
        _ = fit.certificate
        assert plan["certificate"].cost.jacobian_rows == fit.ledger["certificate"].jacobian_rows

    def test_it_is_stored_reported_and_goes_on_after_an_interruption(self, regression, tmp_path):
        model, x = mlp(NUMPY), inputs(NUMPY, n=30)
        spec = dntk.DistilledNTK(model, Random(8), dntk.sketch.SparseSign(64), regression=regression)
        fit = spec.fit(x, checkpoint=tmp_path / "stages")
        again = spec.fit(x, checkpoint=tmp_path / "stages")
        fit.save(tmp_path / "fit", certify=True)
        read = dntk.load(tmp_path / "fit")
        for other in (again, read):
            np.testing.assert_array_equal(other.predict(x), fit.predict(x))
            np.testing.assert_array_equal(other.uncertainty(x), fit.uncertainty(x))
        assert read.certificate.rows_of == 8
        assert read.losses.together
        read.report(tmp_path / "page.html", x=inputs(NUMPY, n=9, seed=8), points=x)
        page = (tmp_path / "page.html").read_text()
        assert "regression=dntk.solve.Separate()" in page
        with pytest.raises(ValueError, match="`queries` are explained by separate regressions"):
            read.report(tmp_path / "page.html", x=x, points=x, queries=[0])

    def test_labels_and_inputs_that_are_made_are_regressed_on_too(self, regression):
        model, x = mlp(NUMPY), inputs(NUMPY, n=30)
        labels = np.arange(30) % 3
        fit = dntk.DistilledNTK(model, Random(20), regression=regression).fit(x, labels)
        assert fit.predict(x).shape == (30, 3)
        made = dntk.DistilledNTK(model, Wasserstein(2, steps=2), regression=regression).fit(x, labels)
        assert made.losses.kept_points == 6
        assert made.predict(x).shape == (30, 3)


def test_separate_regressions_are_what_a_fit_makes_of_itself():
    model, x = mlp(NUMPY), inputs(NUMPY, n=12)
    default, asked = (dntk.DistilledNTK(model, **more).fit(x) for more in ({}, {"regression": Separate()}))
    np.testing.assert_array_equal(default.predict(x), asked.predict(x))
    assert default.certificate.rows_of is None
    assert not default.losses.together
    assert isinstance(Separate(), Regression)


def test_one_output_is_the_same_either_way():
    model, x = mlp(NUMPY, (6, 8, 1), dtype="f8"), inputs(NUMPY, n=9, dtype="f8")
    fits = [dntk.DistilledNTK(model, None, None, None, RIDGE, regression=r).fit(x) for r in (Separate(), Joint())]
    np.testing.assert_allclose(fits[0].predict(x), fits[1].predict(x), rtol=1e-9)
    signs = dntk.DistilledNTK(model, None, None, None, RIDGE, regression=Functionals()).fit(x)
    np.testing.assert_allclose(fits[0].predict(x), signs.predict(x), rtol=1e-7)
    assert signs.losses.fidelity == fits[0].losses.fidelity


def test_outputs_with_one_weight_vector_are_found_from_rows_of_all_and_not_by_each_for_itself():
    model, x, new = mlp(NUMPY, (6, 5, 3), dtype="f8"), inputs(NUMPY, n=30, dtype="f8"), inputs(NUMPY, n=9, dtype="f8")
    truth = np.random.default_rng(0).standard_normal(model.n_parameters)
    y, expected = ((dntk.tangent_features(model, at, sketch=None).values @ truth).T for at in (x, new))
    joint, separate = (
        dntk.DistilledNTK(model, Random(20), None, None, 1e-9, regression=r).fit(x, y).predict(new)
        for r in (Joint(), Separate())
    )
    np.testing.assert_allclose(joint, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert np.abs(separate - expected).max() > 0.01 * np.abs(expected).max()


class TestCotangents:
    """Unit vectors, one for each point."""

    def test_they_are_the_same_everywhere_and_more_do_not_change_the_first(self, library):
        found = host(Functionals(seed=3).cotangents(5, 3, library.array([0.0], "f4")))
        np.testing.assert_array_equal(found, Functionals(seed=3).cotangents(9, 3, np.zeros(1, "f4"))[:5])
        assert np.abs(found - Functionals(seed=4).cotangents(5, 3, np.zeros(1, "f4"))).max() > 0.1

    def test_they_point_everywhere_alike_and_half_precision_holds_them(self):
        g = Functionals().cotangents(4000, 3, np.zeros(1, "f4"))
        np.testing.assert_array_equal(g, g.astype("f2"))
        np.testing.assert_allclose(np.sum(g**2, axis=1), 1, atol=2 * 2.0**-8)
        # Each entry of E gᵀg − I/3 has a standard deviation of at most 1/√n·√(E g⁴) = 0.447/√n; six of them.
        np.testing.assert_allclose(g.T @ g / 4000, np.eye(3) / 3, atol=6 * 0.447 / 4000**0.5)


class TestWhatIsRefused:
    """With the remedy."""

    def test_what_is_no_regression(self):
        with pytest.raises(TypeError, match="regression"):
            dntk.DistilledNTK(mlp(NUMPY), regression="joint")

    def test_a_tolerance(self):
        with pytest.raises(ValueError, match="a tolerance is on the spans of separate regressions. Leave out"):
            dntk.DistilledNTK(mlp(NUMPY), tolerance=0.1, regression=Joint())

    def test_a_functional_of_inputs_that_carry_labels(self):
        model = dntk.outputs.margin(mlp(NUMPY))
        x = dntk.outputs.labelled(inputs(NUMPY, n=9), np.arange(9) % 3)
        with pytest.raises(TypeError, match="`x` carries labels"):
            dntk.DistilledNTK(model, regression=Functionals()).fit(x)

    def test_a_certificate_against_features_that_are_no_rows(self):
        model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=8, dtype="f8")
        fit = dntk.DistilledNTK(model, None, None, Principal(4), RIDGE, regression=Joint()).fit(x)
        phi = dntk.tangent_features(model, x, sketch=None)
        with pytest.raises(ValueError, match=r"one regression for all outputs.*Joint\(\).rows\(phi, y\)"):
            dntk.certify(phi, fit, model(x))
        certificate = dntk.certify(phi_rows := Joint().rows(phi, model(x))[0], fit, Joint().rows(phi, model(x))[1])
        assert certificate.prediction_bound(phi_rows).value.shape == (24, 1)

    def test_functionals_of_features_of_outputs(self):
        with pytest.raises(ValueError, match="`features` has 3 outputs .* pass features of"):
            Functionals().rows(features(NUMPY, c=3, n=6, k=9), targets(NUMPY, n=6))
