"""Peaks of memory: what is stated is kept to, and what cannot be is refused before the work."""

import functools
import tracemalloc
from typing import ClassVar

import numpy as np
import pytest

import dntk
from dntk.certificates import widened
from dntk.distill.data import KernelInducing, LastLayer, Random, RPCholesky, TangentResidual, Wasserstein
from dntk.distill.gradients import Principal, Solution
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
MIB = 2**20


def peak_of(call):
    """Bytes that a call holds at once beyond what there was, and its result."""
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def wide_network(n=120):
    """9,800 parameters and eight outputs: whole gradients of an input take 0.3 MiB."""
    return mlp(NUMPY, (40, 200, 8)), inputs(NUMPY, n, 40)


class TestBudgets:
    @pytest.mark.parametrize("limit", [6 * MIB, 40 * MIB])
    def test_features_keep_to_their_limit(self, limit):
        model, x = wide_network()
        sketch = dntk.sketch.SparseSign(64)
        whole = dntk.tangent_features(model, x, sketch=sketch)  # what is made once is there
        peak, phi = peak_of(lambda: dntk.tangent_features(model, x, sketch=sketch, memory_limit=limit))
        assert peak <= limit
        np.testing.assert_allclose(phi.values, whole.values, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("outputs", ["mean", "each"])
    def test_kernels_keep_to_their_limit(self, outputs):
        model, x = wide_network()
        limit = {"mean": 2 * MIB, "each": 3 * MIB}[outputs]
        whole = dntk.ntk(model, x, outputs=outputs)
        peak, kernel = peak_of(lambda: dntk.ntk(model, x, outputs=outputs, memory_limit=limit))
        assert peak <= limit
        np.testing.assert_allclose(kernel, whole, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("data", [Random(60), RPCholesky(60)], ids=["random", "by features"])
    def test_a_fit_and_what_it_is_asked_keep_to_their_limit(self, data):
        model, x = wide_network()
        limit, sketch = 16 * MIB, dntk.sketch.SparseSign(256)
        spec = dntk.DistilledNTK(model, data=data, sketch=sketch, gradients=Solution(4))
        spec.fit(x)
        peak, fit = peak_of(lambda: spec.fit(x, memory_limit=limit))
        assert peak <= limit
        for call in (lambda: fit.predict(x), lambda: fit.query(x), lambda: fit.certificate):
            assert peak_of(call)[0] <= limit

    def test_a_limit_that_does_not_suffice_is_refused_with_what_does(self):
        model, x = wide_network()
        sketch = dntk.sketch.SparseSign(64)
        with pytest.raises(ValueError, match="`memory_limit`=1,000 bytes do not suffice") as error:
            dntk.tangent_features(model, x, sketch=sketch, memory_limit=1000)
        enough = int(str(error.value).partition("at least ")[2].partition(", fewer")[0].replace(",", ""))
        assert len(dntk.tangent_features(model, x, sketch=sketch, memory_limit=enough)) == len(x)
        with pytest.raises(ValueError, match=f"`memory_limit`={enough - 1:,} bytes"):
            dntk.tangent_features(model, x, sketch=sketch, memory_limit=enough - 1)
        with pytest.raises(ValueError, match="`memory_limit`=1,000 bytes do not suffice"):
            dntk.ntk(model, x, memory_limit=1000)

    def test_a_fit_that_cannot_keep_to_its_limit_is_refused_before_its_features(self):
        model, x = wide_network()
        events = []
        for data, what in ((None, "features and kernels take"), (RPCholesky(9), "features of all points, by which")):
            spec = dntk.DistilledNTK(model, data=data, sketch=dntk.sketch.SparseSign(4096))
            with (
                dntk.progress(events.append, interval=0),
                pytest.raises(ValueError, match=f"`memory_limit`=5,000,000 bytes do not suffice: {what}"),
            ):
                spec.fit(x, memory_limit=5 * 10**6)
        assert not [event for event in events if event.task == "tangent features"]

    @pytest.mark.parametrize("limit", [0, -1, 1.5, True, "8 GiB"])
    def test_what_is_no_number_of_bytes_is_refused(self, limit):
        model, x = wide_network(9)
        with dntk.checking(False), pytest.raises(ValueError, match="`memory_limit` must be a positive integer"):
            dntk.DistilledNTK(model).fit(x, memory_limit=limit)


def _features(c=8, n=120, k=600, dtype="f4"):
    rng = np.random.default_rng(0)
    return dntk.TangentFeatures((rng.normal(size=(c, n, k)) * 0.97 ** np.arange(k)).astype(dtype))


def _approximations(phi, y):
    yield "gradients", Principal(5).distill(phi, y)
    yield "points", RPCholesky(12).select(phi)
    yield "features", dntk.TangentFeatures(phi.values[:, :, : phi.dim * 2 // 3])


class TestCertificates:
    def test_one_output_at_a_time_says_what_all_at_once_say(self, library, monkeypatch):
        interpreted(library)
        phi = dntk.TangentFeatures(library.array(_features(c=3, n=40, k=90).values, "f4"))
        y = library.array(np.random.default_rng(1).normal(size=(40, 3)), "f4")
        for name, found in _approximations(phi, y):
            monkeypatch.setattr(widened, "SMALL", 2**28)
            whole = dntk.certify(phi, found, y, 0.1)
            monkeypatch.setattr(widened, "SMALL", 0)
            apart = dntk.certify(phi, found, y, 0.1)
            for field in ("trace_error", "spectral_error", "frobenius_error"):
                assert float(getattr(apart, field)) == pytest.approx(float(getattr(whole, field)), rel=1e-4), name
            for mine, theirs in (
                (apart.eigenvalue_intervals.upper, whole.eigenvalue_intervals.upper),
                (apart.prediction_error.value, whole.prediction_error.value),
                (apart.energy_error.value, whole.energy_error.value),
            ):
                np.testing.assert_allclose(host(mine), host(theirs), rtol=1e-4)

    @pytest.mark.parametrize("kind", ["gradients", "features"])
    def test_no_second_copy_of_all_features_exists(self, kind, monkeypatch):
        monkeypatch.setattr(widened, "SMALL", 0)
        phi = _features()
        y = np.random.default_rng(1).normal(size=(120, 8)).astype("f4")
        found = dict(_approximations(phi, y))[kind]
        peak, _ = peak_of(lambda: dntk.certify(phi, found, y if kind == "gradients" else None, 0.1))
        assert peak < 2 * phi.values.nbytes  # in float64 alone they would take as much

    def test_features_in_float64_are_not_copied(self):
        phi = _features(dtype="f8")
        y = np.random.default_rng(1).normal(size=(120, 8))
        grads = Principal(5).distill(phi, y)
        assert peak_of(lambda: dntk.certify(phi, grads))[0] < phi.values.nbytes / 2


class TestObjectivesAndInputSelectors:
    """By 400 points of a network whose directions, one per point and output, take 0.3 MiB a point."""

    CALLS: ClassVar = {
        "residual": (TangentResidual(10, steps=2, sketch=dntk.sketch.SparseSign(64)), 12 * MIB),
        "inducing": (KernelInducing(2, steps=2, sketch=dntk.sketch.SparseSign(64)), 12 * MIB),
        "matching": (Wasserstein(2, steps=2, augmentation=None), MIB),
        "last layer": (LastLayer(Random(5)), 2 * MIB),
    }

    def call(self, objective):
        model, x = wide_network(400)
        if isinstance(objective, LastLayer):
            return lambda **more: objective.select_inputs(model, x, **more).indices
        return lambda **more: objective.distill(model, x, np.arange(400) % 8, **more).x

    @pytest.mark.parametrize(("objective", "limit"), CALLS.values(), ids=CALLS)
    def test_they_keep_to_their_limit_and_find_the_same(self, objective, limit):
        if isinstance(objective, Wasserstein):
            pytest.importorskip("ot")
        call = self.call(objective)
        whole = call()  # what is made once is there
        peak, found = peak_of(lambda: call(memory_limit=limit))
        assert peak <= limit
        # Two steps of Adam, whose first direction is the sign of a gradient: rounding moves what is near zero.
        np.testing.assert_allclose(found, whole, atol=1e-3)

    @pytest.mark.parametrize("objective", [objective for objective, _ in CALLS.values()], ids=CALLS)
    def test_a_limit_that_does_not_suffice_is_refused_and_named(self, objective):
        if isinstance(objective, Wasserstein):
            pytest.importorskip("ot")
        with pytest.raises(ValueError, match="memory_limit.*Pass"):
            self.call(objective)(memory_limit=2_000)
        with pytest.raises(ValueError, match="`memory_limit` must be"):
            self.call(objective)(memory_limit=0)

    @pytest.mark.parametrize(
        "data", [LastLayer(Random(60)), TangentResidual(10, steps=1)], ids=["selector", "objective"]
    )
    def test_a_fit_hands_its_limit_to_them(self, data, monkeypatch):
        seen, (model, x) = [], wide_network()
        name = "select_inputs" if isinstance(data, LastLayer) else "distill"
        own = getattr(type(data), name)

        @functools.wraps(own)
        def watched(self, *given, memory_limit=None, **more):
            seen.append(memory_limit)
            return own(self, *given, memory_limit=memory_limit, **more)

        monkeypatch.setattr(type(data), name, watched)
        spec = dntk.DistilledNTK(model, data=data, sketch=dntk.sketch.SparseSign(64), gradients=Solution(2))
        spec.fit(x, memory_limit=64 * MIB)
        assert seen == [64 * MIB]
