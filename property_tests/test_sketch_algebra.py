"""A sketch is one linear map: adjointness, linearity, pieces of coordinates, libraries.

For S fixed by (kind, k, seed), and |S| its entries' magnitudes:

    ⟨Sx, z⟩ = ⟨x, Sᵀz⟩,   S(ax + y) = aSx + Sy,   S = Σ over pieces of coordinates.

Rounding, rigorous for every order of summation: |fl(Sx) − Sx| ≤ γ_{P+3} |S||x| entrywise. Draws
themselves are equal bit for bit across libraries, devices, pieces and numbers of rows, in one
dtype. On random rows of P = 4,096 roundings average out: where
every sum runs over T terms one after another, the slowest order, their expected norm is
√(T/24)·eps·‖φ‖ (uniform errors of half a unit in each partial sum; Higham and Mary 2019), and four
times that is allowed. Blocked summation stays below 4√(log₂ P)·eps·‖φ‖, but PyTorch sums the
products of few rows one by one.
"""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dntk
from dntk.sketch import SRHT, Gaussian, Rademacher, SparseSign
from property_tests.allowances import eps, gamma
from property_tests.networks import networks
from property_tests.strategies import dtypes_of, for_libraries, host64, seeds
from tests.libraries import LIBRARIES, host

NUMPY = LIBRARIES[0]
KINDS = ["gaussian", "rademacher", "sparse-sign", "count-sketch", "srht"]
SIZES = [1, 5, 60]


def make(kind, dim, seed):
    return {
        "gaussian": Gaussian(dim, seed=seed),
        "rademacher": Rademacher(dim, seed=seed),
        "sparse-sign": SparseSign(dim, nonzeros=min(8, dim), seed=seed),
        "count-sketch": SparseSign(dim, nonzeros=1, seed=seed),
        "srht": SRHT(dim, width=1 << (dim - 1).bit_length(), seed=seed),
    }[kind]


def rows_of(number, size, dtype, seed):
    """Rows of very different magnitudes, zeros among them."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((number, size)) * 10.0 ** rng.uniform(-4, 4, (number, size))
    return np.where(rng.random((number, size)) < 0.2, 0, rows).astype(dtype)


def matrix_of(sketch, size, dtype):
    """S (P, k) transposed, on the host, in float64: products with the identity are exact."""
    return sketch.apply(np.eye(size, dtype=dtype)).astype(np.float64)


def cases(library):
    return st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from([8, 19]),
        seeds(),
        st.sampled_from([60] if library.module == "jax" else SIZES),
        st.sampled_from(dtypes_of(library)),
    )


@for_libraries(case=cases, values=st.integers(0, 2**32 - 1))
def test_sketch_is_the_same_matrix_on_every_library(library, case, values):
    kind, dim, seed, size, dtype = case
    sketch = make(kind, dim, seed)
    exact = matrix_of(sketch, size, dtype)
    assert np.array_equal(host64(sketch.apply(library.array(np.eye(size), dtype))), exact)
    back = sketch.adjoint(library.array(np.eye(dim), dtype), n_parameters=size)
    assert np.array_equal(host64(back), exact.T)
    rows = rows_of(3, size, dtype, values)
    out = host(sketch.apply(library.array(rows)))
    assert out.dtype == dtype
    wide = rows.astype(np.float64)
    assert np.all(np.abs(out - wide @ exact) <= gamma(size + 3, dtype) * (np.abs(wide) @ np.abs(exact)))


def pieces(library):
    return st.just({33}) if library.module == "jax" else st.sets(st.sampled_from([1, 2, 4, 33]))


@functools.cache
def long_matrix(kind, seed):
    return matrix_of(make(kind, 64, seed), 4096, "float32")


@for_libraries(
    kind=st.sampled_from(["gaussian", "rademacher", "sparse-sign"]),
    seed=st.sampled_from([0, 1]),
    values=st.integers(0, 2**32 - 1),
)
def test_parity_on_long_rows(library, kind, seed, values):
    rows = np.random.default_rng(values).standard_normal((2, 4096)).astype("float32")
    wide = rows.astype(np.float64)
    found = host64(make(kind, 64, seed).apply(library.array(rows)))
    difference = np.linalg.norm(found - wide @ long_matrix(kind, seed), axis=1)
    terms = 4096 * 8 // 64 if kind == "sparse-sign" else 4096
    bound = 4 * math.sqrt(terms / 24) * eps("float32")
    assert np.all(difference <= bound * np.linalg.norm(wide, axis=1))


@for_libraries(case=cases, values=st.integers(0, 2**32 - 1))
def test_adjoint(library, case, values):
    kind, dim, seed, size, dtype = case
    sketch = make(kind, dim, seed)
    x, z = rows_of(2, size, dtype, values), rows_of(2, dim, dtype, values + 1)
    forward = host64(sketch.apply(library.array(x)))
    backward = host64(sketch.adjoint(library.array(z), n_parameters=size))
    left = np.sum(forward * z, axis=1)
    right = np.sum(x.astype(np.float64) * backward, axis=1)
    magnitudes = np.abs(x).astype(np.float64) @ np.abs(matrix_of(sketch, size, dtype))
    slack = 2 * gamma(size + dim + 6, dtype) * np.sum(magnitudes * np.abs(z), axis=1)
    assert np.all(np.abs(left - right) <= slack)


@for_libraries(case=cases, values=st.integers(0, 2**32 - 1), factor=st.sampled_from([0.0, -1.0, 0.3, 1e5]))
def test_linear(library, case, values, factor):
    kind, dim, seed, size, dtype = case
    sketch = make(kind, dim, seed)
    x, y = rows_of(2, size, dtype, values), rows_of(2, size, dtype, values + 1)
    mixed = (factor * x.astype(np.float64) + y).astype(dtype)
    out = [host64(sketch.apply(library.array(v))) for v in (x, y, mixed)]
    magnitudes = (abs(factor) * np.abs(x) + np.abs(y)).astype(np.float64)
    # One rounding more, of the combination itself.
    slack = 2 * gamma(size + 5, dtype) * (magnitudes @ np.abs(matrix_of(sketch, size, dtype)))
    assert np.all(np.abs(factor * out[0] + out[1] - out[2]) <= slack)


@for_libraries(case=cases, values=st.integers(0, 2**32 - 1), cuts=pieces)
def test_pieces_of_coordinates_add_up(library, case, values, cuts):
    kind, dim, seed, size, dtype = case
    sketch = make(kind, dim, seed)
    edges = [0, *sorted(c for c in cuts if c < size), size]
    rows, identity = rows_of(2, size, dtype, values), np.eye(size, dtype=dtype)
    exact = matrix_of(sketch, size, dtype)
    total = 0
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        piece = sketch.columns(library.array(identity[start:stop, start:stop]), start)
        assert np.array_equal(host64(piece), exact[start:stop])
        total = total + host64(sketch.columns(library.array(rows[:, start:stop].copy()), start))
    slack = gamma(size + 3, dtype) * (np.abs(rows).astype(np.float64) @ np.abs(exact))
    assert np.all(np.abs(total - rows.astype(np.float64) @ exact) <= slack)


@pytest.mark.parametrize("seed", [0, 2**63])
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_that_begin_in_a_later_block_have_its_rows(kind, seed):
    sketch, identity = make(kind, 8, seed), np.eye(60)
    exact = matrix_of(sketch, 60, "float64")
    for start, stop in ((0, 33), (8, 16), (33, 60), (56, 60)):
        assert np.array_equal(sketch.columns(identity[start:stop, start:stop], start), exact[start:stop])


@given(
    kind=st.sampled_from(KINDS),
    seed=seeds(),
    entries=st.sampled_from([1, 30, 200, 2**24]),
    network=networks(NUMPY),
)
def test_chunk_width_and_model_blocks_do_not_matter(kind, seed, entries, network):
    sketch = make(kind, 16, seed)
    whole = dntk.tangent_features(network.model, network.x, sketch=None)
    exact = matrix_of(sketch, network.model.n_parameters, network.dtype)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("gaussian", "rademacher", "sparse_sign", "srht"):
            patch.setattr(f"dntk.sketch.{module}.CHUNK_ENTRIES", entries)
        phi = dntk.tangent_features(network.model, network.x, sketch=sketch)
        applied = sketch.apply(whole.values)
        assert np.array_equal(matrix_of(sketch, network.model.n_parameters, network.dtype), exact)
    dense = host64(whole.values)
    slack = gamma(dense.shape[2] + 6, network.dtype) * (np.abs(dense) @ np.abs(exact))
    assert np.all(np.abs(host64(phi.values) - dense @ exact) <= slack)
    assert np.all(np.abs(host64(applied) - dense @ exact) <= slack)
    assert phi.sketch.n_parameters == network.model.n_parameters


@given(kind=st.sampled_from(KINDS), first=seeds(), second=seeds())
def test_seeds_give_different_matrices(kind, first, second):
    matrices = [matrix_of(make(kind, 16, s), 40, "float64") for s in (first, second)]
    # 40 coordinates of 16 rows and signs: equal by chance with probability below 2^-160.
    assert np.array_equal(*matrices) == (first == second)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 5000, 2**64 - 2])
def test_neighbouring_seeds_differ_up_to_the_last(kind, seed):
    matrices = [matrix_of(make(kind, 16, s), 40, "float64") for s in (seed, seed + 1)]
    assert not np.array_equal(*matrices)
