"""Gradients of linear maps: G_qi = Σ_t g_qit a_itᵀ with activations a and cotangents g.

Linear layers, convolutions (unfolded patches) and attention projections have this form. It is never expanded
unless that is the cheaper way to the answer.
"""

import dataclasses
from collections.abc import Iterator

from jaxtyping import Float

from dntk.arrays import namespace, spans
from dntk.gradient_blocks.base import GradientBlock
from dntk.gradient_blocks.dense import itemsize
from dntk.ledger import count
from dntk.types import Array

_PIECE = 2**24  # entries of one temporary: 64 MiB in float32


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactoredBlock:
    """Gradients Σ_t ``cotangents[q,i,t]`` ⊗ ``inputs[i,t]`` of a weight of shape (b, a), flattened row by row.

    ``transposed`` says that the weight is stored as (a, b), as in y = a W; its gradients are then
    Σ_t ``inputs[i,t]`` ⊗ ``cotangents[q,i,t]``. Inner products do not depend on it.
    """

    name: str
    offset: int
    inputs: Float[Array, "n t a"]
    cotangents: Float[Array, "q n t b"]
    transposed: bool = False

    @property
    def size(self) -> int:
        """Number of coordinates b · a."""
        return self.cotangents.shape[3] * self.inputs.shape[2]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers (q, n) of cotangents and inputs."""
        return self.cotangents.shape[0], self.cotangents.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of both factors."""
        q, n, t, b = self.cotangents.shape
        return n * t * (self.inputs.shape[2] + q * b) * itemsize(self.inputs)

    @property
    def backprop_flops(self) -> int:
        """2·n·t·a·b for the layer's forward pass and for each of q backward passes."""
        q, n = self.shape
        return 2 * n * self.inputs.shape[1] * self.size * (1 + q)

    def gram(self, other: GradientBlock) -> Float[Array, "q n1 n2"]:
        """Contraction over position pairs, or product of materialised gradients: the one with fewer operations."""
        if isinstance(other, FactoredBlock) and self._contraction_is_cheaper(other, pairs=self.shape[0]):
            xp = namespace(self.inputs)
            return xp.stack([self._contract(other, q, q) for q in range(self.shape[0])])
        return _materialised(self, other)

    def mean_gram(self, other: GradientBlock) -> Float[Array, "n1 n2"]:
        """As :meth:`gram`; the contraction joins cotangents and output coordinates into one axis."""
        xp = namespace(self.inputs)
        if isinstance(other, FactoredBlock) and self._contraction_is_cheaper(other, pairs=self.shape[0]):
            return self._joined()._contract(other._joined(), 0, 0) / self.shape[0]
        return xp.mean(_materialised(self, other), axis=0)

    def cross_gram(self, other: GradientBlock) -> Float[Array, "q1 q2 n1 n2"]:
        """All pairs of cotangents, by the cheaper of the two ways."""
        xp = namespace(self.inputs)
        if isinstance(other, FactoredBlock) and self._contraction_is_cheaper(other, pairs=self.shape[0] ** 2):
            rows = [
                xp.stack([self._contract(other, q, r) for r in range(other.shape[0])]) for q in range(self.shape[0])
            ]
            return xp.stack(rows)
        return _materialised_pairs(self, other)

    def chunks(self, max_coordinates: int) -> Iterator[tuple[int, Float[Array, "q n b"]]]:
        """Whole rows of the weight, as it is stored, at a time."""
        xp = namespace(self.inputs)
        q, n, t, b = self.cotangents.shape
        rows, width = (self.inputs.shape[2], b) if self.transposed else (b, self.inputs.shape[2])
        for start, stop in spans(rows, max(1, max_coordinates // width)):
            count(flops=2 * q * n * t * (stop - start) * width)
            if self.transposed:
                values = self.inputs[None, :, :, start:stop].mT @ self.cotangents
            else:
                values = self.cotangents[:, :, :, start:stop].mT @ self.inputs[None, :, :, :]
            yield start * width, xp.reshape(values, (q, n, (stop - start) * width))

    def dense(self) -> Float[Array, "q n p"]:
        """The expanded gradients, n · q · a · b numbers."""
        return next(iter(self.chunks(self.size)))[1]

    def _contraction_is_cheaper(self, other: "FactoredBlock", *, pairs: int) -> bool:
        q, n1 = self.shape
        n2, t1, t2 = other.shape[1], self.inputs.shape[1], other.inputs.shape[1]
        a, b = self.inputs.shape[2], self.cotangents.shape[3]
        contraction = n1 * n2 * t1 * t2 * (a + pairs * b)
        materialisation = q * (n1 * t1 + n2 * t2) * a * b + pairs * n1 * n2 * a * b
        return contraction <= materialisation

    def _contract(self, other: "FactoredBlock", q: int, r: int) -> Float[Array, "n1 n2"]:
        """Σ_{t,t'} (a_it·a'_jt')(g_qit·g'_rjt'), in slabs of inputs that fit a bounded temporary."""
        xp = namespace(self.inputs)
        n2, t2, a = other.inputs.shape
        t1, b = self.inputs.shape[1], self.cotangents.shape[3]
        inputs2 = xp.reshape(other.inputs, (n2 * t2, a)).T
        cotangents2 = xp.reshape(other.cotangents[r, ...], (n2 * t2, b)).T
        slabs = []
        for start, stop in spans(self.shape[1], max(1, _PIECE // max(1, t1 * n2 * t2))):
            rows = (stop - start) * t1
            count(flops=2 * rows * n2 * t2 * (a + b))
            products = xp.reshape(self.inputs[start:stop, :, :], (rows, a)) @ inputs2
            products = products * (xp.reshape(self.cotangents[q, start:stop, :, :], (rows, b)) @ cotangents2)
            if t1 * t2 == 1:
                slabs.append(products)
            else:
                slabs.append(xp.sum(xp.reshape(products, (stop - start, t1, n2, t2)), axis=(1, 3)))
        return xp.concat(slabs, axis=0)

    def _joined(self) -> "FactoredBlock":
        """One cotangent whose output coordinates are those of all q, side by side."""
        xp = namespace(self.inputs)
        q, n, t, b = self.cotangents.shape
        joined = xp.reshape(xp.permute_dims(self.cotangents, (1, 2, 0, 3)), (1, n, t, q * b))
        return dataclasses.replace(self, cotangents=joined)


def _materialised(left: GradientBlock, right: GradientBlock) -> Float[Array, "q n1 n2"]:
    total = None
    for mine, theirs in _paired_chunks(left, right):
        count(flops=2 * mine.shape[0] * mine.shape[1] * theirs.shape[1] * mine.shape[2])
        product = mine @ theirs.mT
        total = product if total is None else total + product
    assert total is not None
    return total


def _materialised_pairs(left: GradientBlock, right: GradientBlock) -> Float[Array, "q1 q2 n1 n2"]:
    total = None
    for mine, theirs in _paired_chunks(left, right):
        xp = namespace(mine)
        (q1, n1, width), (q2, n2, _) = mine.shape, theirs.shape
        count(flops=2 * q1 * n1 * q2 * n2 * width)
        product = xp.reshape(mine, (q1 * n1, width)) @ xp.reshape(theirs, (q2 * n2, width)).T
        total = product if total is None else total + product
    assert total is not None
    return xp.permute_dims(xp.reshape(total, (q1, n1, q2, n2)), (0, 2, 1, 3))


def _paired_chunks(left: GradientBlock, right: GradientBlock) -> Iterator[tuple[Array, Array]]:
    """Pieces of both blocks over the same coordinates."""
    if isinstance(left, FactoredBlock) and isinstance(right, FactoredBlock):
        points = max(left.shape[0] * left.shape[1], right.shape[0] * right.shape[1], 1)
        width = max(1, _PIECE // points)
        mine = left.chunks(width)
        theirs = mine if left is right else right.chunks(width)
        if left is right:
            yield from ((values, values) for _, values in mine)
        else:
            yield from ((m, t) for (_, m), (_, t) in zip(mine, theirs, strict=True))
    else:
        yield left.dense(), right.dense()
