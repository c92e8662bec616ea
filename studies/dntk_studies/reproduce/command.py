"""``dntk reproduce``: progress on the terminal, the comparison with the paper at the end."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import dntk
from dntk.archive import expanded
from dntk_studies.reproduce._presets import preset
from dntk_studies.reproduce._run import figures_of, prepare, run


def reproduce(
    figure: Annotated[
        str, typer.Option(help="1, 2, 3, 4, or all, which adds costs, certificates and ablations.")
    ] = "all",
    data: Annotated[
        str | None, typer.Option(help="cifar10 (the default), fashion-mnist, digits, imagenette or imagewoof.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the data are; imagenette and imagewoof need it.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small run; of the digits where --data is not given.")
    ] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of the main network.")] = None,
    other_seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of the other networks.")] = None,
    full_seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds with regression on all points and with synthesised data.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of results; a run that was interrupted resumes.")] = None,
) -> None:
    """Repeat the paper's experiments on real images, and what its readers asked for."""
    figures = figures_of(figure)
    asked = {"seeds": seeds, "other_seeds": other_seeds, "full_seeds": full_seeds}
    counts: dict[str, Any] = {name: count for name, count in asked.items() if count is not None}
    settings = dataclasses.replace(preset(data or ("digits" if quick else "cifar10"), quick=quick), **counts)
    folder = expanded(out or f"reproduce-{settings.data}" + ("-quick" if quick else ""))
    directory = None if data_dir is None else expanded(data_dir)
    if directory is not None and not directory.is_dir():
        msg = f"--data-dir {directory} is no folder: pass the one that has the data, or make it first."
        raise ValueError(msg)
    console = Console(width=None if sys.stdout.isatty() else 130)
    columns = (TextColumn("{task.description:<48}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with dntk.progress(None), Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def progress(step: str) -> None:
            bar.update(task, description=step)

        prepared = prepare(settings, figures, folder, directory, progress)
        bar.console.print(f"{prepared.units} units of work; needs {prepared.needs}", soft_wrap=True)
        bar.update(task, total=prepared.units)
        page = run(prepared, lambda: bar.advance(task))
    console.print(f"page: {page}; tables: {folder / 'tables'}; plots: {folder / 'plots'}", soft_wrap=True)
