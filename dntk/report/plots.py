"""Plots as SVG text, by matplotlib."""

import io
from collections.abc import Mapping, Sequence
from typing import Any


def require_matplotlib() -> None:
    """Raise ``ImportError`` with the remedy where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        msg = 'reports need matplotlib, which is not installed: pip install "dntk[report]"'
        raise ImportError(msg) from error


def spectrum_plot(spectrum: Sequence[float], truncation_rank: int) -> str:
    """Eigenvalues over their rank, both logarithmic, with the truncation rank marked."""
    figure, axes = new_figure()
    positive = [value for value in spectrum if value > 0]
    axes.loglog(range(1, len(positive) + 1), positive, color="#1f5fa8", lw=1.8)
    if truncation_rank:
        axes.axvline(truncation_rank, color="#b3432b", lw=1, ls="--", label=f"truncation rank {truncation_rank} (5%)")
        axes.legend(frameon=False)
    axes.set(xlabel="rank", ylabel="eigenvalue of the mean kernel")
    return as_svg(figure)


def coverage_plot(coverage: Mapping[int, Sequence[float]]) -> str:
    """Energy coverage of leading eigenvectors, one line per number of gradients."""
    figure, axes = new_figure()
    for (size, values), color in zip(coverage.items(), _COLORS, strict=False):
        axes.plot(range(1, len(values) + 1), values, color=color, lw=1.6, marker=".", label=f"{size} gradients")
    axes.set(xlabel="eigenvector of the mean kernel", ylabel="energy coverage", ylim=(-0.03, 1.03))
    axes.legend(frameon=False)
    return as_svg(figure)


def fidelity_plot(curves: Mapping[str, tuple[Sequence[int], Sequence[float]]], reference: float) -> str:
    """Fidelity over the number of gradients, one line per method, with full regression as a level."""
    figure, axes = new_figure()
    for (name, (sizes, values)), color in zip(curves.items(), _COLORS, strict=False):
        axes.plot(sizes, values, color=color, lw=1.8, marker="o", ms=4, label=name)
    axes.axhline(reference, color="#555", lw=1, ls="--", label="all coreset gradients")
    axes.set(xlabel="synthetic gradients per output", ylabel="fidelity on test points")
    axes.legend(frameon=False)
    return as_svg(figure)


def price_plot(prices: Mapping[str, tuple[float, float]], names: tuple[str, str]) -> str:
    """Two prices per quantity as bars on a logarithmic axis, each with its value."""
    figure, axes = new_figure()
    for side, (name, color) in enumerate(zip(names, _COLORS, strict=False)):
        places = [row + 0.4 * (side - 0.5) for row in range(len(prices))]
        bars = axes.barh(places, [pair[side] for pair in prices.values()], height=0.36, color=color, label=name)
        axes.bar_label(bars, fmt=_price, padding=3, fontsize=9)
    axes.set(xscale="log", yticks=range(len(prices)), yticklabels=list(prices))
    axes.set_axisbelow(True)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.legend(frameon=False)
    return as_svg(figure)


def _price(value: float) -> str:
    """Whole from a hundred on, else three figures: 116,730 and 52.2, never 1.17e+05."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_COLORS = ("#1f5fa8", "#b3432b", "#3c8a4f", "#8a5fb0", "#b58a1b", "#333333")


def new_figure(size: tuple[float, float] = (7.2, 3.6)) -> tuple[Any, Any]:
    """A figure with one pair of axes, in the style of all plots."""
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color="#ddd", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def as_svg(figure: Any) -> str:
    """A figure as SVG, the same text whenever it is drawn."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "dntk"}):  # the same plot is the same text
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def trajectory_plot(panels: Mapping[str, tuple[Any, Any, Any]], labels: Sequence[Any] | None) -> str:
    """Quantities over checkpoints, a panel each, with their intervals as bands; eigenvalues on a logarithmic axis."""
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(panels), 3.0), layout="constrained")
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, (values, lower, upper)) in zip(every, panels.items(), strict=True):
        columns = values.reshape(len(values), -1).T
        ends = [part.reshape(len(values), -1).T for part in (lower, upper)]
        steps = range(len(values))
        for i, column in enumerate(columns):
            color = _COLORS[i % len(_COLORS)]
            axes.plot(steps, column, color=color, lw=1.4, marker=".")
            axes.fill_between(steps, ends[0][i], ends[1][i], color=color, alpha=0.15, lw=0)
        if len(columns) > 1:
            axes.set_yscale("log")
        axes.set(title=name, xlabel="checkpoint")
        if labels is not None:
            axes.set_xticks(list(steps), [str(label) for label in labels])
    return as_svg(figure)
