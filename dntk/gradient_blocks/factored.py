"""Gradients of linear maps: G_qi = Σ_t g_qit a_itᵀ with activations a and cotangents g.

Linear layers, convolutions (unfolded patches) and attention projections have this form. It is never expanded
unless that is the cheaper way to the answer.
"""

import dataclasses
from collections.abc import Iterator

from jaxtyping import Float

from dntk.arrays import itemsize, namespace, spans
from dntk.backend import backend_of
from dntk.gradient_blocks.base import GradientBlock
from dntk.gradient_blocks.contraction import Similarity, Span, contract, contract_pairs
from dntk.gradient_blocks.dense import DenseBlock
from dntk.gradient_blocks.expansion import expanded_cross_gram, expanded_gram, expanded_mean_gram
from dntk.gradient_blocks.operations import Products
from dntk.ledger import count
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactoredBlock:
    """Gradients Σ_t ``cotangents[q,i,t]`` ⊗ ``inputs[i,t]`` of a weight of shape (b, a), flattened row by row.

    ``transposed`` says that the weight is stored as (a, b), as in y = a W; its gradients are then
    Σ_t ``inputs[i,t]`` ⊗ ``cotangents[q,i,t]``. ``bias`` says that the layer's bias follows the weight in the
    flattened vector and belongs to the block: its gradients are Σ_t ``cotangents[q,i,t]``, as if every input had a
    further coordinate of 1.
    """

    name: str
    offset: int
    inputs: Float[Array, "n t a"]
    cotangents: Float[Array, "q n t b"]
    transposed: bool = False
    bias: bool = False

    @property
    def size(self) -> int:
        """Number of coordinates b · a, and b more with a bias."""
        return self.cotangents.shape[3] * (self.inputs.shape[2] + self.bias)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers (q, n) of cotangents and inputs."""
        return self.cotangents.shape[0], self.cotangents.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of both factors."""
        n, t, a = self.inputs.shape
        return n * t * a * itemsize(self.inputs) + self.shape[0] * self.cotangent_nbytes

    @property
    def cotangent_nbytes(self) -> int:
        """Bytes that one further functional adds."""
        _, n, t, b = self.cotangents.shape
        return n * t * b * itemsize(self.inputs)

    def gram(self, other: GradientBlock) -> Float[Array, "q n1 n2"]:
        """Contraction over position pairs, or product of expanded gradients: the one with less work."""
        if not isinstance(other, FactoredBlock):
            return other.gram(self).mT
        if self._contraction_is_cheaper(other, pairs=self.shape[0]):
            return contract(self.cotangents, other.cotangents, self._similarity(other))
        return expanded_gram(self, other)

    def mean_gram(self, other: GradientBlock) -> Float[Array, "n1 n2"]:
        """As :meth:`gram`; the contraction joins cotangents and output coordinates into one axis."""
        if not isinstance(other, FactoredBlock):
            return namespace(self.inputs).mean(self.gram(other), axis=0)
        if self._contraction_is_cheaper(other, pairs=self.shape[0], joined=True):
            mine = self._joined()
            theirs = mine if other is self else other._joined()
            return contract(mine, theirs, self._similarity(other))[0, ...] / self.shape[0]
        return expanded_mean_gram(self, other)

    def cross_gram(self, other: GradientBlock) -> Float[Array, "q n1 r n2"]:
        """All pairs of cotangents, by the cheaper of the two ways."""
        if not isinstance(other, FactoredBlock):
            return namespace(self.inputs).permute_dims(other.cross_gram(self), (2, 3, 0, 1))
        if self._contraction_is_cheaper(other, pairs=self.shape[0] * other.shape[0]):
            return contract_pairs(self.cotangents, other.cotangents, self._similarity(other))
        return expanded_cross_gram(self, other)

    def chunks(self, max_coordinates: int) -> Iterator[tuple[int, Float[Array, "q n b"]]]:
        """Whole rows of the weight, as it is stored, at a time; then the bias."""
        xp = namespace(self.inputs)
        q, n, t, b = self.cotangents.shape
        rows, width = (self.inputs.shape[2], b) if self.transposed else (b, self.inputs.shape[2])
        for start, stop in spans(rows, max(1, max_coordinates // width)):
            count(flops=2 * q * n * t * (stop - start) * width)
            if self.transposed:
                values = self.inputs[None, :, :, start:stop].mT @ self.cotangents
            else:
                values = backend_of(self.inputs).expand(self.cotangents[:, :, :, start:stop], self.inputs)
            yield start * width, xp.reshape(values, (q, n, (stop - start) * width))
        if self.bias:
            summed = xp.sum(self.cotangents, axis=2)
            for start, stop in spans(b, max_coordinates):
                yield rows * width + start, summed[:, :, start:stop]

    def dense(self) -> Float[Array, "q n p"]:
        """The expanded gradients, n · q · a · b numbers and the bias's."""
        return namespace(self.inputs).concat([values for _, values in self.chunks(self.size)], axis=2)

    def separated(self) -> "tuple[FactoredBlock] | tuple[FactoredBlock, DenseBlock]":
        """The weight's gradients and, where the block holds them, the bias's, each in a block of its own."""
        if not self.bias:
            return (self,)
        weight = dataclasses.replace(self, bias=False)
        summed = namespace(self.inputs).sum(self.cotangents, axis=2)
        return weight, DenseBlock(name=f"{self.name}, its bias", offset=self.offset + weight.size, values=summed)

    def _contraction_is_cheaper(self, other: "FactoredBlock", *, pairs: int, joined: bool = False) -> bool:
        """Whether the tiles of positions cost less than expanding both blocks."""
        q, n1 = self.shape
        products = Products(
            inputs=(n1, other.shape[1]),
            positions=(self.inputs.shape[1], other.inputs.shape[1]),
            sides=(self.inputs.shape[2], self.cotangents.shape[3]),
            functionals=q,
            pairs=pairs,
            joined=joined,
            same=other is self,
        )
        return products.contracted

    def _similarity(self, other: "FactoredBlock") -> Similarity:
        def similarity(rows: Span, columns: Span) -> Array:
            xp = namespace(self.inputs)
            mine, theirs = self.inputs[rows[0] : rows[1], :, :], other.inputs[columns[0] : columns[1], :, :]
            (i, t1, a), (j, t2, _) = mine.shape, theirs.shape
            same = other is self and rows == columns
            count(flops=(1 if same else 2) * i * t1 * j * t2 * a)
            if same:
                products = backend_of(mine).gram(xp.reshape(mine, (i * t1, a)))
            else:
                products = backend_of(mine).inner(xp.reshape(mine, (i * t1, a)), xp.reshape(theirs, (j * t2, a)))
            if self.bias:
                products += 1
            return xp.reshape(products, (i, t1, j, t2))

        return similarity

    def _joined(self) -> Float[Array, "1 n t b"]:
        """Cotangents of one functional whose output coordinates are those of all q, side by side."""
        xp = namespace(self.inputs)
        q, n, t, b = self.cotangents.shape
        return xp.reshape(xp.permute_dims(self.cotangents, (1, 2, 0, 3)), (1, n, t, q * b))
