"""How tight certificates are and what they cost, on networks trained on the digits and on Fashion-MNIST.

For synthetic gradients of every network: the true excess objective of the regression on them over the certified one
(Gauss-Radau, at most 40 products), widths of the intervals of the ten leading eigenvalues, and statements that dense
kernels in float64 contradict; seconds of the certificate over those of the features. Medians over seeds: other splits,
networks and sketches.

Run: python benchmarks/certify.py [--data digits fashion] [--networks mlp cnn] [--seeds 3] [--points 500] [--json FILE]
"""

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from certify_scenes import DATA, NETWORKS, scene
from certify_truth import Measured, measured
from rich.console import Console
from rich.progress import track
from rich.table import Table

TARGETS = {"energy ratio": "≥ 0.7", "interval width": "< 20%", "cost": "≤ 20%", "violations": "0"}


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20], help="synthetic gradients per output")
    parser.add_argument("--repeats", type=int, default=3, help="timings, of which the median counts")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = _all(arguments)
    _print(found, arguments.seeds)
    if arguments.json:
        arguments.json.write_text(json.dumps([dataclasses.asdict(row) for row in found], indent=1) + "\n")


def _all(arguments: argparse.Namespace) -> list[Measured]:
    found: list[Measured] = []
    for data in arguments.data:
        cases = [(network, seed) for network in arguments.networks for seed in range(arguments.seeds)]
        for network, seed in track(cases, description=data, console=Console(stderr=True)):
            try:
                one = scene(data, network, seed=seed, points=arguments.points, features=arguments.features)
            except FileNotFoundError as error:
                print(f"{data} is left out: {error}", file=sys.stderr)
                break
            found += measured(one, arguments.sizes, repeats=arguments.repeats)
    return found


def _print(found: Sequence[Measured], seeds: int) -> None:
    table = Table(title=f"certificates: medians over {seeds} seeds; violations are added up")
    for column in ("data", "network", "method", "s"):
        table.add_column(column, justify="right" if column == "s" else "left")
    for column, target in TARGETS.items():
        table.add_column(f"{column}\n{target}", justify="right")
    for key in dict.fromkeys((row.data, row.network, row.method, row.size) for row in found):
        rows = [row for row in found if (row.data, row.network, row.method, row.size) == key]
        table.add_row(
            *map(str, key),
            f"{statistics.median(row.energy_ratio for row in rows):.2f}",
            f"{statistics.median(row.interval_width for row in rows):.2%}",
            f"{statistics.median(row.cost for row in rows):.0%}",
            f"{sum(row.violations for row in rows)} of {sum(row.statements for row in rows)}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
