"""The figures' plots, drawn from rows over seeds; bands and bars are one standard deviation."""

import io
from collections.abc import Callable
from typing import Any

from dntk.report.plots import require_matplotlib
from dntk_studies.reproduce._figure_3 import FULL
from dntk_studies.reproduce.results import Rows

COLORS = ("#1f5fa8", "#b3432b", "#3c8a4f", "#8a5fb0", "#b58a1b", "#333333", "#2a9d9d", "#d0679d", "#7a7a7a", "#5b3a1e")
Plot = Any


def figure_1(rows: Rows) -> Plot:
    """Five panels over the number of distilled points, one line per base model."""
    panels = (
        ("accuracy", "accuracy", False),
        ("fidelity", "fidelity", False),
        ("mse", "MSE", True),
        ("condition_number", "condition number", True),
        ("smallest_eigenvalue", "smallest eigenvalue / mean diagonal", True),
    )
    figure, axes = _panels(1, 5, (15, 3.2))
    for axis, (column, label, logarithmic) in zip(axes, panels, strict=True):
        for base, color in zip(("real", "distilled"), COLORS, strict=False):
            _line(
                axis, [row for row in rows if row["base"] == base], "points", column, color, f"trained on {base} data"
            )
        axis.set(xlabel="distilled points", ylabel=label, xscale="log")
        if logarithmic:
            axis.set_yscale("log")
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def figure_2(rows: Rows) -> Plot:
    """Spectra of K^c on the points of class c, one line per class (first seed), and the ranks of all seeds."""
    figure, (left, right) = _panels(1, 2, (10, 3.6))
    first = [row for row in rows if row["seed"] == rows[0]["seed"]]
    for row in first:
        color = COLORS[row["class"] % len(COLORS)]
        values = [value for value in row["spectrum"] if value > 1e-12]
        left.semilogy(range(1, len(values) + 1), values, color=color, lw=1.3, label=f"class {row['class']}")
        left.axvline(row["rank_own"], color=color, lw=0.6, ls=":")
    left.set(xlabel="rank", ylabel="eigenvalue of K^c / trace, own points")
    left.legend(frameon=False, fontsize=7, ncols=2)
    for shift, (column, label) in enumerate((("rank_own", "K^c, own points"), ("rank_own_mean", "K̄, own points"))):
        classes = [row["class"] + 0.3 * shift for row in rows]
        right.plot(classes, [row[column] for row in rows], ".", color=COLORS[shift], label=label)
    right.axhspan(31 * rows[0]["points"] / 50, 41 * rows[0]["points"] / 50, color="#ddd", label="paper: 31 to 41 of 50")
    right.set(xlabel="class", ylabel=f"truncation rank of {rows[0]['points']} (5%)")
    right.legend(frameon=False, fontsize=8)
    return figure


def figure_3(rows: Rows) -> Plot:
    """Accuracy, fidelity and MSE over the number of gradients; above as the paper solves, below in the same span."""
    figure, grid = _panels(2, 3, (15, 7))
    names = [name for name in dict.fromkeys(row["method"] for row in rows) if name != FULL]
    full = next((row for row in rows if row["method"] == FULL), None)
    for line, solve in zip(grid, ("paper", "same span"), strict=True):
        for axis, (column, label) in zip(line, _SCORES, strict=True):
            for name, color in zip(names, COLORS, strict=False):
                mine = [row for row in rows if row["method"] == name and row["solve"] == solve]
                _line(axis, mine, "size", column, color, name)
            if full is not None:
                axis.axhline(full[column], color="#555", lw=1, ls="--", label=FULL)
            axis.set(xlabel="gradients per class", ylabel=f"{label}, {solve}", xscale="log")
        line[2].set_yscale("log")
    grid[0][0].legend(frameon=False, fontsize=7)
    return figure


def figure_4(rows: Rows) -> Plot:
    """The three gaps per class, for both choices of local ranks, with the paper's range."""
    figure, axes = _panels(1, 2, (12, 3.6))
    for axis, local in zip(axes, dict.fromkeys(row["local"] for row in rows), strict=False):
        mine = [row for row in rows if row["local"] == local]
        for shift, (name, color) in enumerate(zip(("energy", "largest", "rayleigh"), COLORS, strict=False)):
            where = [i + 0.25 * (shift - 1) for i in range(len(mine))]
            heights = [100 * row[name] for row in mine]
            axis.bar(where, heights, 0.25, yerr=[100 * row[f"{name}_sd"] for row in mine], color=color, label=name)
        axis.axhspan(12, 15, color="#ddd", zorder=0, label="paper: 12 to 15%")
        names = [row["kernel"].removeprefix("class ") for row in mine]
        axis.set_xticks(range(len(mine)), names, rotation=60 if len(names[-1]) > 5 else 0)
        axis.set(xlabel="class", ylabel="coverage gap (%)", title=f"local eigenvectors: {local}")
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def sketch_sweep(rows: Rows) -> Plot:
    """Error of the sketched kernels over k, and its theory."""
    figure, (left, right) = _panels(1, 2, (10, 3.4))
    mine = [row for row in rows if row["k"] is not None]
    _line(left, mine, "k", "error", COLORS[0], "measured")
    left.plot([row["k"] for row in mine], [row["theory"] for row in mine], "--", color="#555", label="Gaussian theory")
    left.set(xscale="log", yscale="log", xlabel="k", ylabel="‖K̂ − K‖ / ‖K‖, Frobenius")
    left.legend(frameon=False)
    _line(right, mine, "k", "distance", COLORS[1], "distance of predictions")
    right.set(xscale="log", yscale="log", xlabel="k", ylabel="distance from exact regression / rms of outputs")
    return figure


_SCORES = (("accuracy", "accuracy"), ("fidelity", "fidelity"), ("mse", "MSE"))


def _line(axis: Any, rows: Rows, x: str, y: str, color: str, label: str) -> None:
    rows = [row for row in rows if row[x] is not None and row[y] is not None]
    where = [row[x] for row in rows]
    middle = [row[y] for row in rows]
    axis.plot(where, middle, color=color, lw=1.6, marker="o", ms=3, label=label)
    if rows and rows[0]["seeds"] > 1:
        low = [row[y] - row[f"{y}_sd"] for row in rows]
        high = [row[y] + row[f"{y}_sd"] for row in rows]
        axis.fill_between(where, low, high, color=color, alpha=0.12, lw=0)


def _panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Plot, Any]:
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns)
    for axis in axes.flat:
        axis.grid(color="#ddd", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def as_png(plot: Plot) -> bytes:
    """The plot as a PNG file."""
    stream = io.BytesIO()
    plot.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()


def as_svg(plot: Plot) -> str:
    """The plot as an SVG element."""
    stream = io.StringIO()
    plot.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


PLOTS: dict[str, tuple[str, Callable[[Rows], Plot]]] = {
    "figure 1": ("figure 1 over seeds", figure_1),
    "figure 2": ("figure 2", figure_2),
    "figure 3": ("figure 3 over seeds", figure_3),
    "figure 4": ("figure 4 over seeds", figure_4),
    "sketch": ("sketch over seeds", sketch_sweep),
}
"""Plots by name: the table each is drawn from, for the main network alone, and how."""
