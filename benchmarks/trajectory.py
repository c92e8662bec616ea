"""A kernel along training from a few points: rows, seconds and errors, beside all points at every checkpoint.

A convolutional network learns shifted digits; its checkpoints are in memory. Errors are relative, of the ten leading
eigenvalues, the effective dimension, the alignment with the labels and the drift; coverage is the share of the
intervals that hold the value of all points. Seconds are of the processor, one thread.
Run: python benchmarks/trajectory.py [--points 4000] [--checkpoints 20] [--sizes 32 64 128]
"""

import argparse
import copy
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import nn

import dntk
from dntk.distill.data import KMeans, Random, RPCholesky

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


def trained(x: torch.Tensor, y: torch.Tensor, checkpoints: int, seed: int) -> list[nn.Module]:
    """Checkpoints of a network of two convolutions: the first untrained, then ever more steps apart."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    marks = {int(step) for step in np.geomspace(4, 1200, checkpoints - 1).round()}
    kept = [copy.deepcopy(net).eval()]
    for step in range(1, 1201):
        rows = torch.randint(len(y), (50,))
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
    coverage: tuple[float, ...]


def compare(points: int, checkpoints: int, sizes: Sequence[int], seed: int, held_out: int = 32) -> list[Row]:
    """All points first, then every choice."""
    x, y = shifted_digits(points, seed)
    models = [dntk.as_model(net) for net in trained(x, y, checkpoints, seed)]
    targets = dntk.targets.one_hot(y, 10, like=x)
    sketch = dntk.sketch.SparseSign(512, seed=seed)

    def run(distilled: Any) -> tuple[Any, float]:
        start = time.process_time()
        found = dntk.trajectory(models, x, targets, distilled=distilled, sketch=sketch, held_out=held_out, seed=seed)
        return found, time.process_time() - start

    truth, seconds = run(None)
    rows = [Row("all points", 1.0, seconds, (0.0,) * 4, (1.0,) * 4)]
    for size in sizes:
        for selector in (KMeans(size, seed=seed), RPCholesky(size, seed=seed), Random(size, seed=seed)):
            found, seconds = run(selector)
            errors, coverage = zip(*(_compared(truth, found, name) for name in QUANTITIES), strict=True)
            name = f"{type(selector).__name__}({size})"
            rows.append(Row(name, found.all_rows / found.rows, seconds, errors, coverage))
    return rows


def _compared(truth: Any, found: Any, name: str) -> tuple[float, float]:
    """Mean relative error over the checkpoints that are not zero, and the share of intervals that hold the truth."""
    exact, part = getattr(truth, name).values, getattr(found, name)
    some = exact > 0
    error = np.mean(np.abs(part.values[some] / exact[some] - 1))
    slack = 1e-4 * np.abs(exact)  # at the reference both are the same number, rounded
    return float(error), float(np.mean(((part.lower - slack <= exact) & (exact <= part.upper + slack))[some]))


def main() -> None:
    """Mean over seeds, printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=4000)
    parser.add_argument("--checkpoints", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    every = [compare(arguments.points, arguments.checkpoints, arguments.sizes, s) for s in range(arguments.seeds)]
    out = Table("points", "times fewer rows", "CPU seconds", *(f"{name}: error, coverage" for name in QUANTITIES))
    for group in zip(*every, strict=True):
        parts = [
            f"{np.mean([r.errors[q] for r in group]):.1%}, {np.mean([r.coverage[q] for r in group]):.0%}"
            for q in range(len(QUANTITIES))
        ]
        out.add_row(group[0].method, f"{group[0].fewer:.1f}", f"{np.mean([r.seconds for r in group]):.0f}", *parts)
    Console(width=130).print(out)


if __name__ == "__main__":
    main()
