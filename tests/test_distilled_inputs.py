"""Objectives that make inputs: their gradients, what they promise, and what they refuse."""

import dataclasses
import sys

import numpy as np
import pytest
import scipy.optimize

import dntk
from dntk.distill.data import (
    Augmentation,
    FreeSupport,
    KernelInducing,
    KMeans,
    OutputResidual,
    Platt,
    Random,
    SquaredError,
    TangentResidual,
    Wasserstein,
    WeightedSupport,
    barycentres,
)
from dntk.distill.data.barycentres import transport_cost
from dntk.distill.data.class_statistics import Moments, mismatch, moments
from dntk.distill.data.descent import Descent, Evaluated, descend
from dntk.distill.data.draws import minibatch, split
from dntk.distill.data.kernel_inducing import Regression
from dntk.distill.data.nystrom_residual import residual, residual_gradient
from dntk.distill.data.tangent_residual import pca_tail
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
pytestmark = pytest.mark.usefixtures("compiled_quickly")
OBJECTIVES = [
    TangentResidual(6, steps=4),
    OutputResidual(6, steps=4),
    KernelInducing(2, steps=4, label_learning_rate=0.01, loss=Platt()),
    Wasserstein(2, steps=4, learning_rate=0.05),
]


def name_of(objective):
    return type(objective).__name__


def labels(library, n=60):
    return library.array(np.arange(n) % 3, np.int32 if library.module == "jax" else np.int64)


def central(function, x, step=1e-6):
    slope = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        slope[place] = (function(up) - function(down)) / (2 * step)
    return slope


def close_to_slope(found, expected):
    # Central differences of step h err by h² f''' + eps f / h, about 1e-9 of the values here.
    np.testing.assert_allclose(found, expected, atol=1e-6 * abs(expected).max())


class TestDerivatives:
    rng = np.random.default_rng(0)
    points, inducing = rng.normal(size=(9, 7)), rng.normal(size=(4, 7))

    @pytest.mark.parametrize("ridge", [1e-6, 0.3])
    def test_the_residual_is_that_of_the_projector_and_its_gradient_is_its_slope(self, ridge):
        value, slope = residual_gradient(self.points, self.inducing, ridge=ridge)
        close_to_slope(slope, central(lambda f: residual(self.points, f, ridge=ridge), self.inducing))
        assert value == residual(self.points, self.inducing, ridge=ridge)
        basis = np.linalg.qr(self.inducing.T)[0]
        exact = 1 - np.sum((self.points @ basis) ** 2) / np.sum(self.points**2)
        assert value >= exact
        if ridge == 1e-6:
            assert value == pytest.approx(exact, abs=1e-5)

    @pytest.mark.parametrize("loss", [SquaredError(), Platt(scale=3.0)])
    def test_the_gradients_of_the_inducing_loss_are_its_slopes(self, loss):
        rng = np.random.default_rng(1)
        answers = rng.normal(size=(4, 3))
        goals = np.eye(3)[np.arange(9) % 3] - 1 / 3
        own = loss.start(answers)

        def value(features=self.inducing, targets=answers, learned=own):
            fit = Regression.of(features, targets, 0.1)
            return loss.value(fit.predict(self.points), goals, learned)[0]

        fit = Regression.of(self.inducing, answers, 0.1)
        _, slope, in_own = loss.value(fit.predict(self.points), goals, own)
        in_features, in_targets = fit.gradients(self.points, slope)
        close_to_slope(in_features, central(lambda f: value(features=f), self.inducing))
        close_to_slope(in_targets, central(lambda t: value(targets=t), answers))
        for name, gradient in in_own.items():
            close_to_slope(gradient, central(lambda v, name=name: value(learned={name: v}), own[name]))

    def test_moments_merge_and_their_mismatch_has_its_slope(self):
        rng = np.random.default_rng(2)
        values, weights = rng.normal(size=(4, 3, 2)), np.array([0.1, 0.2, 0.3, 0.4])
        whole, parts = moments(values), moments(values[:1]).merged(moments(values[1:]))
        np.testing.assert_allclose(parts.mean, whole.mean)
        np.testing.assert_allclose(parts.variance, values.var(axis=(0, 1)))
        goal = Moments(mean=np.array([0.5, -1.0]), variance=np.array([2.0, 0.3]), count=1)
        _, slope = mismatch(values, weights, goal)
        close_to_slope(slope, central(lambda v: mismatch(v, weights, goal)[0], values))
        assert mismatch(values, np.full(4, 0.25), whole)[0] < 1e-12

    @pytest.mark.parametrize("channels_last", [False, True])
    def test_augmentations_are_linear_maps_with_their_adjoint(self, channels_last):
        rng = np.random.default_rng(3)
        x = rng.normal(size=(5, 6, 4, 2) if channels_last else (5, 2, 6, 4))
        maps = Augmentation(channels_last=channels_last).maps(x, seed=0, step=3)
        y = rng.normal(size=x.shape)
        assert np.sum(maps.forward(x) * y) == pytest.approx(np.sum(x * maps.adjoint(y)), rel=1e-12)
        np.testing.assert_allclose(maps.forward(np.ones_like(x)), 1)  # interpolation keeps constants
        still = Augmentation(area=(1, 1), aspect=(1, 1), flip=0, shift=0, channels_last=channels_last)
        np.testing.assert_allclose(still.maps(x, seed=0, step=0).forward(x), x)
        axis = 2 if channels_last else 3
        mirrored = dataclasses.replace(still, flip=1.0).maps(x, seed=0, step=0).forward(x)
        np.testing.assert_allclose(mirrored, np.flip(x, axis))
        rolled = dataclasses.replace(still, shift=0.5).maps(x, seed=0, step=0).forward(x)
        np.testing.assert_allclose(np.sort(rolled[0].ravel()), np.sort(x[0].ravel()))

    @pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
    def test_the_first_step_goes_along_the_slope_of_the_whole_objective(self, objective, monkeypatch):
        net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 60, dtype="f8")
        quiet = dataclasses.replace(objective, steps=1)

        def history_with(optimiser):
            monkeypatch.setattr(f"{type(objective).__module__}.Adam", lambda **_: optimiser)
            return quiet.distill(net, x, labels(NUMPY)).history

        watched = _Recording()
        history_with(watched)
        start, gradient = watched.seen[0]

        def loss(at):
            return history_with(_Recording(at))["loss"][1]

        direction = np.random.default_rng(4).normal(size=start.shape)
        step = 1e-5
        slope = (loss(start + step * direction) - loss(start - step * direction)) / (2 * step)
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-4)


class _Recording:
    """An optimiser that notes what it sees of the inputs, and goes where it is told."""

    def __init__(self, target=None):
        self.seen, self.target = [], target

    def start(self, x):
        return {"nothing": x[:0]}

    def step(self, x, gradient, state, **_):
        self.seen.append((x, gradient))
        fits = self.target is not None and self.target.shape == x.shape
        return (self.target if fits else x), dict(state)


def test_every_step_draws_its_own_minibatch_and_the_same_one_again():
    drawn = [[tuple(minibatch(100, 10, seed=seed, step=step)) for step in range(5)] for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2]
    assert len({*drawn[0], *drawn[1]}) == 10
    assert all(len(set(batch)) == 10 and 0 <= min(batch) <= max(batch) < 100 for batch in drawn[0])
    np.testing.assert_array_equal(minibatch(7, 10, seed=0, step=3), np.arange(7))


STILL = {"steps": 4, "learning_rate": 1e-12, "batch_size": 10, "seed": 3}
"""Inputs stand still, so that the losses tell on which points they were measured."""


def still_case():
    """Network, points, classes; positions to fit to on every step, and those held out."""
    fit, held = split(60, 0.2, seed=3)
    steps = [fit[minibatch(48, 10, seed=3, step=step)] for step in range(5)]
    return mlp(NUMPY, dtype="f8"), inputs(NUMPY, 60, dtype="f8"), labels(NUMPY), steps, held


def test_the_residual_falls_on_minibatches_and_is_judged_on_what_is_held_out():
    net, x, _, steps, held = still_case()
    data = TangentResidual(6, **STILL).distill(net, x)

    def left(places):
        joined = [dntk.tangent_features(net, at, sketch=None).joined() for at in (x[places], data.x)]
        return residual(*joined, ridge=1e-6)

    np.testing.assert_allclose(data.history["loss"], [left(places) for places in steps], rtol=1e-6)
    np.testing.assert_allclose(data.history["residual"], left(held), rtol=1e-6)


def test_the_inducing_loss_falls_on_minibatches_and_is_judged_on_what_is_held_out():
    net, x, y, steps, held = still_case()
    data = KernelInducing(2, **STILL, ridge=0.1).distill(net, x, y)
    inducing = dntk.tangent_features(net, data.x, sketch=None).joined()
    gram = inducing @ inducing.T
    weights = np.linalg.solve(gram + 0.1 * np.trace(gram) / 6 * np.eye(6), np.eye(3)[data.y] - 1 / 3)

    def loss(places):
        found = dntk.tangent_features(net, x[places], sketch=None).joined() @ inducing.T @ weights
        return np.sum((found - (np.eye(3)[y[places]] - 1 / 3)) ** 2) / (2 * len(places))

    np.testing.assert_allclose(data.history["loss"], [loss(places) for places in steps], rtol=1e-6)
    np.testing.assert_allclose(data.history["held_out_loss"], loss(held), rtol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
def test_every_objective_runs_on_every_library(library, objective):
    net, x, y = mlp(library), inputs(library, 60), labels(library)
    data = objective.distill(net, x, y)
    assert len(data) == 6
    assert tuple(data.x.shape) == (6, 6)
    assert data.x.dtype == x.dtype
    assert dntk.arrays.device_of(data.x) == dntk.arrays.device_of(x)
    assert len(data.history["loss"]) == 5
    assert data.stopped == ""
    expected = objective.distill(mlp(NUMPY), inputs(NUMPY, 60), labels(NUMPY))
    # Adam divides by the gradient's own size, so that rounding of entries near zero moves them by up to the rate.
    np.testing.assert_allclose(host(data.x), expected.x, atol=0.05)
    assert data.history["loss"][0] == pytest.approx(expected.history["loss"][0], rel=1e-3)


def test_the_tangent_residual_falls_and_is_never_worse_than_its_start_where_it_is_judged():
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 120, dtype="f8")
    for seed, rate in ((0, 0.02), (1, 0.5)):
        objective = TangentResidual(8, steps=25, learning_rate=rate, batch_size=40, seed=seed)
        data = objective.distill(net, x)
        fit, held = split(120, 0.2, seed=seed)
        phi = dntk.tangent_features(net, x[held], sketch=None)
        chosen = KMeans(8, seed=seed).select(dntk.tangent_features(net, x[fit], sketch=None)).indices
        left = [
            residual(phi.joined(), dntk.tangent_features(net, at, sketch=None).joined(), ridge=1e-6)
            for at in (x[fit][chosen], data.x)
        ]
        assert data.history["residual"][0] == pytest.approx(left[0], rel=1e-6)
        assert min(data.history["residual"]) == pytest.approx(left[1], rel=1e-6)
        assert left[1] <= left[0]
        assert left[1] >= pca_tail(phi, 8) - 1e-12
        tails, gaps = data.history["pca_tail"], data.history["misalignment_gap"]
        np.testing.assert_allclose(np.add(tails, gaps), data.history["residual"])
    assert left[1] < left[0]


def test_the_pca_tail_is_what_the_best_subspace_leaves():
    values = np.random.default_rng(0).normal(size=(2, 12, 5))
    singular = np.linalg.svd(np.concatenate(list(values), axis=1))[1] ** 2
    tail = pca_tail(dntk.TangentFeatures(values), 3)
    assert tail == pytest.approx(singular[3:].sum() / singular.sum(), rel=1e-9)


def test_inducing_points_with_learned_labels_predict_better_than_the_points_they_start_from():
    three, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 120, dtype="f8")
    y = (x @ np.ones(6) > 0).astype(int)
    layers = (*three.weights[:-1], three.weights[-1][:2]), (*three.biases[:-1], three.biases[-1][:2])
    net = dataclasses.replace(three, weights=layers[0], biases=layers[1])
    for loss, ridge in ((SquaredError(), 1e-2), (Platt(), 5e-3)):
        objective = KernelInducing(3, steps=30, learning_rate=0.03, label_learning_rate=0.03, loss=loss, ridge=ridge)
        data = objective.distill(net, x, y)
        assert data.y.shape == (6, 2)
        assert min(data.history["held_out_loss"]) < 0.9 * data.history["held_out_loss"][0]
    fixed = dataclasses.replace(objective, label_learning_rate=None).distill(net, x, y)
    np.testing.assert_array_equal(fixed.y, [0, 0, 0, 1, 1, 1])


class TestBarycentres:
    points = np.random.default_rng(0).normal(size=(60, 5)) * np.arange(1, 6)

    def test_the_objective_is_within_a_hundredth_of_direct_calls_of_pot(self):
        ot = pytest.importorskip("ot")
        mass, weights = np.full(60, 1 / 60), np.full(6, 1 / 6)
        support, equal = FreeSupport().summarise(self.points, 6, seed=0)
        found = transport_cost(self.points, support, equal)
        starts = np.random.default_rng(1).normal(size=(3, 6, 5))
        costs = []
        for start in starts:
            direct = ot.lp.free_support_barycenter([self.points], [mass], start, b=weights)
            costs.append(ot.emd2(weights, mass, ot.dist(direct, self.points)))
        assert found <= 1.01 * np.mean(costs)
        # A fixed point: every support point is the mean of the mass that it receives.
        plan = ot.emd(weights, mass, ot.dist(support, self.points))
        np.testing.assert_allclose(plan @ self.points * 6, support, atol=1e-3)

    def test_every_iteration_is_told_and_ends_as_all_of_pot_at_once(self):
        ot = pytest.importorskip("ot")
        events, start = [], barycentres._start(self.points, 6, 0)
        with dntk.progress(events.append, interval=0):
            support, equal = FreeSupport(iterations=50).summarise(self.points, 6, seed=0)
        mass = np.full(60, 1 / 60)
        at_once = ot.lp.free_support_barycenter([self.points], [mass], start, b=equal, numItermax=50, stopThr=1e-7)
        np.testing.assert_array_equal(support, at_once)
        assert [(event.task, event.done, event.total) for event in events[:3]] == [
            ("barycentre", done, 50) for done in range(3)
        ]
        assert 2 < events[-1].done < 50  # it ends where points no longer move

    def test_adapted_weights_transport_for_less_than_equal_ones(self):
        pytest.importorskip("ot")
        clouds = np.concatenate([np.zeros((50, 2)), np.full((10, 2), 9.0)]) + 0.1 * self.points[:, :2]
        free = transport_cost(clouds, *FreeSupport().summarise(clouds, 2, seed=0))
        support, weights = WeightedSupport(rounds=40).summarise(clouds, 2, seed=0)
        assert weights.sum() == pytest.approx(1)
        assert transport_cost(clouds, support, weights) < free / 2

    @pytest.mark.parametrize("seed", range(5))
    def test_weights_are_the_best_that_the_points_can_have_where_they_stand(self, seed):
        """By SciPy's linear programme over plans whose only marginal is the cloud's."""
        pytest.importorskip("ot")
        support, weights = WeightedSupport(rounds=1, iterations=0).summarise(self.points, 4, seed=seed)
        cost = ((support[:, None, :] - self.points[None, :, :]) ** 2).sum(-1)
        columns = np.kron(np.ones((1, 4)), np.eye(60))
        best = scipy.optimize.linprog(cost.reshape(-1), A_eq=columns, b_eq=np.full(60, 1 / 60))
        assert transport_cost(self.points, support, weights) == pytest.approx(best.fun, rel=1e-6)


def test_soft_labels_and_weights_come_with_the_inputs():
    net, x, y = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 60, dtype="f8"), labels(NUMPY)
    data = Wasserstein(2, steps=2, learning_rate=0.05, soft_labels=True, barycentre=WeightedSupport()).distill(
        net, x, y
    )
    outputs = net(data.x)
    expected = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True) - 1 / 3
    np.testing.assert_allclose(data.y, expected, atol=1e-12)
    assert data.weights.reshape(3, 2).sum(axis=1) == pytest.approx([2, 2, 2])


def test_classes_taken_in_groups_make_no_difference():
    net, x, y = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 60, dtype="f8"), labels(NUMPY)
    whole = Wasserstein(2, steps=3, learning_rate=0.05, statistics=("weights.1",))
    parts = dataclasses.replace(whole, batch_size=2)
    np.testing.assert_allclose(whole.distill(net, x, y).x, parts.distill(net, x, y).x, atol=1e-12)


@pytest.mark.usefixtures("unchecked")
class TestRefusals:
    net, x, y = mlp(NUMPY), inputs(NUMPY, 60), labels(NUMPY)

    @pytest.mark.parametrize("objective", [KernelInducing(21, steps=1), Wasserstein(21, steps=1)], ids=name_of)
    def test_a_class_with_fewer_points_than_asked(self, objective):
        with pytest.raises(ValueError, match=r"class 0 has \d+ points, fewer than per_class=21"):
            objective.distill(self.net, self.x, self.y)

    def test_a_coreset_larger_than_the_data(self):
        with pytest.raises(ValueError, match="at most 48"):
            TangentResidual(49).distill(self.net, self.x)
        with pytest.raises(ValueError, match="`start` chooses 5 points, but `size`=6"):
            TangentResidual(6, start=Random(5)).distill(self.net, self.x)

    @pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
    def test_labels_that_are_not_integers(self, objective):
        with pytest.raises(TypeError, match="expected integer classes"):
            objective.distill(self.net, self.x, self.y.astype("f4"))
        if name_of(objective) not in ("TangentResidual", "OutputResidual"):
            with pytest.raises(TypeError, match="`y` is missing"):
                objective.distill(self.net, self.x)

    @pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
    def test_labels_outside_the_network_and_of_another_length(self, objective):
        with pytest.raises(ValueError, match="59 entries"):
            objective.distill(self.net, self.x, self.y[1:])
        if name_of(objective) not in ("TangentResidual", "OutputResidual"):
            with pytest.raises(ValueError, match="the classes are 0 to 2"):
                objective.distill(self.net, self.x, self.y + 1)

    @pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
    def test_inputs_outside_their_range(self, objective):
        with pytest.raises(ValueError, match="outside `limits`"):
            dataclasses.replace(objective, limits=(0.0, 1.0)).distill(self.net, self.x, self.y)
        with pytest.raises(ValueError, match="must be smaller"):
            dataclasses.replace(objective, limits=(1.0, 0.0)).distill(self.net, self.x, self.y)

    @pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
    def test_settings_that_mean_nothing(self, objective):
        for change, message in (
            ({"steps": -1}, "`steps`"),
            ({"learning_rate": 0.0}, "`learning_rate`"),
            ({"seed": -1}, "`seed`"),
        ):
            with pytest.raises(ValueError, match=message):
                dataclasses.replace(objective, **change)

    def test_transport_that_is_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ot", None)
        with pytest.raises(ImportError, match=r'pip install "dntk\[transport\]"'):
            Wasserstein(2).distill(self.net, self.x, self.y)

    @pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
    def test_networks_that_are_not_differentiable_in_inputs(self, objective):
        pytest.importorskip("autograd")
        model = dntk.as_model(lambda p, x: x @ p["w"], {"w": np.ones((6, 3))})
        with pytest.raises(TypeError, match="not differentiable in its inputs"):
            objective.distill(model, self.x.astype("f8"), self.y)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
def test_a_diverging_run_stops_keeps_the_best_and_says_so(objective):
    # Beyond 1e19 the square that this activation takes is infinite in float32.
    net, x, y = mlp(NUMPY, activation="gelu_tanh"), inputs(NUMPY, 60), labels(NUMPY)
    wild = dataclasses.replace(objective, steps=30, learning_rate=1e30)
    with np.errstate(all="ignore"):
        data = wild.distill(net, x, y)
    assert data.stopped.startswith("diverged at step")
    assert data.step == 0
    assert abs(data.x).max() < 10


@pytest.mark.parametrize("worst", [None, lambda first: 100 * first], ids=["default", "given"])
def test_a_run_whose_loss_grows_is_stopped_where_it_is_too_much(worst):
    """On x², steps of 4 times the slope send x to −7 x."""

    class Plain:
        def start(self, x):
            return {"nothing": x[:0]}

        def step(self, x, gradient, state, *, learning_rate, **_):
            return x - learning_rate * gradient, state

    def evaluate(_, variables):
        value = float(variables["x"][0] ** 2)
        return Evaluated(gradients={"x": 2 * variables["x"]}, measures={"loss": value}, judged=value)

    rules = {} if worst is None else {"worst": worst}
    descent = Descent(steps=1000, rates={"x": 4.0}, optimiser=Plain(), project=dict, **rules)
    state = descend({"x": np.ones(1)}, evaluate, descent)
    assert state.stopped.startswith(f"diverged at step {1 if worst is None else 2}: the loss is")
    assert "take a smaller learning_rate" in state.stopped
    assert state.best["x"] == 1
    assert len(state.history["loss"]) == (2 if worst is None else 3)
