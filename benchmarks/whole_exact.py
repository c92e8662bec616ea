"""The exact route to what ``whole.py`` measures: kernels of all classes at all points, and their regression.

    python benchmarks/whole_exact.py --data-dir DIR --networks-dir FOLDER

By plain ``torch.func``, as its tutorial has it: per-image Jacobians of all outputs, one product of each class's; and by
``dntk.ntk``. Both then solve by PyTorch's Cholesky factorisation in float64. Measured at the sizes of ``--points``, of
which Jacobians fit into memory, every case a process of its own. Beyond them seconds of ``dntk.ntk`` are extrapolated
by orders of growth, passes linear and products quadratic in n, solves quadratic and cubic; of ``torch.func`` only
bytes of Jacobians, since at sizes that fit their products are too small a share to be seen. Images to predict are in
neither.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from measure import in_child, peak_of, timed
from torch.func import functional_call, jacrev, vmap
from whole import trained

import dntk
from dntk_studies.datasets import cifar10
from dntk_studies.reproduce.exact_costs import by_orders

RIDGE = 1.0
ORDERS = {"kernel": (1, 2), "solve": (2, 3)}
SIZES = (3000, 10_000, 49_700)
"""Of ``whole.py``, to which costs are extrapolated."""


def by_torch_func(model: Any, x: torch.Tensor) -> torch.Tensor:
    """Kernels (C, n, n) of all outputs, from Jacobians (n, C, P) that are held whole, in batches of 32 images."""
    params = {name: value.detach() for name, value in model.module.named_parameters()}

    def single(values: Any, point: torch.Tensor) -> torch.Tensor:
        return functional_call(model.module, values, (point[None],))[0]

    jacobian = vmap(jacrev(single), (None, 0))
    rows = [torch.cat([j.flatten(2) for j in jacobian(params, part).values()], dim=2) for part in x.split(32)]
    each = torch.cat(rows).transpose(0, 1)
    return torch.stack([one @ one.T for one in each])


def by_dntk(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The same, layer by layer."""
    return dntk.ntk(model, x, outputs="each")


WAYS = {"torch.func": by_torch_func, "dntk.ntk": by_dntk}


def solved(kernels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Dual coefficients (n, C) of each output's kernel regression."""
    n = kernels.shape[1]
    found = []
    for kernel, y in zip(kernels, targets.T, strict=True):
        factor = torch.linalg.cholesky(kernel.double() + RIDGE * torch.eye(n, dtype=torch.float64))
        found.append(torch.cholesky_solve(y.double()[:, None], factor)[:, 0])
    return torch.stack(found, dim=1)


def measured(way: str, points: int, options: argparse.Namespace) -> dict[str, Any]:
    """One case."""
    data = cifar10(train=None, validation=300, directory=options.data_dir)
    model = trained(options.network, data, options.networks_dir)
    x = torch.from_numpy(data.train.x[:points])
    targets = model(x)
    WAYS[way](model, x[:4])  # what is done once per network is in neither
    found: list[torch.Tensor] = []
    cost = peak_of(lambda: found.append(WAYS[way](model, x)))
    norms = float(found[0].norm())
    solve = timed(lambda: solved(found[0], targets))
    return {
        "way": way,
        "points": points,
        "kernel": cost["seconds"],
        "solve": solve,
        "peak_mib": cost["peak_mib"],
        "norm": norms,
    }


def extrapolated(rows: list[dict[str, Any]], points: int, outputs: int) -> dict[str, float]:
    """Seconds of both stages by orders of growth; rows, and bytes of the kernels alone, by their definition."""
    seconds = {stage: by_orders(rows, stage, points, orders) for stage, orders in ORDERS.items()}
    return {
        "seconds": sum(seconds.values()),
        "jacobian_rows": outputs * points,
        "kernel_mib": 4 * outputs * points**2 / 2**20,
    }


def main() -> None:
    """Run every way at every size in turn, and print rows as JSON and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--networks-dir", type=Path, default=Path("whole-networks"))
    parser.add_argument("--network", default="resnet18-16")
    parser.add_argument("--points", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--case", nargs=2)
    options = parser.parse_args()
    if options.case:
        torch.set_num_threads(2)
        print(json.dumps(measured(options.case[0], int(options.case[1]), options)))
        return
    rows: list[dict[str, Any]] = []
    for points in options.points:
        for way in WAYS:
            command = [sys.executable, __file__, *sys.argv[1:], "--case", way, str(points)]
            rows.append({"way": way, "points": points, **in_child(command, time_limit=3600)})
            print(json.dumps(rows[-1]), flush=True)
    print("| way | images | seconds | Jacobian rows | MiB |\n|---|---:|---:|---:|---:|")
    for way in WAYS:
        mine = [row for row in rows if row["way"] == way and "kernel" in row]
        for row in mine:
            total = row["kernel"] + row["solve"]
            size, peak = row["points"], row["peak_mib"]
            print(f"| {way}, measured | {size:,} | {total:.1f} | {10 * size:,} | {peak:,.0f} |")
        for points in SIZES if len(mine) > 1 else ():
            print(f"| {way}, extrapolated | {points:,} | {_beyond(mine, points)} |")


def _beyond(mine: list[dict[str, Any]], points: int, outputs: int = 10) -> str:
    """Seconds, rows and memory at more points than were measured."""
    line = extrapolated(mine, points, outputs)
    if mine[0]["way"] == "torch.func":
        jacobians = mine[-1]["peak_mib"] * points / mine[-1]["points"]
        return f"does not fit | {line['jacobian_rows']:,.0f} | {jacobians:,.0f}"
    return f"{line['seconds']:,.0f} | {line['jacobian_rows']:,.0f} | {line['kernel_mib']:,.0f} (kernels alone)"


if __name__ == "__main__":
    main()
