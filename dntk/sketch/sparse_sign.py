"""The sparse sign sketch: s nonzeros ±1/√s per coordinate, in s blocks of rows (block SJLT, OSNAP)."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import is_integer, keep
from dntk.backend import backend_of
from dntk.gradient_blocks import GradientBlock
from dntk.random import WORDS_PER_COUNTER, integers_of, moved, nearby_words, signs_of
from dntk.sketch.base import (
    CHUNK_ENTRIES,
    adjoint_in_chunks,
    apply_in_chunks,
    check_sketch_fields,
    count_products,
    rows_of,
)
from dntk.sketch.error import SketchError, moment_error, subspace_error
from dntk.sketch.slabs import hashed
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class SparseSign:
    """Sparse sketch: every coordinate is added, with random signs, to one random row in each of s blocks of rows.

    E⟨Su, Sv⟩ = ⟨u, v⟩ and Var⟨Su, Sv⟩ = (‖u‖²‖v‖² + ⟨u, v⟩² − 2Σuᵢ²vᵢ²)/k (Kane and Nelson 2014, block form). With
    s = 8 its spectra stay within the Gaussian band in every trial made (an empirical statement; proofs with
    constants exist for larger s only).

    Cost: 2·s·P operations a row, independent of k; memory O(chunk).

    Parameters
    ----------
    dim
        k, the number of coordinates after sketching; at least ``nonzeros``.
    nonzeros
        s, nonzeros per coordinate; fewer than 8 fail on coherent subspaces.
    seed
        The same seed gives the same matrix on every backend, device and chunk size.
    n_parameters
        Set by :func:`dntk.tangent_features`; needed by :meth:`adjoint`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sketch = dntk.sketch.SparseSign(64, seed=1)
    >>> sketch.apply(rng.normal(size=(5, 500))).shape
    (5, 64)
    >>> column = sketch.apply(np.eye(500)[:1])  # of S: eight entries ±1/√8
    >>> int((column != 0).sum()), float(round((column**2).sum(), 6))
    (8, 1.0)
    """

    dim: int
    nonzeros: int = 8
    seed: int = 0
    n_parameters: int | None = None

    def __post_init__(self) -> None:
        check_sketch_fields(self)
        if not is_integer(self.nonzeros) or not 1 <= self.nonzeros <= self.dim:
            msg = f"`nonzeros` must be an integer from 1 to dim={self.dim}, got {self.nonzeros!r}."
            raise ValueError(msg)
        keep(self, nonzeros=int(self.nonzeros))

    def apply(self, gradients: Float[Array, "*batch p"]) -> Float[Array, "*batch k"]:
        """S g for every row g; for tests and small P, as whole gradients have to exist."""
        return apply_in_chunks(self, gradients)

    def adjoint(self, z: Float[Array, "*batch k"], *, n_parameters: int | None = None) -> Float[Array, "*batch p"]:
        """Sᵀ z for every row z: a gather."""
        width = self.chunk_width(rows_of(z) * self.nonzeros)
        return adjoint_in_chunks(self, z, n_parameters, self._gathered, width=width)

    def error(self, n: int, *, confidence: float = 0.999) -> SketchError:
        """ε for the kernel of n feature rows: the Gaussian band, empirical, from 8 nonzeros on; else Chebyshev's."""
        if self.nonzeros >= 8:
            theorem = "the Gaussian band, kept in all of 1,200 trials a family"
            return subspace_error(self.dim, n, confidence, theorem=theorem, kind="empirical")
        theorem = "Chebyshev, variance of Kane and Nelson 2014"
        return moment_error(2 / self.dim, n, confidence, theorem=theorem)

    def columns(self, values: Float[Array, "r b"], start: int) -> Float[Array, "r k"]:
        """Contribution of the coordinates [start, start + b) of every row."""
        count_products(2 * values.shape[0] * values.shape[1] * self.nonzeros)
        index, weights = self._entries(start, start + values.shape[1], like=values)
        return backend_of(values).scatter_add(values.T, index, weights, self.dim).T

    def blocks(self, blocks: Iterable[GradientBlock]) -> Float[Array, "q n k"]:
        """Sum of the contributions of all blocks, the coordinates of several at a time."""
        return hashed(blocks, self.dim, lambda start, stop, like: self._entries(start, stop, like=like))

    def chunk_width(self, rows: int) -> int:
        """Coordinates whose piece of gradients fits the bound on temporaries."""
        return max(1, CHUNK_ENTRIES // max(rows, self.nonzeros))

    def _gathered(self, rows: Float[Array, "r k"], start: int, stop: int) -> Float[Array, "r b"]:
        xp = arrays.namespace(rows)
        index, weights = self._entries(start, stop, like=rows)
        taken = xp.take(rows, xp.reshape(index, (-1,)), axis=1)
        taken = xp.reshape(taken, (rows.shape[0], stop - start, self.nonzeros))
        return xp.sum(taken * weights[None, :, :], axis=2)

    def _entries(self, start: int, stop: int, *, like: Array) -> tuple[Array, Array]:
        """Row numbers and signed weights, both (b, s), of coordinates [start, stop)."""
        padded = -(-self.nonzeros // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
        count = (stop - start) * padded
        drawn = nearby_words(like, seed=self.seed, stream="sparse-sign", start=start * padded, count=count)
        xp = arrays.namespace(drawn)
        drawn = xp.reshape(drawn, (stop - start, padded))[:, : self.nonzeros]
        edges = np.arange(self.nonzeros + 1) * self.dim // self.nonzeros
        place = {"dtype": drawn.dtype, "device": arrays.device_of(drawn)}
        index = xp.asarray(edges[:-1].tolist(), **place) + integers_of(
            drawn, xp.asarray(np.diff(edges).tolist(), **place)
        )
        weights = moved(signs_of(drawn, like) * self.nonzeros**-0.5, like)
        return moved(index, like), arrays.namespace(like).astype(weights, like.dtype, copy=False)
