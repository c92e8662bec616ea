"""Products of gradients with vectors of parameters, against gradients expanded by explicit loops."""

import dataclasses

import numpy as np
import pytest

from dntk.gradient_blocks import DenseBlock
from dntk.gradient_blocks._paired import paired
from dntk.sketch import Mixed
from dntk.sketch.layout import layout_of_shapes
from tests.libraries import LIBRARIES, host
from tests.test_gradient_blocks import draw, factored, factored_data, factored_dense, float_of
from tests.test_tied_blocks import ROWS, WIDTH, tied, uses


def assert_paired(library, block, dense):
    """Of ⟨w, g⟩, by a bound on rounding: terms × eps × Σ|w||g|."""
    weights = draw((dense.shape[0], dense.shape[2]), seed=7)
    found = host(paired(block, library.array(weights, float_of(library))))
    sizes = np.einsum("qp,qnp->qn", np.abs(weights), np.abs(dense))
    slack = 8 * (dense.shape[2] + 10) * np.finfo(float_of(library)).eps * sizes
    assert np.all(np.abs(found - np.einsum("qp,qnp->qn", weights, dense)) <= slack)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_map_with_and_without_bias_stored_either_way(library, transposed, bias):
    inputs, cotangents = factored_data(n=5, t=3, b=4, a=6)
    block = dataclasses.replace(factored(library, inputs, cotangents), transposed=transposed, bias=bias)
    dense = factored_dense(inputs, cotangents)
    if transposed:
        dense = np.swapaxes(dense.reshape(2, 5, 4, 6), 2, 3).reshape(2, 5, 24)
    if bias:
        dense = np.concatenate([dense, cotangents.sum(axis=2)], axis=2)
    assert_paired(library, block, dense)


def test_tables_with_padding_and_tied_weights(library):
    table, linear, table_dense, linear_dense = uses(library, 5, 1)
    assert_paired(library, table, table_dense)
    assert_paired(library, tied(table, linear), table_dense + linear_dense)
    assert table.size == ROWS * WIDTH


def test_stored_gradients(library):
    values = draw((2, 5, 30), seed=3)
    block = DenseBlock(name="b", offset=0, values=library.array(values, float_of(library)))
    assert_paired(library, block, values)


def test_a_block_of_another_form_is_expanded_piece_by_piece(library, monkeypatch):
    values = draw((2, 5, 30), seed=3)
    block = DenseBlock(name="b", offset=0, values=library.array(values, float_of(library)))

    class Foreign:
        """Only what is asked of it."""

        def chunks(self, most):
            assert most == 7
            return block.chunks(most)

    monkeypatch.setattr("dntk.gradient_blocks._paired._COORDINATES", 7)
    import dntk

    with dntk.checking(False):
        assert_paired(library, Foreign(), values)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("t", [3, 1])
def test_a_reduced_matrix_is_paired_by_its_reduced_activations(library, t, transposed):
    """⟨Sᵀz, g⟩ with Sᵀz in float64, expanded, against a block of the sketch's width."""
    inputs, cotangents = factored_data(n=5, t=t, b=8, a=12)
    block = factored(library, inputs, cotangents)
    block = dataclasses.replace(block, transposed=transposed, offset=5)
    dense = factored_dense(inputs, cotangents)
    if transposed:
        dense = np.swapaxes(dense.reshape(2, 5, 8, 12), 2, 3).reshape(2, 5, 96)
    layout = layout_of_shapes({"before": (5,), "w": (12, 8) if transposed else (8, 12), "after": (2,)})
    sketch = Mixed(26, inner=2, seed=3).bound(layout)
    z = draw((2, 26), seed=8)
    smaller, weights = sketch.cheaper_pair(block, library.array(z, float_of(library)))
    assert smaller.size == 2 * (12 if transposed else 8)
    found = host(paired(smaller, weights))
    whole = sketch.adjoint(z)[:, 5:101]
    # Each entry of Sᵀz sums two products: of sizes |V||R|, at most √2 max|z| for R of entries ±1/√2.
    sizes = np.sqrt(2) * np.max(np.abs(z)) * np.sum(np.abs(dense), axis=2)
    slack = 8 * (dense.shape[2] + 10) * np.finfo(float_of(library)).eps * sizes
    assert np.all(np.abs(found - np.einsum("qp,qnp->qn", whole, dense)) <= slack)


def test_a_matrix_is_paired_whole_where_its_reduction_would_cost_more():
    inputs, cotangents = factored_data(n=5, t=3, b=8, a=12)
    block = factored(LIBRARIES[0], inputs, cotangents)
    layout = layout_of_shapes({"w": (8, 12)})
    z = draw((2, 20), seed=8)
    assert Mixed(20, inner=7).bound(layout).cheaper_pair(block, z) is None  # 7 · (12 + 2·8) multiplications for 192
    assert Mixed(20, inner=6).bound(layout).cheaper_pair(block, z) is not None
    assert Mixed(20, inner=12).bound(layout).cheaper_pair(block, z) is None  # it is not reduced
