import json

import numpy as np
import pytest

import dntk
from dntk.distill.data import Random
from dntk.distill.gradients import Solution
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp
from tests.test_archive import resigned

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
    from safetensors import safe_open

    _fitted().save(tmp_path / "est")
    with safe_open(tmp_path / "est", framework="numpy") as file:
        assert set(file.metadata()) == {"sha256", "manifest"}
        assert json.loads(file.metadata()["manifest"])["format"] == "dntk.DistilledNTK"


def test_a_foreign_folder_is_never_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="not a stored fit"):
        _fitted().save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_disk_that_fails_while_saving_loses_nothing(tmp_path, monkeypatch, moment):
    first = _fitted()
    first.save(tmp_path / "est")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"os.{moment}", full)
    with pytest.raises(OSError, match="No space left"):
        _fitted(gradients=Solution(5)).save(tmp_path / "est")
    monkeypatch.undo()
    assert dntk.load(tmp_path / "est").losses == first.losses
    assert [p.name for p in tmp_path.iterdir()] == ["est"]


def _edited(path, *changes):
    """Edit the text of a file, and sign it again."""
    for old, new in changes:
        path.write_bytes(resigned(path.read_bytes(), lambda text, o=old, n=new: text.replace(o, n)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (rb"\"version\": 4", rb"\"version\": 9", "format version 9"),
        (b"dntk.DistilledNTK", b"dntk.Other", "holds 'dntk.Other', not a fit"),
        (rb"\"ridge\"", rb"\"Ridge\"", "expected the fields"),
        (rb"\"ridge\": ", rb"\"ridge\": -", r"ridge is -.*expected a number from 0"),
        (rb"\"ridge\": ", rb"\"ridge\": NaN, \"no\": ", "ridge is|expected the fields"),
        (rb"\"layers\": 2", rb"\"layers\": 2147483648", "network.layers is 2147483648"),
        (b'"indices":', b'"indexes":', "has no array 'indices'"),
        (rb"\"layers\": 2", rb"\"layers\": 9999", "has no array 'network.weights"),
        (rb"\"SparseSign\"", rb"\"Mystery\"", "sketch.family is 'Mystery'"),
        (rb"\"dim\": 64", rb"\"dim\": 32", "has a sketch of"),
        (rb"\"nonzeros\": 8", rb"\"nonzeros\": 80", "describes what cannot be"),
        (rb"\"points\": ", rb"\"points\": 0.5", "losses.points is"),
        (rb"\"backend\": \"numpy\"", rb"\"backend\": \"nunpy\"", "no backend is registered"),
    ],
)
def test_a_manifest_that_was_edited_and_signed_again_is_refused(tmp_path, old, new, message):
    _fitted().save(tmp_path / "est")
    assert old in (tmp_path / "est").read_bytes()
    _edited(tmp_path / "est", (old, new))
    with pytest.raises(dntk.StoreError, match=message):
        dntk.load(tmp_path / "est")


def test_files_that_are_none_of_ours_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        dntk.load(tmp_path / "nowhere")
    with pytest.raises(dntk.StoreError, match="is a folder, no fit"):
        dntk.load(tmp_path)


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
    with pytest.raises(dntk.StoreError, match=r"holds a set of distilled data.*DistilledData\.load"):
        dntk.load(tmp_path / "data")


def test_a_network_of_a_library_without_a_backend_has_to_be_passed_again(tmp_path):
    library = next(library for library in LIBRARIES if library.module == "array_api_strict")
    model, x = mlp(library), inputs(library)
    fit = dntk.DistilledNTK(model, ridge=1e-3).fit(x)
    fit.save(tmp_path / "fit")
    with pytest.raises(dntk.StoreError, match=r"arrays of array_api_strict.*dntk\.load\(path, model=network\)"):
        dntk.load(tmp_path / "fit")
    back = dntk.load(tmp_path / "fit", model=model)
    np.testing.assert_array_equal(host(back.predict(x)), host(fit.predict(x)))


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
