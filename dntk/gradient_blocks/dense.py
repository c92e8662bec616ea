"""Gradients stored as they are: biases, affine parameters of norms, layers without a factored form."""

import dataclasses
from collections.abc import Iterator

from jaxtyping import Float

from dntk.arrays import namespace, spans
from dntk.gradient_blocks.base import GradientBlock
from dntk.ledger import count
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseBlock:
    """Gradients ``values[q, i]`` of one parameter, flattened.

    ``backprop_flops`` is what its making cost, where its layer is not counted by another block.
    """

    name: str
    offset: int
    values: Float[Array, "q n p"]
    backprop_flops: int = 0

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
        q, n, p = self.values.shape
        return q * n * p * itemsize(self.values)

    def gram(self, other: GradientBlock) -> Float[Array, "q n1 n2"]:
        """Batched product of the stored gradients."""
        theirs = other.dense()
        count(flops=2 * self.shape[0] * self.shape[1] * theirs.shape[1] * self.size)
        return self.values @ theirs.mT

    def mean_gram(self, other: GradientBlock) -> Float[Array, "n1 n2"]:
        """One product with cotangents and coordinates joined."""
        xp = namespace(self.values)
        theirs = other.dense()
        q, p = self.shape[0], self.size
        count(flops=2 * q * self.shape[1] * theirs.shape[1] * p)
        mine = xp.reshape(xp.permute_dims(self.values, (1, 0, 2)), (-1, q * p))
        return mine @ xp.reshape(xp.permute_dims(theirs, (1, 0, 2)), (-1, q * p)).T / q

    def cross_gram(self, other: GradientBlock) -> Float[Array, "q1 q2 n1 n2"]:
        """Products of all pairs of cotangents."""
        theirs = other.dense()
        count(flops=2 * self.shape[0] * theirs.shape[0] * self.shape[1] * theirs.shape[1] * self.size)
        return self.values[:, None, :, :] @ theirs.mT[None, :, :, :]

    def chunks(self, max_coordinates: int) -> Iterator[tuple[int, Float[Array, "q n b"]]]:
        """Slices of the stored gradients."""
        for start, stop in spans(self.size, max_coordinates):
            yield start, self.values[:, :, start:stop]

    def dense(self) -> Float[Array, "q n p"]:
        """The stored gradients."""
        return self.values


def itemsize(x: Array) -> int:
    """Bytes of one entry of ``x``."""
    xp = namespace(x)
    return xp.finfo(x.dtype).bits // 8 if xp.isdtype(x.dtype, "real floating") else xp.iinfo(x.dtype).bits // 8
