"""Gradient blocks as a model hands them out."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from jaxtyping import Float

from dntk.gradient_blocks import DenseBlock, GradientBlock
from dntk.types import Array


def in_order(blocks: Iterable[GradientBlock]) -> Iterator[GradientBlock]:
    """Blocks of all selected parameters, given in their order, each at its offset."""
    block: Any
    offset = 0
    for block in blocks:
        yield dataclasses.replace(block, offset=offset)
        offset += block.size


def stored_block(name: str, values: Float[Array, "q n p"]) -> DenseBlock:
    """Per-sample gradients of a parameter without a closed form, at offset 0."""
    return DenseBlock(name=name, offset=0, values=values)
