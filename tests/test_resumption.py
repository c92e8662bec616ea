"""Fits that are interrupted: the same call goes on, to the same bits; another one is refused; disks that are full."""

import collections
import dataclasses
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import dntk
from dntk import archive, checkpoints
from dntk.archive import files
from dntk.checkpoints import Checkpoints, KeptRows, described
from dntk.distill.data import Balanced, KernelInducing, LastLayer, Random, RPCholesky, TangentResidual
from dntk.distill.gradients import Solution
from dntk.estimator.resumption import Keep
from dntk.features import kept_features
from dntk.ledger import LedgerRecorder
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
SPARSE = dntk.sketch.SparseSign(32)
SPECIFICATIONS = {
    "points chosen by features": {"data": RPCholesky(12), "sketch": SPARSE, "gradients": Solution(4)},
    "points chosen by the last layer": {"data": LastLayer(RPCholesky(12)), "sketch": None, "gradients": Solution(4)},
    "all points, no gradients distilled": {"data": None, "sketch": SPARSE, "gradients": None},
    "inputs made": {"data": TangentResidual(6, steps=3, sketch=SPARSE), "sketch": SPARSE, "gradients": Solution(3)},
    "inputs made for classes": {"data": KernelInducing(2, steps=2, sketch=SPARSE), "sketch": SPARSE, "ridge": 1e-3},
    "within a tolerance": {"data": RPCholesky(4), "sketch": None, "gradients": Solution(2), "tolerance": 0.2},
}


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.fixture(autouse=True)
def _many_batches(monkeypatch):
    monkeypatch.setattr("dntk.models.batching.ALONE", 40_000)


@pytest.fixture
def writes(monkeypatch):
    """Kills the n-th write from now on, before its file is in place; how many there were."""
    state = collections.Counter()
    put = files._put

    def counted(part, destination, *, replace):
        state["done"] += 1
        if state["done"] == state["deadly"]:
            raise Killed
        put(part, destination, replace=replace)

    monkeypatch.setattr(files, "_put", counted)
    return state


def _everything(fit, query):
    """All that a fit is, on the host."""
    state = fit.state
    arrays = {"weights": state.weights, "basis": state.span().basis, "squares": state.span().squares}
    arrays |= {"spectrum": state.spectrum, "prediction": fit.predict(query)}
    arrays |= {"indices": state.indices} if state.data is None else state.data.arrays
    # Work of an objective's steps before a kill is not known; nor does every run need the same products.
    rows = [(cost.stage, cost.jacobian_rows) for cost in state.ledger.stages if state.data is None]
    plain = (state.ridge, state.losses, state.tolerance, rows, None if state.data is None else state.data.history)
    return {name: host(value) for name, value in arrays.items()}, plain


def _same(left, right):
    assert left[1] == right[1]
    for name, value in left[0].items():
        np.testing.assert_array_equal(value, right[0][name], err_msg=name)


class TestKills:
    @pytest.mark.parametrize("name", SPECIFICATIONS)
    def test_a_fit_that_is_killed_at_every_write_ends_with_the_same_bits(self, name, tmp_path, writes):
        model, x, query = mlp(NUMPY), inputs(NUMPY, n=40), inputs(NUMPY, n=7, seed=9)
        spec = dntk.DistilledNTK(model, **SPECIFICATIONS[name])
        whole = _everything(spec.fit(x, checkpoint=tmp_path / "whole"), query)
        writes.update(needed=writes["done"])
        kills = 0
        while True:
            writes.update(
                deadly=writes["done"] + 2 - writes["deadly"]
            )  # the first write that is new, then its successor
            try:
                fit = spec.fit(x, checkpoint=tmp_path / "killed")
            except Killed:
                kills += 1
                continue
            break
        _same(_everything(fit, query), whole)
        assert kills >= writes["needed"] // 2

    def test_every_library_goes_on_to_the_same_bits(self, library, tmp_path, writes):
        if library.module == "cupy":
            pytest.skip("CuPy has no reproducible sums")
        interpreted(library)
        model, x, query = mlp(library), inputs(library, n=30), inputs(library, n=7, seed=9)
        spec = dntk.DistilledNTK(model, **SPECIFICATIONS["points chosen by features"])
        whole = _everything(spec.fit(x, checkpoint=tmp_path / "whole"), query)
        for write in (3, 5):
            writes.clear()
            writes.update(deadly=write)
            with pytest.raises(Killed):
                spec.fit(x, checkpoint=tmp_path / "killed")
        writes.clear()
        _same(_everything(spec.fit(x, checkpoint=tmp_path / "killed"), query), whole)

    def test_a_process_that_is_killed_while_it_writes_goes_on_to_the_same_bits(self, tmp_path):
        code = (
            "import os, signal, sys, numpy as np, dntk\n"
            "from dntk.archive import files\n"
            "from dntk.distill.data import RPCholesky\n"
            "from dntk.models import batching\n"
            "batching.ALONE = 40_000\n"
            "left, put = [int(sys.argv[2])], files._put\n"
            "def deadly(part, destination, *, replace):\n"
            "    left[0] -= 1\n"
            "    if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    put(part, destination, replace=replace)\n"
            "files._put = deadly\n"
            "rng = np.random.default_rng(0)\n"
            "net = dntk.MLP(weights=tuple(rng.normal(size=s).astype('f4') for s in ((16, 6), (3, 16))),"
            " biases=tuple(rng.normal(size=s).astype('f4') for s in (16, 3)), activation='tanh')\n"
            "x = rng.normal(size=(40, 6)).astype('f4')\n"
            "spec = dntk.DistilledNTK(net, data=RPCholesky(12), sketch=dntk.sketch.SparseSign(32))\n"
            "fit = spec.fit(x, checkpoint=sys.argv[1])\n"
            "print(fit.weights.tobytes().hex())\n"
        )

        def run(folder, write):
            command = [sys.executable, "-c", code, str(tmp_path / folder), str(write)]
            return subprocess.run(command, check=False, capture_output=True, text=True)

        for write in (4, 3):
            assert run("killed", write).returncode == -signal.SIGKILL
        assert list((tmp_path / "killed").rglob("*.part"))
        assert run("killed", 0).stdout == run("whole", 0).stdout != ""

    def test_what_was_made_is_not_made_again(self, tmp_path):
        model, x = mlp(NUMPY), inputs(NUMPY, n=40)
        spec = dntk.DistilledNTK(model, data=Random(12), gradients=Solution(4), sketch=SPARSE)
        spec.fit(x, checkpoint=tmp_path / "run")
        events = []
        with dntk.progress(events.append, interval=0):
            spec.fit(x, checkpoint=tmp_path / "run")
        batches = [event for event in events if event.task == "tangent features"]
        assert batches
        assert all(event.done == event.skipped for event in batches)
        assert not [event for event in events if event.task == "solutions"]

    def test_an_entry_comes_back_as_it_was_on_every_library(self, library, tmp_path):
        like = library.array([0.5], "f4")
        made = {"floats": library.array([[0.1, 0.2]], "f4"), "places": library.array([3, 1], "i4")}
        folder = Checkpoints.at(tmp_path / "run", {"call": "this"})
        for _ in range(2):
            found, plain = folder.kept("entry", lambda: (made, {"number": 0.1}), like)
            assert plain == {"number": 0.1}
            for name, value in made.items():
                assert (found[name].dtype, found[name].device) == (value.dtype, value.device)
                np.testing.assert_array_equal(host(found[name]), host(value))

    def test_time_and_work_of_earlier_runs_stay_in_the_ledger(self, tmp_path):
        like = np.zeros(1)

        def slow():
            dntk.ledger.count(jacobian_rows=7, flops=11, seconds=5.0)
            return {"a": np.arange(3.0)}, {"b": 2}

        folder = Checkpoints.at(tmp_path / "run", {"call": "this"})
        for _ in range(2):
            recorder = LedgerRecorder()
            with recorder.stage("s"):
                arrays, plain = folder.kept("entry", slow, like)
            cost = recorder.ledger()["s"]
            assert (cost.jacobian_rows, cost.flops, plain) == (7, 11, {"b": 2})
            assert 5 <= cost.seconds < 6
            np.testing.assert_array_equal(arrays["a"], [0, 1, 2])


class TestOwners:
    @pytest.fixture
    def run(self, tmp_path):
        model, x = mlp(NUMPY), inputs(NUMPY, n=40)
        spec = dntk.DistilledNTK(model, data=Random(12), sketch=SPARSE)
        spec.fit(x, checkpoint=tmp_path / "run")
        return spec, x, tmp_path / "run"

    def test_another_specification_network_or_data_set_is_refused_by_name(self, run):
        spec, x, place = run
        y = np.arange(40) % 3
        others = {
            "specification": (dataclasses.replace(spec, ridge=0.1), x, None),
            "network": (dataclasses.replace(spec, model=mlp(NUMPY, seed=5)), x, None),
            "data set": (spec, inputs(NUMPY, n=40, seed=5), None),
            "set of targets": (spec, x, y),
        }
        for what, (other, points, targets) in others.items():
            with pytest.raises(dntk.StoreError, match=rf"with another {what}\. Choose another folder"):
                other.fit(points, targets, checkpoint=place)

    def test_a_network_that_makes_something_else_of_the_same_parameters_is_refused(self, run):
        spec, x, place = run
        other = dataclasses.replace(spec.model, activation="relu")
        with pytest.raises(dntk.StoreError, match="another network: its outputs at the same inputs differ"):
            dataclasses.replace(spec, model=other).fit(x, checkpoint=place)
        objective = TangentResidual(6, steps=2, sketch=SPARSE)
        objective.distill(spec.model, x, checkpoint=place.parent / "inputs")
        (place.parent / "inputs").unlink()  # as if it was killed before its first checkpoint
        with pytest.raises(dntk.StoreError, match="another network: its outputs at the same inputs differ"):
            objective.distill(other, x, checkpoint=place.parent / "inputs")

    def test_sources_of_points_are_told_apart_by_their_values(self, tmp_path):
        model, x = mlp(NUMPY), inputs(NUMPY, n=40)
        spec = dntk.DistilledNTK(model, data=Random(4), sketch=SPARSE)
        spec.fit(dntk.points(x), checkpoint=tmp_path / "run")
        other = x.copy()
        other[31, 2] += 1
        with pytest.raises(dntk.StoreError, match="another data set"):
            spec.fit(dntk.points(other), checkpoint=tmp_path / "run")

    def test_labels_inside_a_selector_are_told_apart(self, tmp_path):
        model, x = mlp(NUMPY), inputs(NUMPY, n=40)
        first, second = (np.roll(np.arange(40) % 2, shift) for shift in (0, 1))
        dntk.DistilledNTK(model, data=Balanced(Random(4), first), sketch=SPARSE).fit(x, checkpoint=tmp_path / "run")
        with pytest.raises(dntk.StoreError, match="another specification"):
            dntk.DistilledNTK(model, data=Balanced(Random(4), second), sketch=SPARSE).fit(
                x, checkpoint=tmp_path / "run"
            )

    def test_features_by_another_sketch_or_in_other_batches_are_entries_of_their_own(self, tmp_path):
        model, x = mlp(NUMPY), inputs(NUMPY, n=9)
        kept = (Checkpoints.at(tmp_path / "run", {"call": "this"}), "features")
        for sketch in (SPARSE, dntk.sketch.SparseSign(16), dntk.sketch.SparseSign(32, seed=1), None):
            found = kept_features(model, x, sketch=sketch, batch_size=9, kept=kept)
            np.testing.assert_allclose(found.values, dntk.tangent_features(model, x, sketch=sketch).values, rtol=1e-5)
        entries = len(list((tmp_path / "run").rglob("0*")))
        assert entries == 4
        kept_features(model, x, sketch=None, batch_size=10, kept=kept)
        assert len(list((tmp_path / "run").rglob("0*"))) == 5

    def test_a_folder_of_other_files_and_a_file_are_left_alone(self, run, tmp_path):
        spec, x, _ = run
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").write_text("words")
        with pytest.raises(FileExistsError, match="has files that are no checkpoint"):
            spec.fit(x, checkpoint=tmp_path / "mine")
        with pytest.raises(FileExistsError, match="is a file: pass a folder"):
            spec.fit(x, checkpoint=tmp_path / "mine" / "thesis.tex")
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]

    def test_a_folder_of_nothing_but_an_empty_file_is_begun_anew(self, run, tmp_path):
        spec, x, _ = run
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "call").touch()  # as a full disk may leave
        spec.fit(x, checkpoint=tmp_path / "empty")
        assert (tmp_path / "empty" / "call").stat().st_size > 0

    def test_a_damaged_entry_is_named(self, run):
        spec, x, place = run
        content = bytearray((place / "ridge").read_bytes())
        content[-1] ^= 1
        (place / "ridge").write_bytes(content)
        with pytest.raises(dntk.StoreError, match="ridge"):
            spec.fit(x, checkpoint=place)

    @pytest.mark.parametrize(
        "change",
        [
            {"indices": np.asarray([0, 40])},
            {"indices": np.asarray([-1, 3])},
            {"indices": np.asarray([0.0, 1.0])},
            {"indices": np.zeros(0, dtype="i8")},
            {"weights": np.ones(3, dtype="f4")},
            {"residual_trace": np.zeros(0, dtype="f4")},
        ],
        ids=lambda change: "".join(f"{name} {value}" for name, value in change.items()),
    )
    def test_an_edited_selection_is_named(self, change, tmp_path):
        x, place = inputs(NUMPY, n=40), tmp_path / "run"
        spec = dntk.DistilledNTK(mlp(NUMPY), data=Random(2), sketch=SPARSE)
        spec.fit(x, checkpoint=place)
        stored = archive.read(place / "selection", checkpoints.FORMAT)
        (place / "selection").unlink()
        archive.write(place / "selection", checkpoints.FORMAT, {**stored.arrays, **change}, stored.manifest)
        with pytest.raises(dntk.StoreError, match="(?s)selection describes what cannot be .*remove it"):
            spec.fit(x, checkpoint=place)

    @pytest.mark.parametrize("ridge", [-1.0, 0.0, np.inf, np.nan, None, 10**400])
    def test_an_edited_ridge_is_named(self, ridge, tmp_path):
        x, place = inputs(NUMPY, n=40), tmp_path / "run"
        spec = dntk.DistilledNTK(mlp(NUMPY), data=Random(20), sketch=SPARSE)
        spec.fit(x, checkpoint=place)
        stored = archive.read(place / "ridge", checkpoints.FORMAT)
        plain = {**stored.manifest["values"], "ridge": ridge}
        archive.write(place / "ridge", checkpoints.FORMAT, stored.arrays, {**stored.manifest, "values": plain})
        with pytest.raises(dntk.StoreError, match="(?s)ridge describes what cannot be .*remove it"):
            spec.fit(x, checkpoint=place)

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("gradients", lambda stored: {"basis": np.full_like(stored["basis"], 1e38)}),
            ("gradients", lambda stored: {"basis": 1e3 * stored["basis"]}),
            ("gradients", lambda stored: {"projected": 1e5 * stored["projected"]}),
            ("gradients", lambda stored: {"values": stored["values"][:, :, 1:]}),
            ("gradients", lambda stored: {"values": stored["values"][0, 0, :]}),
            ("gradients", lambda stored: {"directions": stored["directions"][..., 1:]}),
            ("gradients", lambda stored: {"targets": stored["targets"][:, 1:]}),
            ("gradients", lambda stored: {"projected": stored["projected"][:, 1:, :]}),
            ("ridge", lambda stored: {"weights": stored["weights"][:, 1:]}),
            ("ridge", lambda stored: {"dual": stored["dual"].astype("i8")}),
        ],
        ids=[
            "products overflow",
            "a long basis",
            "too large",
            "fewer features",
            "a vector",
            "fewer directions",
            "fewer targets",
            "fewer points",
            "fewer weights",
            "integers",
        ],
    )
    def test_edited_gradients_and_weights_are_named(self, name, change, tmp_path):
        x, place = inputs(NUMPY, n=40), tmp_path / "run"
        spec = dntk.DistilledNTK(
            mlp(NUMPY), data=Random(20), sketch=SPARSE, gradients=dntk.distill.gradients.Solution(3)
        )
        spec.fit(x, checkpoint=place)
        stored = archive.read(place / name, checkpoints.FORMAT)
        archive.write(place / name, checkpoints.FORMAT, stored.arrays | change(stored.arrays), stored.manifest)
        with pytest.raises(dntk.StoreError, match=f"(?s){name} describes what cannot be .*remove it"):
            spec.fit(x, checkpoint=place)

    def test_settings_are_described_the_same_in_every_process(self):
        @dataclasses.dataclass
        class Part:
            inner: object
            size: int

        text = described(Part({"a": (np.arange(3), object())}, 2))
        assert text == described(Part({"a": (np.arange(3), object())}, 2))
        assert text != described(Part({"a": (np.arange(3) + 1, object())}, 2))


class TestDisks:
    def test_a_disk_that_cannot_take_the_features_is_said_before_the_work(self, tmp_path, monkeypatch):
        usage = collections.namedtuple("usage", "total used free")
        monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 3_000))
        spec = dntk.DistilledNTK(mlp(NUMPY), data=None, sketch=SPARSE)
        events = []
        with (
            dntk.progress(events.append, interval=0),
            pytest.raises(OSError, match=r"tangent features take 15,360 bytes in .*run, and its disk has 3,000 free"),
        ):
            spec.fit(inputs(NUMPY, n=40), checkpoint=tmp_path / "run")
        assert all(event.done == 0 for event in events if event.task == "tangent features")

    def test_what_was_whole_when_a_disk_filled_up_is_used_afterwards(self, tmp_path, monkeypatch):
        spec, x = dntk.DistilledNTK(mlp(NUMPY), data=None, sketch=SPARSE), inputs(NUMPY, n=40)
        sync, calls = os.fsync, []

        def full(number):
            calls.append(number)
            if len(calls) >= 5:
                raise OSError(28, "No space left on device")
            sync(number)

        monkeypatch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            spec.fit(x, checkpoint=tmp_path / "run")
        monkeypatch.setattr(files.os, "fsync", sync)
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
        assert len(before) >= 2
        whole = spec.fit(x, checkpoint=tmp_path / "whole")
        np.testing.assert_array_equal(spec.fit(x, checkpoint=tmp_path / "run").weights, whole.weights)
        assert all(path.stat().st_mtime_ns == time for path, time in before.items())


class TestObjectives:
    @pytest.mark.parametrize("objective", [TangentResidual(6, steps=3, sketch=SPARSE)], ids=["tangent residual"])
    def test_features_of_all_data_are_not_made_again(self, objective, tmp_path):
        model, x = mlp(NUMPY), inputs(NUMPY, n=40)
        objective.distill(model, x, checkpoint=tmp_path / "run")
        events = []
        with dntk.progress(events.append, interval=0):
            objective.distill(model, x, checkpoint=tmp_path / "run")
        batches = [event for event in events if event.task == "tangent features" and event.total == 40]
        assert batches
        assert all(event.done == event.skipped for event in batches)

    def test_an_interruption_by_hand_loses_no_step(self, tmp_path, monkeypatch):
        objective, model, x = TangentResidual(6, steps=5, sketch=SPARSE), mlp(NUMPY), inputs(NUMPY, n=40)
        whole = objective.distill(model, x)
        steps = []
        moved = dntk.distill.data.descent._moved

        def interrupted(state, *rest):
            steps.append(state.step)
            if len(steps) == 4:
                raise KeyboardInterrupt
            return moved(state, *rest)

        monkeypatch.setattr("dntk.distill.data.descent._moved", interrupted)
        with pytest.raises(KeyboardInterrupt):
            objective.distill(model, x, checkpoint=tmp_path / "run", every=3600)
        resumed = objective.distill(model, x, checkpoint=tmp_path / "run", every=3600)
        assert steps == [0, 1, 2, 3, 3, 4]
        np.testing.assert_array_equal(resumed.x, whole.x)
        assert resumed.history == whole.history


def test_entries_of_another_call_or_under_another_name_and_edited_ones_are_refused(tmp_path):
    like, one = np.ones(1), lambda: ({"value": np.ones(2)}, {"number": 1.0})
    first = Checkpoints.at(tmp_path / "first", {"network": "a"})
    second = Checkpoints.at(tmp_path / "second", {"network": "b"})
    first.kept("entry", one, like)
    for folder, name in ((second, "entry"), (first, "other")):
        shutil.copy(tmp_path / "first" / "entry", folder.folder / name)
        with pytest.raises(dntk.StoreError, match=f"{name} is of another call, or of another part"):
            folder.kept(name, one, like)
    again = Checkpoints.at(tmp_path / "first", {"network": "a"})
    assert again.kept("entry", one, like)[1] == {"number": 1.0}
    with pytest.raises(dntk.StoreError, match="describes what cannot be"), again.building("entry"):
        {}["what"]


def test_entries_without_their_array_and_rows_of_other_points_are_refused(tmp_path):
    folder, like = Checkpoints.at(tmp_path / "kept", {"network": "a"}), np.ones(1)
    rows = KeptRows(folder, "features")
    folder.kept("features/000000000-000000002", lambda: ({"row": np.ones((1, 2, 3))}, {}), like)
    with pytest.raises(dntk.StoreError, match="000000002 has no array 'rows': remove it"):
        rows.rows(0, 2, lambda: np.ones((1, 2, 3)), like)
    folder.kept("features/000000002-000000004", lambda: ({"rows": np.ones((1, 1, 3))}, {}), like)
    with pytest.raises(dntk.StoreError, match=r"rows of shape \(1, 1, 3\), not of 2 points: remove it"):
        rows.rows(2, 4, lambda: np.ones((1, 2, 3)), like)


def test_a_kept_spectrum_that_is_none_is_refused(tmp_path):
    keep = Keep(Checkpoints.at(tmp_path / "kept", {"network": "a"}))
    found = keep.spectrum(np.ones(1), lambda: np.asarray([2.0, 1.0]))
    np.testing.assert_array_equal(found, [2.0, 1.0])
    (tmp_path / "kept" / "spectrum").unlink()
    with pytest.raises(dntk.StoreError, match="(?s)spectrum describes what cannot be .*descending order.*remove it"):
        keep.spectrum(np.ones(1), lambda: np.asarray([1.0, 2.0]))


@pytest.mark.parametrize("name", ["torch", "jax.numpy"])
def test_entries_of_bfloat16_are_of_that_type_whether_made_or_found(name, tmp_path):
    xp = pytest.importorskip(name)
    value = xp.asarray([1.0, 1 / 3, -2e30], dtype=xp.bfloat16)
    folder = Checkpoints.at(tmp_path / "run", {"call": "this"})
    for _ in range(2):
        (found, _plain) = folder.kept("entry", lambda: ({"x": value, "y": value[0]}, {}), value)
        assert found["x"].dtype == found["y"].dtype == value.dtype
        assert bool((found["x"] == value).all())
        assert found["y"].shape == ()
