"""Runs side by side."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from dntk.runs.summary import Summary

_Cell: TypeAlias = Callable[[Summary], str]


def compared(runs: Mapping[str, Summary]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Rows of a table with one column for every run, and in words what the runs do not share.

    Raises
    ------
    ValueError
        There are fewer than two.
    """
    if len(runs) < 2:
        msg = f"there is nothing to compare with {', '.join(runs) or 'no run'}: name the folders of two runs or more."
        raise ValueError(msg)
    rows = [("", *runs), *((name, *(cell(run) for run in runs.values())) for name, cell in _ROWS.items())]
    notes = tuple(
        f"not like for like: the runs have different {what}"
        for key, what in _SHARED.items()
        if len({run.digests.get(key, "") for run in runs.values()}) > 1
    )
    return rows, notes


def _unseen(name: str) -> _Cell:
    def cell(run: Summary) -> str:
        value = None if run.unseen is None else run.unseen[name]
        return "not asked" if value is None else f"{value:.2%}"

    return cell


def _certified(run: Summary) -> str:
    if run.certificate is None:
        return "not made"
    bound, whole = run.certificate["trace_error"], run.certificate["trace"]
    return f"at most {bound['value'] / whole:.3%}" if whole else "0%"


def _tolerance(run: Summary) -> str:
    found = run.tolerance
    return "not asked" if found is None else f"{found.tolerance:g} {'met' if found.met else 'not met'}"


_SHARED = {"network": "networks", "x": "points", "y": "targets", "test_x": "held-out points"}
_ROWS: dict[str, _Cell] = {
    "points": lambda run: f"{run.losses.points:,}",
    "kept": lambda run: f"{run.losses.kept_points:,}",
    "gradients per output": lambda run: f"{run.losses.gradients:,}",
    "sketch": lambda run: "none" if run.sketch is None else f"{run.sketch['family']}({run.sketch['dim']:,})",
    "Jacobian rows": lambda run: f"{run.ledger.total().jacobian_rows:,}",
    "GFLOP": lambda run: f"{run.ledger.total().flops / 1e9:,.1f}",
    "MB kept": lambda run: f"{run.ledger.total().nbytes / 1e6:,.1f}",
    "seconds": lambda run: f"{run.ledger.total().seconds:,.1f}",
    "trace lost, points": lambda run: f"{run.losses.data_trace_residual:.3%}",
    "trace lost, gradients": lambda run: f"{run.losses.gradient_trace_residual:.3%}",
    "trace lost, certified": _certified,
    "tolerance": _tolerance,
    "leave-one-out error": lambda run: f"{run.losses.loo_error:.4g}",
    "fidelity in sample": lambda run: f"{run.losses.fidelity:.2%}",
    "fidelity held out": _unseen("fidelity"),
    "accuracy held out": _unseen("accuracy"),
    "network's accuracy": _unseen("network_accuracy"),
}
