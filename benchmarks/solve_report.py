"""Measured rows as tables and as JSON, and what they say about dntk's targets."""

import dataclasses
import importlib.metadata
import json
from collections.abc import Sequence

from measure import summary
from ntk_report import environment
from rich.console import Console
from rich.table import Table
from solve_contests import Row
from solve_path_ways import ONE_SOLVE

_PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "gpytorch", "linear_operator")
_FIGURES = {
    "error": "error",
    "error_predictions": "predictions",
    "error_variance": "variance",
    "error_log_likelihood": "log p(y)",
    "negative_log_likelihood": "NLL",
}
EQUAL = 3
"""Errors within this factor of dntk's count as of equal accuracy."""


def print_table(title: str, rows: Sequence[Row]) -> None:
    """One line per contestant; ratios are of medians, to the first row."""
    shown = [name for name in _FIGURES if any(name in row.figures for row in rows)]
    rate = next((row.product_rate for row in rows if row.product_rate), None)
    table = Table(title=title if rate is None else f"{title}; products: {rate / 1e9:.0f} GFLOP/s")
    columns = ("contestant", "median s", "best s", "÷ first", "share", "MiB", *(_FIGURES[name] for name in shown))
    for name in columns:
        table.add_column(name, justify="left" if name == "contestant" else "right")
    for row in rows:
        table.add_row(*_cells(row, rows[0].median_s, shown))
    Console(width=140).print(table)
    for row in rows:
        if row.why_not:
            print(f"{row.name}: {row.why_not}")


def print_targets(rows: Sequence[Row]) -> None:
    """Ratios to one solve, to the fastest peers and to GPyTorch, of what was measured."""
    for (contest, points), group in _grouped(rows).items():
        place = f"{contest}, n = {points}"
        if contest == "path" and {ONE_SOLVE, "dntk ridge_path"} <= set(group):
            print(f"{place}: 50 ridges take {_ratio(group['dntk ridge_path'], group[ONE_SOLVE])} times one solve")
        own = group.get({"ridge": "dntk ridge", "gp": "dntk gaussian_process"}.get(contest, ""))
        if own is None:
            continue
        peers = [row for row in group.values() if not row.name.startswith("dntk")]
        equal = [row for row in peers if row.figures["error"] <= EQUAL * own.figures["error"]]
        for which, among in (("of equal accuracy", equal), ("of any accuracy", peers)):
            if among:
                fastest = min(among, key=lambda row: summary(row.seconds)["median_s"])
                print(f"{place}: fastest peer {which}, {fastest.name}, takes {_ratio(fastest, own)} times dntk's time")
        for row in peers:
            if row.name.startswith("GPyTorch"):
                print(f"{place}: {row.name} takes {_ratio(row, own)} times dntk's time")


def as_json(rows: Sequence[Row]) -> str:
    """Everything measured, with where and by which versions."""
    about = environment() | {"packages": {name: _version(name) for name in _PACKAGES}}
    return json.dumps({"environment": about, "rows": [dataclasses.asdict(row) for row in rows]}, indent=1)


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, int], dict[str, Row]]:
    found: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows:
        if row.median_s:
            found.setdefault((row.contest, row.points), {})[row.name] = row
    return found


def _ratio(row: Row, base: Row) -> str:
    return f"{summary(row.seconds)['median_s'] / summary(base.seconds)['median_s']:.2f}"


def _cells(row: Row, base: float | None, shown: Sequence[str]) -> tuple[str, ...]:
    if row.why_not or row.median_s is None:
        return row.name, "–"
    figures = (row.figures.get(name) for name in shown)
    return (
        row.name,
        f"{row.median_s:.3f}" + (" (once)" if len(row.seconds) == 1 else ""),
        f"{min(row.seconds):.3f}",
        "–" if base is None else f"{row.median_s / base:.2f}",
        "–" if row.share is None else f"{row.share:.0%}",
        "–" if row.peak_mib is None else f"{row.peak_mib:.0f}",
        *(
            "–" if value is None else f"{value:.4f}" if name.startswith("negative") else f"{value:.0e}"
            for name, value in zip(shown, figures, strict=True)
        ),
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
