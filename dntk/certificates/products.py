"""Products of blocks with mean kernels and their errors, from features, without the kernels."""

from collections.abc import Callable

from jaxtyping import Float

from dntk import arrays
from dntk.ledger import count
from dntk.types import Array

Multiply = Callable[[Float[Array, "n b"]], Float[Array, "n b"]]
"""V → RV for a block of columns."""


def mean_kernel(values: Float[Array, "c n k"]) -> Multiply:
    """V → K̄V = (1/C) Σ_c Ψ^c(Ψ^cᵀV), 4·n·C·k·b operations."""

    def multiply(block: Float[Array, "n b"]) -> Float[Array, "n b"]:
        xp = arrays.namespace(values)
        _count(values, block)
        # The few columns on the left: BLAS takes twice as long where the transposed factor is the wide one.
        return xp.mean((block.mT @ values) @ values.mT, axis=0).mT

    return multiply


def residual_kernel(values: Float[Array, "c n k"], basis: Float[Array, "c s k"]) -> Multiply:
    """V → R̄V with R^c = Ψ^c(I − Π_c)Ψ^cᵀ, Π_c on the rows of the basis."""

    def multiply(block: Float[Array, "n b"]) -> Float[Array, "n b"]:
        xp = arrays.namespace(values)
        _count(values, block)
        _count(basis, block)
        inner = block.mT @ values
        return xp.mean((inner - (inner @ basis.mT) @ basis) @ values.mT, axis=0).mT

    return multiply


def difference(values: Float[Array, "c n k"], others: Float[Array, "c n k2"]) -> Multiply:
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


def _count(values: Array, block: Array) -> None:
    c, n, k = values.shape
    count(flops=4 * c * n * k * block.shape[1])
