"""What sketching a layer takes, against what ``dntk/sketch/cost.py`` says of it, and the constants that fit best.

    python benchmarks/sketch_costs.py            # on PyTorch's CPU, about two minutes of one core

Layers of widths 8 to 512 as they occur: convolutions with kernels of 1 and 3, linear layers, the projections of
attention over tokens, with random factors in the order of memory that the PyTorch adapter gives. Every layer is
hashed whole (one and eight times a coordinate), reduced, and its part of the exact mean kernel made. Seconds are the
best of three, those of the processor with one thread, which other work on the machine changes little. Constants are
fitted to the logarithm of time by least absolute deviations, so that no layer decides.
"""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch

from dntk.gradient_blocks import FactoredBlock
from dntk.sketch import Mixed, SparseSign, sketch_blocks
from dntk.sketch import cost as costs
from dntk.sketch.concentration import LayerProbe
from dntk.sketch.layout import layout_of_shapes

OUTPUTS, DIM = 10, 4096
LAYERS = {
    "conv 8, 3x3, 32x32": (8, 72, 1024),
    "conv 16, 3x3, 32x32": (16, 144, 1024),
    "conv 32, 3x3, 16x16": (32, 288, 256),
    "conv 64, 3x3, 32x32": (64, 576, 1024),
    "conv 64, 3x3, 8x8": (64, 576, 64),
    "conv 128, 3x3, 4x4": (128, 1152, 16),
    "conv 256, 3x3, 8x8": (256, 2304, 64),
    "conv 512, 3x3, 4x4": (512, 4608, 16),
    "conv 32, 1x1, 16x16": (32, 16, 256),
    "conv 128, 1x1, 8x8": (128, 64, 64),
    "linear 64": (64, 64, 1),
    "linear 512": (512, 512, 1),
    "tokens 64, 128": (128, 128, 64),
    "tokens 64, 192, mlp": (768, 192, 64),
    "tokens 128, 512": (512, 512, 128),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer done one way: measured seconds an input, the model's terms, and its own prediction."""

    layer: str
    way: str
    seconds: float
    terms: dict[str, float]
    predicted: float


def block_of(rows: int, columns: int, positions: int, n: int, *, images: bool) -> FactoredBlock:
    """Random factors, positions last in memory for images."""
    if images:
        g = torch.randn(n, OUTPUTS, rows, positions).mT.movedim(1, 0)
        a = torch.randn(n, columns, positions).mT
    else:
        g, a = torch.randn(n, OUTPUTS, positions, rows).movedim(1, 0), torch.randn(n, positions, columns)
    return FactoredBlock(name="w", offset=0, inputs=a, cotangents=g)


def seconds(run: Callable[[], object]) -> float:
    """Of the processor: the best of three, after one."""
    run()
    found = []
    for _ in range(3):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)


def measured(name: str, shape: tuple[int, int, int]) -> list[Row]:
    """All ways of one layer."""
    b, a, t = shape
    q, n = OUTPUTS, int(min(64, max(4, 2e8 // (OUTPUTS * b * a * (t**0.5 + 8)))))
    block, layout = block_of(b, a, t, n, images="conv" in name), layout_of_shapes({"w": (b, a)})
    layer = LayerProbe(name=name, rows=b, columns=a, positions=t, spread=0, rho=0, share=0)
    rows = []

    def add(way: str, run: Callable[[], object], terms: dict[str, float], predicted: float) -> None:
        rows.append(Row(name, way, seconds(run) / n, terms, predicted))

    for way, sketch, s in (
        ("hashed once", Mixed(DIM, inner=DIM).bound(layout), 1),
        ("hashed 8 times", SparseSign(DIM), 8),
    ):
        if way == "hashed once" and a > DIM:
            continue
        terms = {"product": q * b * a * t, "EXPAND": q * b * a, "PLACE": q * b * a * s}
        add(way, lambda sketch=sketch: sketch_blocks(sketch, [block]), terms, costs.whole_cost(layer, q, s))
    for m in (16, 64, 256):
        if m < a:
            sketch = Mixed(DIM, inner=m).bound(layout)
            terms = {"product": t * m * (a + q * b), "REDUCED": q * b * m, "SUM": q * DIM}
            add(
                f"reduced to {m}",
                lambda sketch=sketch: sketch_blocks(sketch, [block]),
                terms,
                costs.reduced_cost(layer, q, m, DIM),
            )
    add("exact", lambda: block.mean_gram(block), {}, costs.exact_cost(layer, q, n))
    return rows


def fitted(rows: list[Row], rate: float) -> dict[str, float]:
    """Constants of the least sum of |log measured − log predicted|, by coordinate search; a product is 1."""
    names = ("EXPAND", "PLACE", "REDUCED", "SUM")
    used = [row for row in rows if row.terms]
    constants = dict.fromkeys(names, 32.0)

    def loss(values: dict[str, float]) -> float:
        every = {"product": 1.0, **values}
        each = [sum(every[k] * v for k, v in row.terms.items()) / rate / row.seconds for row in used]
        return float(np.abs(np.log(each)).sum())

    for _ in range(60):
        for name in names:
            tried = [{**constants, name: constants[name] * f} for f in (0.7, 0.9, 0.97, 1, 1.03, 1.1, 1.4)]
            constants = min(tried, key=loss)
    return constants


def main() -> None:
    """Print the table and the constants."""
    torch.set_num_threads(1)
    x, y = torch.randn(2048, 2048), torch.randn(2048, 2048)
    rate = 2048**3 / seconds(lambda: x @ y)
    print(f"{rate:.3g} multiplications a second in a product of matrices\n")
    rows = [row for name, shape in LAYERS.items() for row in measured(name, shape)]
    print("| layer | way | measured, us an input | predicted | measured over predicted |\n|---|---|---:|---:|---:|")
    for row in rows:
        guess = row.predicted / rate
        print(f"| {row.layer} | {row.way} | {row.seconds * 1e6:.0f} | {guess * 1e6:.0f} | {row.seconds / guess:.2f} |")
    ratios = np.log([row.seconds * rate / row.predicted for row in rows])
    print(f"\nmedian of measured over predicted {np.exp(np.median(ratios)):.2f}; ", end="")
    print(f"median factor off {np.exp(np.median(np.abs(ratios))):.2f}, largest {np.exp(np.max(np.abs(ratios))):.2f}")
    print(fitted(rows, rate))


if __name__ == "__main__":
    main()
