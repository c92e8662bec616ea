"""What a sketch is, and what all linear sketches share."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer
from dntk.gradient_blocks import FactoredBlock, GradientBlock
from dntk.ledger import count
from dntk.sketch.layout import Layout, check_layout
from dntk.types import Array

CHUNK_ENTRIES = 2**24
"""Entries of the largest temporary: a piece of gradients, or of a dense sketching matrix."""


@runtime_checkable
class Sketch(Protocol):
    """A random linear map of P coordinates to ``dim`` numbers, a function of its seed alone.

    ``n_parameters`` binds it to P coordinates; unbound it fits any number.
    """

    @property
    def dim(self) -> int:
        """Number k of coordinates after sketching."""

    @property
    def seed(self) -> int:
        """Its random stream."""

    @property
    def n_parameters(self) -> int | None:
        """Number P of coordinates it was bound to, if any."""

    def apply(self, gradients: Float[Array, "*batch p"]) -> Float[Array, "*batch k"]:
        """S g for every row g."""

    def adjoint(self, z: Float[Array, "*batch k"], *, n_parameters: int | None = None) -> Float[Array, "*batch p"]:
        """Sᵀ z for every row z."""

    def columns(self, values: Float[Array, "r b"], start: int) -> Float[Array, "r k"]:
        """Contribution of the coordinates [start, start + b) of every row."""

    def chunk_width(self, rows: int) -> int:
        """Coordinates to be taken at once for ``rows`` rows, so that temporaries stay bounded."""


@runtime_checkable
class BlockSketch(Protocol):
    """A sketch that knows a better way from a gradient block to its contribution than dense pieces of it."""

    def block(self, block: GradientBlock) -> Float[Array, "q n k"]:
        """Contribution of one gradient block; equal to that of its dense coordinates up to rounding."""


@runtime_checkable
class StreamSketch(Protocol):
    """A sketch that shares work between the blocks of one batch."""

    def blocks(self, blocks: Iterable[GradientBlock]) -> Float[Array, "q n k"]:
        """Sum of the contributions of all blocks."""


@runtime_checkable
class PairedSketch(Protocol):
    """A sketch whose adjoint need not be applied to whole gradients: it has smaller ones."""

    def cheaper_pair(
        self, block: GradientBlock, z: Float[Array, "q k"]
    ) -> tuple[FactoredBlock, Float[Array, "q p"]] | None:
        """A block and weights whose products are those of ``block`` with Sᵀz_q, where they cost less."""


@runtime_checkable
class LayoutSketch(Protocol):
    """A sketch whose map depends on which coordinates form which matrix."""

    @property
    def layout(self) -> Layout | None:
        """Matrices it was bound to, if any."""

    def bound(self, layout: Layout) -> Sketch:
        """The sketch for the parameters of this layout."""


def sketch_blocks(sketch: Sketch, blocks: Iterable[GradientBlock]) -> Float[Array, "q n k"]:
    """S φ for one batch: the sum of its blocks' contributions, in float64 where the device has it."""
    if isinstance(sketch, StreamSketch):
        return sketch.blocks(separated(blocks))
    total = None
    for block in separated(blocks) if isinstance(sketch, BlockSketch) else blocks:
        part = sketch_block(sketch, block)
        total = part if total is None else total + part
    assert total is not None
    return total


def separated(blocks: Iterable[GradientBlock]) -> Iterator[GradientBlock]:
    """Weights and their biases apart, for sketches that use factors: a bias has none of its own."""
    for block in blocks:
        if isinstance(block, FactoredBlock):
            yield from block.separated()
        else:
            yield block


def sketch_block(sketch: Sketch, block: GradientBlock) -> Float[Array, "q n k"]:
    """Contribution of one gradient block to S φ, accumulated in float64 where the device has it."""
    return sketch.block(block) if isinstance(sketch, BlockSketch) else block_by_pieces(sketch, block)


def block_by_pieces(sketch: Sketch, block: GradientBlock) -> Float[Array, "q n k"]:
    """Contribution of one gradient block from dense pieces of it."""
    total = None
    q, n = block.shape
    for start, values in block.chunks(sketch.chunk_width(q * n)):
        xp = arrays.namespace(values)
        rows = xp.reshape(values, (q * n, values.shape[2]))
        part = arrays.in_float64(sketch.columns(rows, block.offset + start))
        total = part if total is None else total + part
    assert total is not None
    return arrays.namespace(total).reshape(total, (q, n, sketch.dim))


def apply_in_chunks(sketch: Sketch, gradients: Float[Array, "*batch p"]) -> Float[Array, "*batch k"]:
    """S g for whole gradient vectors, chunk by chunk of coordinates."""
    xp = arrays.namespace(gradients)
    arrays.require_floating("gradients", gradients)
    size = gradients.shape[-1]
    if sketch.n_parameters is not None and size != sketch.n_parameters:
        msg = (
            f"`gradients` has {size} coordinates, but the sketch is bound to {sketch.n_parameters} parameters: "
            "were the gradients made from another model?"
        )
        raise ValueError(msg)
    batch = gradients.shape[:-1]
    rows = xp.reshape(gradients, (-1, size))
    dtype = arrays.accumulation_dtype(gradients)
    total = xp.zeros((rows.shape[0], sketch.dim), dtype=dtype, device=arrays.device_of(gradients))
    for start, stop in arrays.spans(size, sketch.chunk_width(rows.shape[0])):
        total = total + xp.astype(sketch.columns(rows[:, start:stop], start), dtype)
    return xp.reshape(xp.astype(total, gradients.dtype), (*batch, sketch.dim))


def adjoint_in_chunks(
    sketch: Sketch,
    z: Float[Array, "*batch k"],
    n_parameters: int | None,
    piece: Callable[[Array, int, int], Array],
    *,
    width: int,
) -> Float[Array, "*batch p"]:
    """Sᵀ z, by pieces of at most ``width`` coordinates: ``piece(rows, start, stop)`` is (rows, stop − start)."""
    xp = arrays.namespace(z)
    size = adjoint_size(sketch, z, n_parameters)
    rows = xp.reshape(z, (-1, sketch.dim))
    pieces = [piece(rows, start, stop) for start, stop in arrays.spans(size, width)]
    return xp.reshape(xp.concat(pieces, axis=1), (*z.shape[:-1], size))


def rows_of(z: Float[Array, "*batch k"]) -> int:
    """Number of rows in all leading axes."""
    return math.prod(z.shape[:-1])


def adjoint_size(sketch: Sketch, z: Array, n_parameters: int | None) -> int:
    """Number of coordinates that an adjoint has to return.

    Raises
    ------
    ValueError
        ``z`` is not of the sketch's dimension, or no number of coordinates is known, or two differ.
    """
    if z.shape[-1] != sketch.dim:
        msg = f"`z` has {z.shape[-1]} coordinates, but the sketch has dim={sketch.dim}."
        raise ValueError(msg)
    size = n_parameters if n_parameters is not None else sketch.n_parameters
    if size is None:
        msg = (
            "the adjoint needs the number of parameters: pass n_parameters=P, or use the bound sketch that "
            "tangent_features returns as `phi.sketch`."
        )
        raise ValueError(msg)
    if sketch.n_parameters is not None and size != sketch.n_parameters:
        msg = f"n_parameters={size}, but the sketch is bound to {sketch.n_parameters} parameters."
        raise ValueError(msg)
    return size


def check_sketch_fields(sketch: Sketch) -> None:
    """Raise ``ValueError`` unless the fields that all sketches share are sound; NumPy's integers become Python's."""
    positive_integer("dim", sketch.dim)
    check_seed(sketch.seed)
    if sketch.n_parameters is not None and sketch.n_parameters < 1:
        msg = f"`n_parameters` must be positive, got {sketch.n_parameters}."
        raise ValueError(msg)
    described: Any = sketch
    own = {field.name for field in dataclasses.fields(described)} & {"dim", "seed", "n_parameters"}  # others follow
    keep(sketch, **{name: int(getattr(sketch, name)) for name in own if getattr(sketch, name) is not None})


def bound_layout(sketch: LayoutSketch) -> Layout:
    """Layout of a bound sketch; ``ValueError`` where it is not bound."""
    if sketch.layout is None:
        msg = (
            f"a {type(sketch).__name__} depends on the shapes of the parameters: bind it first, with "
            "sketch.bound(dntk.sketch.layout_of(model)), or use `phi.sketch` of the features that it made."
        )
        raise ValueError(msg)
    return sketch.layout


def rebound(sketch: Any, layout: Layout) -> Any:
    """``sketch`` with this layout; ``ValueError`` where it has another."""
    check_layout(layout)
    if sketch.layout not in (None, layout):
        msg = f"the {type(sketch).__name__} is bound to the parameters of another model: pass an unbound one."
        raise ValueError(msg)
    return dataclasses.replace(sketch, layout=layout)


def size_of(layout: Layout | None) -> int | None:
    """Number P of coordinates of a layout, if any."""
    return None if layout is None else layout[-1].stop


def count_products(operations: int) -> None:
    """Note sketching work in the ledger."""
    count(flops=operations)
