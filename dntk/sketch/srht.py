"""The subsampled randomised Hadamard transform, one per run of B coordinates, summed."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Integer

from dntk import arrays
from dntk._checks import is_integer, keep
from dntk.random import moved, nearby_signs, words
from dntk.sketch.base import (
    CHUNK_ENTRIES,
    adjoint_in_chunks,
    apply_in_chunks,
    check_sketch_fields,
    count_products,
    rows_of,
)
from dntk.sketch.error import SketchError, subspace_error
from dntk.types import Array

_SHORTEST_WIDTH = 2**12


@dataclasses.dataclass(frozen=True)
class SRHT:
    """Block SRHT: S = √(B/k) [E₀RHD₀, E₁RHD₁, …] with one orthonormal Hadamard matrix H (B, B) per B coordinates.

    D_b and E_b are random signs, drawn for every block; R takes k of the B rows without replacement, the same for
    all. E⟨Su, Sv⟩ = ⟨u, v⟩. Within one block Var⟨Su, Sv⟩ = (‖u‖²‖v‖² + ⟨u, v⟩² − 2Σuᵢ²vᵢ²)/k · (B − k)/(B − 1):
    with k = B ≥ P it is an exact isometry. Two parts in different blocks add
    (‖u_b‖²‖v_b'‖² + ⟨u_b, v_b⟩⟨u_b', v_b'⟩)/k. The signs E_b matter: without them the first coordinates of all blocks,
    whose Hadamard column is constant, would be sketched to the same vector up to sign. Spectra stay within the
    Gaussian band in every trial made (empirical; Tropp 2011 has a proof whose failure probability does not go below
    about 1/r). Blocks: Balabanov, Beaupère, Grigori and Lederer 2022.

    Cost: P·log₂ B additions a row, independent of k, and one bit per coordinate and batch; memory O(B + chunk) a row.

    Parameters
    ----------
    dim
        k, the number of coordinates after sketching.
    width
        B, a power of two of at least k; default: the smallest such, at least 4,096. Wider blocks cost more and have
        slightly less variance.
    seed
        The same seed gives the same matrix on every backend, device and chunk size.
    n_parameters
        Set by :func:`dntk.tangent_features`; needed by :meth:`adjoint`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> gradients = rng.normal(size=(5, 1000))
    >>> dntk.sketch.SRHT(64).apply(gradients).shape
    (5, 64)
    >>> whole = dntk.sketch.SRHT(1024, width=1024).apply(gradients)  # k = B ≥ P: an isometry
    >>> np.allclose(whole @ whole.T, gradients @ gradients.T)
    True
    """

    dim: int
    width: int | None = None
    seed: int = 0
    n_parameters: int | None = None

    def __post_init__(self) -> None:
        check_sketch_fields(self)
        width = max(_SHORTEST_WIDTH, 1 << (self.dim - 1).bit_length()) if self.width is None else self.width
        if not is_integer(width) or width < self.dim or width & (width - 1):
            msg = f"`width` must be a power of two of at least dim={self.dim}, got {self.width!r}."
            raise ValueError(msg)
        keep(self, width=int(width))

    @property
    def _length(self) -> int:
        """B, which is set from the beginning on."""
        assert self.width is not None
        return self.width

    def apply(self, gradients: Float[Array, "*batch p"]) -> Float[Array, "*batch k"]:
        """S g for every row g; for tests and small P, as whole gradients have to exist."""
        return apply_in_chunks(self, gradients)

    def adjoint(self, z: Float[Array, "*batch k"], *, n_parameters: int | None = None) -> Float[Array, "*batch p"]:
        """Sᵀ z for every row z: the transforms backwards."""
        return adjoint_in_chunks(self, z, n_parameters, self._backwards, width=self.chunk_width(rows_of(z)))

    def error(self, n: int, *, confidence: float = 0.999) -> SketchError:
        """ε for the kernel of n feature rows (points times outputs that must hold at once); empirical."""
        theorem = "the Gaussian band, kept in all of 2,500 trials a family"
        return subspace_error(self.dim, n, confidence, theorem=theorem, kind="empirical")

    def columns(self, values: Float[Array, "r b"], start: int) -> Float[Array, "r k"]:
        """Contribution of the coordinates [start, start + b) of every row; blocks cut by the range count as whole."""
        xp = arrays.namespace(values)
        rows, size = values.shape
        first, last = start // self._length, -(-(start + size) // self._length)
        blocks = last - first
        place = {"dtype": values.dtype, "device": arrays.device_of(values)}
        before = xp.zeros((rows, start - first * self._length), **place)
        after = xp.zeros((rows, last * self._length - start - size), **place)
        padded = xp.reshape(xp.concat([before, values, after], axis=1), (rows, blocks, self._length))
        inner, outer = self._signs(first, blocks, like=values)
        transformed = hadamard(padded * inner)
        count_products(rows * blocks * self._length * (2 + self._length.bit_length()))
        kept = xp.take(transformed, self._rows(like=values), axis=2) * outer
        return xp.sum(kept, axis=1)

    def chunk_width(self, rows: int) -> int:
        """As many whole blocks as fit the bound on temporaries, at least one."""
        return max(1, CHUNK_ENTRIES // (max(rows, 1) * self._length)) * self._length

    def _backwards(self, rows: Float[Array, "r k"], start: int, stop: int) -> Float[Array, "r b"]:
        """Coordinates [start, stop), ``start`` a multiple of B, by scattering into all rows of H."""
        xp = arrays.namespace(rows)
        blocks = -(-(stop - start) // self._length)
        inner, outer = self._signs(start // self._length, blocks, like=rows)
        places, kept = self._places(like=rows)
        # Rows of H that were not taken find a weight of zero.
        spread = xp.take(rows[:, None, :] * outer, places, axis=2) * kept
        values = xp.reshape(hadamard(spread) * inner, (rows.shape[0], blocks * self._length))
        return values[:, : stop - start]

    def _signs(self, first: int, blocks: int, *, like: Array) -> tuple[Array, Array]:
        """D of so many blocks, and E scaled by 1/√k: the Hadamard matrix is left as signs."""
        settings = {"seed": self.seed, "start": first, "rows": blocks}
        inner = nearby_signs(like, stream="srht-coordinates", columns=self._length, scale=1.0, **settings)
        outer = nearby_signs(like, stream="srht-rows", columns=self.dim, scale=self.dim**-0.5, **settings)
        return inner, outer

    def _sample(self) -> np.ndarray:
        """The k rows of H in random order: those of the k smallest of B words."""
        padded = max(8, self._length)
        drawn = words(seed=self.seed, stream="srht-sample", start=0, count=padded)[: self._length]
        return np.argsort(drawn, kind="stable")[: self.dim]

    def _rows(self, *, like: Array) -> Integer[Array, " k"]:
        return moved(self._sample(), like)

    def _places(self, *, like: Array) -> tuple[Integer[Array, " width"], Float[Array, " width"]]:
        """For every row of H the place where it was kept, and 1; for the others 0 and 0."""
        sample = self._sample()
        places, kept = np.zeros(self._length, dtype=np.int64), np.zeros(self._length, dtype=np.float32)
        places[sample], kept[sample] = np.arange(self.dim), 1
        return moved(places, like), arrays.namespace(like).astype(moved(kept, like), like.dtype, copy=False)


def hadamard(x: Float[Array, "r m b"]) -> Float[Array, "r m b"]:
    """Products of the last axis, a power of two long, with Sylvester's matrix of signs (−1)^⟨i, j⟩.

    By butterflies, b·log₂ b additions each, all elementwise: equal rows stay equal to the last bit.
    """
    xp = arrays.namespace(x)
    shape, size = x.shape, x.shape[-1]
    batch = math.prod(shape[:-1])
    half = size // 2
    while half:
        pairs = xp.reshape(x, (batch * (size // (2 * half)), 2, half))
        x = xp.stack([pairs[:, 0, :] + pairs[:, 1, :], pairs[:, 0, :] - pairs[:, 1, :]], axis=1)
        half //= 2
    return xp.reshape(x, shape)
