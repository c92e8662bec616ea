"""Exact kernels of an MLP 784-512-512-10 at 256 inputs: dntk against torch.func, paired in one process.

Repetitions alternate between the contestants, so that a drifting machine slows both. Peers: torch.func per-sample
gradients with one product (vmap of grad), and the tutorial's Jacobian contraction for all outputs where it fits.
Run: python benchmarks/exact_kernel.py [--inputs 256] [--repeats 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.func import functional_call, grad, vmap

import dntk


def network() -> torch.nn.Module:
    """The network of the comparison, in evaluation mode, weights by PyTorch's own rule."""
    torch.manual_seed(0)
    sizes = (784, 512, 512, 10)
    layers: list[torch.nn.Module] = []
    for a, b in zip(sizes, sizes[1:], strict=False):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval()


def by_torch_func(net: torch.nn.Module, x: Any, cotangent: Any) -> Any:
    """Kernel of one functional of the outputs: vmap(grad), flattened, one product."""
    params = {name: p.detach() for name, p in net.named_parameters()}

    def functional(p: Any, point: Any) -> Any:
        return functional_call(net, p, (point[None],))[0] @ cotangent

    rows = vmap(grad(functional), (None, 0))(params, x)
    flat = torch.cat([r.flatten(1) for r in rows.values()], dim=1)
    return flat @ flat.T


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Time, compare, print ratios and errors against float64."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    net, x = network(), torch.randn(arguments.inputs, 784)
    model, exact = dntk.as_model(net), dntk.as_model(network().double())
    summed = torch.full((10,), 10**-0.5)
    contests: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("sum", lambda: dntk.ntk(model, x, outputs="sum"), lambda: by_torch_func(net, x, summed)),
        ("one output", lambda: dntk.ntk(model, x, outputs=3), lambda: by_torch_func(net, x, torch.eye(10)[3])),
        (
            "mean",
            lambda: dntk.ntk(model, x, outputs="mean"),
            lambda: sum(by_torch_func(net, x, e) for e in torch.eye(10)) / 10,
        ),
    ]
    references = {
        "sum": dntk.ntk(exact, x.double(), outputs="sum"),
        "one output": dntk.ntk(exact, x.double(), outputs=3),
        "mean": dntk.ntk(exact, x.double(), outputs="mean"),
    }
    table = Table(title=f"exact kernel, n = {arguments.inputs}, float32, {torch.get_num_threads()} threads, medians")
    for name in ("kernel", "dntk s", "torch.func s", "ratio", "dntk error", "torch.func error"):
        table.add_column(name, justify="right")
    for name, ours, theirs in contests:
        reference = references[name]
        errors = [float((work().double() - reference).norm() / reference.norm()) for work in (ours, theirs)]
        times = [(timed(ours), timed(theirs)) for _ in range(arguments.repeats)]
        a, b = (statistics.median(t[i] for t in times) for i in (0, 1))
        table.add_row(name, f"{a:.4f}", f"{b:.4f}", f"{b / a:.1f}x", f"{errors[0]:.1e}", f"{errors[1]:.1e}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
