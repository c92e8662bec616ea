"""How many points are enough: what m points keep of the regression on all n, by the way they are chosen and used.

    python benchmarks/points_curve.py --data digits --out FOLDER
    python benchmarks/points_curve.py --data cifar-10 --network cnn-32 --data-dir DIR --networks-dir DIR --out FOLDER

For each seed, number m and way: fidelity, accuracy and mean squared error of the regression on held-out points, share
of their trace that is left, accuracy on groupings of the classes that neither network nor choice has seen, and Jacobian
rows and seconds of the choice and of the kept points. Ways to use points:
C separate regressions (``dntk.solve.ridge``), one regression of all outputs (``joint_ridge``), the same on C·m inputs
with one random functional each, which are as many rows, and separate regressions whose targets are fitted to all points
(``fitted_targets``). Beside them what no Jacobian row is for: a regression on what enters the last layer, in which the
network is linear, so that its error is what m outputs do not tell of a function that is known but for its coefficients.
Of up to 1,000 points the regression on all of them stands beside.

Digits: a CNN for each seed, no sketch. Else a network of ``whole.py``, which is kept in the folder of networks, 10,000
images or as many as ``--points`` says, and 8,192 features; seeds choose points, or with ``--retrain`` networks, too. A
row is written as it is made, and none in FOLDER is made again. ``--all``: the regression on all points, with the λ of
1,000 random ones; their features are in a file of 328 kB a point in the folder of networks while it runs.
"""

import argparse
import csv
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from points_scenes import CHOICES, NAMES, POINTS, Scene, digits, images

import dntk
from dntk.distill.data import Random, fitted_targets
from dntk.distill.data.last_layer import last_layer_features
from dntk.distilled_gradients import row_basis
from dntk.metrics import accuracy, fidelity, mean_squared_error
from dntk.outputs import functional, labelled
from dntk.solve import accumulate, joint_ridge, ridge, solve_statistics
from dntk_studies.reproduce.unseen import grouped_accuracy

SIZES = (10, 20, 50, 100, 200, 500)
USES = ("separate", "joint", "functionals", "fitted targets", "last layer")
JOINT_ROWS = 2000
"""Rows up to which one regression of all outputs is solved."""
COLUMNS = (
    "data", "network", "seed", "points", "m", "choice", "use", "fidelity", "accuracy", "mse", "left", "unseen",
    "rows_of_choice", "rows_kept", "seconds_of_choice", "seconds",
)  # fmt: skip
ALL = 1000
"""Points up to which the regression on all of them is solved."""
CHUNK = 4096
"""Points whose products are formed at once where all are too many."""
Key = tuple[str, str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """What is solved: m points, their rows, and the seconds of all and, of these, of choosing them.

    ``groups`` is the same regression of groupings, in place of the network's outputs.
    """

    m: int
    choice: str
    use: str
    fit: Any
    groups: Any
    seconds: float
    rows: int
    basis: torch.Tensor | None = None
    looked: int = 0
    choosing: float = 0.0
    test: dntk.TangentFeatures | None = None


def jobs(
    scene: Scene, sizes: list[int], choices: list[str], joint_rows: int, *, everything: bool
) -> Iterator[tuple[Key, Any]]:
    """Every way at every size, and how it is made."""
    c, n = scene.model.n_outputs, len(scene.x)
    for m in sizes:
        for name in choices:
            yield (str(m), name, "separate"), functools.partial(_separate, scene, m, name)
            if m * c <= joint_rows:
                yield (str(m), name, "joint"), functools.partial(_joint, scene, m, name)
            yield (str(m), name, "last layer"), functools.partial(_last_layer, scene, m, name)
        if m < n:
            yield (str(m), "random", "fitted targets"), functools.partial(_fitted, scene, m, max(sizes))
        if m * c <= min(joint_rows, n):
            yield (str(m), "random", "functionals"), functools.partial(_functionals, scene, m)
    if n <= ALL or everything:
        yield (str(n), "all", "separate"), functools.partial(_all, scene)


def _separate(scene: Scene, m: int, name: str) -> Kept:
    at, seconds, looked = scene.kept(m, name)
    kept = scene.features(at)
    fit, took = _timed(lambda: ridge(kept, scene.y[at], ridge="loo"))
    groups = ridge(kept, scene.groups[at], ridge="loo")
    return Kept(
        m=m, choice=name, use="separate", fit=fit, groups=groups, seconds=seconds + took, rows=m * kept.n_outputs,
        basis=row_basis(kept.values), looked=looked, choosing=seconds,
    )  # fmt: skip


def _joint(scene: Scene, m: int, name: str) -> Kept:
    at, seconds, looked = scene.kept(m, name)
    kept = scene.features(at)
    fit, took = _timed(lambda: joint_ridge(kept, scene.y[at]))
    ours, groups = m * kept.n_outputs, joint_ridge(kept, scene.groups[at])
    return Kept(
        m=m, choice=name, use="joint", fit=fit, groups=groups, seconds=seconds + took, rows=ours,
        basis=row_basis(kept.values.reshape(1, ours, -1)), looked=looked, choosing=seconds,
    )  # fmt: skip


def _last_layer(scene: Scene, m: int, name: str) -> Kept:
    """No features of gradients: what enters the last layer, shared by all outputs."""
    at, seconds, looked = scene.kept(m, name)
    few, test = (last_layer_features(scene.model, part) for part in (scene.x[at], scene.test_x))
    fit, took = _timed(lambda: ridge(few, scene.y[at], ridge="loo"))
    groups = ridge(few, scene.groups[at], ridge="loo")
    return Kept(
        m=m, choice=name, use="last layer", fit=fit, groups=groups, seconds=seconds + took, rows=0, looked=looked,
        choosing=seconds, test=test,
    )  # fmt: skip


def _functionals(scene: Scene, m: int) -> Kept:
    """C·m random inputs with one random functional each: as many rows as m inputs with all outputs."""
    c = scene.model.n_outputs
    at = Random(c * m, seed=scene.seed).select_inputs(scene.model, scene.x).indices
    g = torch.from_numpy(np.random.default_rng(scene.seed).standard_normal((c * m, c)).astype(np.float32))
    start = time.perf_counter()
    phi = dntk.tangent_features(functional(scene.model), labelled(scene.x[at], g), sketch=scene.test.sketch)
    fit = joint_ridge(phi, scene.y[at], cotangents=g)
    took = time.perf_counter() - start
    groups = joint_ridge(phi, scene.groups[at], cotangents=g)
    return Kept(
        m=m, choice="random", use="functionals", fit=fit, groups=groups, seconds=took, rows=c * m,
        basis=row_basis(phi.values),
    )  # fmt: skip


def _fitted(scene: Scene, m: int, largest: int) -> Kept:
    at, _, _ = scene.kept(m, "random")
    kept, phi = scene.features(at), scene.phi
    ridges = [scene.ridge_of(largest, targets) for targets in (scene.y, scene.groups)]

    def solved(targets: torch.Tensor, lam: float) -> Any:
        return ridge(kept, fitted_targets(kept, phi, targets, ridge=lam).targets, ridge=lam)

    fit, took = _timed(lambda: solved(scene.y, ridges[0]))
    return Kept(
        m=m, choice="random", use="fitted targets", fit=fit, groups=solved(scene.groups, ridges[1]), seconds=took,
        rows=m * kept.n_outputs, basis=row_basis(kept.values), looked=len(scene.x) * kept.n_outputs,
    )  # fmt: skip


def _all(scene: Scene) -> Kept:
    """Separate regressions on all points."""
    n, phi = len(scene.x), scene.phi
    if n <= ALL:
        fit, took = _timed(lambda: ridge(phi, scene.y, ridge="loo"))
        groups: Any = ridge(phi, scene.groups, ridge="loo")
    else:
        (fit, groups), took = _timed(lambda: _by_chunks(scene))  # of both: products are shared
    return Kept(m=n, choice="all", use="separate", fit=fit, groups=groups, seconds=took, rows=n * phi.n_outputs)


def _by_chunks(scene: Scene) -> tuple["Weights", "Weights"]:
    """Of outputs and of groupings, one output after the other: features of all are many gigabytes."""
    found, ridges = [], [scene.ridge_of(ALL, targets) for targets in (scene.y, scene.groups)]
    for c in range(scene.model.n_outputs):
        both = torch.stack([scene.y[:, c], scene.groups[:, c]], 1).double()
        wide = (part.double() for part in scene.phi.values[c].split(CHUNK))  # λ may be below the rounding of float32
        statistics = accumulate(zip(wide, both.split(CHUNK), strict=True))
        least = statistics.rounding_floor  # and of so many points below that of float64
        found.append([solve_statistics(statistics, ridge=max(r, least)).weights[i] for i, r in enumerate(ridges)])
    return Weights(torch.stack([each[0] for each in found])), Weights(torch.stack([each[1] for each in found]))


@dataclasses.dataclass(frozen=True)
class Weights:
    """Of every output, and what they predict."""

    weights: torch.Tensor

    def predict(self, phi: dntk.TangentFeatures) -> torch.Tensor:
        """(n, C)."""
        return torch.einsum("cnk,ck->nc", phi.values.to(self.weights.dtype), self.weights)


def _row(scene: Scene, kept: Kept) -> dict[str, Any]:
    test = scene.test if kept.test is None else kept.test
    predicted, sides = kept.fit.predict(test), kept.groups.predict(test).numpy()
    return {
        "data": scene.data,
        "network": scene.network,
        "seed": scene.seed,
        "points": len(scene.x),
        "m": kept.m,
        "choice": kept.choice,
        "use": kept.use,
        "fidelity": fidelity(predicted, scene.outputs),
        "accuracy": accuracy(predicted, scene.labels),
        "mse": mean_squared_error(predicted, scene.outputs),
        "left": math.nan if kept.basis is None else _left(scene.test, kept.basis),
        "unseen": grouped_accuracy(sides, scene.labels.numpy(), scene.model.n_outputs),
        "rows_of_choice": kept.looked,
        "rows_kept": kept.rows,
        "seconds_of_choice": kept.choosing,
        "seconds": kept.seconds,
    }


def _left(test: dntk.TangentFeatures, basis: torch.Tensor) -> float:
    values = test.values.double()
    inside = values @ basis.double().mT  # one span for all outputs, or one for each
    return 1 - float((inside**2).sum() / (values**2).sum())


def _timed(make: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return make(), time.perf_counter() - start


def _measure(scene: Scene, path: Path, options: argparse.Namespace) -> None:
    """The rows of a seed that are not in its file yet, each as it is made."""
    sizes = options.sizes or list(SIZES)
    done = {(row["m"], row["choice"], row["use"]) for row in _read(path)}
    for key, make in jobs(scene, sizes, options.choices, options.joint_rows, everything=options.all):
        if key in done or key[2] not in options.uses:
            continue
        row = _row(scene, make())
        print({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}, flush=True)
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open() as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            msg = f"{path} has the columns {rows.fieldnames}, of another version: choose another folder with --out."
            raise ValueError(msg)
        return [row for row in rows if row["seconds"]]  # a row that was cut off has no last column


def main() -> None:
    """Measure what was asked for, a file for each seed, and put them together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["digits", *NAMES], default="digits")
    parser.add_argument("--network", default="resnet18-16", help="of images: as in whole.py, resnet18-16 or cnn-32")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--networks-dir", type=Path, default=Path("whole-networks"))
    parser.add_argument("--sizes", type=int, nargs="*")
    parser.add_argument("--choices", nargs="*", choices=list(CHOICES), default=list(CHOICES))
    parser.add_argument("--uses", nargs="*", choices=USES, default=USES)
    parser.add_argument("--joint-rows", type=int, default=JOINT_ROWS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--retrain", action="store_true", help="a network of its own for each seed")
    parser.add_argument("--points", type=int, default=POINTS, help="images to learn from, and to choose from")
    parser.add_argument("--tests", type=int, default=500, help="images that are held out")
    parser.add_argument("--all", action="store_true", help="the regression on all points, however many")
    parser.add_argument("--out", type=Path, default=Path("points-curve"))
    options = parser.parse_args()
    if options.data == "digits" and options.points != POINTS:
        parser.error("--points is of images: the digits have 1,000 to learn from.")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    name = options.data if options.data == "digits" else f"{options.data}-{options.network}"
    if options.retrain:
        name += "-retrained"  # rows of other networks and test images are in other files
    if options.points != POINTS:
        name += f"-of-{options.points}"
    if options.tests != 500:
        name += f"-{options.tests}"
    opened = functools.lru_cache(maxsize=1)(
        functools.partial(
            images, options.data, options.network, options.data_dir, options.networks_dir, points=options.points,
            tests=options.tests,
        )
    )  # fmt: skip
    found = []
    for seed in options.seeds:
        path = options.out / f"{name}-{seed}.csv"
        if options.data == "digits":
            scene = digits(seed)
        else:
            scene = dataclasses.replace(opened(seed=seed if options.retrain else 0), seed=seed)
        _measure(scene, path, options)
        found += _read(path)
    with (options.out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
