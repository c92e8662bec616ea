"""Folders of features and kernels whose files were damaged, lost, exchanged or edited."""

import importlib
import itertools
import json
import shutil

import numpy as np
import pytest

import dntk
from dntk.archive import StoreError, read, write
from dntk.stores import Layout, manifest

SKETCH = dntk.sketch.SparseSign(24)


def network():
    rng = np.random.default_rng(0)
    weights = (rng.normal(size=(16, 6)).astype("f4"), rng.normal(size=(3, 16)).astype("f4"))
    return dntk.MLP(weights=weights, biases=(None, None), activation="tanh")


def features(folder, **more):
    x = np.random.default_rng(1).normal(size=(50, 6)).astype("f4")
    store = dntk.Store(folder, rows=20)
    return dntk.tangent_features(network(), x, sketch=SKETCH, store=store, **more)


def kernel(folder, **more):
    x = np.random.default_rng(1).normal(size=(50, 6)).astype("f4")
    return dntk.ntk(network(), x, store=dntk.Store(folder, rows=20), **more)


KINDS = {"features": (features, dntk.StoredFeatures, "c/0/{}/0"), "kernel": (kernel, dntk.StoredKernel, "c/{}/0")}


@pytest.fixture(params=KINDS)
def kind(request):
    """What makes a folder, what reads it, and the file of a chunk."""
    return KINDS[request.param]


def refused_and_unchanged(reads, folder, match):
    """Who reads is told, and writes nothing."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(StoreError, match=match):
        reads(folder).values  # noqa: B018
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_chunk_that_was_exchanged_is_noticed_when_it_is_read(kind, tmp_path):
    make, reads, chunk = kind
    expected = make(tmp_path / "run").values.tobytes()
    values = tmp_path / "run" / "values.zarr"
    shutil.copy(values / chunk.format(0), values / chunk.format(1))  # sound by its own checksum
    refused_and_unchanged(reads, tmp_path / "run", match=r"1(.0)? is damaged: let `dntk merge .*run` take out")
    with pytest.raises(StoreError, match=r"1(.0)? is damaged, and counts as missing from now on: run its shard"):
        dntk.merge(tmp_path / "run")
    assert make(tmp_path / "run").values.tobytes() == expected
    assert reads(tmp_path / "run").values.tobytes() == expected


def test_a_chunk_that_is_lost_is_an_error_and_made_again(kind, tmp_path):
    make, reads, chunk = kind
    expected = make(tmp_path / "run").values.tobytes()
    (tmp_path / "run" / "values.zarr" / chunk.format(2)).unlink()
    refused_and_unchanged(reads, tmp_path / "run", match="is damaged: let `dntk merge")
    assert make(tmp_path / "run").values.tobytes() == expected


def test_chunks_of_another_run_are_refused(kind, tmp_path):
    make, reads, _ = kind
    make(tmp_path / "run")
    x = np.random.default_rng(2).normal(size=(50, 6)).astype("f4")
    store = dntk.Store(tmp_path / "other", rows=20)
    if reads is dntk.StoredKernel:
        dntk.ntk(network(), x, store=store)
    else:
        dntk.tangent_features(network(), x, sketch=SKETCH, store=store)
    shutil.copytree(tmp_path / "other" / "values.zarr", tmp_path / "run" / "values.zarr", dirs_exist_ok=True)
    refused_and_unchanged(reads, tmp_path / "run", match="is damaged: let `dntk merge")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"little"', '"big"'),
        ('"data_type": "float32"', '"data_type": "int32"'),
        ('"NaN"', "0.0"),
        ('"name": "crc32c"', '"name": "gzip"'),
        ('"zarr_format": 3', '"zarr_format": 2'),
        ("{", "["),
        ("50", "60"),
    ],
)
def test_an_edited_description_is_refused_and_written_again(kind, old, new, tmp_path):
    make, reads, _ = kind
    expected = make(tmp_path / "run").values.tobytes()
    file = tmp_path / "run" / "values.zarr" / "zarr.json"
    sound = file.read_text()
    assert old in sound
    file.write_text(sound.replace(old, new, 1))
    with pytest.raises(StoreError, match=r"zarr.json (describes another array|is no description).*writes it again"):
        reads(tmp_path / "run").values  # noqa: B018
    assert make(tmp_path / "run").values.tobytes() == expected
    assert json.loads(file.read_text()) == json.loads(sound)


def test_a_description_that_is_lost_costs_no_chunk(kind, tmp_path, monkeypatch):
    make, reads, _ = kind
    expected = make(tmp_path / "run").values.tobytes()
    (tmp_path / "run" / "values.zarr" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="is no description"):
        reads(tmp_path / "run").values  # noqa: B018
    folder = importlib.import_module("dntk.stores.folder")
    monkeypatch.setattr(folder.StoreFolder, "_make", None)
    assert make(tmp_path / "run").values.tobytes() == expected
    assert not (tmp_path / "run" / "values.zarr.part").exists()


def test_a_damaged_array_of_somebody_else_is_named(tmp_path):
    features(tmp_path / "run")
    (tmp_path / "run" / "values.zarr" / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"zarr.json is no description of an array"):
        dntk.StoredFeatures(tmp_path / "run" / "values.zarr")


def test_merging_again_reads_every_chunk_again(tmp_path):
    features(tmp_path / "run")
    assert dntk.merge(tmp_path / "run").is_whole
    values = tmp_path / "run" / "values.zarr"
    shutil.copy(values / "c/0/0/0", values / "c/0/1/0")
    with pytest.raises(StoreError, match="counts as missing"):
        dntk.merge(tmp_path / "run")


@pytest.mark.parametrize("change", [{"shape": [3, 2**62, 24]}, {"chunks": [1, 1, 1]}, {"chunks": [3, 2**62, 24]}])
def test_a_manifest_that_was_edited_and_signed_again_neither_hangs_nor_is_believed(change, tmp_path):
    features(tmp_path / "run", shard=(0, 2))
    found = read(tmp_path / "run" / "manifest", manifest.FORMAT)
    write(tmp_path / "run" / "manifest", manifest.FORMAT, found.arrays, {**found.manifest, **change})
    for call in (dntk.merge, dntk.StoredFeatures, features):
        with pytest.raises(StoreError, match=r"has a shape|is of a chunk of another run|another (shape|rows)"):
            call(tmp_path / "run")


def test_the_chunks_that_some_numbers_are_in_are_known():
    layout = Layout(shape=(3, 50, 7), chunks=(2, 20, 7), dtype="float32")
    values = np.empty(layout.shape, dtype=int)
    for number in range(len(layout)):
        values[layout.slices(number)] = number
    edges = [0, 1, 19, 20, 21, 40, 49, 50]
    for first, last in itertools.combinations(edges, 2):
        for outputs in (slice(0, 3), slice(0, 1), slice(2, 3)):
            part = (outputs, slice(first, last), slice(0, 7))
            assert sorted(layout.touched(part)) == sorted(set(values[part].ravel().tolist()))
