import json
import os

import numpy as np
import pytest

import dntk
from dntk.distill.data import Random
from dntk.distill.gradients import Solution
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
ON_THE_HOST = [library for library in LIBRARIES if library.id in ("numpy", "torch", "jax")]


def _fitted(library=NUMPY, **changes):
    settings = {"data": Random(12), "gradients": Solution(3), "sketch": dntk.sketch.SparseSign(64, seed=5)} | changes
    return dntk.DistilledNTK(mlp(library), **settings).fit(inputs(library))


@pytest.mark.parametrize("library", ON_THE_HOST, ids=lambda library: library.id)
def test_a_loaded_estimator_predicts_what_the_saved_one_does(library, tmp_path):
    if library.why_not():
        pytest.skip(library.why_not())
    est, query = _fitted(library), inputs(library, n=6, seed=7)
    est.save(tmp_path / "est")
    back = dntk.load(tmp_path / "est")
    # The parts are equal bit for bit; products of them may differ in rounding with the arrays' memory layout.
    np.testing.assert_array_equal(host(back.state.weights), host(est.state.weights))
    np.testing.assert_allclose(host(back.predict(query)), host(est.predict(query)), atol=1e-5)
    np.testing.assert_allclose(host(back.kernel(query)), host(est.kernel(query)), atol=1e-5)
    np.testing.assert_array_equal(host(back.spectrum), host(est.spectrum))
    assert back.losses == est.losses
    assert back.ledger == est.ledger


@pytest.mark.parametrize("sketch", [None, dntk.sketch.Gaussian(32)])
def test_every_sketch_is_stored(sketch, tmp_path):
    est = _fitted(sketch=sketch)
    est.save(tmp_path / "est")
    np.testing.assert_array_equal(dntk.load(tmp_path / "est").predict(inputs(NUMPY)), est.predict(inputs(NUMPY)))


def test_a_subset_of_parameters_is_stored(tmp_path):
    est = dntk.DistilledNTK(mlp(NUMPY).subset("weights.*")).fit(inputs(NUMPY))
    est.save(tmp_path / "est")
    assert dntk.load(tmp_path / "est").model.n_parameters == est.model.n_parameters


def test_saving_again_replaces_and_leaves_nothing_beside(tmp_path):
    _fitted().save(tmp_path / "est")
    second = _fitted(gradients=Solution(5))
    second.save(tmp_path / "est")
    assert dntk.load(tmp_path / "est").losses.gradients == 5
    assert [p.name for p in tmp_path.iterdir()] == ["est"]


def test_nothing_stored_can_be_executed(tmp_path):
    _fitted().save(tmp_path / "est")
    assert sorted(p.name for p in (tmp_path / "est").iterdir()) == ["arrays.safetensors", "manifest.json"]
    json.loads((tmp_path / "est" / "manifest.json").read_text())


def test_a_foreign_folder_is_never_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="not a stored fit"):
        _fitted().save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_while_saving_loses_nothing(tmp_path, monkeypatch):
    first = _fitted()
    first.save(tmp_path / "est")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        _fitted(gradients=Solution(5)).save(tmp_path / "est")
    monkeypatch.undo()
    assert dntk.load(tmp_path / "est").losses == first.losses
    assert [p.name for p in tmp_path.iterdir()] == ["est"]


def test_a_failing_rename_puts_the_old_estimator_back(tmp_path, monkeypatch):
    first = _fitted()
    first.save(tmp_path / "est")
    replace = os.replace

    def failing(source, target):
        if str(target).endswith("est") and "previous" not in str(source):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(OSError, match="Input/output"):
        _fitted(gradients=Solution(5)).save(tmp_path / "est")
    monkeypatch.undo()
    assert dntk.load(tmp_path / "est").losses == first.losses


def _damage(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("arrays.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1]), "is damaged: its SHA-256"),
        ("arrays.safetensors", lambda b: b[: len(b) // 2], "is damaged: its SHA-256"),
        ("manifest.json", lambda b: b[:-20], "is not JSON"),
        ("manifest.json", lambda _: b'{"format": "other"}', "does not describe"),
        ("manifest.json", lambda _: b"[]", "does not describe"),
        ("manifest.json", lambda b: b.replace(b'"version": 2', b'"version": 9'), "format version 9"),
        ("manifest.json", lambda b: b.replace(b'"ridge"', b'"Ridge"'), "lacks or misstates"),
        ("manifest.json", lambda b: b.replace(b'"SparseSign"', b'"Mystery"'), "unknown sketch family"),
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path, name, change, message):
    _fitted().save(tmp_path / "est")
    _damage(tmp_path / "est", name, change)
    with pytest.raises(dntk.StoreError, match=message):
        dntk.load(tmp_path / "est")


def test_missing_pieces_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a folder"):
        dntk.load(tmp_path / "nowhere")
    with pytest.raises(dntk.StoreError, match=r"has no manifest\.json"):
        dntk.load(tmp_path)
    _fitted().save(tmp_path / "est")
    (tmp_path / "est" / "arrays.safetensors").unlink()
    with pytest.raises(dntk.StoreError, match="incomplete"):
        dntk.load(tmp_path / "est")


def test_a_network_with_other_parameters_is_refused(tmp_path):
    est = _fitted()
    est.save(tmp_path / "est")
    dntk.load(tmp_path / "est", model=mlp(NUMPY))
    with pytest.raises(dntk.StoreError, match="not the network of the fit"):
        dntk.load(tmp_path / "est", model=mlp(NUMPY, seed=1))


def test_a_certificate_is_stored_only_if_it_was_made_or_is_asked_for(tmp_path):
    fit = _fitted()
    fit.save(tmp_path / "without")
    without = dntk.load(tmp_path / "without")
    with pytest.raises(dntk.StoreError, match=r"certify=True"):
        _ = without.certificate
    assert not fit.state.certificate.is_made
    fit.save(tmp_path / "with", certify=True)
    assert str(dntk.load(tmp_path / "with").certificate) == str(fit.certificate)


def test_what_a_fit_knows_of_spans_and_uncertainty_is_read_back_as_it_was(tmp_path):
    fit, query = _fitted(), inputs(NUMPY, n=5, seed=9)
    fit.save(tmp_path / "est")
    back = dntk.load(tmp_path / "est")
    np.testing.assert_array_equal(back.span.squares, fit.span.squares)
    np.testing.assert_allclose(back.uncertainty(query), fit.uncertainty(query), rtol=1e-6)
    np.testing.assert_allclose(back.trust(query), fit.trust(query), rtol=1e-6)
    np.testing.assert_array_equal(back.indices, fit.indices)
    assert (back.ridge, back.sketch) == (fit.ridge, fit.sketch)
    assert back.state.made_by == fit.state.made_by


def test_distilled_data_are_not_read_as_a_fit(tmp_path):
    objective = dntk.distill.data.TangentResidual(4, steps=1)
    objective.distill(mlp(NUMPY), inputs(NUMPY)).save(tmp_path / "data")
    with pytest.raises(dntk.StoreError, match=r"holds distilled data.*DistilledData\.load"):
        dntk.load(tmp_path / "data")


def test_a_pytorch_module_has_to_be_passed_again(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).eval()
    model, x = dntk.as_model(net), inputs(LIBRARIES[1])
    est = dntk.DistilledNTK(model, ridge=1e-3).fit(x)
    est.save(tmp_path / "est")
    with pytest.raises(dntk.StoreError, match="pass it"):
        dntk.load(tmp_path / "est")
    np.testing.assert_array_equal(host(dntk.load(tmp_path / "est", model=model).predict(x)), host(est.predict(x)))
