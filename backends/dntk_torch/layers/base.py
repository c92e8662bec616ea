"""What a layer with closed-form gradients is, and how gradients of several uses add up."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock, IndexedBlock, TiedBlock

Rule = Callable[[Any, torch.Tensor, torch.Tensor, str], GradientBlock]
"""(layer, input a (n, ...), cotangents g (q, n, ...) of its output, parameter name) to a block."""


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
    """Sum of the gradients of one parameter over its uses, ``None`` where their forms do not go together."""
    if len(blocks) == 1:
        return blocks[0]
    tables: Any = [block for block in blocks if isinstance(block, IndexedBlock)]
    factors: Any = [block for block in blocks if isinstance(block, FactoredBlock)]
    stored: Any = [block for block in blocks if isinstance(block, DenseBlock)]
    if len(stored) == len(blocks):
        return _stored(stored)
    if stored or not all(_same_way(factors[0], block) for block in factors):
        return _expanded(blocks)
    if not factors:
        return _table(tables)
    return _tied(_table(tables), _linear(factors)) if tables else _linear(factors)


def _expanded(blocks: list[GradientBlock]) -> DenseBlock | None:
    """Of several forms, such as a table that is also looked up at fixed places."""
    if len({block.size for block in blocks}) > 1:
        return None
    first = blocks[0]
    return _stored([DenseBlock(name=first.name, offset=first.offset, values=block.dense()) for block in blocks])


def _stored(blocks: Any) -> DenseBlock:
    return dataclasses.replace(blocks[0], values=sum(block.values for block in blocks))


def _table(blocks: Any) -> IndexedBlock:
    return dataclasses.replace(
        blocks[0],
        ids=torch.cat([block.ids for block in blocks], dim=1),
        cotangents=torch.cat([block.cotangents for block in blocks], dim=2),
    )


def _linear(blocks: Any) -> FactoredBlock:
    return dataclasses.replace(
        blocks[0],
        inputs=torch.cat([block.inputs for block in blocks], dim=1),
        cotangents=torch.cat([block.cotangents for block in blocks], dim=2),
    )


def _tied(table: IndexedBlock, linear: FactoredBlock) -> TiedBlock | None:
    try:
        return TiedBlock(name=table.name, offset=table.offset, table=table, linear=linear)
    except ValueError:
        return None  # such as a table used as it is stored transposed


def _same_way(first: FactoredBlock, other: GradientBlock) -> bool:
    return (
        isinstance(other, FactoredBlock)
        and other.transposed == first.transposed
        and other.inputs.shape[2] == first.inputs.shape[2]
        and other.cotangents.shape[3] == first.cotangents.shape[3]
    )
