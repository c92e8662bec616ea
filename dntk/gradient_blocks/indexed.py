"""Gradients of a look-up table: row ids[i, t] receives g_qit; a factored block whose activations are one-hot."""

import dataclasses
from collections.abc import Iterator

from jaxtyping import Float, Int

from dntk.arrays import device_of, namespace, spans
from dntk.gradient_blocks.base import GradientBlock
from dntk.gradient_blocks.dense import itemsize
from dntk.ledger import count
from dntk.types import Array

_PIECE = 2**24


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
        q, n, t, b = self.cotangents.shape
        return n * t * (8 + q * b * itemsize(self.cotangents))

    @property
    def backprop_flops(self) -> int:
        """A look-up multiplies nothing."""
        return 0

    def gram(self, other: GradientBlock) -> Float[Array, "q n1 n2"]:
        """Σ over position pairs that used the same row."""
        if not isinstance(other, IndexedBlock):
            return self.dense() @ other.dense().mT
        xp = namespace(self.cotangents)
        return xp.stack([self._contract(other, q, q) for q in range(self.shape[0])])

    def mean_gram(self, other: GradientBlock) -> Float[Array, "n1 n2"]:
        """One contraction with cotangents and coordinates joined."""
        xp = namespace(self.cotangents)
        if not isinstance(other, IndexedBlock):
            return xp.mean(self.gram(other), axis=0)
        return self._joined()._contract(other._joined(), 0, 0) / self.shape[0]

    def cross_gram(self, other: GradientBlock) -> Float[Array, "q1 q2 n1 n2"]:
        """All pairs of cotangents."""
        xp = namespace(self.cotangents)
        if not isinstance(other, IndexedBlock):
            return self.dense()[:, None, :, :] @ other.dense().mT[None, :, :, :]
        rows = [xp.stack([self._contract(other, q, r) for r in range(other.shape[0])]) for q in range(self.shape[0])]
        return xp.stack(rows)

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
        xp = namespace(self.cotangents)
        q, n, _, b = self.cotangents.shape
        rows = xp.arange(self.rows, device=device_of(self.ids))
        hits = xp.astype(self.ids[:, None, :] == rows[None, :, None], self.cotangents.dtype)
        return xp.reshape(hits[None, ...] @ self.cotangents, (q, n, self.rows * b))

    def _contract(self, other: "IndexedBlock", q: int, r: int) -> Float[Array, "n1 n2"]:
        xp = namespace(self.cotangents)
        (n2, t2), t1, b = other.ids.shape, self.ids.shape[1], self.cotangents.shape[3]
        theirs = xp.reshape(other.cotangents[r, ...], (n2 * t2, b)).T
        slabs = []
        for start, stop in spans(self.shape[1], max(1, _PIECE // max(1, t1 * n2 * t2))):
            rows = (stop - start) * t1
            count(flops=2 * rows * n2 * t2 * b)
            same = xp.reshape(self.ids[start:stop, :], (rows, 1)) == xp.reshape(other.ids, (1, n2 * t2))
            products = xp.reshape(self.cotangents[q, start:stop, :, :], (rows, b)) @ theirs
            products = xp.where(same, products, xp.zeros_like(products))
            slabs.append(xp.sum(xp.reshape(products, (stop - start, t1, n2, t2)), axis=(1, 3)))
        return xp.concat(slabs, axis=0)

    def _joined(self) -> "IndexedBlock":
        xp = namespace(self.cotangents)
        q, n, t, b = self.cotangents.shape
        joined = xp.reshape(xp.permute_dims(self.cotangents, (1, 2, 0, 3)), (1, n, t, q * b))
        return dataclasses.replace(self, cotangents=joined)
