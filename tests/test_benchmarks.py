import dataclasses
import importlib
import sys
from pathlib import Path

import pytest

import dntk

pytestmark = pytest.mark.deep

torch = pytest.importorskip("torch")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def load(name):
    return importlib.import_module(name)


def test_cnn_has_the_size_that_the_documentation_states():
    case = load("ntk_networks").CASES["cnn"]
    assert sum(p.numel() for p in case.network().parameters()) == 97_290


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_ways_to_a_kernel_are_compared_on_any_device():
    gpu = load("ntk_gpu")
    rows = {row.name: row for row in gpu.contest(gpu.CASES["mlp"], "full", 3, torch.device("cpu"), repeats=1)}
    assert rows["floor"].error is None
    for name in ("dntk", "torch.func jac-contraction", "torch.func ntk-vps"):
        assert rows[name].why_not == ""
        assert rows[name].best_s > 0
        assert rows[name].error < 1e3 * 2**-23


def test_networks_and_points_are_the_same_at_every_call():
    for case in load("ntk_networks").CASES.values():
        torch.testing.assert_close(case.points(2), case.points(2), rtol=0, atol=0)
        torch.testing.assert_close(
            case.network()(case.points(2)), case.network()(case.points(2)), rtol=0, atol=0, msg=case.name
        )


# PyTorch's forward mode compiles its own decompositions by a function that it has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("mode", ["sum", "one", "mean", "each", "full"])
def test_contestants_compute_the_kernel_that_was_asked_for(mode):
    peers, contests = load("ntk_peers"), load("ntk_contests")
    problem = peers.Problem.of(load("ntk_networks").CASES["cnn"], mode, 3)
    ways = [p for p in (peers.DNTK, *load("ntk_torch_func").TORCH_FUNC) if p.takes("cnn", mode)]
    assert len(ways) > 1
    ours, independent = contests._references(problem.case, mode, 3)
    # Two exact formulas in float64: sums of fewer than 10⁶ terms, at 100 eps times √(number of terms).
    assert contests.relative_error(ours, independent) < 1e-11
    for way in ways:
        found = way.prepare(problem)()
        assert contests.relative_error(found, ours) < 1e3 * 2**-23, way.name


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18"])
def test_jax_twins_are_the_same_networks(name):
    pytest.importorskip("jax")
    case = load("ntk_networks").CASES[name]
    net, x = case.network(), case.points(2)
    apply, params, lay_out = load("ntk_jax").twin(case, net)
    expected = net(x).detach()
    found = torch.tensor(apply(params, lay_out(x)).tolist())
    assert float((found - expected).norm() / expected.norm()) < 1e3 * 2**-23


def test_floor_pulls_back_to_every_layer_and_to_no_parameter(monkeypatch):
    peers = load("ntk_peers")
    problem = peers.Problem.of(load("ntk_networks").CASES["resnet18"], "each", 2)
    seen = []
    plain = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: seen.append(plain(*a, **k)) or seen[-1])
    peers.FLOOR.prepare(problem)()
    assert len(seen) == 10  # one backward pass per output
    layers = [
        m for m in problem.net.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.BatchNorm2d | torch.nn.Linear)
    ]
    assert len(seen[0]) == len(layers) == 41
    assert all(p.grad is None for p in problem.net.parameters())


def test_repetitions_alternate_and_rotate():
    calls = []
    works = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    seconds = load("measure").interleaved(works, {"a": 2, "b": 1, "c": 2})
    assert calls == ["a", "b", "c", "c", "a"]
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 1, "c": 2}


def test_peak_memory_is_what_a_call_held_at_most():
    size = 64 * 2**20

    def work():
        torch.ones(size, dtype=torch.uint8)
        torch.ones(size // 2, dtype=torch.uint8)

    # The kernel counts pages in batches, so that some are not in the sum yet.
    assert 63 <= load("measure").peak_of(work)["peak_mib"] < 96


def test_a_child_that_fails_says_why():
    run, python = load("measure").in_child, sys.executable
    assert run([python, "-c", "print('x'); print('{\"a\": 1}')"], time_limit=60) == {"a": 1}
    assert "no such thing" in run([python, "-c", "raise OSError('no such thing')"], time_limit=60)["why_not"]
    assert "signal 9" in run([python, "-c", "import os; os.kill(os.getpid(), 9)"], time_limit=60)["why_not"]
    assert "not done" in run([python, "-c", "import time; time.sleep(60)"], time_limit=0.5)["why_not"]


def test_a_contestant_that_needs_too_much_memory_is_named():
    child = load("ntk_child")
    # In a process of its own, as the limit cannot be lifted again.
    command = [
        sys.executable,
        str(BENCHMARKS / "ntk_child.py"),
        "mlp",
        "mean",
        "torch.func jac-contraction",
        "64",
        "600",
    ]
    assert load("measure").in_child(command, time_limit=120) == {"why_not": "needs more than 600 MiB"}
    assert child._because(ValueError("other"), 1) == "ValueError: other"


def test_a_library_that_is_missing_has_a_row_that_says_how_to_get_it():
    peers, contests = load("ntk_peers"), load("ntk_contests")
    missing = peers.Peer(name="x", prepare=lambda _: None, package="no_such_library", requirement="pip install x")
    (row,) = contests.contest(load("ntk_networks").CASES["mlp"], "one", 2, [missing], contests.Limits(repeats=1))
    assert row.why_not == "not installed: pip install x"
    assert row.median_s is None


def test_every_method_of_gradient_distillation_is_measured_and_the_better_solve_is_better(monkeypatch):
    scenes, methods = load("distill_gradients_scenes"), load("distill_gradients_methods")
    monkeypatch.setattr(scenes, "POOL", 60)
    monkeypatch.setattr(scenes, "SKETCH", 64)
    monkeypatch.setitem(scenes.HIDDEN, "digits", (16,))
    case = scenes.scene("digits", 0)
    found = {(row.method, row.solve): row for row in methods.rows(case, [4])}
    assert {solve for _, solve in found} == {"paper", "same span", "one pass", "second pass"}
    assert {"LocalGlobal", "Krylov, shared", "Streaming", "Random"} <= {method for method, _ in found}
    full = found["all points", "paper"]
    solution = found["Solution", "same span"]
    assert solution.size == 4
    assert solution.mse < 1.05 * full.mse < found["Principal", "same span"].mse
    assert found["Random", "same span"].mse < found["Random", "paper"].mse
    noisy = list(methods.noisy_rows(case, [2]))
    assert [row.method for row in noisy] == ["all points", "Principal", "Principal, per class", "Solution", "Krylov"]


def test_tables_of_stored_rows_are_printed_without_measuring(monkeypatch, tmp_path, capsys):
    bench = load("distill_gradients")
    score = {"accuracy": 0.5, "fidelity": 0.75, "mse": 2.0, "kernel_error": None, "unseen": None}
    key = {"data": "digits", "method": "Krylov", "solve": "paper", "budget": 5, "size": 5}
    files = []
    for seed in (0, 1):
        files.append(tmp_path / f"{seed}.json")
        bench._write([{**key, **score, "seed": seed, "accuracy": 0.5 + 0.1 * seed}], files[-1])
    monkeypatch.setattr(sys, "argv", ["distill_gradients.py", "--tables", *map(str, files)])
    bench.main()
    shown = capsys.readouterr().out
    assert "over 2 seeds" in shown
    assert "0.5500 ± 0.0707" in shown


def test_missing_data_says_how_to_get_it(monkeypatch, tmp_path):
    scenes = load("distill_gradients_scenes")
    monkeypatch.setattr(scenes, "FASHION", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        scenes.scene("fashion", 0)


def test_selections_that_are_not_there_are_named(monkeypatch):
    methods = load("distill_gradients_methods")
    monkeypatch.setattr(methods, "SELECTIONS", ("Random", "NoSuchSelection"))
    assert methods.missing() == ["NoSuchSelection"]


@pytest.mark.parametrize("name", ["Principal", "Streaming"])
def test_scaling_measures_time_and_memory_of_a_method(name, monkeypatch):
    scaling = load("distill_gradients_scaling")
    monkeypatch.setattr(scaling, "SIZE", 3)
    measured = scaling.child(name, 50, 2)
    assert measured["seconds"] > 0
    assert set(measured) == {"peak_mib", "seconds"}


def test_sketched_networks_have_the_sizes_that_the_documentation_states():
    cases = load("sketch_cases")
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in net.parameters()) for net in (cases.SmallResNet18(), cases.Gpt100M())]
    assert sizes == [11_173_962, 97_695_744]


def test_every_way_to_features_keeps_the_kernel():
    """Eight standard errors: √(2/k) for k features, and √(2/64) more where the layers are reduced to 64 columns."""
    ways, contests = load("sketch_ways"), load("sketch_contests")
    case = load("ntk_networks").CASES["cnn"]
    exact = dntk.ntk(dntk.as_model(case.network()), case.points(3), outputs=0).double()
    for way in ways.WAYS:
        if way is ways.FLOOR or way.why_not():
            continue
        found = way.prepare(ways.Task.of(case, 256, 3))(1)[0]
        assert found.shape == (3, 256)
        (error,), _ = contests.errors(exact, [found @ found.T]).values()
        assert 1e-4 < error < 8 * (2 / 256 + 2 / 64) ** 0.5, way.name


def test_errors_of_kernels_are_those_of_norms_and_eigenvalues():
    exact = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))
    found = load("sketch_contests").errors(exact, [exact, exact * 1.1])
    assert found["errors"] == pytest.approx([0, 0.1])
    assert found["eigenvalue_errors"] == pytest.approx([0, 0.1])


def test_prediction_by_products_is_that_by_features():
    case = load("ntk_networks").CASES["cnn"]
    found = load("sketch_contests").prediction(case, dntk.sketch.Mixed(64, inner=16), 2, 1)
    assert found.disagreement < 1e3 * 2**-23
    assert len(found.by_products) == len(found.by_features) == 1


@pytest.mark.parametrize("kind", ["ridge", "path", "gp", "stream"])
def test_every_solver_in_a_contest_solves_the_same_problem(kind, tmp_path):
    """To float32's rounding times the condition number, 1e4; iterations and Nyström features to what they promise."""
    contests, problems = load("solve_contests"), load("solve_problems")
    contests.Contest(kind=kind, points=200, features=32, targets=3).write(tmp_path)
    problem = problems.read_problem(tmp_path)
    figures = load("solve_figures").figures
    ways = [way for way in contests.ALL if kind in way.contests and way.why_not() is None]
    assert len(ways) >= 4
    for way in ways:
        found = figures(kind, way.prepare(problem, tmp_path)(), problem, tmp_path)
        if not found:  # a search for λ has no answer to compare
            continue
        assert found["error"] < (0.1 if "chosen" in way.name or "Adam" in way.name else 1e-2), way.name
        if kind == "gp":
            assert found["negative_log_likelihood"] < 3, way.name
            assert found["error_log_likelihood"] < 0.1, way.name


def test_solver_rows_have_figures_and_times_from_processes_of_their_own(capsys):
    contests, report, paths = load("solve_contests"), load("solve_report"), load("solve_path_ways")
    missing = load("solve_ways").Way(
        name="x", prepare=lambda *_: None, contests=("path",), package="no_such_library", requirement="pip install x"
    )
    path = next(way for way in paths.PATH if way.name == "dntk ridge_path")
    contest = contests.Contest(kind="path", points=100, features=32, targets=2)
    row, absent = contests.measured(contest, [path, missing], contests.Limits(repeats=2))
    assert len(row.seconds) == 2
    assert row.peak_mib is not None
    assert 0 < row.figures["error"] < 1e-3
    assert row.product_rate > 0
    assert absent.why_not == "not installed: pip install x"
    one = contests.Row(contest="path", points=100, name=paths.ONE_SOLVE, seconds=[row.median_s / 1.25])
    report.print_table("path", [one, row, absent])
    report.print_targets([one, row, absent])
    assert "50 ridges take 1.25 times one solve" in capsys.readouterr().out


def test_certificates_are_measured_against_the_truth_and_false_ones_are_counted(monkeypatch):
    scenes, truth = load("certify_scenes"), load("certify_truth")
    monkeypatch.setitem(scenes.NETWORKS, "mlp", 1)
    monkeypatch.setitem(scenes.DATA, "digits", (8, 200))
    case = scenes.scene("digits", "mlp", seed=0, points=40, features=64)
    rows = list(truth.measured(case, [4], repeats=1))
    assert [(row.method, row.size, row.violations) for row in rows] == [("Principal", 4, 0), ("Solution", 4, 0)]
    assert all(0 < row.energy_ratio <= 1 and row.statements > 20 and row.cost > 0 for row in rows)
    grads = dntk.distill.gradients.Principal(4).distill(case.phi, case.targets)
    dense = truth.Truth.of(case, 0.1)
    certificate = dntk.certify(case.phi, grads, case.targets, 0.1)
    half = dataclasses.replace(certificate.trace_error, value=certificate.trace_error.value / 2)
    assert sum(dense.against(certificate, grads)[2]) == 0
    assert sum(dense.against(dataclasses.replace(certificate, trace_error=half), grads)[2]) == 1
