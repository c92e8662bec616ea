"""Sums of sketched gradients, slab by slab of inputs, so that what is added to stays in a processor's cache."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock, IndexedBlock, TiedBlock
from dntk.ledger import count
from dntk.sketch.base import CHUNK_ENTRIES
from dntk.types import Array

SUMS = 2
"""Sketched gradients of one slab, in working sets."""

PIECES = 8
"""Coordinates of one slab that are hashed at once, in working sets: the sums are read and written once for them."""

HASHES = 128
"""Rows that are counted at least: the hashes of a coordinate take as much memory."""

Hashes: TypeAlias = Callable[[int, int, Array], tuple[Array, Array]]
"""(start, stop, like) to places and signed weights, both (stop − start, s), of these coordinates."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """Coordinates from ``start`` on of all inputs; ``of(slab)`` are their values (q, s, size) in a slab of s inputs.

    ``held`` where they are in memory; else they are made when they are asked for, from factors that take less.
    """

    start: int
    size: int
    of: Callable[[int], Array]
    held: bool

    def part(self, first: int, last: int) -> "Piece":
        """Some of these coordinates, counted from the first one."""
        if (first, last) == (0, self.size):
            return self

        def of(slab: int) -> Array:
            return self.of(slab)[:, :, first:last]

        return Piece(start=self.start + first, size=last - first, of=of, held=self.held)


@dataclasses.dataclass(kw_only=True)
class SlabSums:
    """Sums of rows of ``dim`` numbers for q functionals of n inputs; the rows of one input lie side by side.

    ``rows`` are of shape (s·q, k) for every slab of s inputs, ``turned`` (k, s·q): the order in which contributions
    come.
    """

    shape: tuple[int, int]
    dim: int
    spans: list[tuple[int, int]]
    width: int
    rows: list[Array | None]
    turned: list[Array | None]

    @classmethod
    def like(cls, block: GradientBlock, dim: int) -> "SlabSums":
        """Nothing yet, in slabs for the inputs of ``block``; ``width`` coordinates of a slab are hashed at once."""
        (q, n), array = block.shape, _array_of(block)
        entries = backend_of(array).working_set(array)
        size = max(1, min(n, SUMS * entries // max(1, q * dim)))
        spans = list(arrays.spans(n, size))
        empty: list[Array | None] = [None] * len(spans)
        width = max(1, PIECES * entries // max(q * size, HASHES))
        return cls(shape=(q, n), dim=dim, spans=spans, width=width, rows=empty, turned=list(empty))

    def add(self, slab: int, values: Float[Array, "r k"]) -> None:
        """Add to the rows of a slab."""
        self.rows[slab] = _added(self.rows[slab], values)

    def add_hashed(self, waiting: list[Piece], hashes: Hashes) -> None:
        """Add coordinates to where their hashes say, all pieces by one scatter for each slab."""
        if not waiting:
            return
        like = waiting[0].of(0)
        xp = arrays.namespace(like)
        found = [hashes(piece.start, piece.start + piece.size, like) for piece in waiting]
        index, weights = (xp.concat(list(each), axis=0) for each in zip(*found, strict=True))
        q, n = self.shape
        count(flops=2 * q * n * index.shape[0] * index.shape[1])
        for slab, (start, stop) in enumerate(self.spans):
            turned = [
                xp.reshape(xp.permute_dims(piece.of(slab), (2, 1, 0)), (piece.size, (stop - start) * q))
                for piece in waiting
            ]
            updates = xp.concat(turned, axis=0) if len(turned) > 1 else turned[0]
            sums = backend_of(updates).scatter_add(updates, index, weights, self.dim)
            self.turned[slab] = _added(self.turned[slab], sums)

    def values(self) -> Float[Array, "q n k"]:
        """The sums, which are let go slab by slab: twice as much as they are in memory at most."""
        found = []
        for slab, (start, stop) in enumerate(self.spans):
            rows, turned = self.rows[slab], self.turned[slab]
            total: Any = rows if turned is None else turned.T if rows is None else rows + turned.T
            self.rows[slab] = self.turned[slab] = None
            xp = arrays.namespace(total)
            found.append(xp.permute_dims(xp.reshape(total, (stop - start, self.shape[0], self.dim)), (1, 0, 2)))
        return arrays.namespace(found[0]).concat(found, axis=1)


def hashed(blocks: Iterable[GradientBlock], dim: int, hashes: Hashes) -> Float[Array, "q n k"]:
    """Gradients of which every coordinate is added, with its weights, to where its hashes say."""
    sums: SlabSums | None = None
    waiting: list[Piece] = []
    for block in blocks:
        sums = SlabSums.like(block, dim) if sums is None else sums
        for piece in pieces_of(block, sums):
            waiting.append(piece)
            if is_enough(waiting, sums):
                sums.add_hashed(waiting, hashes)
                waiting = []
    assert sums is not None
    sums.add_hashed(waiting, hashes)
    return sums.values()


def is_enough(waiting: list[Piece], sums: SlabSums) -> bool:
    """Whether so many coordinates wait that they are best hashed now, or so many numbers that they take much memory."""
    q, n = sums.shape
    numbers = q * n * sum(piece.size for piece in waiting if piece.held)
    return sum(piece.size for piece in waiting) >= sums.width or numbers >= CHUNK_ENTRIES


def pieces_of(block: GradientBlock, sums: SlabSums) -> Iterator[Piece]:
    """The coordinates of a block, at most ``sums.width`` at once where it has factors, expanded slab by slab.

    Factors that are larger than the gradients, as those of convolutions with few channels, are expanded at once.
    """
    if not isinstance(block, FactoredBlock) or block.transposed or block.bias:
        for start, values in block.chunks(max(1, sums.width // len(sums.spans))):
            parts = [values[:, first:last, :] for first, last in sums.spans]
            yield Piece(start=block.offset + start, size=values.shape[2], of=parts.__getitem__, held=True)
        return
    (q, n, t, b), a = block.cotangents.shape, block.inputs.shape[2]
    held = t * (a + q * b) > q * a * b
    for start, stop in arrays.spans(b, max(1, sums.width // a)):
        count(flops=2 * q * n * t * (stop - start) * a)
        of: Callable[[int], Array] = functools.partial(_expanded, block, (start, stop), sums.spans)
        if held:
            of = [of(slab) for slab in range(len(sums.spans))].__getitem__
        yield Piece(start=block.offset + start * a, size=(stop - start) * a, of=of, held=held)


def _expanded(
    block: FactoredBlock, rows: tuple[int, int], spans: list[tuple[int, int]], slab: int
) -> Float[Array, "q s b"]:
    """Gradients of some rows of a weight at the inputs of a slab."""
    (start, stop), (first, last) = rows, spans[slab]
    cotangents = block.cotangents[:, first:last, :, start:stop]
    return backend_of(block.inputs).expand(cotangents, block.inputs[first:last, :, :])


def _array_of(block: GradientBlock) -> Array:
    match block:
        case FactoredBlock():
            return block.inputs
        case IndexedBlock():
            return block.cotangents
        case DenseBlock():
            return block.values
        case TiedBlock():
            return block.linear.inputs
        case _:
            return next(iter(block.chunks(1)))[1]


def _added(total: Any, more: Array) -> Any:
    """The sum, in the memory of ``total``; what is given may be kept."""
    if total is None:
        return more
    total += more
    return total
