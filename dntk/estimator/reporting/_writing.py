"""The page, put together and written; its charts beside it where they are asked for."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from dntk._progress import task
from dntk.archive import expanded, write_whole
from dntk.estimator.reporting import sections
from dntk.estimator.reporting.facts import Facts
from dntk.report.charts import Chart
from dntk.report.page import contents, note, section, write_page
from dntk.report.plots import require_matplotlib


def write(facts: Facts, path: str | Path, *, files: bool = False) -> None:
    """Write the page; with ``files`` every chart beside it as PNG and CSV.

    Raises
    ------
    ImportError
        Files are asked for, and matplotlib is not installed. Without it a page has numbers in place of charts.
    """
    if files:
        require_matplotlib()
    plots = importlib.util.find_spec("matplotlib") is not None
    charts: list[Chart] = []

    def drawn(found: tuple[list[str], list[Chart]]) -> list[str]:
        charts.extend(found[1])
        return sections.drawn(*found, plots=plots)

    parts: list[tuple[str, str, Callable[[], list[str]]]] = [
        ("verdict", "Verdict", lambda: sections.verdict(facts)),
        ("certificate", "Certificate", lambda: sections.certificate(facts)),
        ("unseen", "On held-out points", lambda: drawn(sections.unseen(facts))),
        ("spectrum", "Spectrum", lambda: drawn(sections.spectrum(facts))),
        ("lost", "What was lost", lambda: drawn(sections.lost(facts))),
        ("cost", "What it cost", lambda: sections.costs(facts)),
        ("images", "Inputs that were kept", lambda: sections.images(facts)),
        ("influence", "What predictions rest on", lambda: sections.influence(facts)),
        ("provenance", "Where it comes from", lambda: sections.provenance(facts)),
    ]
    with task("page", total=len(parts), unit="sections") as steps:
        every = [(name, title, make()) for name, title, make in steps.over(parts)]
    if not plots:
        every[0][2].append(note("Charts need matplotlib; their numbers are all here.", 'pip install "dntk[report]"'))
    body = [section(*part) for part in every]
    write_page(path, facts.title, body, contents([(name, title) for name, title, _ in every]))
    if files:
        _write_files(expanded(path), charts)


def _write_files(page: Path, charts: list[Chart]) -> None:
    for chart in charts:
        beside = page.with_name(f"{page.stem}-{chart.name}")
        write_whole(beside.with_name(beside.name + ".png"), chart.png())
        write_whole(beside.with_name(beside.name + ".csv"), chart.csv().encode())
