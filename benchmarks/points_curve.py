"""How many points are enough: what m points keep of the regression on all n, by the way they are chosen and used.

    python benchmarks/points_curve.py --data digits --out FOLDER
    python benchmarks/points_curve.py --data cifar-10 --data-dir DIR --networks-dir DIR --out FOLDER

For each seed, number m and way: fidelity, accuracy and mean squared error of the regression on held-out points, share
of their trace that is left, and Jacobian rows and seconds of the choice and of the kept points. Ways to use points:
C separate regressions (``dntk.solve.ridge``), one regression of all outputs (``joint_ridge``), the same on C·m inputs
with one random functional each, which are as many rows, and separate regressions whose targets are fitted to all points
(``fitted_targets``). Digits: a CNN for each seed, no sketch. CIFAR-10: the ResNet-18 of width 16 of ``savings.py``,
10,000 images, 4,096 features; seeds choose points. A seed whose rows are in FOLDER is not run again.
"""

import argparse
import csv
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from distill_measure import Problem

import dntk
from dntk.distill.data import KMeans, LastLayer, Random, RPCholesky, fitted_targets
from dntk.distilled_gradients import row_basis
from dntk.ledger import LedgerRecorder
from dntk.metrics import accuracy, fidelity, mean_squared_error
from dntk.outputs import functional, labelled
from dntk.sketch import Mixed
from dntk.solve import joint_ridge, ridge

SIZES = {"digits": (10, 20, 50, 100, 200, 500), "cifar-10": (10, 20, 50, 100, 200)}
JOINT_ROWS = 2000
"""Rows up to which one regression of all outputs is solved."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A network, its points and their features, all of them and those that are held out."""

    data: str
    seed: int
    model: dntk.Model
    x: torch.Tensor
    phi: dntk.TangentFeatures
    test: dntk.TangentFeatures
    y: torch.Tensor
    outputs: torch.Tensor
    labels: torch.Tensor


CHOICES: dict[str, Callable[[int, int], Any]] = {
    "random": lambda m, seed: Random(m, seed=seed),
    "k-means, last layer": lambda m, seed: LastLayer(KMeans(m, seed=seed)),
    "RPCholesky, last layer": lambda m, seed: LastLayer(RPCholesky(m, seed=seed)),
    "k-means, one functional": lambda m, seed: KMeans(m, seed=seed),
    "RPCholesky, one functional": lambda m, seed: RPCholesky(m, seed=seed),
}


def rows(scene: Scene, sizes: list[int], choices: list[str]) -> Iterator[dict[str, Any]]:
    """All ways at all sizes."""
    full, _ = _timed(lambda: ridge(scene.phi, scene.y, ridge="loo"))
    yield _row(scene, "all", "separate", len(scene.x), 0, 0.0, len(scene.x) * scene.phi.n_outputs, full, None)
    for m, name in itertools.product(sizes, choices):
        indices, seconds, cost = _chosen(scene, CHOICES[name](m, scene.seed))
        kept = scene.phi[indices]
        ours = m * kept.n_outputs
        fit, took = _timed(lambda kept=kept, at=indices: ridge(kept, scene.y[at], ridge="loo"))
        yield _row(scene, name, "separate", m, cost, seconds + took, ours, fit, row_basis(kept.values))
        if ours <= JOINT_ROWS:
            fit, took = _timed(lambda kept=kept, at=indices: joint_ridge(kept, scene.y[at]))
            stacked = kept.values.reshape(1, ours, -1)
            yield _row(scene, name, "joint", m, cost, seconds + took, ours, fit, row_basis(stacked))
        if name == "random" and m < len(scene.x):
            fit, took = _timed(lambda kept=kept: _fitted(scene, kept, float(full.ridge)))
            every = len(scene.x) * kept.n_outputs
            yield _row(scene, name, "fitted targets", m, every, took, ours, fit, row_basis(kept.values))
    for m in sizes:
        if m * scene.phi.n_outputs <= min(JOINT_ROWS, len(scene.x)):
            yield _functionals(scene, m)


def _functionals(scene: Scene, m: int) -> dict[str, Any]:
    """C·m random inputs with one random functional each: as many rows as m inputs with all outputs."""
    c = scene.phi.n_outputs
    at = Random(c * m, seed=scene.seed).select_inputs(scene.model, scene.x).indices
    g = torch.from_numpy(np.random.default_rng(scene.seed).standard_normal((c * m, c)).astype(np.float32))
    sketch = scene.phi.sketch
    start = time.perf_counter()
    phi = dntk.tangent_features(functional(scene.model), labelled(scene.x[at], g), sketch=sketch)
    fit = joint_ridge(phi, scene.y[at], cotangents=g)
    took = time.perf_counter() - start
    return _row(scene, "random", "functionals", m, 0, took, c * m, fit, row_basis(phi.values))


def _fitted(scene: Scene, kept: dntk.TangentFeatures, lam: float) -> Any:
    found = fitted_targets(kept, scene.phi, scene.y, ridge=lam)
    return ridge(kept, found.targets, ridge=lam)


def _chosen(scene: Scene, selector: Any) -> tuple[Any, float, int]:
    recorder = LedgerRecorder()
    with recorder.stage("choice"):
        if hasattr(selector, "select_inputs"):
            found = selector.select_inputs(scene.model, scene.x).indices
        else:
            found = selector.select(_functional_features(scene)).indices
    cost = recorder.ledger().total()
    looked = 0 if hasattr(selector, "select_inputs") else len(scene.x)
    return found, cost.seconds, looked


def _functional_features(scene: Scene) -> dntk.TangentFeatures:
    """Those of Σ_c f_c/√C, which are linear in those of the outputs."""
    summed = scene.phi.values.sum(0, keepdim=True) * scene.phi.n_outputs**-0.5
    return dntk.TangentFeatures(summed, sketch=scene.phi.sketch)


def _row(
    scene: Scene, choice: str, use: str, m: int, choosing: int, seconds: float, kept: int, fit: Any, basis: Any
) -> dict[str, Any]:
    predicted = fit.predict(scene.test)
    row = {
        "data": scene.data,
        "seed": scene.seed,
        "points": len(scene.x),
        "m": m,
        "choice": choice,
        "use": use,
        "fidelity": fidelity(predicted, scene.outputs),
        "accuracy": accuracy(predicted, scene.labels),
        "mse": mean_squared_error(predicted, scene.outputs),
        "left": 0.0 if basis is None else _left(scene.test, basis),
        "rows_of_choice": choosing,
        "rows_kept": kept,
        "seconds": seconds,
    }
    print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    return row


def _left(test: dntk.TangentFeatures, basis: torch.Tensor) -> float:
    values = test.values.double()
    inside = values @ basis.double().mT  # one span for all outputs, or one for each
    return 1 - float((inside**2).sum() / (values**2).sum())


def _timed(make: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return make(), time.perf_counter() - start


def digits(seed: int) -> Scene:
    """A CNN trained on 1,000 digits."""
    problem = Problem.of("digits", "cnn", seed=seed, train=1000, test=797, dim=10**6)
    phi = dntk.tangent_features(problem.model, problem.x, sketch=None)
    with torch.no_grad():
        y = problem.model(problem.x)
    return Scene(
        data="digits", seed=seed, model=problem.model, x=problem.x, phi=phi, test=problem.held_out, y=y,
        outputs=problem.outputs, labels=problem.y_test,
    )  # fmt: skip


def cifar(seed: int, options: argparse.Namespace) -> Scene:
    """ResNet-18 of width 16 and 10,000 images; their features are kept in the folder of networks."""
    from whole import trained

    from dntk_studies.datasets import cifar10

    images = cifar10(train=None, validation=300, directory=options.data_dir)
    model = trained("resnet18-16", images, options.networks_dir)
    x, test = torch.from_numpy(images.train.x[:10_000]), torch.from_numpy(images.test.x[:500])
    values = torch.from_numpy(_kept_features(model, torch.cat([test, x]), options.networks_dir / "points.npy"))
    sketch = dntk.tangent_features(model, x[:2], sketch=Mixed(4096)).sketch
    with torch.no_grad():
        y = torch.cat([model(part) for part in x.split(500)])
    return Scene(
        data="cifar-10", seed=seed, model=model, x=x, phi=dntk.TangentFeatures(values[:, 500:], sketch=sketch),
        test=dntk.TangentFeatures(values[:, :500], sketch=sketch), y=y, outputs=model(test).detach(),
        labels=torch.from_numpy(images.test.y[:500]),
    )  # fmt: skip


def _kept_features(model: dntk.Model, x: torch.Tensor, path: Path) -> np.ndarray:
    if not path.exists():
        part = path.with_suffix(".part")
        out = np.lib.format.open_memmap(part, "w+", np.float32, (10, len(x), 4096))
        for start in range(0, len(x), 500):
            batch = dntk.tangent_features(model, x[start : start + 500], sketch=Mixed(4096))
            out[:, start : start + 500] = batch.values.numpy()
        out.flush()
        part.rename(path)
    return np.load(path)


def main() -> None:
    """Measure what was asked for, a file for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(SIZES), default="digits")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--networks-dir", type=Path, default=Path("whole-networks"))
    parser.add_argument("--sizes", type=int, nargs="*")
    parser.add_argument("--choices", nargs="*", choices=list(CHOICES), default=list(CHOICES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("points-curve"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in range(options.seeds):
        path = options.out / f"{options.data}-{seed}.csv"
        if not path.exists():
            scene = digits(seed) if options.data == "digits" else cifar(seed, options)
            made = list(rows(scene, options.sizes or list(SIZES[options.data]), options.choices))
            _write(path, made)
        with path.open() as file:
            found += list(csv.DictReader(file))
    _write(options.out / f"{options.data}.csv", found)


def _write(path: Path, found: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
