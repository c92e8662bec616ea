"""The command line. Exit codes: 0 done, 2 bad input with one clear line, 1 a fault."""

import importlib.metadata
import io
import sys

import typer
from rich.console import Console
from rich.table import Table

import dntk
from dntk._text import PLAIN
from dntk.backend import backends as installed

GROUP = "dntk.commands"
"""Entry points of commands that other packages add: a function that Typer can make a command of."""

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Distilled neural tangent kernels.")


@app.callback()
def _root() -> None:
    """Distilled neural tangent kernels."""


@app.command()
def backends() -> None:
    """List backends: what is installed, on which devices, and why not."""
    table = Table()
    for name in ("backend", "version", "devices", "differentiates", "why not"):
        table.add_column(name, overflow="fold")
    for status in installed().values():
        table.add_row(status.name, status.version, ", ".join(status.devices), status.autodiff, status.why_not)
    Console(width=None if sys.stdout.isatty() else 130, markup=False).print(table)


@app.command()
def merge(folder: str) -> None:
    """Join the shards of features or of a kernel in FOLDER, where all are done; every chunk is checked."""
    layout = dntk.merge(folder).layout
    typer.echo(f"{folder}: {' x '.join(map(str, layout.shape))} numbers of {layout.dtype}, {len(layout)} chunks, whole")


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


def _say(text: str) -> None:
    Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(f"dntk: {text}")


if __name__ == "__main__":
    main()
