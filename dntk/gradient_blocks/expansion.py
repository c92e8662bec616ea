"""Inner products of gradients Σ_t g_t ⊗ a_t by expanding them, piece by piece of coordinates.

Pieces are small on processors, so that the memory of one serves the next, and large on accelerators.
"""

from collections.abc import Callable, Iterator
from typing import Any

from jaxtyping import Float

from dntk.arrays import namespace, spans
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.types import Array

WORKING_SETS = 16
"""A piece of expanded gradients, in working sets: in float32 32 MiB on processors, the most that malloc serves from
memory it has, and 512 MiB on accelerators."""


def pieces(
    inputs: Float[Array, "n t a"], cotangents: Float[Array, "q n t b"], *, bias: bool, rows: int
) -> Iterator[Float[Array, "q n w"]]:
    """Expanded gradients, ``rows`` rows of the weight at a time, then those of the bias."""
    (q, n, t, b), a = cotangents.shape, inputs.shape[2]
    for start, stop in spans(b, rows):
        count(flops=2 * n * q * t * (stop - start) * a)
        yield backend_of(inputs).expand(cotangents[:, :, :, start:stop], inputs)
    if bias:
        yield namespace(inputs).sum(cotangents, axis=2)


def expanded_gram(left: Any, right: Any) -> Float[Array, "q n1 n2"]:
    """Inner products functional by functional."""
    return _summed(left, right, lambda piece: piece, lambda product: product)


def expanded_mean_gram(left: Any, right: Any) -> Float[Array, "n1 n2"]:
    """Their mean over functionals."""

    def over_functionals(products: Array) -> Array:
        return namespace(products).sum(products, axis=0)

    return _summed(left, right, lambda piece: piece, over_functionals) / left.shape[0]


def expanded_cross_gram(left: Any, right: Any) -> Float[Array, "q n1 r n2"]:
    """Inner products of every pair of functionals."""

    def joined(piece: Array) -> Array:
        q, n, w = piece.shape
        return namespace(piece).reshape(piece, (q * n, w))

    products = _summed(left, right, joined, lambda product: product)
    return namespace(left.inputs).reshape(products, (*left.shape, *right.shape))


def _summed(left: Any, right: Any, matrix: Callable[[Array], Array], reduced: Callable[[Array], Array]) -> Array:
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
            total = reduced(product)
        else:
            total += reduced(product)
    assert total is not None
    return total


def _paired(left: Any, right: Any) -> Iterator[tuple[Array, Array]]:
    """Pieces of both factored blocks over the same coordinates; the same pieces twice for one block."""
    points = max(left.shape[0] * left.shape[1], right.shape[0] * right.shape[1])
    entries = WORKING_SETS * backend_of(left.inputs).working_set(left.inputs)
    rows = max(1, entries // max(1, points * left.inputs.shape[2]))
    mine = pieces(left.inputs, left.cotangents, bias=left.bias, rows=rows)
    if left is right:
        yield from ((piece, piece) for piece in mine)
        return
    yield from zip(mine, pieces(right.inputs, right.cotangents, bias=right.bias, rows=rows), strict=True)


def _product_flops(a: Array, b: Array) -> int:
    batch = a.shape[0] if a.ndim == 3 else 1
    return 2 * batch * a.shape[-2] * b.shape[-2] * a.shape[-1]
