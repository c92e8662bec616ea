"""The report of a fit."""

import dataclasses
from pathlib import Path

from dntk.backend import backend_of
from dntk.estimator.state import FittedState
from dntk.report.page import cost_cells, figure, heading, table, write_page
from dntk.report.plots import spectrum_plot


def _stages(state: FittedState) -> list[tuple[str, ...]]:
    stages = state.certificate().stages
    return [(stage.stage, f"{stage.error:.3%}", stage.measure, stage.theorem) for stage in stages]


def write_report(state: FittedState, path: str | Path) -> None:
    """Write losses, spectrum and costs of a fit as one self-contained HTML page."""
    losses = dataclasses.asdict(state.losses)
    spectrum = [float(value) for value in backend_of(state.spectrum).to_numpy(state.spectrum)]
    certificate = _stages(state)  # made here, so that its cost is told, too
    costs = [*state.costs.stages, state.costs.total()]
    parts = [
        heading("What was lost"),
        table(("quantity", "value"), [(name.replace("_", " "), f"{value:.5g}") for name, value in losses.items()]),
        heading("Certificate"),
        table(("stage", "error", "of what", "theorem"), certificate),
        heading("The kernel on the kept points"),
        figure(spectrum_plot(spectrum, state.losses.truncation_rank), f"Ridge {state.ridge:.3g}."),
        heading("What it cost"),
        table(("stage", "Jacobian rows", "GFLOP", "MB kept", "seconds"), [cost_cells(cost) for cost in costs]),
    ]
    write_page(path, "dntk: a distilled kernel", parts)
