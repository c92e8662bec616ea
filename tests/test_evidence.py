"""Inputs at which gradients show: found in few passes, on every library."""

import numpy as np
import pytest

from dntk.models import batches
from dntk.models.adapter import Looks, Memo, showing
from tests.libraries import host

OPEN = {"a": [2, 9], "b": [9], "c": [0, 5], "d": [11]}
"""Inputs of twelve at which parameters have a gradient."""


def table(library):
    """One row an input, one column a parameter."""
    rows = np.zeros((12, len(OPEN)), dtype="float32")
    for column, places in enumerate(OPEN.values()):
        rows[places, column] = 1
    return {"x": library.array(rows), "y": None}


def shown(points, passes):
    passes.append(batches.count(points))
    return {name for name, column in zip(OPEN, host(points["x"]).T, strict=True) if column.any()}


@pytest.mark.parametrize("names", [[], ["a"], ["b"], ["d"], ["a", "b"], ["c", "d"], list(OPEN)])
def test_every_name_has_a_gradient_at_some_position(names, library):
    x, passes = table(library), []
    positions = showing(x, names, lambda points: shown(points, passes))
    assert len(positions) <= len(names)
    assert all(set(positions) & set(OPEN[name]) for name in names)
    assert sum(passes) <= 2 * 12 * len(names)


def test_one_position_serves_all_that_have_a_gradient_there(library):
    assert len(showing(table(library), ["b", "a"], lambda points: shown(points, []))) == 2
    assert showing(table(library), ["b"], lambda points: shown(points, [])) == [9]
    assert showing(batches.span(table(library), 9, 12), ["a", "b"], lambda points: shown(points, [])) == [0]


def test_names_without_a_gradient_at_any_input_alone_are_left_out(library):
    x = table(library)
    assert showing(x, ["a"], lambda points: {"a"} if batches.count(points) > 1 else set()) == []
    assert showing(x, ["a", "e"], lambda points: shown(points, [])) == [2]


def test_batches_are_joined_in_order_part_by_part(library):
    x = table(library)
    whole = batches.joined(batches.span(x, 0, 5), batches.span(x, 5, 12))
    assert whole["y"] is None
    np.testing.assert_array_equal(host(whole["x"]), host(x["x"]))
    pair = batches.joined((x["x"], x["x"]), (x["x"], 2 * x["x"]))
    np.testing.assert_array_equal(host(pair[1]), np.concatenate([host(x["x"]), 2 * host(x["x"])]))


def test_what_is_replaced_is_remembered_for_any_number_of_inputs(library):
    memo, x = Memo(), table(library)
    assert memo(batches.first(x), lambda: "one", of=1) == "one"
    memo.replace(batches.first(x), "better", of=1)
    assert memo(x, lambda: "another", of=1) == "better"
    assert memo(x, lambda: "another", of=2) == "another"


def test_inputs_that_show_nothing_are_looked_at_sixteen_times(library):
    looks, x = Looks(), table(library)
    assert sum(looks.once_more(x) for _ in range(40)) == 15  # and the first time
    assert looks.once_more(x, of="another network")
    assert looks.once_more(x["x"])
