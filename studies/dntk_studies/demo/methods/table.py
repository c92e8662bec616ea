"""The tables of methods for a terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dntk.report.page import cost_cells
from dntk_studies.demo.methods.result import MethodsResult, Row


def tables(result: MethodsResult) -> Group:
    """Results, costs and a line on what they mean."""
    setting = (
        f"{result.points} training points, {result.outputs} outputs, P = {result.parameters:,} parameters; coreset of "
        f"{result.coreset}, {result.sketch}; ridge {result.ridge:.3g} by leave-one-out; truncation rank "
        f"{result.truncation_rank} at 5%, condition number {result.condition_number:.3g}"
    )
    return Group(Text(setting), _results(result.rows), _costs(result))


def _results(rows: tuple[Row, ...]) -> Table:
    table = Table(title="What each method keeps, on test points", title_justify="left")
    table.add_column("method", no_wrap=True)
    for name in ("gradients", "compression", "accuracy", "fidelity", "MSE", "trace residual", "unseen labels"):
        table.add_column(name, justify="right")
    for row in rows:
        if row.method.startswith("LocalGlobal (") or row.method.startswith("exact"):
            table.add_section()
        table.add_row(*cells(row))
    return table


def cells(row: Row) -> tuple[str, ...]:
    """The row's entries as text; a dash where a column does not apply."""
    return (
        row.method,
        "–" if row.gradients is None else f"{row.gradients}",
        "–" if row.compression is None else f"{row.compression:.3g}x",
        f"{row.accuracy:.3f}",
        f"{row.fidelity:.3f}",
        f"{row.mse:.4f}",
        "–" if row.trace_residual is None else f"{row.trace_residual:.4f}",
        "–" if row.unseen is None else f"{row.unseen:.3f}",
    )


def _costs(result: MethodsResult) -> Table:
    table = Table(title="What it cost", title_justify="left")
    table.add_column("stage", no_wrap=True)
    for name in ("Jacobian rows", "GFLOP", "MB kept", "seconds"):
        table.add_column(name, justify="right")
    for cost in result.ledger.stages:
        table.add_row(*cost_cells(cost))
    table.add_section()
    table.add_row(*cost_cells(result.ledger.total()))
    table.add_row(*cost_cells(result.exact))
    return table
