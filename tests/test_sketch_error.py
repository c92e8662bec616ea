"""Stated errors of sketches: their formulas, what they call proved, and what they refuse."""

import math

import pytest
import scipy.stats

from dntk.sketch import SRHT, Gaussian, Kronecker, Mask, Mixed, Rademacher, SparseSign, TensorSketch
from dntk.sketch.error import moment_error

OTHERS = [SRHT(400), TensorSketch(400), Kronecker(10, 40), Mask(10, n_parameters=91), Mixed(400, 50)]
BANDS = [Gaussian(400), Rademacher(400), SparseSign(400), SparseSign(400, nonzeros=9)]


@pytest.mark.parametrize("sketch", BANDS, ids=repr)
def test_dense_families_state_the_band_of_davidson_and_szarek(sketch):
    t = math.sqrt(2 * math.log(2 / 1e-6))
    expected = (1 + math.sqrt(25 / 400) + t / math.sqrt(400)) ** 2 - 1
    found = sketch.error(25, confidence=1 - 1e-6)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    assert found.measure == "all eigenvalues, relative"
    assert found.confidence == 1 - 1e-6


def test_only_the_gaussian_band_is_called_proved():
    assert [sketch.error(5).kind for sketch in BANDS] == ["probabilistic", "empirical", "empirical", "empirical"]


def test_the_band_of_one_row_holds_for_the_exact_distribution():
    """‖Su‖²/‖u‖² is χ²_k/k for one row: it leaves 1 ± ε less often than stated."""
    for dim, failure in [(1, 1e-3), (50, 1e-3), (400, 1e-6)]:
        value = float(Gaussian(dim).error(1, confidence=1 - failure))
        outside = scipy.stats.chi2.sf(dim * (1 + value), dim) + scipy.stats.chi2.cdf(dim * (1 - value), dim)
        assert outside <= failure


def test_few_nonzeros_state_chebyshevs_inequality():
    found = SparseSign(400, nonzeros=7).error(25, confidence=0.99)
    assert float(found) == pytest.approx(math.sqrt(2 / 400 / 0.01))
    assert (found.kind, found.measure) == ("probabilistic", "Frobenius norm, relative to the trace")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("sketch", [*BANDS, *OTHERS], ids=repr)
def test_a_probability_of_failure_is_not_taken_for_a_confidence(sketch):
    """`error(n, 1e-3)` once meant that failure: as a confidence it would state an ε far too small."""
    with pytest.raises(TypeError):
        sketch.error(25, 1e-3)
    with pytest.raises(TypeError):
        sketch.error(25, failure=1e-3)


def test_errors_read_as_one_line():
    text = str(Gaussian(400).error(25, confidence=0.99))
    assert "\n" not in text
    assert text.endswith("(all eigenvalues, relative; probabilistic, with probability 0.99; Davidson and Szarek 2001)")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("n", "confidence", "name"), [(0, 0.9, "n"), (2.5, 0.9, "n"), (5, 0, "confidence"), (5, 1, "confidence")]
)
def test_impossible_questions_are_refused(n, confidence, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        Gaussian(4).error(n, confidence=confidence)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        moment_error(0.1, n, confidence, theorem="")
