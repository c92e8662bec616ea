"""The page of a run: what the paper says and what was found, every figure, every table over seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dntk.report.page import figure, heading, paragraph, table, write_page
from dntk_studies.reproduce.results import Results, Rows
from dntk_studies.reproduce.settings import Settings
from dntk_studies.reproduce.spread import shown
from dntk_studies.reproduce.tables import STAGES

_SMALL = {"mse": ".4g", "condition_number": ".3g", "smallest_eigenvalue": ".2e", "seconds": ".3g", "rows": ",.0f"}


def write(
    path: Path, results: Results, tables: Mapping[str, Rows], plots: Mapping[str, str], settings: Settings
) -> None:
    """Write the page; ``plots`` are SVG by name."""
    parts = [paragraph(_introduction(settings)), *_networks(results)]
    if "paper" in tables:
        parts += [heading("The paper, this run, the difference"), _comparison(tables["paper"])]
    parts += [part for name, text in _CAPTIONS.items() if name in plots for part in _plotted(name, text, plots)]
    main = settings.main.architecture
    for title, name, keys, columns, text in _TABLES:
        rows = [row for row in tables.get(name, []) if row.get("architecture", main) == main]
        if rows:
            parts += [heading(title), paragraph(text), _spread_table(rows, keys, columns)]
    if "exact" in tables:
        parts += [heading("Exact kernel regression"), paragraph(_EXACT), _exact(tables["exact"])]
    if "savings" in tables:
        parts += [heading("What is saved, and when it pays"), _savings(tables["savings"])]
    others = [row for row in tables.get("figure 3 over seeds", []) if row["architecture"] != main]
    if others:
        parts += [heading("Other networks"), paragraph(_OTHERS), _other_networks(others)]
    write_page(path, f"The paper's experiments on {settings.data}", parts)


def _introduction(settings: Settings) -> str:
    kind = "Quick run" if settings.quick else "Full run"
    return (
        f"{kind} of dntk reproduce on {settings.data}: {settings.main.architecture} of width {settings.main.width}, "
        f"{settings.per_class} distilled points per class by {_SELECTION}, sketches to k = "
        f"{settings.sketch_dim:,}, {settings.seeds} seeds (mean ± standard deviation; each draws another split, "
        "network, coreset and sketch). Configurations are chosen on validation points; everything is measured on test "
        "points. "
        "Fidelity: share of points where predictor and network choose the same class. Unseen labels: accuracy on "
        "groupings of the classes that no stage was shown. The paper has ImageNette, ResNet-18 of width 64 and 500 "
        "points by WMDD."
    )


_SELECTION = "RPCholesky on last-layer features"
_EXACT = (
    "Measured rows were run here (solves for one output, times the outputs). Extrapolated ones continue them twice: by "
    "the exponent fitted to the last three sizes, which is too low where a linear part still hides the quadratic one, "
    "and by the orders of growth. Bytes of the exact kernel and Jacobian rows follow from their definition."
)
_OTHERS = "The same experiment with other networks, at five gradients."
_CAPTIONS = {
    "figure 1": "Quality and conditioning against the number of distilled points.",
    "figure 2": "Spectra of each class's kernel, and truncation ranks at 5%.",
    "figure 3": "Quality against the number of gradients: as the paper solves it (s points or synthetic gradients with "
    "their s targets), and the best predictor in the same span. Bands are one standard deviation.",
    "figure 4": "Variance that the cluster-local eigenvectors miss, by three definitions.",
    "sketch": "Sketched against exact kernels.",
}
_TABLES: tuple[tuple[str, str, Sequence[str], Sequence[str], str], ...] = (
    (
        "Figure 3 as a table",
        "figure 3 over seeds",
        ("method", "solve", "asked"),
        ("accuracy", "fidelity", "mse", "trace_residual", "unseen"),
        "Accuracy at few gradients does not measure compression: one label-aware direction reproduces the regression "
        "on all points. Trace residual and unseen labels say what else is kept.",
    ),
    (
        "Figure 1 as a table",
        "figure 1 over seeds",
        ("base", "points"),
        ("accuracy", "fidelity", "mse", "condition_number", "smallest_eigenvalue"),
        "Base model trained on real or on distilled data.",
    ),
    (
        "Data distillation",
        "data over seeds",
        ("method", "points"),
        ("accuracy", "fidelity", "mse", "unseen", "rows", "seconds"),
        "Regression on all points of each method, with Jacobian rows and seconds, distillation included.",
    ),
    (
        "Stages, composed",
        "stages over seeds",
        ("method",),
        STAGES,
        "Root mean square distances relative to that of the network's outputs: data, sketch and gradients alone, "
        "together (at most their sum), and from the network. On the distilled points the last stage's distance is "
        "certified: the bound holds with probability 0.999 over its estimator's seeds.",
    ),
    (
        "Each stage on and off",
        "ablations",
        ("data", "gradients"),
        ("accuracy", "fidelity", "mse", "unseen"),
        "The sketch off is the row without k in the next table.",
    ),
    (
        "The sketch over k",
        "sketch over seeds",
        ("k",),
        ("error", "theory", "distance", "agreement", "fidelity"),
        "Relative Frobenius error of the classes' kernels and its Gaussian theory, distance and agreement of "
        "predictions with the exact kernel's; the row without k is the exact kernel.",
    ),
    (
        "What the distilled pipeline cost",
        "ledger over seeds",
        ("stage",),
        ("jacobian_rows", "flops", "nbytes", "seconds"),
        "Operations are counted from the sizes of the products that ran. Rows of the first stage are of the last layer "
        "alone: a forward pass each, and no backward pass through the network.",
    ),
)


def _networks(results: Results) -> list[str]:
    rows = results.tables.get("networks", [])
    header = ("network", "seed", "parameters", "training points", "epochs", "test accuracy", "seconds", "arithmetic")
    cells = [
        (
            f"{row['architecture']}, width {row['width']}",
            str(row["seed"]),
            f"{row['parameters']:,}",
            f"{row['training_points']:,}",
            str(row["epochs"]),
            f"{row['test_accuracy']:.4f}",
            f"{row['training_seconds']:.1f}",
            row["precision"],
        )
        for row in rows
    ]
    return [heading("Networks"), table(header, cells)] if cells else []


def _comparison(rows: Rows) -> str:
    header = ("quantity", "paper", "this run", "smallest", "largest", "difference", "note")
    return table(
        header,
        [
            (
                row["quantity"],
                row["paper"],
                f"{row['this_run']:.3f} ± {row['deviation']:.3f}",
                f"{row['smallest']:.3f}",
                f"{row['largest']:.3f}",
                f"{row['difference']:+.3f}",
                row["note"],
            )
            for row in rows
        ],
    )


def _plotted(name: str, text: str, plots: Mapping[str, str]) -> list[str]:
    return [heading(name[0].upper() + name[1:]), figure(plots[name], text)]


def _spread_table(rows: Rows, keys: Sequence[str], columns: Sequence[str]) -> str:
    header = [name.replace("_", " ") for name in (*keys, *columns)]
    return table(
        header, [[_cell(row[key]) for key in keys] + [shown(row, c, _form(c)) for c in columns] for row in rows]
    )


def _form(column: str) -> str:
    if column in ("flops", "nbytes", "jacobian_rows"):
        return ".3g"
    return _SMALL.get(column, ".4f" if column in STAGES else ".3f")


def _cell(value: Any) -> str:
    return "–" if value is None else str(value)


def _exact(rows: Rows) -> str:
    header = ("what", "how known", "Jacobian rows", "operations", "bytes", "seconds")
    costs = ("jacobian_rows", "flops", "nbytes", "seconds")
    return table(header, [[row["stage"], row["how"], *(f"{row[c]:.3g}" for c in costs)] for row in rows])


def _savings(rows: Rows) -> str:
    header = ("quantity", "exact or all", "distilled", "ratio", "the former is")
    cells = [
        (
            row["quantity"],
            f"{row['exact']:.4g}",
            f"{row['distilled']:.4g}",
            "–" if row["ratio"] is None else f"{row['ratio']:.4g}",
            row["exact_is"],
        )
        for row in rows
    ]
    return table(header, cells)


def _other_networks(rows: Rows) -> str:
    chosen = [row for row in rows if row["asked"] in (5, None)]
    keys = ("architecture", "method", "solve", "asked")
    return _spread_table(chosen, keys, ("accuracy", "fidelity", "mse", "trace_residual", "unseen"))
