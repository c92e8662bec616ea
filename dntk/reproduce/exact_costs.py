"""What exact kernel regression costs: measured at what fits, extrapolated by the measured exponent, each marked so."""

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dntk.features import TangentFeatures
from dntk.ledger import LedgerRecorder, StageCost
from dntk.ntk import ntk
from dntk.reproduce.recipe import TrainingPlan
from dntk.reproduce.scene import open_scene
from dntk.reproduce.workshop import Workshop, tag
from dntk.solve import kernel_ridge


def measured(shop: Workshop, plan: TrainingPlan, seed: int) -> dict[str, Any]:
    """Costs of the exact kernel and of its solve at several sizes, and of evaluating either kernel once they are there.

    ``pair_exact``, ``pair_distilled``: seconds for the C kernels of one pair of points, from the network and from
    features that were made before.
    """
    model, images = shop.network(plan, seed).model, shop.images(seed)
    scene = open_scene(shop, plan, seed)
    sizes = [n for n in shop.settings.exact_sizes if n <= len(images.pool.y)]
    points = shop.place(images.pool.x[: sizes[-1]])
    kernels = []
    ntk(model, points[: sizes[0]], outputs="each")  # what is done once per network is not part of the kernel's cost
    for n in sizes:
        shop.progress(f"timing the exact kernel of {n} points, {tag(plan, seed)}")
        recorder = LedgerRecorder()
        with recorder.stage(f"{n}") as cost:
            kernel = ntk(model, points[:n], outputs="each")
            cost.nbytes = 4 * kernel.shape[0] * n * n
        kernels.append(_as_row(recorder.ledger().stages[0], n))
    solves = [_solve(shop, scene.phi, scene.outputs, n) for n in _solve_sizes(len(scene.phi))]
    pairs = sizes[-1] * (sizes[-1] + 1) / 2
    return {
        "kernels": kernels,
        "solves": solves,
        "outputs": scene.phi.n_outputs,
        "pair_exact": kernels[-1]["seconds"] / pairs,
        "pair_distilled": _evaluation(scene.phi),
    }


def exponent(rows: Sequence[dict[str, Any]], column: str) -> float:
    """Slope of log cost over log n, by least squares on the last three sizes."""
    last = [row for row in rows if row[column] > 0][-3:]
    if len(last) < 2:
        return math.nan
    slope = np.polyfit([math.log(row["points"]) for row in last], [math.log(row[column]) for row in last], 1)[0]
    return float(slope)


def extrapolated(rows: Sequence[dict[str, Any]], column: str, points: int) -> float:
    """Cost at ``points`` from the largest measured size and the measured exponent."""
    last = rows[-1]
    return float(last[column] * (points / last["points"]) ** exponent(rows, column))


def _solve(shop: Workshop, phi: TangentFeatures, outputs: Any, n: int) -> dict[str, Any]:
    """One factorisation and solve per output on the first n points."""
    kernel = phi[:n].kernel(outputs="each")
    ridge = 1e-4 * float(shop.host(kernel[0, 0, 0]))
    kernel_ridge(kernel, outputs[:n, :], ridge=ridge)
    recorder = LedgerRecorder()
    with recorder.stage("solve"):
        kernel_ridge(kernel, outputs[:n, :], ridge=ridge)
    return _as_row(recorder.ledger().stages[0], n)


def _solve_sizes(points: int) -> list[int]:
    return sorted({max(2, points // 4), max(2, points // 2), points})


def _as_row(cost: StageCost, points: int) -> dict[str, Any]:
    return {**dataclasses.asdict(cost), "points": points}


def _evaluation(phi: TangentFeatures) -> float:
    """Seconds for the C kernels of one pair, from features."""
    phi.kernel(outputs="each")
    start = time.perf_counter()
    phi.kernel(outputs="each")
    return (time.perf_counter() - start) / len(phi) ** 2
