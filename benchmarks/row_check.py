"""What it costs to find the way through a network, and which input every row of a layer belongs to.

Processor time of ``dntk.ntk`` as it is, over the same without either, in turn; both after a first call, which looks
at a few inputs once. ``forced``: rows found on every call, needed or not. Kernels of ten outputs, and of their sum.

    python benchmarks/row_check.py [repeats]
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

import dntk
from dntk.outputs import KernelOutputs
from dntk.types import Batch
from dntk_torch import _blocks
from dntk_torch._watching import Rows
from dntk_torch._ways import Way
from dntk_torch.model import TorchModel
from dntk_torch.probe import Plan

Case = tuple[nn.Module, torch.Tensor]


class Encoder(nn.Module):  # type: ignore[misc]
    """Two transformer layers; with ``masked``, over tokens of which Python asks whether any is missing."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self.masked, self.first, self.head = masked, nn.Linear(16, 64), nn.Linear(64, 10)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (n, 10)."""
        if self.masked and bool((x[:, :, 0] > 9).all()):
            x = torch.zeros_like(x)
        outputs: torch.Tensor = self.head(self.layers(self.first(x)).mean(1))
        return outputs


def _perceptron() -> Case:
    layers = [nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers), torch.randn(128, 64)


def _convolutions() -> Case:
    sizes = [(3, 32), (32, 64)]
    layers = [m for a, b in sizes for m in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 10)), torch.randn(32, 3, 32, 32)


CASES: Mapping[str, Callable[[], Case]] = {
    "perceptron": _perceptron,
    "CNN": _convolutions,
    "transformer": lambda: (Encoder(masked=False), torch.randn(32, 16, 16)),
    "transformer, a number read by Python": lambda: (Encoder(masked=True), torch.randn(32, 16, 16)),
}


def _one_way(_outputs: torch.Tensor, _parameters: object) -> Way:
    return Way(n=1, operations=0, numbers=())


def ratios(net: nn.Module, x: torch.Tensor, outputs: KernelOutputs, repeats: int) -> tuple[float, float]:
    """Median over pairs of time as it is, and with the check forced, over that without."""
    model, as_is, way_of = dntk.as_model(net.eval()), TorchModel._plan, _blocks.way_of

    def taking(rows: Rows) -> Callable[[TorchModel, Batch], Plan]:
        return lambda own, points: dataclasses.replace(as_is(own, points), rows=rows)

    ways = {"off": taking(Rows(False)), "as is": as_is, "forced": taking(Rows(True))}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for _ in range(repeats + 1):
            for name, way in ways.items():
                TorchModel._plan = way  # type: ignore[method-assign]
                _blocks.way_of = way_of if name != "off" else _one_way
                begun = time.process_time()
                dntk.ntk(model, x, outputs=outputs)
                seconds[name].append(time.process_time() - begun)
    finally:
        TorchModel._plan, _blocks.way_of = as_is, way_of  # type: ignore[method-assign]
    off, now, forced = (seconds[name][1:] for name in ways)
    return tuple(statistics.median(a / b for a, b in zip(other, off, strict=True)) for other in (now, forced))  # type: ignore[return-value]


def main(repeats: int) -> None:
    """Print a table."""
    torch.set_num_threads(1)
    for name, make in CASES.items():
        torch.manual_seed(0)
        net, x = make()
        shown = [f"{ratio:.2f}" for outputs in ("mean", "sum") for ratio in ratios(net, x, outputs, repeats)]
        print(
            f"{name:38s} ten outputs {shown[0]}, forced {shown[1]}; their sum {shown[2]}, forced {shown[3]}", flush=True
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
