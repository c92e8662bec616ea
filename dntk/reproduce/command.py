"""``dntk reproduce``: progress on the terminal, the comparison with the paper at the end."""

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dntk.reproduce.presets import preset
from dntk.reproduce.run import figures_of, prepare, run


def reproduce(*, figure: str, data: str | None, data_dir: Path | None, quick: bool, out: Path | None) -> None:
    """Run what the options ask for, and say where its page is."""
    figures = figures_of(figure)
    settings = preset(data or ("digits" if quick else "cifar10"), quick=quick)
    folder = out or Path(f"reproduce-{settings.data}" + ("-quick" if quick else ""))
    console = Console(width=None if sys.stdout.isatty() else 130)
    columns = (TextColumn("{task.description:<48}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def progress(step: str) -> None:
            bar.update(task, description=step)

        prepared = prepare(settings, figures, folder, data_dir, progress)
        bar.console.print(f"{prepared.units} units of work; needs {prepared.needs}", soft_wrap=True)
        bar.update(task, total=prepared.units)
        page = run(prepared, lambda: bar.advance(task))
    console.print(f"page: {page}; tables: {folder / 'tables'}; plots: {folder / 'plots'}", soft_wrap=True)
