"""The page of a run, from its summary alone: no network is needed, and nothing is executed."""

import dataclasses
import importlib.util
import json
from pathlib import Path

from dntk.ledger import StageCost
from dntk.report.page import cost_cells, figure, heading, paragraph, table, write_page
from dntk.report.plots import spectrum_plot
from dntk.runs.summary import Summary


def write_report(summary: Summary, path: str | Path) -> None:
    """Write the verdict, what was lost and spent, the spectrum and where all comes from as one HTML page."""
    parts = [
        paragraph(summary.verdict),
        *(paragraph(choice) for choice in summary.choices),
        *_unseen(summary),
        heading("What was lost"),
        table(("quantity", "value"), _losses(summary)),
        *_certificate(summary),
        heading("The kernel on the kept points"),
        _spectrum(summary),
        heading("What it cost"),
        table(("stage", "Jacobian rows", "GFLOP", "MB kept", "seconds"), [cost_cells(c) for c in _costs(summary)]),
        heading("Where it comes from"),
        table(("what", "value"), _provenance(summary)),
    ]
    write_page(path, "dntk: a run", parts)


def _losses(summary: Summary) -> list[tuple[str, str]]:
    losses = dataclasses.asdict(summary.losses)
    return [(name.replace("_", " "), f"{value:.5g}") for name, value in losses.items()]


def _unseen(summary: Summary) -> list[str]:
    if summary.unseen is None:
        return []
    shares = ("fidelity", "accuracy", "network_accuracy")
    rows = [
        (name.replace("_", " "), f"{summary.unseen[name]:.2%}") for name in shares if summary.unseen[name] is not None
    ]
    return [heading(f"On {summary.unseen['points']:,} points that were held out"), table(("share", "value"), rows)]


def _certificate(summary: Summary) -> list[str]:
    if summary.certificate is None:
        return [paragraph("No certificate was asked for: certify = true in [output] makes one.")]
    stages = summary.certificate["stages"]
    rows = [(s["stage"], f"{s['error']:.3%}", s["measure"], s["theorem"]) for s in stages]
    return [heading("Certificate"), table(("stage", "error", "of what", "theorem"), rows)]


def _spectrum(summary: Summary) -> str:
    if importlib.util.find_spec("matplotlib") is None:
        return paragraph('The plot of the spectrum needs matplotlib: pip install "dntk[report]".')
    return figure(spectrum_plot(summary.spectrum, summary.losses.truncation_rank), f"Ridge {summary.ridge:.3g}.")


def _costs(summary: Summary) -> list[StageCost]:
    return [*summary.ledger.stages, summary.ledger.total()]


def _provenance(summary: Summary) -> list[tuple[str, str]]:
    rows = [(f"SHA-256 of {name}", digest) for name, digest in summary.digests.items()]
    rows += [(f"[{name}]", json.dumps(keys)) for name, keys in summary.configuration.items()]
    return [*rows, *((f"version of {name}", version) for name, version in summary.made_by.items())]
