"""The command line. Exit codes: 0 done, 2 bad input with one clear line, 1 a fault, 130 interrupted."""

import dataclasses
import importlib.metadata
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import dntk
from dntk._text import PLAIN
from dntk.archive import expanded
from dntk.backend import backends as installed

GROUP = "dntk.commands"
"""Entry points of commands that other packages add: a function that Typer can make a command of."""

app = typer.Typer(no_args_is_help=True, help="Distilled neural tangent kernels.")
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on standard output.")]


def _version(asked: bool) -> None:
    if asked:
        _echo(f"dntk {dntk.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and stop.")
    ] = False,
) -> None:
    """Distilled neural tangent kernels."""


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A TOML file: network, data, fit and output.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it will cost, and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Distil a kernel as CONFIG says; the same command goes on after an interruption.

    The functions that CONFIG names are called: run only configurations that you would run as a program.
    """
    from dntk import runs  # what a fit needs, which the other commands do without

    prepared = runs.prepare(runs.read(config))
    if dry_run:
        plan = prepared.plan()
        _print_json(dataclasses.asdict(plan)) if as_json else _echo(str(plan))
        return
    try:
        outcome = prepared.run()
    except KeyboardInterrupt:
        kept = prepared.configuration.output["checkpoint"]
        _say("interrupted" + ("; the same command goes on from the stages that ended" if kept else ""))
        raise typer.Exit(130) from None
    if as_json:
        _print_json(outcome.summary.plain())
        return
    _echo(outcome.summary.verdict)
    for choice in outcome.summary.choices:
        _echo(f"  {choice}")
    if outcome.repeated is not None:
        same = "the same as in" if outcome.repeated else "not bit for bit those of"
        _echo(f"  the weights are {same} the run that was in the folder")
    _echo(f"fit, summary.json and report.html: {outcome.folder}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    out: Annotated[Path | None, typer.Option(help="The page; default: report.html in FOLDER.")] = None,
    files: Annotated[bool, typer.Option("--files", help="Write every chart beside it, as PNG and CSV.")] = False,
) -> None:
    """Write the page of a run again, from its summary; no network is needed, and nothing is executed."""
    from dntk import runs

    folder = expanded(folder)
    page = folder / "report.html" if out is None else expanded(out)
    runs.write_report(runs.read_summary(folder), page, files=files)
    _echo(str(page))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of two runs or more.")], as_json: Json = False
) -> None:
    """Set runs side by side: what was kept, lost and spent, and whether they are like for like."""
    from dntk import runs

    found = {str(folder): runs.read_summary(expanded(folder)) for folder in folders}
    rows, notes = runs.compared(found)
    if as_json:
        _print_json({"runs": {name: summary.plain() for name, summary in found.items()}, "notes": notes})
        return
    _print_table(rows)
    for note in notes:
        _echo(note)


@app.command()
def backends(as_json: Json = False) -> None:
    """List backends: what is installed, on which devices, and why not."""
    if as_json:
        _print_json({status.name: dataclasses.asdict(status) for status in installed().values()})
        return
    rows: list[tuple[str, ...]] = [("name", "version", "devices", "differentiates", "why not")]
    for status in installed().values():
        rows.append((status.name, status.version, ", ".join(status.devices), status.autodiff, status.why_not))
    _print_table(rows)


@app.command()
def merge(folder: str, as_json: Json = False) -> None:
    """Join the shards of features or of a kernel in FOLDER, where all are done; every chunk is checked."""
    layout = dntk.merge(folder).layout
    if as_json:
        _print_json({"folder": folder, "shape": layout.shape, "dtype": layout.dtype, "chunks": len(layout)})
        return
    _echo(f"{folder}: {' x '.join(map(str, layout.shape))} numbers of {layout.dtype}, {len(layout)} chunks, whole")


def add_commands() -> None:
    """Add the commands of installed packages; one that cannot be loaded is said on standard error and left out."""
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        try:
            app.command(name=point.name)(point.load())
        except Exception as error:  # one broken package must not stop the other commands
            _say(f"the command {point.name!r} of {point.value} cannot be loaded ({error}): reinstall its package.")


def main() -> None:
    """Run the command line; expected errors become one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of ASCII alone gets words for what it lacks
            stream.reconfigure(errors=PLAIN)
    add_commands()
    try:
        app(standalone_mode=True)
    except (ValueError, TypeError, ImportError, OSError) as error:
        _say(str(error))
        raise SystemExit(2) from None


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    table = Table()
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows[1:]:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 130, markup=False).print(table)


def _print_json(value: Any) -> None:
    _echo(json.dumps(value, indent=2))


def _echo(text: str) -> None:
    """Print a line. Not by Click, which takes a terminal of ASCII alone for one of UTF-8."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(f"dntk: {text}")


if __name__ == "__main__":
    main()
