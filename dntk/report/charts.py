"""The charts of a fit: each with its numbers, which stand beside it as a table and can be written as CSV."""

import csv
import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dntk.report.page import figure, folded, table
from dntk.report.plots import as_svg, new_figure

_SHOWN = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart that has not been drawn.

    Parameters
    ----------
    name
        A word; part of the names of its files.
    caption, label
        What it is, and in words what can be seen on it.
    columns, rows
        Its numbers.
    draw
        Draws on matplotlib's axes.
    """

    name: str
    caption: str
    label: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[float, ...]]
    draw: Callable[[Any], None]

    def svg(self) -> str:
        """The drawing as SVG; needs matplotlib."""
        return as_svg(self._drawn())

    def png(self) -> bytes:
        """The drawing as PNG, dark on white."""
        stream = io.BytesIO()
        self._drawn().savefig(stream, format="png", dpi=150, facecolor="white")
        return stream.getvalue()

    def csv(self) -> str:
        """All its numbers, with a line of names."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return stream.getvalue()

    def html(self, *, drawn: bool) -> str:
        """The figure, where it can be drawn, and its numbers; of many rows those evenly spread."""
        places = np.unique(np.linspace(0, len(self.rows) - 1, min(_SHOWN, len(self.rows))).astype(int)).tolist()
        cells = [[f"{value:.6g}" for value in self.rows[place]] for place in places]
        said = f"{len(places)} of {len(self.rows)} rows" if len(places) < len(self.rows) else "all"
        told = table(self.columns, cells, f"{self.caption}: {said}")
        numbers = folded("The numbers" if drawn else self.caption, told)
        return (figure(self.svg(), self.caption, self.label) if drawn else "") + numbers

    def _drawn(self) -> Any:
        made, axes = new_figure((6.4, 3.6))
        axes.set_axisbelow(True)
        self.draw(axes)
        return made


def spectrum_chart(spectrum: Sequence[float], intervals: Sequence[tuple[float, float]], rank: int) -> Chart:
    """Eigenvalues by rank, with certified intervals of the leading ones where they are known."""
    known = [*intervals, *[(float("nan"), float("nan"))] * (len(spectrum) - len(intervals))]
    rows = [(place, value, *ends) for place, (value, ends) in enumerate(zip(spectrum, known, strict=True), start=1)]

    def draw(axes: Any) -> None:
        positive = [row for row in rows if row[1] > 0]
        axes.loglog([row[0] for row in positive], [row[1] for row in positive], color="#1f5fa8", lw=1.8, label="value")
        inside = [row for row in positive[: len(intervals)] if row[2] > 0]
        if inside:
            ranks, low, high = ([row[i] for row in inside] for i in (0, 2, 3))
            axes.fill_between(ranks, low, high, color="#b3432b", alpha=0.3, lw=0)
            axes.errorbar(
                ranks,
                [(a + b) / 2 for a, b in zip(low, high, strict=True)],
                [(b - a) / 2 for a, b in zip(low, high, strict=True)],
                fmt="none",
                color="#b3432b",
                capsize=2,
                lw=1,
                label="certified interval",
            )
        if rank:
            axes.axvline(rank, color="#555555", lw=1, ls="--", label=f"truncation rank {rank} (5%)")
        axes.set(xlabel="rank", ylabel="eigenvalue")
        axes.legend(frameon=False)

    first = f"from {spectrum[0]:.3g} down to {spectrum[-1]:.3g}" if spectrum else "none"
    return Chart(
        name="spectrum",
        caption=f"Eigenvalues of the mean kernel on the {len(spectrum):,} kept points",
        label=f"Line of {len(spectrum):,} eigenvalues, {first}; {rank} of them hold 95% of the trace.",
        columns=("rank", "eigenvalue", "lower", "upper"),
        rows=rows,
        draw=draw,
    )


def coverage_chart(shares: Sequence[float]) -> Chart:
    """How much of every leading eigenvalue the span keeps."""
    rows = [(place, share) for place, share in enumerate(shares, start=1)]

    def draw(axes: Any) -> None:
        axes.plot([row[0] for row in rows], [row[1] for row in rows], color="#1f5fa8", lw=1.4, marker=".")
        axes.set(xlabel="rank of the eigenvalue", ylabel="share kept", ylim=(-0.03, 1.05))

    return Chart(
        name="coverage",
        caption="Share of each leading eigenvalue of the kept points' kernel that the span keeps",
        label=f"{len(rows)} shares, the first {shares[0]:.1%}, the least {min(shares):.1%}.",
        columns=("rank", "share kept"),
        rows=rows,
        draw=draw,
    )


def fidelity_chart(curve: Sequence[tuple[int, float]]) -> Chart:
    """Fidelity on held-out points by how many directions of the span are used."""

    def draw(axes: Any) -> None:
        axes.plot([row[0] for row in curve], [row[1] for row in curve], color="#1f5fa8", lw=1.8, marker="o", ms=4)
        axes.set(xlabel="leading directions used, per output", ylabel="fidelity", ylim=(-0.03, 1.05))
        axes.xaxis.get_major_locator().set_params(integer=True)

    (first, low), (last, high) = curve[0], curve[-1]
    return Chart(
        name="fidelity",
        caption="Share of held-out points where predictor and network agree, by the number of directions used",
        label=f"Fidelity goes from {low:.1%} with {first} to {high:.1%} with all {last}.",
        columns=("directions", "fidelity"),
        rows=curve,
        draw=draw,
    )


def trust_chart(counts: Sequence[int]) -> Chart:
    """How many held-out points have how much of their gradient outside the span."""
    bins = len(counts)
    rows = [(place / bins, (place + 1) / bins, count) for place, count in enumerate(counts)]

    def draw(axes: Any) -> None:
        axes.bar([row[0] for row in rows], counts, width=1 / bins, align="edge", color="#1f5fa8", edgecolor="#ffffff")
        axes.set(xlabel="share of the gradient outside the span that was kept", ylabel="points", xlim=(0, 1))

    return Chart(
        name="trust",
        caption="How far held-out points lie outside what was kept: 0 within, 1 resting on nothing",
        label=f"Histogram of {sum(counts):,} points, most between {_tallest(counts):.2f} and "
        f"{_tallest(counts) + 1 / bins:.2f}.",
        columns=("from", "to", "points"),
        rows=rows,
        draw=draw,
    )


def reliability_chart(bins: Sequence[tuple[int, float, float]]) -> Chart:
    """How often the predicted class is right, by the probability that it was given."""
    filled = [row for row in bins if row[0]]

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="#555555", lw=1, ls="--", label="perfect")
        axes.plot(
            [row[1] for row in filled], [row[2] for row in filled], color="#1f5fa8", marker="o", lw=1.6, label="found"
        )
        axes.set(xlabel="probability of the predicted class", ylabel="share right", xlim=(0, 1.02), ylim=(-0.03, 1.05))
        axes.legend(frameon=False)

    return Chart(
        name="reliability",
        caption="How often the predicted class is right, by the probability that it was given",
        label=f"{len(filled)} bins that hold points; on the dashed line probabilities are right.",
        columns=("points", "mean probability", "share right"),
        rows=bins,
        draw=draw,
    )


def _tallest(counts: Sequence[int]) -> float:
    return max(range(len(counts)), key=lambda place: counts[place]) / len(counts)
