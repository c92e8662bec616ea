"""Exact kernels on a GPU: dntk beside torch.func and the floor, paired in one process.

The networks and modes of ``ntk.py``, with as many inputs as asked. A call is timed from its start until the device is
idle. Median and best of interleaved repetitions, ratio to dntk, peak of PyTorch's allocator above the network and the
inputs, relative error against dntk in float64 on the host. A way that fails has a row that says so.

Run: python benchmarks/ntk_gpu.py [--device cuda] [--case resnet18] [--modes sum full] [--inputs 128] [--json FILE]
"""

import argparse
import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import MIB, interleaved, reason, relative_error, summary
from ntk_networks import CASES, Case
from ntk_peers import DNTK, FLOOR, MODES, Problem
from ntk_report import environment
from ntk_torch_func import TORCH_FUNC
from rich.console import Console
from rich.table import Table

import dntk

REFERENCE_INPUTS = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one way, or why it was not; ``error`` on the first ``REFERENCE_INPUTS`` inputs."""

    case: str
    inputs: int
    mode: str
    name: str
    median_s: float | None = None
    best_s: float | None = None
    peak_mib: float | None = None
    error: float | None = None
    why_not: str = ""


def main() -> None:
    """Measure, print a table per case, and write JSON."""
    arguments = parse()
    warnings.simplefilter("ignore")  # of the peers
    device, rows = torch.device(arguments.device), []
    for case in arguments.case:
        found = []
        for mode in arguments.modes:
            inputs = arguments.inputs or 4 * CASES[case].inputs
            found += contest(CASES[case], mode, inputs, device, arguments.repeats)
        _print(found, device)
        rows += found
        if arguments.json:
            where = {**environment(), "device": _name(device)}
            arguments.json.write_text(
                json.dumps({"environment": where, "rows": [dataclasses.asdict(row) for row in rows]}, indent=1)
            )


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["sum", "mean", "full"])
    parser.add_argument("--inputs", type=int, help="default: four times those of ntk.py")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def contest(case: Case, mode: str, n: int, device: torch.device, repeats: int) -> list[Row]:
    """Every way that takes the mode."""
    problem = Problem(case=case, mode=mode, net=case.network().to(device), x=case.points(n).to(device))
    reference = _reference(case, mode, n)
    rows: dict[str, Row] = {}
    works: dict[str, Callable[[], Any]] = {}
    for peer in (DNTK, FLOOR, *TORCH_FUNC):
        if not peer.takes(case.name, mode):
            continue
        row = Row(case=case.name, inputs=n, mode=mode, name=peer.name)
        try:
            work = _synchronous(peer.prepare(problem), device)
            found, peak = _peak(work, device)
            error = None if peer is FLOOR else relative_error(_leading(found, mode).cpu(), reference)
        except Exception as problem_of_a_peer:  # whatever a peer raises is what there is to report
            rows[peer.name] = dataclasses.replace(row, why_not=reason(problem_of_a_peer))
            continue
        finally:
            found = None
            if device.type == "cuda":
                torch.cuda.empty_cache()
        rows[peer.name] = dataclasses.replace(row, peak_mib=peak, error=error)
        works[peer.name] = work
    for name, seconds in interleaved(works, dict.fromkeys(works, repeats)).items():
        rows[name] = dataclasses.replace(rows[name], **summary(seconds))
    return list(rows.values())


def _reference(case: Case, mode: str, n: int) -> torch.Tensor:
    """Kernel of the first inputs in float64 on the host."""
    x = case.points(n)[:REFERENCE_INPUTS]
    x = x.double() if x.is_floating_point() else x
    problem = Problem(case=case, mode=mode, net=case.network().double(), x=x)
    return dntk.ntk(dntk.as_model(problem.net), problem.x, outputs=problem.outputs)


def _leading(found: torch.Tensor, mode: str) -> torch.Tensor:
    few = slice(REFERENCE_INPUTS)
    return found.detach()[:, few, few] if mode == "each" else found.detach()[few, few]


def _synchronous(work: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    def run() -> Any:
        found = work()
        if device.type != "cpu":
            getattr(torch, device.type).synchronize(device)
        return found

    return run


def _peak(work: Callable[[], Any], device: torch.device) -> tuple[Any, float | None]:
    """Result of a call, and what PyTorch's allocator held at most, above what it held before; none on the host."""
    if device.type != "cuda":
        return work(), None
    work()  # libraries make their workspaces at first use
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    found = work()
    return found, (torch.cuda.max_memory_allocated(device) - before) / MIB


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _print(rows: list[Row], device: torch.device) -> None:
    table = Table(title=f"{rows[0].case}, n = {rows[0].inputs}, float32, {_name(device)}")
    for column in ("mode", "way", "median ms", "best ms", "/ dntk", "peak MiB", "error"):
        table.add_column(column, justify="left" if column in ("mode", "way") else "right")
    ours = {row.mode: row.median_s for row in rows if row.name == DNTK.name}
    for row in rows:
        if row.median_s is None or row.best_s is None:
            table.add_row(row.mode, row.name, row.why_not)
            continue
        base = ours[row.mode]
        ratio = "–" if base is None else f"{row.median_s / base:.2f}"
        peak = "–" if row.peak_mib is None else f"{row.peak_mib:.0f}"
        error = "–" if row.error is None else f"{row.error:.1e}"
        cells = (f"{1e3 * row.median_s:.2f}", f"{1e3 * row.best_s:.2f}", ratio, peak, error)
        table.add_row(row.mode, row.name, *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
