"""Products of gradients with given vectors of parameters, one for each functional, without expanding the gradients."""

from jaxtyping import Float

from dntk.arrays import namespace, spans
from dntk.backend import backend_of
from dntk.backend import paired as paired_maps
from dntk.gradient_blocks.base import GradientBlock
from dntk.gradient_blocks.dense import DenseBlock
from dntk.gradient_blocks.factored import FactoredBlock
from dntk.gradient_blocks.indexed import IndexedBlock
from dntk.gradient_blocks.tied import TiedBlock
from dntk.ledger import count
from dntk.types import Array

_WORKING_SETS = 16
"""What is made of a linear map's factors at once, in working sets of the device."""

_COORDINATES = 2**16
"""Coordinates of a block of unknown form that are expanded at once."""


def paired(block: GradientBlock, weights: Float[Array, "q p"]) -> Float[Array, "q n"]:
    """⟨w_q, g_qi⟩ for the gradients g of a block and one vector w of its coordinates for each functional.

    A linear map's is Σ_t g_qitᵀ W_q a_it: the work of q forward passes of its layer, in pieces of bounded memory. A
    look-up table's needs the rows that were used.
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
    """By W_q a_it for every position, or by the gradients themselves where they are smaller than that."""
    xp = namespace(weights)
    (q, n, t, b), a = block.cotangents.shape, block.inputs.shape[2]
    by_gradients = a < t and not block.transposed
    count(flops=2 * q * n * t * b * (a if by_gradients else a + 1))
    product = _with_gradients if by_gradients else _with_images
    entries = _WORKING_SETS * backend_of(weights).working_set(weights)
    each = q * b * (a if by_gradients else t)
    matrices = weights[:, : a * b]
    pieces = [
        product(block, matrices, block.cotangents[:, start:stop, :, :], block.inputs[start:stop, :, :])
        for start, stop in spans(n, max(1, entries // each))
    ]
    found = xp.concat(pieces, axis=1)
    if block.bias:
        found = found + _stored(xp.sum(block.cotangents, axis=2), weights[:, a * b :])
    return found


def _with_images(
    block: FactoredBlock, weights: Float[Array, "q p"], g: Float[Array, "q n t b"], inputs: Float[Array, "n t a"]
) -> Float[Array, "q n"]:
    """Σ_t g_qitᵀ(W_q a_it)."""
    xp, (q, _, _, b), a = namespace(weights), g.shape, inputs.shape[2]
    matrices = xp.reshape(weights, (q, a, b)).mT if block.transposed else xp.reshape(weights, (q, b, a))
    return paired_maps(g, matrices, inputs)


def _with_gradients(
    _block: FactoredBlock, weights: Float[Array, "q p"], g: Float[Array, "q n t b"], inputs: Float[Array, "n t a"]
) -> Float[Array, "q n"]:
    """⟨W_q, Σ_t g_qit a_itᵀ⟩."""
    return _stored(backend_of(weights).expand(g, inputs), weights)


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
