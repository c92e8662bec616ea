"""Which coordinates are which matrix: layouts, their parts, and factors of blocks in them."""

import numpy as np
import pytest

from dntk.gradient_blocks import DenseBlock, FactoredBlock
from dntk.sketch import ParameterMatrix, layout_of
from dntk.sketch.layout import factors_in, layout_of_shapes, parts_of
from tests.libraries import Library
from tests.networks import mlp

NUMPY = Library("numpy", "numpy")
LAYOUT = layout_of_shapes({"w": (3, 4), "b": (3,), "conv": (2, 2, 3), "s": ()})
SIZE = 28


def test_parameters_are_matrices_of_their_first_axis_by_all_others():
    assert (
        ParameterMatrix("w", 0, 3, 4),
        ParameterMatrix("b", 12, 3, 1),
        ParameterMatrix("conv", 15, 2, 6),
        ParameterMatrix("s", 27, 1, 1),
    ) == LAYOUT
    assert LAYOUT[-1].stop == SIZE


def test_layout_of_a_model_follows_its_parameters():
    model = mlp(NUMPY, (6, 5, 2))
    found = [(matrix.offset, matrix.rows, matrix.columns) for matrix in layout_of(model)]
    assert found == [(0, 5, 6), (30, 5, 1), (35, 2, 5), (45, 2, 1)]
    assert [m.name for m in layout_of(model)] == list(model.parameters)
    assert layout_of(model)[-1].stop == model.n_parameters


def test_parts_cover_every_range_once_and_in_order():
    for start in range(SIZE):
        for stop in range(start + 1, SIZE + 1):
            found = []
            for part in parts_of(LAYOUT, start, stop):
                assert part.start == len(found)
                for row in range(*part.rows):
                    for column in range(*part.columns):
                        found.append(part.matrix.offset + row * part.matrix.columns + column)
                assert part.stop == len(found)
            assert found == list(range(start, stop))
            assert len(list(parts_of(LAYOUT, start, stop))) <= 3 * len(LAYOUT)


def block(offset, b, a, transposed=False):
    return FactoredBlock(
        name="x", offset=offset, inputs=np.ones((2, 1, a)), cotangents=np.ones((3, 2, 1, b)), transposed=transposed
    )


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        (block(0, 3, 4), (0, 3)),
        (block(4, 2, 4), (1, 3)),  # some rows of the matrix, as in packed projections
        (block(15, 2, 6), (0, 2)),
        (block(0, 4, 3, transposed=True), (0, 3)),
        (block(12, 3, 1), (0, 3)),
    ],
)
def test_factors_that_are_rows_and_columns_of_a_matrix_are_found(given, rows):
    part, left, right = factors_in(LAYOUT, given)
    assert part.rows == rows
    assert part.columns == (0, part.matrix.columns)
    assert left.shape[3] == rows[1] - rows[0]
    assert right.shape[3] == part.matrix.columns
    assert (left.shape[0], right.shape[0]) == ((1, 3) if given.transposed else (3, 1))


@pytest.mark.parametrize(
    "given",
    [
        block(0, 4, 3),
        block(2, 2, 4),
        block(4, 3, 4),
        block(28, 1, 1),
        DenseBlock(name="b", offset=12, values=np.ones((1, 2, 3))),
    ],
)
def test_other_blocks_have_no_factors_here(given):
    assert factors_in(LAYOUT, given) is None
