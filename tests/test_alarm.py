"""Thresholds of scores: their rate of false alarms against SciPy's binomial and against trials."""

import numpy as np
import pytest
from scipy.stats import beta, binom

import dntk
from dntk.certificates import Threshold, tangent_residual, threshold
from dntk.distill.data import Random
from dntk.distill.gradients import Principal
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp


def drawn(n, seed=0):
    return np.random.default_rng(seed).normal(size=n).astype(np.float32)


@pytest.mark.parametrize("n", [59, 60, 92, 93, 200, 1_000, 20_000])
@pytest.mark.parametrize("confidence", [0.95, 0.3])
def test_as_many_points_lie_above_as_the_binomial_allows(n, confidence):
    scores = drawn(n)
    found = threshold(scores, false_alarm=0.05, confidence=confidence)
    assert isinstance(found, Threshold)
    above = int(np.sum(scores > found.value))
    assert above == found.allowed
    assert binom.cdf(above, n, 0.05) <= 1 - confidence
    assert binom.cdf(above + 1, n, 0.05) > 1 - confidence


def test_the_order_statistic_is_that_of_the_beta_distribution():
    found = threshold(drawn(500), false_alarm=0.1, confidence=0.99)
    assert beta.cdf(0.1, found.allowed + 1, 500 - found.allowed) >= 0.99
    assert beta.cdf(0.1, found.allowed + 2, 499 - found.allowed) < 0.99


def test_same_on_every_library(library):
    scores = drawn(300)
    found, expected = threshold(library.array(scores)), threshold(scores)
    assert found == expected
    np.testing.assert_array_equal(host(found(library.array(scores))), scores > expected.value)


def test_the_rate_is_kept_as_often_as_is_said():
    """Scores uniform on [0, 1]: the rate above a limit t is 1 − t. Too often, too, is a fault: it wastes points."""
    trials, confidence = 2_000, 0.9
    draws = np.random.default_rng(1).random((trials, 150))
    kept = sum(1 - threshold(row, confidence=confidence).value <= 0.05 for row in draws)
    exact = 1 - binom.cdf(threshold(draws[0], confidence=confidence).allowed, 150, 0.05)
    assert exact >= confidence
    low, high = binom.interval(1 - 1e-9, trials, exact)
    assert low <= kept <= high


def test_equal_scores_raise_no_alarm():
    found = threshold(np.ones(100, dtype=np.float32))
    assert found.value == 1
    assert not found(np.ones(3, dtype=np.float32)).any()


@pytest.mark.parametrize(("rate", "confidence", "needed"), [(0.05, 0.95, 59), (0.05, 0.99, 90), (0.01, 0.95, 299)])
def test_too_few_points_are_refused_with_how_many_are_needed(rate, confidence, needed):
    with pytest.raises(ValueError, match=rf"`scores` has {needed - 1} points, too few.*hold out at least {needed},"):
        threshold(drawn(needed - 1), false_alarm=rate, confidence=confidence)
    assert threshold(drawn(needed), false_alarm=rate, confidence=confidence).allowed == 0
    with pytest.raises(ValueError, match=rf"`scores` has 0 points.*at least {needed},"):
        threshold(drawn(0), false_alarm=rate, confidence=confidence)


@pytest.mark.usefixtures("unchecked")
def test_scores_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"`scores` has shape \(100, 2\): expected \(n,\)"):
        threshold(np.ones((100, 2)))
    with pytest.raises(ValueError, match="`scores`.*finite|`scores`.*nan|`scores`.*NaN"):
        threshold(np.full(100, np.nan))
    with pytest.raises(TypeError, match="`scores`"):
        threshold(np.ones(100, dtype=np.int64))
    with pytest.raises(ValueError, match="`false_alarm` must be a share between 0 and 1"):
        threshold(np.ones(100), false_alarm=0)
    with pytest.raises(ValueError, match="`confidence` must be between 0 and 1"):
        threshold(np.ones(100), confidence=1)


def test_a_threshold_says_what_it_promises():
    assert "at most 5.00% false alarms, with probability 0.95 over 100 held-out points" in str(threshold(drawn(100)))


def test_the_residual_that_is_not_normalised_is_the_length_outside_the_span(library):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(3, 20, 9)).astype(np.float32) * 1e3
    basis = np.linalg.qr(rng.normal(size=(3, 9, 4)))[0].mT
    wide = values.astype(np.float64)
    expected = np.sum((wide - wide @ basis.mT @ basis) ** 2, axis=(0, 2))
    phi = dntk.TangentFeatures(library.array(values))
    found = host(tangent_residual(phi, library.array(basis.astype(np.float32)), normalised=False))
    allowance = 30 * np.finfo(np.float32).eps * np.sum(wide**2, axis=(0, 2))
    assert np.all(np.abs(found - expected) <= allowance)


@pytest.mark.parametrize("normalised", [True, False])
def test_a_fit_has_the_threshold_of_its_trust(normalised):
    model, x = mlp(LIBRARIES[0]), inputs(LIBRARIES[0], n=100)
    fit = dntk.DistilledNTK(model, data=Random(20), sketch=None, gradients=Principal(4), ridge=0.1).fit(x)
    held_out = inputs(LIBRARIES[0], n=80, seed=7)
    expected = threshold(fit.trust(held_out, normalised=normalised), false_alarm=0.1, confidence=0.9)
    assert fit.threshold(held_out, false_alarm=0.1, confidence=0.9, normalised=normalised) == expected
