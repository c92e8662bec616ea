"""Networks, points and features on which ``points_curve.py`` measures, and the ways to choose among them."""

import dataclasses
import functools
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

CHOICES: dict[str, Callable[[int, int], Any]] = {
    "random": lambda m, seed: Random(m, seed=seed),
    "k-means, last layer": lambda m, seed: LastLayer(KMeans(m, seed=seed)),
    "RPCholesky, last layer": lambda m, seed: LastLayer(RPCholesky(m, seed=seed)),
    "k-means, one functional": lambda m, seed: KMeans(m, seed=seed),
    "RPCholesky, one functional": lambda m, seed: RPCholesky(m, seed=seed),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A network, its points and their features, all of them and those that are held out.

    ``groups`` has ±1 for the side of every point in each of as many groupings of the classes as there are outputs.
    """

    data: str
    network: str
    seed: int
    model: dntk.Model
    x: torch.Tensor
    phi: dntk.TangentFeatures
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
    def summed(self) -> dntk.TangentFeatures:
        """Features of Σ_c f_c/√C, which are linear in those of the outputs."""
        total = sum(self.phi.values[c] for c in range(self.phi.n_outputs))
        return dntk.TangentFeatures(total[None] * self.phi.n_outputs**-0.5, sketch=self.phi.sketch)

    def ridge_of(self, m: int) -> float:
        """λ of separate regressions on m random points."""
        at, _, _ = self.kept(m, "random")
        return float(ridge(self.phi[at], self.y[at], ridge="loo").ridge)


def digits(seed: int) -> Scene:
    """A CNN trained on 1,000 digits."""
    problem = Problem.of("digits", "cnn", seed=seed, train=1000, test=797, dim=10**6)
    phi = dntk.tangent_features(problem.model, problem.x, sketch=None)
    with torch.no_grad():
        y = problem.model(problem.x)
    return Scene(
        data="digits", network="cnn", seed=seed, model=problem.model, x=problem.x, phi=phi, test=problem.held_out, y=y,
        test_x=problem.x_test, outputs=problem.outputs, labels=problem.y_test, groups=_groups(problem.y),
    )  # fmt: skip


def images(
    data: str, network: str, data_dir: Path | None, networks_dir: Path, *, tests: int = 500, seed: int = 0
) -> Scene:
    """A network, 10,000 images it was trained on and some others; what is made is kept in the folder of networks.

    Its features with a ``seed`` other than 0 are gigabytes for each: they are made anew.
    """
    folder = networks_dir / data
    found = getattr(datasets, NAMES[data])(train=None, validation=300, directory=data_dir)
    model = trained(network, found, folder, seed=seed)
    x, test = torch.from_numpy(found.train.x[:10_000]), torch.from_numpy(found.test.x[:tests])
    plan = automatic(model, x, n=DIM, memory=DIM**2 * model.n_outputs * 4)  # as a fit of many points takes it
    name = f"{network}-{DIM}.npy" if tests == 500 else f"{network}-{DIM}-{tests}.npy"
    path = folder / (f"{seed}-{name}" if seed else name)
    values = torch.from_numpy(_kept_features(model, torch.cat([test, x]), plan, path))
    made = dntk.tangent_features(model, test[:2], sketch=plan)
    if not torch.allclose(made.values, values[:, :2], rtol=1e-3, atol=1e-3 * float(made.values.abs().max())):
        msg = f"the features in {folder} are of another sketch: remove them."
        raise ValueError(msg)
    if seed:
        path.unlink()  # it is mapped, and goes with the scene
    sketch = made.sketch
    with torch.no_grad():
        y = torch.cat([model(part) for part in x.split(500)])
    return Scene(
        data=data, network=network, seed=seed, model=model, x=x, y=y, outputs=model(test).detach(),
        groups=_groups(torch.from_numpy(found.train.y[:10_000])),
        phi=dntk.TangentFeatures(values[:, tests:], sketch=sketch),
        test=dntk.TangentFeatures(values[:, :tests], sketch=sketch), test_x=test,
        labels=torch.from_numpy(found.test.y[:tests]),
    )  # fmt: skip


def _groups(labels: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(grouped_targets(labels.numpy(), 10))


def _kept_features(model: dntk.Model, x: torch.Tensor, sketch: Any, path: Path) -> np.ndarray:
    if not path.exists():
        part = path.with_suffix(".part")
        out = np.lib.format.open_memmap(part, "w+", np.float32, (model.n_outputs, len(x), DIM))
        for start in range(0, len(x), 500):
            batch = dntk.tangent_features(model, x[start : start + 500], sketch=sketch)
            out[:, start : start + 500] = batch.values.numpy()
        out.flush()
        part.rename(path)
    return np.load(path, mmap_mode="c")
