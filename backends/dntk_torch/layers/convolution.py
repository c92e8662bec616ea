"""Convolutions and transposed convolutions in one, two and three dimensions."""

from typing import Any

import torch
from torch import nn

from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock
from dntk_torch.layers.base import LayerKind, Rule
from dntk_torch.patches import cotangent_patches, patches


def convolution_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    """∇W = Σ_t g_t patch_t(a)ᵀ; stored where channels are in groups, whose gradients are smaller."""
    q, n, out = g.shape[:3]
    columns, cotangents = patches(layer, a), g.reshape(q, n, out, -1).mT
    if layer.groups == 1:
        return FactoredBlock(name=name, offset=offset, inputs=columns, cotangents=cotangents)
    t, width = columns.shape[1], columns.shape[2] // layer.groups
    values = torch.einsum(
        "qntgb,ntga->qngba",
        cotangents.reshape(q, n, t, layer.groups, out // layer.groups),
        columns.reshape(n, t, layer.groups, width),
    )
    flops = 2 * n * t * out * width * (1 + 2 * q)  # forward, backward, and this contraction
    return DenseBlock(name=name, offset=offset, values=values.reshape(q, n, -1), backprop_flops=flops)


def transposed_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    """∇W[i, o, k] = Σ_t a_ti g_o(stride · t + dilation · k - padding), for a weight (in, out / groups, k...).

    The patches are those of the cotangents. With more positions than channels the gradients
    themselves are smaller than their factors, and are stored, as they are for groups.
    """
    q, (n, channels) = g.shape[0], a.shape[:2]
    inputs, columns = a.reshape(n, channels, -1).mT, cotangent_patches(layer, g, a.shape[2:])
    t, width = columns.shape[2], columns.shape[3]
    if layer.groups == 1 and t <= channels:
        return FactoredBlock(name=name, offset=offset, inputs=inputs, cotangents=columns, transposed=True)
    values = torch.einsum(
        "ntga,qntgb->qngab",
        inputs.reshape(n, t, layer.groups, channels // layer.groups),
        columns.reshape(q, n, t, layer.groups, width // layer.groups),
    )
    flops = 2 * n * t * channels * (width // layer.groups) * (1 + 2 * q)
    return DenseBlock(name=name, offset=offset, values=values.reshape(q, n, -1), backprop_flops=flops)


def channel_bias(_layer: Any, _a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    """∇b = Σ_t g_t, positions last."""
    return DenseBlock(name=name, offset=offset, values=g.reshape(*g.shape[:3], -1).sum(3))


_CONVOLUTION: dict[str, Rule] = {"weight": convolution_weight, "bias": channel_bias}
_TRANSPOSED: dict[str, Rule] = {"weight": transposed_weight, "bias": channel_bias}

KINDS = (
    *(LayerKind(layer=layer, rules=_CONVOLUTION) for layer in (nn.Conv1d, nn.Conv2d, nn.Conv3d)),
    *(
        LayerKind(layer=layer, rules=_TRANSPOSED)
        for layer in (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    ),
)
