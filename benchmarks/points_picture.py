"""The curve of ``points_curve.py`` as a picture and a table in Markdown, means over seeds with their spread.

python benchmarks/points_picture.py points_digits.csv points_cifar-10.csv --picture FILE
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

WAYS = {
    ("random", "separate"): ("separate regressions", "#888888", "o"),
    ("k-means, last layer", "separate"): ("the same, k-means of the last layer", "#bcbd22", "s"),
    ("random", "joint"): ("one regression of all outputs", "#1f77b4", "^"),
    ("random", "functionals"): ("the same, one functional per input", "#d62728", "v"),
    ("random", "fitted targets"): ("targets fitted to all points", "#2ca02c", "D"),
    ("random", "last layer"): ("a regression on the last layer, no Jacobian row", "#9467bd", "x"),
}

Cells = dict[tuple[str, str, int], list[dict[str, Any]]]


def read(path: Path) -> tuple[str, int, Cells]:
    """Name of the data, number of points, and rows by choice, use and m."""
    found: Cells = defaultdict(list)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        found[row["choice"], row["use"], int(row["m"])].append(row)
    return rows[0]["data"], int(rows[0]["points"]), found


def of(rows: list[dict[str, Any]], column: str) -> tuple[float, float]:
    """Mean and spread of a column."""
    values = [float(row[column]) for row in rows]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def table(path: Path) -> str:
    """Fidelity in per cent, of all choices and uses."""
    name, points, cells = read(path)
    sizes = sorted({m for choice, _, m in cells if choice != "all"})
    lines, whole = [f"{name}, {points:,} points"], ("all", "separate", points)
    if whole in cells:
        lines[0] += f": all have fidelity {_percent(cells[whole])}, mean squared error {of(cells[whole], 'mse')[0]:.3g}"
    lines += [
        "",
        "| choice | use | " + " | ".join(f"m = {m}" for m in sizes) + " |",
        "|---|---|" + "---:|" * len(sizes),
    ]
    for choice, use in dict.fromkeys((choice, use) for choice, use, _ in cells if choice != "all"):
        found = [_percent(cells[choice, use, m]) if (choice, use, m) in cells else "" for m in sizes]
        lines.append(f"| {choice} | {use} | " + " | ".join(found) + " |")
    known = next(iter(cells.values()))[0]  # files of before have no unseen labels
    for column in (name for name in ("mse", "left", "unseen") if name in known):
        for choice, use in WAYS:
            found = [f"{of(cells[choice, use, m], column)[0]:.3g}" if (choice, use, m) in cells else "" for m in sizes]
            lines.append(f"| {choice} | {use}, {column} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def _percent(rows: list[dict[str, Any]]) -> str:
    mean, spread = of(rows, "fidelity")
    return f"{100 * mean:.1f} ± {100 * spread:.1f}" if len(rows) > 1 else f"{100 * mean:.1f}"


def draw(paths: list[Path], out: Path) -> None:
    """Fidelity against Jacobian rows of the kept points, as a share of all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(paths), 3.8), layout="constrained")
    for axes, path in zip(figure.subplots(1, len(paths), squeeze=False)[0], paths, strict=True):
        name, points, cells = read(path)
        for (choice, use), (label, colour, marker) in WAYS.items():
            sizes = sorted(m for a, b, m in cells if (a, b) == (choice, use))
            stated = [of(cells[choice, use, m], "fidelity") for m in sizes]
            means, spreads = [100 * mean for mean, _ in stated], [100 * spread for _, spread in stated]
            shares = [points / m for m in sizes]
            axes.errorbar(shares, means, spreads, label=label, color=colour, marker=marker, markersize=4, capsize=2)
        if ("all", "separate", points) in cells:
            whole = 100 * of(cells["all", "separate", points], "fidelity")[0]
            axes.axhline(whole, color="black", linewidth=0.8, linestyle=":", label="all points")
        axes.set(
            xscale="log",
            xlabel="times fewer Jacobian rows are kept",
            ylabel="fidelity, %",
            title=f"{name}, n = {points:,}",
        )
        fewer = sorted({points // m for choice, _, m in cells if choice != "all"})
        axes.set_xticks(fewer, [f"{share:,}" for share in fewer])
        axes.minorticks_off()
        axes.invert_xaxis()
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7, loc="lower right")
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    """Print tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    for path in options.files:
        print(table(path), end="\n\n")
    if options.picture:
        draw(options.files, options.picture)


if __name__ == "__main__":
    main()
