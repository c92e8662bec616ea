"""What s gradients keep of a network's kernel, for every method and the selections of the paper's Figure 3.

Accuracy, fidelity and mean squared error of the regression on them, the kernel error (relative trace residual) and the
accuracy on labels that no stage saw, on scikit-learn's digits and on Fashion-MNIST, mean and standard deviation over
seeds: other splits, networks and sketches. With --scaling: seconds and peak memory against the number of points.

Run: python benchmarks/distill_gradients.py [--data digits fashion] [--seeds 5] [--sizes 1 2 5 10 20 40] [--json FILE]
     python benchmarks/distill_gradients.py --tables FILE [FILE ...]
     python benchmarks/distill_gradients.py --scaling [--outputs 10]
"""

import argparse
import dataclasses
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distill_gradients_methods import Row, missing, noisy_rows, rows
from distill_gradients_scaling import scaling
from distill_gradients_scenes import FLIPPED, POOL, SKETCH, scene
from rich.console import Console
from rich.progress import track
from rich.table import Table

METRICS = ("accuracy", "fidelity", "mse", "kernel_error", "unseen")


def main() -> None:
    """Measure, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits", "fashion"], choices=["digits", "fashion"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 3, 5, 7, 10, 15, 20, 30, 40])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tables", nargs="+", type=Path, default=[], help="only print what these files hold")
    parser.add_argument("--scaling", action="store_true", help="time and memory against the number of points instead")
    parser.add_argument("--outputs", type=int, default=10, help="outputs of the features of --scaling")
    arguments = parser.parse_args()
    if arguments.scaling:
        _write(scaling(arguments.outputs), arguments.json)
        return
    measured = [Row(**row) for file in arguments.tables for row in json.loads(file.read_text())]
    if not arguments.tables:
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        for row in _measured(arguments.data, seeds, arguments.sizes):
            measured.append(row)
            _write([dataclasses.asdict(row) for row in measured], arguments.json)
    for name in sorted({row.data for row in measured}):
        _print(name, [row for row in measured if row.data == name])


def _write(found: Sequence[Any], file: Path | None) -> None:
    if file:
        file.write_text(json.dumps(found, indent=1) + "\n")


def _measured(names: Sequence[str], seeds: range, sizes: list[int]) -> Iterator[Row]:
    if missing():
        print(f"selections that this dntk does not have: {', '.join(missing())}", file=sys.stderr)
    for name in names:
        for seed in track(seeds, description=name, console=Console(stderr=True)):
            try:
                case = scene(name, seed)
            except FileNotFoundError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                break
            yield from rows(case, sizes)
            yield from noisy_rows(case, sizes)


def _print(name: str, measured: Sequence[Row]) -> None:
    seeds = len({row.seed for row in measured})
    title = f"{name}: {POOL} points, {SKETCH} features per output; mean ± standard deviation over {seeds} seeds"
    table = Table(title=f"{title}; flipped: {FLIPPED:.0%} of the labels")
    for column in ("method", "solve", "budget", "s", *METRICS):
        table.add_column(column.replace("_", " "), justify="left" if column in ("method", "solve") else "right")
    groups: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in measured:
        groups[row.method, row.solve, row.budget].append(row)
    for (method, solve, budget), found in groups.items():
        size = statistics.fmean(row.size for row in found)
        table.add_row(method, solve, str(budget), f"{size:.3g}", *(_spread(found, metric) for metric in METRICS))
    Console(width=170).print(table)


def _spread(found: Sequence[Row], metric: str) -> str:
    values = [getattr(row, metric) for row in found]
    if None in values:
        return "–"
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.4f} ± {deviation:.4f}"


if __name__ == "__main__":
    main()
