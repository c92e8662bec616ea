"""The ledger: costs of every stage of the distilled pipeline beside exact kernel regression, and the break-even."""

import dataclasses
from typing import Any

from dntk.ledger import LedgerRecorder
from dntk.spectrum import leading_eigenpairs
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce.exact_costs import by_exponent, by_orders, exponent
from dntk_studies.reproduce.gradient_methods import METHODS, PAPER, SAME_SPAN, Request
from dntk_studies.reproduce.scene import open_scene
from dntk_studies.reproduce.workshop import Workshop

GRADIENTS = 5
CHOOSING = ("last-layer features", "choosing points")
COSTS = ("jacobian_rows", "flops", "nbytes", "seconds")


def distilled_rows(shop: Workshop, plan: TrainingPlan, seed: int) -> list[dict[str, Any]]:
    """Costs of the pipeline's stages; Algorithm 1 and the solution's direction are two ways to do the last but one."""
    scene = open_scene(shop, plan, seed)
    recorder = LedgerRecorder()
    size = min(GRADIENTS, len(scene.phi))
    for name in ("LocalGlobal", "Solution"):
        with recorder.stage(f"{size} gradients, {name}") as cost:
            spectra = leading_eigenpairs(scene.phi.joined(), len(scene.phi))
            chosen = METHODS[name](Request(scene=scene, spectra=spectra, size=size, seed=seed))
            chosen.outputs[PAPER if name == "LocalGlobal" else SAME_SPAN]()
            cost.nbytes = 4 * scene.phi.n_outputs * (1 + chosen.size) * scene.phi.dim
    return [dataclasses.asdict(cost) for cost in (*scene.costs, *recorder.ledger().stages)]


def totals(stages: list[dict[str, Any]], *, times: float = 1.0) -> dict[str, float]:
    """Sums over the stages of one pipeline, that with the solution's direction, choosing from ``times`` as many points.

    What chooses points is linear in the number that it sees, and whatever follows sees only those that are kept.
    """
    used = [(stage, times if stage["stage"] in CHOOSING else 1.0) for stage in stages]
    used = [(stage, share) for stage, share in used if "LocalGlobal" not in stage["stage"]]
    return {column: float(sum(share * stage[column] for stage, share in used)) for column in COSTS}


def exact_rows(exact: dict[str, Any], points: dict[str, int]) -> list[dict[str, Any]]:
    """Exact kernel regression at the measured sizes and, by exponent and by orders of growth, at others."""
    found = []
    for row in exact["kernels"]:
        found.append({"stage": f"exact kernel, {row['points']} points", "how": "measured", **_costs(row)})
    for row in exact["solves"]:
        found.append({"stage": f"its solve, {row['points']} points", "how": "measured", **_costs(row)})
    for name, n in points.items():
        for part, rows, cost in (("exact kernel", "kernels", exact_kernel), ("its solve", "solves", exact_solve)):
            stage = f"{part}, {n} points ({name})"
            how = f"extrapolated, measured exponent n^{exponent(exact[rows], 'seconds'):.2f}"
            found.append({"stage": stage, "how": how, **cost(exact, n, orders=False)})
            powers = "a n + b n²" if rows == "kernels" else "a n² + b n³"
            found.append({"stage": stage, "how": f"extrapolated, {powers}", **cost(exact, n)})
    return found


def exact_kernel(exact: dict[str, Any], points: int, *, orders: bool = True) -> dict[str, float]:
    """Extrapolated cost of the C exact kernels of ``points``; rows and bytes are what their definition says."""
    rows = exact["kernels"]
    return {
        "jacobian_rows": float(exact["outputs"] * points),
        "nbytes": 4.0 * exact["outputs"] * points**2,
        **_further(rows, points, (1, 2) if orders else None),
    }


def exact_solve(exact: dict[str, Any], points: int, *, orders: bool = True) -> dict[str, float]:
    """Extrapolated cost of the C solves."""
    rows = exact["solves"]
    return {
        "jacobian_rows": 0.0,
        "nbytes": 4.0 * exact["outputs"] * points,
        **_further(rows, points, (2, 3) if orders else None),
    }


def _further(rows: list[dict[str, Any]], points: int, orders: tuple[int, int] | None) -> dict[str, float]:
    """Operations and seconds at a size that does not fit."""
    if orders is None:
        return {column: by_exponent(rows, column, points) for column in ("flops", "seconds")}
    return {column: by_orders(rows, column, points, orders) for column in ("flops", "seconds")}


def break_even(setup: float, exact: dict[str, Any]) -> float:
    """Pairs of points whose kernels must be evaluated until distillation has paid: setup / (t_exact − t_distilled)."""
    gain = exact["pair_exact"] - exact["pair_distilled"]
    return setup / gain if gain > 0 else float("inf")


def _costs(row: dict[str, Any]) -> dict[str, float]:
    return {column: float(row[column]) for column in COSTS}
