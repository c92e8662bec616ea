"""Distilled data as a thing of its own: stored, shown, resumed, and taken by the pipeline."""

import dataclasses
import sys

import numpy as np
import pytest

import dntk
from dntk.distill.data import DistilledData, KernelInducing, OutputResidual, Platt, TangentResidual, Wasserstein
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp
from tests.test_archive import resigned

NUMPY = LIBRARIES[0]
ON_THE_HOST = [library for library in LIBRARIES if library.id in ("numpy", "torch", "jax")]
pytestmark = pytest.mark.usefixtures("compiled_quickly")
OBJECTIVES = [
    TangentResidual(6, steps=6, batch_size=20),
    OutputResidual(6, steps=6, batch_size=20),
    KernelInducing(2, steps=6, batch_size=20, label_learning_rate=0.01, loss=Platt()),
    Wasserstein(2, steps=6, learning_rate=0.05),
]


def name_of(objective):
    return type(objective).__name__


def labels(library, n=60):
    return library.array(np.arange(n) % 3, np.int32 if library.module == "jax" else np.int64)


def distilled(library=NUMPY, objective=OBJECTIVES[0]):
    return objective.distill(mlp(library), inputs(library, 60), labels(library))


@pytest.mark.parametrize("library", ON_THE_HOST, ids=lambda library: library.id)
def test_loaded_data_are_the_saved_ones(library, tmp_path):
    if library.why_not():
        pytest.skip(library.why_not())
    data = distilled(library)
    data.save(tmp_path / "data")
    for back in (DistilledData.load(tmp_path / "data"),):
        for name in ("x", "y", "weights"):
            np.testing.assert_array_equal(host(getattr(back, name)), host(getattr(data, name)))
        assert (back.history, back.provenance) == (data.history, data.provenance)
        assert (back.step, back.stopped) == (data.step, data.stopped)
        assert dntk.arrays.namespace(back.x) is dntk.arrays.namespace(data.x)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    assert type(DistilledData.load(tmp_path / "data", backend="numpy").x) is np.ndarray


def test_provenance_names_objective_seed_network_and_data():
    objective = KernelInducing(2, steps=1, seed=7, loss=Platt())
    data = distilled(NUMPY, objective)
    assert (data.provenance.objective, data.provenance.seed) == ("KernelInducing", 7)
    assert data.provenance.fields["per_class"] == 2
    assert data.provenance.fields["loss"] == "Platt(scale=10.0)"
    other = objective.distill(mlp(NUMPY, seed=1), inputs(NUMPY, 60), labels(NUMPY)).provenance
    assert other.model != data.provenance.model
    assert other.data == data.provenance.data


def test_damaged_and_foreign_files_are_refused(tmp_path):
    distilled().save(tmp_path / "data")
    path = tmp_path / "data"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(dntk.StoreError, match="is damaged"):
        DistilledData.load(tmp_path / "data")
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="not a stored set of distilled data"):
        distilled().save(tmp_path / "mine")
    distilled().save(tmp_path / "again")
    for old, new, message in (
        (rb"\"provenance\"", rb"\"origin\"", "expected the fields"),
        (rb"\"step\": ", rb"\"step\": -", "step is -"),
        (b'"y":', b'"z":', "has no array 'y'"),
    ):
        path = tmp_path / "again"
        distilled().save(path)
        path.write_bytes(resigned(path.read_bytes(), lambda text, o=old, n=new: text.replace(o, n)))
        with pytest.raises(dntk.StoreError, match=message):
            DistilledData.load(path)


class Killed(Exception):
    pass


@pytest.mark.parametrize("library", ON_THE_HOST, ids=lambda library: library.id)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
def test_an_interrupted_run_goes_on_to_the_identical_result(library, objective, tmp_path, monkeypatch):
    if library.why_not():
        pytest.skip(library.why_not())
    net, x, y = mlp(library), inputs(library, 60), labels(library)
    whole = objective.distill(net, x, y)
    place, steps, write = tmp_path / "run", [], dntk.distill.data.descent._moved

    def killed(state, *arguments):
        steps.append(state.step)
        if len(steps) == 5:
            raise Killed
        return write(state, *arguments)

    monkeypatch.setattr("dntk.distill.data.descent._moved", killed)
    with pytest.raises(Killed):
        objective.distill(net, x, y, checkpoint=place, every=0)
    resumed = objective.distill(net, x, y, checkpoint=place, every=0)
    assert steps == [0, 1, 2, 3, 4, 4, 5]
    for name in ("x", "y", "weights"):
        np.testing.assert_array_equal(host(getattr(resumed, name)), host(getattr(whole, name)))
    assert resumed.history == whole.history
    finished = objective.distill(net, x, y, checkpoint=place, every=0)
    assert steps == [0, 1, 2, 3, 4, 4, 5]
    np.testing.assert_array_equal(host(finished.x), host(whole.x))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    objective, net, x = OBJECTIVES[0], mlp(NUMPY), inputs(NUMPY, 60)
    objective.distill(net, x, checkpoint=tmp_path / "run")
    others = [
        (dataclasses.replace(objective, seed=1), net, x),
        (objective, mlp(NUMPY, seed=1), x),
        (objective, net, inputs(NUMPY, 60, seed=9)),
    ]
    for other in others:
        with pytest.raises(dntk.StoreError, match="another objective, network, seed or data"):
            other[0].distill(*other[1:], checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="`every`"):
        objective.distill(net, x, checkpoint=tmp_path / "new", every=-1)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name_of)
@pytest.mark.parametrize("given", [False, True], ids=["outputs", "labels"])
def test_the_pipeline_takes_objectives_and_counts_their_cost(objective, given, tmp_path):
    net, x, y = mlp(NUMPY), inputs(NUMPY, 60), labels(NUMPY) if given else None
    est = dntk.DistilledNTK(net, data=objective, ridge=1e-3).fit(x, y)
    assert est.indices is None
    assert est.losses.kept_points == len(est.data) == 6
    assert 0 < est.losses.data_trace_residual < 1
    rows = est.ledger["data"].jacobian_rows
    steps = len(est.data.history["loss"])
    per_step = 6 * steps if isinstance(objective, Wasserstein) else 2 * 6 * 3 * steps + 60 * 3
    per_step += 6 * steps if isinstance(objective, OutputResidual) else 0  # through its targets
    assert rows == per_step + 60 + 6  # and features of one functional, to tell what is left
    again = dntk.DistilledNTK(net, data=est.data, ridge=1e-3).fit(x, y)
    np.testing.assert_array_equal(again.predict(x), est.predict(x))
    assert again.ledger["data"].jacobian_rows == 66
    est.save(tmp_path / "est")
    back = dntk.load(tmp_path / "est")
    np.testing.assert_array_equal(back.predict(x), est.predict(x))
    np.testing.assert_array_equal(back.data.x, est.data.x)
    assert back.data.provenance == est.data.provenance


def test_the_residual_of_distilled_inputs_is_measured_on_the_real_points():
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 60, dtype="f8")
    data = TangentResidual(6, steps=3).distill(net, x)
    est = dntk.DistilledNTK(net, data=data, ridge=1e-3).fit(x)
    left, right = (dntk.tangent_features(net, at, sketch=None, outputs="sum").values[0] for at in (x, data.x))
    basis = np.linalg.qr(right.T)[0]
    expected = 1 - np.sum((left @ basis) ** 2) / np.sum(left**2)
    assert est.losses.data_trace_residual == pytest.approx(expected, abs=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_data_of_another_network_and_other_things_are_refused():
    data = distilled()
    with pytest.raises(dntk.StoreError, match="another|other parameters"):
        dntk.DistilledNTK(mlp(NUMPY, seed=1), data=data).fit(inputs(NUMPY, 60))
    with pytest.raises(TypeError, match="`data` is an int"):
        dntk.DistilledNTK(mlp(NUMPY), data=5).fit(inputs(NUMPY, 60))


def test_a_grid_shows_every_input(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    data = distilled()
    data.grid(tmp_path / "grid.png", shape=(2, 3), columns=4)
    assert (tmp_path / "grid.png").read_bytes()[:4] == b"\x89PNG"
    images = dataclasses.replace(data, x=np.random.default_rng(0).random((3, 5, 5, 3)))
    images.grid(tmp_path / "colour.png", channels_last=True)
    with pytest.raises(ValueError, match="are no images"):
        images.grid(tmp_path / "no.png")
    with pytest.raises(ValueError, match="has 4 pixels, but an input has 6"):
        data.grid(tmp_path / "no.png", shape=(2, 2))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "dntk\[report\]"'):
        data.grid(tmp_path / "no.png", shape=(2, 3))
