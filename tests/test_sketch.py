"""Sketches as matrices: the same on every library, of the documented structure and distribution."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.stats

from dntk.random import normals, words
from dntk.sketch import Gaussian, Rademacher, Sketch, SparseSign
from tests.libraries import Library, host

NUMPY = Library("numpy", "numpy")
SKETCHES = [Gaussian(12, seed=3), Rademacher(12, seed=3), SparseSign(12, nonzeros=5, seed=3)]
# Failure probability of every statistical test of this file, at its fixed seed.
FAILURE = 1e-9


def matrix(sketch, size, dtype=np.float64, library=NUMPY):
    """S (k, P): the identity's rows, sketched."""
    return host(sketch.apply(library.array(np.eye(size), dtype))).T


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_sketch_is_a_sketch(sketch):
    assert isinstance(sketch, Sketch)
    assert sketch.dim == 12
    assert sketch.n_parameters is None


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_same_seed_is_the_same_matrix_on_every_library(library, sketch):
    """Bit for bit: a row of the identity adds zeros to one entry of the matrix."""
    here = matrix(sketch, 9, np.float32, library)
    assert here.dtype == np.float32
    np.testing.assert_array_equal(here, matrix(sketch, 9, np.float32))


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_both_precisions_have_one_matrix_to_rounding(sketch):
    difference = matrix(sketch, 500, np.float32) - matrix(sketch, 500)
    # Box and Muller's radius √(−2 ln u) has an error of eps/radius in float32: √(2 eps) at worst.
    assert np.max(np.abs(difference)) <= np.sqrt(2 * np.finfo(np.float32).eps) * 12**-0.5


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("entries", [1, 30, 100])
def test_chunk_size_does_not_change_the_matrix(monkeypatch, sketch, entries):
    whole, adjoint = matrix(sketch, 40), sketch.adjoint(np.eye(12), n_parameters=40)
    for module in ("gaussian", "rademacher", "sparse_sign"):
        monkeypatch.setattr(f"dntk.sketch.{module}.CHUNK_ENTRIES", entries)
    assert sketch.chunk_width(40) <= entries // 12 + 1
    np.testing.assert_array_equal(matrix(sketch, 40), whole)
    np.testing.assert_array_equal(sketch.adjoint(np.eye(12), n_parameters=40), adjoint)


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_first_columns_do_not_depend_on_the_number_of_parameters(sketch):
    np.testing.assert_array_equal(matrix(sketch, 50)[:, :20], matrix(sketch, 20))


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_seeds_differ(sketch):
    first = matrix(sketch, 20)
    for seed in (0, 4, 2**62):
        other = matrix(dataclasses.replace(sketch, seed=seed), 20)
        assert np.mean(first == other) < 0.9  # most entries of a sparse sketch are zero in both
        assert np.max(np.abs(first - other)) > 0.1


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_apply_is_linear_over_any_leading_axes(library, sketch):
    dtype = np.float64 if library.has_float64 else np.float32
    gradients = draw((2, 3, 30)).astype(dtype)
    expected = gradients @ matrix(sketch, 30, dtype).T
    rounding = 8 * 30 * np.finfo(dtype).eps
    actual = sketch.apply(library.array(gradients))
    assert host(actual).dtype == dtype
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=rounding)
    one = sketch.apply(library.array(gradients[1, 2]))
    assert tuple(one.shape) == (12,)
    np.testing.assert_allclose(host(one), expected[1, 2], rtol=0, atol=rounding)


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_adjoint_is_the_transposed_matrix(library, sketch):
    actual = sketch.adjoint(library.array(np.eye(12), np.float32), n_parameters=20)
    np.testing.assert_array_equal(host(actual), matrix(sketch, 20, np.float32))
    bound = dataclasses.replace(sketch, n_parameters=20)
    deep = bound.adjoint(library.array(draw((2, 3, 12)), np.float32))
    assert tuple(deep.shape) == (2, 3, 20)
    expected = draw((2, 3, 12)).astype(np.float32) @ matrix(sketch, 20, np.float32)
    bound = 8 * 12 * np.finfo(np.float32).eps * np.max(np.abs(expected))
    np.testing.assert_allclose(host(deep), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("sketch", [Gaussian(40), Rademacher(40), SparseSign(40)], ids=lambda s: type(s).__name__)
def test_more_coordinates_than_parameters_are_possible(sketch):
    gradients = draw((5, 3))
    expected = gradients @ matrix(sketch, 3).T
    assert expected.shape == (5, 40)
    np.testing.assert_allclose(sketch.apply(gradients), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_draws_on_another_device_are_those_of_the_host(library, monkeypatch, sketch):
    on_host = matrix(sketch, 9, np.float32, library)
    monkeypatch.setattr("dntk.random.streams.in_host_memory", lambda _: False)
    np.testing.assert_array_equal(matrix(sketch, 9, np.float32, library), on_host)
    back = sketch.adjoint(library.array(np.eye(12), np.float32), n_parameters=9)
    np.testing.assert_array_equal(host(back), on_host)


@pytest.mark.parametrize(("dim", "nonzeros"), [(8, 8), (12, 5), (64, 8), (100, 7), (33, 1), (40, 12)])
def test_every_coordinate_has_one_signed_entry_in_each_block_of_rows(dim, nonzeros):
    dense = matrix(SparseSign(dim, nonzeros=nonzeros, seed=1), 200)
    edges = [dim * block // nonzeros for block in range(nonzeros + 1)]
    entries = np.abs(dense[dense != 0])
    np.testing.assert_allclose(entries, nonzeros**-0.5, rtol=4 * np.finfo(np.float64).eps)
    for start, stop in itertools.pairwise(edges):
        np.testing.assert_array_equal(np.count_nonzero(dense[start:stop], axis=0), 1)
    np.testing.assert_allclose(np.sum(dense**2, axis=0), 1, rtol=1e-14)


def sparse_rows_and_signs():
    """Row within its block of 8, and sign, of 3 nonzeros of 20,000 coordinates."""
    sketch = SparseSign(24, nonzeros=3, seed=7)
    dense = sketch.adjoint(np.eye(24), n_parameters=20_000).reshape(3, 8, -1)
    return np.argmax(dense != 0, axis=1), np.sum(dense, axis=1) > 0


def test_rows_and_signs_of_a_sparse_sketch_are_uniform():
    rows, signs = sparse_rows_and_signs()
    for block in range(3):
        assert scipy.stats.chisquare(np.bincount(rows[block], minlength=8)).pvalue > FAILURE
        assert scipy.stats.chisquare(np.bincount(signs[block], minlength=2)).pvalue > FAILURE


def test_rows_and_signs_of_a_sparse_sketch_are_independent():
    rows, signs = sparse_rows_and_signs()
    pairs = [(rows[0], rows[1]), (rows[0], signs[0]), (signs[0], signs[1]), (rows[1], signs[2])]
    pairs += [(rows[2][:-1], rows[2][1:]), (signs[2][:-1], signs[2][1:])]
    for first, second in pairs:
        table = np.zeros((8, 8))
        np.add.at(table, (first.astype(int), second.astype(int)), 1)
        table = table[np.any(table, axis=1)][:, np.any(table, axis=0)]
        assert scipy.stats.chi2_contingency(table).pvalue > FAILURE


@pytest.mark.parametrize("dim", [5, 64, 99])
def test_entries_of_a_gaussian_sketch_are_normal_of_variance_one_over_dim(dim):
    entries = matrix(Gaussian(dim, seed=2), 1000) * dim**0.5
    assert scipy.stats.kstest(entries.reshape(-1), "norm").pvalue > FAILURE


def test_gaussian_entries_are_the_documented_draws():
    """Coordinate j uses the normals from j times k rounded up to eight on."""
    drawn = normals(seed=5, stream="gaussian", start=0, count=6 * 16, dtype=np.float64)
    expected = drawn.reshape(6, 16)[:, :13].T * 13**-0.5
    np.testing.assert_allclose(matrix(Gaussian(13, seed=5), 6), expected, rtol=4e-16)


def test_sparse_entries_are_the_documented_draws():
    """Coordinate j uses the words from j times s rounded up to eight on: last bit sign, others row."""
    drawn = words(seed=5, stream="sparse-sign", start=0, count=6 * 16).reshape(6, 16)
    expected = np.zeros((32, 6))
    for j, block in np.ndindex(6, 10):
        start, stop = 32 * block // 10, 32 * (block + 1) // 10
        word = int(drawn[j, block])
        row = start + (word // 2) * (stop - start) // 2**31
        expected[row, j] = (1 if word % 2 else -1) * 10**-0.5
    np.testing.assert_array_equal(matrix(SparseSign(32, nonzeros=10, seed=5), 6), expected)


@pytest.mark.parametrize("kind", [Gaussian, Rademacher, SparseSign])
def test_inner_products_are_kept_in_expectation_with_the_documented_variance(kind):
    u, v = draw(30, 1), draw(30, 2)
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    products, trials, dim = [], 400, 64
    for seed in range(trials):
        su, sv = kind(dim, seed=seed).apply(np.stack([u, v]))
        products.append(su @ sv)
    variance = 1 + (u @ v) ** 2 - (0 if kind is Gaussian else 2 * np.sum(u**2 * v**2))
    variance /= dim
    # Means of 400 bounded-moment products: normal to well below the distance of 6.2 σ from 7.
    assert abs(np.mean(products) - u @ v) < 7 * (variance / trials) ** 0.5
    # A mean square of nearly normal numbers has relative deviation √(2/400) = 0.07, one of heavier
    # tails (kurtosis below 6 here) 0.11.
    assert 0.5 < np.mean((np.asarray(products) - u @ v) ** 2) / variance < 1.8


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", [Gaussian, Rademacher, SparseSign])
@pytest.mark.parametrize("dim", [0, -1, 2.5, True, "64"])
def test_dimensions_that_are_no_positive_integer_are_refused(kind, dim):
    with pytest.raises(ValueError, match=r"`dim` must be a positive integer, got"):
        kind(dim)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("nonzeros", [0, -1, 17])
def test_numbers_of_nonzeros_outside_one_to_dim_are_refused(nonzeros):
    with pytest.raises(ValueError, match=rf"`nonzeros` must be an integer from 1 to dim=16, got {nonzeros}"):
        SparseSign(16, nonzeros=nonzeros)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("nonzeros", [2.5, True])
def test_numbers_of_nonzeros_that_are_no_integer_are_refused(nonzeros):
    with pytest.raises((ValueError, TypeError), match="`nonzeros`"):
        SparseSign(16, nonzeros=nonzeros)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", [Gaussian, Rademacher, SparseSign])
def test_seeds_and_numbers_of_parameters_are_validated(kind):
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        kind(16, seed=-1)
    with pytest.raises(ValueError, match="`n_parameters` must be positive, got 0"):
        kind(16, n_parameters=0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_unbound_adjoint_asks_for_the_number_of_parameters(sketch):
    with pytest.raises(ValueError, match=r"pass n_parameters=P, or use the bound sketch .*phi\.sketch"):
        sketch.adjoint(np.ones((1, 12)))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_bound_sketch_refuses_another_number_of_parameters(sketch):
    bound = dataclasses.replace(sketch, n_parameters=20)
    with pytest.raises(ValueError, match=r"`gradients` has 21 coordinates.*bound to 20 .*another model"):
        bound.apply(np.ones((1, 21)))
    with pytest.raises(ValueError, match="n_parameters=21, but the sketch is bound to 20"):
        bound.adjoint(np.ones((1, 12)), n_parameters=21)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_adjoint_refuses_vectors_of_another_dimension(sketch):
    with pytest.raises(ValueError, match="`z` has 13 coordinates, but the sketch has dim=12"):
        sketch.adjoint(np.ones((1, 13)), n_parameters=20)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_integer_gradients_are_refused(sketch):
    with pytest.raises(TypeError, match="`gradients` has dtype int64"):
        sketch.apply(np.ones((1, 20), dtype=np.int64))
