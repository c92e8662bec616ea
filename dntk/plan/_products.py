"""How many operations the products of an exact kernel will take: layers take another form in larger batches."""

from collections.abc import Iterator
from typing import TypeAlias

from jaxtyping import Float

from dntk.backend import backend_of
from dntk.gradient_blocks import FactoredBlock
from dntk.gradient_blocks.operations import Products
from dntk.kernels._ntk import Order
from dntk.models import batches
from dntk.models.base import Model
from dntk.outputs import KernelOutputs
from dntk.types import Array, Inputs

Layer: TypeAlias = tuple[int, int, int, int]
"""Positions of an input, sizes a and b of the weight, and entries that the device works on at once."""

_Tile: TypeAlias = tuple[int, int, int, bool]
"""How many tiles there are of so many rows and columns, and whether both are of the same inputs."""


def layers_of(model: Model, x: Inputs, cotangents: Float[Array, "q c"]) -> tuple[Layer, ...]:
    """Layers whose gradients are sums of products, as they are at the first input for these functionals."""
    return tuple(
        (
            block.inputs.shape[1],
            block.inputs.shape[2],
            block.cotangents.shape[3],
            backend_of(block.inputs).working_set(block.inputs),
        )
        for block in model.gradient_blocks(batches.first(x), cotangents)
        if isinstance(block, FactoredBlock)
    )


def product_operations(
    layers: tuple[Layer, ...], order: Order, n1: int, n2: int | None, *, outputs: KernelOutputs
) -> int:
    """Operations of the products of these layers' gradients for a kernel of n1 inputs, with n2 others if given."""
    total = 0
    for group in order.groups:
        q = group.shape[0]
        for tiles, rows, columns, same in _tiles(n1, n2, order.batch):
            for t, a, b, working_set in layers:
                products = Products(
                    inputs=(rows, columns),
                    positions=(t, t),
                    sides=(a, b),
                    functionals=q,
                    pairs=q * q if outputs == "full" else q,
                    joined=outputs == "mean",
                    same=same,
                )
                total += tiles * products.operations(working_set)
    return total


def _tiles(n1: int, n2: int | None, batch: int) -> Iterator[_Tile]:
    """The tiles of a kernel; of one of inputs with themselves those on and above the diagonal."""
    whole, rest = divmod(n1, batch)
    if n2 is None:
        yield whole, batch, batch, True
        yield whole * (whole - 1) // 2, batch, batch, False
        if rest:
            yield whole, batch, rest, False
            yield 1, rest, rest, True
        return
    columns, left = divmod(n2, batch)
    for rows, some in ((whole, batch), (1, rest)):
        yield rows * columns, some, batch, False
        yield rows, some, left, False
