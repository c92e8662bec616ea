"""The mixed sketch: wide matrices are reduced on their activation side first, then their rows are hashed whole."""

import dataclasses
import math
from collections.abc import Iterable

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
from dntk.sketch.slabs import Piece, SlabSums, is_enough, pieces_of
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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(64, 20)), rng.normal(size=(2, 64)) / 8
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> sketch = dntk.sketch.Mixed(128, inner=16)
    >>> phi = dntk.tangent_features(model, rng.normal(size=(40, 20)), sketch=sketch)
    >>> phi.values.shape, [phi.sketch.width_of(matrix) for matrix in phi.sketch.layout]
    ((2, 40, 128), [16, 16])
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
        sums: SlabSums | None = None
        waiting: list[Piece] = []
        for block in blocks:
            sums = SlabSums.like(block, self.dim) if sums is None else sums
            if self._reduced(block, sums):
                continue
            for piece in pieces_of(block, sums):
                waiting += self._hashed_parts(piece, sums)
                if is_enough(waiting, sums):
                    sums.add_hashed(waiting, self._entries)
                    waiting = []
        assert sums is not None
        sums.add_hashed(waiting, self._entries)
        return sums.values()

    def cheaper_pair(
        self, block: GradientBlock, z: Float[Array, "q k"]
    ) -> tuple[FactoredBlock, Float[Array, "q p"]] | None:
        """A smaller block, and weights w with ⟨w_q, its gradients⟩ = ⟨Sᵀz_q, gradients⟩, where there is one.

        Sᵀz is V R for a matrix that is reduced, so that R goes to the activations, once for all functionals.
        """
        factors = factors_in(bound_layout(self), block)
        width = None if factors is None else self.width_of(factors[0].matrix)
        if factors is None or width is None:
            return None
        part, left, right = factors
        (h, a), q = (left.shape[3], right.shape[3]), z.shape[0]
        if width * (right.shape[0] * a + q * h) >= q * a * h:
            return None
        n, t = right.shape[1:3]
        count_products(2 * right.shape[0] * n * t * a * width)
        short = _times(right, self._signs(part, width, like=right))
        placement = self._placement(part.matrix, width)
        weights = placement.gathered(z[:, : placement.blocks * width], part)
        turned = isinstance(block, FactoredBlock) and block.transposed
        inputs, cotangents = (left[0, ...], short) if turned else (short[0, ...], left)
        found = FactoredBlock(name=block.name, offset=0, inputs=inputs, cotangents=cotangents, transposed=turned)
        return found, arrays.namespace(weights).reshape(weights, (q, h * width))

    def _reduced(self, block: GradientBlock, sums: SlabSums) -> bool:
        """Add a block whose matrix is reduced without expanding it, if it is such a one."""
        matrix = self._table(block)
        if matrix is not None and isinstance(block, IndexedBlock):
            found = self._looked_up(block, matrix)
            for slab, (start, stop) in enumerate(sums.spans):
                sums.add(slab, _joined(found[:, start:stop, :]))
            return True
        factors = factors_in(bound_layout(self), block)
        width = None if factors is None else self.width_of(factors[0].matrix)
        if factors is None or width is None:
            return False
        self._expand(*factors, width, sums)
        return True

    def _expand(self, part: Part, left: Array, right: Array, width: int, sums: SlabSums) -> None:
        """Add Σ_t left_t ⊗ R right_t, placed, some inputs at a time."""
        xp = arrays.namespace(left)
        (n, t), h = left.shape[1:3], left.shape[3]
        q = max(left.shape[0], right.shape[0])
        count_products(2 * n * t * width * (right.shape[0] * right.shape[3] + q * h) + 2 * q * n * h * width)
        signs, placement = self._signs(part, width, like=right), self._placement(part.matrix, width)
        entries = WORKING_SETS * backend_of(left).working_set(left)
        for slab, (first, last) in enumerate(sums.spans):
            pieces = []
            for start, stop in arrays.spans(last - first, max(1, entries // (q * h * width))):
                one = left[:, first + start : first + stop, ...]
                two = _times(right[:, first + start : first + stop, ...], signs)
                # Where the weight is stored as (a, b), its columns belong to the outputs.
                rows = backend_of(one).expand(one, two[0, ...]) if two.shape[0] == 1 else one.mT @ two
                rows = _joined(xp.reshape(rows, (q, stop - start, h * width)))
                pieces.append(placement.placed(xp.reshape(rows, (rows.shape[0], h, width)), part))
            sums.add(slab, self._filled(xp.concat(pieces, axis=0) if len(pieces) > 1 else pieces[0]))

    def _hashed_parts(self, piece: Piece, sums: SlabSums) -> list[Piece]:
        """Pieces of matrices that are not reduced; those of others are added."""
        found: list[Piece] = []
        for part in parts_of(bound_layout(self), piece.start, piece.start + piece.size):
            own = piece.part(part.start, part.stop)
            if self.width_of(part.matrix) is None:
                found.append(own)
                continue
            for slab in range(len(sums.spans)):
                sums.add(slab, self._part(part, _joined(own.of(slab))))
        return found

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
        """Place and sign of every coordinate of a part."""
        first = part.matrix.offset + part.rows[0] * part.matrix.columns + part.columns[0]
        index, signs = self._entries(first, first + part.stop - part.start, like)
        return index[:, 0], signs[:, 0]

    def _entries(self, start: int, stop: int, like: Array) -> tuple[Int[Array, "b 1"], Float[Array, "b 1"]]:
        """The same of coordinates of all, of which number i uses word i of a stream."""
        xp = arrays.namespace(like)
        drawn = nearby_words(like, seed=self.seed, stream="mixed-hash", start=start, count=stop - start)
        kind = xp.__array_namespace_info__().default_dtypes(device=arrays.device_of(like))["indexing"]
        index = xp.astype(moved(integers_of(drawn, self.dim), like), kind, copy=False)
        return index[:, None], xp.astype(moved(signs_of(drawn, like), like), like.dtype, copy=False)[:, None]


def _joined(values: Float[Array, "q n b"]) -> Float[Array, "nq b"]:
    """Rows of one input side by side, as in :class:`SlabSums`."""
    xp, (q, n, b) = arrays.namespace(values), values.shape
    return xp.reshape(xp.permute_dims(values, (1, 0, 2)), (n * q, b))


def _times(right: Float[Array, "r n t a"], signs: Float[Array, "a m"]) -> Float[Array, "r n t m"]:
    """Every position times the signs, positions last in memory: so convolutions have them, which need no copy then.

    One position is a row: a product with it last would be one of a matrix and a vector for every input.
    """
    if right.shape[2] == 1:
        return (right[:, :, 0, :] @ signs)[:, :, None, :]
    return (signs.T @ right.mT).mT


def _sides(part: Part) -> tuple[int, int]:
    return part.rows[1] - part.rows[0], part.columns[1] - part.columns[0]


def _plus(total: Array | None, more: Array) -> Array:
    return more if total is None else total + more
