"""Features that stay in the memory of workers, fits by workers, and what both cost: to the bits of one process."""

import dataclasses
import os
import pathlib
import signal
import threading

import numpy as np
import pytest

import dntk
from dntk.distill.data import Balanced, Herding, KMeans, LastLayer, Random, RPCholesky
from dntk.distill.gradients import Solution, Streaming
from dntk.estimator import frame
from dntk.features import kept_features
from dntk.ledger import LedgerRecorder
from dntk.probabilities import Probit
from dntk.stores import Layout, cluster_of
from dntk.stores.clusters import HeldArray
from dntk.stores.rows import MadeRows, PointRows
from dntk.stores.spread import all_parts, each_part, parts_of
from tests.clusters import two_workers
from tests.libraries import LIBRARIES, host
from tests.test_stored_features import SKETCH, data, network, stored

distributed = pytest.importorskip("distributed")
dask_array = pytest.importorskip("dask.array")

LIMIT = 1_400_000
"""Bytes with which features of one functional of 600 points are made in three batches."""


@pytest.fixture(scope="module")
def client():
    with two_workers() as made:
        yield made


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.id)
def library(request):
    if request.param.why_not():
        pytest.skip(request.param.why_not())
    return request.param


@pytest.fixture(scope="module")
def many(client, tmp_path_factory):
    """Features of 19 chunks in the memory of workers, the same on the disk, and targets."""
    x, folder = data(1200), tmp_path_factory.mktemp("stored") / "run"
    held = dntk.tangent_features(network(), x, sketch=SKETCH, client=client)
    assert len(list(held.chunks())) == 19
    return held, stored(folder, x), network()(x)


@pytest.fixture
def by_workers(client, monkeypatch):
    """What clusters made rows of: one number of parts for every call."""
    kind = type(cluster_of(client))
    made, rows = [], kind.rows
    monkeypatch.setattr(
        kind, "rows", lambda self, what, x, parts: made.append(len(parts)) or rows(self, what, x, parts)
    )
    return made


def bits(*values):
    return [np.asarray(host(value)).tobytes() for value in values]


PASSES = {
    "ridge": lambda phi, y: bits(dntk.solve.ridge(phi, y).weights),
    "streaming": lambda phi, y: bits(Streaming(6).stream(phi.paired(y)).rows),
    "solution": lambda phi, y: bits(Solution(4).distill(phi, y).directions),
    "cholesky": lambda phi, _: bits(RPCholesky(9, seed=3).select(phi).residual_trace),
    "predictions": lambda phi, y: bits(dntk.solve.ridge(phi[np.arange(90)], y[:90], ridge=0.1).predict(phi)),
    "a slice": lambda phi, y: bits(dntk.solve.ridge(phi[100:1101], y[100:1101], ridge=0.1).weights),
    "points": lambda phi, _: bits(phi[[1199, 3, 640]].values, phi[5:70].values),
    "neighbours": lambda phi, _: bits(*dataclasses.astuple(phi.nearest(phi[[40, 1199, 0]], 7))),
}
"""What reads features, and the bits that it gives."""


class TestHeldFeatures:
    def test_they_are_the_bits_of_the_disk_on_every_library(self, client, library, tmp_path):
        model, x = network(library), library.array(data())
        with LedgerOf() as here:
            expected = dntk.tangent_features(model, x, sketch=SKETCH, store=tmp_path / "one", batch_size=16)
        with LedgerOf() as there:
            phi = dntk.tangent_features(model, x, sketch=SKETCH, batch_size=16, client=client)
        assert isinstance(phi, dntk.StoredFeatures)
        assert type(phi.values) is type(x)
        assert (phi.path, phi.sketch, len(phi)) == (None, expected.sketch, 150)
        assert host(phi.values).tobytes() == host(expected.values).tobytes()
        assert there.cost.jacobian_rows == here.cost.jacobian_rows == 3 * 150
        found, wanted = (one.nearest(one[[3, 149]], 4) for one in (phi, expected))
        assert bits(found.indices, found.distances) == bits(wanted.indices, wanted.distances)
        more = library.array(data(600))
        core, wanted = (LastLayer(RPCholesky(5)).select_inputs(model, more, client=one) for one in (client, None))
        assert bits(core.indices, core.residual_trace) == bits(wanted.indices, wanted.residual_trace)
        made, wanted = (
            kept_features(model, more, sketch=SKETCH, batch_size=200, kept=None, client=one) for one in (client, None)
        )
        assert bits(made.values) == bits(wanted.values)
        targets = host(model(x))
        weights = [host(dntk.solve.ridge(one, library.array(targets), ridge=0.1).weights) for one in (phi, expected)]
        assert weights[0].tobytes() == weights[1].tobytes()

    @pytest.mark.parametrize("name", PASSES)
    def test_what_reads_them_gives_the_bits_of_the_disk_and_counts_the_same(self, many, name):
        held, alone, y = many
        with LedgerOf() as there:
            found = PASSES[name](held, y)
        with LedgerOf() as here:
            expected = PASSES[name](alone, y)
        assert found == expected
        assert there.cost == here.cost

    def test_nearest_points_are_looked_for_by_the_workers(self, client, many, monkeypatch):
        kind = type(cluster_of(client))
        passes, fold = [], kind.fold
        monkeypatch.setattr(kind, "fold", lambda *given: passes.append(1) or fold(*given))
        many[0].nearest(many[1][:2], 3)
        assert len(passes) == 1

    def test_chunks_that_are_lost_with_a_worker_are_made_again(self, client, many):
        _, alone, y = many
        phi = dntk.tangent_features(network(), data(1200), sketch=SKETCH, client=client)
        expected = bits(dntk.solve.ridge(alone, y, ridge=0.1).weights)
        holders = {worker for (worker, *_) in client.who_has(phi._array.futures).values()}
        worker = sorted(holders)[0]
        with pytest.raises((distributed.comm.core.CommClosedError, OSError)):
            client.run(os._exit, 1, workers=[worker], on_error="raise")
        assert bits(dntk.solve.ridge(phi, y, ridge=0.1).weights) == expected
        assert bits(phi.values) == bits(alone.values)

    def test_points_are_read_by_the_workers_as_for_the_disk(self, client, tmp_path):
        expected = stored(tmp_path / "one").values.tobytes()
        np.save(tmp_path / "x.npy", data())
        for source in (
            dask_array.from_array(data(), chunks=(37, 4)),
            dntk.points(np.load(tmp_path / "x.npy", mmap_mode="r")),
        ):
            assert dntk.tangent_features(network(), source, sketch=SKETCH, client=client).values.tobytes() == expected

    def test_memory_is_bounded_in_this_process(self, client, many, tmp_path):
        phi = dntk.tangent_features(network(), data(1200), sketch=SKETCH, memory_limit=200_000, client=client)
        with pytest.raises(MemoryError, match="these features take 345,600 bytes at once, 200,000 are allowed"):
            phi.values  # noqa: B018
        out = phi.export(tmp_path / "all.npy")
        np.testing.assert_allclose(np.load(out), many[1].values, rtol=1e-4, atol=1e-5)

    def test_a_scheduler_that_is_gone_is_said_when_they_are_read(self):
        with (
            distributed.LocalCluster(n_workers=1, processes=False, threads_per_worker=1, dashboard_address=":0") as own,
            own.get_client() as client,
        ):
            phi = dntk.tangent_features(network(), data(), sketch=SKETCH, client=client)
        for call in (lambda: phi.values, lambda: dntk.solve.ridge(phi, network()(data()), ridge=0.1)):
            with pytest.raises(ConnectionError, match="scheduler"):
                call()

    def test_a_mistake_of_the_network_is_an_error_of_its_own_and_nothing_stays(self, client):
        x = data()
        x[100] = np.nan
        with pytest.raises(ValueError, match="finite"):
            dntk.tangent_features(network(), dntk.points(list(x)), sketch=SKETCH, client=client)
        with pytest.raises(ValueError, match="`shard`=.* without `store`"):
            dntk.tangent_features(network(), data(), sketch=SKETCH, client=client, shard=(0, 2))
        with pytest.raises(TypeError, match="`client` is .*pass a dask.distributed.Client"):
            dntk.tangent_features(network(), data(), sketch=SKETCH, client="tcp://host:8786")


class LedgerOf:
    """What a block costs, without seconds."""

    def __enter__(self):
        self.recorder = LedgerRecorder()
        self.stage = self.recorder.stage("block")
        self.stage.__enter__()
        return self

    def __exit__(self, *given):
        self.stage.__exit__(*given)
        self.cost = dataclasses.replace(self.recorder.ledger()["block"], seconds=0.0)


SELECTORS = {
    "last layer": LastLayer(KMeans(40)),
    "one functional": RPCholesky(40),
    "everything": None,
}


class TestFits:
    @pytest.mark.parametrize("data_of", SELECTORS)
    def test_a_fit_by_workers_has_the_bits_of_one_process_and_counts_the_same(self, client, by_workers, data_of):
        x = data(600)
        spec = dntk.DistilledNTK(network(), data=SELECTORS[data_of], gradients=Solution(4))
        limit = None if data_of != "one functional" else LIMIT
        found, expected = spec.fit(x, client=client, memory_limit=limit), spec.fit(x, memory_limit=limit)
        assert by_workers
        assert min(by_workers) >= 2
        assert bits(found.predict(x[:50]), found.indices, found.spectrum) == bits(
            expected.predict(x[:50]), expected.indices, expected.spectrum
        )
        assert (
            found.certificate.prediction_error.value.tobytes() == expected.certificate.prediction_error.value.tobytes()
        )
        for mine, theirs in zip(found.ledger.stages, expected.ledger.stages, strict=True):
            assert dataclasses.replace(mine, seconds=0.0) == dataclasses.replace(theirs, seconds=0.0)

    def test_a_tolerance_is_searched_for_with_points_that_workers_read(self, client, by_workers, monkeypatch):
        x, spec = data(600), dntk.DistilledNTK(network(), data=RPCholesky(40), tolerance=0.2)
        found = spec.fit(x, client=client)
        assert 5 in by_workers  # batches of 128
        expected = spec.fit(x)
        assert bits(found.predict(x[:50]), found.indices) == bits(expected.predict(x[:50]), expected.indices)
        assert str(found.tolerance) == str(expected.tolerance)
        assert found.ledger["data"].jacobian_rows == expected.ledger["data"].jacobian_rows
        monkeypatch.setattr(frame, "choose_batch_size", lambda *_: 200)
        lengths = [frame.squared_lengths(network(), x, one) for one in (client, None)]
        assert by_workers[-1] == 3
        assert lengths[0].tobytes() == lengths[1].tobytes()
        whole = dntk.tangent_features(network(), x, sketch=None).values.astype("f8")
        np.testing.assert_allclose(lengths[0], np.sum(whole**2, axis=(0, 2)), rtol=1e-5)

    def test_a_worker_killed_during_a_fit_changes_no_bit(self, client, tmp_path):
        flag = tmp_path / "killed"
        spec = dntk.DistilledNTK(network(), data=LastLayer(KMeans(40)), gradients=None)
        expected = spec.fit(data(600))
        found = spec.fit(dntk.points(Killing(flag)), client=client)
        assert flag.exists()
        assert bits(found.indices, found.predict(data(20))) == bits(expected.indices, expected.predict(data(20)))

    def test_a_fit_whose_scheduler_is_lost_goes_on_without_it(self, tmp_path):
        x, spec = dntk.points(Waiting()), dntk.DistilledNTK(network(), data=RPCholesky(40), gradients=None)
        with distributed.LocalCluster(
            n_workers=1, processes=False, threads_per_worker=1, dashboard_address=":0"
        ) as own:
            client = distributed.Client(own, set_as_default=False)

            def lose(event):
                if event.task == "tangent features" and event.done:
                    client.close()

            lost = pytest.raises(ConnectionError, match="scheduler|closed")
            try:
                with lost, dntk.progress(lose, interval=0):
                    spec.fit(x, checkpoint=tmp_path / "fit", memory_limit=LIMIT, client=client)
            finally:
                GONE.set()
        assert list((tmp_path / "fit").rglob("0*-0*"))  # what was there when it was lost
        again = spec.fit(x, checkpoint=tmp_path / "fit", memory_limit=LIMIT)
        assert bits(again.predict(data(20))) == bits(spec.fit(data(600), memory_limit=LIMIT).predict(data(20)))

    def test_labels_that_travel_with_a_selector_stay_here(self, client):
        x = data(600)
        labels = np.arange(600) % 3
        spec = dntk.DistilledNTK(network(), data=LastLayer(Balanced(Herding(30), labels)), gradients=None)
        assert bits(spec.fit(x, client=client).indices) == bits(spec.fit(x).indices)

    def test_what_is_no_client_is_refused_before_anything_runs(self, monkeypatch):
        monkeypatch.setattr(dntk.MLP, "__call__", lambda *_: pytest.fail("the network ran"))
        with pytest.raises(TypeError, match="`client` is .*pass a dask.distributed.Client"):
            dntk.DistilledNTK(network()).fit(data(), client=4)


ASKED = {
    "predict": lambda fit, x, _, **by: bits(fit.predict(x, **by)),
    "labels": lambda fit, x, _, **by: bits(fit.predict_label(x, **by)),
    "probabilities": lambda fit, x, _, **by: bits(fit.predict_proba(x, **by)),
    "score": lambda fit, x, y, **by: fit.score(x, y, **by),
    "fidelity": lambda fit, x, _, **by: fit.fidelity(x, **by),
    "link": lambda fit, x, y, **by: str(fit.calibrated_link(x, y, link=Probit(), **by)),
    "kernel": lambda fit, x, _, **by: bits(fit.kernel(x[:9], x, **by)),
    "trust": lambda fit, x, _, **by: bits(fit.trust(x, normalised=False, **by)),
    "threshold": lambda fit, x, _, **by: str(fit.threshold(x, **by)),
    "uncertainty": lambda fit, x, _, **by: bits(fit.uncertainty(x, **by)),
    "residual": lambda fit, x, _, **by: str(fit.held_out_residual(x, **by)),
}
"""What a fit is asked of points, and what it says."""


def says(query):
    return bits(query.prediction, query.uncertainty, query.trust)


@pytest.fixture(scope="module")
def fit():
    spec = dntk.DistilledNTK(network(), data=Random(30), gradients=Solution(4))
    return spec.fit(data(100), memory_limit=500_000)


class TestAnswers:
    @pytest.mark.parametrize("name", ASKED)
    def test_what_workers_say_has_the_bits_of_one_process(self, client, by_workers, fit, name):
        x = data(1300)
        y = np.argmax(network()(x), axis=1)
        expected = ASKED[name](fit, x, y)
        assert not by_workers
        assert ASKED[name](fit, x, y, client=client) == expected
        assert min(by_workers) >= 2
        assert len(by_workers) == 1 + (name == "fidelity")

    @pytest.mark.parametrize("library", [one for one in LIBRARIES if one.id in ("numpy", "torch")], ids=str)
    def test_with_arrays_of_pytorch_and_by_one_regression_too(self, client, by_workers, library):
        x, kept = library.array(data(1300)), library.array(data(40))
        for regression in (dntk.solve.Separate(), dntk.solve.Joint()):
            spec = dntk.DistilledNTK(network(library), data=None, gradients=None, sketch=SKETCH, regression=regression)
            fit = spec.fit(kept, memory_limit=500_000)
            with LedgerOf() as there:
                found = fit.predict(x, client=client)
            with LedgerOf() as here:
                expected = fit.predict(x)
            assert bits(found) == bits(expected)
            assert there.cost == here.cost
            query = fit.query(x, client=client)
            assert says(query) == says(fit.query(x))
            assert query.cost.jacobian_rows == 3 * 1300
        assert len(by_workers) == 4

    def test_dask_arrays_are_read_by_the_workers_and_one_that_dies_changes_nothing(self, client, fit, tmp_path):
        x = data(600)
        lazy = dask_array.from_array(x, chunks=(37, 6))
        assert says(fit.query(lazy, client=client)) == says(fit.query(x))
        assert says(fit.query(dntk.points(Killing(tmp_path / "killed")), client=client)) == says(fit.query(x))
        assert (tmp_path / "killed").exists()

    def test_gradients_that_are_not_finite_are_named_as_without_workers(self, client):
        torch = pytest.importorskip("torch")
        net = torch.nn.Linear(6, 3, bias=False).eval()
        model = dntk.as_model(net, forward=lambda net, x: torch.sqrt(net(x) ** 2))
        x = torch.asarray(data(600))
        fit = dntk.DistilledNTK(model, data=None, gradients=Solution(4)).fit(x[:20], memory_limit=500_000)
        x[513] = 0  # where the root has no slope
        for by in ({}, {"client": client}):
            with pytest.raises(ValueError, match=r"gradient.* 513"):
                fit.trust(x, **by)

    def test_a_client_that_is_none_or_closed_is_refused_before_anything_runs(self, fit, monkeypatch):
        with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as own:
            closed = own.get_client()
            closed.close()
        for name in ("__call__", "gradient_blocks", "jvp"):
            monkeypatch.setattr(dntk.MLP, name, lambda *_: pytest.fail("the network ran"))
        for ask in ASKED.values():
            with pytest.raises(TypeError, match="`client` is .*pass a dask.distributed.Client"):
                ask(fit, data(20), np.arange(20) % 3, client=4)
            with pytest.raises(ConnectionError, match="is closed, not running"):
                ask(fit, data(20), np.arange(20) % 3, client=closed)


GONE = threading.Event()
"""Set when a cluster is gone."""


class Waiting:
    """Points some of which workers do not read before their cluster is gone."""

    def __init__(self):
        self.x = data(600)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        if i == 570 and threading.current_thread() is not threading.main_thread():
            GONE.wait(60)
        return self.x[i]


class Killing:
    """Points that kill the process of the first worker that reads one of them."""

    def __init__(self, flag):
        self.x, self.flag, self.parent = data(600), str(flag), os.getpid()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        if i == 500 and os.getpid() != self.parent and not os.path.exists(self.flag):
            pathlib.Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.x[i]


def backwards(cluster, rows, x, parts):
    """Rows of parts, the last one first."""
    del cluster
    with dntk._progress.task("test") as bar:
        for number in reversed(range(len(parts))):
            yield MadeRows(number, rows.of(lambda a, b: x[a:b], parts[number], bar), {})


class TestParts:
    def test_parts_are_whole_batches_that_cover_all_points_and_no_more_than_there_should_be(self):
        for n, size in ((1, 1), (10, 3), (512, 1), (513, 1), (100_000, 7)):
            parts = parts_of(n, size, "a client")
            assert [first for first, _ in parts] == [0, *(last for _, last in parts[:-1])]
            assert parts[-1][1] == n
            assert all((last - first) % size == 0 for first, last in parts[:-1])
            assert len(parts) <= 512
        assert parts_of(100, 7, None) == [(0, 100)]

    def test_parts_that_come_in_another_order_are_put_where_they_belong(self, client, monkeypatch):
        x, rows = data(60), PointRows(lambda batch: batch * 2, 7, axis=0)
        cluster = cluster_of(client)
        monkeypatch.setattr(type(cluster), "rows", backwards)
        with dntk._progress.task("test") as bar:
            assert all_parts(rows, x, client, bar).tobytes() == (x * 2).tobytes()

    def test_rows_of_parts_are_those_of_all_here_and_by_workers(self, client):
        x, rows = data(60), PointRows(lambda batch: batch * 2, 7, axis=0)
        with dntk._progress.task("test") as bar:
            for one in (None, client):
                assert all_parts(rows, x, one, bar).tobytes() == (x * 2).tobytes()
            assert bar.done == 120
            parts = parts_of(60, 7, client)
            given = {part: make() for part, make in each_part(rows, x, parts, client, bar)}
            made = list(cluster_of(client).rows(rows, x, parts))
            held = cluster_of(client).hold(
                PointRows(lambda batch: batch[None], 7, axis=1),
                x,
                Layout(shape=(1, 60, 6), chunks=(1, 14, 6), dtype="float32"),
                bar.advance,
            )
        assert sorted(given) == parts
        assert sorted(one.number for one in made) == list(range(len(parts)))
        assert all(isinstance(one, MadeRows) for one in made)
        assert isinstance(held, HeldArray)
        assert held[:, 3:40, 1:].tobytes() == x[None, 3:40, 1:].tobytes()
        assert held[:, 3:40:5, :].tobytes() == x[None, 3:40:5, :].tobytes()
