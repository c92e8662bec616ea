"""The sparse sign sketch: s nonzeros ±1/√s per coordinate, in s blocks of rows (block SJLT, OSNAP)."""

import dataclasses

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.random import WORDS_PER_COUNTER, words
from dntk.sketch.base import (
    CHUNK_ENTRIES,
    adjoint_size,
    apply_in_chunks,
    check_sketch_fields,
    count_products,
    host_dtype,
)
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
    """

    dim: int
    nonzeros: int = 8
    seed: int = 0
    n_parameters: int | None = None

    def __post_init__(self) -> None:
        check_sketch_fields(self.dim, self.seed, self.n_parameters)
        whole = isinstance(self.nonzeros, int) and not isinstance(self.nonzeros, bool)
        if not whole or not 1 <= self.nonzeros <= self.dim:
            msg = f"`nonzeros` must be an integer from 1 to dim={self.dim}, got {self.nonzeros!r}."
            raise ValueError(msg)

    def apply(self, gradients: Float[Array, "*batch p"]) -> Float[Array, "*batch k"]:
        """S g for every row g; for tests and small P, as whole gradients have to exist."""
        return apply_in_chunks(self, gradients)

    def adjoint(self, z: Float[Array, "*batch k"], *, n_parameters: int | None = None) -> Float[Array, "*batch p"]:
        """Sᵀ z for every row z: a gather."""
        xp = arrays.namespace(z)
        size = adjoint_size(self, z, n_parameters)
        rows = xp.reshape(z, (-1, self.dim))
        pieces = []
        for start, stop in arrays.spans(size, self.chunk_width(rows.shape[0] * self.nonzeros)):
            index, weights = self._entries(start, stop, like=rows)
            taken = xp.take(rows, xp.reshape(index, (-1,)), axis=1)
            taken = xp.reshape(taken, (rows.shape[0], stop - start, self.nonzeros))
            pieces.append(xp.sum(taken * weights[None, :, :], axis=2))
        return xp.reshape(xp.concat(pieces, axis=1), (*z.shape[:-1], size))

    def columns(self, values: Float[Array, "r b"], start: int) -> Float[Array, "r k"]:
        """Contribution of the coordinates [start, start + b) of every row."""
        count_products(2 * values.shape[0] * values.shape[1] * self.nonzeros)
        index, weights = self._entries(start, start + values.shape[1], like=values)
        return backend_of(values).scatter_add(values.T, index, weights, self.dim).T

    def chunk_width(self, rows: int) -> int:
        """Coordinates whose piece of gradients fits the bound on temporaries."""
        return max(1, CHUNK_ENTRIES // max(rows, self.nonzeros))

    def _entries(self, start: int, stop: int, *, like: Array) -> tuple[Array, Array]:
        """Row numbers and signed weights, both (b, s), of coordinates [start, stop)."""
        padded = -(-self.nonzeros // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
        drawn = words(seed=self.seed, stream="sparse-sign", start=start * padded, count=(stop - start) * padded)
        drawn = drawn.reshape(stop - start, padded)[:, : self.nonzeros].astype(np.int64)
        edges = np.arange(self.nonzeros + 1, dtype=np.int64) * self.dim // self.nonzeros
        index = edges[:-1] + (((drawn >> 1) * np.diff(edges)) >> 31)
        scale = self.nonzeros**-0.5
        weights = np.where(drawn & 1, scale, -scale).astype(host_dtype(like))
        backend, device = backend_of(like), arrays.device_of(like)
        signs = backend.from_numpy(weights, device=device)
        return backend.from_numpy(index, device=device), arrays.namespace(like).astype(signs, like.dtype, copy=False)
