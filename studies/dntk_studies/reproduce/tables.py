"""Tables as CSV files: every row of every seed, and means with their spread."""

import csv
import io
from pathlib import Path
from typing import Any

from dntk.archive import write_whole
from dntk_studies.reproduce import ablations, ledger_table, paper
from dntk_studies.reproduce.results import Results, Rows
from dntk_studies.reproduce.settings import Settings
from dntk_studies.reproduce.spread import spread

SCORES = ("accuracy", "fidelity", "mse")
STAGES = (
    *("data", "sketch", "gradients", "together", "from_network"),
    *("on_points", "certified", "trace_residual", "trace_certified"),
)
_NOT_IN_CSV = ("predicted", "costs", "spectrum", "with_gradients")


def write_csv(path: Path, rows: Rows) -> None:
    """Write rows with all columns that any of them has; nested values are left to the JSON of the units."""
    columns = [c for c in dict.fromkeys(key for row in rows for key in row) if c not in _NOT_IN_CSV]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, stream.getvalue().encode())


def derived(results: Results, settings: Settings, pool: int, training: int) -> dict[str, Rows]:
    """Tables over seeds, and those made from several others."""
    main = settings.main.architecture
    found = {
        "paper": paper.comparisons(results, settings),
        "figure 1 over seeds": spread(
            results.tables.get("figure 1", []),
            ("architecture", "base", "points"),
            (*SCORES, "condition_number", "smallest_eigenvalue"),
        ),
        "figure 3 over seeds": spread(
            results.tables.get("figure 3", []),
            ("architecture", "method", "solve", "asked"),
            (*SCORES, "trace_residual", "unseen", "size"),
        ),
        "figure 4 over seeds": spread(
            results.tables.get("figure 4", []),
            ("architecture", "kernel", "local"),
            ("energy", "largest", "rayleigh", "directions", "rank"),
        ),
        "data over seeds": spread(
            results.tables.get("data", []), ("method", "points"), (*SCORES, "unseen", "rows", "seconds")
        ),
        "sketch over seeds": spread(
            results.tables.get("sketch", []), ("k",), ("error", "theory", "distance", "agreement", "fidelity")
        ),
        "stages over seeds": spread(results.tables.get("stages", []), ("method",), STAGES),
        "ablations": spread(ablations.rows(results, main), ("data", "gradients"), (*SCORES, "unseen")),
        "ledger over seeds": spread(results.tables.get("ledger", []), ("stage",), ledger_table.COSTS),
    }
    if results.exact is not None:
        sizes = {"the pool": pool, "all training points": training}
        found["exact"] = ledger_table.exact_rows(results.exact, sizes)
        found["savings"] = savings(results, settings, pool, training)
    return {name: rows for name, rows in found.items() if rows}


def savings(results: Results, settings: Settings, pool: int, training: int) -> Rows:
    """What the issue's targets ask: rows and fidelity of data distillation, total cost, and the break-even."""
    assert results.exact is not None
    main = settings.main.architecture
    ledger = results.of_main("ledger", main)
    seeds = sorted({row["seed"] for row in ledger})
    stages = [[row for row in ledger if row["seed"] == seed] for seed in seeds]

    def distilled(points: int) -> dict[str, float]:
        """Mean over seeds of a pipeline that chooses from as many points as the exact kernel beside it has."""
        each = [ledger_table.totals(found, times=points / pool) for found in stages]
        return {column: sum(t[column] for t in each) / len(each) for column in ledger_table.COSTS}

    found: list[dict[str, Any]] = []
    for name, points in (("the pool", pool), ("all training points", training)):
        kernel = ledger_table.exact_kernel(results.exact, points)
        solve = ledger_table.exact_solve(results.exact, points)
        mean = distilled(points)
        for column in ledger_table.COSTS:
            whole = kernel[column] + solve[column]
            ratio = whole / mean[column] if mean[column] else None
            how = "by definition" if column in ("jacobian_rows", "nbytes") else "extrapolated, by orders of growth"
            row = {"quantity": f"{column}, {points} points ({name})", "exact": whole, "distilled": mean[column]}
            found.append({**row, "ratio": ratio, "exact_is": how})
    pairs = ledger_table.break_even(distilled(pool)["seconds"], results.exact)
    found.append(
        {
            "quantity": "kernel evaluations (pairs of points, all classes) until distillation has paid",
            "exact": results.exact["pair_exact"],
            "distilled": results.exact["pair_distilled"],
            "ratio": pairs,
            "exact_is": "measured seconds per evaluation; the ratio column is the number of evaluations",
        }
    )
    return [*found, *_data_savings(results, main)]


def _data_savings(results: Results, main: str) -> Rows:
    """Rows of the Jacobian and fidelity: distilled data against the full set, per seed that has both."""
    found = []
    for full in results.of_main("full set", main):
        three = results.of_main("figure 3", main)
        core = next(row for row in three if row["seed"] == full["seed"] and row["solve"] == "full")
        found.append(
            {
                "quantity": f"points, all {full['points']} against {core['size']} distilled, seed {full['seed']}",
                "exact": full["points"],
                "distilled": core["size"],
                "ratio": full["points"] / core["size"],
                "exact_is": "counted",
            }
        )
        found.append(
            {
                "quantity": f"fidelity, the same, seed {full['seed']}",
                "exact": full["fidelity"],
                "distilled": core["fidelity"],
                "ratio": core["fidelity"] / full["fidelity"],
                "exact_is": "measured",
            }
        )
    return found
