import dataclasses
import importlib
from pathlib import Path

import numpy as np
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


@pytest.fixture(scope="module")
def problem():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        patch.setitem(load("distill_measure").EPOCHS, "digits", 2)
        return load("distill_measure").Problem.of("digits", "cnn", seed=0, train=60, test=40, dim=64)


@pytest.mark.parametrize(("name", "size"), [("cnn", 20_586), ("resnet18", 176_258)])
def test_networks_have_the_sizes_that_the_documentation_states(name, size):
    networks = load("distill_networks")
    net = networks.build(name, (1, 28, 28))
    assert f"{sum(p.numel() for p in net.parameters()):,}" == f"{size:,}"
    assert f"{size:,}" in networks.__doc__
    assert net.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_problem_is_the_same_at_every_call(problem):
    again = load("distill_measure").Problem.of("digits", "cnn", seed=0, train=60, test=40, dim=64)
    assert torch.equal(problem.x, again.x)
    other = load("distill_measure").Problem.of("digits", "cnn", seed=1, train=60, test=40, dim=64)
    assert not torch.equal(problem.x, other.x)
    assert len(problem.x) == 60
    assert len(problem.x_test) == 40
    assert not {x.numpy().tobytes() for x in problem.x} & {x.numpy().tobytes() for x in problem.x_test}


def test_stored_rows_are_read_as_they_were(tmp_path):
    measure, report = load("distill_measure"), load("distill_report")
    rows = [measure.Row(data="digits", network="cnn", seed=s, method="m", points=10, fidelity=0.5) for s in (0, 1)]
    for seed, row in enumerate(rows):
        (tmp_path / f"{seed}.json").write_text(report.as_json([row]))
    assert report.read([tmp_path / "0.json", tmp_path / "1.json"]) == rows


def test_every_coreset_has_a_row(problem):
    measure, methods = load("distill_measure").measure, load("distill_methods")
    for method in methods.CORESETS:
        row = measure(problem, method, 20)
        assert row.why_not == "", method.name
        assert row.distillation_rows == (60 if method.sees_features else 0)  # one functional of 60 points
        assert row.evaluation_rows == 20 * 10
        assert 0 <= row.tail <= row.residual <= 1
        assert row.gap == row.residual - row.tail


def test_all_points_leave_less_error_than_few(problem):
    measure, methods = load("distill_measure"), load("distill_methods")
    few = measure.measure(problem, methods.CORESETS[0], 10)
    whole = measure.measure_all(problem)
    assert whole.mse < few.mse
    assert whole.evaluation_rows == 600


def test_held_out_residual_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    kept, held_out = (torch.from_numpy(rng.normal(size=(3, n, 7))) for n in (5, 9))
    found = load("distill_measure").held_out_residual(dntk.TangentFeatures(kept), dntk.TangentFeatures(held_out))
    basis, target = (x.permute(1, 0, 2).reshape(x.shape[1], -1).numpy().T for x in (kept, held_out))
    rest = target - basis @ np.linalg.lstsq(basis, target, rcond=None)[0]
    assert found == pytest.approx(np.sum(rest**2) / np.sum(target**2), rel=1e-12)


def test_objectives_are_made_where_dntk_has_them_and_named_where_not(problem, monkeypatch):
    measure, methods = load("distill_measure").measure, load("distill_methods")

    @dataclasses.dataclass
    class Middle:
        """The first points, darkened."""

        per_class: int
        seed: int
        limits: tuple[float, float]
        steps: int = 3

        def distill(self, model, x, _):
            assert (self.per_class, self.seed, self.limits) == (2, 0, (0.0, 1.0))
            dntk.tangent_features(model, x[: self.steps], sketch=None, outputs="sum")  # costs so many rows
            return type("Made", (), {"x": x[:20] / 2})

    objective = methods.OBJECTIVES[0]
    monkeypatch.setattr(methods.distillers, objective.name, Middle, raising=False)
    row = measure(problem, objective, 20)
    assert (row.why_not, row.distillation_rows, row.evaluation_rows) == ("", 3, 200)
    assert measure(problem, objective, 20, steps=5).distillation_rows == 5
    monkeypatch.delattr(methods.distillers, objective.name)
    assert measure(problem, objective, 20).why_not == "not in this version of dntk"


def test_a_method_that_cannot_says_why(problem):
    row = load("distill_measure").measure(problem, load("distill_methods").CORESETS[0], 61)
    assert "61 points are asked of 60" in row.why_not


def test_names_of_methods_are_checked():
    methods = load("distill_methods")
    assert [m.name for m in methods.chosen(["RPC"])] == ["RPCholesky", "RPCholesky, balanced"]
    with pytest.raises(ValueError, match="no method begins with 'x'"):
        methods.chosen(["x"])


def test_the_headline_counts_what_was_saved(capsys):
    report, row = load("distill_report"), load("distill_measure").Row
    about = {"data": "d", "network": "n", "seed": 0}
    whole = row(**about, method="all points", points=1000, fidelity=0.98, evaluation_rows=10_000, distillation_rows=0)
    part = row(**about, method="A", points=50, fidelity=0.96, evaluation_rows=500, distillation_rows=19_500)
    free = row(**about, method="B", points=50, fidelity=0.97, evaluation_rows=500, distillation_rows=0)
    assert report.break_even(part, whole) == 3  # 19,500 + 3 · 500 < 3 · 10,000, but 19,500 + 2 · 500 > 2 · 10,000
    assert report.break_even(free, whole) == 1
    assert report.kept_fidelity(part, whole) == 0.96 / 0.98
    report.print_table("title", [whole, part, free, row(**about, method="C", points=50, why_not="no reason")])
    report.print_headline([whole, part, free])
    shown = capsys.readouterr().out
    assert "C: no reason" in shown
    assert "20x fewer" in shown
    assert "0.5x fewer" in shown
