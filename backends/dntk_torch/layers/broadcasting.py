"""Parameters that are added, multiplied or repeated along the axes where they have length one or none."""

from typing import Any

import torch

from dntk.gradient_blocks import DenseBlock, GradientBlock


def added(layer: Any, _a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """∇b = Σ g of y = a + b."""
    return DenseBlock(name=name, offset=0, values=_summed(g, layer.shape))


def tiled(layer: Any, _a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """A whole parameter again and again along its first axis, as one for every input."""
    size = torch.Size(layer.shape).numel()
    return DenseBlock(name=name, offset=0, values=g.reshape(*g.shape[:2], -1, size).sum(2))


def multiplied(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """∇b = Σ g a of y = a · b, entry by entry."""
    return DenseBlock(name=name, offset=0, values=_summed(g * a, layer.shape))


def _summed(g: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Sums (q, n, p) of (q, n, ...) over all axes along which a parameter of this shape is repeated."""
    aligned = (1,) * (g.ndim - 2 - len(shape)) + shape
    axes = [2 + axis for axis, length in enumerate(aligned) if length == 1]
    return (g.sum(axes) if axes else g).reshape(*g.shape[:2], -1)
