"""A kernel along training from a few points, against dense formulas on all of them."""

import itertools

import numpy as np
import pytest

import dntk
from dntk.distill.data import KMeans, Random, Selection
from dntk.trajectories import Quantity
from dntk.trajectories.few import _spread
from dntk.trajectories.held_out import held_out_points, student
from dntk.trajectories.interpolation import RIDGE, Interpolation
from dntk.trajectories.measures import ALIGNMENT, Measures, _pair_sums
from tests.jacobians import float_of, random_network, tanh_model
from tests.libraries import Library, host, interpreted

NUMPY = Library("numpy", "numpy")
N, SIZES = 48, (3, 4, 2)


def inputs():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 3))
    x = np.repeat(centres, N // 4, axis=0) + 0.1 * rng.normal(size=(N, 3))
    return x.astype(np.float32).astype(np.float64), np.sign(x @ rng.normal(size=(3, 2)))


def checkpoints(library, count=3):
    """Networks on a line in the parameters."""
    dtype = float_of(library)
    (w0, b0), (w1, b1) = (random_network(SIZES, seed=seed) for seed in (0, 1))
    parts = [t / (count - 1) for t in range(count)]
    return [
        tanh_model(
            library,
            [(1 - t) * a + t * b for a, b in zip(w0, w1, strict=True)],
            [(1 - t) * a + t * b for a, b in zip(b0, b1, strict=True)],
            dtype,
        )
        for t in parts
    ]


def dense(x, y, count=3, size=3, ridge=0.01):
    """Eigenvalues, effective dimension, alignment and drift of all points, by the kernels."""
    kernels = [dntk.ntk(model, x.astype(np.float64)) for model in checkpoints(NUMPY, count)]
    values = [np.clip(np.linalg.eigvalsh(k)[::-1], 0, None) for k in kernels]
    yy = y.astype(np.float64) @ y.T
    return {
        "eigenvalues": np.stack([v[:size] for v in values]),
        "effective_dimension": np.asarray([np.sum(v / (v + ridge * v.sum())) for v in values]),
        "alignment": np.asarray([np.sum(k * yy) / np.linalg.norm(k) / np.linalg.norm(yy) for k in kernels]),
        "drift": np.asarray([np.linalg.norm(k - kernels[0]) / np.linalg.norm(kernels[0]) for k in kernels]),
    }


def test_all_points_give_the_dense_formulas(library):
    x, y = inputs()
    dtype = float_of(library)
    found = dntk.trajectory(
        checkpoints(library), library.array(x, dtype), library.array(y, dtype), distilled=None, size=3, sketch=None
    )
    rounding = 4 * N * np.finfo(dtype).eps
    for name, expected in dense(x, y).items():
        quantity = getattr(found, name)
        np.testing.assert_allclose(quantity.values, expected, rtol=rounding, atol=rounding * max(1, expected.max()))
        assert np.array_equal(quantity.lower, quantity.values)
    assert found.outside is None
    assert found.rows == found.all_rows == 2 * N * 3


@pytest.mark.parametrize("reference", [-1, 0])
def test_few_points_are_exact_where_all_are_known(library, reference):
    interpreted(library)
    x, y = inputs()
    dtype = float_of(library)
    found = dntk.trajectory(
        checkpoints(library),
        library.array(x, dtype),
        library.array(y, dtype),
        distilled=KMeans(8),
        held_out=32,
        reference=reference,
        size=2,
        sketch=None,
    )
    truth, rounding = dense(x, y, size=2), 16 * N * np.finfo(dtype).eps
    for name in ("eigenvalues", "effective_dimension", "alignment"):
        quantity = getattr(found, name)
        assert isinstance(quantity, Quantity)
        np.testing.assert_allclose(quantity.values[reference], truth[name][reference], rtol=rounding)
        np.testing.assert_allclose(quantity.values, truth[name], rtol=0.05)  # eight of 48 points, four clusters
        if name == "effective_dimension":
            assert np.all(np.isnan(quantity.lower))  # few points say nothing of what all of them miss
            continue
        assert np.all(quantity.lower <= quantity.values)
        assert np.all(quantity.values <= quantity.upper)
    np.testing.assert_allclose(found.drift.values, truth["drift"], atol=0.2)
    assert found.rows == 2 * (N + 2 * (8 + 32))
    assert found.reference == reference % 3
    assert len(found.selection) == 8
    assert "3 checkpoints" in repr(found)


def copies():
    """Six points, one of them once and one of them 65 times, and the positions of the first of each."""
    rng, counts = np.random.default_rng(0), (1, 2, 4, 8, 16, 65)
    x = np.repeat(rng.normal(size=(6, 3)), counts, axis=0).astype(np.float32).astype(np.float64)
    return x, np.sign(x @ rng.normal(size=(3, 2))), np.cumsum([0, *counts[:-1]])


def test_copies_of_the_few_are_told_at_every_checkpoint(library):
    interpreted(library)
    x, y, firsts = copies()
    dtype, truth = float_of(library), dense(x, y, size=2)
    equal = library.array(np.ones(6, dtype))
    chosen = Selection(indices=library.array(firsts), weights=equal, residual_trace=0 * equal, trace=1.0)
    found = dntk.trajectory(
        checkpoints(library),
        library.array(x, dtype),
        library.array(y, dtype),
        distilled=chosen,
        held_out=32,
        size=2,
        sketch=None,
    )
    for name in ("eigenvalues", "alignment", "effective_dimension"):  # equal weights have 296%, 4% and 20%
        np.testing.assert_allclose(getattr(found, name).values, truth[name], rtol=0.02)
    np.testing.assert_allclose(found.drift.values, truth["drift"], rtol=0.02, atol=1e-6)
    width = found.alignment.upper - found.alignment.lower
    assert np.all(width < 0.01)  # held-out points alone differ by 0.1: they are as combinations of the few have them


def test_coefficients_are_those_of_ridge_regression(library):
    rng, dtype = np.random.default_rng(0), float_of(library)
    values = rng.normal(size=(2, 20, 7)).astype(dtype) * 1e3
    few = np.asarray([3, 0, 11])
    found = Interpolation.fitted(dntk.TangentFeatures(library.array(values)), library.array(few))
    rows = values.transpose(1, 0, 2).reshape(20, 14).astype(np.float64)
    kernel = rows[few] @ rows[few].T
    expected = np.linalg.solve(kernel + RIDGE * np.linalg.eigvalsh(kernel)[-1] * np.eye(3), rows[few] @ rows.T).T
    rounding = 64 * np.finfo(dtype).eps / RIDGE
    np.testing.assert_allclose(host(found.coefficients), expected, atol=rounding * np.abs(expected).max())


def test_the_spread_of_few_has_the_kernel_of_all_combinations(library):
    rng, dtype = np.random.default_rng(0), float_of(library)
    p, y = rng.normal(size=(20, 3)).astype(dtype), rng.normal(size=(20, 2)).astype(dtype)
    values = rng.normal(size=(2, 3, 7)).astype(dtype)
    spread = Interpolation(coefficients=library.array(p)).spread(library.array(y))
    kernel = host(spread.of(dntk.TangentFeatures(library.array(values))).kernel()).astype(np.float64)
    z = host(spread.targets).astype(np.float64)
    rows = values.transpose(1, 0, 2).reshape(3, 14).astype(np.float64) / 2**0.5
    every = p.astype(np.float64) @ rows
    rounding = 1e3 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        np.linalg.eigvalsh(kernel), np.linalg.eigvalsh(every @ every.T)[-3:], rtol=rounding, atol=rounding
    )
    np.testing.assert_allclose(z.T @ kernel @ z, (y.T @ every) @ (every.T @ y), rtol=rounding, atol=rounding * 1e3)


def test_alignments_are_with_all_targets():
    rng = np.random.default_rng(0)
    p, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))  # most of the targets is outside of the combinations
    spread = Interpolation(coefficients=p).spread(y)
    phi = dntk.TangentFeatures(rng.normal(size=(2, 3, 7)))
    found = _spread(Measures(size=1, ridge=0.1), spread, phi, phi)
    kernel, labels = p @ phi.kernel() @ p.T, y @ y.T
    expected = np.sum(kernel * labels) / np.linalg.norm(kernel) / np.linalg.norm(labels)
    np.testing.assert_allclose(found[ALIGNMENT], expected, rtol=1e-12)


def test_features_that_are_zero_are_no_combination_of_any():
    found = Interpolation.fitted(dntk.TangentFeatures(np.zeros((1, 4, 2))), np.asarray([0, 1]))
    assert np.all(found.coefficients == 0)


def test_the_share_outside_holds_the_mean_of_points_that_were_not_chosen():
    x, _ = inputs()
    models = checkpoints(NUMPY)
    found = dntk.trajectory(models, x, distilled=Random(6), held_out=40, sketch=None, size=2)
    chosen = found.selection.indices
    rest = np.setdiff1d(np.arange(N), chosen)
    assert found.alignment is None
    for model, interval in zip(models, found.outside, strict=True):
        phi = dntk.tangent_features(model, x, sketch=None).values.astype(np.float64)
        lost = np.zeros(len(rest))
        for c in range(2):
            _, _, rows = np.linalg.svd(phi[c, chosen], full_matrices=False)
            lost += np.sum((phi[c, rest] - phi[c, rest] @ rows.T @ rows) ** 2, axis=1)
        mean = np.mean(lost / np.sum(phi[:, rest] ** 2, axis=(0, 2)))
        assert float(interval.lower[0]) <= mean <= float(interval.upper[0])


def test_intervals_of_held_out_points_hold_the_value_of_all_points_about_as_often_as_they_say():
    x, y = inputs()
    truth, hits = dense(x, y), []
    models = checkpoints(NUMPY)
    for seed in range(4):
        found = dntk.trajectory(
            models, x, y, distilled=Random(8, seed=seed), held_out=32, size=3, sketch=None, seed=seed
        )
        for name in ("eigenvalues", "alignment"):
            quantity = getattr(found, name)
            hits.append(np.mean((quantity.lower <= truth[name]) & (truth[name] <= quantity.upper)))
    assert np.mean(hits) > 0.85


def test_checkpoints_may_be_loaded_one_at_a_time_and_points_chosen_before():
    x, y = inputs()
    models = checkpoints(NUMPY)
    one = dntk.trajectory(models, x, y, distilled=KMeans(8), held_out=32, sketch=None, size=2)
    lazy = [lambda model=model: model for model in models]
    two = dntk.trajectory(lazy, x, y, distilled=one.selection, held_out=32, sketch=None, size=2)
    np.testing.assert_array_equal(one.eigenvalues.values, two.eigenvalues.values)
    raw = dntk.trajectory(lazy, x, y, distilled=one.selection, held_out=32, reference=None, sketch=None, size=2)
    assert raw.reference is None
    assert raw.rows == 2 * 3 * 40
    assert not np.array_equal(raw.eigenvalues.values, one.eigenvalues.values)


def test_the_picture_is_whole(tmp_path):
    pytest.importorskip("matplotlib")
    x, y = inputs()
    found = dntk.trajectory(checkpoints(NUMPY), x, y, distilled=KMeans(8), held_out=32, size=2, sketch=None)
    assert isinstance(found, dntk.Trajectory)
    found.plot(tmp_path / "kernel.svg", labels=["0", "1", "2"])
    assert (tmp_path / "kernel.svg").read_text().count("<svg") == 1
    with pytest.raises(ValueError, match="2 entries"):
        found.plot(tmp_path / "kernel.svg", labels=["0", "1"])


def test_students_quantiles_are_those_of_the_table():
    for confidence, freedom, expected in ((0.95, 15, 2.1314), (0.99, 15, 2.9467), (0.95, 30, 2.0423)):
        assert student(confidence, freedom) == pytest.approx(expected, abs=1e-3)


@pytest.mark.usefixtures("unchecked")
def test_mistakes_are_told():
    x, y = inputs()
    models = checkpoints(NUMPY)
    some = KMeans(8)
    for arguments, changes, error, text in (
        ((models[0], x), {}, TypeError, "pass a list of checkpoints"),
        (([], x), {}, ValueError, "`models` is empty"),
        ((["net"], x), {}, TypeError, "wrap the network first"),
        ((models, x), {"reference": 3}, ValueError, "there are 3 checkpoints"),
        ((models, x), {"reference": None}, ValueError, "a selector looks at all points"),
        ((models, x), {"distilled": 8}, TypeError, "KMeans"),
        ((models, x), {"held_out": 8}, ValueError, "`held_out`"),
        ((models, x), {"distilled": KMeans(40)}, ValueError, "leaves 8 to hold out"),
        ((models, x, y[:5]), {}, ValueError, "`y` has shape"),
        ((models, x), {"confidence": 95}, ValueError, "`confidence`"),
        ((models, x[:, :2]), {}, ValueError, "2"),
    ):
        with pytest.raises(error, match=text):
            dntk.trajectory(*arguments, **{"distilled": some, "held_out": 32, "sketch": None, **changes})


def test_held_out_points_were_not_chosen():
    drawn = held_out_points(np.asarray([0, 3, 4]), 8, 10, seed=0)
    assert sorted(drawn) == [1, 2, 5, 6, 7]
    assert held_out_points(np.asarray([0, 3, 4]), 8, 2, seed=0) == drawn[:2]


def test_blocks_of_rows_give_the_sums_of_all_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    phi, first = (dntk.TangentFeatures(rng.normal(size=(2, 7, 3))) for _ in range(2))
    weights, y = rng.random(7), rng.normal(size=(7, 2))
    expected = _pair_sums(phi, first, weights, y)
    monkeypatch.setattr("dntk.trajectories.measures._ENTRIES", 2 * 7)
    np.testing.assert_allclose(_pair_sums(phi, first, weights, y), expected, rtol=1e-12)


def test_pairs_of_a_uniform_sample_are_unbiased():
    """The mean over all samples of two of four points is the sum over all pairs of the four, diagonal included."""
    rng = np.random.default_rng(0)
    phi, first = (dntk.TangentFeatures(rng.normal(size=(1, 4, 3))) for _ in range(2))
    y = rng.normal(size=(4, 2))
    whole = [phi.kernel(), first.kernel(), y @ y.T]
    expected = [np.sum(whole[0] * whole[2]), np.sum(whole[2] ** 2)]
    found = []
    for pair in itertools.combinations(range(4), 2):
        some = list(pair)
        sums = _pair_sums(phi[some], first[some], np.full(2, 2.0), y[some])
        size = np.max(np.abs(phi[some].values))
        found.append([sums[0] * size**2, sums[2]])
    np.testing.assert_allclose(np.mean(found, axis=0), expected, rtol=1e-12)
