"""Columns of Arrow beside stored features: those of the same points, or an error."""

import importlib

import numpy as np
import pytest

import dntk
from dntk.archive import StoreError
from tests.libraries import LIBRARIES
from tests.test_stored_features import data, stored

annotating = importlib.import_module("dntk.features._annotations")


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow")


@pytest.fixture
def phi(tmp_path):
    return stored(tmp_path / "run")


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.id)
def test_columns_come_back_with_the_points_that_they_were_given_for(library, arrow, phi):
    if library.why_not():
        pytest.skip(library.why_not())
    losses = np.random.default_rng(0).normal(size=len(phi)).astype("f4")
    names = [f"point {i}" for i in range(len(phi))]
    path = dntk.annotate(phi, {"loss": library.array(losses), "name": names})
    again = dntk.StoredFeatures(phi.path)
    found = dntk.annotations(again[20:50][5:9])
    assert found["name"].to_pylist() == names[25:29]
    np.testing.assert_array_equal(found["loss"].to_numpy(), losses[25:29])
    with arrow.OSFile(str(path)) as stream:  # as any other reader
        assert arrow.ipc.open_file(stream).read_all().column_names == ["loss", "name"]


@pytest.mark.usefixtures("arrow")
def test_columns_are_added_and_none_is_changed(phi):
    first, second = np.arange(len(phi)), np.arange(len(phi)) / 2
    dntk.annotate(phi, {"id": first})
    dntk.annotate(phi, {"id": first, "loss": second})
    assert dntk.annotations(phi).column_names == ["id", "loss"]
    with pytest.raises(ValueError, match="column 'id' is in .* with other values: choose another name"):
        dntk.annotate(phi, {"id": first + 1})
    np.testing.assert_array_equal(dntk.annotations(phi)["id"].to_numpy(), first)


@pytest.mark.usefixtures("arrow")
def test_features_with_columns_are_made_and_read_as_before(phi):
    dntk.annotate(phi, {"id": np.arange(len(phi))})
    assert stored(phi.path).values.tobytes() == phi.values.tobytes()


@pytest.mark.usefixtures("arrow")
def test_a_damaged_table_and_one_of_other_features_are_refused(phi, tmp_path):
    path = dntk.annotate(phi, {"id": np.arange(len(phi))})
    content = path.read_bytes()
    spoilt = bytearray(content)
    spoilt[spoilt.index(np.arange(7, 9).tobytes())] += 1
    path.write_bytes(bytes(spoilt))
    with pytest.raises(StoreError, match="is damaged, its digest is another: remove it"):
        dntk.annotations(phi)
    path.write_bytes(content[:-20])
    with pytest.raises(StoreError, match="cannot be read"):
        dntk.annotate(phi, {"loss": np.zeros(len(phi))})
    other = stored(tmp_path / "other", data() + 1)
    (other.path / "points.arrow").write_bytes(content)
    with pytest.raises(StoreError, match="is of other features than those in"):
        dntk.annotations(other)


@pytest.mark.usefixtures("arrow", "unchecked")
def test_what_is_no_column_is_refused(phi, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no points.arrow in .*: write it by dntk.annotate"):
        dntk.annotations(phi)
    wrong = {"too few": np.zeros(3), "a matrix": np.zeros((len(phi), 2)), "mixed": [None] * len(phi), "text": "abc"}
    for name, value in wrong.items():
        kind = ValueError if name == "too few" else TypeError
        with pytest.raises(kind, match=rf"`columns\['{name}'\]` .*: pass "):
            dntk.annotate(phi, {name: value})
    with pytest.raises(ValueError, match="`phi` is a slice of the features"):
        dntk.annotate(phi[3:], {"id": np.arange(len(phi) - 3)})
    np.save(tmp_path / "values.npy", phi.values)
    for one in (dntk.TangentFeatures(phi.values), dntk.StoredFeatures(np.load(tmp_path / "values.npy", mmap_mode="r"))):
        with pytest.raises(TypeError, match="with no folder of its own: pass features that were made with store="):
            dntk.annotate(one, {"id": np.arange(len(phi))})


def test_without_pyarrow_it_is_said_what_to_install(phi, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(annotating.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r'pip install "dntk\[arrow\]"'):
        dntk.annotate(phi, {"id": np.arange(len(phi))})
