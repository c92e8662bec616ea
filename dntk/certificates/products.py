"""Products of blocks with mean kernels and their errors, from features, without the kernels."""

import math
from collections.abc import Callable

from jaxtyping import Float

from dntk import arrays
from dntk.certificates.widened import Widened
from dntk.ledger import count
from dntk.types import Array

Multiply = Callable[[Float[Array, "n b"]], Float[Array, "n b"]]
"""V → RV for a block of columns."""


def mean_kernel(values: Widened) -> Multiply:
    """V → K̄V = (1/C) Σ_c Ψ^c(Ψ^cᵀV), 4·n·C·k·b operations."""

    def multiply(block: Float[Array, "n b"]) -> Float[Array, "n b"]:
        _count(values, block)
        return arrays.namespace(block).mean(values.through(block.mT), axis=0).mT

    return multiply


def residual_kernel(values: Widened, basis: Float[Array, "c s k"]) -> Multiply:
    """V → R̄V with R^c = Ψ^c(I − Π_c)Ψ^cᵀ, Π_c on the rows of the basis."""

    def outside(inner: Float[Array, "*c b k"], output: int | None) -> Float[Array, "*c b k"]:
        own = basis if output is None else basis[output, :, :]
        count(flops=4 * math.prod(inner.shape) * own.shape[-2])
        return inner - (inner @ own.mT) @ own

    def multiply(block: Float[Array, "n b"]) -> Float[Array, "n b"]:
        _count(values, block)
        return arrays.namespace(block).mean(values.through(block.mT, outside), axis=0).mT

    return multiply


def difference(values: Widened, others: Widened) -> Multiply:
    """V → (K̄ − K̂)V for features of the same points in two systems of coordinates."""
    first, second = mean_kernel(values), mean_kernel(others)

    def multiply(block: Float[Array, "n b"]) -> Float[Array, "n b"]:
        return first(block) - second(block)

    return multiply


def deflated(multiply: Multiply, basis: Float[Array, "n r"]) -> Multiply:
    """V → (I − QQᵀ)K(I − QQᵀ)V."""

    def compressed(block: Float[Array, "n b"]) -> Float[Array, "n b"]:
        image = multiply(block - basis @ (basis.mT @ block))
        return image - basis @ (basis.mT @ image)

    return compressed


def unit_columns(block: Float[Array, "n b"]) -> Float[Array, "n b"]:
    """Columns of largest magnitude one, so that squares stay in range; a zero column stays zero."""
    xp = arrays.namespace(block)
    largest = xp.max(xp.abs(block), axis=0, keepdims=True)
    return block / xp.where(largest > 0, largest, xp.ones_like(largest))


def _count(values: Widened, block: Array) -> None:
    c, n, k = values.shape
    count(flops=4 * c * n * k * block.shape[1])
