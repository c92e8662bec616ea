"""Class probabilities of Gaussian logits against quadrature, and their scores against SciPy and scikit-learn."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from scipy.special import expit, softmax

import dntk
from dntk import metrics
from dntk.distill.data import Random
from dntk.distill.gradients import Principal
from dntk.probabilities import Link, MonteCarlo, Probit, calibrated
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

EPS = np.finfo(np.float32).eps


def moments(n=40, c=3, seed=0):
    rng = np.random.default_rng(seed)
    return (3 * rng.normal(size=(n, c))).astype(np.float32), rng.gamma(2.0, size=(n, c)).astype(np.float32)


def drawn_labels(p, seed=1):
    return np.array([np.random.default_rng((seed, i)).choice(len(row), p=row / row.sum()) for i, row in enumerate(p)])


def expected_sigmoid(mean, deviation):
    """E sigmoid(μ + σε) by Gauss and Hermite's rule of 200 nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    return expit(mean + deviation * nodes) @ weights / weights.sum()


def test_probit_is_its_formula(library):
    mean, deviation = moments()
    link = Probit(scale=0.5, temperature=2.0)
    found = host(link.probabilities(library.array(mean), library.array(deviation)))
    wide = mean.astype(float) / 2
    expected = softmax(wide / np.sqrt(1 + np.pi / 8 * (deviation.astype(float) / 4) ** 2), axis=1)
    np.testing.assert_allclose(found, expected, atol=20 * EPS)
    assert isinstance(link, Link)


def test_temperatures_far_from_one_are_right_or_refused(library):
    """In the limit T → 0 the probit depends on μ/(sσ) alone; squares of σ/T would leave float32."""
    mean, deviation = moments()
    found = host(Probit(temperature=1e-30).probabilities(library.array(mean), library.array(deviation)))
    expected = softmax(mean.astype(float) / (np.sqrt(np.pi / 8) * deviation), axis=1)
    np.testing.assert_allclose(found, expected, atol=20 * EPS)
    found = host(Probit(temperature=1e30).probabilities(library.array(mean), library.array(deviation)))
    np.testing.assert_allclose(found, 1 / 3, atol=20 * EPS)
    for link in (Probit(scale=0, temperature=1e-38), MonteCarlo(samples=4, temperature=1e-38)):
        with pytest.raises(ValueError, match="higher `temperature`"):
            link.probabilities(library.array(1e3 * mean), library.array(deviation))


def test_without_uncertainty_both_links_are_the_softmax(library):
    mean, deviation = moments()
    for link in (Probit(scale=0), MonteCarlo(scale=0, samples=16)):
        found = host(link.probabilities(library.array(mean), library.array(deviation)))
        np.testing.assert_allclose(found, softmax(mean.astype(float), axis=1), atol=20 * EPS)


def test_monte_carlo_is_the_expected_softmax(library):
    """At most ½/√samples standard error for every draw; five of them."""
    mean, deviation = moments(c=1)
    link = MonteCarlo(samples=2_000, scale=1.5, temperature=1.2)
    found = host(link.probabilities(library.array(mean), library.array(deviation)))
    pairs = zip(mean[:, 0].astype(float), deviation[:, 0].astype(float), strict=True)
    expected = np.array([expected_sigmoid(m / 1.2, 1.5 * d / 1.2) for m, d in pairs])
    assert found.shape == (40, 2)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=10 * EPS)
    assert np.abs(found[:, 1] - expected).max() <= 5 * 0.5 / math.sqrt(2_000)


def test_probit_of_two_classes_is_near_the_expected_sigmoid():
    """MacKay's approximation is within 0.02 of the integral for a deviation of 3."""
    mean, deviation = np.linspace(-6, 6, 25)[:, None], np.full((25, 1), 3.0)
    found = Probit().probabilities(mean, deviation)[:, 1]
    expected = [expected_sigmoid(m, 3.0) for m in mean[:, 0]]
    assert np.abs(found - expected).max() < 0.02


def test_draws_of_a_point_do_not_depend_on_the_others():
    mean, deviation = moments(n=50, c=5)
    link = MonteCarlo(samples=64, seed=3)
    together = link.probabilities(mean, deviation)
    alone = np.concatenate([link.probabilities(mean[i : i + 1], deviation[i : i + 1]) for i in range(50)])
    np.testing.assert_allclose(together, alone, atol=4 * EPS)
    other = MonteCarlo(samples=64, seed=4).probabilities(mean, deviation)
    assert np.abs(other - together).max() > 1e-3


def test_draws_are_symmetric():
    """A logit of mean zero is as likely below as above, to rounding."""
    found = MonteCarlo(samples=10).probabilities(np.zeros((3, 1)), np.full((3, 1), 2.0))
    np.testing.assert_allclose(found, 0.5, atol=1e-12)


def test_points_in_blocks_are_those_of_one_block(monkeypatch):
    mean, deviation = moments(n=50, c=5)
    whole = MonteCarlo(samples=64).probabilities(mean, deviation)
    monkeypatch.setattr("dntk.probabilities.links._NUMBERS", 7 * 64 * 5)
    np.testing.assert_allclose(MonteCarlo(samples=64).probabilities(mean, deviation), whole, atol=4 * EPS)


@pytest.mark.parametrize("link", [Probit(), MonteCarlo(samples=64)])
def test_calibration_finds_the_scales_that_labels_were_drawn_with(link):
    """Labels of the link itself at s = 0.7, T = 2: its likelihood is largest there, and what is found is no worse."""
    mean, deviation = moments(n=3_000, seed=5)
    deviation = 4 * deviation
    true = type(link)(scale=0.7, temperature=2.0)
    p = true.probabilities(mean, deviation).astype(float)
    labels = drawn_labels(p)
    found = calibrated(link, mean, deviation, labels)
    reached = metrics.negative_log_likelihood(found.probabilities(mean, deviation), labels)
    assert reached <= metrics.negative_log_likelihood(p, labels) + 1e-3
    assert 1.5 < found.temperature < 2.7
    assert 0.4 < found.scale < 1.1


def test_calibration_leaves_out_an_uncertainty_that_says_nothing():
    mean, _ = moments(n=2_000, seed=6)
    labels = drawn_labels(softmax(mean.astype(float) / 3, axis=1))
    found = calibrated(Probit(), mean, np.zeros_like(mean), labels)
    assert found.scale == 0
    assert 2.5 < found.temperature < 3.5


def test_calibration_is_never_worse_than_the_temperature_alone():
    mean, deviation = moments(n=300, seed=7)
    labels = drawn_labels(softmax(mean.astype(float), axis=1))
    found = calibrated(Probit(), mean, deviation, labels)
    plain = [Probit(scale=0, temperature=t).probabilities(mean, deviation) for t in np.geomspace(0.1, 10, 200)]
    least = min(metrics.negative_log_likelihood(p, labels) for p in plain)
    assert metrics.negative_log_likelihood(found.probabilities(mean, deviation), labels) <= least + 1e-4


def test_scores_are_those_of_scikit_learn(library):
    mean, _ = moments()
    p = softmax(mean, axis=1).astype(np.float32)
    labels = drawn_labels(p)
    ours = [library.array(p), library.array(labels)]
    wide = p.astype(float) / p.astype(float).sum(axis=1, keepdims=True)
    expected = sklearn.metrics.log_loss(labels, wide, labels=[0, 1, 2])
    assert abs(metrics.negative_log_likelihood(*ours) - expected) <= 100 * EPS * expected
    brier = np.mean(np.sum((p.astype(float) - np.eye(3)[labels]) ** 2, axis=1))
    assert abs(metrics.brier_score(*ours) - brier) <= 100 * EPS


def test_calibration_error_is_that_of_its_definition(library):
    mean, _ = moments(n=200)
    p = softmax(mean, axis=1).astype(np.float32)
    labels, error, counts = drawn_labels(p, seed=3), 0.0, []
    for b in range(10):
        inside = (p.max(axis=1) > b / 10) & (p.max(axis=1) <= (b + 1) / 10)
        counts.append(inside.sum())
        if inside.any():
            right = p[inside].argmax(axis=1) == labels[inside]
            error += inside.mean() * abs(right.mean() - p[inside].max(axis=1).astype(float).mean())
    found = metrics.reliability(library.array(p), library.array(labels), bins=10)
    assert isinstance(found, metrics.Reliability)
    np.testing.assert_array_equal(found.counts, counts)
    assert abs(found.calibration_error - error) < 1e-12
    assert metrics.calibration_error(library.array(p), library.array(labels), bins=10) == found.calibration_error


def test_a_right_class_of_probability_zero_is_infinitely_unlikely():
    assert metrics.negative_log_likelihood(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([1, 0])) == math.inf


def test_kendall_tau_is_that_of_scipy(library):
    rng = np.random.default_rng(0)
    ours = rng.integers(0, 20, size=(300, 3)).astype(np.float32)  # with ties
    theirs = (ours + 5 * rng.normal(size=(300, 3))).astype(np.float32).round()
    found = host(metrics.kendall_tau(library.array(ours), library.array(theirs)))
    expected = [scipy.stats.kendalltau(a, b).statistic for a, b in zip(ours.T, theirs.T, strict=True)]
    np.testing.assert_allclose(found, expected, atol=4 * EPS)


def test_kendall_tau_of_equal_outputs_is_not_a_number():
    assert np.isnan(metrics.kendall_tau(np.ones((5, 1)), np.arange(5.0)[:, None])).all()


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_probability_is_refused():
    labels = np.array([0, 1])
    for p in (np.array([[2.0, -1.0], [0.5, 0.5]]), np.ones((2, 2)), np.ones((2, 1))):
        with pytest.raises(ValueError, match="`probabilities` has shape .* expected class probabilities"):
            metrics.negative_log_likelihood(p, labels) if p.shape[1] > 1 else metrics.brier_score(p, 0 * labels)
    with pytest.raises(ValueError, match="`probabilities` has no rows"):
        metrics.calibration_error(np.ones((0, 2)), np.ones(0, dtype=np.int64))


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_deviation_is_refused():
    mean = np.ones((4, 2))
    with pytest.raises(ValueError, match="`deviation` has negative entries"):
        Probit().probabilities(mean, -mean)
    with pytest.raises(ValueError, match=r"`deviation` has shape \(4, 1\), `mean` \(4, 2\)"):
        MonteCarlo().probabilities(mean, mean[:, :1])
    with pytest.raises(ValueError, match="`mean` is zero everywhere"):
        calibrated(Probit(), 0 * mean, mean, np.zeros(4, dtype=np.int64))
    with pytest.raises(ValueError, match="`scale` must be"):
        Probit(scale=-1)
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        MonteCarlo(temperature=0)


def test_a_fit_gives_probabilities_of_its_predictions_and_deviations(library):
    model, x = mlp(library), inputs(library, n=60)
    fit = dntk.DistilledNTK(model, data=Random(20), sketch=None, gradients=Principal(4), ridge=0.1).fit(x)
    query = inputs(library, n=30, seed=5)
    mean, deviation = fit.predict(query), fit.uncertainty(query)
    for link in (None, Probit(scale=0.3, temperature=0.5), MonteCarlo(samples=50)):
        expected = host((link or Probit()).probabilities(mean, deviation))
        np.testing.assert_allclose(host(fit.predict_proba(query, link=link)), expected, atol=1e-4)
    labels = metrics.predicted_labels(mean)
    found = fit.calibrated_link(query, labels, link=Probit())
    before, after = (fit.predict_proba(query, link=one) for one in (Probit(), found))
    assert metrics.negative_log_likelihood(after, labels) <= metrics.negative_log_likelihood(before, labels)


def test_a_link_that_is_none_is_refused():
    model, x = mlp(LIBRARIES[0]), inputs(LIBRARIES[0], n=30)
    fit = dntk.DistilledNTK(model, sketch=None, gradients=Principal(4), ridge=0.1).fit(x)
    with pytest.raises(TypeError, match=r"`link` is the class Probit: pass an instance"):
        fit.predict_proba(x, link=Probit)
