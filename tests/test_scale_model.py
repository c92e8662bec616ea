"""The model of what large runs move, beside what small ones move."""

import importlib
import pathlib

import numpy as np
import pytest

import dntk
from dntk.distill.gradients import Streaming
from dntk.solve import NormalEquations
from dntk.stores import StoreFolder

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
N, OUTPUTS, DIM = 1000, 3, 24
PARAMETERS = 16 * 6 + 3 * 16


@pytest.fixture
def scale(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("scale_model")


@pytest.fixture
def case(scale):
    return scale.Case(points=N, outputs=OUTPUTS, dim=DIM, parameters=PARAMETERS, point_nbytes=24, rows_of_stream=6)


def small_run(folder, rows=None):
    rng = np.random.default_rng(0)
    weights = tuple(rng.normal(size=shape).astype("f4") for shape in ((16, 6), (OUTPUTS, 16)))
    model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    x = rng.normal(size=(N, 6)).astype("f4")
    recorder = dntk.ledger.LedgerRecorder()
    with recorder.stage("features"):
        store = dntk.Store(folder, rows=rows)
        phi = dntk.tangent_features(model, x, sketch=dntk.sketch.SparseSign(DIM), store=store, shard=(0, 1))
    return model, x, phi, recorder.ledger()["features"].jacobian_rows


def test_chunks_rows_and_bytes_on_the_disk_are_those_of_a_run(case, tmp_path):
    _, _, _, rows = small_run(tmp_path / "run")
    layout = StoreFolder.opened(tmp_path / "run", "features").layout
    assert (layout.chunks[1], len(layout)) == (case.chunk_rows, case.chunks)
    assert layout.chunk_nbytes + 4 == case.chunk_nbytes
    assert rows == case.jacobian_rows
    files = [file for file in (tmp_path / "run" / "values.zarr" / "c").rglob("*") if file.is_file()]
    chunks = sum(file.stat().st_size for file in files)
    assert chunks == case.chunks * case.chunk_nbytes
    records = [file.stat().st_size for file in (tmp_path / "run" / "chunks").iterdir()]
    assert len(records) == case.chunks
    assert 0.5 < sum(records) / (case.chunks * importlib.import_module("scale_model").RECORD) <= 1


def test_messages_have_the_bytes_that_the_model_says(case, tmp_path):
    model, x, phi, _ = small_run(tmp_path / "run")
    y = model(x)
    values = phi.values.astype("f8")
    found = NormalEquations.of(values, y.T[:, :, None].astype("f8"))
    assert found.gram.nbytes + found.cross.nbytes + found.squares.nbytes == case.statistics_nbytes
    streamed = Streaming(6).stream(phi.paired(y))
    assert streamed.rows.nbytes + streamed.products.nbytes == case.stream_nbytes


@pytest.mark.parametrize(("rows", "workers"), [(None, 1), (10, 1), (200, 1)])
def test_tasks_and_what_travels_are_those_of_a_cluster(case, scale, rows, workers, tmp_path):
    distributed = pytest.importorskip("distributed")
    parcels = importlib.import_module("dntk_dask.parcel")
    case = scale.dataclasses.replace(case, rows=rows)
    model, x, _, _ = small_run(tmp_path / "run", rows)
    finished = []

    class Finished(distributed.SchedulerPlugin):
        def transition(self, key, _start, finish, *_, **__):
            if finish == "memory":
                finished.append(distributed.utils.key_split(key))

    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        cluster.get_client() as client,
    ):
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == workers
        cluster.scheduler.add_plugin(Finished())
        dntk.StoredFeatures(tmp_path / "run", client=client).folded(points_of, add, name="test", along=(x,))
    tasks = [name for name in finished if name in ("read", "merged")]
    assert len(tasks) == case.tasks(workers) - case.chunks
    assert len(tasks) - 1 == case.messages(workers)  # all but the last one's result are another task's
    weights = parcels.Parcel.of(model).weights.nbytes
    assert case.weights_nbytes(1) < weights < case.weights_nbytes(1) + 2048


def points_of(part, x):
    assert len(part) == len(x)
    return len(part)


def add(left, right):
    return left + right


def test_a_forecast_adds_up(scale):
    case, workers = scale.CASES["10⁹, 10¹⁰"]
    rates = scale.Rates(rows_per_second=1e3)
    one, many = scale.Forecast.of(case, rates, 1), scale.Forecast.of(case, rates, workers)
    assert one.features == pytest.approx(1e6)
    assert many.features == pytest.approx(one.features / workers)
    assert many.again < 0.01 * many.features * workers  # losses cost less than a hundredth of the work
    assert case.store_nbytes <= 1.1 * case.feature_nbytes
    assert scale.table().count("\n") == len(scale.CASES) + 2


def test_the_table_of_the_page_is_that_of_the_model(scale):
    assert scale.table() in (BENCHMARKS.parent / "docs/scale.md").read_text(encoding="utf-8")
