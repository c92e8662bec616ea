"""Chunks made by the workers of a Dask cluster: to the bits of one process, whatever happens to workers."""

import contextlib
import dataclasses
import errno
import importlib
import os
import pathlib
import pickle
import platform
import resource
import signal
import threading

import numpy as np
import pytest

import dntk
from dntk.archive import StoreError
from dntk.distill.data import LCMD, FarthestPoint, KMeans, Leverage, MaxDet, RPCholesky, fitted_targets
from dntk.distill.gradients import Krylov, Principal, Solution, StreamedGradients, Streaming
from dntk.stores import Cluster, Job, Made, StoreFolder, cluster_of, made, require_store
from dntk.stores.job import reader_of
from tests.clusters import two_workers
from tests.libraries import host
from tests.test_stored_features import SKETCH, data, network, stored

distributed = pytest.importorskip("distributed")
dask_array = pytest.importorskip("dask.array")
parcels = importlib.import_module("dntk_dask.parcel")
tasks = importlib.import_module("dntk_dask._tasks")
DaskCluster = importlib.import_module("dntk_dask.cluster").DaskCluster
memory = importlib.import_module("dntk_dask._memory")


@pytest.fixture(scope="module")
def client():
    with two_workers() as made:
        yield made


@pytest.fixture
def passes(monkeypatch):
    """Passes that a cluster made."""
    made, fold = [], DaskCluster.fold
    monkeypatch.setattr(DaskCluster, "fold", lambda *given: made.append(1) or fold(*given))
    return made


@pytest.fixture
def threads():
    """A worker in this process, which starts and ends at once."""
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        cluster.get_client() as made,
    ):
        yield made


class Killing:
    """Points that kill the process that reads one of them, as long as there is no file."""

    def __init__(self, flag, *, once=True):
        self.x, self.flag, self.once, self.parent = data(), str(flag), once, os.getpid()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        if i == 100 and os.getpid() != self.parent and not os.path.exists(self.flag):
            if self.once:
                pathlib.Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.x[i]


class Elsewhere:
    """Points that are others in another process, as a file of the same name on another machine."""

    def __init__(self):
        self.x, self.home = data(), os.getpid()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] + np.float32(os.getpid() != self.home)


class TestFeatures:
    def test_workers_make_the_bits_of_one_process(self, client, tmp_path):
        expected = stored(tmp_path / "one", batch_size=16)
        phi = stored(tmp_path / "many", batch_size=16, client=client)
        assert isinstance(phi, dntk.StoredFeatures)
        assert phi.values.tobytes() == expected.values.tobytes()

    @pytest.mark.parametrize("rows", [1, 40, 150])
    def test_the_size_of_chunks_does_not_matter(self, client, rows, tmp_path):
        x, model = data(20 if rows == 1 else 150), network()
        expected = dntk.tangent_features(model, x, sketch=SKETCH, batch_size=min(rows, 64)).values
        phi = stored(dntk.Store(tmp_path / "run", rows=rows), x, model, batch_size=64, client=client)
        pieces = [expected[:, a : a + rows] for a in range(0, len(x), rows)]
        whole = np.concatenate(
            [
                dntk.tangent_features(model, x[a : a + rows], sketch=SKETCH, batch_size=64).values
                for a in range(0, len(x), rows)
            ],
            axis=1,
        )
        assert phi.values.tobytes() == whole.tobytes()
        np.testing.assert_allclose(phi.values, np.concatenate(pieces, axis=1), rtol=1e-4, atol=1e-4)

    def test_a_module_of_pytorch_with_a_function_that_calls_it_travels(self, client, tmp_path):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
        )
        model = dntk.as_model(net.eval(), forward=lambda net, batch: net(batch["x"]))
        x = {"x": torch.asarray(data())}
        expected = dntk.tangent_features(model, x, sketch=SKETCH, store=tmp_path / "one", batch_size=32)
        phi = dntk.tangent_features(model, x, sketch=SKETCH, store=tmp_path / "many", batch_size=32, client=client)
        assert host(phi.values).tobytes() == host(expected.values).tobytes()
        assert set(client.run(torch.get_num_threads).values()) == {1}

    def test_dask_arrays_lists_and_memory_maps_are_read_by_the_workers(self, client, tmp_path):
        expected = stored(tmp_path / "one").values.tobytes()
        x = data()
        np.save(tmp_path / "x.npy", x)
        sources = {
            "dask": dask_array.from_array(x, chunks=(37, 4)),
            "list": dntk.points(list(x)),
            "map": dntk.points(np.load(tmp_path / "x.npy", mmap_mode="r")),
        }
        for name, source in sources.items():
            assert stored(tmp_path / name, source, client=client).values.tobytes() == expected
        alone = stored(tmp_path / "alone", sources["dask"])  # without a client Dask reads, and this process computes
        assert alone.values.tobytes() == expected

    def test_a_call_goes_on_where_shards_were_and_counts_what_they_cost(self, client, tmp_path):
        expected = stored(tmp_path / "one")
        stored(tmp_path / "run", shard=(0, 3))
        recorder = dntk.ledger.LedgerRecorder()
        with recorder.stage("features"):
            phi = stored(tmp_path / "run", client=client)
        assert phi.values.tobytes() == expected.values.tobytes()
        folder = StoreFolder.opened(tmp_path / "run", "features")
        assert [folder.record(i).manifest["shard"] for i in range(3)] == [[0, 3], [1, 3], [2, 3]]
        assert recorder.ledger()["features"].jacobian_rows == 3 * (150 - 64)  # the shard counted none: it had no ledger
        assert stored(tmp_path / "run", client=client).values.tobytes() == expected.values.tobytes()

    def test_other_points_are_noticed_by_the_workers(self, client, tmp_path):
        stored(tmp_path / "run")
        x = data()
        x[70] += 1
        with pytest.raises(StoreError, match="belongs to a call with other points: those of chunk 1"):
            stored(tmp_path / "run", x, client=client)

    def test_a_chunk_that_was_damaged_is_noticed(self, threads, tmp_path):
        stored(tmp_path / "run", shard=(0, 3))
        file = tmp_path / "run" / "values.zarr.part" / "c" / "0" / "0" / "0"
        content = bytearray(file.read_bytes())
        content[50] ^= 1
        file.write_bytes(content)
        with pytest.raises(StoreError, match="is damaged, and counts as missing"):
            stored(tmp_path / "run", client=threads)


class TestKernels:
    def test_workers_make_the_tiles_of_one_process_and_mirror_them(self, client, tmp_path):
        model, x = network(), data(70)
        for name, other in (("same", None), ("other", data(30) + 1)):
            expected = dntk.ntk(model, x, other, outputs="each", store=dntk.Store(tmp_path / f"{name} one", rows=20))
            recorder = dntk.ledger.LedgerRecorder()
            with recorder.stage("kernel"):
                kernel = dntk.ntk(
                    model, x, other, outputs="each", store=dntk.Store(tmp_path / name, rows=20), client=client
                )
            assert kernel.values.tobytes() == expected.values.tobytes()
            if other is None:  # tiles on and above the diagonal, and no others
                assert recorder.ledger()["kernel"].jacobian_rows == 3 * (70 + 3 * 2 * 20 * 1 + 3 * (20 + 10))


class TestLostWorkers:
    def test_a_worker_killed_while_it_makes_a_chunk_changes_no_bit(self, client, tmp_path):
        expected = stored(tmp_path / "one").values.tobytes()
        phi = stored(tmp_path / "run", Killing(tmp_path / "killed"), client=client)
        assert (tmp_path / "killed").exists()
        assert phi.values.tobytes() == expected

    def test_a_chunk_that_kills_every_worker_is_named(self, client, tmp_path, monkeypatch):
        monkeypatch.setattr(client.cluster.scheduler, "allowed_failures", 0)
        with pytest.raises(RuntimeError, match=r"workers died while they made the same chunk.*fewer rows"):
            stored(tmp_path / "run", Killing(tmp_path / "never", once=False), client=client)
        monkeypatch.undo()
        assert (
            stored(tmp_path / "run", data(), client=client).values.tobytes()
            == stored(tmp_path / "one").values.tobytes()
        )

    def test_a_cluster_that_grows_from_nothing_makes_them(self, tmp_path):
        with (
            distributed.LocalCluster(n_workers=0, processes=False, threads_per_worker=1, dashboard_address=":0") as own,
            own.get_client() as client,
        ):
            own.adapt(minimum=0, maximum=2, interval="50 ms")
            phi = stored(tmp_path / "run", client=client)
        assert phi.values.tobytes() == stored(tmp_path / "one").values.tobytes()


RULES = {
    "number": 0.05,
    "loo": "loo",
    "gcv": dntk.solve.GeneralisedCrossValidation(),
    "relative": dntk.solve.Relative(0.1),
}
"""Ways to choose λ."""


def many_chunks(folder, client=None, n=190):
    """Features in 19 chunks, of three branches of the tree, and targets."""
    x = data(n)
    stored(dntk.Store(folder, rows=10), x, shard=(0, 1))
    return dntk.StoredFeatures(folder, client=client), network()(x)


def bits(fit):
    return fit.weights.tobytes(), fit.dual.tobytes(), fit.ridge, fit.loo_error


def pages_fetched():
    """Pages that this process asks the system for while it makes and drops 200 arrays of 1 MiB, 256 pages each.

    Within `pages_kept` and after it.
    """
    fetched = []
    for context in (memory.pages_kept(), contextlib.nullcontext()):
        with context:
            np.ones(2**17)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(200):
                np.ones(2**17)
            fetched.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return fetched


class TestMemoryOfWorkers:
    @pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the memory of another C library")
    def test_a_worker_fetches_no_page_twice_within_a_task_and_as_ever_after_it(self, client):
        # One call: between two of them a worker that an earlier test killed may come back.
        client.wait_for_workers(2)
        for inside, after in client.run(pages_fetched).values():
            assert inside < 256 * 20
            assert after > 256 * 150

    def test_nothing_is_changed_where_dask_set_nothing(self, monkeypatch):
        monkeypatch.setattr(memory, "_glibc", lambda: pytest.fail("the C library was asked"))
        for environment in ({}, {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}):
            with memory.pages_kept(environment):
                pass


class Fatal:
    """A function that kills the process of the first worker that calls it with an argument that it knows."""

    def __init__(self, function, flag, when):
        self.function, self.flag, self.when, self.parent = function, str(flag), when, os.getpid()

    def __call__(self, *given):
        fatal = os.getpid() != self.parent and not os.path.exists(self.flag) and self.when(*given)
        if fatal:
            pathlib.Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.function(*given)


class TestPasses:
    @pytest.mark.parametrize("rule", RULES)
    def test_regression_by_workers_has_the_bits_of_one_process(self, client, rule, tmp_path):
        alone, y = many_chunks(tmp_path / "run")
        phi, _ = many_chunks(tmp_path / "run", client)
        weights = np.linspace(0.5, 2, len(y)).astype("f4") if rule == "loo" else None
        found = dntk.solve.ridge(phi, y, ridge=RULES[rule], sample_weights=weights)
        assert bits(found) == bits(dntk.solve.ridge(alone, y, ridge=RULES[rule], sample_weights=weights))

    def test_frequent_directions_of_workers_have_the_bits_of_one_process(self, client, tmp_path):
        alone, y = many_chunks(tmp_path / "run")
        phi, _ = many_chunks(tmp_path / "run", client)
        for streaming in (Streaming(6), Streaming(6, per_output=False)):
            found, expected = (streaming.stream(one.paired(y)) for one in (phi, alone))
            assert found.rows.tobytes() == expected.rows.tobytes()
            assert found.products.tobytes() == expected.products.tobytes()
            assert found.shift.tobytes() == expected.shift.tobytes()
            gram = alone.values.mT @ alone.values - found.rows.mT @ found.rows
            eigenvalues = np.linalg.eigvalsh(gram.astype("f8"))
            slack = 1e-4 * np.linalg.norm(alone.values) ** 2
            assert np.all(eigenvalues >= -slack)
            assert np.all(eigenvalues <= found.shift[:, None] + slack)

    @pytest.mark.parametrize("distiller", [Principal(4), Krylov(4), Solution(4)], ids=str)
    def test_gradients_distilled_by_workers_have_the_bits_of_one_process(self, client, passes, distiller, tmp_path):
        alone, y = many_chunks(tmp_path / "run")
        phi, _ = many_chunks(tmp_path / "run", client)
        found, expected = (distiller.distill(one, y) for one in (phi, alone))
        assert len(passes) >= 4
        for name in ("directions", "values", "projected", "coverage"):
            assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()

    @pytest.mark.parametrize("killed", ["a leaf", "a branch"])
    def test_a_worker_killed_during_a_reduction_changes_no_bit(self, client, killed, tmp_path):
        alone, y = many_chunks(tmp_path / "run")
        phi, _ = many_chunks(tmp_path / "run", client)
        leaf, merge = Streaming(6)._of_chunk, StreamedGradients.merged
        expected = alone.folded(leaf, merge, name="test", along=(y,))
        if killed == "a leaf":
            leaf = Fatal(leaf, tmp_path / "killed", lambda part, _: part.values[0, 0, 0] == alone.values[0, 120, 0])
        else:
            merge = Fatal(merge, tmp_path / "killed", lambda left, _: left.points >= 80)
        found = phi.folded(leaf, merge, name="test", along=(y,))
        assert (tmp_path / "killed").exists()
        assert found.points == 190
        assert found.rows.tobytes() == expected.rows.tobytes()

    @pytest.mark.parametrize(
        "selector",
        [RPCholesky(9, seed=3), FarthestPoint(3), Leverage(9, seed=1), LCMD(3), MaxDet(3), KMeans(4)],
        ids=str,
    )
    def test_points_chosen_by_workers_are_those_of_one_process(self, client, passes, selector, tmp_path):
        alone, _ = many_chunks(tmp_path / "run")
        phi, _ = many_chunks(tmp_path / "run", client)
        found, expected = (selector.select(one, given=[3, 50]) for one in (phi, alone))
        assert len(passes) >= 3
        for name in ("indices", "weights", "residual_trace"):
            assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()

    def test_certificates_predictions_and_soft_labels_of_workers_are_those_of_one_process(
        self, client, passes, tmp_path
    ):
        alone, y = many_chunks(tmp_path / "run")
        phi, _ = many_chunks(tmp_path / "run", client)
        core = RPCholesky(9).select(alone)
        fit = dntk.solve.ridge(alone, y, ridge=0.1)
        found, expected = (dntk.certify(reference=one, approximation=core, targets=y) for one in (phi, alone))
        assert passes
        for name in ("spectral_error", "frobenius_error", "trace_error", "prediction_error", "energy_error"):
            values = [np.asarray(getattr(one, name).value) for one in (found, expected)]
            assert values[0].tobytes() == values[1].tobytes()
        kept = alone[core.indices]
        for result in (
            lambda one: fit.predict(one),
            lambda one: dntk.solve.joint_ridge(kept, y[core.indices]).predict(one),
            lambda one: fitted_targets(kept, one, y, ridge=0.1).targets,
        ):
            before = len(passes)
            assert result(phi).tobytes() == result(alone).tobytes()
            assert len(passes) > before

    def test_products_with_a_stored_kernel_are_made_by_workers(self, client, passes, tmp_path):
        x = data(70)
        kernel = dntk.ntk(network(), x, outputs="each", store=dntk.Store(tmp_path / "k", rows=9), client=client)
        alone = dntk.StoredKernel(tmp_path / "k")
        v = np.random.default_rng(0).normal(size=(3, 70, 2)).astype("f4")
        where = np.asarray([3, 40])
        assert kernel.multiply(v).tobytes() == alone.multiply(v).tobytes()
        assert kernel.columns(where).tobytes() == alone.columns(where).tobytes()
        assert len(passes) == 2
        targets = np.ascontiguousarray(v[:, :, 0])
        found, expected = (dntk.solve.iterative_ridge(one, targets, ridge=1.0) for one in (kernel, alone))
        assert found.dual.tobytes() == expected.dual.tobytes()

    def test_features_made_by_workers_are_read_by_them_and_say_how_far(self, client, tmp_path):
        phi = stored(dntk.Store(tmp_path / "run", rows=40), client=client)
        assert phi.client is client
        events = []
        with dntk.progress(events.append, interval=0):
            dntk.solve.ridge(phi, network()(data()), ridge=0.1)
        assert {("regression", 150)} <= {(event.task, event.total) for event in events}

    def test_a_mistake_in_a_pass_is_an_error_of_its_own(self, threads, tmp_path):
        phi, y = many_chunks(tmp_path / "run", threads)
        (tmp_path / "run" / "values.zarr" / "c" / "0" / "3" / "0").write_bytes(b"half")
        with pytest.raises(StoreError, match="c/0/3/0 is damaged: let `dntk merge"):
            dntk.solve.ridge(phi, y, ridge=0.1)


class TestBadInput:
    def test_what_is_no_client_is_refused(self, tmp_path):
        with pytest.raises(TypeError, match="`client` is .*pass a dask.distributed.Client"):
            stored(tmp_path / "run", client="tcp://host:8786")

    def test_a_client_needs_no_shard_and_for_a_kernel_a_store(self, threads, tmp_path):
        with pytest.raises(ValueError, match="`client` without `store`: workers write tiles"):
            require_store(shard=None, client=threads)
        with pytest.raises(ValueError, match="`client` without `store`: workers write tiles"):
            dntk.ntk(network(), data(), client=threads)
        with pytest.raises(ValueError, match="`shard`=.* beside `client`"):
            stored(tmp_path / "run", client=threads, shard=(0, 2))

    def test_a_disk_that_a_worker_finds_full_is_said_and_what_is_there_stays(self, threads, tmp_path, monkeypatch):
        folder, written = importlib.import_module("dntk.stores.folder"), []
        write = folder.write_whole

        def full(path, content):
            if written:
                raise OSError(errno.ENOSPC, "No space left: the disk is full")
            written.append(path)
            write(path, content)

        monkeypatch.setattr(folder, "write_whole", full)
        with pytest.raises(OSError, match="No space left") as raised:
            stored(tmp_path / "run", client=threads)
        assert not isinstance(raised.value, ConnectionError)
        monkeypatch.undo()
        assert len(list((tmp_path / "run" / "chunks").iterdir())) == 1
        found = stored(tmp_path / "run", client=threads)
        assert found.values.tobytes() == stored(tmp_path / "one").values.tobytes()

    def test_a_folder_of_another_call_is_refused_before_workers_are_asked(self, threads, passes, tmp_path):
        stored(tmp_path / "run", shard=(0, 2))
        with pytest.raises(StoreError, match="belongs to a call with another network"):
            stored(tmp_path / "run", model=network(seed=1), client=threads)
        assert not passes

    def test_a_client_need_not_be_the_default_one(self, tmp_path):
        with (
            distributed.LocalCluster(n_workers=1, processes=False, threads_per_worker=1, dashboard_address=":0") as own,
            distributed.Client(own, set_as_default=False) as client,
        ):
            phi = stored(tmp_path / "run", client=client)
            assert phi.values.tobytes() == stored(tmp_path / "one").values.tobytes()
            held = dntk.tangent_features(network(), data(), sketch=SKETCH, client=client)
            assert held.values.tobytes() == phi.values.tobytes()

    def test_a_scheduler_that_is_gone_is_said(self, tmp_path):
        with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as own:
            client = own.get_client()
            client.close()
        with pytest.raises(ConnectionError, match="is closed, not running"):
            stored(tmp_path / "run", client=client)

    def test_a_scheduler_lost_on_the_way_is_said_and_the_call_goes_on_elsewhere(self, threads, tmp_path):
        def lose(event):
            if event.done == 1:
                threading.Thread(target=threads.close).start()

        lost = pytest.raises(ConnectionError, match="repeat the same call, which goes on where it was")
        with lost, dntk.progress(lose, interval=0):
            stored(dntk.Store(tmp_path / "run", rows=1), client=threads)
        assert len(list((tmp_path / "run" / "chunks").iterdir())) >= 1
        stored(dntk.Store(tmp_path / "run", rows=1))

    def test_a_worker_with_other_versions_is_named(self, client, tmp_path, monkeypatch):
        monkeypatch.setattr(parcels, "versions", lambda _: {"numpy": "0.1"})
        with pytest.raises(ImportError, match=r"the worker tcp://.* has numpy .* and not 0.1 as the client: install"):
            stored(tmp_path / "run", client=client)

    def test_a_worker_that_does_not_see_the_folder_says_so(self, tmp_path):
        job = job_of(tmp_path / "run")
        elsewhere = dataclasses.replace(job.folder, folder=tmp_path / "another")
        parcel = parcels.Parcel.of((dataclasses.replace(job, folder=elsewhere), ""))
        with pytest.raises(StoreError, match="a worker does not see the `store` .*that all workers share"):
            tasks.filled(parcel, 0, job.spans(0), None)
        assert not (tmp_path / "another").exists()

    def test_a_worker_that_reads_other_points_or_features_says_so(self, client, tmp_path):
        with pytest.raises(StoreError, match="a worker reads other points than this process: .*share"):
            stored(tmp_path / "run", dntk.points(Elsewhere()), client=client)
        assert not list((tmp_path / "run").glob("chunks/*"))
        rows = Elsewhere()
        rows.shape, rows.dtype, rows.ndim = rows.x.shape, rows.x.dtype, 2
        assert len(dntk.StoredFeatures(rows)) == len(rows)
        with pytest.raises(StoreError, match="a worker reads other features than this process"):
            dntk.solve.ridge(dntk.StoredFeatures(rows, client=client), rows.x[:, :1], ridge=1.0)

    def test_dask_arrays_of_unknown_or_wrong_chunks_are_refused(self, threads, tmp_path):
        x = dask_array.from_array(data(), chunks=(50, 6))
        with pytest.raises(ValueError, match=r"does not know how many points it has: call .compute_chunk_sizes\(\)"):
            stored(tmp_path / "run", x[x[:, 0] > -9], client=threads)
        second = data()[50, 0]

        def changed(change):
            return x.map_blocks(
                lambda block: change(block) if block.size and block[0, 0] == second else block,
                dtype=x.dtype,
                chunks=x.chunks,
            )

        fewer, wider = changed(lambda block: block[:-1]), changed(lambda block: np.concatenate([block] * 2, axis=1))
        with pytest.raises(ValueError, match="its chunks are not of the sizes that it states"):
            stored(dntk.Store(tmp_path / "other", rows=50), fewer, client=threads)
        with pytest.raises(ValueError, match=r"`x` has shape \(50, 12\), but the model takes 6 features"):
            stored(dntk.Store(tmp_path / "third", rows=50), wider, client=threads)

    def test_what_cannot_be_sent_is_said(self, threads, tmp_path):
        class Open(list):
            def __reduce__(self):
                msg = "cannot pickle an open file"
                raise TypeError(msg)

        with pytest.raises(TypeError, match="cannot be sent to workers .cannot pickle an open file.: pass inputs as"):
            stored(tmp_path / "run", dntk.points(Open(data())), client=threads)


def job_of(folder, x=None, model=None):
    """The job of a call that was begun."""
    storing = importlib.import_module("dntk.features._storing")
    x, model = data() if x is None else x, network() if model is None else model
    stored(folder, x, model, shard=(0, 3))
    phi = dntk.tangent_features(model, x[:1], sketch=SKETCH)
    whole = StoreFolder(folder, importlib.import_module("dntk.stores.manifest").found(folder))
    return storing.FeaturesJob(
        model=model, sketch=phi.sketch, cotangents=np.eye(3, dtype="f4"), sides=(x,), folder=whole
    )


class TestParcels:
    def test_weights_are_no_part_of_the_pickle_but_an_archive_that_others_read(self):
        torch = pytest.importorskip("torch")
        safetensors = pytest.importorskip("safetensors.torch")
        net = torch.nn.Sequential(torch.nn.Linear(100, 300), torch.nn.Linear(300, 300), torch.nn.Linear(300, 2))
        net[1].weight.data = net[1].weight.data.to(torch.float64).to(torch.float32)
        model = dntk.as_model(net.eval())
        parcel = parcels.Parcel.of(model)
        assert len(parcel.structure) < 20_000 < parcel.weights.nbytes
        shapes = {tuple(value.shape) for value in safetensors.load(parcel.weights.tobytes()).values()}
        assert {(300, 100), (300, 300), (300,), (2, 300), (2,)} <= shapes
        again = parcel.content
        assert again is parcel.content
        assert dntk.archive.fingerprint(again) == dntk.archive.fingerprint(model)
        assert all(isinstance(value, torch.nn.Parameter) for value in again.module.parameters())

    def test_types_orders_in_memory_and_shared_arrays_are_kept(self):
        torch = pytest.importorskip("torch")
        shared = np.arange(6.0).reshape(2, 3)
        content = {
            "narrow": torch.arange(5, dtype=torch.bfloat16),
            "transposed": np.asfortranarray(np.arange(12, dtype="f4").reshape(3, 4)),
            "last": torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last),
            "whole": np.array(3),
            "both": [shared, shared],
            "texts": np.array(["a"], dtype=object),
        }
        again = parcels.Parcel.of(content).content
        for name in ("narrow", "last"):
            assert again[name].dtype == content[name].dtype
            assert again[name].stride() == content[name].stride()
            assert torch.equal(again[name], content[name])
        assert again["transposed"].flags.f_contiguous
        np.testing.assert_array_equal(again["transposed"], content["transposed"])
        assert again["both"][0] is again["both"][1]
        assert again["whole"].shape == ()
        assert list(again["texts"]) == ["a"]

    def test_networks_of_jax_travel(self):
        jax = pytest.importorskip("jax")
        params = {"w": jax.numpy.ones((4, 3)), "b": jax.numpy.zeros(3)}
        model = dntk.as_model(lambda params, x: jax.numpy.tanh(x @ params["w"] + params["b"]), params)
        x = jax.numpy.asarray(data()[:5, :4])
        expected = dntk.ntk(model, x)
        np.testing.assert_array_equal(host(dntk.ntk(parcels.Parcel.of(model).content, x)), host(expected))

    def test_memory_maps_travel_as_files(self, tmp_path):
        np.save(tmp_path / "x.npy", data())
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
        for part in (x, x[30:90]):
            parcel = parcels.Parcel.of(part)
            assert len(parcel.structure) < 500 > parcel.weights.nbytes
            np.testing.assert_array_equal(parcel.content, part)

    def test_a_parcel_states_its_size_and_is_unpacked_once(self):
        parcel = parcels.Parcel.of(np.zeros(1000))
        assert parcel.__sizeof__() > 8000
        copy = pickle.loads(pickle.dumps(parcel))
        assert copy.content is copy.content is not parcel.content


class TestProtocols:
    def test_the_pieces_are_those_of_the_protocols(self, threads, tmp_path):
        job = job_of(tmp_path / "run")
        assert isinstance(job, Job)
        assert isinstance(cluster_of(threads), Cluster)
        chunk = made(job, 2, reader_of(job.sides))
        assert isinstance(chunk, Made)
        assert (chunk.number, chunk.cost["jacobian_rows"], chunk.cost["seconds"]) == (2, 3 * 22, 0)
        again = made(job, 2, reader_of(job.sides))
        assert again.cost["jacobian_rows"] == 3 * 22
        assert again.cost["seconds"] == job.folder.record(2).manifest["cost"]["seconds"] > 0
