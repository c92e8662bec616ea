"""What certificates say of points that were dropped and of the kernel without sketch."""

import json

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

import dntk
from dntk.certificates import DroppedPoints, FittedPredictor, sampled_mean, with_unsketched
from dntk.distill.data import Random
from dntk.distill.gradients import Principal, Solution
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]


def ends(count, draws, failure, population=10**6):
    """Interval from a sample of zeros and ones."""
    found = sampled_mean(np.r_[np.ones(count), np.zeros(draws - count)], population, confidence=1 - failure)
    return found.lower[0], found.upper[0]


@pytest.mark.parametrize("draws", [5, 40])
@pytest.mark.parametrize("failure", [0.05, 1e-3])
def test_intervals_of_coins_fail_no_oftener_than_they_say(draws, failure):
    intervals = [ends(count, draws, failure) for count in range(draws + 1)]
    for mean in (1e-3, 0.02, 0.1, 0.3, 0.5, 0.9, 0.999):
        misses = [not low <= mean <= high for low, high in intervals]
        assert np.sum(binom.pmf(np.arange(draws + 1), draws, mean)[misses]) <= failure
    # Nor are they idle: hardly wider than Hoeffding's for coins at worst, and far narrower near the ends.
    width = 2 * (np.log(2 / failure) / (2 * draws)) ** 0.5
    assert all(high - low <= 1.25 * width for low, high in intervals)
    # All bets but the largest are worth little for zeros: ln 8 is paid for having made them.
    budget = np.log(2 / failure) / draws
    assert 1 - np.exp(-budget) <= intervals[0][1] <= 1 - np.exp(-budget - np.log(8) / draws)


def test_intervals_hold_for_draws_without_replacement():
    ones, population, draws, failure = 7, 50, 20, 0.05
    misses = []
    for count in range(draws + 1):
        low, high = ends(count, draws, failure, population)
        misses.append(not low <= ones / population <= high)
    assert np.sum(hypergeom.pmf(np.arange(draws + 1), population, ones, draws)[misses]) <= failure


def test_a_sample_of_all_has_no_failure(library):
    values = library.array([0.1, 0.2, 0.6], "f4")
    found = sampled_mean(values, 3, confidence=0.9, rounding=1e-3)
    assert (found.kind, found.confidence) == ("deterministic", 1.0)
    np.testing.assert_allclose([host(found.lower)[0], host(found.upper)[0]], [0.299, 0.301], atol=1e-6)
    part = sampled_mean(values, 4, confidence=0.9)
    assert part.kind == "probabilistic"
    assert host(part.lower)[0] < 0.3 < host(part.upper)[0]
    assert "sampled: mean 30.00% of 3 of 4 points" in part.theorem


@pytest.mark.usefixtures("unchecked")
def test_samples_that_are_none_are_refused():
    with pytest.raises(ValueError, match="`sample` has 3 values, expected 1 to the population's 2"):
        sampled_mean(np.zeros(3), 2, confidence=0.9)
    with pytest.raises(ValueError, match=r"values from 0 to 1\.5: expected values in \[0, 1\]"):
        sampled_mean(np.asarray([0, 1.5]), 2, confidence=0.9)
    with pytest.raises(ValueError, match="`confidence` must be between 0 and 1, got 1"):
        sampled_mean(np.zeros(2), 2, confidence=1)


def test_points_that_were_not_kept_are_sampled_and_their_mean_residual_is_inside():
    model, x = mlp(NUMPY), inputs(NUMPY, n=900)
    est = dntk.DistilledNTK(model, Random(12), gradients=Solution(4, ridge=1e-2), ridge=1e-2).fit(x)
    found = est.certificate.dropped_residual
    dropped = np.setdiff1d(np.arange(900), est.indices)
    exact = float(np.mean(est.trust(x[dropped])))
    assert found.lower[0] < exact < found.upper[0]
    assert found.upper[0] - found.lower[0] < 0.12
    assert "of 256 of 888 points that were not kept" in found.theorem
    assert f"{found.upper[0]:.2%}, with probability 0.99975" in str(est.certificate)


def test_few_points_that_were_not_kept_are_all_looked_at(library):
    interpreted(library)
    model, x = mlp(library), inputs(library, n=20)
    est = dntk.DistilledNTK(model, Random(12), ridge=1e-2).fit(x)
    found = est.certificate.dropped_residual
    dropped = np.setdiff1d(np.arange(20), host(est.indices))
    exact = float(np.mean(host(est.trust(x))[dropped]))
    assert found.kind == "deterministic"
    assert host(found.lower)[0] <= exact + 1e-6
    assert exact - 1e-6 <= host(found.upper)[0] <= exact + 1e-2


def test_samples_cost_a_fifth_of_the_fit_within_limits_and_draw_only_dropped_points():
    model, x = mlp(NUMPY), inputs(NUMPY, n=900)
    for rows, least, size in ((10, 64, 64), (1500, 64, 100), (10, 256, 256), (5000, 64, 333), (10**5, 64, 800)):
        held = DroppedPoints.of(model, x, np.arange(100), rows=rows, seed=0, least=least)
        assert (held.x.shape[0], held.population) == (size, 800)
        kept = {row.tobytes() for row in x[:100]}
        assert not any(row.tobytes() in kept for row in held.x)
    assert DroppedPoints.of(model, x, np.arange(900), rows=10, seed=0) is None
    assert DroppedPoints.of(model, x, None, rows=10, seed=0).population == 900


def unsketched(sketch, *, n=8, size=3, confidence=0.999):
    """Certificate under a sketch, with features and the exact kernel's own."""
    model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=n, dtype="f8")
    phi, exact = dntk.tangent_features(model, x, sketch=sketch), dntk.tangent_features(model, x, sketch=None)
    grads = Principal(size).distill(phi, model(x))
    certificate = with_unsketched(dntk.certify(phi, grads), phi, confidence=confidence)
    synthetic = np.swapaxes(grads.directions, -1, -2) @ exact.values
    spans = np.stack([np.linalg.svd(rows, full_matrices=False)[2] for rows in synthetic])
    outside = exact.values - (exact.values @ np.swapaxes(spans, 1, 2)) @ spans
    return certificate, np.linalg.eigvalsh(exact.kernel())[::-1], float(np.sum(outside**2)) / 3


def test_unsketched_eigenvalues_and_trace_error_are_bounded():
    sketched, truths = [], []
    for seed in range(6):
        certificate, eigenvalues, truth = unsketched(dntk.sketch.Gaussian(1500, seed=seed))
        lower, upper = certificate.unsketched_eigenvalue_intervals
        assert np.all(lower <= eigenvalues)
        assert np.all(eigenvalues <= upper)
        assert upper[0] < 2.5 * lower[0]
        error = certificate.unsketched_trace_error
        assert truth <= float(error) <= 2 * truth
        assert (error.kind, error.confidence) == ("probabilistic", pytest.approx(1 - 5e-4, abs=1e-15))
        sketched.append(float(certificate.trace_error))
        truths.append(truth)
    # The sketched numbers themselves bound nothing.
    assert any(found < truth for found, truth in zip(sketched, truths, strict=True))


def test_kinds_tell_theorems_from_bands_and_silence_from_both():
    band, *_ = unsketched(dntk.sketch.SparseSign(1500))
    assert band.unsketched_trace_error.kind == band.unsketched_eigenvalue_intervals.kind == "empirical"
    assert "empirically" in str(band)
    small, *_ = unsketched(dntk.sketch.Gaussian(24))
    assert small.unsketched_trace_error is None
    assert small.unsketched_eigenvalue_intervals.lower[0] > 0
    silent, *_ = unsketched(dntk.sketch.Mask(100))
    assert silent.unsketched_trace_error is silent.unsketched_eigenvalue_intervals is None
    none, *_ = unsketched(None)
    assert none.unsketched_trace_error is none.unsketched_eigenvalue_intervals is None


def test_second_moments_give_intervals_where_they_are_small_enough():
    model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=4, dtype="f8")
    sketch = dntk.sketch.TensorSketch(2**18, seed=1)
    phi = dntk.tangent_features(model, x, sketch=sketch)
    found = with_unsketched(dntk.certify(phi, Principal(2).distill(phi, model(x))), phi, confidence=0.8)
    lower, upper = found.unsketched_eigenvalue_intervals
    exact = np.linalg.eigvalsh(dntk.ntk(model, x))[::-1]
    assert np.all((lower <= exact) & (exact <= upper))
    assert 0 < lower[0] < upper[0] < 1.2 * exact[0]


def test_fitted_certificates_hold_all_statements_and_are_stored(tmp_path):
    x = inputs(NUMPY, n=100)
    est = dntk.DistilledNTK(mlp(NUMPY), Random(9), sketch=dntk.sketch.Gaussian(2000), gradients=Principal(3)).fit(x)
    certificate = est.certificate
    assert certificate.confidence == 0.999
    assert [stage.kind for stage in certificate.stages] == ["measured", "expected", "deterministic", "deterministic"]
    stored = json.loads(json.dumps(certificate.to_dict()))
    assert dntk.Certificate.from_dict(stored, x).to_dict() == certificate.to_dict()
    est.save(tmp_path / "est")
    back = dntk.load(tmp_path / "est").certificate
    assert str(back) == str(certificate)
    for name in ("dropped_residual", "unsketched_eigenvalue_intervals", "unsketched_trace_error"):
        assert getattr(back, name).to_dict() == getattr(certificate, name).to_dict()


def test_a_fitted_estimator_is_certified_on_other_features():
    model, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, n=30, dtype="f8")
    est = dntk.DistilledNTK(model, Random(12), gradients=Principal(4), ridge=0.1).fit(x)
    phi = dntk.tangent_features(model, x, sketch=None)
    assert isinstance(est, FittedPredictor)
    certificate = dntk.certify(phi, est, model(x))
    exact = dntk.solve.ridge(phi, model(x), ridge=0.1).predict(phi)
    distance = np.sqrt(np.mean((est.predict(x) - exact) ** 2, axis=0))
    assert certificate.ridge == 0.1
    assert np.all(distance <= certificate.prediction_error.value)
    assert np.all(certificate.prediction_error.value <= 1.5 * distance)


def test_held_out_points_tell_of_unseen_ones_and_of_no_others():
    model, x = mlp(NUMPY), inputs(NUMPY, n=300)
    est = dntk.DistilledNTK(model, Random(12), gradients=Solution(4, ridge=1e-2), ridge=1e-2).fit(x)
    found = est.held_out_residual(inputs(NUMPY, n=400, seed=5), confidence=0.99)
    unseen = float(np.mean(est.trust(inputs(NUMPY, n=20_000, seed=6))))
    assert (found.kind, found.confidence) == ("probabilistic", 0.99)
    assert found.lower[0] < unseen < found.upper[0]
    assert found.upper[0] - found.lower[0] < 0.1
    assert "400 unseen points" in found.theorem
    # Draws from a distribution, not from a population that they could exhaust.
    assert est.held_out_residual(inputs(NUMPY, n=1, seed=5)).upper[0] == pytest.approx(1, abs=0.05)
