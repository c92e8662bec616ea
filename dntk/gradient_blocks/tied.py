"""Gradients of a weight that is a look-up table and a linear map at once, as in language models."""

import dataclasses
from collections.abc import Callable, Iterator

from jaxtyping import Float

from dntk.arrays import namespace, spans
from dntk.gradient_blocks.base import GradientBlock
from dntk.gradient_blocks.factored import FactoredBlock
from dntk.gradient_blocks.indexed import IndexedBlock
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class TiedBlock:
    """Gradients of a (rows, b) weight: those of its use as a table and those of its use as y = W x, added.

    Products of two such blocks are four products of their uses, of which the mixed ones have a closed form too
    (:meth:`dntk.gradient_blocks.IndexedBlock.gram`).
    """

    name: str
    offset: int
    table: IndexedBlock
    linear: FactoredBlock

    def __post_init__(self) -> None:
        linear = self.linear
        rows, width = linear.cotangents.shape[3], linear.inputs.shape[2]
        if linear.transposed or linear.bias or (rows, width) != (self.table.rows, self.table.cotangents.shape[3]):
            msg = f"a table of {self.table.rows} rows is tied to a linear map of another shape: {rows} by {width}."
            raise ValueError(msg)

    @property
    def size(self) -> int:
        """Number of coordinates of the weight."""
        return self.table.size

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers (q, n) of cotangents and inputs."""
        return self.table.shape

    @property
    def nbytes(self) -> int:
        """Bytes of both uses."""
        return self.table.nbytes + self.linear.nbytes

    @property
    def cotangent_nbytes(self) -> int:
        """Bytes that one further functional adds."""
        return self.table.cotangent_nbytes + self.linear.cotangent_nbytes

    def gram(self, other: GradientBlock) -> Float[Array, "q n1 n2"]:
        """Sum over pairs of uses."""
        return self._over_uses(other, lambda mine, theirs: mine.gram(theirs), (0, 2, 1))

    def mean_gram(self, other: GradientBlock) -> Float[Array, "n1 n2"]:
        """Sum over pairs of uses."""
        return self._over_uses(other, lambda mine, theirs: mine.mean_gram(theirs), (1, 0))

    def cross_gram(self, other: GradientBlock) -> Float[Array, "q n1 r n2"]:
        """Sum over pairs of uses."""
        return self._over_uses(other, lambda mine, theirs: mine.cross_gram(theirs), (2, 3, 0, 1))

    def chunks(self, max_coordinates: int) -> Iterator[tuple[int, Float[Array, "q n b"]]]:
        """Whole rows of the weight at a time."""
        width = self.linear.inputs.shape[2]
        pieces = self.linear.chunks(max_coordinates)
        for (first, last), (start, values) in zip(
            spans(self.table.rows, max(1, max_coordinates // width)), pieces, strict=True
        ):
            yield start, values + self.table.rows_between(first, last)

    def dense(self) -> Float[Array, "q n p"]:
        """The whole weight's gradient."""
        return self.table.dense() + self.linear.dense()

    def _over_uses(
        self, other: GradientBlock, product: Callable[[GradientBlock, GradientBlock], Array], swapped: tuple[int, ...]
    ) -> Array:
        """``swapped`` are the axes of a product of the same uses in the other order."""
        if other is self:
            mixed = product(self.table, self.linear)
            alike = product(self.table, self.table) + product(self.linear, self.linear)
            return alike + (mixed + namespace(mixed).permute_dims(mixed, swapped))
        uses = (other.table, other.linear) if isinstance(other, TiedBlock) else (other,)
        products = [product(mine, theirs) for mine in (self.table, self.linear) for theirs in uses]
        return sum(products[1:], products[0])
