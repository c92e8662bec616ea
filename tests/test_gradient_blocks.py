"""Gradient blocks with several positions against gradients expanded by explicit loops."""

import dataclasses

import jaxtyping
import numpy as np
import pytest

from dntk.arrays import namespace
from dntk.backend import backend_of
from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock, IndexedBlock
from dntk.gradient_blocks.operations import Products
from dntk.ledger import LedgerRecorder
from tests.libraries import Library, host, set_working_set

NUMPY = Library("numpy", "numpy")
CONTRACTED, MATERIALISED = "contraction is cheaper", "materialisation is cheaper"
# Positions t and sizes (b, a) of the weight, one for each branch of the cost model.
FACTORED_SIZES = {CONTRACTED: (2, 40, 30), MATERIALISED: (4, 2, 3)}


def float_of(library):
    return np.float64 if library.has_float64 else np.float32


def draw(shape, seed):
    """Float64 numbers that float32 holds exactly."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32).astype(np.float64)


def factored_data(*, n, t, b, a, q=2, seed=0):
    return draw((n, t, a), seed), draw((q, n, t, b), seed + 100)


def factored(library, inputs, cotangents, offset=0):
    dtype = float_of(library)
    return FactoredBlock(
        name="w",
        offset=offset,
        inputs=library.array(inputs, dtype),
        cotangents=library.array(cotangents, dtype),
    )


def factored_dense(inputs, cotangents):
    """Σ_t g_t a_tᵀ, one outer product at a time."""
    q, n, t, b = cotangents.shape
    dense = np.zeros((q, n, b, inputs.shape[2]))
    for c in range(q):
        for i in range(n):
            for position in range(t):
                dense[c, i] += np.outer(cotangents[c, i, position], inputs[i, position])
    return dense.reshape(q, n, -1)


def indexed_data(*, n, t, b, rows, q=2, seed=0):
    ids = np.random.default_rng(seed).integers(0, rows, size=(n, t))
    ids[0, :] = ids[0, 0]  # one input uses one row several times
    return ids, draw((q, n, t, b), seed + 100)


def indexed(library, ids, cotangents, rows, offset=0):
    return IndexedBlock(
        name="table",
        offset=offset,
        ids=library.array(ids),
        cotangents=library.array(cotangents, float_of(library)),
        rows=rows,
    )


def indexed_dense(ids, cotangents, rows):
    """Every look-up adds its cotangent to its row."""
    q, n, t, b = cotangents.shape
    dense = np.zeros((q, n, rows, b))
    for c in range(q):
        for i in range(n):
            for position in range(t):
                dense[c, i, ids[i, position]] += cotangents[c, i, position]
    return dense.reshape(q, n, -1)


def expected_grams(left, right):
    cross = np.zeros((*left.shape[:2], *right.shape[:2]))
    for q, mine in enumerate(left):
        for r, theirs in enumerate(right):
            cross[q, :, r, :] = mine @ theirs.T
    same = np.stack([cross[q, :, q, :] for q in range(left.shape[0])])
    return {"gram": same, "mean_gram": sum(same) / len(same), "cross_gram": cross}


def assert_grams(left, right, left_dense, right_dense, *, terms, dtype):
    for method, expected in expected_grams(left_dense, right_dense).items():
        actual = host(getattr(left, method)(right))
        assert actual.shape == expected.shape, method
        assert_close(actual, expected, terms=terms, dtype=dtype, scale=_scale(left_dense, right_dense))


def _scale(left, right):
    """Largest product of norms: an inner product that cancels still has its rounding."""
    norms = [np.max(np.linalg.norm(values, axis=-1)) for values in (left, right)]
    return norms[0] * norms[1]


def assert_close(actual, expected, *, terms, dtype, scale):
    """Rounding of inner products of ``terms`` numbers, each a sum of rounded products."""
    bound = 8 * terms * np.finfo(dtype).eps * scale
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=bound)


def test_weights_stored_the_other_way_round_have_their_gradients_in_that_order(library):
    inputs, cotangents = factored_data(n=3, t=2, b=5, a=4)
    block = dataclasses.replace(factored(library, inputs, cotangents), transposed=True)
    expected = np.swapaxes(factored_dense(inputs, cotangents).reshape(2, 3, 5, 4), 2, 3).reshape(2, 3, 20)
    scale = _scale(expected, expected)
    assert_close(block.dense(), expected, terms=2, dtype=float_of(library), scale=scale)
    for start, values in block.chunks(7):
        part = expected[:, :, start : start + values.shape[2]]
        assert_close(values, part, terms=2, dtype=float_of(library), scale=scale)


@pytest.mark.parametrize("sizes", FACTORED_SIZES)
def test_inner_products_of_factored_blocks_equal_those_of_expanded_gradients(library, sizes):
    t, b, a = FACTORED_SIZES[sizes]
    data1 = factored_data(n=5, t=t, b=b, a=a, seed=1)
    data2 = factored_data(n=3, t=t, b=b, a=a, seed=2)
    left, right = factored(library, *data1), factored(library, *data2)
    dense1, dense2 = factored_dense(*data1), factored_dense(*data2)
    settings = {"terms": t * t * a * b, "dtype": float_of(library)}
    assert_grams(left, right, dense1, dense2, **settings)
    assert_grams(left, left, dense1, dense1, **settings)


@pytest.mark.parametrize("sizes", FACTORED_SIZES)
def test_cost_model_chooses_the_way_with_fewer_operations(sizes):
    t, b, a = FACTORED_SIZES[sizes]
    left = factored(NUMPY, *factored_data(n=5, t=t, b=b, a=a, seed=1))
    right = factored(NUMPY, *factored_data(n=3, t=t, b=b, a=a, seed=2))
    flops = {}
    for contract in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                FactoredBlock,
                "_contraction_is_cheaper",
                lambda *_, contract=contract, **__: contract,
            )
            flops[contract] = _flops_of(lambda: left.mean_gram(right))
    assert flops[True] != flops[False]
    assert (flops[True] < flops[False]) == (sizes == CONTRACTED)
    assert _flops_of(lambda: left.mean_gram(right)) == min(flops.values())


@pytest.mark.parametrize("method", ["gram", "mean_gram", "cross_gram"])
@pytest.mark.parametrize("same", [False, True], ids=["others", "themselves"])
@pytest.mark.parametrize("n", [1, 8, 32])
@pytest.mark.parametrize("sizes", [*FACTORED_SIZES.values(), (1, 5, 7), (3, 40, 1), (2, 8, 8)])
def test_operations_of_any_number_of_inputs_are_foretold(sizes, n, same, method):
    """The form may change with their number; tiles of four inputs at most fit the working set."""
    t, b, a = sizes
    left, right = (factored(NUMPY, *factored_data(n=n, t=t, b=b, a=a, seed=seed)) for seed in (1, 2))
    right, q = left if same else right, left.shape[0]
    pairs = q * q if method == "cross_gram" else q
    joined = method == "mean_gram"
    with pytest.MonkeyPatch.context() as patch:
        set_working_set(patch, NUMPY, (1 if joined else pairs) * 16 * t * t)
        working_set = backend_of(left.inputs).working_set(left.inputs)
        found = _flops_of(lambda: getattr(left, method)(right))
    products = Products(
        inputs=(n, n), positions=(t, t), sides=(a, b), functionals=q, pairs=pairs, joined=joined, same=same
    )
    assert products.operations(working_set) == found


def _flops_of(action):
    recorder = LedgerRecorder()
    with recorder.stage("it"):
        action()
    return recorder.ledger()["it"].flops


@pytest.mark.parametrize("method", ["gram", "mean_gram", "cross_gram"])
@pytest.mark.parametrize("sizes", FACTORED_SIZES)
def test_both_ways_to_a_gram_matrix_agree(monkeypatch, sizes, method):
    t, b, a = FACTORED_SIZES[sizes]
    data1 = factored_data(n=5, t=t, b=b, a=a, seed=1)
    data2 = factored_data(n=3, t=t, b=b, a=a, seed=2)
    left, right = factored(NUMPY, *data1), factored(NUMPY, *data2)
    asked = []
    results = []
    for contract in (True, False):

        def decide(*_, contract=contract, **__):
            asked.append(contract)
            return contract

        monkeypatch.setattr(FactoredBlock, "_contraction_is_cheaper", decide)
        results.append(getattr(left, method)(right))
    assert asked == [True, False]
    scale = _scale(factored_dense(*data1), factored_dense(*data2))
    assert_close(*results, terms=t * t * a * b, dtype=np.float64, scale=scale)


def test_blocks_of_other_numbers_of_positions_are_comparable():
    """Two sequences of other lengths pass the same layer."""
    data1 = factored_data(n=3, t=4, b=2, a=3, seed=1)
    data2 = factored_data(n=2, t=1, b=2, a=3, seed=2)
    left, right = factored(NUMPY, *data1), factored(NUMPY, *data2)
    dense1, dense2 = factored_dense(*data1), factored_dense(*data2)
    assert_grams(left, right, dense1, dense2, terms=24, dtype=np.float64)
    assert_grams(right, left, dense2, dense1, terms=24, dtype=np.float64)


@pytest.mark.parametrize("method", ["gram", "mean_gram", "cross_gram"])
def test_blocks_of_no_positions_have_products_of_zero(library, method):
    """No row of the batch was sent to an expert."""
    none, some = (factored(library, *factored_data(n=3, t=t, b=2, a=3)) for t in (0, 2))
    for left, right in ((none, none), (none, some), (some, none)):
        product = getattr(left, method)(right)
        assert product.shape[-1] == 3
        assert not bool(namespace(product).any(product != 0))


def test_inner_products_of_indexed_blocks_equal_those_of_whole_tables(library):
    data1, data2 = (
        indexed_data(n=4, t=3, b=2, rows=5, seed=1),
        indexed_data(n=3, t=2, b=2, rows=5, seed=2),
    )
    left, right = indexed(library, *data1, rows=5), indexed(library, *data2, rows=5)
    dense1, dense2 = indexed_dense(*data1, rows=5), indexed_dense(*data2, rows=5)
    assert_grams(left, right, dense1, dense2, terms=30, dtype=float_of(library))
    assert_grams(left, left, dense1, dense1, terms=30, dtype=float_of(library))


def test_inner_products_of_dense_blocks_are_those_of_their_values(library):
    values1, values2 = draw((2, 4, 7), 1), draw((2, 3, 7), 2)
    dtype = float_of(library)
    left, right = (DenseBlock(name="b", offset=0, values=library.array(v, dtype)) for v in (values1, values2))
    assert_grams(left, right, values1, values2, terms=7, dtype=dtype)


def twelve_coordinates(kind, seed, n):
    """One block of each kind over the same 12 coordinates, and its dense values."""
    if kind is FactoredBlock:
        data = factored_data(n=n, t=3, b=4, a=3, seed=seed)
        return factored(NUMPY, *data), factored_dense(*data)
    if kind is IndexedBlock:
        data = indexed_data(n=n, t=3, b=3, rows=4, seed=seed)
        return indexed(NUMPY, *data, rows=4), indexed_dense(*data, rows=4)
    values = draw((2, n, 12), seed)
    return DenseBlock(name="d", offset=0, values=values), values


@pytest.mark.parametrize("second", [FactoredBlock, IndexedBlock, DenseBlock])
@pytest.mark.parametrize("first", [FactoredBlock, IndexedBlock, DenseBlock])
def test_blocks_of_every_two_kinds_have_inner_products(first, second):
    left, left_dense = twelve_coordinates(first, 1, n=4)
    right, right_dense = twelve_coordinates(second, 2, n=3)
    assert_grams(left, right, left_dense, right_dense, terms=9 * 12, dtype=np.float64)


@pytest.mark.parametrize("kind", [FactoredBlock, IndexedBlock, DenseBlock])
def test_dense_and_sizes_are_those_of_the_expanded_gradient(kind):
    block, dense = twelve_coordinates(kind, 1, n=4)
    assert isinstance(block, GradientBlock)
    assert block.size == 12
    assert block.shape == (2, 4)
    assert_close(block.dense(), dense, terms=3, dtype=np.float64, scale=np.max(np.abs(dense)) + 1)


@pytest.mark.parametrize("kind", [FactoredBlock, IndexedBlock, DenseBlock])
@pytest.mark.parametrize("width", [1, 5, 12, 100])
def test_chunks_reassemble_the_dense_gradient(kind, width):
    block, dense = twelve_coordinates(kind, 1, n=4)
    assembled, written = np.zeros_like(dense), np.zeros(12, dtype=int)
    for start, values in block.chunks(width):
        assert values.shape[2] <= max(width, 3)  # a row of a weight or table is never split
        assembled[:, :, start : start + values.shape[2]] += values
        written[start : start + values.shape[2]] += 1
    assert np.max(written) == 1
    assert_close(assembled, dense, terms=3, dtype=np.float64, scale=np.max(np.abs(dense)) + 1)


def test_chunks_of_a_table_are_the_rows_that_were_used(library):
    ids, cotangents = np.asarray([[7, 2], [2, 2]]), draw((1, 2, 2, 3), 1)
    block = indexed(library, ids, cotangents, rows=1000)
    chunks = {start: host(values) for start, values in block.chunks(10)}
    assert sorted(chunks) == [2 * 3, 7 * 3]
    expected = np.stack([cotangents[0, 0, 1], cotangents[0, 1, 0] + cotangents[0, 1, 1]])
    assert_close(chunks[6][0], expected, terms=2, dtype=float_of(library), scale=4)


def test_padding_of_id_minus_one_has_no_gradient():
    """The convention of adapters: id −1 with a cotangent of zero."""
    ids, cotangents = np.asarray([[1, -1], [-1, -1]]), draw((1, 2, 2, 2), 1)
    cotangents[:, ids < 0, :] = 0
    block = indexed(NUMPY, ids, cotangents, rows=3)
    expected = np.zeros((1, 2, 6))
    expected[0, 0, 2:4] = cotangents[0, 0, 0]
    np.testing.assert_array_equal(block.dense(), expected)
    np.testing.assert_allclose(block.gram(block), expected @ expected.mT, rtol=1e-15)
    assert [start for start, _ in block.chunks(100)] == [2]


@pytest.mark.parametrize("entries", [1, 20])
def test_tiles_and_pieces_of_any_size_give_the_same_inner_products(library, monkeypatch, entries):
    set_working_set(monkeypatch, library, entries)
    dtype = float_of(library)
    for t, b, a in FACTORED_SIZES.values():
        data = factored_data(n=5, t=t, b=b, a=a)
        block, dense = factored(library, *data), factored_dense(*data)
        assert_grams(block, block, dense, dense, terms=t * t * a * b, dtype=dtype)
    ids, cotangents = indexed_data(n=5, t=3, b=2, rows=6)
    block, dense = indexed(library, ids, cotangents, 6), indexed_dense(ids, cotangents, 6)
    assert_grams(block, block, dense, dense, terms=9 * 12, dtype=dtype)


@pytest.mark.parametrize("sizes", FACTORED_SIZES)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_bias_in_the_block_of_its_weight_adds_what_its_own_block_would(library, sizes, transposed):
    t, b, a = FACTORED_SIZES[sizes]
    data1, data2 = factored_data(n=5, t=t, b=b, a=a, seed=1), factored_data(n=3, t=t, b=b, a=a, seed=2)
    both, dense = [], []
    for inputs, cotangents in (data1, data2):
        block = factored(library, inputs, cotangents)
        both.append(dataclasses.replace(block, bias=True, transposed=transposed))
        weight = factored_dense(inputs, cotangents)
        if transposed:
            q, n, _ = weight.shape
            weight = np.swapaxes(weight.reshape(q, n, b, a), 2, 3).reshape(q, n, -1)
        dense.append(np.concatenate([weight, np.sum(cotangents, axis=2)], axis=2))
    assert both[0].size == dense[0].shape[2]
    settings = {"terms": t * t * a * b, "dtype": float_of(library)}
    assert_close(both[0].dense(), dense[0], **settings, scale=_scale(*dense))
    assert_grams(*both, *dense, **settings)
    assert_grams(both[0], both[0], dense[0], dense[0], **settings)


@pytest.mark.parametrize("kind", [FactoredBlock, IndexedBlock, DenseBlock])
@pytest.mark.parametrize("n", [5, 300])
def test_products_of_a_block_with_itself_are_symmetric_bit_for_bit(library, kind, n):
    """300 inputs take more than one tile or panel."""
    rng = np.random.default_rng(3)
    dtype, make = float_of(library), {}
    g = library.array(rng.normal(size=(2, n, 3, 4)), dtype)
    make[FactoredBlock] = lambda: factored(library, rng.normal(size=(n, 3, 5)), rng.normal(size=(2, n, 3, 4)))
    make[IndexedBlock] = lambda: indexed(library, rng.integers(0, 9, size=(n, 3)), rng.normal(size=(2, n, 3, 4)), 9)
    make[DenseBlock] = lambda: DenseBlock(name="b", offset=0, values=g[:, :, 0, :])
    block = make[kind]()
    each, mean, cross = (host(product(block)) for product in (block.gram, block.mean_gram, block.cross_gram))
    np.testing.assert_array_equal(each, np.swapaxes(each, 1, 2))
    np.testing.assert_array_equal(mean, mean.T)
    np.testing.assert_array_equal(cross, np.transpose(cross, (2, 3, 0, 1)))


def test_bytes_are_those_of_the_stored_arrays():
    for kind in (FactoredBlock, IndexedBlock, DenseBlock):
        block, _ = twelve_coordinates(kind, 1, n=4)
        stored = [v for v in vars(block).values() if isinstance(v, np.ndarray)]
        assert block.nbytes == sum(v.nbytes for v in stored), kind


def test_gradients_of_a_wide_layer_are_never_expanded(
    monkeypatch,
):
    """Four million coordinates at one position: contraction needs only both factors."""
    expanded = []
    monkeypatch.setattr(FactoredBlock, "chunks", lambda *_: expanded.append(1))
    inputs, cotangents = factored_data(n=3, t=1, b=2048, a=2048, q=1)
    block = factored(NUMPY, inputs, cotangents)
    expected = (inputs[:, 0] @ inputs[:, 0].T) * (cotangents[0, :, 0] @ cotangents[0, :, 0].T)
    scale = np.max(np.abs(expected))
    assert_close(block.gram(block)[0], expected, terms=2048, dtype=np.float64, scale=scale)
    assert not expanded


def test_shape_checks_refuse_factors_of_other_numbers_of_inputs():
    with pytest.raises(jaxtyping.TypeCheckError, match="cotangents"):
        FactoredBlock(name="w", offset=0, inputs=np.ones((3, 1, 2)), cotangents=np.ones((1, 4, 1, 2)))
