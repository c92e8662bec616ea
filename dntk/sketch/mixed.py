"""The mixed sketch: wide matrices are reduced on their activation side first, then their rows are hashed whole."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

from jaxtyping import Float, Int

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk.backend import backend_of
from dntk.gradient_blocks import FactoredBlock, GradientBlock, IndexedBlock
from dntk.random import integers_of, moved, nearby_signs, nearby_words, signs_of
from dntk.sketch.base import (
    CHUNK_ENTRIES,
    adjoint_in_chunks,
    apply_in_chunks,
    bound_layout,
    check_sketch_fields,
    count_products,
    rebound,
    rows_of,
    size_of,
)
from dntk.sketch.error import SketchError, moment_error
from dntk.sketch.layout import Layout, ParameterMatrix, Part, factors_in, parts_of
from dntk.sketch.placement import Placement
from dntk.types import Array

WORKING_SETS = 2
"""Reduced gradients that are expanded at once, in working sets: they stay in a processor's cache until placed."""


@dataclasses.dataclass(frozen=True)
class Mixed:
    """Every wide parameter matrix M is reduced to M Rᵀ, whose rows are then signed and added into blocks of the k.

    R (m, columns) has entries ±1/√m, so that M Rᵀ = Σ g (Ra)ᵀ needs the activations only once for all outputs, and
    gradients are expanded at a width of m = ``inner`` numbers. Each row of M Rᵀ gets independent signs for its
    entries and is added whole to one of B = ⌊k/m⌋ blocks of m consecutive numbers; rows in random order go round the
    blocks, so that few of one matrix meet. Coordinates of matrices that are no wider than m, such as biases, are
    added one by one to random numbers of the k with random signs (Charikar, Chen and Farach-Colton 2002).
    E⟨Su, Sv⟩ = ⟨u, v⟩. For one matrix of norm 1, with ρ = ‖MᵀM‖_F² (1/rank M ≤ ρ ≤ 1),

        Var‖Sm‖² ≤ 2ρ/m + 2(1 + 2ρ)/(mB) if it is reduced, ≤ 2/k if not;

    2ρ/m is the variance of ‖MRᵀ‖², and the rest that of the products of rows that meet, with probability at most 1/B
    each. Different matrices add the products of entries that meet, of variance 2‖u‖²‖v‖²/(mB) or /k. In all
    Var⟨Su, Sv⟩ ≤ (2/m + 6/(mB))‖u‖²‖v‖² for any two vectors.

    ρ is 1 for one position, as in a perceptron, where this is a poor sketch; give such layers a width of their own,
    or let :func:`dntk.sketch.choose` do so. With many positions it costs little more than the backward passes.

    Cost: t·m·(a + q·b) multiplications and q·m·b additions an input of t positions, per layer; memory O(chunk).

    Parameters
    ----------
    dim
        k, the number of coordinates after sketching; best a multiple of every width.
    inner
        m, to which matrices with more columns are reduced; at most ``dim``.
    seed
        The same seed gives the same map on every backend, device and chunk size.
    widths
        Pairs (name, m) for parameters that are reduced to other widths; one of at least the parameter's number of
        columns leaves it as it is.
    layout
        Set by :func:`dntk.tangent_features`, or by :meth:`bound`; every other method needs it.
    """

    dim: int
    inner: int = 64
    seed: int = 0
    widths: tuple[tuple[str, int], ...] = ()
    layout: Layout | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_sketch_fields(self)
        keep(
            self,
            inner=positive_integer("inner", self.inner),
            widths=tuple((name, positive_integer(name, width)) for name, width in self.widths),
        )
        if self.inner > self.dim:
            msg = f"`inner`={self.inner} exceeds dim={self.dim}: rows of `inner` numbers go into blocks of the dim."
            raise ValueError(msg)

    @property
    def n_parameters(self) -> int | None:
        """Number P of coordinates it was bound to, if any."""
        return size_of(self.layout)

    def bound(self, layout: Layout) -> "Mixed":
        """The sketch for the parameters of this layout; ``ValueError`` where it is bound to others."""
        bound: Mixed = rebound(self, layout)
        known = {matrix.name: matrix for matrix in layout}
        for name, width in self.widths:
            if name not in known:
                msg = f"`widths` names {name!r}, which is no parameter of the model."
                raise ValueError(msg)
            if self.dim < width < known[name].columns:
                msg = f"`widths` has {width} for {name!r}: pass at most dim={self.dim}, or its {known[name].columns}."
                raise ValueError(msg)
        return bound

    def width_of(self, matrix: ParameterMatrix) -> int | None:
        """Width to which a matrix is reduced, ``None`` where it is not."""
        width = dict(self.widths).get(matrix.name, self.inner)
        return width if width < matrix.columns else None

    def apply(self, gradients: Float[Array, "*batch p"]) -> Float[Array, "*batch k"]:
        """S g for every row g; for tests and small P, as whole gradients have to exist."""
        bound_layout(self)
        return apply_in_chunks(self, gradients)

    def adjoint(self, z: Float[Array, "*batch k"], *, n_parameters: int | None = None) -> Float[Array, "*batch p"]:
        """Sᵀ z for every row z: a gather, and for reduced matrices a product with R."""
        bound_layout(self)
        return adjoint_in_chunks(self, z, n_parameters, self._backwards, width=self.chunk_width(rows_of(z)))

    def error(self, n: int, *, confidence: float = 0.999) -> SketchError:
        """ε for the kernel of n feature rows, ρ = 1 assumed; it does not depend on n."""
        widths = [self.inner] if self.layout is None else [self.width_of(matrix) for matrix in self.layout]
        least = min((width for width in widths if width is not None), default=None)
        variance = 2 / self.dim if least is None else 2 / least + 6 / (least * (self.dim // least))
        return moment_error(variance, n, confidence, theorem="Chebyshev, variance of reduced and hashed matrices")

    def columns(self, values: Float[Array, "r b"], start: int) -> Float[Array, "r k"]:
        """Contribution of the coordinates [start, start + b) of every row."""
        total = None
        for part in parts_of(bound_layout(self), start, start + values.shape[1]):
            total = _plus(total, self._part(part, values[:, part.start : part.stop]))
        assert total is not None
        return total

    def chunk_width(self, rows: int) -> int:
        """Coordinates whose piece of gradients and of R fits the bound on temporaries."""
        return max(1, CHUNK_ENTRIES // max(rows, self.inner))

    def block(self, block: GradientBlock) -> Float[Array, "q n k"]:
        """Contribution of one gradient block; a factored one is expanded at the reduced width only."""
        return self.blocks([block])

    def blocks(self, blocks: Iterable[GradientBlock]) -> Float[Array, "q n k"]:
        """Sum of the contributions of all blocks; coordinates that are hashed one by one are hashed together."""
        total: Any = None
        waiting: list[tuple[int, Array]] = []
        for block in blocks:
            q, n = block.shape
            found = self._reduced(block)
            if found is not None:
                total = _added(total, found)
                continue
            for start, values in _pieces(block, self.chunk_width(q * n)):
                waiting.append((block.offset + start, values))
                if sum(piece.shape[2] for _, piece in waiting) * q * n > CHUNK_ENTRIES:
                    total, waiting = _added(total, self._together(waiting)), []
        return _added(total, self._together(waiting)) if waiting else total

    def _reduced(self, block: GradientBlock) -> Float[Array, "q n k"] | None:
        """Contribution of a block whose matrix is reduced without expanding it, if it is such a one."""
        matrix = self._table(block)
        if matrix is not None and isinstance(block, IndexedBlock):
            return self._looked_up(block, matrix)
        factors = factors_in(bound_layout(self), block)
        if factors is None:
            return None
        part, left, right = factors
        width = self.width_of(part.matrix)
        return None if width is None else self._expanded(part, left, right, width)

    def _expanded(self, part: Part, left: Array, right: Array, width: int) -> Float[Array, "q n k"]:
        """Σ_t left_t ⊗ R right_t, placed, in slabs of inputs."""
        xp = arrays.namespace(left)
        (n, t), h = left.shape[1:3], left.shape[3]
        q = max(left.shape[0], right.shape[0])
        count_products(2 * n * t * width * (right.shape[0] * right.shape[3] + q * h) + 2 * q * n * h * width)
        # (m, columns) times (columns, t): positions last, as the expansion wants them.
        reduced = (self._signs(part, width, like=right).T @ right.mT).mT
        placement = self._placement(part.matrix, width)
        pieces = []
        entries = WORKING_SETS * backend_of(left).working_set(left)
        for start, stop in arrays.spans(n, max(1, entries // (q * h * width))):
            one, two = left[:, start:stop, ...], reduced[:, start:stop, ...]
            # Where the weight is stored as (a, b), its columns belong to the outputs.
            rows = backend_of(one).expand(one, two[0, ...]) if two.shape[0] == 1 else one.mT @ two
            placed = placement.placed(xp.reshape(rows, (q * (stop - start), h, width)), part)
            pieces.append(xp.reshape(placed, (q, stop - start, placed.shape[1])))
        return self._filled(xp.concat(pieces, axis=1))

    def _table(self, block: GradientBlock) -> ParameterMatrix | None:
        """The reduced matrix that a look-up table is, if it is one whole."""
        for matrix in bound_layout(self) if isinstance(block, IndexedBlock) else ():
            if matrix.offset == block.offset and block.size == matrix.rows * matrix.columns:
                return matrix if self.width_of(matrix) is not None else None
        return None

    def _looked_up(self, block: IndexedBlock, matrix: ParameterMatrix) -> Float[Array, "q n k"]:
        """Σ_t of the reduced cotangents, added for every input into the blocks of the rows that it used."""
        width = self.width_of(matrix)
        assert width is not None
        whole = Part(matrix=matrix, rows=(0, matrix.rows), columns=(0, matrix.columns), start=0, stop=block.size)
        count_products(2 * math.prod(block.cotangents.shape) * width)
        reduced = block.cotangents @ self._signs(whole, width, like=block.cotangents)
        return self._filled(self._placement(matrix, width).looked_up(reduced, block.ids))

    def _part(self, part: Part, values: Float[Array, "r b"]) -> Float[Array, "r k"]:
        """Contribution of a rectangle of one matrix."""
        xp, r = arrays.namespace(values), values.shape[0]
        width, (height, across) = self.width_of(part.matrix), _sides(part)
        if width is None:
            count_products(2 * r * height * across)
            index, signs = self._hashes(part, like=values)
            return backend_of(values).scatter_add(values.T, index[:, None], signs[:, None], self.dim).T
        count_products(2 * r * height * width * (across + 1))
        rows = xp.reshape(values, (r, height, across)) @ self._signs(part, width, like=values)
        return self._filled(self._placement(part.matrix, width).placed(rows, part))

    def _together(self, pieces: list[tuple[int, Array]]) -> Float[Array, "q n k"]:
        """Contributions of several pieces; those that are hashed by one scatter."""
        xp = arrays.namespace(pieces[0][1])
        q, n = pieces[0][1].shape[:2]
        total, hashed, entries = None, [], []
        for start, values in pieces:
            rows = xp.reshape(values, (q * n, values.shape[2]))
            for part in parts_of(bound_layout(self), start, start + values.shape[2]):
                if self.width_of(part.matrix) is not None:
                    total = _added(total, self._part(part, rows[:, part.start : part.stop]))
                else:
                    hashed.append(rows[:, part.start : part.stop])
                    entries.append(self._hashes(part, like=rows))
        if hashed:
            index, signs = (xp.concat(list(each))[:, None] for each in zip(*entries, strict=True))
            updates = xp.concat(hashed, axis=1).T
            count_products(2 * q * n * index.shape[0])
            total = _added(total, backend_of(updates).scatter_add(updates, index, signs, self.dim).T)
        return xp.reshape(total, (q, n, self.dim))

    def _backwards(self, rows: Float[Array, "r k"], start: int, stop: int) -> Float[Array, "r b"]:
        xp = arrays.namespace(rows)
        pieces = []
        for part in parts_of(bound_layout(self), start, stop):
            width = self.width_of(part.matrix)
            if width is None:
                index, signs = self._hashes(part, like=rows)
                pieces.append(xp.take(rows, index, axis=1) * signs)
            else:
                placement = self._placement(part.matrix, width)
                taken = placement.gathered(rows[:, : placement.blocks * width], part)
                back = taken @ self._signs(part, width, like=rows).T
                pieces.append(xp.reshape(back, (rows.shape[0], part.stop - part.start)))
        return xp.concat(pieces, axis=1)

    def _placement(self, matrix: ParameterMatrix, width: int) -> Placement:
        return Placement(matrix=matrix, width=width, blocks=self.dim // width, seed=self.seed)

    def _filled(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch k"]:
        """Zeros after the last whole block."""
        xp, rest = arrays.namespace(x), self.dim - x.shape[-1]
        if rest == 0:
            return x
        zeros = xp.zeros((*x.shape[:-1], rest), dtype=x.dtype, device=arrays.device_of(x))
        return xp.concat([x, zeros], axis=-1)

    def _signs(self, part: Part, width: int, *, like: Array) -> Float[Array, "columns m"]:
        """Rᵀ of the columns of a part; column j uses row offset + j of a matrix of signs."""
        return nearby_signs(
            like,
            seed=self.seed,
            stream=f"mixed-columns-{width}",
            start=part.matrix.offset + part.columns[0],
            rows=part.columns[1] - part.columns[0],
            columns=width,
            scale=width**-0.5,
        )

    def _hashes(self, part: Part, *, like: Array) -> tuple[Int[Array, " b"], Float[Array, " b"]]:
        """Place and sign of every coordinate of a part; coordinate i of all uses word i of a stream."""
        xp = arrays.namespace(like)
        first = part.matrix.offset + part.rows[0] * part.matrix.columns + part.columns[0]
        drawn = nearby_words(like, seed=self.seed, stream="mixed-hash", start=first, count=part.stop - part.start)
        kind = xp.__array_namespace_info__().default_dtypes(device=arrays.device_of(like))["indexing"]
        index = xp.astype(moved(integers_of(drawn, self.dim), like), kind, copy=False)
        return index, xp.astype(moved(signs_of(drawn, like), like), like.dtype, copy=False)


def _sides(part: Part) -> tuple[int, int]:
    return part.rows[1] - part.rows[0], part.columns[1] - part.columns[0]


def _pieces(block: GradientBlock, width: int) -> Iterator[tuple[int, Float[Array, "q n b"]]]:
    """Dense pieces; a small factored block in one, by the product that serves all functionals."""
    if isinstance(block, FactoredBlock) and block.size <= width and not (block.transposed or block.bias):
        count_products(2 * block.size * block.shape[0] * math.prod(block.inputs.shape[:2]))
        yield 0, backend_of(block.inputs).expand(block.cotangents, block.inputs)
    else:
        yield from block.chunks(width)


def _plus(total: Array | None, more: Array) -> Array:
    return more if total is None else total + more


def _added(total: Any, more: Array) -> Any:
    """The sum in float64 where the device has it, in the memory of ``total``."""
    if total is None:
        return arrays.namespace(more).astype(more, arrays.accumulation_dtype(more))  # a copy, which is added to
    total += arrays.in_float64(more)
    return total
