"""Measured rows as a table, as JSON and as a plot of error against time."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from ntk_report import environment
from rich.console import Console
from rich.table import Table
from sketch_contests import Prediction, Row
from sketch_ways import FLOOR


def print_table(title: str, rows: Sequence[Row]) -> None:
    """One line per way; times are for all ten outputs of one input."""
    table = Table(title=title)
    for name in ("way", "ms a sample", "÷ floor", "peak MiB", "Gram error", "top-10 eigenvalues"):
        table.add_column(name, justify="left" if name == "way" else "right")
    floor = next((row.per_sample_ms for row in rows if row.name == FLOOR.name), None)
    for row in sorted(rows, key=lambda row: row.per_sample_ms or float("inf")):
        table.add_row(*_cells(row, floor))
    Console(width=120).print(table)
    for row in rows:
        if row.why_not:
            print(f"{row.name}: {row.why_not}")


def print_predictions(found: Sequence[Prediction]) -> None:
    """One line per case."""
    for one in found:
        products, features = (sorted(times)[len(times) // 2] for times in (one.by_products, one.by_features))
        print(
            f"prediction, {one.case}, {one.sketch}, n = {one.inputs}: {products:.3f} s by products, {features:.3f} s "
            f"by features, {features / products:.1f} times as long; they differ by {one.disagreement:.1e}"
        )


def as_json(rows: Sequence[Row], predictions: Sequence[Prediction]) -> str:
    """Everything measured, with where and by which versions."""
    found = {
        "environment": environment(),
        "rows": [dataclasses.asdict(row) for row in rows],
        "predictions": [dataclasses.asdict(one) for one in predictions],
    }
    return json.dumps(found, indent=1)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Error against time, one panel a network: filled for the larger number of features."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    cases = list(dict.fromkeys(row.case for row in rows))
    names = list(dict.fromkeys(row.name for row in rows if row.errors))
    colours = dict(zip(names, pyplot.get_cmap("tab10").colors, strict=False))
    largest = max(row.dim for row in rows)
    figure, axes = pyplot.subplots(1, len(cases), figsize=(5 * len(cases), 4.2), squeeze=False, layout="constrained")
    for axis, case in zip(axes[0], cases, strict=True):
        for row in (r for r in rows if r.case == case and r.errors):
            face = colours[row.name] if row.dim == largest else "none"
            label = row.name if row.dim == largest else None
            axis.plot(
                row.per_sample_ms, row.error, "o", color=colours[row.name], markerfacecolor=face, label=label, ms=8
            )
        for row in (r for r in rows if r.case == case and r.name == FLOOR.name and r.dim == largest and r.seconds):
            axis.axvline(row.per_sample_ms, color="grey", linestyle=":", label="floor")
        axis.set(xscale="log", yscale="log", title=case, xlabel="milliseconds a sample, ten outputs")
        axis.grid(visible=True, alpha=0.3)
    axes[0, 0].set_ylabel("relative Frobenius error of the kernel")
    handles = {label: h for axis in axes[0] for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _cells(row: Row, floor: float | None) -> tuple[str, ...]:
    if row.why_not or row.per_sample_ms is None:
        return row.name, "–"
    once = " (once)" if len(row.seconds) == 1 else ""
    return (
        row.name,
        f"{row.per_sample_ms:.2f}{once}",
        "–" if floor is None else f"{row.per_sample_ms / floor:.2f}",
        "–" if row.peak_mib is None else f"{row.peak_mib:.0f}",
        "–" if row.error is None else f"{row.error:.4f}",
        "–" if row.eigenvalue_error is None else f"{row.eigenvalue_error:.4f}",
    )
