"""What the paper (arXiv 2602.11320) reports, beside this run: paper, this run, difference."""

import dataclasses
import statistics
from typing import Any

from dntk_studies.reproduce._figure_3 import FULL
from dntk_studies.reproduce.gradient_methods import POINT_METHODS, SAME_SPAN
from dntk_studies.reproduce.results import Results, Rows
from dntk_studies.reproduce.settings import Settings

GRADIENTS = 5
COMPRESSION = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """One statement of the paper: its value or range, this run's mean and spread over seeds, and what to know."""

    quantity: str
    paper: tuple[float, float]
    values: tuple[float, ...]
    note: str = ""

    def as_row(self) -> dict[str, Any]:
        """Paper, mean, deviation and difference from the nearer end of the paper's range."""
        mean = statistics.fmean(self.values)
        low, high = self.paper
        return {
            "quantity": self.quantity,
            "paper": f"{low:g}" if low == high else f"{low:g} to {high:g}",
            "this_run": mean,
            "deviation": statistics.stdev(self.values) if len(self.values) > 1 else 0.0,
            "smallest": min(self.values),
            "largest": max(self.values),
            "difference": 0.0 if low <= mean <= high else mean - (low if mean < low else high),
            "note": self.note,
        }


def comparisons(results: Results, settings: Settings) -> Rows:
    """Every statement that the computed figures speak of; the paper's setting is ImageNette, ResNet-18, m = 500."""
    main = settings.main.architecture
    found = [
        *_figure_3(results.of_main("figure 3", main)),
        *_figure_2(results.of_main("figure 2", main)),
        *_figure_4(results.of_main("figure 4", main)),
        *_figure_1(results.of_main("figure 1", main)),
    ]
    return [entry.as_row() for entry in found if entry.values]


def _figure_3(rows: Rows) -> list[Comparison]:
    chosen = [row for row in rows if row["asked"] == GRADIENTS]
    local = [row for row in chosen if row["method"] == "LocalGlobal" and row["solve"] == "paper"]
    points = [row for row in chosen if row["solve"] == "paper" and row["method"] in POINT_METHODS]
    seeds = sorted({row["seed"] for row in local})
    best = {seed: max((row["fidelity"] for row in points if row["seed"] == seed), default=0.0) for seed in seeds}
    ahead = tuple(row["fidelity"] - best[row["seed"]] for row in local)
    ratio = local[0]["compression"] if local else 0
    note = f"{ratio:.3g}x fewer gradients" if local else ""
    return [
        Comparison(
            quantity=f"accuracy of local-global distillation, s = {GRADIENTS}",
            paper=(0.76, 0.76),
            values=tuple(row["accuracy"] for row in local),
            note=note,
        ),
        Comparison(
            quantity=f"fidelity of local-global distillation, s = {GRADIENTS}",
            paper=(0.78, 0.78),
            values=tuple(row["fidelity"] for row in local),
            note=note,
        ),
        Comparison(
            quantity=f"its fidelity less that of the best choice of points, s = {GRADIENTS}",
            paper=(0.0, 1.0),
            values=ahead,
            note="the paper: well above every choice of points",
        ),
        *_at_100x(rows),
    ]


def _at_100x(rows: Rows) -> list[Comparison]:
    """The solution's direction at 100 times fewer gradients than distilled points, beside the paper's method there."""
    full = {row["seed"]: row for row in rows if row["method"] == FULL}
    chosen = [row for row in rows if row["solve"] == SAME_SPAN and row["compression"] == COMPRESSION]
    solution = [row for row in chosen if row["method"] == "Solution"]
    note = "the paper: by its own method, of the network's"
    return [
        Comparison(
            quantity=f"accuracy with the solution's direction at {COMPRESSION}x, over that of all distilled points",
            paper=(0.76, 0.76),
            values=tuple(row["accuracy"] / full[row["seed"]]["accuracy"] for row in solution),
            note=note,
        ),
        Comparison(
            quantity=f"fidelity with the solution's direction at {COMPRESSION}x, over that of all distilled points",
            paper=(0.78, 0.78),
            values=tuple(row["fidelity"] / full[row["seed"]]["fidelity"] for row in solution),
            note=note,
        ),
    ]


def _figure_2(rows: Rows) -> list[Comparison]:
    if not rows:
        return []
    m = rows[0]["points"]
    scale = m / 50
    return [
        Comparison(
            quantity=f"truncation rank of K^c on the {m} points of class c",
            paper=(31 * scale, 41 * scale),
            values=tuple(float(row["rank_own"]) for row in rows),
            note="" if m == 50 else "the paper's 31 to 41 of 50, scaled to this number of points",
        )
    ]


def _figure_4(rows: Rows) -> list[Comparison]:
    found = []
    for local in dict.fromkeys(row["local"] for row in rows):
        for name in ("energy", "largest", "rayleigh"):
            own = tuple(r[name] for r in rows if r["local"] == local and r["kernel"] != "all points")
            every = tuple(r[name] for r in rows if r["local"] == local and r["kernel"] == "all points")
            quantity = f"coverage gap, {name} form, {local}"
            found.append(Comparison(quantity=f"{quantity}, per class", paper=(0.12, 0.15), values=own))
            found.append(Comparison(quantity=f"{quantity}, K̄ on all points", paper=(0.12, 0.15), values=every))
    return found


def _figure_1(rows: Rows) -> list[Comparison]:
    if not rows:
        return []
    most = max(row["points"] for row in rows)
    by_base = {
        base: {row["seed"]: row["accuracy"] for row in rows if row["base"] == base and row["points"] == most}
        for base in ("real", "distilled")
    }
    return [
        Comparison(
            quantity=f"accuracy of the base model trained on real data less on distilled data, {most} points",
            paper=(0.10, 0.10),
            values=tuple(by_base["real"][seed] - by_base["distilled"][seed] for seed in by_base["real"]),
        )
    ]
