"""SRHT, TensorSketch, Kronecker, Mask and Mixed against their definitions, written out entry by entry."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from dntk.random import normals, words
from dntk.sketch import SRHT, Kronecker, LayoutSketch, Mask, Mixed, ParameterMatrix, Sketch, TensorSketch
from dntk.sketch.base import BlockSketch, StreamSketch
from dntk.sketch.layout import layout_of_shapes
from dntk.sketch.srht import hadamard
from tests.libraries import Library, host

NUMPY = Library("numpy", "numpy")
SHAPES = {"w1": (5, 4), "b1": (5,), "conv": (3, 2, 2, 1), "s": (), "w2": (2, 7)}
LAYOUT = layout_of_shapes(SHAPES)
SIZE = 52
BOUND = [
    TensorSketch(12, seed=3).bound(LAYOUT),
    TensorSketch(7, seed=3).bound(LAYOUT),
    Kronecker(3, 4, seed=3).bound(LAYOUT),
    Kronecker(4, 5, seed=3).bound(LAYOUT),
    Mask(12, seed=3, n_parameters=SIZE),
    Mixed(12, inner=3, seed=3).bound(LAYOUT),
    Mixed(11, inner=3, seed=3, widths=(("w2", 5), ("conv", 4))).bound(LAYOUT),
    SRHT(12, width=16, seed=3, n_parameters=SIZE),
]


def matrix(sketch, size=SIZE, dtype=np.float64, library=NUMPY):
    """S (k, P): the identity's rows, sketched."""
    return host(sketch.apply(library.array(np.eye(size), dtype))).T


def names(sketch):
    return f"{type(sketch).__name__}-{sketch.dim}"


@pytest.mark.parametrize("sketch", BOUND, ids=names)
def test_bound_sketch_is_a_sketch(sketch):
    assert isinstance(sketch, Sketch)
    assert sketch.n_parameters == SIZE
    assert isinstance(sketch, LayoutSketch) == hasattr(sketch, "layout")
    assert isinstance(sketch, BlockSketch) == (not isinstance(sketch, SRHT))
    assert isinstance(sketch, StreamSketch) == isinstance(sketch, Mixed | TensorSketch)


@pytest.mark.parametrize("sketch", BOUND, ids=names)
def test_same_seed_is_the_same_matrix_on_every_library_and_device(library, monkeypatch, sketch):
    expected = matrix(sketch, dtype=np.float32)
    for on_host in (True, False):
        monkeypatch.setattr("dntk.random.streams.in_host_memory", lambda _, on_host=on_host: on_host)
        here = matrix(sketch, SIZE, np.float32, library)
        assert here.dtype == np.float32
        # Products with Gaussian factors, and with rows of R, round; every other entry is one number times ±1.
        rounds = isinstance(sketch, Kronecker | Mixed)
        slack = 16 * np.finfo(np.float32).eps * np.max(np.abs(expected)) if rounds else 0
        np.testing.assert_allclose(here, expected, rtol=0, atol=slack)
        back = sketch.adjoint(library.array(np.eye(sketch.dim), np.float32))
        np.testing.assert_allclose(host(back), expected, rtol=0, atol=slack)


@pytest.mark.parametrize("sketch", BOUND, ids=names)
@pytest.mark.parametrize("entries", [1, 30, 100])
def test_chunk_size_does_not_change_the_matrix(monkeypatch, sketch, entries):
    whole, module = matrix(sketch), type(sketch).__module__
    monkeypatch.setattr(f"{module}.CHUNK_ENTRIES", entries)
    assert sketch.chunk_width(40) <= 16
    np.testing.assert_allclose(matrix(sketch), whole, rtol=0, atol=1e-15)
    np.testing.assert_allclose(sketch.adjoint(np.eye(sketch.dim)), whole, rtol=0, atol=1e-15)


@pytest.mark.parametrize("sketch", BOUND, ids=names)
def test_seeds_differ(sketch):
    first = matrix(sketch)
    for seed in (0, 4, 2**62):
        other = matrix(dataclasses.replace(sketch, seed=seed))
        assert np.max(np.abs(first - other)) > 0.1


def test_tensor_sketch_is_the_documented_map():
    """Row i and column j of a matrix use the words offset + i and offset + j of two streams."""
    for dim in (7, 12):
        drawn = {s: words(seed=3, stream=f"tensor-sketch-{s}", start=0, count=64) for s in ("rows", "columns")}
        expected, coordinate = np.zeros((dim, SIZE)), 0
        for shape in SHAPES.values():
            offset = coordinate
            rows, columns = (shape[0] if shape else 1), math.prod(shape[1:])
            for i, j in np.ndindex(rows, columns):
                first, second = int(drawn["rows"][offset + i]), int(drawn["columns"][offset + j])
                row = (((first >> 1) * dim >> 31) + ((second >> 1) * dim >> 31)) % dim
                expected[row, coordinate] = 1 if first % 2 == second % 2 else -1
                coordinate += 1
        np.testing.assert_array_equal(matrix(TensorSketch(dim, seed=3).bound(LAYOUT)), expected)


def side(stream, offset, length, dim):
    """One factor (dim, length) of a Kronecker sketch with seed 3, dim ≤ 8."""
    if length <= dim:
        drawn = words(seed=3, stream=f"kronecker-{stream}-placed", start=offset * 8, count=8)[:dim].astype(int)
        out = np.zeros((dim, length))
        for i, place in enumerate(np.argsort(drawn >> 1)[:length]):
            out[place, i] = 1 if drawn[place] % 2 else -1
        return out
    draws = normals(seed=3, stream=f"kronecker-{stream}", start=offset * 8, count=length * 8, dtype=np.float64)
    return draws.reshape(length, 8)[:, :dim].T / dim**0.5


@pytest.mark.parametrize("dims", [(3, 4), (4, 5), (2, 2), (8, 8), (1, 1)])
def test_kronecker_is_the_documented_map(dims):
    blocks, offset = [], 0
    for shape in SHAPES.values():
        rows, columns = (shape[0] if shape else 1), math.prod(shape[1:])
        blocks.append(np.kron(side("rows", offset, rows, dims[0]), side("columns", offset, columns, dims[1])))
        offset += rows * columns
    actual = matrix(Kronecker(*dims, seed=3).bound(LAYOUT))
    np.testing.assert_allclose(actual, np.concatenate(blocks, axis=1), rtol=0, atol=1e-14)


def mixed_part(matrix, dim, width, seed=3):
    """Columns of the map of seed ``seed`` that belong to one matrix, entry by entry."""
    out = np.zeros((dim, matrix.rows, matrix.columns))
    if width >= matrix.columns:
        drawn = words(seed=seed, stream="mixed-hash", start=0, count=64).astype(int)
        for r, c in np.ndindex(matrix.rows, matrix.columns):
            word = drawn[matrix.offset + r * matrix.columns + c]
            out[(word >> 1) * dim >> 31, r, c] = 1 if word % 2 else -1
        return out.reshape(dim, -1)

    def signs(stream, row):  # one counter of eight words to a row of at most 256 signs
        drawn = words(seed=seed, stream=f"mixed-{stream}-{width}", start=8 * int(row), count=8)
        return np.array([1 if int(drawn[j // 32]) >> (j % 32) & 1 else -1 for j in range(width)])

    def order(stream, count):
        return np.argsort(words(seed=seed, stream=f"mixed-{stream}-{matrix.offset}", start=0, count=64)[:count])

    blocks = order("blocks", dim // width)
    for position, r in enumerate(order("rows", matrix.rows)):
        first = blocks[position % len(blocks)] * width
        for c in range(matrix.columns):
            reduced = signs("columns", matrix.offset + c) * width**-0.5
            out[first : first + width, r, c] = signs("signs", matrix.offset + r) * reduced
    return out.reshape(dim, -1)


@pytest.mark.parametrize("sketch", [s for s in BOUND if isinstance(s, Mixed)], ids=names)
def test_mixed_is_the_documented_map(sketch):
    widths = {"w1": 3, "conv": 3, "w2": 3, "b1": 3, "s": 3} | dict(sketch.widths)
    expected = np.concatenate([mixed_part(m, sketch.dim, widths[m.name]) for m in LAYOUT], axis=1)
    np.testing.assert_allclose(matrix(sketch), expected, rtol=0, atol=1e-15)


def test_mixed_leaves_matrices_alone_that_are_no_wider_than_their_width():
    widths = {m.name: Mixed(12, inner=4, widths=(("w2", 7), ("conv", 2))).width_of(m) for m in LAYOUT}
    assert widths == {"w1": None, "b1": None, "conv": 2, "s": None, "w2": None}


def test_the_first_rows_of_a_matrix_never_meet_in_a_mixed_sketch():
    layout = layout_of_shapes({"w": (7, 9)})
    for seed in range(50):
        used = matrix(Mixed(28, inner=4, seed=seed).bound(layout), 63).reshape(7, 4, 7, 9).any(axis=(1, 3))
        np.testing.assert_array_equal(np.sum(used, axis=0), 1)  # one block a row
        np.testing.assert_array_equal(np.sum(used, axis=1), 1)  # one row a block


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("inner", [0, True, 2.5])
def test_widths_of_a_mixed_sketch_are_positive_integers(inner):
    with pytest.raises(ValueError, match=f"`inner` must be a positive integer, got {inner!r}"):
        Mixed(12, inner=inner)
    with pytest.raises(ValueError, match=f"`w1` must be a positive integer, got {inner!r}"):
        Mixed(12, inner=4, widths=(("w1", inner),))


def test_widths_of_a_mixed_sketch_fit_the_sketch_and_the_model():
    with pytest.raises(ValueError, match="`inner`=13 exceeds dim=12"):
        Mixed(12, inner=13)
    with pytest.raises(ValueError, match="`widths` names 'other', which is no parameter"):
        Mixed(12, inner=3, widths=(("other", 4),)).bound(LAYOUT)
    with pytest.raises(ValueError, match="`widths` has 5 for 'w2': pass at most dim=4, or its 7"):
        Mixed(4, inner=3, widths=(("w2", 5),)).bound(LAYOUT)


def test_kronecker_keeps_matrices_that_fit_exactly():
    whole = matrix(Kronecker(5, 7).bound(LAYOUT))
    for part in LAYOUT:
        columns = whole[:, part.offset : part.stop]
        np.testing.assert_array_equal(columns.T @ columns, np.eye(columns.shape[1]))


@pytest.mark.parametrize(("dim", "size"), [(12, 52), (1, 52), (7, 8), (52, 52), (60, 52), (500, 3)])
def test_mask_keeps_one_coordinate_of_every_range(dim, size):
    dense = matrix(Mask(dim, seed=3), size)
    for row, (start, stop) in enumerate((size * i // dim, size * (i + 1) // dim) for i in range(dim)):
        (kept,) = np.nonzero(dense[row])
        assert len(kept) == min(1, stop - start)
        assert np.all((start <= kept) & (kept < stop))
        np.testing.assert_allclose(dense[row, kept], (stop - start) ** 0.5, rtol=1e-15)
    if dim >= size:
        np.testing.assert_array_equal(dense.T @ dense, np.eye(size))


def test_every_coordinate_of_a_range_is_kept_equally_often():
    counts = np.zeros(20)
    for seed in range(2000):
        counts += matrix(Mask(2, seed=seed), 20).any(axis=0)
    chi = np.sum((counts - 200) ** 2 / 200)
    assert chi < scipy.stats.chi2.isf(1e-9, 18)


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_hadamard_transform_is_the_matrix(library, size):
    x = np.random.default_rng(0).normal(size=(3, 2, size)).astype(np.float32)
    expected = x.astype(np.float64) @ scipy.linalg.hadamard(size)
    slack = 2 * size * np.finfo(np.float32).eps * np.max(np.sum(np.abs(x), axis=-1))
    np.testing.assert_allclose(host(hadamard(library.array(x))), expected, rtol=0, atol=slack)


@pytest.mark.parametrize(("dim", "width"), [(12, 16), (16, 16), (1, 1), (5, 64)])
def test_srht_is_the_documented_map(dim, width):
    dense = matrix(SRHT(dim, width=width, seed=3))
    order = np.argsort(words(seed=3, stream="srht-sample", start=0, count=max(8, width))[:width], kind="stable")[:dim]
    for block in range(-(-SIZE // width)):
        drawn = {s: words(seed=3, stream=f"srht-{s}", start=8 * block, count=8) for s in ("coordinates", "rows")}
        signs = {s: [1 if int(d[i // 32]) >> (i % 32) & 1 else -1 for i in range(64)] for s, d in drawn.items()}
        expected = scipy.linalg.hadamard(width)[order] * signs["coordinates"][:width] * dim**-0.5
        expected = np.asarray(signs["rows"][:dim])[:, None] * expected
        here = dense[:, block * width : (block + 1) * width]
        np.testing.assert_allclose(here, expected[:, : here.shape[1]], rtol=1e-15)


@pytest.mark.parametrize("size", [64, 40, 1])
def test_srht_with_all_rows_of_one_block_is_an_isometry(size):
    dense = matrix(SRHT(64, width=64, seed=1), size)
    np.testing.assert_allclose(dense.T @ dense, np.eye(size), atol=1e-14)


def test_first_coordinates_of_srht_blocks_are_not_parallel():
    """Their Hadamard column is constant: only the signs of the rows tell blocks apart."""
    dense = matrix(SRHT(64, width=64), 64 * 20)[:, ::64]
    products = np.abs(dense.T @ dense - np.eye(20))
    assert np.max(products) < 0.8  # 7 σ of 1/8 is 0.87; parallel ones have 1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("width", [8, 17, 0, True, 16.0])
def test_widths_that_are_no_power_of_two_of_at_least_dim_are_refused(width):
    with pytest.raises(ValueError, match="`width` must be a power of two of at least dim=12"):
        SRHT(12, width=width)


def test_default_width_is_a_power_of_two_of_at_least_4096():
    assert [SRHT(dim).width for dim in (1, 4096, 4097, 8192)] == [4096, 4096, 8192, 8192]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "value"), [("row_dim", 0), ("column_dim", 2.0), ("row_dim", True)])
def test_sides_of_a_kronecker_sketch_are_positive_integers(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer, got {value!r}"):
        Kronecker(**{"row_dim": 3, "column_dim": 4, name: value})


@pytest.mark.parametrize("sketch", [TensorSketch(12), Kronecker(3, 4), Mixed(12, 3)], ids=names)
def test_maps_of_matrices_ask_to_be_bound(sketch):
    for use in (lambda: sketch.apply(np.ones((1, 5))), lambda: sketch.adjoint(np.ones((1, 12)), n_parameters=5)):
        with pytest.raises(ValueError, match=r"bind it first, with sketch\.bound\(dntk\.sketch\.layout_of\(model\)\)"):
            use()


@pytest.mark.parametrize("sketch", [TensorSketch(12), Kronecker(3, 4), Mixed(12, 3)], ids=names)
def test_layouts_are_checked(sketch):
    bound = sketch.bound(LAYOUT)
    assert bound.bound(LAYOUT) == bound
    other = layout_of_shapes({"one": (26, 2)})
    with pytest.raises(ValueError, match="bound to the parameters of another model"):
        bound.bound(other)
    with pytest.raises(ValueError, match="`layout` is empty"):
        sketch.bound(())
    with pytest.raises(ValueError, match="`layout` has .* where coordinate 0 begins"):
        sketch.bound((ParameterMatrix("w", 3, 2, 2),))
    with pytest.raises(ValueError, match="`gradients` has 51 coordinates"):
        bound.apply(np.ones((1, 51)))


def test_mask_asks_for_the_number_of_parameters():
    for use in (lambda: Mask(3).columns(np.ones((1, 5)), 0), lambda: Mask(3).error(5)):
        with pytest.raises(ValueError, match="pass n_parameters=P"):
            use()


def test_errors_of_maps_without_a_band_come_from_their_variances():
    sure = {"confidence": 0.99}
    assert float(TensorSketch(400).error(9, **sure)) == pytest.approx(math.sqrt(6.01 / 400 / 0.01))
    assert float(Kronecker(10, 40).error(9, **sure)) == pytest.approx(math.sqrt((2 / 40 + 2 / 10 + 4 / 400) / 0.01))
    assert float(Mask(10, n_parameters=91).error(9, **sure)) == pytest.approx(math.sqrt(9 / 0.01))
    assert float(Mask(91, n_parameters=91).error(9, **sure)) == 0
    assert float(Mixed(400, 50).error(9, **sure)) == pytest.approx(math.sqrt((2 / 50 + 6 / 400) / 0.01))
    assert float(Mixed(400, 50).bound(LAYOUT).error(9, **sure)) == pytest.approx(math.sqrt(2 / 400 / 0.01))
    assert float(Mixed(11, 3).bound(LAYOUT).error(9, **sure)) == pytest.approx(math.sqrt((2 / 3 + 6 / 9) / 0.01))
    assert SRHT(400).error(9).kind == "empirical"
    for sketch in (TensorSketch(400), Kronecker(10, 40), Mask(10, n_parameters=91)):
        assert sketch.error(9).kind == "probabilistic"
