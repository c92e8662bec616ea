"""Inner products of gradients Σ_t g_t ⊗ a_t by expanding them, piece by piece of coordinates.

Pieces have inputs first and functionals second, the order in which one product per input makes them for all
functionals at once. They are small, so that the memory of one serves the next.
"""

from collections.abc import Iterator
from typing import Any

from jaxtyping import Float

from dntk.arrays import namespace, spans
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.types import Array

PIECE = 2**22
"""Entries of one piece of expanded gradients; 16 MiB in float32."""


def pieces(
    inputs: Float[Array, "n t a"], cotangents: Float[Array, "q n t b"], *, bias: bool, entries: int
) -> Iterator[Float[Array, "n q w"]]:
    """Expanded gradients, whole rows of the weight at a time, then those of the bias."""
    xp = namespace(inputs)
    (q, n, t, b), a = cotangents.shape, inputs.shape[2]
    by_input, columns = xp.permute_dims(cotangents, (1, 0, 3, 2)), inputs.mT
    backend = backend_of(inputs)
    for start, stop in spans(b, max(1, entries // max(1, n * q * a))):
        count(flops=2 * n * q * t * (stop - start) * a)
        rows = xp.reshape(by_input[:, :, start:stop, :], (n, q * (stop - start), t))
        yield xp.reshape(backend.inner(rows, columns), (n, q, (stop - start) * a))
    if bias:
        yield xp.permute_dims(xp.sum(cotangents, axis=2), (1, 0, 2))


def expanded_gram(left: Any, right: Any) -> Float[Array, "q n1 n2"]:
    """Inner products functional by functional."""
    return _summed(left, right, lambda piece: namespace(piece).permute_dims(piece, (1, 0, 2)))


def expanded_mean_gram(left: Any, right: Any) -> Float[Array, "n1 n2"]:
    """Their mean, by products of functionals and coordinates joined."""
    return _summed(left, right, lambda piece: _joined(piece, (piece.shape[0], -1))) / left.shape[0]


def expanded_cross_gram(left: Any, right: Any) -> Float[Array, "q n1 r n2"]:
    """Inner products of every pair of functionals."""
    (q, n1), (r, n2) = left.shape, right.shape
    xp = namespace(left.inputs)
    products = _summed(left, right, lambda piece: _joined(piece, (-1, piece.shape[2])))
    return xp.permute_dims(xp.reshape(products, (n1, q, n2, r)), (1, 0, 3, 2))


def _joined(piece: Array, shape: tuple[int, int]) -> Array:
    return namespace(piece).reshape(piece, shape)


def _summed(left: Any, right: Any, matrix: Any) -> Array:
    total: Any = None
    for mine, theirs in _paired(left, right):
        a = matrix(mine)
        if mine is theirs:
            count(flops=_product_flops(a, a) // 2)
            product = backend_of(a).gram(a)
        else:
            b = matrix(theirs)
            count(flops=_product_flops(a, b))
            product = backend_of(a).inner(a, b)
        if total is None:
            total = product
        else:
            total += product
    assert total is not None
    return total


def _paired(left: Any, right: Any) -> Iterator[tuple[Array, Array]]:
    """Pieces of both factored blocks over the same coordinates; the same pieces twice for one block."""
    points = max(left.shape[0] * left.shape[1], right.shape[0] * right.shape[1])
    entries = max(1, PIECE // max(1, points))  # coordinates
    mine = pieces(left.inputs, left.cotangents, bias=left.bias, entries=entries * left.shape[0] * left.shape[1])
    if left is right:
        yield from ((piece, piece) for piece in mine)
        return
    theirs = pieces(right.inputs, right.cotangents, bias=right.bias, entries=entries * right.shape[0] * right.shape[1])
    yield from zip(mine, theirs, strict=True)


def _product_flops(a: Array, b: Array) -> int:
    batch = a.shape[0] if a.ndim == 3 else 1
    return 2 * batch * a.shape[-2] * b.shape[-2] * a.shape[-1]
