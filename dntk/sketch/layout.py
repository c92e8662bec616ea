"""Which coordinate of the flattened parameter vector is which entry of which matrix."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from dntk.gradient_blocks import FactoredBlock, GradientBlock
from dntk.models.base import Model
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class ParameterMatrix:
    """A parameter as a matrix: its first axis by all others, stored row by row from ``offset`` on.

    A vector is a matrix of one column.
    """

    name: str
    offset: int
    rows: int
    columns: int

    @property
    def stop(self) -> int:
        """One past its last coordinate."""
        return self.offset + self.rows * self.columns


Layout: TypeAlias = tuple[ParameterMatrix, ...]
"""Matrices in the order of the flattened vector, without gaps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A rectangle of a matrix that fills the coordinates [start, stop) of a range, row by row."""

    matrix: ParameterMatrix
    rows: tuple[int, int]
    columns: tuple[int, int]
    start: int
    stop: int


def layout_of(model: Model) -> Layout:
    """Layout of the selected parameters of a model."""
    return layout_of_shapes({name: tuple(value.shape) for name, value in model.parameters.items()})


def layout_of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Layout:
    """Layout of parameters of these shapes, in this order."""
    matrices, offset = [], 0
    for name, shape in shapes.items():
        rows, columns = (shape[0] if shape else 1), math.prod(shape[1:])
        matrices.append(ParameterMatrix(name, offset, rows, columns))
        offset += rows * columns
    return tuple(matrices)


def check_layout(layout: Layout) -> None:
    """Raise ``ValueError`` unless the matrices follow each other without gaps."""
    position = 0
    for matrix in layout:
        if matrix.offset != position or matrix.rows < 1 or matrix.columns < 1:
            msg = f"`layout` has {matrix} where coordinate {position} begins: pass dntk.sketch.layout_of(model)."
            raise ValueError(msg)
        position = matrix.stop
    if not layout:
        msg = "`layout` is empty: pass dntk.sketch.layout_of(model)."
        raise ValueError(msg)


def parts_of(layout: Layout, start: int, stop: int) -> Iterator[Part]:
    """Rectangles that make up the coordinates [start, stop), at most three to a matrix, in order."""
    for matrix in layout:
        first, last = max(start, matrix.offset), min(stop, matrix.stop)
        while first < last:
            row, column = divmod(first - matrix.offset, matrix.columns)
            whole = 0 if column else (last - first) // matrix.columns
            if whole:
                rows, columns = (row, row + whole), (0, matrix.columns)
            else:
                rows, columns = (row, row + 1), (column, min(matrix.columns, column + last - first))
            size = (rows[1] - rows[0]) * (columns[1] - columns[0])
            yield Part(matrix=matrix, rows=rows, columns=columns, start=first - start, stop=first - start + size)
            first += size


def factors_in(layout: Layout, block: GradientBlock) -> tuple[Part, Array, Array] | None:
    """Factors Σ_t left[., i, t] ⊗ right[., i, t] of a block's gradient in the rows and columns of its matrix.

    Activations come as (1, n, t, a), cotangents as (q, n, t, b). ``None`` where the block is not factored, holds a
    bias too, or has factors that are not rows and columns of one matrix of the layout.
    """
    if not isinstance(block, FactoredBlock) or block.bias:
        return None
    inputs = block.inputs[None, ...]
    left, right = (inputs, block.cotangents) if block.transposed else (block.cotangents, inputs)
    for matrix in layout:
        if matrix.offset <= block.offset < matrix.stop:
            row, column = divmod(block.offset - matrix.offset, matrix.columns)
            last = row + left.shape[3]
            if column or right.shape[3] != matrix.columns or last > matrix.rows:
                return None
            part = Part(matrix=matrix, rows=(row, last), columns=(0, matrix.columns), start=0, stop=block.size)
            return part, left, right
    return None
