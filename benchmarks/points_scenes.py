"""Networks, points and features on which ``points_curve.py`` measures, and the ways to choose among them."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from distill_measure import Problem
from whole import trained

import dntk
from dntk.distill.data import KMeans, LastLayer, Random, RPCholesky
from dntk.ledger import LedgerRecorder
from dntk.sketch import automatic
from dntk.solve import ridge
from dntk_studies import datasets
from dntk_studies.reproduce.unseen import grouped_targets

NAMES = {"cifar-10": "cifar10", "fashion-mnist": "fashion_mnist"}
DIM = 8192
POINTS = 10_000
MANY = 500  # points whose features are made at once

CHOICES: dict[str, Callable[[int, int], Any]] = {
    "random": lambda m, seed: Random(m, seed=seed),
    "k-means, last layer": lambda m, seed: LastLayer(KMeans(m, seed=seed)),
    "RPCholesky, last layer": lambda m, seed: LastLayer(RPCholesky(m, seed=seed)),
    "k-means, one functional": lambda m, seed: KMeans(m, seed=seed),
    "RPCholesky, one functional": lambda m, seed: RPCholesky(m, seed=seed),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A network, its points, and features of those that are asked for and of those that are held out.

    ``groups`` has ±1 for the side of every point in each of as many groupings of the classes as there are outputs.
    """

    data: str
    network: str
    seed: int
    model: dntk.Model
    x: torch.Tensor
    features: Callable[[torch.Tensor], dntk.TangentFeatures]
    test: dntk.TangentFeatures
    test_x: torch.Tensor
    y: torch.Tensor
    groups: torch.Tensor
    outputs: torch.Tensor
    labels: torch.Tensor

    def kept(self, m: int, name: str) -> tuple[torch.Tensor, float, int]:
        """Points that are chosen, seconds, and Jacobian rows of the choice."""
        selector, recorder = CHOICES[name](m, self.seed), LedgerRecorder()
        with recorder.stage("choice"):
            if hasattr(selector, "select_inputs"):
                found, looked = selector.select_inputs(self.model, self.x).indices, 0
            else:
                found, looked = selector.select(self.summed).indices, len(self.x)
        return found, recorder.ledger().total().seconds, looked

    @functools.cached_property
    def phi(self) -> dntk.TangentFeatures:
        """Features of all points."""
        return self.features(torch.arange(len(self.x)))

    @functools.cached_property
    def summed(self) -> dntk.TangentFeatures:
        """Features of Σ_c f_c/√C, which are linear in those of the outputs."""
        total = sum(self.phi.values[c] for c in range(self.phi.n_outputs))
        return dntk.TangentFeatures(total[None] * self.phi.n_outputs**-0.5, sketch=self.phi.sketch)

    def ridge_of(self, m: int, targets: torch.Tensor) -> float:
        """λ of separate regressions on m random points."""
        at, _, _ = self.kept(m, "random")
        return float(ridge(self.features(at), targets[at], ridge="loo").ridge)


class Rows:
    """Features of points at positions, made when they are asked for; those of all and the last others are kept."""

    def __init__(self, model: dntk.Model, x: torch.Tensor, sketch: Any, folder: Path) -> None:
        self._model, self._x, self._sketch, self._folder = model, x, sketch, folder
        self._made: dict[bool, tuple[bytes, dntk.TangentFeatures]] = {}

    def __call__(self, at: torch.Tensor) -> dntk.TangentFeatures:
        """As they were, or anew."""
        key, everything = at.numpy().tobytes(), len(at) == len(self._x)
        if self._made.get(everything, (b"",))[0] != key:
            self._made[everything] = key, self._make(at)
        return self._made[everything][1]

    def _make(self, at: torch.Tensor) -> dntk.TangentFeatures:
        """Many of them in a file."""
        if len(at) <= MANY:
            return dntk.tangent_features(self._model, self._x[at], sketch=self._sketch)
        shape = self._model.n_outputs, len(at), DIM
        with tempfile.TemporaryFile(dir=self._folder) as file:  # goes with the array that maps it
            values = np.memmap(file, np.float32, "w+", shape=shape)
        for start in range(0, len(at), MANY):
            part = at[start : start + MANY]
            made = dntk.tangent_features(self._model, self._x[part], sketch=self._sketch)
            values[:, start : start + len(part)] = made.values.numpy()
        return dntk.TangentFeatures(torch.from_numpy(values), sketch=made.sketch)


def digits(seed: int) -> Scene:
    """A CNN trained on 1,000 digits."""
    problem = Problem.of("digits", "cnn", seed=seed, train=1000, test=797, dim=10**6)
    phi = dntk.tangent_features(problem.model, problem.x, sketch=None)
    with torch.no_grad():
        y = problem.model(problem.x)
    return Scene(
        data="digits", network="cnn", seed=seed, model=problem.model, x=problem.x, features=phi.__getitem__, y=y,
        test=problem.held_out, test_x=problem.x_test, outputs=problem.outputs, labels=problem.y_test,
        groups=_groups(problem.y),
    )  # fmt: skip


def images(
    data: str, network: str, data_dir: Path | None, networks_dir: Path, *, points: int, tests: int, seed: int = 0
) -> Scene:
    """A network, the images it was trained on and some others; the network is kept in the folder of networks."""
    folder = networks_dir / (data if points == POINTS else f"{data}-{points}")
    found = getattr(datasets, NAMES[data])(train=None, validation=300, directory=data_dir)
    if points > len(found.train.x):
        msg = f"--points {points}: {data} has {len(found.train.x):,} to learn from."
        raise ValueError(msg)
    model = trained(network, found, folder, taught=points, seed=seed)
    x, test = torch.from_numpy(found.train.x[:points]), torch.from_numpy(found.test.x[:tests])
    plan = automatic(model, x, n=DIM, memory=DIM**2 * model.n_outputs * 4)  # as a fit of many points takes it
    held_out = dntk.tangent_features(model, test, sketch=plan)
    with torch.no_grad():
        y = torch.cat([model(part) for part in x.split(MANY)])
    return Scene(
        data=data, network=network, seed=seed, model=model, x=x, y=y, outputs=model(test).detach(),
        groups=_groups(torch.from_numpy(found.train.y[:points])), features=Rows(model, x, held_out.sketch, folder),
        test=held_out, test_x=test, labels=torch.from_numpy(found.test.y[:tests]),
    )  # fmt: skip


def _groups(labels: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(grouped_targets(labels.numpy(), 10))
