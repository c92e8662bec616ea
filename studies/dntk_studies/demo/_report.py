"""The demo's report."""

from pathlib import Path

from dntk.report.page import cost_cells, figure, heading, paragraph, table, write_page
from dntk.report.plots import price_plot, spectrum_plot
from dntk_studies.demo.result import Demo
from dntk_studies.demo.table import COLUMNS, lines, note, statement, verdict


def price_picture(demo: Demo) -> str:
    """What the exact and the distilled kernel cost, as SVG."""
    prices = {
        "Jacobian rows": (demo.exact.rows, demo.distilled.rows),
        "MB kept": (demo.exact.nbytes / 1e6, demo.distilled.nbytes / 1e6),
        "seconds": (demo.exact.seconds, demo.distilled.seconds),
    }
    return price_plot(prices, ("exact kernel", "distilled"))


def write_demo_report(demo: Demo, path: str | Path) -> None:
    """Write ``demo`` as one self-contained HTML page, verdict first."""
    costs = [*demo.ledger.stages, demo.ledger.total()]
    parts = [
        heading(verdict(demo)),
        paragraph(statement(demo)),
        figure(price_picture(demo), "What it costs; the exact seconds are extrapolated."),
        table(COLUMNS, lines(demo)),
        paragraph(note(demo)),
        heading("Where the distilled kernel's cost goes"),
        table(("stage", "Jacobian rows", "GFLOP", "MB kept", "seconds"), [cost_cells(cost) for cost in costs]),
        paragraph(f"Operations are counted from the sizes of the products that ran. Sketch: {demo.sketch}."),
        heading("The kernel on the kept images"),
        figure(
            spectrum_plot(demo.spectrum, demo.truncation_rank),
            "Eigenvalues of the mean kernel: how many directions the network has learnt.",
        ),
        heading("The certificate"),
        _certificate(str(demo.certificate)),
    ]
    write_page(path, "dntk: digits, distilled", parts)


def _certificate(text: str) -> str:
    """A table of its lines, which begin with what they are about, 13 wide, or go on with the one above."""
    said, *lines_below = text.replace("\n" + " " * 13, "; ").splitlines()
    return table(("of", "what was lost"), [(line[:13].strip(), line[13:]) for line in lines_below], said, words=True)
