"""The whole reproduction: settings checked, everything computed or read back, page, tables and plots written."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from dntk.archive import write_whole
from dntk.report.plots import require_matplotlib
from dntk_studies.networks import Progress, find_trainer
from dntk_studies.reproduce import plots, tables
from dntk_studies.reproduce._page import write as write_page
from dntk_studies.reproduce.images import fingerprint, load_images
from dntk_studies.reproduce.needs import Needs, estimate, require
from dntk_studies.reproduce.results import Results, collect, count
from dntk_studies.reproduce.settings import FIGURES, Settings
from dntk_studies.reproduce.units import open_units
from dntk_studies.reproduce.workshop import Workshop

PAGE = "reproduction.html"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that may start: its workshop, the figures, what it needs and how many units it has."""

    shop: Workshop
    figures: tuple[str, ...]
    needs: Needs
    units: int


def figures_of(figure: str) -> tuple[str, ...]:
    """The figures that ``--figure`` names.

    Raises
    ------
    ValueError
        There is no such figure.
    """
    if figure == "all":
        return FIGURES
    if figure not in FIGURES:
        msg = f"--figure {figure}: expected one of {', '.join(FIGURES)}, all."
        raise ValueError(msg)
    return (figure,)


def prepare(
    settings: Settings, figures: tuple[str, ...], out: Path, directory: Path | None, progress: Progress
) -> Prepared:
    """Data read, needs compared with the machine, and the folder opened; nothing is computed.

    Raises
    ------
    FileNotFoundError
        The data are missing.
    ImportError
        No framework that trains networks, or matplotlib, is installed.
    ValueError
        The folder holds another configuration.
    OSError
        Too little memory or disk.
    """
    from dntk import __version__

    require_matplotlib()
    backend, trainer = find_trainer()
    progress(f"reading {settings.data}")
    images = load_images(settings, 0, directory)
    needs = estimate(settings, images, trainer)
    require(needs, out)
    units = open_units(out, settings, fingerprint(images), __version__)
    shop = Workshop(
        settings=settings,
        units=units,
        backend=backend,
        trainer=trainer,
        directory=directory,
        progress=progress,
        kept={"images-0": images},
    )
    return Prepared(shop=shop, figures=figures, needs=needs, units=count(shop, figures))


def run(prepared: Prepared, done: Callable[[], None] = lambda: None) -> Path:
    """Compute what is not stored, write everything, and return the path of the page."""
    shop = prepared.shop
    results = collect(shop, prepared.figures, done)
    shop.progress("writing tables, plots and the page")
    return write(shop, results)


def write(shop: Workshop, results: Results) -> Path:
    """Page, CSV and PNG of results."""
    settings, out = shop.settings, shop.units.folder
    images = shop.images(0)
    derived = tables.derived(results, settings, len(images.pool.y), len(images.train.y))
    everything = {**results.tables, **derived}
    for name, rows in everything.items():
        tables.write_csv(out / "tables" / f"{name.replace(' ', '-')}.csv", rows)
    main, drawn = settings.main.architecture, {}
    for name, (source, draw) in plots.PLOTS.items():
        rows = [row for row in everything.get(source, []) if row.get("architecture", main) == main]
        if rows:
            plot = draw(rows)
            write_whole(out / "plots" / f"{name.replace(' ', '-')}.png", plots.as_png(plot))
            drawn[name] = plots.as_svg(plot)
    if results.exact is not None:
        write_whole(out / "tables" / "exact.json", json.dumps(results.exact, indent=2).encode())
    write_page(out / PAGE, results, derived, drawn, settings)
    return out / PAGE
