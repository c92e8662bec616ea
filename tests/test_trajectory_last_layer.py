"""Kernels along training from forward passes and few gradients, against dense formulas of a Gaussian process."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import brentq

import dntk
from dntk import arrays
from dntk.distill.data import KMeans, Random, Selection
from dntk.trajectories._from_last_layer import _Judge
from dntk.trajectories.gaussian_process import (
    COUNTED,
    UNTOLD,
    GradientProcess,
    Told,
    by_all,
    by_leading,
    tangent_kernel,
)
from dntk.trajectories.held_out import GROUPS, held_out_points, left_out, student
from dntk.trajectories.measures import ALIGNMENT, Measures
from tests.jacobians import float_of
from tests.libraries import Library, host, interpreted
from tests.test_trajectory import N, checkpoints, dense, inputs

NUMPY = Library("numpy", "numpy")
FEW = [3, 0, 17, 9, 22, 30, 41]
HELD_OUT = [1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 18, 47]
MEASURES = Measures(size=3, ridge=0.01)


def test_the_tangent_kernel_is_that_of_a_wide_network_of_relu(library):
    rng, width, dtype = np.random.default_rng(0), 200_000, float_of(library)
    x, z = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    z[0] = 2 * x[0]
    z[1] = -x[1]
    hidden, signs = rng.normal(size=(width, 3)), np.sign(rng.normal(size=width))

    def gradients(points):
        before = points @ hidden.T
        return np.maximum(before, 0), (before > 0) * signs

    (a, b), (c, d) = gradients(x), gradients(z)
    each = a[:, None] * c[None] + (x @ z.T)[..., None] * (b[:, None] * d[None])
    found = host(tangent_kernel(library.array(x, dtype), library.array(z, dtype)))
    error = np.std(each, axis=-1) / width**0.5
    assert np.all(np.abs(found - np.mean(each, axis=-1)) <= 5 * error + 1e-6)
    np.testing.assert_allclose(found[0, 0], 2 * x[0] @ x[0], rtol=1e-3)  # acos loses half the digits at one


def scene(scale=1.0):
    """Inputs of a last layer in units of their spread, gradients, and targets."""
    rng = np.random.default_rng(1)
    z = np.concatenate([rng.normal(size=(N, 3)), np.ones((N, 1))], axis=1)
    gradients = np.tanh(z @ rng.normal(size=(4, 20))) + 0.3 * rng.normal(size=(N, 20))
    return z / np.sqrt(np.mean(np.sum(z**2, axis=1))), scale * gradients, rng.normal(size=(N, 2))


def loss_of_all(residuals, variances, _):
    return np.log(np.mean(np.sum(residuals**2, axis=1) / variances)) + np.mean(np.log(variances))


def loss_of_leading(residuals, variances, gradients):
    _, values, directions = np.linalg.svd(gradients, full_matrices=False)
    weights = values**2 / (values**2 + COUNTED * np.sum(values**2))
    each = np.mean((residuals @ directions.T) ** 2 / variances[:, None], axis=0)
    return np.sum(weights * (np.log(each) + np.mean(np.log(variances))))


LOSSES = {by_all: loss_of_all, by_leading: loss_of_leading}


def formula(z, psi, few, surprise=by_leading):
    """P, V, Σ and q by n × n matrices and explicit regressions without each point."""
    kernel = tangent_kernel(z, z)
    best = None
    for q in UNTOLD:
        whole = kernel + q * np.eye(N)
        residuals, variances = [], []
        for s in range(len(few)):
            rest = few[:s] + few[s + 1 :]
            p = np.linalg.solve(whole[np.ix_(rest, rest)], whole[np.ix_(rest, [few[s]])])[:, 0]
            residuals.append(psi[few[s]] - p @ psi[rest])
            variances.append(whole[few[s], few[s]] - p @ whole[rest, few[s]])
        residuals, variances = np.stack(residuals), np.asarray(variances)
        loss = LOSSES[surprise](residuals, variances, psi[few])
        if best is None or loss < best[0]:
            sigma = residuals.T @ (residuals / variances[:, None]) / len(few)
            p = whole[:, few] @ np.linalg.inv(whole[np.ix_(few, few)])
            best = loss, q, p, whole - p @ whole[few, :], sigma, residuals / variances[:, None] ** 0.5
    return best[1:]


def shrunk(u):
    """Σ whose largest eigenvalues are lowered until pairs of residuals agree with it, and what is taken off."""
    m, gram = len(u), u @ u.T
    pairs = np.sum(gram**2) - np.sum(np.diag(gram) ** 2)
    values, vectors = np.linalg.eigh(gram)
    off = brentq(lambda t: np.sum(np.maximum(values - t, 0) ** 2) - pairs * m / (m - 1), 0, values[-1])
    kept = np.maximum(values - off, 0)
    directions = u.T @ vectors / np.sqrt(values)
    return directions * (kept / m) @ directions.T, np.sum(values - kept) / m


def process(library, z, psi, few, surprise=by_leading):
    """What a process says, from arrays of a library."""
    dtype = float_of(library)
    unit = np.max(np.abs(psi)) or 1.0
    kernel = library.array(psi[few] @ psi[few].T / unit**2, dtype)
    kernel = arrays.in_float64(kernel)
    told = GradientProcess.fitted(library.array(z, dtype), library.array(np.asarray(few)), kernel, surprise)
    return Told(process=told, kernel=kernel, scale=unit**2)


@pytest.mark.parametrize("surprise", LOSSES)
def test_what_a_process_says_are_dense_formulas(library, surprise):
    z, psi, y = scene()
    told = process(library, z, psi, FEW, surprise)
    q, p, v, sigma, u = formula(z, psi, FEW, surprise)
    assert told.process.untold == pytest.approx(q)
    close = {"rtol": 1e-6, "atol": 1e-6} if float_of(library) == "float64" else {"rtol": 2e-3, "atol": 2e-3}
    np.testing.assert_allclose(host(told.process.coefficients), p, **close)
    np.testing.assert_allclose(host(told.process.variances), np.diag(v), **close)
    targets = arrays.in_float64(library.array(y, float_of(library)))
    found = told.measured(MEASURES, told, targets)
    within, elsewhere = shrunk(u)
    moments = psi[FEW].T @ p.T @ p @ psi[FEW] + np.trace(v) * within
    values = np.concatenate([np.linalg.eigvalsh(moments)[::-1][: len(FEW)], np.zeros(N - len(FEW))])
    values += np.trace(v) * elsewhere / N
    assert values.sum() == pytest.approx(np.sum((p @ psi[FEW]) ** 2) + np.trace(v) * np.trace(sigma), rel=1e-6)
    np.testing.assert_allclose(found[:3], values[:3], **close)
    spread = p @ psi[FEW]
    ends = [
        np.linalg.eigvalsh(spread.T @ spread + np.trace(v) * part)[::-1][:3]
        + np.trace(v) * (np.trace(sigma - part)) / N
        for part in (0 * sigma, sigma)
    ]
    for end, wanted in zip(told.eigenvalue_range(3), ends, strict=True):
        np.testing.assert_allclose(end, wanted, **close)
    assert np.isnan(found[3])
    assert told.dimension(MEASURES) == pytest.approx(np.sum(values / (values + 0.01 * values.sum())), rel=1e-3)
    product = np.sum((y.T @ p @ psi[FEW]) ** 2)
    expected = product / np.linalg.norm(values) / np.linalg.norm(y.T @ y)
    assert found[4] == pytest.approx(expected, rel=1e-3)
    assert found[5] == 0.0
    every = library.array(np.arange(N))
    left = told.missed(targets, every) * told.scale
    assert left == pytest.approx(np.trace(y.T @ v @ y) * np.trace(sigma), rel=1e-2)
    should = host(told.expected(library.array(np.asarray(HELD_OUT)))) * told.scale
    rows = p[HELD_OUT] @ psi[FEW]
    wanted = rows @ rows.T + v[np.ix_(HELD_OUT, HELD_OUT)] * np.trace(sigma)
    np.testing.assert_allclose(should, wanted, rtol=1e-2, atol=1e-2)


def test_drift_is_between_what_two_checkpoints_tell():
    z, psi, _ = scene()
    later = 3 * psi + np.random.default_rng(5).normal(size=psi.shape)
    one, two = process(NUMPY, z, psi, FEW), process(NUMPY, z**3, later, FEW)
    kernels = [
        told.process.coefficients @ told.kernel @ told.process.coefficients.T * told.scale for told in (one, two)
    ]
    expected = np.linalg.norm(kernels[1] - kernels[0]) / np.linalg.norm(kernels[0])
    assert two.measured(MEASURES, one, None)[-1] == pytest.approx(expected, rel=1e-9)


def test_blocks_of_points_change_nothing(monkeypatch):
    z, psi, y = scene()
    whole = process(NUMPY, z, psi, FEW)
    left = whole.missed(y, np.arange(0, N, 3))
    monkeypatch.setattr("dntk.trajectories.gaussian_process._ENTRIES", 5 * len(FEW))
    parts = process(NUMPY, z, psi, FEW)
    np.testing.assert_allclose(parts.process.coefficients, whole.process.coefficients, rtol=1e-12)
    np.testing.assert_allclose(parts.process.variances, whole.process.variances, rtol=1e-12, atol=1e-15)
    assert parts.missed(y, np.arange(0, N, 3)) == pytest.approx(left, rel=1e-12)


def test_rows_of_a_sample_stand_for_all():
    """The mean over disjoint samples is what all points say."""
    z, psi, y = scene()
    told = process(NUMPY, z, psi, FEW)
    known = told.missed(y, np.arange(N))
    pieces = [told.missed(y, np.arange(start, N, 2)) for start in (0, 1)]
    assert min(pieces) > 0
    assert np.mean(pieces) == pytest.approx(known, rel=1e-12)


def judged(scale=1.0, later=1.0):
    """Ends by the judge at two checkpoints, and what its formulas are of."""
    z, psi, y = scene(scale)
    where = np.asarray([*FEW, *HELD_OUT])
    judge = _Judge(measures=MEASURES, where=where, size=len(FEW), points=N, asked=np.arange(N), confidence=0.95)
    pairs = [judge.told(z, dntk.TangentFeatures(part[where])) for part in (psi, later * psi**2 / scale)]
    return pairs, judge.ends(pairs[1], pairs[0], y), (z, [psi, later * psi**2 / scale], y)


def test_held_out_points_judge_by_what_they_are_and_should_be():
    (first, now), (value, lower, upper), (z, psis, y) = judged()
    stand, should = [], []
    for psi in psis:
        _, p, v, sigma, _ = formula(z, psi, FEW)
        stand.append(psi[HELD_OUT] @ psi[HELD_OUT].T)
        rows = p[HELD_OUT] @ psi[FEW]
        should.append(rows @ rows.T + v[np.ix_(HELD_OUT, HELD_OUT)] * np.trace(sigma))

    def quantities(kernels, kept):
        before, after = (k[np.ix_(kept, kept)] for k in kernels)
        same, others = N / len(kept), N * (N - 1) / len(kept) / (len(kept) - 1)
        eye = np.eye(len(kept))
        moved, known = (np.sum(k**2 * (same * eye + others * (1 - eye))) for k in (after - before, before))
        return np.asarray([*np.linalg.eigvalsh(after)[::-1][:3] * N / len(kept), (moved / known) ** 0.5])

    groups = left_out(len(HELD_OUT))
    assert len(groups) == GROUPS + 1
    wanted = now.chosen.measured(MEASURES, first.chosen, y)[[0, 1, 2, 5]] + np.stack(
        [quantities(stand, kept) - quantities(should, kept) for kept in groups]
    )
    spread = np.sqrt((GROUPS - 1) * np.var(wanted[1:], axis=0))
    reach = student(0.95, GROUPS - 1) * spread
    part = [0, 1, 2, 5]
    (least, most), pad = now.every.eigenvalue_range(3), value[5:]
    least, most = (np.concatenate([end, pad]) for end in (least, most))
    assert np.all((least <= value[part]) & (value[part] <= most))
    np.testing.assert_allclose(lower[part], np.minimum(np.maximum(wanted[0] - reach, 0), least), rtol=1e-6)
    np.testing.assert_allclose(upper[part], np.maximum(wanted[0] + reach, most), rtol=1e-6)


def test_leading_directions_tell_all_but_the_dimension():
    """Which asks for many directions; both are of the chosen and the held-out points."""
    (first, _), _, (z, psis, y) = judged()
    few, value = [*FEW, *HELD_OUT], judged()[1][0]
    told = {surprise: process(NUMPY, z, psis[1], few, surprise) for surprise in LOSSES}
    assert told[by_all].process.untold != told[by_leading].process.untold
    assert value[3] == pytest.approx(told[by_all].dimension(MEASURES), rel=1e-9)
    expected = told[by_leading].measured(MEASURES, first.every, y)
    np.testing.assert_allclose(value[[0, 1, 2, 5]], expected[[0, 1, 2, 5]], rtol=1e-9)


def test_intervals_reach_as_far_as_the_number_of_directions_is_unknown(monkeypatch):
    ends = np.asarray([300.0, 0.0, 1.0]), np.asarray([600.0, 500.0, 400.0])
    monkeypatch.setattr(Told, "eigenvalue_range", lambda *_: ends)
    _, (_, lower, upper), _ = judged()
    assert lower[0] == 300.0
    assert np.all(lower[1:3] == 0)  # which held-out points have them, too
    np.testing.assert_array_equal(upper[:3], ends[1])


def test_the_alignment_is_put_right_by_what_held_out_points_are_off():
    (_, now), (value, lower, upper), (z, psis, y) = judged()
    _, p, v, sigma, _ = formula(z, psis[1], FEW)
    sums = y.T @ p @ psis[1][FEW]
    each = 2 * (N - len(FEW)) * np.sum((y @ sums) * (psis[1] - p @ psis[1][FEW]), axis=1)[HELD_OUT]
    error = np.std(each, ddof=1) / len(HELD_OUT) ** 0.5
    reach = student(0.95, len(HELD_OUT) - 1) * error
    left = np.trace(y.T @ v @ y) * np.trace(sigma)
    known = now.every.sum_of(y) * now.every.scale
    plain = now.every.measured(MEASURES, now.every, y)[ALIGNMENT]
    weight = (left**2 / 3) / (left**2 / 3 + error**2)
    best = plain * (1 + weight * (np.mean(each) + left) / known)
    assert value[ALIGNMENT] == pytest.approx(best, rel=1e-6)
    middle = np.sum(sums**2) + np.mean(each)
    ends = max(middle - reach, 0) / known * plain, (middle + reach + 2 * left) / known * plain
    np.testing.assert_allclose(lower[ALIGNMENT], min(ends[0], best), rtol=1e-6)
    np.testing.assert_allclose(upper[ALIGNMENT], max(ends[1], best), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-140, 1e70])
def test_quantities_do_not_depend_on_the_scale(scale):
    _, (value, lower, upper), _ = judged()
    _, large, _ = judged(scale)
    unit = np.asarray([scale**2] * 3 + [1.0] * 3)
    for part, expected in zip(large, (value, lower, upper), strict=True):
        np.testing.assert_allclose(part, expected * unit, rtol=1e-6)


def test_kernels_that_are_zero_are_told():
    _, (value, lower, upper), _ = judged(later=0.0)
    assert np.all(value[:4] == 0)
    assert np.isnan(value[ALIGNMENT])
    assert value[5] == pytest.approx(1.0)
    assert np.all(lower[:3] <= 0)
    assert np.all(upper[:3] >= 0)
    z, psi, _ = scene()
    zero, some = process(NUMPY, z, 0 * psi, FEW), process(NUMPY, z, psi, FEW)
    assert some.measured(MEASURES, zero, None)[-1] == np.inf
    assert zero.measured(MEASURES, zero, None)[-1] == 0.0


def test_points_of_which_some_are_copies_have_a_process():
    z, psi, _ = scene()
    few = [3, 3, 3, 9]
    told = process(NUMPY, z, psi, few)
    assert np.all(np.isfinite(told.process.coefficients))
    assert np.all(told.process.variances >= 0)


def noise(points, seed=0):
    """A convolutional network on images of noise, whose gradients have more directions than there are points."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    first, last = torch.nn.Conv2d(3, 8, 3), torch.nn.Linear(8 * 14 * 14, 3)
    net = torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Flatten(), last).eval()
    return dntk.as_model(net), torch.randn(points, 3, 16, 16)


def test_gradients_in_many_directions_are_not_taken_for_few_large_ones():
    model, x = noise(300)
    found = dntk.trajectory([model], x, distilled=Random(24), held_out=32, size=4, sketch=None)
    truth = np.linalg.eigvalsh(host(dntk.ntk(model, x)))[::-1][:4]
    np.testing.assert_allclose(found.eigenvalues.values[0], truth, rtol=0.1)  # 80% too large if they are
    lower, upper = found.eigenvalues.lower[0, 1:], found.eigenvalues.upper[0, 1:]
    assert np.all((lower <= truth[1:]) & (truth[1:] <= upper))


def test_few_points_and_forward_passes_tell_all(library):
    interpreted(library)
    x, y = inputs()
    dtype = float_of(library)
    found = dntk.trajectory(
        checkpoints(library),
        library.array(x, dtype),
        library.array(y, dtype),
        distilled=KMeans(8),
        held_out=32,
        size=2,
        sketch=None,
    )
    truth = dense(x, y, size=2)
    for name in ("eigenvalues", "effective_dimension", "alignment"):  # 40 of 48 points are differentiated
        np.testing.assert_allclose(getattr(found, name).values, truth[name], rtol=0.02)
    np.testing.assert_allclose(found.drift.values, truth["drift"], rtol=0.02, atol=1e-3)
    assert found.reference is None
    assert found.rows == 2 * 3 * 40
    assert found.all_rows == 2 * 3 * N
    assert np.all(np.isnan(found.effective_dimension.lower))


def test_forward_passes_tell_more_than_weights():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = np.sign(np.sin(2 * x[:, :2]))
    truth, errors = dense(x, y), []
    chosen = dntk.trajectory(checkpoints(NUMPY), x, distilled=Random(16), held_out=32, sketch=None).selection
    told = dntk.trajectory(checkpoints(NUMPY), x, y, distilled=chosen, held_out=32, size=3, sketch=None)
    for quantity in ("eigenvalues", "alignment"):
        errors.append(np.mean(np.abs(getattr(told, quantity).values / truth[quantity] - 1)))
    sample = np.asarray(host(chosen.indices))
    kernels = [dntk.ntk(model, x[sample]) * (len(x) / len(sample)) for model in checkpoints(NUMPY)]
    weighed = np.stack([np.linalg.eigvalsh(k)[::-1][:3] for k in kernels])
    assert errors[0] < np.mean(np.abs(weighed / truth["eigenvalues"] - 1)) / 3
    assert max(errors) < 0.05
    assert told.rows == 2 * 3 * 48  # of 400


def test_intervals_hold_the_value_of_all_points_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = np.sign(np.sin(2 * x[:, :2]))
    truth, hits = dense(x, y), []
    for seed in range(5):
        found = dntk.trajectory(
            checkpoints(NUMPY), x, y, distilled=Random(8, seed=seed), held_out=32, size=3, sketch=None, seed=seed
        )
        for name in ("eigenvalues", "alignment"):
            quantity = getattr(found, name)
            hits.append(np.mean((quantity.lower <= truth[name]) & (truth[name] <= quantity.upper)))
        slack = 1e-9  # the first checkpoint's drift is zero
        hits.append(np.mean((found.drift.lower <= truth["drift"]) & (truth["drift"] <= found.drift.upper + slack)))
    assert np.mean(hits) > 0.85


def convolutional(seeds):
    """Networks without a linear layer, whose last layer is not looked at."""
    torch = pytest.importorskip("torch")
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        layers = torch.nn.Conv1d(3, 4, 1), torch.nn.Tanh(), torch.nn.Conv1d(4, 2, 1), torch.nn.Flatten()
        net = torch.nn.Sequential(*layers).eval()
        models.append(dntk.as_model(net))
    return models, torch.as_tensor(inputs()[0][:, :, None]).float()


def test_where_the_last_layer_is_not_seen_the_last_checkpoint_is_the_reference():
    models, x = convolutional((0, 1))
    found = dntk.trajectory(models, x, distilled=KMeans(6), held_out=32, sketch=None, size=2)
    assert found.reference == 1
    assert found.rows == 2 * (N + 6 + 32)
    again = dntk.trajectory(models, x, distilled=found.selection, held_out=32, sketch=None, size=2)
    assert again.reference == 1
    weighed = dntk.trajectory(models, x, distilled=found.selection, held_out=32, reference=None, sketch=None, size=2)
    assert weighed.reference is None
    with pytest.raises(ValueError, match="is not seen: name a checkpoint"):
        dntk.trajectory(models, x, distilled=KMeans(6), held_out=32, reference=None, sketch=None)


def test_a_selection_of_before_is_taken_as_it_is():
    x, y = inputs()
    models = checkpoints(NUMPY)
    one = dntk.trajectory(models, x, y, distilled=KMeans(8), held_out=32, size=2, sketch=None)
    lazy = [lambda model=model: model for model in models]
    other = dataclasses.replace(one.selection, weights=3 * one.selection.weights)
    two = dntk.trajectory(lazy, x, y, distilled=other, held_out=32, size=2, sketch=None)
    assert isinstance(two.selection, Selection)
    np.testing.assert_array_equal(one.eigenvalues.values, two.eigenvalues.values)
    np.testing.assert_array_equal(one.alignment.upper, two.alignment.upper)


def test_a_point_that_only_a_forward_pass_sees_may_not_be_infinite():
    torch = pytest.importorskip("torch")

    class Steep(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(3, 2)

        def forward(self, x):
            return self.last(torch.exp(x))

    few = Selection(indices=torch.arange(8), weights=torch.ones(8), residual_trace=torch.ones(8), trace=1.0)
    others = held_out_points(few.indices, 60, 32, seed=0)
    far = next(i for i in range(40, 60) if i not in others)
    x = torch.zeros(60, 3)
    x[far] = 1000.0
    with pytest.raises(ValueError, match=f"`what enters the last layer` has NaN or infinite .* row {far}"):
        dntk.trajectory([dntk.as_model(Steep().eval())], x, distilled=few, held_out=32, sketch=None)


@pytest.mark.usefixtures("unchecked")
def test_mistakes_are_told():
    x, y = inputs()
    models = checkpoints(NUMPY)
    for changes, text in (
        ({"probes": 64}, "there is none: pass `reference`"),
        ({"distilled": KMeans(40)}, "leaves 8 to hold out"),
        ({"held_out": 8}, "`held_out`"),
        ({"reference": "first"}, "`reference`"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            dntk.trajectory(models, x, y, **{"distilled": KMeans(4), "held_out": 32, "sketch": None, **changes})
