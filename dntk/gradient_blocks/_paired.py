"""Products of gradients with given vectors of parameters, one for each functional, without expanding the gradients."""

from jaxtyping import Float

from dntk.arrays import namespace
from dntk.backend import backend_of
from dntk.gradient_blocks.base import GradientBlock
from dntk.gradient_blocks.dense import DenseBlock
from dntk.gradient_blocks.factored import FactoredBlock
from dntk.gradient_blocks.indexed import IndexedBlock
from dntk.gradient_blocks.tied import TiedBlock
from dntk.ledger import count
from dntk.types import Array

_COORDINATES = 2**16
"""Coordinates of a block of unknown form that are expanded at once."""


def paired(block: GradientBlock, weights: Float[Array, "q p"]) -> Float[Array, "q n"]:
    """⟨w_q, g_qi⟩ for the gradients g of a block and one vector w of its coordinates for each functional.

    A linear map's is Σ_t g_qitᵀ W_q a_it: the work of q forward passes of its layer, and the memory of one functional's
    cotangents. A look-up table's needs the rows that were used.
    """
    match block:
        case FactoredBlock():
            return _factored(block, weights)
        case IndexedBlock():
            return _indexed(block, weights)
        case TiedBlock():
            return _indexed(block.table, weights) + _factored(block.linear, weights)
        case DenseBlock():
            return _stored(block.values, weights)
        case _:
            parts = [
                _stored(values, weights[:, start : start + values.shape[2]])
                for start, values in block.chunks(_COORDINATES)
            ]
            return sum(parts[1:], parts[0])


def _factored(block: FactoredBlock, weights: Float[Array, "q p"]) -> Float[Array, "q n"]:
    xp = namespace(weights)
    (q, n, t, b), a = block.cotangents.shape, block.inputs.shape[2]
    count(flops=q * n * t * b * (2 * a + 2))
    rows = xp.reshape(block.inputs, (n * t, a))
    found = []
    for functional in range(q):
        g = xp.reshape(block.cotangents[functional, ...], (n * t, b))
        matrix = weights[functional, : a * b]
        matrix = xp.reshape(matrix, (a, b)).T if block.transposed else xp.reshape(matrix, (b, a))
        image = backend_of(rows).inner(rows, matrix)
        if block.bias:
            image = image + weights[functional, a * b :][None, :]
        found.append(xp.sum(xp.reshape(image * g, (n, t * b)), axis=1))
    return xp.stack(found)


def _indexed(block: IndexedBlock, weights: Float[Array, "q p"]) -> Float[Array, "q n"]:
    xp = namespace(weights)
    q, n, t, b = block.cotangents.shape
    table = xp.reshape(weights, (q, block.rows, b))
    used = xp.reshape(block.ids, (n * t,))
    kept = used >= 0  # padding has no row
    rows = xp.take(table, xp.where(kept, used, xp.zeros_like(used)), axis=1)
    rows = xp.reshape(rows * xp.astype(kept, rows.dtype)[None, :, None], (q, n, t, b))
    return xp.sum(rows * block.cotangents, axis=(2, 3))


def _stored(values: Float[Array, "q n p"], weights: Float[Array, "q p"]) -> Float[Array, "q n"]:
    count(flops=2 * values.shape[0] * values.shape[1] * values.shape[2])
    return (values @ weights[:, :, None])[:, :, 0]
