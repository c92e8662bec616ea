"""TensorSketch: the count sketch of a matrix Σ g aᵀ from count sketches of its factors, by fast Fourier transforms."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from jaxtyping import Complex, Float, Inexact

from dntk import arrays
from dntk.backend import backend_of
from dntk.gradient_blocks import GradientBlock
from dntk.random import integers_of, moved, nearby_words, signs_of
from dntk.sketch.base import (
    CHUNK_ENTRIES,
    adjoint_in_chunks,
    apply_in_chunks,
    block_by_pieces,
    bound_layout,
    check_sketch_fields,
    count_products,
    rebound,
    rows_of,
    size_of,
)
from dntk.sketch.cost import EXPAND, PLACE, transformed_cost
from dntk.sketch.error import SketchError, moment_error
from dntk.sketch.layout import Layout, Part, factors_in, parts_of
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class TensorSketch:
    """One nonzero per entry (i, j) of every parameter matrix, in row h₁(i) + h₂(j) mod k with sign s₁(i)s₂(j).

    The sketch of g aᵀ is then the circular convolution of the count sketches of g and a, IFFT(FFT(C₁g)·FFT(C₂a)), so
    that gradients of linear maps are never expanded; positions and layers are summed before the inverse transform
    (Pham and Pagh 2013; Avron, Nguyen and Woodruff 2014). Vectors, such as biases, are matrices of one column: a plain
    count sketch. E⟨Su, Sv⟩ = ⟨u, v⟩ and Var⟨Su, Sv⟩ ≤ (6 + 4/k)‖u‖²‖v‖²/k: entries that share a row, a column or
    neither are pairwise uncorrelated classes, each within twice or (1 + 2/k) times 2‖u‖²‖v‖²/k. Two heavy entries
    may collide, so there is no band for spectra; with one activation shared by all inputs it is worst.

    Cost: t·(a + q·b) + (1 + q)·t·5k·log₂ k operations a row of t positions, per layer; a gradient that is cheaper
    to expand, or has no factors, is expanded and takes one operation per coordinate. Memory O(chunk).

    Parameters
    ----------
    dim
        k, the number of coordinates after sketching; transforms are fastest for powers of two.
    seed
        The same seed gives the same map on every backend, device and chunk size.
    layout
        Set by :func:`dntk.tangent_features`, or by :meth:`bound`; every other method needs it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> sketch, x = dntk.sketch.TensorSketch(32), rng.normal(size=(40, 3))
    >>> phi = dntk.tangent_features(model, x, sketch=sketch)
    >>> phi.values.shape, phi.sketch.n_parameters
    ((2, 40, 32), 80)
    """

    dim: int
    seed: int = 0
    layout: Layout | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_sketch_fields(self)

    @property
    def n_parameters(self) -> int | None:
        """Number P of coordinates it was bound to, if any."""
        return size_of(self.layout)

    def bound(self, layout: Layout) -> "TensorSketch":
        """The sketch for the parameters of this layout; ``ValueError`` where it is bound to others."""
        return rebound(self, layout)

    def apply(self, gradients: Float[Array, "*batch p"]) -> Float[Array, "*batch k"]:
        """S g for every row g; for tests and small P, as whole gradients have to exist."""
        bound_layout(self)
        return apply_in_chunks(self, gradients)

    def adjoint(self, z: Float[Array, "*batch k"], *, n_parameters: int | None = None) -> Float[Array, "*batch p"]:
        """Sᵀ z for every row z: a gather."""
        bound_layout(self)
        return adjoint_in_chunks(self, z, n_parameters, self._gathered, width=self.chunk_width(rows_of(z)))

    def error(self, n: int, *, confidence: float = 0.999) -> SketchError:
        """ε for the kernel of n feature rows; it does not depend on n."""
        theorem = "Chebyshev, variance of TensorSketch"
        return moment_error((6 + 4 / self.dim) / self.dim, n, confidence, theorem=theorem)

    def columns(self, values: Float[Array, "r b"], start: int) -> Float[Array, "r k"]:
        """Contribution of the coordinates [start, start + b) of every row."""
        count_products(2 * values.shape[0] * values.shape[1])
        index, signs = self._entries(start, start + values.shape[1], like=values)
        return backend_of(values).scatter_add(values.T, index[:, None], signs[:, None], self.dim).T

    def chunk_width(self, rows: int) -> int:
        """Coordinates whose piece of gradients fits the bound on temporaries."""
        return max(1, CHUNK_ENTRIES // max(1, rows))

    def block(self, block: GradientBlock) -> Float[Array, "q n k"]:
        """Contribution of one gradient block, by transforms where that is cheaper than expanding it."""
        return self.blocks([block])

    def blocks(self, blocks: Iterable[GradientBlock]) -> Float[Array, "q n k"]:
        """Sum of the contributions of all blocks, with one inverse transform for all of them."""
        total, spectrum = None, None
        for block in blocks:
            factors = factors_in(bound_layout(self), block)
            if factors is None or not self._transforms_are_cheaper(factors[1], factors[2]):
                total = _plus(total, block_by_pieces(self, block))
            else:
                spectrum = _plus(spectrum, self._spectrum(*factors))
        if spectrum is not None:
            xp = arrays.namespace(spectrum)
            count_products(_transform_flops(math.prod(spectrum.shape[:2]), self.dim))
            total = _plus(total, xp.fft.irfft(spectrum, n=self.dim, axis=2))
        assert total is not None
        return total

    def _transforms_are_cheaper(self, left: Array, right: Array) -> bool:
        """Whether transforms of the factors cost less than expanding the gradient and hashing it."""
        factors = left.shape[0] * left.shape[3], right.shape[0] * right.shape[3]
        q, t = max(left.shape[0], right.shape[0]), left.shape[2]
        expanded = q * left.shape[3] * right.shape[3] * (t + EXPAND + PLACE)
        return transformed_cost(factors, q, t, self.dim) < expanded

    def _spectrum(self, part: Part, left: Array, right: Array) -> Complex[Array, "q n f"]:
        """Transform of the contribution of one layer, summed over positions, in slabs of inputs."""
        xp = arrays.namespace(left)
        q, (n, t) = max(left.shape[0], right.shape[0]), left.shape[1:3]
        slab = max(1, CHUNK_ENTRIES // max(1, q * t * max(self.dim, left.shape[3], right.shape[3])))
        tables = self._hashes(part, like=left)
        wide = _complex_of(xp, arrays.accumulation_dtype(left))
        pieces = []
        for start, stop in arrays.spans(n, slab):
            one = self._transformed(left[:, start:stop, :, :], *tables[0])
            two = self._transformed(right[:, start:stop, :, :], *tables[1])
            count_products(4 * q * (stop - start) * t * self.dim)
            # One position is the rule; summing it would cost a copy.
            product = one * two
            pieces.append(product[:, :, 0, :] if t == 1 else xp.sum(product, axis=2))
        return xp.astype(xp.concat(pieces, axis=1), wide, copy=False)

    def _transformed(self, factor: Float[Array, "q n t d"], index: Array, signs: Array) -> Complex[Array, "q n t f"]:
        """FFT of the count sketch of every vector of a factor."""
        xp = arrays.namespace(factor)
        q, n, t, d = factor.shape
        rows = xp.reshape(factor, (q * n * t, d))
        hashed = backend_of(factor).scatter_add(rows.T, index[:, None], signs[:, None], self.dim).T
        count_products(q * n * t * d + _transform_flops(q * n * t, self.dim))
        if xp.finfo(hashed.dtype).bits < 32:  # transforms of half precision are not everywhere
            hashed = xp.astype(hashed, xp.float32)
        return xp.reshape(xp.fft.rfft(hashed, axis=1), (q, n, t, -1))

    def _gathered(self, rows: Float[Array, "r k"], start: int, stop: int) -> Float[Array, "r b"]:
        index, signs = self._entries(start, stop, like=rows)
        return arrays.namespace(rows).take(rows, index, axis=1) * signs

    def _entries(self, start: int, stop: int, *, like: Array) -> tuple[Array, Array]:
        """Row number and sign of every coordinate in [start, stop)."""
        xp = arrays.namespace(like)
        index, signs = [], []
        for part in parts_of(bound_layout(self), start, stop):
            (i, s), (j, u) = self._hashes(part, like=like)
            both = xp.reshape(i[:, None] + j[None, :], (-1,))
            index.append(xp.where(both < self.dim, both, both - self.dim))
            signs.append(xp.reshape(s[:, None] * u[None, :], (-1,)))
        return xp.concat(index), xp.concat(signs)

    def _hashes(self, part: Part, *, like: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """(h, s) of the rows, then of the columns, of a part; row i uses word offset + i, column j word offset + j."""
        place = part.matrix.offset
        return (
            self._hash("tensor-sketch-rows", place + part.rows[0], part.rows[1] - part.rows[0], like),
            self._hash("tensor-sketch-columns", place + part.columns[0], part.columns[1] - part.columns[0], like),
        )

    def _hash(self, stream: str, start: int, count: int, like: Array) -> tuple[Array, Array]:
        xp = arrays.namespace(like)
        drawn = nearby_words(like, seed=self.seed, stream=stream, start=start, count=count)
        index = moved(integers_of(drawn, self.dim), like)
        kind = xp.__array_namespace_info__().default_dtypes(device=arrays.device_of(like))["indexing"]
        signs = xp.astype(moved(signs_of(drawn, like), like), like.dtype, copy=False)
        return xp.astype(index, kind, copy=False), signs


def _transform_flops(number: int, dim: int) -> int:
    """About 5k log₂ k operations for a complex transform, half for a real one."""
    return int(2.5 * number * dim * math.log2(max(2, dim)))


def _complex_of(xp: Any, real: Any) -> Any:
    return xp.complex128 if xp.finfo(real).bits == 64 else xp.complex64


def _plus(total: Any, part: Inexact[Array, "q n f"]) -> Inexact[Array, "q n f"]:
    return part if total is None else total + part
