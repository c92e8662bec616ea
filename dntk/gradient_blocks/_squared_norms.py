"""Squared norms of per-sample gradients, the diagonal of a kernel, without the kernel."""

from jaxtyping import Float

from dntk.arrays import namespace, spans
from dntk.gradient_blocks.base import GradientBlock
from dntk.gradient_blocks.factored import FactoredBlock
from dntk.gradient_blocks.indexed import IndexedBlock
from dntk.ledger import count
from dntk.types import Array

_PIECE = 2**24  # entries of one temporary: 64 MiB in float32


def squared_norms(block: GradientBlock) -> Float[Array, "q n"]:
    """‖G_qi‖² of every functional and input, in the cheapest exact form.

    A factored block Σ_t g_t a_tᵀ takes Σ_{t,t'} (a_t·a_t')(g_t·g_t') where that needs fewer operations than the
    expanded gradient, an indexed one the pairs of positions that share a row, and any other block its dense pieces.

    Cost: O(n·t²·(a + q·b)) or O(n·q·t·a·b) operations; temporaries of at most 2²⁴ entries, or of one input.
    """
    if isinstance(block, FactoredBlock) and _pairs_are_cheaper(block):
        return _factored(block)
    if isinstance(block, IndexedBlock):
        return _indexed(block)
    return _expanded(block)


def _pairs_are_cheaper(block: FactoredBlock) -> bool:
    q, _, t, b = block.cotangents.shape
    a = block.inputs.shape[2]
    return t * (a + q * b) <= q * a * b


def _factored(block: FactoredBlock) -> Float[Array, "q n"]:
    xp = namespace(block.cotangents)
    q, n, t, b = block.cotangents.shape
    count(flops=2 * n * t * t * (block.inputs.shape[2] + q * b))
    if t == 1:
        return (xp.sum(block.inputs**2, axis=(1, 2)) + int(block.bias))[None, :] * xp.sum(
            block.cotangents**2, axis=(2, 3)
        )
    slabs = []
    for start, stop in spans(n, max(1, _PIECE // (q * t * t))):
        a, g = block.inputs[start:stop, :, :], block.cotangents[:, start:stop, :, :]
        alike = a @ a.mT + int(block.bias)  # a bias is a further activation of 1
        slabs.append(xp.sum(alike[None, ...] * (g @ g.mT), axis=(2, 3)))
    return xp.concat(slabs, axis=1)


def _indexed(block: IndexedBlock) -> Float[Array, "q n"]:
    xp = namespace(block.cotangents)
    q, n, t, b = block.cotangents.shape
    count(flops=2 * q * n * t * t * b)
    slabs = []
    for start, stop in spans(n, max(1, _PIECE // (q * t * t))):
        ids, g = block.ids[start:stop, :], block.cotangents[:, start:stop, :, :]
        products = g @ g.mT
        same = (ids[:, :, None] == ids[:, None, :])[None, ...]
        slabs.append(xp.sum(xp.where(same, products, xp.zeros_like(products)), axis=(2, 3)))
    return xp.concat(slabs, axis=1)


def _expanded(block: GradientBlock) -> Float[Array, "q n"]:
    q, n = block.shape
    total = None
    for _, values in block.chunks(max(1, _PIECE // (q * n))):
        xp = namespace(values)
        count(flops=2 * q * n * values.shape[2])
        part = xp.sum(values**2, axis=2)
        total = part if total is None else total + part
    assert total is not None
    return total
