"""Each stage on and off, from results that are there: nothing is computed for it."""

from typing import Any

from dntk_studies.reproduce._figure_3 import FULL
from dntk_studies.reproduce.results import Results, Rows

GRADIENTS = 5
_SCORES = ("accuracy", "fidelity", "mse", "unseen")


def rows(results: Results, architecture: str) -> Rows:
    """One row per seed and combination of stages.

    Data: the coreset, as many random points, or all. Gradients: five by the solution's direction, by Algorithm 1, five
    principal ones, or all. The sketch is on in all of them; :mod:`dntk_studies.reproduce.sketch_sweep` has it off, on
    the points at which the exact kernel fits.
    """
    found: Rows = []
    for row in results.of_main("figure 3", architecture):
        distilled = row["solve"] == ("paper" if row["method"] == "LocalGlobal" else "same span")
        asked_for = row["asked"] == GRADIENTS and row["method"] in ("Solution", "LocalGlobal", "Principal")
        if row["method"] == FULL:
            found.append(_row(row, "coreset", "off"))
        elif asked_for and distilled:
            found.append(_row(row, "coreset", f"{row['method']}, {GRADIENTS}"))
    for row in results.of_main("data", architecture):
        if row["method"] == "Random":
            found.append(_row(row, "random points", "off"))
    for row in results.of_main("full set", architecture):
        found.append(_row(row, "off", "off"))
        found.append(_row({**row, **row["with_gradients"], "unseen": None}, "off", f"Solution, {GRADIENTS}"))
    return found


def _row(row: dict[str, Any], data: str, gradients: str) -> dict[str, Any]:
    known = {key: row[key] for key in ("architecture", "seed")}
    return {**known, "data": data, "gradients": gradients, **{name: row[name] for name in _SCORES}}
