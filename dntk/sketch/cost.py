"""What sketches and exact kernels cost, in multiplications of a matrix product: enough to choose by, not to bill."""

import math

from dntk.sketch.concentration import LayerProbe

EXPAND = 214
"""Multiplications of a product in whose time one expanded coordinate is written and brought into order.

This and the next three are the fit of ``benchmarks/sketch_costs.py`` to layers of widths 8 to 512 with ten outputs,
on PyTorch with one thread whose products make 4.5e10 multiplications a second, other work beside it.
"""

PLACE = 25
"""The same for one number that is signed and added where it belongs."""

REDUCED = 109
"""The same for one number of a reduced gradient, which is written, signed and placed with its row."""

SUM = 153
"""The same for one number of the sums that a reduced layer is gathered into and added to; fitted at k = 4,096 alone."""

FACTOR = 200
"""The same for one number of the factors that an exact kernel contracts; 20 to 360 were measured, mostly 120 to 240."""

HASH = 226
"""The same for one number of a factor, hashed for every position; fitted like the next with k = 2,048 to 32,768."""

TRANSFORM = 16
"""The same for one operation of a fast Fourier transform and of the products of transforms; 6 to 21 were measured."""


def whole_cost(layer: LayerProbe, q: int, nonzeros: int = 1) -> float:
    """One input's gradients for q outputs, expanded and hashed."""
    return q * layer.size * (layer.positions + EXPAND + nonzeros * PLACE)


def reduced_cost(layer: LayerProbe, q: int, width: int, dim: int) -> float:
    """One input's gradients, reduced to ``width`` columns, placed, and added to the others' ``dim`` numbers."""
    t = layer.positions
    return t * width * (layer.columns + q * layer.rows) + q * layer.rows * width * REDUCED + q * dim * SUM


def tensor_cost(layer: LayerProbe, q: int, dim: int) -> float:
    """One input's gradients by :class:`dntk.sketch.TensorSketch`, added to the others' ``dim`` numbers."""
    t = layer.positions
    added = q * dim * SUM
    if t == 0:
        return whole_cost(layer, q) + added
    return added + min(whole_cost(layer, q), transformed_cost((layer.columns, q * layer.rows), q, t, dim))


def transformed_cost(factors: tuple[int, int], q: int, positions: int, dim: int) -> float:
    """The same by transforms of factors of so many numbers a position; the inverse of all layers is one more."""
    transforms = (1 + q) * positions * 2.5 * dim * math.log2(max(2, dim)) * TRANSFORM
    return positions * sum(factors) * HASH + transforms


def exact_cost(layer: LayerProbe, q: int, n: int) -> float:
    """One input's part of the exact kernel of n inputs, symmetric."""
    t = layer.positions
    products = q * n * layer.size / 2
    if t == 0:
        return products
    factors = t * (layer.columns + q * layer.rows)
    return min(n * t * factors / 2 + FACTOR * factors, q * layer.size * (t + EXPAND / 2) + products)
