"""Numbers that arguments and fields share: what is taken, what is refused, and how it is said."""

import numpy as np
import pytest

import dntk
from dntk import _checks
from dntk.distill.data import RPCholesky
from dntk.sketch import Kronecker, Mixed, SparseSign

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_of_numpy_become_those_of_python(value):
    assert _checks.positive_integer("size", value) == 3
    assert type(_checks.positive_integer("size", value)) is int


@pytest.mark.parametrize("value", [0, -1, True, np.True_, 2.0, np.float64(2), "2", None, np.ones(1, dtype=int)])
def test_what_is_no_positive_integer_is_refused_with_what_came(value):
    with pytest.raises(ValueError, match=r"^`size` must be a positive integer, got .*: points\.$"):
        _checks.positive_integer("size", value, remedy="points")


def test_the_least_integer_is_taken_and_the_one_below_is_not():
    assert _checks.integer("folds", 2, least=2) == 2
    with pytest.raises(ValueError, match=r"^`folds` must be an integer of at least 2, got 1\.$"):
        _checks.integer("folds", 1, least=2)


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.1, float("nan"), True, "0.5", None])
def test_shares_are_strictly_between_0_and_1(value):
    assert _checks.share("held_out", 0.5) == 0.5
    with pytest.raises(ValueError, match="^`held_out` must be a share between 0 and 1, got"):
        _checks.share("held_out", value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), "1", None])
def test_positive_numbers_exclude_zero_and_nan(value):
    assert _checks.positive("scale", np.float32(0.5)) == 0.5
    with pytest.raises(ValueError, match="^`scale` must be a positive number, got"):
        _checks.positive("scale", value)


@pytest.mark.parametrize(
    ("made", "same"),
    [
        (lambda n: SparseSign(n(16), nonzeros=n(4), seed=n(3)), SparseSign(16, nonzeros=4, seed=3)),
        (lambda n: Kronecker(n(4), n(2), seed=n(1)), Kronecker(4, 2, seed=1)),
        (lambda n: Mixed(n(16), inner=n(4), widths=(("w", n(2)),)), Mixed(16, inner=4, widths=(("w", 2),))),
        (lambda n: dntk.sketch.SRHT(n(16), n_parameters=n(40)), dntk.sketch.SRHT(16, n_parameters=40)),
        (lambda n: RPCholesky(5, block=n(7)), RPCholesky(5, block=7)),
    ],
)
def test_parts_made_with_integers_of_numpy_are_written_as_those_made_with_pythons(made, same):
    assert repr(made(np.int64)) == repr(same)
