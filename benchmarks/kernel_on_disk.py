"""Exact kernels between many points of a small network, by tiles to the disk: seconds an entry.

    python benchmarks/kernel_on_disk.py --data-dir DIR                       # 10,000 by 10,000 pictures
    python benchmarks/kernel_on_disk.py --data-dir DIR --points 2000 4000 --device cuda

The convolutional network of ``scale_cnn.py``, 5,200 parameters, ten outputs, pictures of CIFAR-10: rows and columns are
other pictures, so that no entry is known from another. An entry is one of the (n, n) numbers of the mean over outputs,
each a sum of ten products. Beside it stand the kernel in memory, where it fits, and the products of Jacobians alone,
J₁J₂ᵀ by matrix products of that size (2,000 points measured, the rest in proportion): the floor of any way that forms
Jacobians. Reading back is a pass over all rows.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scale_cnn import network

import dntk
from dntk_studies.datasets import cifar10

IN_MEMORY = 4000
"""Points up to which the kernel is also made in memory."""


def seconds(call: Callable[[], Any], device: str) -> float:
    """Of one call, until the device has done all of it."""
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measured(n: int, data_dir: str, device: str, threads: int) -> dict[str, Any]:
    """Seconds of every way for n by n points."""
    net = network().to(device)
    torch.set_num_threads(threads)
    model, pictures = (
        dntk.as_model(net),
        torch.from_numpy(cifar10(train=None, validation=300, directory=data_dir).train.x),
    )
    rows, columns = (pictures[start : start + n].to(device) for start in (0, n))
    dntk.ntk(model, rows[:64], columns[:64])  # what is loaded and looked at once
    found: dict[str, Any] = {"points": n, "device": device, "threads": threads}
    with tempfile.TemporaryDirectory() as folder:
        made: list[Any] = []
        store = dntk.Store(f"{folder}/kernel")

        def stored() -> None:
            made.append(dntk.ntk(model, rows, columns, outputs="mean", store=store))

        found["store, s"] = seconds(stored, device)
        found["read, s"] = seconds(lambda: [made[0][start : start + 500] for start in range(0, n, 500)], device)
        found["s an entry"] = found["store, s"] / n**2
        found["a product of outputs, s"] = found["s an entry"] / model.n_outputs
    if n <= IN_MEMORY:
        found["memory, s"] = seconds(lambda: dntk.ntk(model, rows, columns, outputs="mean"), device)
    one = torch.randn(min(n, 2000), model.n_parameters, device=device)
    floor = min(seconds(lambda: one @ one.T, device) for _ in range(3))
    found["products of Jacobians, s"] = floor * model.n_outputs * (n / len(one)) ** 2
    return found


def main() -> None:
    """Print a row for every number of points."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[10_000])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    for n in chosen.points:
        row = measured(n, chosen.data_dir, chosen.device, chosen.threads)
        sys.stdout.write(json.dumps({name: _short(value) for name, value in row.items()}) + "\n")
        sys.stdout.flush()


def _short(value: Any) -> Any:
    return float(np.format_float_scientific(value, precision=3)) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
