"""Rows of distilled sets as tables and as JSON."""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from distill_measure import ALL, Row
from distill_networks import N_OUTPUTS
from ntk_report import environment
from rich.console import Console
from rich.table import Table

_COLUMNS: dict[str, tuple[str, float]] = {
    "residual": ("residual %", 100),
    "tail": ("PCA tail %", 100),
    "gap": ("gap %", 100),
    "accuracy": ("accuracy %", 100),
    "fidelity": ("fidelity %", 100),
    "mse": ("MSE", 1),
    "seconds": ("seconds", 1),
    "distillation_rows": ("Jacobian rows", 1),
}


def groups(rows: Sequence[Row]) -> dict[tuple[int, str], list[Row]]:
    """Rows of all seeds by size and method, sizes in order."""
    found: dict[tuple[int, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.points):
        found.setdefault((row.points, row.method), []).append(row)
    return found


def print_table(title: str, rows: Sequence[Row]) -> None:
    """One line per size and method: mean ± standard deviation over seeds."""
    table = Table(title=f"{title}: mean ± standard deviation over {len({row.seed for row in rows})} seeds")
    for name in ("points", "method", *(label for label, _ in _COLUMNS.values())):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    last = 0
    for (points, method), found in groups(rows).items():
        if points != last:
            table.add_section()
        last = points
        done = [row for row in found if not row.why_not]
        cells = [spread([getattr(row, name) for row in done], scale) for name, (_, scale) in _COLUMNS.items()]
        table.add_row(str(points), method, *cells)
    Console(width=170).print(table)
    for method, why in sorted({(row.method, row.why_not) for row in rows if row.why_not}):
        print(f"{method}: {why}")


def print_headline(rows: Sequence[Row]) -> None:
    """At a twentieth of the points: fidelity kept, Jacobian rows saved, and when distillation has paid."""
    whole = {row.seed: row for row in rows if row.method == ALL}
    table = Table(title="a twentieth of the points, against all of them")
    for name in (
        "method",
        "fidelity ÷ full set's",
        "rows of an evaluation",
        "rows, distillation and one evaluation",
        "distillation has paid after evaluations",
    ):
        table.add_column(name, justify="left" if name == "method" else "right")
    full = next(iter(whole.values()))
    size = full.points // 20 // N_OUTPUTS * N_OUTPUTS
    for (points, method), found in groups(rows).items():
        done = [row for row in found if not row.why_not]
        if points == size and done:
            table.add_row(
                method,
                spread([kept_fidelity(row, whole[row.seed]) for row in done], 100) + " %",
                spread([_saved(row, whole[row.seed], lambda r: r.evaluation_rows) for row in done], 1) + "x fewer",
                spread([_saved(row, whole[row.seed], _with_distillation) for row in done], 1) + "x fewer",
                spread([break_even(row, whole[row.seed]) for row in done], 1),
            )
    Console(width=170).print(table)


def kept_fidelity(row: Row, whole: Row) -> float:
    """Fidelity over that of the whole set."""
    assert row.fidelity is not None
    assert whole.fidelity
    return row.fidelity / whole.fidelity


def break_even(row: Row, whole: Row) -> int:
    """Number of evaluations of the features from which on distillation and evaluations cost fewer Jacobian rows."""
    assert row.evaluation_rows is not None
    assert whole.evaluation_rows is not None
    assert row.distillation_rows is not None
    return max(1, math.ceil(row.distillation_rows / (whole.evaluation_rows - row.evaluation_rows)))


def spread(values: Sequence[float | None], scale: float) -> str:
    """Mean ± standard deviation; a dash where there is nothing."""
    scaled = [scale * value for value in values if value is not None]
    if not scaled:
        return "–"
    deviation = f" ± {statistics.stdev(scaled):.3g}" if len(scaled) > 1 else ""
    return f"{statistics.fmean(scaled):.4g}{deviation}"


def as_json(rows: Sequence[Row]) -> str:
    """Everything measured, with where and by which versions."""
    return json.dumps({"environment": environment(), "rows": [dataclasses.asdict(row) for row in rows]}, indent=1)


def read(files: Sequence[Path]) -> list[Row]:
    """Rows of all files."""
    return [Row(**row) for file in files for row in json.loads(file.read_text())["rows"]]


def _with_distillation(row: Row) -> int:
    return (row.distillation_rows or 0) + (row.evaluation_rows or 0)


def _saved(row: Row, whole: Row, rows_of: Callable[[Row], int | None]) -> float:
    return (whole.evaluation_rows or 0) / (rows_of(row) or 1)
