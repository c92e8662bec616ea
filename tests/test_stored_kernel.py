"""Exact kernels on the disk: what is stored, what is read, and what is refused."""

import importlib

import numpy as np
import pytest

import dntk
from dntk.archive import StoreError
from dntk.kernels import StoredKernel
from tests.libraries import LIBRARIES, host
from tests.test_stored_features import data, network

zarr = importlib.import_module("zarr")
N = 70
TILES = 20
"""Points of a tile: four along each side, the last of ten."""


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.id)
def library(request):
    if request.param.why_not():
        pytest.skip(request.param.why_not())
    return request.param


def stored(folder, x=None, other=None, model=None, rows=TILES, dtype=None, **more):
    x = data(N) if x is None else x
    store = dntk.Store(folder, rows=rows, dtype=dtype)
    return dntk.ntk(network() if model is None else model, x, other, store=store, **more)


def allowance(expected, dtype="float32"):
    """Of sums of P = 144 products in another order: P·eps of the largest entry, which bounds every |κ| on the way."""
    return 144 * np.finfo(dtype).eps * np.abs(expected).max()


@pytest.mark.parametrize("outputs", ["mean", "each", "sum", 1])
def test_the_kernel_on_the_disk_is_the_one_in_memory_on_every_library(library, outputs, tmp_path):
    model, x = network(library), library.array(data(N))
    kernel = stored(tmp_path / "k", x, model=model, outputs=outputs)
    expected = host(dntk.ntk(model, x, outputs=outputs))
    assert isinstance(kernel, StoredKernel)
    assert type(kernel.values) is type(x)
    values = host(kernel.values)
    assert values.shape == expected.shape
    np.testing.assert_allclose(values, expected, rtol=0, atol=allowance(expected))
    np.testing.assert_array_equal(values, np.swapaxes(values, -1, -2))  # symmetric bit for bit, like that in memory
    each = values if values.ndim == 3 else values[None]
    assert kernel.shape == (each.shape[0], N)
    v = library.array(np.random.default_rng(2).normal(size=(each.shape[0], N, 2)).astype("f4"))
    product = each.astype("f8") @ host(v).astype("f8")
    bound = N * np.finfo("f4").eps * (np.abs(each).astype("f8") @ np.abs(host(v)).astype("f8")) + 1e-30
    assert np.all(np.abs(host(kernel.multiply(v)) - product) <= bound)
    np.testing.assert_array_equal(host(kernel.diagonal()), np.diagonal(each, axis1=1, axis2=2))
    chosen = library.array(np.array([3, 69]))
    np.testing.assert_array_equal(host(kernel.columns(chosen)), each[:, :, [3, 69]])
    np.testing.assert_array_equal(host(kernel[15:45]), values[..., 15:45, :])
    np.testing.assert_array_equal(np.concatenate([host(part) for _, part in kernel.rows()], axis=1), each)


def test_two_sets_of_points_have_a_kernel_of_their_own(tmp_path):
    x, other = data(N), data(110)[N:]
    kernel = stored(tmp_path / "k", x, other, outputs="each")
    expected = dntk.ntk(network(), x, other, outputs="each")
    np.testing.assert_allclose(kernel.values, expected, rtol=0, atol=allowance(expected))
    assert kernel.points == (N, 40)
    assert not kernel.is_symmetric
    with pytest.raises(ValueError, match="no diagonal"):
        kernel.diagonal()
    with pytest.raises(StoreError, match="another second set of points"):
        stored(tmp_path / "k", x, other + 1, outputs="each")
    with pytest.raises(StoreError, match="another second set of points"):
        stored(tmp_path / "k", x, outputs="each")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_bits_do_not_depend_on_shards_order_or_an_interruption(dtype, tmp_path):
    whole = stored(tmp_path / "whole", outputs="each", dtype=dtype).to_numpy()
    for index in (2, 0, 1):  # the last first: tiles above the diagonal are not there to be mirrored
        part = stored(tmp_path / "parts", outputs="each", dtype=dtype, shard=(index, 3))
        assert isinstance(part, dntk.StoredShard)
    dntk.merge(tmp_path / "parts")
    assert StoredKernel(tmp_path / "parts").to_numpy().tobytes() == whole.tobytes()
    stored(tmp_path / "again", outputs="each", dtype=dtype, shard=(1, 3))  # a run of which a part was done
    assert stored(tmp_path / "again", outputs="each", dtype=dtype, shard=(0, 1)).to_numpy().tobytes() == whole.tobytes()
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    exact = dntk.ntk(network(), data(N), outputs="each")
    assert np.all(np.abs(whole - exact) <= unit * np.abs(exact) + allowance(exact) + 2.0**-24)


def test_tiles_below_the_diagonal_are_not_computed_again(tmp_path):
    recorder = dntk.ledger.LedgerRecorder()
    with recorder.stage("kernel"):
        stored(tmp_path / "k", outputs="mean", rows=10)
    pairs = 7 * 8 // 2  # tiles on and above the diagonal, of ten points each
    rows = recorder.ledger()["kernel"].jacobian_rows
    assert rows == 3 * (7 * 10 + (pairs - 7) * 20)


def test_damage_and_what_is_missing_are_told(tmp_path):
    kernel = stored(tmp_path / "k")
    chunk = tmp_path / "k" / "values.zarr" / "c" / "1" / "2"
    content = bytearray(chunk.read_bytes())
    content[100] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        _ = kernel.values
    stored(tmp_path / "half", shard=(0, 2))
    with pytest.raises(StoreError, match=r"lacks 8 of 16 chunks.*run shard 1 of 2 again"):
        StoredKernel(tmp_path / "half")
    dntk.tangent_features(network(), data(9), sketch=None, store=tmp_path / "features")
    with pytest.raises(StoreError, match="holds a features, not kernel"):
        StoredKernel(tmp_path / "features")
    with pytest.raises(FileNotFoundError, match="no stored kernel"):
        StoredKernel(tmp_path / "nothing")


def test_a_damaged_tile_is_not_mirrored(tmp_path):
    whole = stored(tmp_path / "whole").to_numpy()
    stored(tmp_path / "k", shard=(0, 2))
    above = tmp_path / "k" / "values.zarr.part" / "c" / "1" / "2"
    content = bytearray(above.read_bytes())
    content[100] ^= 1
    above.write_bytes(content)
    stored(tmp_path / "k", shard=(1, 2))
    with pytest.raises(StoreError, match="counts as missing"):
        dntk.merge(tmp_path / "k")
    stored(tmp_path / "k", shard=(0, 2))
    dntk.merge(tmp_path / "k")
    assert StoredKernel(tmp_path / "k").to_numpy().tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": network(seed=1)}, "another network"),
        ({"outputs": "each"}, "another output"),
        ({"rows": 30}, "another rows"),
        ({"dtype": "float16"}, "another type on the disk"),
        ({"batch_size": 3}, "another batch size"),
        ({"x": data(N) + 1}, "another set of points"),
    ],
    ids=["network", "outputs", "rows", "dtype", "batch", "points"],
)
def test_the_folder_of_another_kernel_is_refused(change, message, tmp_path):
    stored(tmp_path / "k")
    with pytest.raises(StoreError, match=message):
        stored(tmp_path / "k", **change)


def test_points_that_changed_in_the_middle_are_noticed(tmp_path):
    x, other = data(N), data(110)[N:]
    stored(tmp_path / "k", x)
    stored(tmp_path / "two", x, other)
    x[30] += 1
    with pytest.raises(StoreError, match="other points: those of chunk 1"):
        stored(tmp_path / "k", x)
    with pytest.raises(StoreError, match="other points: those of chunk 2"):
        stored(tmp_path / "two", x, other)  # two tiles a row


def test_what_cannot_be_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(ValueError, match="'full' goes to no store"):
        stored(tmp_path / "k", outputs="full")
    with pytest.raises(ValueError, match="without `store`"):
        dntk.ntk(network(), data(9), shard=(0, 2))
    with pytest.raises(ValueError, match="copies of a tile"):
        stored(tmp_path / "k", memory_limit=1000)
    assert not (tmp_path / "k").exists()
    kernel = stored(tmp_path / "k")
    with pytest.raises(MemoryError, match=f"takes {N * N * 4:,} bytes"):
        _ = StoredKernel(tmp_path / "k", memory_limit=N * N * 4 - 1).values
    assert StoredKernel(tmp_path / "k", memory_limit=N * N * 4).values.shape == (N, N)
    with pytest.raises(ValueError, match=r"expected \(1, 70, columns\)"):
        kernel.multiply(np.zeros((1, 69, 1), dtype="f4"))
    with pytest.raises(TypeError, match="expected a slice"):
        kernel[3]
    with pytest.raises(ValueError, match="none of 70 rows"):
        kernel[70:80]


def test_kernels_are_plain_files_and_plain_zarr(tmp_path):
    kernel = stored(tmp_path / "k", outputs="each")
    plain = zarr.open_array(str(tmp_path / "k" / "values.zarr"), mode="r")
    np.testing.assert_array_equal(plain[...], kernel.values)
    assert plain.metadata.dimension_names == ("output", "point", "other point")
    np.testing.assert_array_equal(np.load(kernel.export(tmp_path / "k.npy")), kernel.values)
    with pytest.raises(FileExistsError, match="choose another path"):
        kernel.export(tmp_path / "k.npy")


def test_iterative_ridge_takes_a_stored_kernel(tmp_path):
    kernel = stored(tmp_path / "k", x=data(N, "float64"), model=network(dtype="float64"))
    dense = kernel.values
    y = np.random.default_rng(5).normal(size=(1, N, 2))
    found = dntk.solve.iterative_ridge(kernel, y, ridge=0.1, tolerance=1e-10)
    expected = np.linalg.solve(dense + 0.1 * np.eye(N), y[0])
    # The relative residual of CG, times the condition number, bounds the relative error.
    condition = (np.linalg.eigvalsh(dense)[-1] + 0.1) / 0.1
    assert np.linalg.norm(found.dual[0] - expected) <= 1e-10 * condition * np.linalg.norm(expected)
