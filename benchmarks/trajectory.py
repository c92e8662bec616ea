"""A kernel along training from a few points: rows, seconds and errors, beside all points at every checkpoint.

A convolutional network learns shifted digits, or a network of the studies CIFAR-10; its checkpoints are in memory.
Errors are relative, of the ten leading eigenvalues, the effective dimension, the alignment with the labels and the
drift, mean over checkpoints and the worst of them; coverage is the share of the intervals that hold the value of all
points. Seconds are of the processor, one thread, and all that `dntk.trajectory` takes, the choice of points included.
Photographs are sketched by `Mixed`, in a third of the time.

    python benchmarks/trajectory.py [--points 4000] [--checkpoints 20] [--sizes 234] [--seeds 0 1 2]
    python benchmarks/trajectory.py --sizes 30 --reference 10 --probes 80
    python benchmarks/trajectory.py --network resnet18-16 --data-dir DIR
"""

import argparse
import copy
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import nn

import dntk
from dntk.distill.data import KMeans, Random, RPCholesky
from dntk_studies.datasets import cifar10
from dntk_studies.networks.networks import ARCHITECTURES

QUANTITIES = ("eigenvalues", "effective_dimension", "alignment", "drift")


def shifted_digits(points: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits, each moved by up to a pixel either way."""
    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    chosen = rng.integers(len(images), size=points)
    padded = np.pad(images[chosen].reshape(-1, 8, 8) / 16, ((0, 0), (1, 1), (1, 1)))
    moves = rng.integers(3, size=(points, 2))
    moved = np.stack([p[a : a + 8, b : b + 8] for p, (a, b) in zip(padded, moves, strict=True)])
    return torch.from_numpy(moved[:, None]).float(), torch.from_numpy(labels[chosen])


def small() -> nn.Module:
    """Two convolutions and a linear layer, for the digits."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def photographs(points: int, directory: Path | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Of CIFAR-10, in units of their spread."""
    data = cifar10(train=points, validation=300, directory=directory).train
    x = torch.from_numpy(data.x)
    return (x - x.mean()) / x.std(), torch.from_numpy(data.y)


def trained(net: nn.Module, x: torch.Tensor, y: torch.Tensor, checkpoints: int, steps: int) -> list[nn.Module]:
    """Checkpoints of a network that learns: the first untrained, then ever more steps apart."""
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    marks = {int(step) for step in np.geomspace(4, steps, checkpoints - 1).round()}
    kept = [copy.deepcopy(net).eval()]
    for step in range(1, steps + 1):
        rows = torch.randint(len(y), (50,))
        net.train()
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimiser.step()
        if step in marks:
            kept.append(copy.deepcopy(net).eval())
    return kept


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to choose the points."""

    method: str
    fewer: float
    seconds: float
    errors: tuple[float, ...]
    worst: tuple[float, ...]
    coverage: tuple[float, ...]


def scene(options: argparse.Namespace, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[nn.Module]]:
    """Points, labels and checkpoints."""
    torch.manual_seed(seed)
    if options.network == "small":
        x, y = shifted_digits(options.points, seed)
        return x, y, trained(small(), x, y, options.checkpoints, 1200)
    name, width = options.network.split("-")
    x, y = photographs(options.points, options.data_dir)
    net = ARCHITECTURES[name].build((3, 32, 32), 10, int(width))
    return x, y, trained(net, x, y, options.checkpoints, 1200)


def compare(options: argparse.Namespace, seed: int) -> list[Row]:
    """All points first, then every choice."""
    x, y, nets = scene(options, seed)
    models, held_out = [dntk.as_model(net) for net in nets], options.held_out
    targets = dntk.targets.one_hot(y, 10, like=x)
    sketch: Any = dntk.sketch.SparseSign if options.network == "small" else dntk.sketch.Mixed

    def run(distilled: Any) -> tuple[Any, float]:
        start = time.process_time()
        found = dntk.trajectory(
            models,
            x,
            targets,
            distilled=distilled,
            reference=options.reference,
            sketch=sketch(512, seed=seed),
            held_out=held_out,
            probes=options.probes,
            seed=seed,
        )
        return found, time.process_time() - start

    truth, seconds = run(None)
    rows = [Row("all points", 1.0, seconds, (0.0,) * 4, (0.0,) * 4, (1.0,) * 4)]
    for size in options.sizes:
        for selector in (KMeans(size, seed=seed), RPCholesky(size, seed=seed), Random(size, seed=seed)):
            found, seconds = run(selector)
            measured = zip(*(_compared(truth, found, name) for name in QUANTITIES), strict=True)
            rows.append(Row(f"{type(selector).__name__}({size})", found.all_rows / found.rows, seconds, *measured))
    return rows


def _compared(truth: Any, found: Any, name: str) -> tuple[float, float, float]:
    """Relative error, mean over what is not zero and of the worst checkpoint, and the share of sound intervals."""
    exact, part = getattr(truth, name).values, getattr(found, name)
    some = exact > 0
    errors = np.where(some, np.abs(part.values / np.where(some, exact, 1) - 1), 0)
    each = errors.reshape(len(exact), -1).mean(axis=1)
    slack = 1e-4 * np.abs(exact)  # at the reference both are the same number, rounded
    covered = (part.lower - slack <= exact) & (exact <= part.upper + slack)
    return float(errors[some].mean()), float(each.max()), float(np.mean(covered[some]))


def main() -> None:
    """Mean over seeds, printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="small", help="small, on digits, or resnet18-16, cnn-32 on CIFAR-10")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--points", type=int, default=4000)
    parser.add_argument("--checkpoints", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=[234])
    parser.add_argument("--held-out", type=int, default=32)
    parser.add_argument("--probes", type=int, help="of one output each, where there is a reference")
    parser.add_argument("--reference", type=int, help="the checkpoint at which all points are differentiated, if any")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    every = [compare(options, seed) for seed in options.seeds]
    out = Table("points", "times fewer rows", "CPU s", *(f"{q}: mean, worst error, coverage" for q in QUANTITIES))
    for group in zip(*every, strict=True):
        parts = [
            ", ".join(
                f"{np.mean([getattr(r, part)[q] for r in group]):.1%}" for part in ("errors", "worst", "coverage")
            )
            for q in range(len(QUANTITIES))
        ]
        out.add_row(group[0].method, f"{group[0].fewer:.1f}", f"{np.mean([r.seconds for r in group]):.0f}", *parts)
    Console(width=150).print(out)


if __name__ == "__main__":
    main()
