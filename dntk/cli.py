"""The command line. Exit codes: 0 done, 2 bad input with one clear line, 1 a fault."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Distilled neural tangent kernels.")


@app.callback()
def _root() -> None:
    """Distilled neural tangent kernels."""


@app.command()
def demo(
    backend: Annotated[str, typer.Option(help="numpy or torch, or any installed backend.")] = "numpy",
    out: Annotated[Path, typer.Option(help="Folder for report.html.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Of the split, the network, the sketch and the coreset.")] = 0,
) -> None:
    """Distil the kernel of a network trained on real handwritten digits, and say what was lost."""
    from dntk import demo as job
    from dntk.demo.run import STEPS
    from dntk.demo.table import tables
    from dntk.report import write_demo_report
    from dntk.report.plots import require_matplotlib

    require_matplotlib()
    if out.exists() and not out.is_dir():
        msg = f"--out {out} is a file: pass a folder."
        raise ValueError(msg)
    out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=STEPS)

        def progress(step: str) -> None:
            bar.update(task, description=step, advance=1)

        result = job.run(backend=backend, seed=seed, progress=progress)
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(tables(result))
    write_demo_report(result, out / "report.html")
    console.print(f"{result.seconds:.1f} seconds; report: {out / 'report.html'}", soft_wrap=True)


@app.command()
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
    out: Annotated[Path | None, typer.Option(help="Folder of results; a run that was interrupted resumes.")] = None,
) -> None:
    """Repeat the paper's experiments on real images, and what its readers asked for."""
    from dntk.reproduce.command import reproduce as job

    job(figure=figure, data=data, data_dir=data_dir, quick=quick, out=out)


@app.command()
def backends() -> None:
    """List backends: what is installed, on which devices, and why not."""
    from dntk.backend import backends as installed

    table = Table()
    for name in ("backend", "version", "devices", "differentiates", "why not"):
        table.add_column(name, overflow="fold")
    for status in installed().values():
        table.add_row(status.name, status.version, ", ".join(status.devices), status.autodiff, status.why_not)
    Console(width=None if sys.stdout.isatty() else 130, markup=False).print(table)


def main() -> None:
    """Run the command line; expected errors become one line and exit code 2."""
    try:
        app(standalone_mode=True)
    except (ValueError, TypeError, ImportError, OSError) as error:
        Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(f"dntk: {error}")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
