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
from dntk.trajectories.probes import GROWTH, Drawn, Probes, _Last
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


@pytest.mark.parametrize("reference", [-1, "auto"])
def test_copies_of_the_few_are_told_at_every_checkpoint(library, reference):
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
        reference=reference,
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


@pytest.mark.parametrize("reference", [-1, "auto"])
def test_the_share_outside_holds_the_mean_of_points_that_were_not_chosen(reference):
    x, _ = inputs()
    models = checkpoints(NUMPY)
    found = dntk.trajectory(models, x, distilled=Random(6), held_out=40, reference=reference, sketch=None, size=2)
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
    models, rounding = checkpoints(NUMPY), 1e-9  # at the reference both ends are the value
    for seed in range(4):
        found = dntk.trajectory(
            models, x, y, distilled=Random(8, seed=seed), held_out=32, reference=-1, size=3, sketch=None, seed=seed
        )
        for name in ("eigenvalues", "alignment"):
            quantity = getattr(found, name)
            above = quantity.lower <= truth[name] * (1 + rounding)
            hits.append(np.mean(above & (truth[name] * (1 - rounding) <= quantity.upper)))
    assert np.mean(hits) > 0.85


def test_checkpoints_may_be_loaded_one_at_a_time_and_points_chosen_before():
    x, y = inputs()
    models = checkpoints(NUMPY)
    one = dntk.trajectory(models, x, y, distilled=KMeans(8), held_out=32, reference=-1, sketch=None, size=2)
    lazy = [lambda model=model: model for model in models]
    two = dntk.trajectory(lazy, x, y, distilled=one.selection, held_out=32, reference=-1, sketch=None, size=2)
    np.testing.assert_array_equal(one.eigenvalues.values, two.eigenvalues.values)


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
        ((models, x), {"distilled": 8}, TypeError, "KMeans"),
        ((models, x), {"held_out": 8}, ValueError, "`held_out`"),
        ((models, x, y), {"probes": 31}, ValueError, "`probes`=31"),
        ((models, x, y), {"probes": -1}, ValueError, "`probes`"),
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


def test_alignments_with_probes_are_those_of_a_formula(library):
    interpreted(library)
    x, y = inputs()
    dtype, ridge, n = float_of(library), RIDGE, N
    models, count = checkpoints(library), 6
    phis = [dntk.tangent_features(model, library.array(x, dtype), sketch=None) for model in models]
    few, where = np.asarray([0, 13, 25, 37]), np.asarray([5, 18, 44, 30, 9, 27])
    drawn = Drawn.of(library.array(where), library.array(x, dtype), phis[0])
    assert host(drawn.outputs).tolist() == [0, 1, 0, 1, 0, 1]
    found = Probes.of(drawn, phis[0], library.array(few), library.array(y, dtype), 0.3, 0.95)
    rows = dntk.tangent_features(drawn.model(models[2]), drawn.inputs, sketch=None).values[0, :, :]
    value, lower, upper = found.alignment(phis[2][library.array(few)], rows)

    before, now = (host(phi.values).astype(np.float64) for phi in (phis[0], phis[2]))
    centres = before[:, few].transpose(1, 0, 2).reshape(4, -1)
    kernel = centres @ centres.T
    p = before.transpose(1, 0, 2).reshape(n, -1) @ centres.T
    p = p @ np.linalg.inv(kernel + ridge * np.linalg.eigvalsh(kernel)[-1] * np.eye(4))
    output = np.arange(count) % 2

    def part(values, w):
        """First two terms, the second by every probe, mean square of the sample, and the whole and its last term."""
        missed = np.stack([v - p @ v[few] for v in values])
        sums = np.stack([w.T @ p @ v[few] for v in values])
        mine = [np.sum((w[i] @ sums[c]) * missed[c, i]) for c, i in zip(output, where, strict=True)]
        squares = np.mean([w[i] @ w[i] * np.sum(missed[c, i] ** 2) for c, i in zip(output, where, strict=True)])
        own = 2 * sum(np.sum((w[few] @ sums[c]) * missed[c, few]) for c in range(2))
        each = 2 * (n - 4) * 2 * np.asarray(mine)
        whole, last = (sum(np.sum((w.T @ v) ** 2) for v in part) for part in (values, missed))
        return np.sum(sums**2) + own, each, squares, whole, last

    tops, bottoms = [], []
    norms = []
    for values in (before, now):
        kernel = p @ sum(v[few] @ v[few].T for v in values) @ p.T
        eigenvalues, vectors = np.linalg.eigh(kernel)
        tops.append(part(values, y))
        bottoms.append(part(values, vectors * np.sqrt(np.clip(eigenvalues, 0, None))))
        norms.append(np.linalg.norm(kernel))

    def last(then, later):
        excess, growth = max(then[4] - (n - 4) * 2 * then[2], 0), later[2] / then[2]
        return [(n - 4) * 2 * later[2] + g * excess for g in (min(growth, GROWTH), growth)]

    top, bottom = (part[1][0] + np.mean(part[1][1]) + last(*part)[0] for part in (tops, bottoms))
    each = tops[1][1] - top / bottom * bottoms[1][1]
    reach = student(0.95, count - 1) * np.std(each, ddof=1) / count**0.5
    least, most = last(*tops)
    scale = 0.3 * bottoms[0][3] / tops[0][3] / norms[0] * norms[1] / bottom
    expected = np.maximum(np.asarray([top, top - least - reach, top - least + 2 * most + reach]) * scale, 0)
    rounding = 1e5 * np.finfo(dtype).eps
    np.testing.assert_allclose([value, lower, upper], expected, rtol=rounding, atol=rounding)


def test_all_probes_and_what_is_missed_give_the_sums_of_all_points():
    """With every point and output in the sample the first two terms are exact."""
    x, y = inputs()
    phis = [dntk.tangent_features(model, x, sketch=None) for model in checkpoints(NUMPY)]
    few = np.asarray([0, 13, 25, 37])
    rest = np.setdiff1d(np.arange(N), few)
    drawn = Drawn.of(np.repeat(rest, 2), x, phis[0])  # each with both outputs
    found = Probes.of(drawn, phis[0], few, y, 1.0, 0.95)
    p = Interpolation.fitted(phis[0], few).coefficients
    for phi in phis:
        at, errors = found._seen(phi[few], phi.values[drawn.outputs, drawn.where])
        missed = phi.values - p @ phi.values[:, few]
        exact = [sum(np.sum((y.T @ v) ** 2) for v in part) for part in (phi.values, missed)]
        unit = np.max(np.abs(phi.values[:, few])) ** 2
        np.testing.assert_allclose(found._sum(at, errors, found.targets).known * unit, exact[0] - exact[1], rtol=1e-9)
    value, _, _ = found.alignment(phis[0][few], phis[0].values[drawn.outputs, drawn.where])
    np.testing.assert_allclose(value, 1.0, rtol=1e-9)  # at the reference it is what it is


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1.0, 1e30])
def test_alignments_with_probes_do_not_depend_on_the_scale(scale):
    x, y = inputs()
    values = [dntk.tangent_features(model, x, sketch=None).values for model in checkpoints(NUMPY)]
    few, where = np.asarray([0, 13, 25, 37]), np.asarray([5, 18, 44, 30, 9, 27])

    def found(first, second):
        phi, then = (dntk.TangentFeatures(v) for v in (first, second))
        drawn = Drawn.of(where, x, phi)
        probes = Probes.of(drawn, phi, few, y, 0.5, 0.95)
        return probes.alignment(then[few], second[drawn.outputs, where])

    expected = found(values[0], values[2])
    np.testing.assert_allclose(found(scale * values[0], values[2]), expected, rtol=1e-9)
    np.testing.assert_allclose(found(values[0], scale * values[2]), expected, rtol=1e-9)


def test_probes_are_asked_of_one_output_and_put_the_alignment_right():
    wrong = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = 2 * rng.normal(size=(240, 3))
        y = np.sign(np.sin(x[:, :2]))
        truth = dense(x, y)["alignment"]
        for probes in (0, 160):
            found = dntk.trajectory(
                checkpoints(NUMPY), x, y, distilled=Random(3), held_out=32, probes=probes, size=2, sketch=None,
                reference=0, seed=seed,
            )  # fmt: skip
            assert found.rows == 2 * (240 + 2 * (3 + 32)) + 2 * probes
            ends = [float(part[0]) for part in (found.alignment.lower, found.alignment.upper)]
            np.testing.assert_allclose(ends, truth[0], rtol=1e-9)  # the reference, where all are known
            wrong.append(np.mean(np.abs(found.alignment.values / truth - 1)))
            if probes:
                assert np.all(
                    (found.alignment.lower <= truth * (1 + 1e-9)) & (truth <= found.alignment.upper * (1 + 1e-9))
                )
    assert np.mean(wrong[1::2]) < np.mean(wrong[::2]) / 2


def test_probes_are_not_the_points_that_were_held_out_and_leave_other_quantities_alone():
    x, y = inputs()
    x, y = np.repeat(x, 4, axis=0), np.repeat(y, 4, axis=0)
    models = checkpoints(NUMPY)
    one, two = (
        dntk.trajectory(models, x, y, distilled=KMeans(6), held_out=32, reference=-1, probes=p, size=2, sketch=None)
        for p in (0, 64)
    )
    np.testing.assert_array_equal(one.eigenvalues.values, two.eigenvalues.values)
    np.testing.assert_array_equal(one.drift.upper, two.drift.upper)
    without = dntk.trajectory(models, x, distilled=KMeans(6), held_out=32, reference=-1, probes=64, size=2, sketch=None)
    assert without.alignment is None
    assert without.rows == one.rows


def test_probes_are_other_points_than_those_of_all_outputs(monkeypatch):
    x, y = inputs()
    x, y = np.repeat(x, 4, axis=0), np.repeat(y, 4, axis=0)
    seen, make = [], Drawn.of
    monkeypatch.setattr(Drawn, "of", lambda where, *rest: seen.append(where) or make(where, *rest))
    found = dntk.trajectory(
        checkpoints(NUMPY),
        x,
        y,
        distilled=KMeans(6),
        held_out=32,
        reference=-1,
        probes=256,
        size=2,
        sketch=None,
        seed=3,
    )
    chosen = [int(i) for i in found.selection.indices]
    held_out = held_out_points(np.asarray(chosen), len(x), 32, 3)
    assert sorted([*chosen, *held_out, *seen[0].tolist()]) == list(range(4 * N))  # 256 are asked for, the rest is taken


@pytest.mark.parametrize(("held_out", "expected"), [(32, 32), (64, 64)])
def test_probes_are_half_as_many_rows_as_those_of_held_out_points(held_out, expected):
    x, y = inputs()
    x, y = np.repeat(x, 4, axis=0), np.repeat(y, 4, axis=0)
    found = dntk.trajectory(
        checkpoints(NUMPY), x, y, distilled=KMeans(6), held_out=held_out, reference=-1, size=2, sketch=None
    )
    assert found.rows == 2 * (4 * N + 2 * (6 + held_out)) + 2 * expected


def test_agreement_of_what_is_missed_does_not_grow_without_end():
    last = _Last(squares=2.0, excess=5.0)
    assert last.elsewhere(2.0, 10) == (25.0, 25.0)
    assert last.elsewhere(4.0, 10) == (50.0, 50.0)
    assert last.elsewhere(2e6, 10) == (2e7 + GROWTH * 5.0, 2e7 + 5e6)
    assert _Last(squares=0.0, excess=0.0).elsewhere(3.0, 10) == (30.0, 30.0)


def test_a_kernel_that_is_zero_has_no_alignment_of_probes():
    x, y = inputs()
    phi = dntk.TangentFeatures(np.zeros((2, N, 3)))
    few, where = np.asarray([0, 1]), np.asarray([2, 3, 4])
    assert Probes.of(Drawn.of(where, x, phi), phi, few, y, float("nan"), 0.95) is None
    some = dntk.TangentFeatures(np.random.default_rng(0).normal(size=(2, N, 3)))
    found = Probes.of(Drawn.of(where, x, some), some, few, y, 0.5, 0.95)
    assert found.alignment(phi[few], np.zeros((3, 3))) is None
