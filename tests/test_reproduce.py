"""The reproduction's command from end to end, on few digits, and that it resumes and refuses what it should."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

import dntk
from dntk_studies.networks import find_trainer
from dntk_studies.reproduce import TrainingPlan, figures_of, needs, prepare, preset, run
from dntk_studies.reproduce.data_comparison import methods
from dntk_studies.reproduce.gradient_methods import METHODS, SOLVES
from dntk_studies.reproduce.settings import FIGURES

pytestmark = pytest.mark.deep

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

TINY = dataclasses.replace(
    preset("digits", quick=True),
    train=200,
    validation=30,
    test=40,
    pool=60,
    per_class=3,
    main=TrainingPlan(architecture="mlp", width=12, epochs=6, batch=50, rate=1e-2, decay=1e-2),
    others=(TrainingPlan(architecture="cnn", width=4, epochs=2, batch=50, rate=1e-2, decay=1e-2),),
    distilled_epochs=3,
    seeds=2,
    full_seeds=1,
    sketch_dim=64,
    sizes=(1, 4),
    prefixes=(1, 3),
    exact_points=10,
    exact_sizes=(5, 10, 15),
    solve_sizes=(20, 40),
    sweep=(16, 64),
)


def start(out, settings=TINY, figures=FIGURES, directory=None, progress=lambda _: None):
    return prepare(settings, figures, out, directory, progress)


def table(out, name):
    import csv

    return list(csv.DictReader((out / "tables" / f"{name}.csv").read_text().splitlines()))


def unit(out, name):
    return json.loads((out / "units" / f"{name}.json").read_text())["value"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a run that was done once, its page, and how often it said that a unit was done."""
    out = tmp_path_factory.mktemp("reproduce") / "out"
    with dntk.checking(False):  # thousands of small calls: their checks would be most of the work
        prepared, done = start(out), []
        page = run(prepared, lambda: done.append(1))
    return out, page, prepared, len(done)


def test_the_run_goes_through_as_many_units_as_it_announced(finished):
    _, _, prepared, done = finished
    assert done == prepared.units


def test_the_page_is_self_contained_and_has_every_figure_and_table(finished):
    _, page, _, _ = finished
    text = page.read_text()
    assert text.count("<svg") == 5
    assert "<script" not in text
    assert 'src="http' not in text
    for word in (
        "The paper, this run",
        "Figure 3 as a table",
        "Stages, composed",
        "Each stage on and off",
        "extrapolated",
    ):
        assert word in text


def test_plots_are_png_files_and_tables_are_csv_files(finished):
    out, _, _, _ = finished
    plots = sorted((out / "plots").iterdir())
    assert [path.name for path in plots] == [*(f"figure-{i}.png" for i in FIGURES), "sketch.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots)
    assert {row["architecture"] for row in table(out, "networks")} == {"mlp", "cnn"}


def test_figure_3_has_every_method_both_solves_and_every_size(finished):
    out, _, _, _ = finished
    rows = [row for row in table(out, "figure-3") if row["architecture"] == "mlp" and row["seed"] == "0"]
    found = {(row["method"], row["solve"], row["asked"]) for row in rows if row["asked"]}
    assert found == {(name, solve, str(size)) for name in METHODS for solve in SOLVES for size in TINY.sizes}


def test_one_label_aware_gradient_predicts_as_all_points_do(finished):
    out, _, _, _ = finished
    rows = [row for row in unit(out, "figure-3-mlp-0") if row["method"] in ("Solution", "all distilled points")]
    full = rows[-1]
    for row in rows[:-1]:
        assert row["mse"] == pytest.approx(full["mse"], rel=1e-3)


def test_unseen_labels_of_the_same_points_are_the_same_in_both_tables(finished):
    out, _, _, _ = finished
    decisions = TINY.test * 10  # of every test point in ten groupings
    for seed in range(TINY.seeds):
        full = unit(out, f"figure-3-mlp-{seed}")[-1]["unseen"]
        assert unit(out, f"data-RPCholesky-mlp-{seed}")["unseen"] == pytest.approx(full, abs=1.5 / decisions)


def test_spread_over_seeds_is_that_of_the_rows(finished):
    out, _, _, _ = finished
    rows = [r for r in table(out, "figure-1") if (r["architecture"], r["base"], r["points"]) == ("mlp", "real", "30")]
    mean = next(
        r
        for r in table(out, "figure-1-over-seeds")
        if (r["architecture"], r["base"], r["points"]) == ("mlp", "real", "30")
    )
    values = [float(row["accuracy"]) for row in rows]
    assert (len(values), mean["seeds"]) == (2, "2")
    assert float(mean["accuracy"]) == pytest.approx(np.mean(values))
    assert float(mean["accuracy_sd"]) == pytest.approx(np.std(values, ddof=1))


def test_measured_stage_errors_stay_below_their_certificates(finished):
    out, _, _, _ = finished
    rows = unit(out, "stages-mlp-0")
    assert len(rows) == 3
    for row in rows:
        # Predictions are float32 sums over k = 64 features.
        assert row["on_points"] <= row["certified"] + 64 * np.finfo(np.float32).eps
        # The triangle inequality: stages compose.
        assert row["together"] <= (row["data"] + row["gradients"]) * (1 + 1e-5)


def test_the_ledger_counts_one_row_per_point_and_class_and_marks_extrapolations(finished):
    out, _, _, _ = finished
    stages = {row["stage"]: row for row in table(out, "ledger")}
    assert int(stages["features"]["jacobian_rows"]) == 10 * 3 * 10
    assert int(stages["last-layer features"]["jacobian_rows"]) == len(start(out).shop.images(0).pool)
    how = {row["stage"].split(",")[0]: [] for row in table(out, "exact")}
    for row in table(out, "exact"):
        how[row["stage"].split(",")[0]].append(row["how"].split(",")[0])
    assert how["exact kernel"] == ["measured"] * 3 + ["extrapolated"] * 4


def test_a_second_run_computes_nothing_again(finished):
    out, page, _, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    steps = []
    run(start(out, progress=steps.append))
    assert {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()} == before
    assert not [step for step in steps if not step.startswith(("reading", "writing"))]
    assert page.exists()


def test_a_finished_run_goes_on_with_more_seeds_and_computes_those_alone(finished, tmp_path):
    import shutil

    out = tmp_path / "more"
    shutil.copytree(finished[0], out)
    before = {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    more = dataclasses.replace(TINY, seeds=3, other_seeds=2)
    run(start(out, more, ("2",)))
    after = {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    assert {path: time for path, time in after.items() if path in before} == before
    new = {path.name for path in set(after) - set(before)}
    runs = ("mlp-2", "cnn-1")
    assert {f"networks-{each}.json" for each in runs} | {f"figure-2-{each}.json" for each in runs} <= new
    assert all(name.split(".")[0].endswith(runs) for name in new)
    assert {(row["architecture"], row["seed"]) for row in table(out, "figure-2")} == {
        *(("mlp", str(seed)) for seed in range(3)),
        *(("cnn", str(seed)) for seed in range(2)),
    }
    assert json.loads((out / "configuration.json").read_text())["settings"] == more.as_json()


def test_a_run_that_lost_its_last_units_resumes_with_the_same_results(finished, tmp_path):
    import shutil

    out = tmp_path / "interrupted"
    shutil.copytree(finished[0], out)
    known = unit(out, "figure-2-mlp-1")
    for name in ("figure-2-mlp-1.json", "features-mlp-1.safetensors"):
        (out / "units" / name).unlink()
    run(start(out, figures=("2",)))
    again = unit(out, "figure-2-mlp-1")
    assert [row["rank_own"] for row in again] == [row["rank_own"] for row in known]
    np.testing.assert_allclose([r["spectrum"] for r in again], [r["spectrum"] for r in known], rtol=1e-4, atol=1e-7)


def test_training_that_was_interrupted_ends_with_the_same_network(tmp_path):
    _, trainer = find_trainer()
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 1, 8, 8), dtype=np.float32), rng.integers(0, 3, 40)
    plan = TrainingPlan(architecture="resnet18", width=2, epochs=3, batch=20, flip=True, shift=1)

    class StoppedError(Exception):
        pass

    def stop_before_the_third(step):
        if "epoch 3" in step:
            raise StoppedError

    options = {"classes": 3, "seed": 1}
    with pytest.raises(StoppedError):
        trainer.train(plan, x, y, **options, folder=tmp_path / "a", progress=stop_before_the_third)
    steps = []
    resumed = trainer.train(plan, x, y, **options, folder=tmp_path / "a", progress=steps.append)
    whole = trainer.train(plan, x, y, **options, folder=tmp_path / "b", progress=lambda _: None)
    assert steps == ["training resnet18, epoch 3 of 3"]
    assert resumed.precision == whole.precision
    for name, value in whole.model.parameters.items():
        assert torch.equal(value, resumed.model.parameters[name]), name


@pytest.mark.parametrize("architecture", ["mlp", "cnn", "resnet18", "vit"])
def test_every_network_has_a_last_layer_whose_gradients_need_no_backward_pass(architecture, tmp_path):
    from dntk import tangent_features

    _, trainer = find_trainer()
    x = np.random.default_rng(0).random((6, 3, 16, 16), dtype=np.float32)
    plan = TrainingPlan(architecture=architecture, width=8, epochs=1, batch=6, rate=1e-3)
    found = trainer.train(
        plan, x, np.array([0, 1, 0, 1, 0, 1]), classes=2, seed=0, folder=tmp_path, progress=lambda _: None
    )
    assert found.model.n_parameters == trainer.parameters(plan, (3, 16, 16), 2)
    inputs = torch.from_numpy(x)
    phi = tangent_features(found.model.subset(found.last_layer), inputs, sketch=None, outputs=0)
    features = found.model.module.body((inputs - found.model.module.mean) / found.model.module.deviation).detach()
    zero = torch.zeros_like(features)
    expected = torch.cat([features, zero, torch.ones(6, 1), torch.zeros(6, 1)], dim=1)
    torch.testing.assert_close(phi.values[0], expected, rtol=1e-4, atol=1e-5)


def test_pictures_in_folders_take_the_same_path(tmp_path):
    images = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 4)):
        for label in range(3):
            folder = tmp_path / "data" / part / f"n{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 80, (20, 24, 3), dtype=np.uint8)
                pixels[..., label] += 120
                images.fromarray(pixels).save(folder / f"{i}.png")
    settings = dataclasses.replace(
        TINY,
        data="imagenette",
        pixels=16,
        train=None,
        validation=3,
        pool=100,
        per_class=2,
        main=TrainingPlan(architecture="resnet18", width=2, epochs=2, batch=8, flip=True, shift=2),
        others=(),
        seeds=1,
    )
    page = run(start(tmp_path / "out", settings, ("2",), tmp_path / "data"))
    rows = table(page.parent, "figure-2")
    assert [row["class"] for row in rows] == ["0", "1", "2"]
    assert all(row["points"] == "2" and 1 <= int(row["rank_own"]) <= 2 for row in rows)


def test_one_figure_alone_is_drawn_alone(tmp_path):
    out = tmp_path / "one"
    settings = dataclasses.replace(TINY, seeds=1, others=())
    run(start(out, settings, ("2",)))
    assert [path.name for path in (out / "plots").iterdir()] == ["figure-2.png"]


def test_a_folder_of_another_configuration_is_refused_with_the_difference(finished):
    out = finished[0]
    with pytest.raises(ValueError, match=r"another configuration \(sketch_dim is 64 there, 65 here\)"):
        start(out, dataclasses.replace(TINY, sketch_dim=65))


def test_a_folder_of_an_earlier_form_of_the_same_settings_is_refused_and_says_so(finished, tmp_path):
    path = tmp_path / "out" / "configuration.json"
    path.parent.mkdir()
    path.write_text(json.dumps(json.loads((finished[0] / path.name).read_text()) | {"hash": "0" * 16}))
    with pytest.raises(ValueError, match=r"another configuration \(an earlier form of this version wrote it\)"):
        start(path.parent)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(ValueError, match="holds no results of `dntk reproduce`"):
        start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_damaged_unit_is_named(finished, tmp_path):
    import shutil

    out = tmp_path / "damaged"
    shutil.copytree(finished[0], out)
    (out / "units" / "figure-1-mlp-0.json").write_text("{")
    with pytest.raises(ValueError, match=r"figure-1-mlp-0\.json is damaged .* delete it"):
        run(start(out))


def test_a_damaged_network_is_named(finished, tmp_path):
    import shutil

    out = tmp_path / "damaged"
    shutil.copytree(finished[0], out)
    (out / "networks" / "mlp-0" / "training.safetensors").write_bytes(b"not a network")
    (out / "units" / "networks-mlp-0.json").unlink()
    with pytest.raises(ValueError, match=r"training\.safetensors is damaged or foreign"):
        run(start(out))


def test_too_little_memory_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(needs, "available_memory", lambda: 10**8)
    with pytest.raises(OSError, match=r"needs about \d\.\d GB of memory, and 100 MB are available"):
        start(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_little_disk_is_said_before_anything_is_made(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10**6})
    monkeypatch.setattr(needs.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"needs about \d+ MB of disk, and 1 MB are free"):
        start(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_estimate_grows_with_what_is_kept():
    _, trainer = find_trainer()
    from dntk_studies.reproduce.images import load_images

    images = load_images(TINY, 0, None)
    small = needs.estimate(TINY, images, trainer)
    assert needs.estimate(dataclasses.replace(TINY, sketch_dim=640), images, trainer).memory > small.memory
    assert needs.estimate(dataclasses.replace(TINY, per_class=6), images, trainer).disk > small.disk


def test_methods_that_move_pixels_need_steps_and_run_where_the_full_set_does():
    moving = dataclasses.replace(TINY, pixel_steps=5)
    chosen = {"Random", "FarthestPoint", "KMeans", "Leverage", "Herding", "RPCholesky"}
    assert set(methods(TINY, 0)) == set(methods(moving, 1)) == chosen
    assert set(methods(moving, 0)) == chosen | {"Wasserstein", "TangentResidual", "KernelInducing"}


@pytest.mark.parametrize("method", ["Wasserstein", "TangentResidual", "KernelInducing"])
def test_images_that_were_moved_are_pixels_with_as_many_of_every_class(method, tmp_path):
    pytest.importorskip("ot")
    settings = dataclasses.replace(TINY, pixel_steps=2, seeds=1, others=())
    found = start(tmp_path / "out", settings).shop.distilled(settings.main, 0, method)
    assert found.x.shape == (30, 1, 8, 8)
    assert 0 <= found.x.min() < found.x.max() <= 1
    assert set(found.y[:10]) == set(range(10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--figure", "5"), "--figure 5: expected one of 1, 2, 3, 4, all"),
        (("--data", "mnist"), "--data mnist: expected one of cifar10"),
        (("--data", "imagewoof"), "--data imagewoof needs --data-dir DIR"),
        (("--data", "imagenette", "--data-dir", "nowhere"), "is no folder: pass the one that has the data"),
        (("--seeds", "0"), "Invalid value for '--seeds'"),
        (("--full-seeds", "0"), "Invalid value for '--full-seeds'"),
        (("--quick", "--out", "taken"), "holds no results of `dntk reproduce`"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, message, tmp_path):
    (tmp_path / "taken").write_text("")
    command = [sys.executable, "-m", "dntk.cli", "reproduce", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_numbers_of_seeds_are_those_asked_for(monkeypatch, tmp_path):
    from dntk_studies.reproduce import command

    class AskedError(Exception):
        pass

    def ask(settings, *_):
        raise AskedError(settings)

    monkeypatch.setattr(command, "prepare", ask)
    with pytest.raises(AskedError) as caught:
        command.reproduce(data="fashion-mnist", seeds=2, other_seeds=4, full_seeds=3, out=tmp_path / "out")
    expected = dataclasses.replace(preset("fashion-mnist", quick=False), seeds=2, other_seeds=4, full_seeds=3)
    assert caught.value.args == (expected,)


def test_all_means_every_figure():
    assert figures_of("all") == FIGURES
    assert figures_of("3") == ("3",)
