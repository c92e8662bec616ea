"""Scales and shifts after normalisation, and the slope of PReLU: small gradients, stored."""

import dataclasses
import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from dntk.gradient_blocks import DenseBlock, GradientBlock
from dntk_torch.layers.base import LayerKind, Rule
from dntk_torch.layers.convolution import channel_bias


def batch_norm_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """Σ_t g_t â_t = (Σ_t g_t a_t − μ Σ_t g_t)/√(v + ε) of what running statistics normalise.

    Without â, which would be made again for every functional. What cancels where μ is much larger than
    √v has cancelled before, in the layer's own output.
    """
    plain = _channel_scale(a, g, name)
    shifts = g.reshape(*g.shape[:3], -1).sum(3)
    values = (plain.values - layer.running_mean * shifts) * (layer.running_var + layer.eps).rsqrt()
    return dataclasses.replace(plain, values=values)


def group_norm_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """Σ_t g_t â_t of what each group of channels normalises."""
    return _channel_scale(functional.group_norm(a, layer.num_groups, eps=layer.eps), g, name)


def instance_norm_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """Σ_t g_t â_t of what each channel of each input normalises, or running statistics do."""
    if layer.running_mean is not None:
        return batch_norm_weight(layer, a, g, name)
    return _channel_scale(functional.instance_norm(a, eps=layer.eps), g, name)


def slope(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """Σ_t g_t min(a_t, 0), for every channel or for all together."""
    shared = layer.num_parameters == 1
    a, g = (a[:, None].flatten(2), g[:, :, None].flatten(3)) if shared else (a, g)
    return _channel_scale(a.clamp(max=0), g, name)


def layer_norm_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """Σ_t g_t â_t of what each position normalises."""
    return _position_scale(functional.layer_norm(a, layer.normalized_shape, eps=layer.eps), layer, g, name)


def rms_norm_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """Σ_t g_t â_t of what each position divides by its root mean square."""
    return _position_scale(functional.rms_norm(a, layer.normalized_shape, eps=layer.eps), layer, g, name)


def position_bias(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """Σ_t g_t, features last."""
    p = math.prod(layer.normalized_shape)
    return DenseBlock(name=name, offset=0, values=g.reshape(g.shape[0], a.shape[0], -1, p).sum(2))


def _channel_scale(a: torch.Tensor, g: torch.Tensor, name: str) -> DenseBlock:
    n, c = a.shape[:2]
    # No einsum: its products of one row with one column are slower than the passes over memory.
    values = (g.reshape(g.shape[0], n, c, -1) * a.reshape(n, c, -1)).sum(3)
    return DenseBlock(name=name, offset=0, values=values)


def _position_scale(a: torch.Tensor, layer: Any, g: torch.Tensor, name: str) -> DenseBlock:
    n, q, p = a.shape[0], g.shape[0], math.prod(layer.normalized_shape)
    values = (g.reshape(q, n, -1, p) * a.reshape(n, -1, p)).sum(2)
    return DenseBlock(name=name, offset=0, values=values)


def _normalised_axes(layer: Any) -> int:
    return len(layer.normalized_shape)


_BATCH_NORM: dict[str, Rule] = {"weight": batch_norm_weight, "bias": channel_bias}
_INSTANCE_NORM: dict[str, Rule] = {"weight": instance_norm_weight, "bias": channel_bias}

KINDS = (
    *(LayerKind(layer=layer, rules=_BATCH_NORM) for layer in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)),
    *(
        LayerKind(layer=layer, rules=_INSTANCE_NORM)
        for layer in (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    ),
    LayerKind(layer=nn.GroupNorm, rules={"weight": group_norm_weight, "bias": channel_bias}),
    LayerKind(
        layer=nn.LayerNorm,
        rules={"weight": layer_norm_weight, "bias": position_bias},
        feature_axes=_normalised_axes,
    ),
    LayerKind(layer=nn.RMSNorm, rules={"weight": rms_norm_weight}, feature_axes=_normalised_axes),
    LayerKind(layer=nn.PReLU, rules={"weight": slope}),
)
