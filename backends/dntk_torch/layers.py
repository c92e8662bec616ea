"""Gradients of known layers from what enters them and the cotangents of what leaves them.

A rule takes a layer's input a (n, ...) and the cotangents g (q, n, ...) of its output and gives the
block of one of its parameters. Whether a rule holds inside a given network is not assumed:
:mod:`dntk_torch.probe` checks it.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock, IndexedBlock
from dntk_torch.patches import patches

Rule = Callable[[Any, torch.Tensor, torch.Tensor, str, int], GradientBlock]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerKind:
    """A layer whose parameters have rules.

    ``feature_axes`` counts the trailing axes of its input that it transforms where it treats all
    other positions alike, so that batch and position axes may come in any order; ``None`` where the
    batch must come first.
    """

    layer: type[nn.Module]
    rules: dict[str, Rule]
    feature_axes: Callable[[Any], int | None] = lambda _layer: None


def kind_of(layer: nn.Module) -> LayerKind | None:
    """The kind of a layer that runs the ``forward`` of a known class, ``None`` for others."""
    for kind in KINDS:
        if isinstance(layer, kind.layer) and type(layer).forward is kind.layer.forward:
            return kind
    return None


def merged(blocks: list[GradientBlock]) -> GradientBlock | None:
    """Sum of the gradients of one parameter over its uses, ``None`` where their forms differ."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    if isinstance(first, FactoredBlock) and all(isinstance(b, FactoredBlock) for b in blocks):
        factors: Any = blocks
        return dataclasses.replace(
            first,
            inputs=torch.cat([b.inputs for b in factors], dim=1),
            cotangents=torch.cat([b.cotangents for b in factors], dim=2),
        )
    if isinstance(first, IndexedBlock) and all(isinstance(b, IndexedBlock) for b in blocks):
        tables: Any = blocks
        return dataclasses.replace(
            first,
            ids=torch.cat([b.ids for b in tables], dim=1),
            cotangents=torch.cat([b.cotangents for b in tables], dim=2),
        )
    if isinstance(first, DenseBlock) and all(isinstance(b, DenseBlock) for b in blocks):
        stored: Any = blocks
        return dataclasses.replace(
            first,
            values=sum(b.values for b in stored),
            backprop_flops=sum(b.backprop_flops for b in stored),
        )
    return None


def _linear_weight(_layer: nn.Linear, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    n, q = a.shape[0], g.shape[0]
    return FactoredBlock(
        name=name,
        offset=offset,
        inputs=a.reshape(n, -1, a.shape[-1]),
        cotangents=g.reshape(q, n, -1, g.shape[-1]),
    )


def _linear_bias(_layer: nn.Linear, _a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    q, n = g.shape[:2]
    return DenseBlock(name=name, offset=offset, values=g.reshape(q, n, -1, g.shape[-1]).sum(2))


def _table(layer: nn.Embedding, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    n, q = a.shape[0], g.shape[0]
    ids, cotangents = a.reshape(n, -1).long(), g.reshape(q, n, -1, g.shape[-1])
    if layer.padding_idx is not None:  # torch gives the padding row no gradient
        padding = ids == layer.padding_idx
        ids = ids.masked_fill(padding, -1)
        cotangents = cotangents.masked_fill(padding[None, :, :, None], 0)
    return IndexedBlock(name=name, offset=offset, ids=ids, cotangents=cotangents, rows=layer.num_embeddings)


def _convolution_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
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


def _channel_bias(_layer: nn.Module, _a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    return DenseBlock(name=name, offset=offset, values=g.reshape(*g.shape[:3], -1).sum(3))


def _batch_norm_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    shape = (1, -1) + (1,) * (a.ndim - 2)
    # Normalised afresh: dividing the output by the weight fails where the weight is zero.
    scale = (layer.running_var + layer.eps).rsqrt()
    return _channel_scale((a - layer.running_mean.view(shape)) * scale.view(shape), g, name, offset)


def _group_norm_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    return _channel_scale(functional.group_norm(a, layer.num_groups, eps=layer.eps), g, name, offset)


def _channel_scale(a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    n, c = a.shape[:2]
    values = torch.einsum("qnct,nct->qnc", g.reshape(g.shape[0], n, c, -1), a.reshape(n, c, -1))
    return DenseBlock(name=name, offset=offset, values=values, backprop_flops=2 * a.numel() * (1 + g.shape[0]))


def _layer_norm_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    return _position_scale(functional.layer_norm(a, layer.normalized_shape, eps=layer.eps), layer, g, name, offset)


def _rms_norm_weight(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    return _position_scale(functional.rms_norm(a, layer.normalized_shape, eps=layer.eps), layer, g, name, offset)


def _position_scale(a: torch.Tensor, layer: Any, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    n, q, p = a.shape[0], g.shape[0], math.prod(layer.normalized_shape)
    values = torch.einsum("qntp,ntp->qnp", g.reshape(q, n, -1, p), a.reshape(n, -1, p))
    return DenseBlock(name=name, offset=offset, values=values, backprop_flops=2 * a.numel() * (1 + q))


def _position_bias(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str, offset: int) -> GradientBlock:
    p = math.prod(layer.normalized_shape)
    return DenseBlock(name=name, offset=offset, values=g.reshape(g.shape[0], a.shape[0], -1, p).sum(2))


def _normalised_axes(layer: Any) -> int:
    return len(layer.normalized_shape)


_CONVOLUTION: dict[str, Rule] = {"weight": _convolution_weight, "bias": _channel_bias}
_BATCH_NORM: dict[str, Rule] = {"weight": _batch_norm_weight, "bias": _channel_bias}

KINDS: tuple[LayerKind, ...] = (
    LayerKind(
        layer=nn.Linear,
        rules={"weight": _linear_weight, "bias": _linear_bias},
        feature_axes=lambda _: 1,
    ),
    LayerKind(layer=nn.Embedding, rules={"weight": _table}, feature_axes=lambda _: 0),
    LayerKind(layer=nn.Conv1d, rules=_CONVOLUTION),
    LayerKind(layer=nn.Conv2d, rules=_CONVOLUTION),
    LayerKind(layer=nn.Conv3d, rules=_CONVOLUTION),
    LayerKind(layer=nn.BatchNorm1d, rules=_BATCH_NORM),
    LayerKind(layer=nn.BatchNorm2d, rules=_BATCH_NORM),
    LayerKind(layer=nn.BatchNorm3d, rules=_BATCH_NORM),
    LayerKind(layer=nn.GroupNorm, rules={"weight": _group_norm_weight, "bias": _channel_bias}),
    LayerKind(
        layer=nn.LayerNorm,
        rules={"weight": _layer_norm_weight, "bias": _position_bias},
        feature_axes=_normalised_axes,
    ),
    LayerKind(layer=nn.RMSNorm, rules={"weight": _rms_norm_weight}, feature_axes=_normalised_axes),
)
