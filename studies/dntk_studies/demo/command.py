"""``dntk demo``: progress on the terminal, verdict and table, and a report."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import dntk
from dntk.archive import expanded, write_whole
from dntk.report.plots import require_matplotlib
from dntk_studies.demo import _run, methods
from dntk_studies.demo._report import price_picture, write_demo_report
from dntk_studies.demo.methods._report import write_methods_report
from dntk_studies.demo.methods.table import tables as tables_of_methods
from dntk_studies.demo.table import tables


def demo(
    backend: Annotated[str, typer.Option(help="numpy or torch, or any installed backend.")] = "numpy",
    out: Annotated[Path, typer.Option(help="Folder for report.html.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Of the split, the network, the sketch and the points.")] = 0,
    full: Annotated[
        bool, typer.Option("--full", help="Keep more points, and compare every method of distilling gradients.")
    ] = False,
) -> None:
    """Distil the kernel of a network trained on real handwritten digits, and say what was lost."""
    require_matplotlib()
    out = expanded(out)
    if out.exists() and not out.is_dir():
        msg = f"--out {out} is a file: pass a folder."
        raise ValueError(msg)
    out.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 130)
    result = _watched(
        _run.STEPS + full, lambda progress: _run.run(backend=backend, seed=seed, full=full, progress=progress)
    )
    console.print(tables(result))
    write_demo_report(result, out / "report.html")
    write_whole(out / "price.svg", price_picture(result).encode())
    console.print(f"{result.seconds:.1f} seconds; report: {out / 'report.html'}", soft_wrap=True)
    if full:
        compared = _watched(methods.STEPS, lambda progress: methods.run(backend=backend, seed=seed, progress=progress))
        console.print(tables_of_methods(compared))
        write_methods_report(compared, out / "methods.html")
        console.print(f"{compared.seconds:.1f} seconds; report: {out / 'methods.html'}", soft_wrap=True)


def _watched(steps: int, work: Callable[[Callable[[str], None]], Any]) -> Any:
    """What ``work`` returns, its steps shown by a bar."""
    columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with dntk.progress(None), Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=steps)

        def progress(step: str) -> None:
            bar.update(task, description=step, advance=1)

        return work(progress)
