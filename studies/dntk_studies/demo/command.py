"""``dntk demo``: progress on the terminal, tables, and a report."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import dntk
from dntk.archive import expanded
from dntk.report.plots import require_matplotlib
from dntk_studies.demo._report import write_demo_report
from dntk_studies.demo._run import STEPS, run
from dntk_studies.demo.table import tables


def demo(
    backend: Annotated[str, typer.Option(help="numpy or torch, or any installed backend.")] = "numpy",
    out: Annotated[Path, typer.Option(help="Folder for report.html.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Of the split, the network, the sketch and the coreset.")] = 0,
) -> None:
    """Distil the kernel of a network trained on real handwritten digits, and say what was lost."""
    require_matplotlib()
    out = expanded(out)
    if out.exists() and not out.is_dir():
        msg = f"--out {out} is a file: pass a folder."
        raise ValueError(msg)
    out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with dntk.progress(None), Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=STEPS)

        def progress(step: str) -> None:
            bar.update(task, description=step, advance=1)

        result = run(backend=backend, seed=seed, progress=progress)
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(tables(result))
    write_demo_report(result, out / "report.html")
    console.print(f"{result.seconds:.1f} seconds; report: {out / 'report.html'}", soft_wrap=True)
