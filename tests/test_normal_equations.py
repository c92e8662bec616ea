import numpy as np
import pytest

import dntk
from dntk.backend import backend_of
from dntk.solve import NormalEquations, StreamedGCV, accumulate, ridge, ridge_out_of_core, solve_statistics, zarr_chunks
from tests.libraries import LIBRARIES, host

NUMPY = LIBRARIES[0]


def data(n=60, k=7, c=2, dtype="f4", seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k)).astype(dtype), rng.normal(size=(n, c)).astype(dtype)


def statistics(library, x, y, weights=None):
    weights = None if weights is None else library.array(weights)
    return NormalEquations.of(library.array(x)[None, ...], library.array(y)[None, ...], weights)


def rounding(x, y, dtype="f4"):
    """Products of n numbers in the dtype: γ_n times the sum of magnitudes."""
    return len(x) * np.finfo(dtype).eps * max((np.abs(x.T) @ np.abs(x)).max(), (np.abs(x.T) @ np.abs(y)).max())


def test_column_gram_is_the_symmetric_product(library):
    x = np.random.default_rng(3).normal(size=(2, 300, 130)).astype("f4")
    found = host(backend_of(library.array(x)).column_gram(library.array(x)))
    expected = np.einsum("gnk,gnl->gkl", x.astype("f8"), x.astype("f8"))
    assert np.array_equal(found, np.swapaxes(found, 1, 2))
    bound = 300 * np.finfo("f4").eps * np.einsum("gnk,gnl->gkl", np.abs(x), np.abs(x))
    assert np.all(np.abs(found - expected) <= bound)


def test_column_gram_of_many_rows_on_torch_is_that_of_numpy():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(4).normal(size=(4500, 300)).astype("f4")
    found = backend_of(torch.ones(1)).column_gram(torch.asarray(x)).numpy()
    bound = 4500 * np.finfo("f4").eps * (np.abs(x).T @ np.abs(x))
    assert np.all(np.abs(found - x.astype("f8").T @ x.astype("f8")) <= bound)


def test_statistics_are_the_products_of_the_data(library):
    x, y = data()
    found = statistics(library, x, y)
    wide, target = x.astype("f8"), y.astype("f8")
    np.testing.assert_allclose(host(found.gram)[0], wide.T @ wide, atol=rounding(x, y))
    np.testing.assert_allclose(host(found.cross)[0], wide.T @ target, atol=rounding(x, y))
    np.testing.assert_allclose(host(found.squares)[0], (target**2).sum(axis=0), rtol=60 * np.finfo("f4").eps)
    assert (found.points, found.weight) == (60, 60.0)


def test_updating_and_merging_give_the_statistics_of_the_whole(library):
    x, y = data()
    whole = statistics(library, x, y)
    updated = statistics(library, x[:20], y[:20]).update(
        library.array(x[20:])[None, ...], library.array(y[20:])[None, ...]
    )
    merged = statistics(library, x[:45], y[:45]).merge(statistics(library, x[45:], y[45:]))
    for found in (updated, merged):
        np.testing.assert_allclose(host(found.gram), host(whole.gram), atol=2 * rounding(x, y))
        np.testing.assert_allclose(host(found.cross), host(whole.cross), atol=2 * rounding(x, y))
        assert found.points == 60


def test_integer_weights_are_repeated_rows(library):
    x, y = data(n=12)
    weights = np.array([0, 1, 2, 3] * 3)
    weighted = statistics(library, x, y, weights.astype("f4"))
    repeated = statistics(library, np.repeat(x, weights, axis=0), np.repeat(y, weights, axis=0))
    np.testing.assert_allclose(host(weighted.gram), host(repeated.gram), atol=4 * rounding(x, y) * 3)
    np.testing.assert_allclose(host(weighted.cross), host(repeated.cross), atol=4 * rounding(x, y) * 3)
    assert weighted.weight == pytest.approx(weights.sum())


def test_compensation_keeps_what_a_float32_sum_forgets():
    jnp = pytest.importorskip("jax.numpy")
    from dntk.solve.compensated import Total

    total = Total.of(jnp.asarray([1.0], dtype="float32"))
    for _ in range(1000):
        total = total + jnp.asarray([2.0**-26], dtype="float32")
    assert float(total.value[0]) == 1.0  # every single addition is rounded away
    assert float(total.result()[0]) == pytest.approx(1 + 1000 * 2.0**-26, abs=2.0**-23)


def test_training_error_gcv_and_dimension_are_those_of_dense_algebra(library):
    x, y = data(dtype="f4")
    found = statistics(library, x, y)
    spectrum = found.spectrum()
    xp = dntk.arrays.namespace(spectrum.values)
    row = xp.asarray([0.5, 20.0], dtype=spectrum.values.dtype, device=dntk.arrays.device_of(spectrum.values))
    wide, target = x.astype("f8"), y.astype("f8")
    for i, lam in enumerate((0.5, 20.0)):
        hat = wide @ np.linalg.solve(wide.T @ wide + lam * np.eye(7), wide.T)
        mse = ((target - hat @ target) ** 2).mean(axis=0)
        close = {"rtol": 2e3 * np.finfo("f4").eps}  # n = 60 roundings of sums, amplified by κ ≤ 3 and by 1/(1 − d/n)²
        np.testing.assert_allclose(host(spectrum.train_mse(row))[i, 0], mse, **close)
        np.testing.assert_allclose(host(spectrum.effective_dimension(row))[i, 0], np.trace(hat), **close)
        np.testing.assert_allclose(host(spectrum.gcv(row))[i, 0], mse / (1 - np.trace(hat) / 60) ** 2, **close)
        weights = np.linalg.solve(wide.T @ wide + lam * np.eye(7), wide.T @ target)
        np.testing.assert_allclose(host(spectrum.weights(row))[i, 0], weights, atol=1e3 * np.finfo("f4").eps)


def test_rounding_is_estimated_within_its_margin():
    x = np.random.default_rng(5).normal(size=(5000, 200)).astype("f4")
    found = NormalEquations.of(x[None], x[None, :, :1])
    wide = x.astype("f8").T @ x.astype("f8")
    actual = np.linalg.norm(found.gram[0] - wide, 2) / np.linalg.norm(wide)
    assert actual <= found.rounding <= 100 * actual


def test_chunks_are_solved_as_the_whole(library):
    x, y = data()
    chunks = [(library.array(x[i : i + 16]), library.array(y[i : i + 16])) for i in range(0, 60, 16)]
    fit = ridge_out_of_core(chunks, ridge=2.0)
    whole = ridge(dntk.TangentFeatures(library.array(x)), library.array(y), ridge=2.0)
    np.testing.assert_allclose(host(fit.weights), host(whole.weights), atol=500 * np.finfo("f4").eps)
    predicted = x.astype("f8") @ host(whole.weights).T
    np.testing.assert_allclose(host(fit.train_mse), ((y - predicted) ** 2).mean(axis=0), rtol=1e-4)


def test_a_streamed_ridge_is_the_best_gcv_of_the_grid():
    x, y = data(dtype="f8")
    grid = (1e-3, 1.0, 30.0, 1e3)
    best = min(grid, key=lambda lam: solve_statistics(statistics(NUMPY, x, y), ridge=lam).gcv.sum())
    assert solve_statistics(statistics(NUMPY, x, y), ridge=StreamedGCV(grid)).ridge == best


@pytest.mark.parametrize("verify_all", [True, False])
def test_a_killed_job_goes_on_after_its_last_whole_chunk(tmp_path, verify_all):
    x, y = data(dtype="f8")
    parts = [(x[i : i + 20], y[i : i + 20]) for i in range(0, 60, 20)]
    path, made = tmp_path / "statistics", []

    def chunks(first, fail_at=None):
        for number in range(first, 3):
            if number == fail_at:
                raise KeyboardInterrupt
            made.append(number)
            yield parts[number]

    with pytest.raises(KeyboardInterrupt):
        accumulate(lambda first: chunks(first, fail_at=2), checkpoint=path)
    assert made == [0, 1]
    made.clear()
    resumed = accumulate(chunks, checkpoint=path, verify_all=verify_all)
    assert made == [0, 1, 2]
    np.testing.assert_array_equal(resumed.gram, accumulate(parts).gram)
    assert resumed.points == 60
    whole = accumulate(parts, checkpoint=path)  # everything is there: nothing is added
    np.testing.assert_array_equal(whole.gram, resumed.gram)
    once = (part for part in parts)
    assert accumulate(once, checkpoint=path).points == 60
    made.clear()
    assert accumulate(chunks, checkpoint=path, verify_all=False).points == 60
    assert made == [0, 2]


def test_a_checkpoint_goes_on_in_every_library(library, tmp_path):
    x, y = data()
    parts = [(library.array(x[i : i + 20]), library.array(y[i : i + 20])) for i in range(0, 60, 20)]
    accumulate(parts[:2], checkpoint=tmp_path / "statistics")
    resumed = accumulate(parts, checkpoint=tmp_path / "statistics")
    np.testing.assert_array_equal(host(resumed.gram), host(accumulate(parts).gram))


def _other_chunks():
    x, y = data()
    swapped = x[:, ::-1]
    yield "values", [(x[:30] + 1, y[:30]), (x[30:], y[30:])]
    yield "last digit", [(np.nextafter(x[:30], np.float32(9)), y[:30]), (x[30:], y[30:])]
    yield "targets", [(x[:30], -y[:30]), (x[30:], y[30:])]
    yield "columns", [(swapped[:30], y[:30]), (swapped[30:], y[30:])]
    yield "sizes", [(x[:20], y[:20]), (x[20:], y[20:])]
    yield "order", [(x[30:], y[30:]), (x[:30], y[:30])]
    yield "shape", [(x[:30, :3], y[:30]), (x[30:, :3], y[30:])]
    yield "type", [(x[:30].astype("f8"), y[:30]), (x[30:], y[30:])]


@pytest.mark.parametrize("others", [pytest.param(chunks, id=name) for name, chunks in _other_chunks()])
@pytest.mark.parametrize("verify_all", [True, False])
@pytest.mark.parametrize("done", [1, 2])
def test_a_checkpoint_of_other_chunks_is_refused(tmp_path, others, verify_all, done):
    x, y = data()
    path = tmp_path / "statistics"
    accumulate([(x[:30], y[:30]), (x[30:], y[30:])][:done], checkpoint=path)
    with pytest.raises(dntk.StoreError, match="chunk 0 is not the one that is in the checkpoint"):
        accumulate(others, checkpoint=path)
    with pytest.raises(dntk.StoreError, match="chunk 0 is not the one"):
        accumulate(lambda first: iter(others[first:]), checkpoint=path, verify_all=verify_all)


def test_a_chunk_in_the_middle_that_changed_is_noticed(tmp_path):
    x, y = data()
    parts = [(x[i : i + 15], y[i : i + 15]) for i in range(0, 60, 15)]
    accumulate(parts, checkpoint=tmp_path / "statistics")
    parts[1] = (parts[1][0] * 2, parts[1][1])
    with pytest.raises(dntk.StoreError, match="chunk 1 is not the one"):
        accumulate(parts, checkpoint=tmp_path / "statistics")
    with pytest.raises(ValueError, match="fewer than the 4 that are in"):
        accumulate(parts[:1], checkpoint=tmp_path / "statistics")


@pytest.mark.parametrize(("bad", "dtype"), [(np.nan, "f4"), (np.inf, "f4"), (1e200, "f8")])
def test_a_chunk_that_is_not_finite_leaves_the_checkpoint_as_it_was(tmp_path, bad, dtype):
    x, y = data(dtype=dtype)
    path, spoilt = tmp_path / "statistics", x.copy()
    spoilt[40, 2] = bad
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"chunk 1|`features` .* overflow"):
        accumulate([(x[:30], y[:30]), (spoilt[30:], y[30:])], checkpoint=path)
    resumed = accumulate([(x[:30], y[:30]), (x[30:], y[30:])], checkpoint=path)
    assert np.isfinite(resumed.gram).all()
    assert resumed.points == 60


def test_damaged_and_foreign_checkpoints_are_refused_and_empty_ones_begun_anew(tmp_path):
    x, y = data()
    path = tmp_path / "statistics"
    for content in (b"something else", b"PK\x03\x04" * 99, b"\xff" * 8):
        path.write_bytes(content)
        with pytest.raises(dntk.StoreError, match="is no checkpoint of statistics"):
            accumulate([(x, y)], checkpoint=path)
    path.write_bytes(b"")
    assert accumulate([(x, y)], checkpoint=path).points == 60
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(dntk.StoreError, match="is damaged"):
        accumulate([(x, y)], checkpoint=path)


def test_tangent_features_are_added_up_as_their_arrays(library):
    x, y = data()
    values = np.stack([x, 2 * x[:, ::-1]])
    several, one = (dntk.TangentFeatures(library.array(part)) for part in (values, x))
    goals = library.array(y)
    for phi in (several, one):  # of one output they are shared by all targets
        expected = ridge(phi, goals, ridge=2.0)
        fit = ridge_out_of_core([(phi[:25], goals[:25, :]), (phi[25:], goals[25:, :])], ridge=2.0)
        np.testing.assert_allclose(host(fit.weights), host(expected.weights), atol=500 * np.finfo("f4").eps)
        np.testing.assert_array_equal(host(accumulate(phi.paired(goals)).gram), host(accumulate([(phi, goals)]).gram))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_features_stored_by_zarr_are_read_chunk_by_chunk(tmp_path):
    zarr = pytest.importorskip("zarr")
    x, y = data(dtype="f8")
    stored = zarr.create_array(store=str(tmp_path / "x.zarr"), shape=x.shape, chunks=(16, 7), dtype="f8")
    stored[:] = x
    targets = zarr.create_array(store=str(tmp_path / "y.zarr"), shape=y.shape, chunks=(60, 2), dtype="f8")
    targets[:] = y
    for features in (stored, str(tmp_path / "x.zarr")):
        found = accumulate(zarr_chunks(features, targets))
        np.testing.assert_allclose(found.gram[0], x.T @ x, rtol=1e-12, atol=1e-12)
    assert [len(part[0]) for part in zarr_chunks(stored, targets)(2)] == [16, 12]
    with pytest.raises(ValueError, match="as there are 60 points"):
        zarr_chunks(stored, y[:5])


@pytest.mark.usefixtures("unchecked")
def test_statistics_refuse_what_does_not_fit():
    x, y = data()
    found = statistics(NUMPY, x, y)
    with pytest.raises(ValueError, match="those before had"):
        found.update(x[None, :, :3], y[None])
    with pytest.raises(ValueError, match="cannot be merged"):
        found.merge(statistics(NUMPY, x[:, :3], y))
    with pytest.raises(ValueError, match="at least one point"):
        NormalEquations.of(x[None, :0], y[None, :0])
    with pytest.raises(ValueError, match="no chunk"):
        accumulate([])
    with pytest.raises(ValueError, match="below the rounding"):
        solve_statistics(found, ridge=1e-12)
    with pytest.raises(ValueError, match="needs the features again"):
        solve_statistics(found, ridge="loo")
