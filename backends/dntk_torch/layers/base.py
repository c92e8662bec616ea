"""What a layer with closed-form gradients is, and how gradients of several uses add up."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock, IndexedBlock

Rule = Callable[[Any, torch.Tensor, torch.Tensor, str, int], GradientBlock]
"""(layer, input a (n, ...), cotangents g (q, n, ...) of its output, parameter name, offset) to a block."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerKind:
    """A layer whose parameters have rules.

    ``feature_axes`` counts the trailing axes of its input that it transforms where it treats all
    other positions alike, so that batch and position axes may come in any order; ``None`` where the
    batch must come first.
    """

    layer: type[nn.Module]
    rules: Mapping[str, Rule]
    feature_axes: Callable[[Any], int | None] = lambda _layer: None


def merged(blocks: list[GradientBlock]) -> GradientBlock | None:
    """Sum of the gradients of one parameter over its uses, ``None`` where their forms differ."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    if isinstance(first, FactoredBlock) and all(_same_way(first, b) for b in blocks):
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
            forward_flops=sum(b.forward_flops for b in stored),
        )
    return None


def _same_way(first: FactoredBlock, other: GradientBlock) -> bool:
    return (
        isinstance(other, FactoredBlock)
        and other.transposed == first.transposed
        and other.inputs.shape[2] == first.inputs.shape[2]
        and other.cotangents.shape[3] == first.cotangents.shape[3]
    )
