"""Gradients stored as they are: biases, affine parameters of norms, layers without a factored form."""

import dataclasses
import math
from collections.abc import Callable, Iterator

from jaxtyping import Float

from dntk.arrays import itemsize, namespace, spans
from dntk.backend import backend_of
from dntk.gradient_blocks.base import GradientBlock
from dntk.ledger import count
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseBlock:
    """Gradients ``values[q, i]`` of one parameter, flattened."""

    name: str
    offset: int
    values: Float[Array, "q n p"]

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.values.shape[2]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers (q, n) of cotangents and inputs."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the stored gradients."""
        return self.shape[0] * self.cotangent_nbytes

    @property
    def cotangent_nbytes(self) -> int:
        """Bytes that one further functional adds."""
        return self.values.shape[1] * self.values.shape[2] * itemsize(self.values)

    def gram(self, other: GradientBlock) -> Float[Array, "q n1 n2"]:
        """Batched product of the stored gradients."""
        return self._product(self.values, other, lambda values: values)

    def mean_gram(self, other: GradientBlock) -> Float[Array, "n1 n2"]:
        """One product with cotangents and coordinates joined."""
        xp, q = namespace(self.values), self.shape[0]

        def joined(values: Array) -> Array:
            return xp.reshape(xp.permute_dims(values, (1, 0, 2)), (values.shape[1], q * values.shape[2]))

        return self._product(joined(self.values), other, joined) / q

    def cross_gram(self, other: GradientBlock) -> Float[Array, "q n1 r n2"]:
        """One product with cotangents and inputs joined."""
        xp = namespace(self.values)

        def joined(values: Array) -> Array:
            return xp.reshape(values, (values.shape[0] * values.shape[1], values.shape[2]))

        return xp.reshape(self._product(joined(self.values), other, joined), (*self.shape, *other.shape))

    def _product(self, mine: Array, other: GradientBlock, shaped: Callable[[Array], Array]) -> Array:
        if other is self:
            count(flops=math.prod(mine.shape) * mine.shape[-2])
            return backend_of(mine).gram(mine)
        theirs = shaped(other.dense())
        count(flops=2 * math.prod(mine.shape) * theirs.shape[-2])
        return backend_of(mine).inner(mine, theirs)

    def chunks(self, max_coordinates: int) -> Iterator[tuple[int, Float[Array, "q n b"]]]:
        """Slices of the stored gradients."""
        for start, stop in spans(self.size, max_coordinates):
            yield start, self.values[:, :, start:stop]

    def dense(self) -> Float[Array, "q n p"]:
        """The stored gradients."""
        return self.values
