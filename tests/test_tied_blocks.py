"""A weight used as a table and as a linear map, against the two gradients expanded and added."""

import dataclasses

import numpy as np
import pytest

from dntk.gradient_blocks import TiedBlock
from tests.libraries import Library, host, set_working_set
from tests.test_gradient_blocks import (
    _scale,
    assert_close,
    assert_grams,
    factored,
    factored_data,
    factored_dense,
    float_of,
    indexed,
    indexed_data,
    indexed_dense,
)

NUMPY = Library("numpy", "numpy")
ROWS, WIDTH = 7, 3


def uses(library, n, seed, *, t=4, s=2):
    """A table's block and a linear map's in a weight of 7 rows, with their expanded gradients."""
    ids, cotangents = indexed_data(n=n, t=t, b=WIDTH, rows=ROWS, seed=seed)
    ids[-1, 0] = -1  # padding
    cotangents[:, ids < 0, :] = 0
    data = factored_data(n=n, t=s, b=ROWS, a=WIDTH, seed=seed + 1)
    table, linear = indexed(library, ids, cotangents, ROWS), factored(library, *data)
    return table, linear, indexed_dense(ids, cotangents, ROWS), factored_dense(*data)


def tied(table, linear):
    return TiedBlock(name="w", offset=0, table=table, linear=linear)


@pytest.mark.parametrize("entries", [1, 60, 2**19])
def test_inner_products_of_a_table_with_a_linear_map_equal_those_of_expanded_gradients(library, monkeypatch, entries):
    set_working_set(monkeypatch, library, entries)
    table, _, table_dense, _ = uses(library, 5, 1)
    _, linear, _, linear_dense = uses(library, 3, 2)
    settings = {"terms": 8 * ROWS * WIDTH, "dtype": float_of(library)}
    assert_grams(table, linear, table_dense, linear_dense, **settings)
    assert_grams(linear, table, linear_dense, table_dense, **settings)


def test_inner_products_of_tied_blocks_equal_those_of_expanded_gradients(library):
    table1, linear1, *dense1 = uses(library, 5, 1)
    table2, linear2, *dense2 = uses(library, 3, 2)
    left, right = tied(table1, linear1), tied(table2, linear2)
    settings = {"terms": 16 * ROWS * WIDTH, "dtype": float_of(library)}
    assert_grams(left, right, sum(dense1), sum(dense2), **settings)
    assert_grams(left, left, sum(dense1), sum(dense1), **settings)
    assert_grams(left, linear2, sum(dense1), dense2[1], **settings)
    assert_grams(table2, left, dense2[0], sum(dense1), **settings)
    for method in ("gram", "mean_gram", "cross_gram"):
        found = host(getattr(left, method)(left))
        mirrored = np.transpose(found, (2, 3, 0, 1)) if found.ndim == 4 else found.mT
        np.testing.assert_array_equal(found, mirrored, err_msg=method)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_pieces_of_a_tied_block_are_those_of_its_whole_gradient(library, size):
    table, linear, *parts = uses(library, 4, 3)
    block, expected = tied(table, linear), sum(parts)
    settings = {"terms": 4, "dtype": float_of(library), "scale": _scale(expected, expected)}
    assert_close(block.dense(), expected, **settings)
    position = 0
    for start, values in block.chunks(size):
        assert start == position
        assert_close(values, expected[:, :, start : start + values.shape[2]], **settings)
        position += values.shape[2]
    assert position == block.size == ROWS * WIDTH
    assert block.shape == (2, 4)
    assert block.nbytes == table.nbytes + linear.nbytes


def test_a_linear_map_of_another_shape_cannot_be_tied_to_a_table():
    table, linear, *_ = uses(NUMPY, 4, 3)
    with pytest.raises(ValueError, match="a table of 8 rows is tied to a linear map of another shape: 7 by 3"):
        tied(dataclasses.replace(table, rows=8), linear)
    with pytest.raises(ValueError, match="another shape"):
        tied(table, dataclasses.replace(linear, transposed=True))
