"""The way to choose points for a tolerance: tried on a few, the cheapest that meets it, with its reason."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.distill.data import InputSelector, KMeans, LastLayer, Random, RPCholesky
from dntk.estimator.point_choice import LEAST, MOST, SHARE, Trial, choose_points, points_needed
from dntk.estimator.resumption import NOWHERE
from dntk.models import batches
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
MUCH = 2**31


def chosen(model, x, tolerance=0.1, memory=MUCH):
    return choose_points(model, x, tolerance=tolerance, seed=0, keep=NOWHERE, memory=memory)


class TestHowManyPointsAreNeeded:
    """By a curve of a few sizes."""

    @pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
    def test_a_power_of_their_number_is_followed_between_the_sizes_and_beyond(self, power):
        sizes = 2 ** np.arange(1, 8)
        left = np.asarray(sizes, dtype="f8") ** -power
        for allowed in (0.05, 0.01, 0.002):
            needed = points_needed(sizes, left, allowed, 10**6)
            every = np.arange(2, 10**6 + 1)
            exact = every[np.flatnonzero((1 - every / 10**6) * every**-power <= allowed * (1 + 1e-9))[0]]
            assert abs(needed - exact) <= 1  # a size at which both are equal falls on either side by rounding

    def test_the_kept_points_lose_nothing(self):
        sizes = np.asarray([4, 8, 16])
        left = np.full(3, 0.5)  # more points do not help the others
        needed = points_needed(sizes, left, 0.25, 100)
        assert needed == pytest.approx(49, abs=2)  # 50, less what the least slope allows
        assert points_needed(sizes, left, 1e-9, 100) == 100

    def test_a_loss_that_rises_by_chance_is_taken_to_stay(self):
        sizes = np.asarray([4, 8, 16, 32])
        assert points_needed(sizes, np.asarray([0.5, 0.2, 0.3, 0.1]), 0.2, 10**6) == 8
        every = np.arange(33, 1001)
        stays = every[np.flatnonzero((1 - every / 1000) * 0.1 * (every / 32) ** -0.05 <= 0.05)[0]]
        assert points_needed(sizes, np.asarray([0.5, 0.2, 0.1, 0.12]), 0.05, 1000) == stays


class TestTheCheapestIsTaken:
    """By operations."""

    def test_few_points_are_not_tried(self):
        selector, why = chosen(mlp(NUMPY), inputs(NUMPY, n=SHARE * LEAST - 1))
        assert selector == RPCholesky(50, seed=0)
        assert "too few to try" in why
        assert chosen(mlp(NUMPY), inputs(NUMPY, n=30))[0].size == 30

    def test_what_is_taken_costs_least_and_the_others_are_named(self):
        selector, why = chosen(mlp(NUMPY, (6, 16, 3)), inputs(NUMPY, n=400))
        assert isinstance(selector, Random | LastLayer | RPCholesky)
        assert why.startswith("points: about ")
        for name in ("at random", "by the inputs of the last layer", "one functional's kernel", "all 400"):
            assert name in why
        times = [float(part.split(" times")[0]) for part in why.split("would take ")[1:]]
        assert len(times) == 3
        assert times == sorted(times)
        assert times[0] >= 1

    def test_all_points_are_kept_where_that_costs_less_and_memory_allows(self):
        model, x = mlp(NUMPY, (6, 16, 3)), inputs(NUMPY, n=300)
        trial = Trial.of(model, x, 0, NOWHERE, MUCH)

        def cheapest(memory=MUCH, **costs):
            return min(dataclasses.replace(trial, **costs).ways(0.01, memory), key=lambda way: way.flops)

        # To judge a choice all points are read: where features are all that costs, those that are kept are read twice.
        assert cheapest(features_flops=1e12).selector is None
        assert cheapest(features_flops=1e12, memory=1000).selector is not None
        # All points are looked at.
        plain, looked = (dataclasses.replace(trial, last_flops=each).ways(0.01, 1000)[1].flops for each in (0.0, 7e6))
        assert looked - plain == pytest.approx(300 * 7e6)
        # Where looking is all that costs, nothing is looked at.
        dear = {"last_flops": 1e12, "functional_flops": 2e12}
        assert isinstance(cheapest(features_flops=1, memory=1000, **dear).selector, Random)

    def test_the_points_that_each_way_needs_do_leave_so_much_of_the_others(self):
        model, x = mlp(NUMPY, (6, 16, 3)), inputs(NUMPY, n=600)
        phi = dntk.tangent_features(model, x, sketch=None)
        for way in Trial.of(model, x, 0, NOWHERE, MUCH).ways(0.05, 1000):
            selector = way.selector
            found = (
                selector.select_inputs(model, x)
                if isinstance(selector, InputSelector)
                else selector.select(dntk.tangent_features(model, x, sketch=None, outputs="sum"))
            )
            basis = np.stack([np.linalg.qr(v[found.indices].T)[0] for v in phi.values.astype("f8")])
            left = 1 - np.sum((phi.values @ basis) ** 2) / np.sum(phi.values.astype("f8") ** 2)
            assert 0.015 < left < 0.09  # on trial were 37 points to choose among, and 38 judges

    def test_as_many_are_needed_on_every_library(self, library):
        interpreted(library)
        found = [
            Trial.of(mlp(at), inputs(at, n=SHARE * LEAST), 0, NOWHERE, MUCH).ways(0.05, MUCH) for at in (library, NUMPY)
        ]
        for ours, expected in zip(*found, strict=True):
            assert ours.name == expected.name
            assert abs(ours.points - expected.points) <= 4  # k-means of rounded features may end elsewhere

    def test_a_large_network_pays_for_a_choice_and_a_small_tolerance_for_more_points(self):
        model, x = mlp(NUMPY, (6, 16, 3)), inputs(NUMPY, n=600)
        sizes = [
            getattr(way, "size", None) or way.selector.size for way, _ in (chosen(model, x, t) for t in (0.3, 0.05))
        ]
        assert sizes[0] < sizes[1]


class TestInAFit:
    """``data="auto"`` with a tolerance."""

    def test_it_is_said_planned_and_paid_for(self):
        model, x = mlp(NUMPY, (6, 16, 3)), inputs(NUMPY, n=400)
        spec = dntk.DistilledNTK(model, ridge=1e-3, tolerance=0.1)
        fit, plan = spec.fit(x), spec.plan(x)
        assert fit.tolerance.met
        assert fit.choices[0].startswith("points: about ")
        assert plan.notes[0] == fit.choices[0]
        tried = 400 // SHARE
        assert fit.ledger["trial of points"].jacobian_rows == tried * 3 + 16
        # The trial is near what the search finds.
        about = int(fit.choices[0].split()[2])
        assert about / 2 <= fit.losses.kept_points <= 2 * about

    def test_no_more_than_so_many_are_tried(self):
        model, x = mlp(NUMPY, (6, 2, 3)), inputs(NUMPY, n=2100)
        made = []
        keep = dataclasses.replace(NOWHERE)
        original = type(keep).features

        class Watching(type(keep)):
            def features(self, name, model, x, **settings):
                made.append((name, batches.count(x)))
                return original(self, name, model, x, **settings)

        choose_points(model, x, tolerance=0.1, seed=0, keep=Watching(), memory=MUCH)
        assert ("tried", MOST) in made

    def test_a_fit_that_was_interrupted_goes_on_with_the_same_points(self, tmp_path):
        model, x = mlp(NUMPY, (6, 8, 3)), inputs(NUMPY, n=300)
        spec = dntk.DistilledNTK(model, ridge=1e-3, tolerance=0.2)
        first = spec.fit(x, checkpoint=tmp_path / "run")
        again = spec.fit(x, checkpoint=tmp_path / "run")
        np.testing.assert_array_equal(first.indices, again.indices)
        assert first.choices == again.choices
        assert first.ledger.total().jacobian_rows == again.ledger.total().jacobian_rows


class TestRandomPointsCostNothing:
    """They are drawn without a look at the network."""

    def test_they_are_those_that_are_chosen_by_features(self, library):
        interpreted(library)
        model, x = mlp(library), inputs(library, n=20)
        selector = Random(7, seed=3)
        assert isinstance(selector, InputSelector)
        found = selector.select_inputs(model, x)
        phi = dntk.tangent_features(model, x, sketch=None, outputs="sum")
        np.testing.assert_array_equal(host(found.indices), host(selector.select(phi).indices))
        assert np.isnan(host(found.residual_trace)).all()

    def test_a_fit_on_them_differentiates_the_kept_and_a_sample_of_the_others(self):
        model, x = mlp(NUMPY), inputs(NUMPY, n=200)
        fit = dntk.DistilledNTK(model, data=Random(16), ridge=1e-2).fit(x)
        assert fit.ledger["data"].jacobian_rows == 0
        assert fit.ledger.total().jacobian_rows == (16 + 64) * 3
        assert 0 < fit.losses.data_trace_residual < 1
        planned = dntk.DistilledNTK(model, data=Random(16), ridge=1e-2).plan(x)
        assert planned.stages[0].cost.jacobian_rows == 0

    def test_their_checkpoint_is_read_again(self, tmp_path):
        model, x = mlp(NUMPY), inputs(NUMPY, n=40)
        spec = dntk.DistilledNTK(model, data=Random(8), ridge=1e-2)
        first, again = (spec.fit(x, checkpoint=tmp_path / "run") for _ in range(2))
        np.testing.assert_array_equal(first.weights, again.weights)

    def test_more_than_there_are_is_refused(self):
        with pytest.raises(ValueError, match="21 points are asked of 20"):
            Random(21).select_inputs(mlp(NUMPY), inputs(NUMPY, n=20))

    def test_k_means_of_the_last_layer_is_no_dearer_than_a_forward_pass(self):
        model, x = mlp(NUMPY), inputs(NUMPY, n=200)
        fit = dntk.DistilledNTK(model, data=LastLayer(KMeans(16)), ridge=1e-2).fit(x)
        assert fit.ledger["data"].jacobian_rows == 0
