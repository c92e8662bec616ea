"""Stated errors of sketches: their formulas, what they call proved, and what they refuse."""

import math

import pytest
import scipy.stats

from dntk.sketch import Gaussian, Rademacher, SparseSign
from dntk.sketch.error import moment_error

IMPOSSIBLE = [(0, 0.1, "n"), (2.5, 0.1, "n"), (5, 0, "failure"), (5, 1, "failure")]
BANDS = [Gaussian(400), Rademacher(400), SparseSign(400), SparseSign(400, nonzeros=9)]


@pytest.mark.parametrize("sketch", BANDS, ids=repr)
def test_dense_families_state_the_band_of_davidson_and_szarek(sketch):
    t = math.sqrt(2 * math.log(2 / 1e-6))
    expected = (1 + math.sqrt(25 / 400) + t / math.sqrt(400)) ** 2 - 1
    found = sketch.error(25, failure=1e-6)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    assert found.measure == "all eigenvalues, relative"
    assert found.failure == 1e-6


def test_only_the_gaussian_band_is_called_proved():
    assert [sketch.error(5).kind for sketch in BANDS] == ["probabilistic", "empirical", "empirical", "empirical"]


def test_the_band_of_one_row_holds_for_the_exact_distribution():
    """‖Su‖²/‖u‖² is χ²_k/k for one row: it leaves 1 ± ε less often than stated."""
    for dim, failure in [(1, 1e-3), (50, 1e-3), (400, 1e-6)]:
        value = float(Gaussian(dim).error(1, failure))
        outside = scipy.stats.chi2.sf(dim * (1 + value), dim) + scipy.stats.chi2.cdf(dim * (1 - value), dim)
        assert outside <= failure


def test_few_nonzeros_state_chebyshevs_inequality():
    found = SparseSign(400, nonzeros=7).error(25, failure=0.01)
    assert float(found) == pytest.approx(math.sqrt(2 / 400 / 0.01))
    assert (found.kind, found.measure) == ("probabilistic", "Frobenius norm, relative to the trace")


def test_errors_read_as_one_line():
    text = str(Gaussian(400).error(25, failure=0.01))
    assert "\n" not in text
    assert text.endswith("(all eigenvalues, relative; probabilistic, failure 0.01; Davidson and Szarek 2001)")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("n", "failure", "name"), [(0, 0.1, "n"), (2.5, 0.1, "n"), (5, 0, "failure"), (5, 1, "failure")]
)
def test_impossible_questions_are_refused(n, failure, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        Gaussian(4).error(n, failure)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        moment_error(0.1, n, failure, theorem="")
