"""Plans beside what the calls then cost: passes, rows and bytes exactly, operations nearly, seconds by their rule."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.distill.data import FarthestPoint, KMeans, LastLayer, Random, RPCholesky, Wasserstein
from dntk.distill.gradients import LocalGlobal, Principal, Solution
from dntk.estimator import _planning
from dntk.ledger import LedgerRecorder, StageCost, count
from dntk.plan import Plan, PlannedStage, _measure
from dntk.plan._measure import PerPoint, along, grown, per_output
from dntk.sketch import Gaussian, SparseSign
from tests.libraries import Library
from tests.networks import inputs, mlp

NUMPY = Library("numpy", "numpy")
COUNTED = ("jacobian_rows", "forward_passes", "backward_passes", "nbytes")


@pytest.fixture(autouse=True)
def _all_points_are_measured(monkeypatch):
    """How many are measured depends on the clock otherwise, and of a few points layers take other forms."""
    monkeypatch.setattr("dntk.plan._measure.SECONDS", 1e6)


def network(kind, sizes=(6, 8, 3), points=90):
    """A network with tanh between dense layers, and inputs: dntk's own, a module of PyTorch, a function of JAX."""
    own, x = mlp(NUMPY, sizes), inputs(NUMPY, points)
    if kind == "numpy":
        return own, x
    if kind == "jax":
        jnp = pytest.importorskip("jax.numpy")

        def function(weights, at):
            *inner, last = weights
            for weight in inner:
                at = jnp.tanh(at @ weight.T)
            return at @ last.T

        return dntk.as_model(function, [jnp.asarray(w) for w in own.weights]), jnp.asarray(x)
    torch = pytest.importorskip("torch")
    layers = []
    for weight, bias in zip(own.weights, own.biases, strict=True):
        layers += [torch.nn.Linear(*weight.shape[::-1]), torch.nn.Tanh()]
        layers[-2].weight.data, layers[-2].bias.data = torch.asarray(weight.copy()), torch.asarray(bias.copy())
    return dntk.as_model(torch.nn.Sequential(*layers[:-1]).eval()), torch.asarray(x.copy())


def recorded(action):
    recorder = LedgerRecorder()
    with recorder.stage("it"):
        action()
    return recorder.ledger()["it"]


def counted(cost):
    return {column: getattr(cost, column) for column in COUNTED}


def without_bytes(cost):
    return {column: getattr(cost, column) for column in COUNTED if column != "nbytes"}


FITS = {
    "all points, all gradients": {"data": None, "gradients": None, "sketch": None},
    "the last layer's choice": {"data": LastLayer(KMeans(12)), "gradients": Solution(3), "sketch": SparseSign(40)},
    "chosen by features": {"data": RPCholesky(12), "gradients": Principal(4), "sketch": Gaussian(30)},
    "fewer features than points": {"data": FarthestPoint(20), "gradients": Solution(3), "sketch": SparseSign(9)},
    "clusters of gradients": {"data": RPCholesky(16), "gradients": LocalGlobal(0.9, 0.9, 2), "sketch": None},
    "as it comes": {},
}


CASES = [(kind, fit) for fit in FITS for kind in ("numpy", "torch")] + [("jax", "the last layer's choice")]


@pytest.mark.parametrize(("kind", "fit"), CASES, ids=[f"{kind}: {fit}" for kind, fit in CASES])
def test_a_fit_costs_the_passes_rows_and_bytes_of_its_plan(kind, fit):
    model, x = network(kind)
    spec = dntk.DistilledNTK(model, **FITS[fit])
    plan, ledger = spec.plan(x), spec.fit(x).ledger
    assert [stage.stage for stage in plan.stages] == [stage.stage for stage in ledger.stages]
    for foreseen, found in zip(plan.ledger.stages, ledger.stages, strict=True):
        # How many directions clusters have, and how often centres move, depends on the points.
        if (foreseen.stage, fit) != ("gradients", "clusters of gradients"):
            assert counted(foreseen) == counted(found), foreseen.stage
        if foreseen.stage not in ("data", "gradients"):
            assert foreseen.flops == pytest.approx(found.flops, rel=0.1), foreseen.stage


@pytest.mark.parametrize("fit", ["all points, all gradients", "the last layer's choice"])
def test_a_certificate_costs_what_stands_beside_the_plan_of_its_fit(fit):
    model, x = network("numpy", points=60)
    spec = dntk.DistilledNTK(model, **FITS[fit])
    planned, made = spec.plan(x)["certificate"], spec.fit(x).certificate.cost
    assert without_bytes(planned.cost) == without_bytes(made)
    assert planned.cost.flops == pytest.approx(made.flops, rel=0.25)  # some iterations end where they have found it
    assert planned.basis.startswith("when first read")


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_certificates_of_every_approximation_have_plans(kind):
    model, x = network(kind, points=40)
    phi, y = dntk.tangent_features(model, x, sketch=SparseSign(50)), model(x)
    other = dntk.tangent_features(model, x, sketch=SparseSign(60))
    for approximation in (other, Principal(4).distill(phi, y), RPCholesky(9).select(phi)):
        plan = dntk.plan.certify(phi, approximation, y, 0.1).total()
        cost = dntk.certify(phi, approximation, y, 0.1).cost
        assert without_bytes(plan) == without_bytes(cost)
        assert plan.flops == pytest.approx(cost.flops, rel=0.4)
    with pytest.raises(TypeError, match="`approximation` is "):
        dntk.plan.certify(phi, 3)


def test_what_a_network_is_looked_at_once_is_all_that_a_fit_costs_beyond_its_plan():
    (one, x), (other, _) = network("torch"), network("torch")
    spec = {"data": LastLayer(KMeans(12)), "gradients": Solution(3), "sketch": SparseSign(40)}
    plan, cost = dntk.DistilledNTK(one, **spec).plan(x).total(), dntk.DistilledNTK(other, **spec).fit(x).ledger.total()
    assert plan.jacobian_rows == cost.jacobian_rows
    assert 0 <= cost.forward_passes - plan.forward_passes <= 1
    assert plan.flops == pytest.approx(cost.flops, rel=0.1)


def test_a_plan_chooses_what_the_fit_chooses_and_says_so():
    model, x = network("torch", (6, 70, 60, 3), 40)
    spec = dntk.DistilledNTK(model, data=RPCholesky(10))
    plan, fit = spec.plan(x), spec.fit(x)
    assert plan.call == f"a fit of 40 points: 10 kept, {fit.weights.shape[1]:,} features for each of 3 outputs"
    assert fit.sketch is not None
    assert plan.notes == fit.choices
    assert plan["features"].cost.nbytes == 4 * 3 * 10 * fit.weights.shape[1]


def test_targets_that_are_given_cost_no_pass():
    model, x = network("numpy", points=30)
    spec = dntk.DistilledNTK(model, data=None, sketch=None)
    y = np.ones((30, 3), dtype=np.float32)
    assert spec.plan(x).total().forward_passes - spec.plan(x, y).total().forward_passes == 30
    with pytest.raises(ValueError, match="`y` has shape"):
        spec.plan(x, y[:4])


@pytest.mark.parametrize("settings", [{}, {"batch_size": 7}, {"outputs": 1}, {"outputs": "sum", "batch_size": 2}])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_features_cost_what_is_planned(kind, settings):
    (model, x), sketch = network(kind, points=31), SparseSign(20)
    plan = dntk.plan.tangent_features(model, x, sketch=sketch, **settings)
    cost = recorded(lambda: dntk.tangent_features(model, x, sketch=sketch, **settings))
    assert without_bytes(plan.total()) == without_bytes(cost)
    assert plan.total().flops == pytest.approx(cost.flops, rel=0.1)
    assert plan["features"].cost.nbytes == 4 * (1 if "outputs" in settings else 3) * 31 * 20


@pytest.mark.parametrize("outputs", ["mean", "each", "full", "sum", 1])
@pytest.mark.parametrize("batch_size", [None, 5, 40])
@pytest.mark.parametrize("other", [False, True], ids=["symmetric", "other points"])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_kernels_cost_the_passes_and_rows_that_are_planned(kind, other, batch_size, outputs):
    model, x = network(kind, points=23)
    settings, x2 = {"outputs": outputs, "batch_size": batch_size}, x[4:15] if other else None
    plan, kernel = dntk.plan.ntk(model, x, x2, **settings).total(), []
    cost = recorded(lambda: kernel.append(dntk.ntk(model, x, x2, **settings)))
    assert without_bytes(plan) == without_bytes(cost)
    assert plan.nbytes == int(np.prod(kernel[0].shape)) * 4


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("outputs", ["mean", "each", "full"])
def test_operations_of_a_kernel_are_those_of_the_form_that_many_points_take(outputs, batch_size, monkeypatch):
    """A convolution of few points multiplies positions, one of many expands gradients: no line through two of few."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("dntk.plan._measure.SECONDS", 0.0)  # two points are measured
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.Conv2d(4, 4, 3), torch.nn.Flatten()
    model = dntk.as_model(torch.nn.Sequential(*layers, torch.nn.Linear(64, 3)).eval())
    x = torch.randn(64, 1, 8, 8)
    settings = {"outputs": outputs, "batch_size": batch_size}
    plan, cost = dntk.plan.ntk(model, x, **settings).total(), recorded(lambda: dntk.ntk(model, x, **settings))
    assert plan.flops == pytest.approx(cost.flops, rel=0.1)


def test_groups_of_outputs_cost_a_forward_pass_each(monkeypatch):
    from dntk.models import batching

    model, x = network("numpy", points=20)
    monkeypatch.setattr(batching, "BUDGET", 3_000)
    plan, cost = dntk.plan.ntk(model, x), recorded(lambda: dntk.ntk(model, x))
    assert without_bytes(plan.total()) == without_bytes(cost)
    assert plan.total().forward_passes == 2 * 20 + 1  # two groups, and one input whose blocks are measured


def test_disk_is_counted_where_a_folder_is_given_and_nothing_is_written(tmp_path):
    spec = dntk.DistilledNTK(mlp(NUMPY), data=RPCholesky(8), sketch=SparseSign(20), gradients=Solution(2))
    x, folder = inputs(NUMPY), tmp_path / "run"
    assert spec.plan(x).disk == 0
    plan = spec.plan(x, checkpoint=folder)
    assert not folder.exists()
    spec.fit(x, checkpoint=folder)
    arrays = 0
    for path in folder.rglob("*"):
        arrays += path.stat().st_size if path.is_file() else 0
    assert plan["features"].disk == 4 * 3 * 8 * 20
    assert plan.disk < arrays


def test_a_memory_limit_that_a_fit_would_refuse_is_refused_before():
    spec, x = dntk.DistilledNTK(mlp(NUMPY), data=None, sketch=None), inputs(NUMPY)
    for call in (spec.plan, spec.fit):
        with pytest.raises(ValueError, match="`memory_limit`=1,000 bytes do not suffice"):
            call(x, memory_limit=1000)


def test_a_tolerance_and_an_objective_are_said_not_to_be_foreseen():
    model, x = network("numpy", points=30)
    searched = dntk.DistilledNTK(model, tolerance=0.1).plan(x)
    assert "a tolerance is searched for" in str(searched)
    made = dntk.DistilledNTK(model, data=Wasserstein(2, features="0.weight"), sketch=SparseSign(10)).plan(x)
    assert made["data"].basis.startswith("not foreseen")


def test_the_table_has_a_line_for_every_stage_and_what_it_is_known_from():
    plan = dntk.DistilledNTK(mlp(NUMPY), data=LastLayer(KMeans(9)), sketch=SparseSign(20)).plan(inputs(NUMPY))
    lines = str(plan).splitlines()
    assert lines[0].startswith("plan of a fit of 30 points: 9 kept, 20 features for each of 3 outputs, made in ")
    names = [line[:15].strip() for line in lines[1:]]
    stages = ["data", "features", "ridge", "loss of points", "gradients", "spectrum"]
    assert names[:10] == ["stage", *stages, "total", "certificate", "exact kernel"]
    assert "30 measured" in lines[2]
    assert "random features measured" in lines[4]
    with pytest.raises(KeyError, match="no stage 'fit' in the plan; it has: data, features"):
        plan["fit"]


def test_totals_are_sums_of_costs_and_of_disk_and_the_largest_memory():
    stages = tuple(
        PlannedStage(cost=StageCost(stage=name, flops=flops, seconds=1.0), memory=memory, disk=3)
        for name, flops, memory in (("a", 5, 10), ("b", 7, 2))
    )
    plan = Plan(call="it", stages=stages, beside=(dataclasses.replace(stages[0], memory=99),))
    assert (plan.total().flops, plan.total().seconds, plan.memory, plan.disk) == (12, 2.0, 10, 6)


def test_points_are_extrapolated_along_a_line_and_batches_by_what_each_begins_with():
    small, large = StageCost(stage="", flops=50, seconds=0.5), StageCost(stage="", flops=170, seconds=1.1)
    costs = PerPoint(few=(2, small), more=(8, large), batch=10)
    assert costs.at(100).flops == 10 * (10 + 10 * 20)
    assert costs.at(13).flops == 10 + 10 * 20 + 10 + 3 * 20
    assert costs.at(100).seconds == pytest.approx(100 * 0.1 + 10 * 0.3)
    steady = dataclasses.replace(costs, least=0.1)  # a few points took less than the line says that a batch begins with
    assert steady.at(100).seconds == pytest.approx(100 * 0.125 + 10 * 0.1)
    assert costs.basis(100) == "8 measured, 100 extrapolated"
    assert along((1, small), (2, large), 4).flops == 50 + 3 * 120


def test_what_is_too_large_to_run_is_a_polynomial_in_its_size():
    ran = []

    def prepare(share):
        def run():
            ran.append(share)
            n = round(800 * share)
            count(flops=3 * n + 5 * n**2 + 7 * n**3)

        return run

    found = grown(prepare, 0.1)
    assert set(ran) == {0.1, 0.05, 0.025}
    assert found.flops == pytest.approx(3 * 800 + 5 * 800**2 + 7 * 800**3, rel=1e-9)
    assert grown(prepare, 1.0).flops == 3 * 800 + 5 * 800**2 + 7 * 800**3


def test_outputs_cost_a_part_each_beside_one_that_is_shared():
    found = per_output(lambda outputs: StageCost(stage="", flops=9 + 4 * outputs, seconds=0.5 * outputs), 10)
    assert found.flops == 9 + 40
    assert found.seconds == pytest.approx(1.0 * 49 / 17)  # those of two, per operation


def test_seconds_without_operations_are_in_proportion_to_outputs():
    assert per_output(lambda _: StageCost(stage="", seconds=0.3), 10).seconds == pytest.approx(1.5)


def test_a_plan_counts_no_pass_by_which_a_network_is_looked_at_first(monkeypatch):
    monkeypatch.setattr(_planning, "settled", lambda run, **_: _measure.recorded(run))  # as where a choice takes long
    model, x = network("torch", (6, 700, 3))
    spec = dntk.DistilledNTK(model, data=Random(20), gradients=None)
    planned, found = spec.plan(x).total(), spec.fit(x).ledger.total()
    assert (planned.forward_passes, planned.backward_passes) == (found.forward_passes, found.backward_passes)
