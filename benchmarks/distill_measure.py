"""What a distilled set is worth: held-out trace residual, kernel ridge regression, cost."""

import dataclasses
import functools
import time
from typing import Any

import torch
from distill_methods import Coreset, Objective, class_of, selection_features
from distill_networks import N_OUTPUTS, trained

import dntk
from dntk.distilled_gradients import row_basis
from dntk.ledger import LedgerRecorder
from dntk.metrics import accuracy, fidelity, mean_squared_error
from dntk_studies import datasets

EPOCHS = {"digits": 15, "fashion-mnist": 8, "cifar-10": 8}
ALL = "all points"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One method at one size on one network.

    Residual, tail and gap are shares of the held-out trace: what the span of the m points' features leaves, what any
    span of m dimensions leaves, and their difference. Accuracy, fidelity and error are those of ridge regression on
    the m points with the network's outputs as targets. Jacobian rows and seconds are those of the distillation;
    ``evaluation_rows`` those of one evaluation of the features of what is kept.
    """

    data: str
    network: str
    seed: int
    method: str
    points: int
    why_not: str = ""
    residual: float | None = None
    tail: float | None = None
    gap: float | None = None
    accuracy: float | None = None
    fidelity: float | None = None
    mse: float | None = None
    seconds: float | None = None
    distillation_rows: int | None = None
    evaluation_rows: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A trained network, its training set, and held-out points."""

    data: str
    network: str
    seed: int
    model: dntk.Model
    x: torch.Tensor
    y: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    dim: int

    @classmethod
    def of(
        cls, data: str, network: str, *, seed: int, train: int, test: int, dim: int, device: str = "cpu"
    ) -> "Problem":
        """The same for the same arguments."""
        x, y, x_test, y_test = (part.to(device) for part in _images(data, train, test, seed))
        net = trained(network, x, y, epochs=EPOCHS[data], seed=seed)
        model = dntk.as_model(net)
        return cls(data=data, network=network, seed=seed, model=model, x=x, y=y, x_test=x_test, y_test=y_test, dim=dim)

    @property
    def sketch(self) -> Any:
        """Sketch of all features of this problem; none where it would not make them smaller."""
        small = self.model.n_parameters <= self.dim
        return None if small else dntk.sketch.SparseSign(self.dim, seed=self.seed)

    @functools.cached_property
    def held_out(self) -> dntk.TangentFeatures:
        """Features of the held-out points."""
        return dntk.tangent_features(self.model, self.x_test, sketch=self.sketch)

    @functools.cached_property
    def outputs(self) -> torch.Tensor:
        """Network's outputs at the held-out points."""
        with torch.no_grad():
            return self.model(self.x_test)

    @functools.cached_property
    def spectrum(self) -> torch.Tensor:
        """Eigenvalues of the mean kernel on the held-out points."""
        return dntk.spectrum.eigenvalues(self.held_out)

    @functools.cached_property
    def selection(self) -> tuple[dntk.TangentFeatures, float, int]:
        """What coresets see, with its cost: seconds and Jacobian rows."""
        recorder = LedgerRecorder()
        with recorder.stage("features"):
            phi = selection_features(self.model, self.x, self.sketch)
        cost = recorder.ledger().total()
        return phi, cost.seconds, cost.jacobian_rows

    def row(self, method: str, points: int, **found: Any) -> Row:
        """Row of this problem."""
        return Row(data=self.data, network=self.network, seed=self.seed, method=method, points=points, **found)


def measure(problem: Problem, method: Coreset | Objective, points: int, *, steps: int | None = None) -> Row:
    """Distil to ``points`` and measure; a row that says why where the method cannot.

    ``steps`` of objectives, each objective's default where ``None``.
    """
    try:
        if isinstance(method, Coreset):
            kept, cost = _selected(problem, method, points)
        else:
            cls = class_of(method)
            if cls is None:
                return problem.row(method.name, points, why_not="not in this version of dntk")
            distiller = method.make(cls, points, N_OUTPUTS, problem.seed)
            kept, cost = _synthesised(
                problem, distiller if steps is None else dataclasses.replace(distiller, steps=steps)
            )
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        return problem.row(method.name, points, why_not=f"{type(error).__name__}: {error}")
    return problem.row(method.name, points, **cost, **worth(problem, kept, points))


def measure_all(problem: Problem) -> Row:
    """The whole training set, undistilled; its span is not taken, which would be the dearest part of all."""
    free = {"seconds": 0.0, "distillation_rows": 0}
    return problem.row(ALL, len(problem.x), **free, **regression(problem, problem.x)[1])


def worth(problem: Problem, kept: torch.Tensor, points: int) -> dict[str, Any]:
    """Quality of the points ``kept``, and the Jacobian rows of their features."""
    phi, found = regression(problem, kept)
    residual, tail = held_out_residual(phi, problem.held_out), _tail(problem.spectrum, points)
    return {"residual": residual, "tail": tail, "gap": residual - tail, **found}


def regression(problem: Problem, kept: torch.Tensor) -> tuple[dntk.TangentFeatures, dict[str, Any]]:
    """Features of the points ``kept``, their Jacobian rows, and how well ridge regression on them does."""
    recorder = LedgerRecorder()
    with recorder.stage("features"):
        phi = dntk.tangent_features(problem.model, kept, sketch=problem.sketch)
    with torch.no_grad():
        targets = problem.model(kept)
    predicted = dntk.solve.ridge(phi, targets, ridge="loo").predict(problem.held_out)
    return phi, {
        "accuracy": accuracy(predicted, problem.y_test),
        "fidelity": fidelity(predicted, problem.outputs),
        "mse": mean_squared_error(predicted, problem.outputs),
        "evaluation_rows": recorder.ledger().total().jacobian_rows,
    }


def held_out_residual(phi: dntk.TangentFeatures, held_out: dntk.TangentFeatures) -> float:
    """Share of the held-out mean kernel's trace outside the span of the features ``phi``."""
    joined, target = phi.joined().double(), held_out.joined().double()
    basis = row_basis(joined[None])[0]
    return float(((target - (target @ basis.T) @ basis) ** 2).sum() / (target**2).sum())


def _tail(spectrum: torch.Tensor, points: int) -> float:
    return float(spectrum[points:].clamp(min=0).sum() / spectrum.sum())


def _selected(problem: Problem, method: Coreset, points: int) -> tuple[torch.Tensor, dict[str, Any]]:
    phi, seconds, rows = problem.selection
    start = time.perf_counter()
    found = method.make(points, problem.seed, problem.y).select(phi)
    cost = {"seconds": time.perf_counter() - start, "distillation_rows": 0}
    if method.sees_features:
        cost = {"seconds": cost["seconds"] + seconds, "distillation_rows": rows}
    return problem.x[found.indices], cost


def _synthesised(problem: Problem, distiller: Any) -> tuple[torch.Tensor, dict[str, Any]]:
    recorder = LedgerRecorder()
    with recorder.stage("distil"):
        made = distiller.distill(problem.model, problem.x, problem.y)
    total = recorder.ledger().total()
    return made.x.detach(), {"seconds": total.seconds, "distillation_rows": total.jacobian_rows}


def _images(data: str, train: int, test: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Training images and labels, held-out images and labels."""
    if data == "digits":
        loaded = datasets.digits(train=train, validation=0, seed=seed)
        shape = (-1, 1, 8, 8)
    else:
        load = {"fashion-mnist": datasets.fashion_mnist, "cifar-10": datasets.cifar10}[data]
        loaded = load(train=train, validation=0, seed=seed)
        shape = (-1, *loaded.train.x.shape[1:])
    parts = loaded.train, loaded.test
    (x, y), (x_test, y_test) = ((torch.from_numpy(part.x).reshape(shape), torch.from_numpy(part.y)) for part in parts)
    return x, y, x_test[:test], y_test[:test]
