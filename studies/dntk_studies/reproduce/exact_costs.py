"""What exact kernel regression costs: measured at what fits, extrapolated by the measured exponent, each marked so."""

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dntk.features import TangentFeatures
from dntk.kernels._ntk import ntk
from dntk.ledger import LedgerRecorder, StageCost
from dntk.solve import kernel_ridge
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce.scene import open_scene
from dntk_studies.reproduce.workshop import Workshop, tag


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
    shop.progress(f"timing the exact solve, {tag(plan, seed)}")
    solves = [_solve(shop, scene.phi.n_outputs, n) for n in shop.settings.solve_sizes]
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


def by_exponent(rows: Sequence[dict[str, Any]], column: str, points: int) -> float:
    """Cost at ``points`` from the largest measured size and the measured exponent.

    Too little where the cost has parts of several orders: the exponent at sizes that fit is that of the lower one.
    """
    last = rows[-1]
    return float(last[column] * (points / last["points"]) ** exponent(rows, column))


def by_orders(rows: Sequence[dict[str, Any]], column: str, points: int, orders: tuple[int, int]) -> float:
    """Cost at ``points`` from a·n^p + b·n^q, a and b at least 0, of least relative squared error at the sizes measured.

    Exact kernels have a linear part (backward passes) and a quadratic one (products of pairs), solves a quadratic and a
    cubic one.
    """
    from scipy.optimize import nnls

    sizes = np.asarray([row["points"] for row in rows], dtype=np.float64)
    costs = np.asarray([row[column] for row in rows], dtype=np.float64)
    if not np.all(costs > 0):
        return math.nan
    parts = np.stack([(sizes / sizes[-1]) ** order for order in orders], axis=1)
    weights, _ = nnls(parts / costs[:, None], np.ones_like(costs))
    return float(sum(w * (points / sizes[-1]) ** order for w, order in zip(weights, orders, strict=True)))


def _solve(shop: Workshop, outputs: int, n: int) -> dict[str, Any]:
    """Factorisation and solve for one output, times the outputs; their time does not depend on the kernel's entries."""
    rng = np.random.default_rng(n)
    features = rng.standard_normal((n, 32))
    kernel = shop.place((features @ features.T + 32 * np.eye(n))[None, :, :].astype(np.float32))
    targets = shop.place(rng.standard_normal((n, 1)).astype(np.float32))
    recorder = LedgerRecorder()
    with recorder.stage("solve"):
        kernel_ridge(kernel, targets, ridge=1.0)
    row = _as_row(recorder.ledger().stages[0], n)
    return {**row, "flops": outputs * row["flops"], "seconds": outputs * row["seconds"]}


def _as_row(cost: StageCost, points: int) -> dict[str, Any]:
    return {**dataclasses.asdict(cost), "points": points}


def _evaluation(phi: TangentFeatures) -> float:
    """Seconds for the C kernels of one pair, from features."""
    phi.kernel(outputs="each")
    start = time.perf_counter()
    phi.kernel(outputs="each")
    return (time.perf_counter() - start) / len(phi) ** 2
