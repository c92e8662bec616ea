"""Where rows of a reduced matrix go: into blocks of the sketch, in turn and in random order, with signs."""

import dataclasses

from jaxtyping import Float, Int, Integer

from dntk import arrays
from dntk.backend import backend_of
from dntk.random import moved, nearby_signs, nearby_words
from dntk.sketch.layout import ParameterMatrix, Part
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """Places of the rows of one matrix among ``blocks`` blocks of ``width`` numbers.

    Rows in random order go round the blocks in random order, so that no two of the first ``blocks`` rows meet, and
    any two meet with probability at most 1/``blocks``. Row r of the matrix has the words number offset + r and block i
    the words number i of streams of their own, and signs the row offset + r of a matrix of signs.
    """

    matrix: ParameterMatrix
    width: int
    blocks: int
    seed: int

    def placed(self, rows: Float[Array, "r h w"], part: Part) -> Float[Array, "r d"]:
        """Signed rows of a part of the matrix, added into their blocks; d = blocks · width."""
        whole = part.rows == (0, self.matrix.rows)
        return self._all(rows) if whole else self._some(rows, part)

    def gathered(self, z: Float[Array, "r d"], part: Part) -> Float[Array, "r h w"]:
        """The transpose: for every row of a part its block, signed."""
        xp = arrays.namespace(z)
        square = xp.reshape(z, (z.shape[0], self.blocks, self.width))
        return xp.take(square, self._block_of(part.rows, z), axis=1) * self._signs(part.rows, z)

    def looked_up(self, rows: Float[Array, "q n t w"], ids: Int[Array, "n t"]) -> Float[Array, "q n d"]:
        """Signed rows number ``ids`` of a table, added for every input into their blocks; negative ids add nothing."""
        xp = arrays.namespace(rows)
        q, n, t, w = rows.shape
        used = xp.reshape(xp.where(ids < 0, xp.zeros_like(ids), ids), (n * t,))
        signs = xp.take(self._signs((0, self.matrix.rows), rows), used, axis=0)
        signs = xp.where(xp.reshape(ids, (n * t, 1)) < 0, xp.zeros_like(signs), signs)
        blocks = xp.take(self._block_of((0, self.matrix.rows), rows), used, axis=0)
        own = xp.arange(n, dtype=blocks.dtype, device=arrays.device_of(blocks)) * self.blocks
        index = xp.reshape(xp.reshape(blocks, (n, t)) + own[:, None], (n * t, 1))
        updates = xp.reshape(xp.permute_dims(rows, (1, 2, 0, 3)), (n * t, q, w)) * signs[:, None, :]
        ones = xp.ones((n * t, 1), dtype=rows.dtype, device=arrays.device_of(rows))
        updates = xp.reshape(updates, (n * t, q * w))
        found = backend_of(rows).scatter_add(updates, index, ones, n * self.blocks)
        found = xp.permute_dims(xp.reshape(found, (n, self.blocks, q, w)), (2, 0, 1, 3))
        return xp.reshape(found, (q, n, self.blocks * w))

    def _all(self, rows: Float[Array, "r h w"]) -> Float[Array, "r d"]:
        """Long rows are fetched round by round: a few large reads where a scatter makes many small writes."""
        xp = arrays.namespace(rows)
        table, signs = self._rounds(rows)
        total = None
        for turn in range(table.shape[0]):
            taken = xp.take(rows, table[turn, :], axis=1)
            taken *= signs[turn, ...]
            if total is None:
                total = taken
            else:
                total += taken
        return xp.reshape(total, (rows.shape[0], self.blocks * self.width))

    def _some(self, rows: Float[Array, "r h w"], part: Part) -> Float[Array, "r d"]:
        xp = arrays.namespace(rows)
        r, h, w = rows.shape
        updates = xp.reshape(xp.permute_dims(rows * self._signs(part.rows, rows), (1, 0, 2)), (h, r * w))
        ones = xp.ones((h, 1), dtype=rows.dtype, device=arrays.device_of(rows))
        found = backend_of(rows).scatter_add(updates, self._block_of(part.rows, rows)[:, None], ones, self.blocks)
        return xp.reshape(xp.permute_dims(xp.reshape(found, (self.blocks, r, w)), (1, 0, 2)), (r, self.blocks * w))

    def _rounds(self, like: Array) -> tuple[Int[Array, "rounds blocks"], Float[Array, "rounds blocks w"]]:
        """Row that every block receives in every round, and its signs: zeros where the last round has none left."""
        count = self.matrix.rows
        rounds = -(-count // self.blocks)
        order, blocks = self._orders(like)
        xp = arrays.namespace(order)
        place = {"dtype": order.dtype, "device": arrays.device_of(order)}
        filled = xp.concat([order, xp.zeros((rounds * self.blocks - count,), **place)])
        turn = xp.argsort(blocks, stable=True)
        table = xp.take(xp.reshape(filled, (rounds, self.blocks)), turn, axis=1)
        left = xp.take(
            xp.reshape(xp.arange(rounds * self.blocks, **place) < count, (rounds, self.blocks)), turn, axis=1
        )
        table, left = _indices(table, like), moved(left, like)
        xp = arrays.namespace(like)
        signs = xp.take(self._signs((0, count), like), xp.reshape(table, (-1,)), axis=0)
        signs = xp.reshape(signs, (rounds, self.blocks, self.width)) * xp.astype(left, like.dtype)[..., None]
        return table, signs

    def _block_of(self, span: tuple[int, int], like: Array) -> Int[Array, " h"]:
        """Block of every row of a range."""
        order, blocks = self._orders(like)
        xp = arrays.namespace(order)
        position = xp.argsort(order, stable=True)[span[0] : span[1]] % self.blocks
        return _indices(xp.take(blocks, position, axis=0), like)

    def _orders(self, like: Array) -> tuple[Integer[Array, " rows"], Integer[Array, " blocks"]]:
        """Rows, then blocks, in random order: that of their words, ties in their own."""
        place = self.matrix.offset
        return (
            self._order(f"mixed-rows-{place}", self.matrix.rows, like),
            self._order(f"mixed-blocks-{place}", self.blocks, like),
        )

    def _order(self, stream: str, count: int, like: Array) -> Integer[Array, " count"]:
        drawn = nearby_words(like, seed=self.seed, stream=stream, start=0, count=count)
        return arrays.namespace(drawn).argsort(drawn, stable=True)

    def _signs(self, span: tuple[int, int], like: Array) -> Float[Array, "h w"]:
        return nearby_signs(
            like,
            seed=self.seed,
            stream=f"mixed-signs-{self.width}",
            start=self.matrix.offset + span[0],
            rows=span[1] - span[0],
            columns=self.width,
            scale=1.0,
        )


def _indices(index: Integer[Array, "*shape"], like: Array) -> Int[Array, "*shape"]:
    """``index`` where ``like`` is, of the type that its library indexes with."""
    xp = arrays.namespace(like)
    kind = xp.__array_namespace_info__().default_dtypes(device=arrays.device_of(like))["indexing"]
    return xp.astype(moved(index, like), kind, copy=False)
