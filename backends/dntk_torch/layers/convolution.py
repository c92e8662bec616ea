"""Convolutions and transposed convolutions in one, two and three dimensions."""

import math
from typing import Any

import torch
from torch import nn

from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock
from dntk_torch.layers.base import LayerKind, Rule
from dntk_torch.patches import cotangent_patches, padded, patches


def convolution_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """∇W = Σ_t g_t patch_t(a)ᵀ, stored where channels are in groups, whose gradients are smaller.

    Those of one functional are stored, too, unless they are larger than their factors: patches would
    serve it alone.
    """
    q, n, out = g.shape[:3]
    positions, fan_in = math.prod(g.shape[3:]), a.shape[1] * math.prod(layer.kernel_size)
    if layer.groups == q == 1 and out * fan_in <= positions * (out + fan_in):
        return DenseBlock(name=name, offset=0, values=_by_groups(layer, a, g[0])[None])
    columns, cotangents = patches(layer, a), g.reshape(q, n, out, -1).mT
    if layer.groups == 1:
        return FactoredBlock(name=name, offset=0, inputs=columns, cotangents=cotangents)
    t, width = columns.shape[1], columns.shape[2] // layer.groups
    values = torch.einsum(
        "qntgb,ntga->qngba",
        cotangents.reshape(q, n, t, layer.groups, out // layer.groups),
        columns.reshape(n, t, layer.groups, width),
    )
    return DenseBlock(name=name, offset=0, values=values.reshape(q, n, -1))


def _by_groups(layer: Any, a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Gradients (n, p) for one functional: the weight gradient of a convolution whose groups are the inputs."""
    n, (a, padding) = a.shape[0], padded(layer, a)
    gradient = _WEIGHT_GRADIENTS[len(layer.kernel_size)](
        a.reshape(1, -1, *a.shape[2:]),
        (n * g.shape[1], a.shape[1], *layer.kernel_size),
        g.reshape(1, -1, *g.shape[2:]),
        stride=layer.stride,
        padding=padding,
        dilation=layer.dilation,
        groups=n,
    )
    return gradient.reshape(n, -1)


_WEIGHT_GRADIENTS = {1: torch.nn.grad.conv1d_weight, 2: torch.nn.grad.conv2d_weight, 3: torch.nn.grad.conv3d_weight}


def transposed_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """∇W[i, o, k] = Σ_t a_ti g_o(stride · t + dilation · k - padding), for a weight (in, out / groups, k...).

    The patches are those of the cotangents. With more positions than channels the gradients
    themselves are smaller than their factors, and are stored, as they are for groups.
    """
    q, (n, channels) = g.shape[0], a.shape[:2]
    inputs, columns = a.reshape(n, channels, -1).mT, cotangent_patches(layer, g, a.shape[2:])
    t, width = columns.shape[2], columns.shape[3]
    if layer.groups == 1 and t <= channels:
        return FactoredBlock(name=name, offset=0, inputs=inputs, cotangents=columns, transposed=True)
    values = torch.einsum(
        "ntga,qntgb->qngab",
        inputs.reshape(n, t, layer.groups, channels // layer.groups),
        columns.reshape(q, n, t, layer.groups, width // layer.groups),
    )
    return DenseBlock(name=name, offset=0, values=values.reshape(q, n, -1))


def channel_bias(_layer: Any, _a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """∇b = Σ_t g_t, positions last."""
    return DenseBlock(name=name, offset=0, values=g.reshape(*g.shape[:3], -1).sum(3))


_CONVOLUTION: dict[str, Rule] = {"weight": convolution_weight, "bias": channel_bias}
_TRANSPOSED: dict[str, Rule] = {"weight": transposed_weight, "bias": channel_bias}

KINDS = (
    *(LayerKind(layer=layer, rules=_CONVOLUTION) for layer in (nn.Conv1d, nn.Conv2d, nn.Conv3d)),
    *(
        LayerKind(layer=layer, rules=_TRANSPOSED)
        for layer in (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    ),
)
