"""Measured rows as a table and as JSON."""

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence

import torch
from ntk_contests import Row
from ntk_peers import DNTK, FLOOR
from rich.console import Console
from rich.table import Table

_PACKAGES = (
    "torch",
    "numpy",
    "jax",
    "jaxlib",
    "neural-tangents",
    "nngeometry",
    "backpack-for-pytorch",
    "asdfghjkl",
)
WRONG = 1e-2  # rounding in float32 stays below 1e-3: beyond this, another kernel was computed


def print_table(title: str, rows: Sequence[Row]) -> None:
    """One line per contestant and mode; ratios are of medians."""
    table = Table(title=title)
    columns = (
        "mode",
        "contestant",
        "median s",
        "best s",
        "÷ dntk",
        "÷ floor",
        "peak MiB",
        "error",
        "error, torch.func",
    )
    for name in columns:
        table.add_column(name, justify="left" if name in ("mode", "contestant") else "right")
    for i, row in enumerate(rows):
        table.add_row(*_cells(row, rows), end_section=i + 1 < len(rows) and rows[i + 1].mode != row.mode)
    Console(width=150).print(table)
    failures = [row for row in rows if row.why_not]
    for row in failures:
        print(f"{row.mode}, {row.name}: {row.why_not}")


def as_json(rows: Sequence[Row], about: dict[str, object]) -> str:
    """Everything measured, with where and by which versions."""
    return json.dumps({"environment": about, "rows": [dataclasses.asdict(row) for row in rows]}, indent=1)


def environment() -> dict[str, object]:
    """Versions, processors and threads."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    if row.why_not or row.median_s is None or row.best_s is None:
        return row.mode, row.name, "–"
    base = {other.name: other.median_s for other in rows if other.mode == row.mode}
    return (
        row.mode,
        row.name + (" (another kernel)" if row.error is not None and not row.error < WRONG else ""),
        f"{row.median_s:.4f}" + (" (once)" if len(row.seconds) == 1 else ""),
        f"{row.best_s:.4f}",
        _ratio(row.median_s, base.get(DNTK.name)),
        _ratio(row.median_s, base.get(FLOOR.name)),
        "–" if row.peak_mib is None else f"{row.peak_mib:.0f}",
        "–" if row.error is None else f"{row.error:.1e}",
        "–" if row.error_independent is None else f"{row.error_independent:.1e}",
    )


def _ratio(seconds: float, base: float | None) -> str:
    return "–" if base is None else f"{seconds / base:.2f}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
