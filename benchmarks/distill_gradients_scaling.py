"""Seconds (best of three) and peak memory of gradient distillation against the number of points.

Each method and size has a process of its own.
"""

import math
import sys
from typing import Any

import numpy as np
from measure import in_child, peak_of, timed
from rich.console import Console
from rich.table import Table

import dntk
from dntk.distill.gradients import Krylov, LocalGlobal, Principal, Solution, Streaming

POINTS = (5_000, 10_000, 20_000)
FEATURES, SIZE, LATENT, CHUNK = 1024, 40, 20, 2000
REPEATS, TIME_LIMIT = 3, 600.0


def methods(ridge: float) -> dict[str, Any]:
    """What is timed, by name."""
    return {
        "Principal": Principal(SIZE),
        "Principal, per class": Principal(SIZE, per_output=True),
        "Krylov": Krylov(SIZE),
        "Krylov, shared": Krylov(SIZE, per_output=False),
        "Solution": Solution(SIZE, ridge=ridge),
        "Solution, shared": Solution(SIZE, ridge=ridge, per_output=False),
        "LocalGlobal": LocalGlobal(size=SIZE, clusters=10),
        "Streaming": Streaming(SIZE),
    }


def scaling(outputs: int) -> list[dict[str, Any]]:
    """Measure every method at every number of points, print a table, and return the rows."""
    found = []
    title = f"{FEATURES} features of {outputs} outputs, {SIZE} gradients; the features' own memory comes on top"
    table = Table(title=title)
    for column in ("method", *(f"{m:,} points" for m in POINTS), "peak MiB", "features MiB", "growth exponent"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name in methods(1.0):
        measured = [
            in_child([sys.executable, __file__, name, str(m), str(outputs)], time_limit=TIME_LIMIT) for m in POINTS
        ]
        found += [{"method": name, "points": m, **row} for m, row in zip(POINTS, measured, strict=True)]
        table.add_row(name, *_cells(measured, outputs))
    Console(width=140).print(table)
    return found


def _cells(measured: list[dict[str, Any]], outputs: int) -> list[str]:
    failed = [row["why_not"] for row in measured if "why_not" in row]
    if failed:
        return [failed[0]]
    seconds = [row["seconds"] for row in measured]
    # Least squares on logarithms.
    exponent = np.polyfit(np.log(POINTS), np.log(seconds), 1)[0]
    own = outputs * POINTS[-1] * FEATURES * 4 / 2**20
    peak = f"{measured[-1]['peak_mib']:.0f}"
    return [*(f"{value:.2f} s" for value in seconds), peak, f"{own:.0f}", f"{exponent:.2f}"]


def problem(points: int, outputs: int) -> tuple[dntk.TangentFeatures, Any]:
    """Features with a shared low-rank part and a tail that falls like i^{-3/4}, and a target that both explain."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((points, LATENT), dtype=np.float32)
    spectrum = np.arange(1, FEATURES + 1, dtype=np.float32) ** -0.75
    values = np.empty((outputs, points, FEATURES), dtype=np.float32)
    for c in range(outputs):
        values[c] = rng.standard_normal((points, FEATURES), dtype=np.float32) * spectrum
        values[c, :, :LATENT] += shared
    weights = rng.standard_normal((outputs, FEATURES, 1), dtype=np.float32) / math.sqrt(FEATURES)
    return dntk.TangentFeatures(values), np.ascontiguousarray((values @ weights)[:, :, 0].T)


def child(name: str, points: int, outputs: int) -> dict[str, float]:
    """One measurement in this process."""
    phi, y = problem(points, outputs)
    ridge = 1e-3 * float(np.mean(np.einsum("cnk,cnk->cn", phi.values, phi.values)))
    method = methods(ridge)[name]
    spans = [(start, min(start + CHUNK, points)) for start in range(0, points, CHUNK)]

    def work() -> object:
        if name == "Streaming":
            return method.stream((phi[a:b], y[a:b]) for a, b in spans)
        return method.distill(phi, y)

    first = peak_of(work)
    return {**first, "seconds": min(first["seconds"], *(timed(work) for _ in range(REPEATS - 1)))}


if __name__ == "__main__":
    import json

    print(json.dumps(child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
