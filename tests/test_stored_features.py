"""Features on the disk: what is stored, what is read, and what is refused."""

import builtins
import dataclasses
import errno
import importlib
import os
import platform
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import dntk
from dntk.archive import StoreError
from dntk.features import Neighbours, require_comparable, require_features
from dntk.stores import Layout, Shard, StoreFolder, Wanted, shard_of
from dntk.stores.layout import rows_of_chunk
from tests.libraries import LIBRARIES, Library, host

zarr = importlib.import_module("zarr")
SKETCH = dntk.sketch.SparseSign(24)
NUMPY = LIBRARIES[0]


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.id)
def library(request):
    if request.param.why_not():
        pytest.skip(request.param.why_not())
    return request.param


def network(library: Library = NUMPY, seed: int = 0, dtype: str = "float32") -> dntk.MLP:
    rng = np.random.default_rng(seed)
    sizes = ((16, 6), (3, 16))
    weights = tuple(library.array(rng.normal(size=size) / size[1] ** 0.5, dtype) for size in sizes)
    return dntk.MLP(weights=weights, biases=(None, None), activation="tanh")


def data(n: int = 150, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 6)).astype(dtype)


def stored(folder, x=None, model=None, **more):
    x = data() if x is None else x
    return dntk.tangent_features(network() if model is None else model, x, sketch=SKETCH, store=folder, **more)


class TestFeatures:
    def test_stored_features_are_those_in_memory_on_every_library(self, library, tmp_path):
        model, x = network(library), library.array(data())
        phi = dntk.tangent_features(model, x, sketch=SKETCH, store=tmp_path / "run", batch_size=64)
        expected = host(dntk.tangent_features(model, x, sketch=SKETCH, batch_size=64).values)
        assert isinstance(phi, dntk.StoredFeatures)
        assert (phi.n_outputs, len(phi), phi.dim, phi.sketch) == (3, 150, 24, SKETCH.__class__(24, n_parameters=144))
        assert type(phi.values) is type(x)
        np.testing.assert_array_equal(host(phi.values), expected)
        np.testing.assert_array_equal(np.concatenate([host(part.values) for _, part in phi.chunks()], axis=1), expected)
        np.testing.assert_array_equal(host(phi[[3, -1]].values), expected[:, [3, 149], :])
        part = phi[70:140]
        assert isinstance(part, dntk.StoredFeatures)
        np.testing.assert_array_equal(host(part[5:66].values), expected[:, 75:136, :])
        np.testing.assert_allclose(host(phi.kernel(phi[:4])), host(phi.kernel())[:, :4], rtol=1e-5, atol=1e-5)

    def test_what_may_be_compared_is_told_without_reading_all(self, tmp_path):
        stored(tmp_path / "run")
        phi = dntk.StoredFeatures(tmp_path / "run", memory_limit=1)
        assert require_features("phi", phi) is phi
        with pytest.raises(ValueError, match="`other` was made by"):
            require_comparable(phi.sample.values, dntk.sketch.SparseSign(24, seed=1), phi, "other")

    def test_a_folder_is_read_without_the_network(self, tmp_path):
        phi = stored(tmp_path / "run")
        again = dntk.StoredFeatures(str(tmp_path / "run"))
        assert again.sketch == phi.sketch
        np.testing.assert_array_equal(again.to_numpy(), phi.values)
        plain = zarr.open_array(str(tmp_path / "run" / "values.zarr"), mode="r")
        np.testing.assert_array_equal(plain[...], phi.values)
        assert plain.metadata.dimension_names == ("output", "point", "feature")

    def test_zarr_arrays_and_memory_maps_are_features(self, tmp_path):
        phi = stored(tmp_path / "run")
        phi.export(tmp_path / "x.npy")
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        np.testing.assert_array_equal(mapped, phi.values)
        for source in (mapped, tmp_path / "run" / "values.zarr"):
            np.testing.assert_array_equal(dntk.StoredFeatures(source, phi.sketch).values, phi.values)
        flat = dntk.StoredFeatures(mapped[0])
        np.testing.assert_array_equal(flat[20:30].values, mapped[:1, 20:30])
        with pytest.raises(FileExistsError, match="exists: choose another path"):
            phi.export(tmp_path / "x.npy")

    @pytest.mark.parametrize(("dtype", "unit"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
    def test_16_bits_on_the_disk_round_every_number_once(self, dtype, unit, tmp_path):
        exact = stored(tmp_path / "wide").values
        phi = stored(dntk.Store(tmp_path / "narrow", dtype=dtype))
        assert phi.values.dtype == np.float32
        large = np.abs(exact) > 1e-4  # float16 has no smaller normal numbers
        assert np.max(np.abs(phi.values - exact)[large] / np.abs(exact)[large]) <= unit
        size = sum(file.stat().st_size for file in (tmp_path / "narrow" / "values.zarr").rglob("c/0/*/0"))
        assert size == 3 * (3 * 64 * 24 * 2 + 4)

    def test_bfloat16_rounds_ties_to_even_and_back(self):
        from dntk.stores.chunk_files import from_disk, to_disk

        values = np.asarray([1.0, 1 + 2.0**-8, 1 + 3 * 2.0**-8, -3.1415927, 0.0], dtype=np.float32)
        found = from_disk(to_disk(values, "bfloat16"), "bfloat16")
        np.testing.assert_array_equal(found, np.asarray([1.0, 1.0, 1 + 2.0**-6, -3.140625, 0.0], dtype=np.float32))

    def test_numbers_beyond_float16_are_refused_and_nothing_counts_as_done(self, tmp_path):
        model = dntk.MLP(
            weights=(np.full((2, 6), 1e5, "f4"), np.ones((3, 2), "f4")), biases=(None, None), activation="relu"
        )
        with pytest.raises(ValueError, match=r"largest number, .* is beyond float16: store in bfloat16"):
            stored(dntk.Store(tmp_path / "run", dtype="float16"), model=model)
        assert not (tmp_path / "run" / "chunks").exists()

    def test_values_beyond_the_memory_limit_are_an_error_with_the_way_out(self, tmp_path):
        stored(tmp_path / "run")
        phi = dntk.StoredFeatures(tmp_path / "run", memory_limit=20_000)
        with pytest.raises(MemoryError, match=r"take 43,200 bytes at once, 20,000 are allowed.*Or choose points first"):
            phi.values  # noqa: B018
        assert len(phi[:10].values[0]) == 10

    def test_the_memory_of_a_call_is_that_of_a_chunk(self):
        assert rows_of_chunk(10**6, 20_000) == 2**25 // 20_000
        assert rows_of_chunk(10**6, 20_000, memory_limit=2**24) == 2**20 // 20_000
        assert rows_of_chunk(1000, 10) == 64
        assert rows_of_chunk(10, 10**9) == 1
        layout = Layout(shape=(3, 100, 8), chunks=(3, 32, 8), dtype="float32")
        assert [layout.shape_of(i)[1] for i in range(len(layout))] == [32, 32, 32, 4]

    def test_the_memory_limit_is_of_a_chunk_however_many_points_a_source_has(self, tmp_path):
        whole = 4 * 3 * 24 * 5000  # bytes of all features, of which a limit of a third does not hold a copy
        for name, x in {"array": data(5000), "source": dntk.points(list(data(5000)))}.items():
            phi = stored(tmp_path / name, x, memory_limit=whole // 3)
            assert len(phi) == 5000
        assert (tmp_path / "array" / "manifest").read_bytes() == (tmp_path / "source" / "manifest").read_bytes()

    def test_a_memory_limit_too_small_for_a_chunk_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"a chunk of 100 points takes .* fewer rows, dntk.Store\(path, rows="):
            stored(dntk.Store(tmp_path / "run", rows=100), memory_limit=10_000)

    def test_the_nearest_points_are_found_by_blocks(self, library, tmp_path):
        model = network(library)
        phi = dntk.tangent_features(model, library.array(data()), sketch=SKETCH, store=tmp_path / "run")
        queries = phi[[40, 149, 0]]
        found = phi.nearest(queries, 5)
        assert isinstance(found, Neighbours)
        joined = host(phi.joined()).astype("f8")
        squares = np.sum((joined[[40, 149, 0], None, :] - joined[None, :, :]) ** 2, axis=2)
        np.testing.assert_array_equal(host(found.indices), np.argsort(squares, axis=1, kind="stable")[:, :5])
        np.testing.assert_allclose(host(found.distances) ** 2, np.sort(squares, axis=1)[:, :5], rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(host(phi[:150].nearest(queries, 5).indices), host(found.indices))

    def test_more_neighbours_than_points_are_refused(self, tmp_path):
        phi = stored(tmp_path / "run")
        with pytest.raises(ValueError, match="151 neighbours are asked of 150"):
            phi.nearest(phi[:1], 151)


class TestShards:
    @pytest.mark.parametrize("shards", [1, 2, 3, 5])
    def test_shards_give_the_same_bits(self, shards, tmp_path):
        expected = stored(tmp_path / "whole")
        for index in reversed(range(shards)):
            found = stored(tmp_path / "run", shard=(index, shards))
        if shards > 1:
            assert isinstance(found, dntk.StoredShard)
            dntk.merge(tmp_path / "run")
        phi = dntk.StoredFeatures(tmp_path / "run")
        assert phi.values.tobytes() == expected.values.tobytes()
        assert stored(tmp_path / "run", shard=(0, shards)).values.tobytes() == expected.values.tobytes()

    def test_processes_at_the_same_time_give_the_same_bits(self, tmp_path):
        expected = stored(tmp_path / "whole").values.tobytes()
        script = "import sys, dntk; from tests.test_stored_features import stored; stored(sys.argv[1])"
        running = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(tmp_path / "run")],
                env=os.environ | {"RANK": str(i), "WORLD_SIZE": "2"},
            )
            for i in range(2)
        ]
        assert [process.wait() for process in running] == [0, 0]
        done = subprocess.run(
            [sys.executable, "-m", "dntk.cli", "merge", str(tmp_path / "run")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "3 x 150 x 24 numbers of float32, 3 chunks, whole" in done.stdout
        assert dntk.StoredFeatures(tmp_path / "run").values.tobytes() == expected

    def test_memory_and_the_machine_choose_batches_once(self, tmp_path):
        stored(tmp_path / "run", shard=(0, 2), batch_size=16)
        stored(tmp_path / "run", shard=(1, 2), memory_limit=10**8)
        dntk.merge(tmp_path / "run")
        expected = stored(tmp_path / "whole", batch_size=16)
        assert dntk.StoredFeatures(tmp_path / "run").values.tobytes() == expected.values.tobytes()

    def test_machines_of_other_names_whose_clocks_differ_give_the_same_bits(self, tmp_path, monkeypatch):
        expected = stored(tmp_path / "whole").values.tobytes()
        now, asked = time.time(), []
        for index, (name, days) in enumerate((("first", 0), ("second", 400), ("third", -400))):
            monkeypatch.setattr(platform, "node", lambda name=name: asked.append(name) or name)
            monkeypatch.setattr(time, "time", lambda days=days: now + days * 24 * 3600)
            stored(tmp_path / "run", shard=(index, 3))
        assert set(asked) == {"first", "second", "third"}
        dntk.merge(tmp_path / "run")
        assert dntk.StoredFeatures(tmp_path / "run").values.tobytes() == expected

    def test_a_missing_shard_is_named(self, tmp_path):
        for index in (0, 2):
            stored(tmp_path / "run", shard=(index, 3))
        for call in (dntk.merge, dntk.StoredFeatures):
            with pytest.raises(
                StoreError, match=r"lacks 1 of 3 chunks, .*\[0:3, 64:128, 0:24\]: run shard 1 of 3 again"
            ):
                call(tmp_path / "run")
        stored(tmp_path / "run", shard=(1, 3))
        with pytest.raises(StoreError, match="has all its chunks, but they are not joined yet: dntk merge"):
            dntk.StoredFeatures(tmp_path / "run")

    def test_shards_of_different_runs_are_not_joined(self, tmp_path):
        stored(tmp_path / "one", shard=(0, 2))
        stored(tmp_path / "two", shard=(1, 2), x=data() + 1)
        with pytest.raises(StoreError, match="belongs to a call with another set of points"):
            stored(tmp_path / "one", shard=(1, 2), x=data() + 1)
        for part in ("chunks", "values.zarr.part"):
            shutil.copytree(tmp_path / "two" / part, tmp_path / "one" / part, dirs_exist_ok=True)
        with pytest.raises(StoreError, match="is of a chunk of another run"):
            dntk.merge(tmp_path / "one")

    @pytest.mark.parametrize("count", [1, 2, 7, 40])
    def test_every_chunk_is_of_one_shard(self, count):
        assert [number for i in range(count) for number in Shard(i, count).numbers(23)] == list(range(23))

    def test_folders_of_other_kinds_are_refused(self, tmp_path):
        stored(tmp_path / "run")
        with pytest.raises(StoreError, match="holds a features, not kernel"):
            StoreFolder.opened(tmp_path / "run", "kernel")
        assert {"kind", "owner", "layout", "batch"} <= {field.name for field in dataclasses.fields(Wanted)}

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ({}, (0, 1)),
            ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
            ({"RANK": "3", "WORLD_SIZE": "8", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (3, 8)),
            ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "16"}, (5, 16)),
            (
                {
                    "SLURM_ARRAY_TASK_ID": "13",
                    "SLURM_ARRAY_TASK_COUNT": "4",
                    "SLURM_ARRAY_TASK_MIN": "5",
                    "SLURM_ARRAY_TASK_STEP": "4",
                },
                (2, 4),
            ),
            ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (1, 2)),
        ],
    )
    def test_the_shard_is_that_of_the_process(self, names, expected):
        shard = shard_of(None, names)
        assert (shard.index, shard.count) == expected

    def test_variables_that_are_no_numbers_are_refused(self):
        with pytest.raises(ValueError, match="the variable RANK is 'x'"):
            shard_of(None, {"RANK": "x", "WORLD_SIZE": "2"})

    @pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0), 3, (0.5, 2), ("0", "2")])
    def test_parts_that_are_none_are_refused(self, shard, tmp_path):
        with pytest.raises(ValueError, match="`shard`=.*counted from 0"):
            stored(tmp_path / "run", shard=shard)

    def test_a_shard_without_a_store_is_refused(self):
        with pytest.raises(ValueError, match="`shard`=.* without `store`"):
            dntk.tangent_features(network(), data(), sketch=SKETCH, shard=(0, 2))


class TestResuming:
    def test_chunks_that_are_there_are_not_computed_again(self, tmp_path, monkeypatch):
        expected = stored(tmp_path / "whole")
        stored(tmp_path / "run", shard=(0, 3))
        calls = []
        storing = importlib.import_module("dntk.features._storing")
        compute = storing.sketched_gradients
        monkeypatch.setattr(storing, "sketched_gradients", lambda *given: calls.append(1) or compute(*given))
        phi = stored(tmp_path / "run")
        assert len(calls) == 2
        assert phi.values.tobytes() == expected.values.tobytes()

    def test_a_chunk_without_its_record_is_made_again(self, tmp_path):
        expected = stored(tmp_path / "whole")
        stored(tmp_path / "run", shard=(0, 2))
        (tmp_path / "run" / "chunks" / "0000000").unlink()
        (tmp_path / "run" / "values.zarr.part" / "c" / "0" / "0" / "0").write_bytes(b"half")
        assert stored(tmp_path / "run").values.tobytes() == expected.values.tobytes()

    def test_a_chunk_whose_file_is_cut_off_is_made_again(self, tmp_path):
        expected = stored(tmp_path / "whole")
        stored(tmp_path / "run", shard=(0, 2))
        file = tmp_path / "run" / "values.zarr.part" / "c" / "0" / "0" / "0"
        file.write_bytes(file.read_bytes()[:100])
        assert stored(tmp_path / "run").values.tobytes() == expected.values.tobytes()

    def test_a_full_disk_is_said_and_what_is_there_stays(self, tmp_path, monkeypatch):
        expected = stored(tmp_path / "whole")
        folder = importlib.import_module("dntk.stores.folder")
        write, written = folder.write_whole, []

        def full(path, content):
            if len(written) == 2:
                raise OSError(errno.ENOSPC, "No space left: the disk is full")
            written.append(path)
            write(path, content)

        monkeypatch.setattr(folder, "write_whole", full)
        with pytest.raises(OSError, match="No space left"):
            stored(tmp_path / "run")
        monkeypatch.undo()
        with pytest.raises(StoreError, match="lacks 1 of 3 chunks"):
            dntk.StoredFeatures(tmp_path / "run")
        assert stored(tmp_path / "run").values.tobytes() == expected.values.tobytes()

    def test_a_disk_too_small_is_said_before_anything_is_computed(self, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=20_000))
        with pytest.raises(OSError, match=r"3 chunks take 55,296 bytes .* 20,000 free.*dtype='bfloat16'"):
            stored(tmp_path / "run")


class TestOwners:
    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"model": network(seed=1)}, "network"),
            ({"x": data(151)}, "set of points"),
            ({"x": data() * 2}, "set of points"),
            ({"outputs": 1}, "output"),
            ({"batch_size": 7}, "batch size"),
        ],
    )
    def test_another_call_is_refused_by_what_differs(self, change, named, tmp_path):
        stored(tmp_path / "run", shard=(0, 2))
        with pytest.raises(StoreError, match=f"belongs to a call with another {named}"):
            stored(tmp_path / "run", **change)

    def test_another_sketch_type_or_chunk_is_refused(self, tmp_path):
        stored(tmp_path / "run")
        with pytest.raises(StoreError, match="another sketch"):
            dntk.tangent_features(network(), data(), sketch=dntk.sketch.SparseSign(24, seed=1), store=tmp_path / "run")
        for store in (dntk.Store(tmp_path / "run", dtype="bfloat16"), dntk.Store(tmp_path / "run", rows=10)):
            with pytest.raises(StoreError, match="another (type on the disk|rows)"):
                stored(store)

    def test_another_activation_shows_in_the_outputs(self, tmp_path):
        stored(tmp_path / "run")
        model = network()
        other = dntk.MLP(weights=model.weights, biases=model.biases, activation="relu")
        with pytest.raises(StoreError, match="another network: its outputs at the same inputs differ"):
            stored(tmp_path / "run", model=other)

    def test_other_points_in_the_middle_are_noticed_when_the_call_goes_on(self, tmp_path):
        stored(tmp_path / "run", shard=(0, 2))
        x = data()
        x[20] += 1
        with pytest.raises(StoreError, match="with other points: those of chunk 0"):
            stored(tmp_path / "run", x=x)

    def test_folders_with_other_files_are_left_alone(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="has files that are no store"):
            stored(tmp_path)
        with pytest.raises(FileExistsError, match="is a file"):
            stored(tmp_path / "notes.txt")
        assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]
        for call in (dntk.merge, dntk.StoredFeatures):
            with pytest.raises(FileNotFoundError, match="nothing|no store"):
                call(tmp_path / "nothing")

    def test_checkpoints_and_stores_are_told_apart(self, tmp_path):
        dntk.DistilledNTK(network(), sketch=SKETCH, gradients=None).fit(data(30), checkpoint=tmp_path / "fit")
        with pytest.raises(FileExistsError, match="no store"):
            stored(tmp_path / "fit")


class TestDamage:
    @pytest.mark.parametrize("place", [0, 1000, -1])
    def test_a_damaged_chunk_is_an_error_when_it_is_read(self, place, tmp_path):
        phi = stored(tmp_path / "run")
        file = tmp_path / "run" / "values.zarr" / "c" / "0" / "1" / "0"
        content = bytearray(file.read_bytes())
        content[place] ^= 1
        file.write_bytes(content)
        with pytest.raises(StoreError, match=r"values.zarr.c.0.1.0 is damaged: let `dntk merge"):
            phi.values  # noqa: B018
        assert len(phi[:64].values[0]) == 64

    def test_a_chunk_that_was_exchanged_is_noticed_by_merge_and_made_again(self, tmp_path):
        expected = stored(tmp_path / "whole")
        for index in range(2):
            stored(tmp_path / "run", shard=(index, 2))
        files = [tmp_path / "run" / "values.zarr.part" / "c" / "0" / str(i) / "0" for i in range(2)]
        shutil.copy(files[0], files[1])  # sound by its own checksum
        with pytest.raises(StoreError, match="damaged, and counts as missing"):
            dntk.merge(tmp_path / "run")
        with pytest.raises(StoreError, match="lacks 1 of 3 chunks"):
            dntk.merge(tmp_path / "run")
        assert stored(tmp_path / "run").values.tobytes() == expected.values.tobytes()

    def test_a_chunk_that_is_lost_reads_as_no_number_where_nobody_compares_records(self, tmp_path):
        stored(tmp_path / "run")
        (tmp_path / "run" / "values.zarr" / "c" / "0" / "2" / "0").unlink()
        with pytest.raises(ValueError, match="finite"):
            dntk.StoredFeatures(tmp_path / "run" / "values.zarr").values  # noqa: B018


class TestArguments:
    @pytest.mark.parametrize("source", [3, None, ["run"]])
    def test_what_is_no_store_is_refused(self, source):
        with pytest.raises(TypeError, match="`source` is .*pass the folder"):
            dntk.StoredFeatures(source)

    def test_arrays_of_other_shapes_or_types_are_refused(self):
        for array in (np.zeros(3), np.zeros((2, 2), dtype=np.int64), np.zeros((1, 0, 3))):
            with pytest.raises(ValueError, match="expected floating-point numbers of shape"):
                dntk.StoredFeatures(array)

    def test_stores_check_their_settings(self, tmp_path):
        with pytest.raises(TypeError, match="pass the path of a folder"):
            stored(3)
        with pytest.raises(ValueError, match="expected one of float64"):
            stored(dntk.Store(tmp_path / "run", dtype="int8"))
        with pytest.raises(ValueError, match="wider than the float32 that is computed"):
            stored(dntk.Store(tmp_path / "run", dtype="float64"))
        with pytest.raises(ValueError, match="rows"):
            dntk.Store(tmp_path / "run", rows=0)

    def test_without_zarr_it_is_said_what_to_install(self, tmp_path, monkeypatch):
        real = importlib.import_module

        def without(name, *more):
            if name == "zarr":
                raise builtins.ImportError(name)
            return real(name, *more)

        monkeypatch.setattr(importlib, "import_module", without)
        with pytest.raises(ImportError, match=r'pip install "dntk\[zarr\]"'):
            stored(tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_empty_slices_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="the slice has none of 150 points"):
            stored(tmp_path / "run")[5:5]
