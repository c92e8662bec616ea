"""Inner products of gradients Σ_t g_t ⊗ a_t from their factors, by contraction over pairs of positions.

⟨Σ_t g_t ⊗ a_t, Σ_t' g'_t' ⊗ a'_t'⟩ = Σ_{t,t'} ⟨a_t, a'_t'⟩ ⟨g_t, g'_t'⟩. The similarities ⟨a_t, a'_t'⟩ are the same for
all functionals and computed once. Work goes tile by tile of inputs, each of the size that suits the device.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from jaxtyping import Float

from dntk.arrays import namespace, spans
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.types import Array

Span = tuple[int, int]

Similarity = Callable[[Span, Span], Float[Array, "i t1 j t2"]]
"""⟨a_it, a'_jt'⟩ for inputs i and j of two ranges; symmetric to the last bit for one range of one block."""


def contract(
    left: Float[Array, "q n1 t1 b"], right: Float[Array, "q n2 t2 b"], similarity: Similarity
) -> Float[Array, "q n1 n2"]:
    """Inner products functional by functional; symmetric to the last bit where ``left`` is ``right``."""
    mine, theirs = _flat(left), _flat(right)
    if left.shape[2] == right.shape[2] == 1:
        products = _whole(mine, theirs, same=left is right)
        products *= _at_one_position(similarity, left, right, functionals=left.shape[0])[None, :, :]
        return products

    def tile(rows: Span, columns: Span) -> Array:
        alike = similarity(rows, columns)
        (i, t1, j, t2), q = alike.shape, left.shape[0]
        products = backend_of(left).inner(_of(mine, rows, t1), _of(theirs, columns, t2))
        count(flops=2 * math.prod(products.shape) * (left.shape[3] + 1))
        products *= namespace(products).reshape(alike, (1, i * t1, j * t2))
        return _over_positions(products, (q, i, t1, j, t2), axes=(2, 4))

    return _tiled(left, right, tile, _mirrored, left.shape[0], axes=(1, 2))


def contract_pairs(
    left: Float[Array, "q n1 t1 b"], right: Float[Array, "r n2 t2 b"], similarity: Similarity
) -> Float[Array, "q n1 r n2"]:
    """Inner products of every pair of functionals; symmetric to the last bit where ``left`` is ``right``."""
    mine, theirs = _flat(left), _flat(right)
    q, r, b = left.shape[0], right.shape[0], left.shape[3]
    if left.shape[2] == right.shape[2] == 1:
        xp, (n1, n2) = namespace(left), (left.shape[1], right.shape[1])
        first = xp.reshape(mine, (q * n1, b))
        same = left is right
        products = _whole(first, first if same else xp.reshape(theirs, (r * n2, b)), same=same)
        products = xp.reshape(products, (q, n1, r, n2))
        products *= _at_one_position(similarity, left, right, functionals=q * r)[None, :, None, :]
        return products

    def tile(rows: Span, columns: Span) -> Array:
        xp = namespace(left)
        alike = similarity(rows, columns)
        i, t1, j, t2 = alike.shape
        first, second = _of(mine, rows, t1), _of(theirs, columns, t2)
        products = backend_of(left).inner(xp.reshape(first, (q * i * t1, b)), xp.reshape(second, (r * j * t2, b)))
        count(flops=2 * math.prod(products.shape) * (b + 1))
        products = xp.reshape(products, (q, i * t1, r, j * t2))
        products *= xp.reshape(alike, (1, i * t1, 1, j * t2))
        return _over_positions(products, (q, i, t1, r, j, t2), axes=(2, 5))

    return _tiled(left, right, tile, _swapped, left.shape[0] * right.shape[0], axes=(1, 3))


def _flat(cotangents: Float[Array, "q n t b"]) -> Float[Array, "q rows b"]:
    q, n, t, b = cotangents.shape
    return namespace(cotangents).reshape(cotangents, (q, n * t, b))


def _whole(left: Array, right: Array, *, same: bool) -> Array:
    """All products of rows at once: with one position each they are as many as results."""
    flops = 2 * math.prod(left.shape) * right.shape[-2]
    if same:
        count(flops=flops // 2)
        return backend_of(left).gram(left)
    count(flops=flops)
    return backend_of(left).inner(left, right)


def _at_one_position(similarity: Similarity, left: Array, right: Array, *, functionals: int) -> Float[Array, "n1 n2"]:
    n1, n2 = left.shape[1], right.shape[1]
    alike: Array = namespace(left).reshape(similarity((0, n1), (0, n2)), (n1, n2))
    count(flops=functionals * n1 * n2)
    return alike


def _of(flat: Float[Array, "q rows b"], inputs: Span, positions: int) -> Float[Array, "q some b"]:
    return flat[:, inputs[0] * positions : inputs[1] * positions, :]


def _over_positions(products: Array, shape: tuple[int, ...], *, axes: tuple[int, int]) -> Array:
    """Sum over both axes of positions, the inner one first: its numbers lie side by side."""
    xp = namespace(products)
    wide = xp.reshape(products, shape)
    for axis in sorted(axes, reverse=True):
        wide = xp.squeeze(wide, axis=axis) if shape[axis] == 1 else xp.sum(wide, axis=axis)
    return wide


def _mirrored(tile: Float[Array, "q i j"]) -> Float[Array, "q j i"]:
    return tile.mT


def _swapped(tile: Float[Array, "q i r j"]) -> Float[Array, "r j q i"]:
    return namespace(tile).permute_dims(tile, (2, 3, 0, 1))


def _tiled(
    left: Array,
    right: Array,
    tile: Callable[[Span, Span], Array],
    mirrored: Callable[[Array], Array],
    functionals: int,
    *,
    axes: tuple[int, int],
) -> Array:
    """All tiles put together; of a symmetric result only those on and above the diagonal are computed."""
    pair = functionals * left.shape[2] * right.shape[2]
    side = max(1, int((backend_of(left).working_set(left) / max(1, pair)) ** 0.5))
    rows, columns = list(spans(left.shape[1], side)), list(spans(right.shape[1], side))
    tiles: dict[tuple[int, int], Array] = {}
    for i, j in _needed(len(rows), len(columns), symmetric=left is right):
        found = tile(rows[i], columns[j])
        if left is right:
            tiles[j, i] = mirrored(found)
            found = (found + tiles[j, i]) / 2 if i == j else found
        tiles[i, j] = found
    xp = namespace(left)
    return _concat(
        xp, [_concat(xp, [tiles[i, j] for j in range(len(columns))], axes[1]) for i in range(len(rows))], axes[0]
    )


def _needed(rows: int, columns: int, *, symmetric: bool) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(rows) for j in range(i if symmetric else 0, columns))


def _concat(xp: Any, parts: list[Array], axis: int) -> Array:
    return xp.concat(parts, axis=axis) if len(parts) > 1 else parts[0]
