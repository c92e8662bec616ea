"""What sketches and exact kernels cost, in multiplications of a matrix product: enough to choose by, not to bill."""

import math

from dntk.sketch.concentration import LayerProbe

EXPAND = 400
"""Multiplications of a product in whose time one expanded coordinate is written and brought into order.

Measured, as :data:`PLACE`, with PyTorch on two cores whose products make 9e10 multiplications a second: 1,280
gradients of a CNN of 97,290 parameters, hashed once and eight times a coordinate.
"""

PLACE = 64
"""The same for one number that is signed and added where it belongs; 53 were measured."""

HASH = 256
"""The same for one number of a factor, hashed for every position: an estimate."""

TRANSFORM = 8
"""The same for one operation of a fast Fourier transform: an estimate."""


def whole_cost(layer: LayerProbe, q: int, nonzeros: int = 1) -> float:
    """One input's gradients for q outputs, expanded and hashed."""
    return q * layer.size * (layer.positions + EXPAND + nonzeros * PLACE)


def reduced_cost(layer: LayerProbe, q: int, width: int) -> float:
    """One input's gradients, reduced to ``width`` columns and placed."""
    t = layer.positions
    return t * width * (layer.columns + q * layer.rows) + q * layer.rows * width * PLACE


def tensor_cost(layer: LayerProbe, q: int, dim: int) -> float:
    """One input's gradients by :class:`dntk.sketch.TensorSketch`."""
    t = layer.positions
    if t == 0:
        return whole_cost(layer, q)
    transforms = (1 + q) * t * 2.5 * dim * math.log2(max(2, dim)) * TRANSFORM
    return min(whole_cost(layer, q), t * (layer.columns + q * layer.rows) * HASH + transforms + 4 * q * t * dim)


def exact_cost(layer: LayerProbe, q: int, n: int) -> float:
    """One input's part of the exact kernel of n inputs, symmetric."""
    t = layer.positions
    products = q * n * layer.size / 2
    if t == 0:
        return products
    return min(n * t**2 * (layer.columns + q * layer.rows) / 2, q * t * layer.size + products)
