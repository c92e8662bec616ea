"""Gradients of a look-up table: row ids[i, t] receives g_qit; a factored block whose activations are one-hot."""

import dataclasses
from collections.abc import Iterator
from typing import TypeGuard

from jaxtyping import Float, Int

from dntk.arrays import device_of, itemsize, namespace
from dntk.gradient_blocks.base import GradientBlock
from dntk.gradient_blocks.contraction import Similarity, Span, contract, contract_pairs
from dntk.gradient_blocks.factored import FactoredBlock
from dntk.gradient_blocks.mixed import mixed_cross_gram, mixed_gram
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexedBlock:
    """Gradients of a (rows, b) table of which input i used the rows ``ids[i, :]``."""

    name: str
    offset: int
    ids: Int[Array, "n t"]
    cotangents: Float[Array, "q n t b"]
    rows: int

    @property
    def size(self) -> int:
        """Number of coordinates of the table."""
        return self.rows * self.cotangents.shape[3]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers (q, n) of cotangents and inputs."""
        return self.cotangents.shape[0], self.cotangents.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of ids and cotangents."""
        n, t = self.ids.shape
        return n * t * 8 + self.shape[0] * self.cotangent_nbytes

    @property
    def cotangent_nbytes(self) -> int:
        """Bytes that one further functional adds."""
        _, n, t, b = self.cotangents.shape
        return n * t * b * itemsize(self.cotangents)

    def gram(self, other: GradientBlock) -> Float[Array, "q n1 n2"]:
        """Σ over position pairs that used the same row; with a linear map's block, over all position pairs."""
        if self._fits(other):
            return mixed_gram(self, other)
        if not isinstance(other, IndexedBlock):
            return self.dense() @ other.dense().mT
        return contract(self.cotangents, other.cotangents, self._similarity(other))

    def mean_gram(self, other: GradientBlock) -> Float[Array, "n1 n2"]:
        """One contraction with cotangents and coordinates joined."""
        if not isinstance(other, IndexedBlock):
            return namespace(self.cotangents).mean(self.gram(other), axis=0)
        mine = self._joined()
        theirs = mine if other is self else other._joined()
        return contract(mine, theirs, self._similarity(other))[0, ...] / self.shape[0]

    def cross_gram(self, other: GradientBlock) -> Float[Array, "q n1 r n2"]:
        """All pairs of cotangents."""
        if self._fits(other):
            return mixed_cross_gram(self, other)
        if not isinstance(other, IndexedBlock):
            (q, n1), (r, n2) = self.shape, other.shape
            xp = namespace(self.cotangents)
            mine, theirs = xp.reshape(self.dense(), (q * n1, -1)), xp.reshape(other.dense(), (r * n2, -1))
            return xp.reshape(mine @ theirs.T, (q, n1, r, n2))
        return contract_pairs(self.cotangents, other.cotangents, self._similarity(other))

    def chunks(self, max_coordinates: int) -> Iterator[tuple[int, Float[Array, "q n b"]]]:
        """One row of the table at a time, only rows that were used; reads the ids on the host."""
        xp = namespace(self.cotangents)
        del max_coordinates  # a row is the unit: its coordinates are contiguous and few
        width = self.cotangents.shape[3]
        used = xp.unique_values(self.ids)
        for position in range(used.shape[0]):
            row = int(used[position])
            if row >= 0:
                hits = xp.astype(self.ids == row, self.cotangents.dtype)
                yield row * width, xp.sum(self.cotangents * hits[None, :, :, None], axis=2)

    def dense(self) -> Float[Array, "q n p"]:
        """The whole table's gradient: q · n · rows · b numbers."""
        return self.rows_between(0, self.rows)

    def rows_between(self, start: int, stop: int) -> Float[Array, "q n p"]:
        """The gradient in the rows [start, stop), flattened."""
        xp = namespace(self.cotangents)
        q, n, _, b = self.cotangents.shape
        rows = xp.arange(start, stop, device=device_of(self.ids))
        hits = xp.astype(self.ids[:, None, :] == rows[None, :, None], self.cotangents.dtype)
        return xp.reshape(hits[None, ...] @ self.cotangents, (q, n, (stop - start) * b))

    def _fits(self, other: GradientBlock) -> TypeGuard[FactoredBlock]:
        """Whether ``other`` is a linear map's block in a weight of the table's shape."""
        return (
            isinstance(other, FactoredBlock)
            and not (other.transposed or other.bias)
            and (other.cotangents.shape[3], other.inputs.shape[2]) == (self.rows, self.cotangents.shape[3])
        )

    def _similarity(self, other: "IndexedBlock") -> Similarity:
        """1 where two positions used the same row; padding is its own only, and has no cotangent."""

        def similarity(rows: Span, columns: Span) -> Array:
            mine, theirs = self.ids[rows[0] : rows[1], :], other.ids[columns[0] : columns[1], :]
            same = mine[:, :, None, None] == theirs[None, None, :, :]
            return namespace(self.cotangents).astype(same, self.cotangents.dtype)

        return similarity

    def _joined(self) -> Float[Array, "1 n t b"]:
        """Cotangents of one functional whose output coordinates are those of all q, side by side."""
        xp = namespace(self.cotangents)
        q, n, t, b = self.cotangents.shape
        return xp.reshape(xp.permute_dims(self.cotangents, (1, 2, 0, 3)), (1, n, t, q * b))
