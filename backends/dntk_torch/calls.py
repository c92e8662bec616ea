"""Calls that a forward pass makes of layers and functions, and what they say about parameters."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock, IndexedBlock
from dntk_torch.layers import Rule
from dntk_torch.lineage import Origin


@dataclasses.dataclass(frozen=True, kw_only=True)
class Functions:
    """In place of a layer: all calls of functions that use some parameters, by their names."""

    names: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Use:
    """How a call uses the coordinates [start, start + size) of one parameter of ``total`` coordinates.

    ``layer`` holds the sizes that the rule reads, a module or what stands for one. ``feature_axes``
    as in :class:`dntk_torch.layers.LayerKind`. ``origin`` is there where the call is given a value made of the
    parameter, not the parameter itself. ``ordered`` says that the rule needs all rows of an input, in order.
    """

    name: str
    rule: Rule
    layer: Any
    feature_axes: int | None
    start: int = 0
    size: int = 0
    total: int = 0
    origin: Origin | None = None
    ordered: bool = False

    def block(self, a: torch.Tensor, g: torch.Tensor) -> GradientBlock:
        """Gradients in the whole parameter, zero where the call does not use it.

        Raises
        ------
        RuntimeError
            The used coordinates are no whole rows.
        """
        block: Any = self.rule(self.layer, a, g, self.name)
        if self.origin is not None:
            return self.origin.pulled(block, self.name)
        before, after = self.start, self.total - self.start - self.size
        if before == after == 0:
            return block
        if isinstance(block, DenseBlock):
            return dataclasses.replace(block, values=functional.pad(block.values, (before, after)))
        width = self.size // self._rows(block)
        if before % width or after % width:
            msg = f"coordinates {before} to {before + self.size} of `{self.name}` are no rows of {width}."
            raise RuntimeError(msg)
        return _padded(block, before // width, after // width)

    def _rows(self, block: Any) -> int:
        if isinstance(block, IndexedBlock):
            return block.rows
        return block.inputs.shape[2] if block.transposed else block.cotangents.shape[3]


def _padded(block: Any, before: int, after: int) -> FactoredBlock | IndexedBlock:
    """The gradient of a larger matrix, of whose rows the block knows those between."""
    if isinstance(block, IndexedBlock):
        ids = torch.where(block.ids >= 0, block.ids + before, block.ids)
        return dataclasses.replace(block, ids=ids, rows=before + block.rows + after)
    factor = "inputs" if block.transposed else "cotangents"
    return dataclasses.replace(block, **{factor: functional.pad(getattr(block, factor), (before, after))})


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerCall:
    """One call of a layer: its input, and the place in the autograd graph of its output.

    ``version`` tells whether the input was overwritten since. ``uses`` tells what a call of a
    function, which belongs to no layer, does with parameters.
    """

    input: torch.Tensor
    version: int
    edge: Any
    uses: Sequence[Use] = ()

    def overwritten(self) -> bool:
        """Whether a later operation wrote into the input."""
        return bool(self.input._version != self.version)
