"""What each method keeps on the digits, over seeds: mean and spread of the table of `dntk demo --full`.

Every seed draws another split, network, coreset and sketch. Run: python benchmarks/digits.py [--seeds 5]
"""

import argparse
import statistics
from collections import defaultdict

from rich.console import Console
from rich.progress import track
from rich.table import Table

from dntk_studies.demo.methods import Row, run

METRICS = ("accuracy", "fidelity", "mse", "trace_residual", "unseen")


def main() -> None:
    """Run the comparison for several seeds and print mean ± standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--backend", default="numpy")
    arguments = parser.parse_args()
    rows: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for seed in track(range(arguments.seeds), console=Console(stderr=True)):
        position: dict[str, int] = defaultdict(int)
        for row in run(backend=arguments.backend, seed=seed).rows:
            # Algorithm 1 may stay below its budget: its rows are matched by position, not by size.
            rows[row.method, position[row.method]].append(row)
            position[row.method] += 1
    table = Table(title=f"mean ± standard deviation over {arguments.seeds} seeds")
    for name in ("method", "gradients", *METRICS):
        table.add_column(name.replace("_", " "), justify="left" if name == "method" else "right")
    for (method, _), found in rows.items():
        sizes = [row.gradients for row in found if row.gradients is not None]
        table.add_row(
            method, f"{statistics.fmean(sizes):.3g}" if sizes else "–", *(spread(found, metric) for metric in METRICS)
        )
    Console(width=130).print(table)


def spread(rows: list[Row], metric: str) -> str:
    """Mean ± standard deviation of one column, a dash where it does not apply."""
    values = [getattr(row, metric) for row in rows]
    if None in values:
        return "–"
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.4f} ± {deviation:.4f}"


if __name__ == "__main__":
    main()
