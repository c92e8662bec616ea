"""The mask: one random coordinate of each of k ranges."""

import dataclasses

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.gradient_blocks import FactoredBlock, GradientBlock
from dntk.random import WORDS_PER_COUNTER, drawing_dtype, integers_of, moved, words
from dntk.sketch.base import (
    CHUNK_ENTRIES,
    adjoint_size,
    apply_in_chunks,
    block_by_pieces,
    check_sketch_fields,
    count_products,
)
from dntk.sketch.error import SketchError, moment_error
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class Mask:
    """k random coordinates, one of each of k ranges of about P/k neighbours, times the root of the range's length.

    E⟨Su, Sv⟩ = ⟨u, v⟩ and Var⟨Su, Sv⟩ = Σ_ranges (w Σ uᵢ²vᵢ² − (Σ uᵢvᵢ)²) with length w of the range, at most
    (⌈P/k⌉ − 1)‖u‖²‖v‖²: there is no bound that does not grow with P, and gradients with few large coordinates reach
    it. Coordinates are taken from every part of the network in proportion to its size. With k ≥ P all are kept, and
    the map is an exact isometry.

    Cost: one multiplication a row and coordinate kept, of factored gradients t: nothing else is computed.

    Parameters
    ----------
    dim
        k, the number of coordinates kept.
    seed
        The same seed gives the same coordinates on every backend, device and chunk size.
    n_parameters
        P, which decides the ranges; set by :func:`dntk.tangent_features`, taken from the argument by :meth:`apply`.

    Examples
    --------
    >>> gradient = np.repeat([[5.0, 6.0, 7.0, 8.0]], 3)
    >>> kept = dntk.sketch.Mask(4).apply(gradient[None, :])  # one of each three neighbours
    >>> (kept / np.sqrt(3)).round(6).tolist()
    [[5.0, 6.0, 7.0, 8.0]]
    """

    dim: int
    seed: int = 0
    n_parameters: int | None = None

    def __post_init__(self) -> None:
        check_sketch_fields(self)

    def apply(self, gradients: Float[Array, "*batch p"]) -> Float[Array, "*batch k"]:
        """S g for every row g."""
        unbound = self.n_parameters is None
        sketch = dataclasses.replace(self, n_parameters=gradients.shape[-1]) if unbound else self
        return apply_in_chunks(sketch, gradients)

    def adjoint(self, z: Float[Array, "*batch k"], *, n_parameters: int | None = None) -> Float[Array, "*batch p"]:
        """Sᵀ z for every row z: zero but for the coordinates kept."""
        xp = arrays.namespace(z)
        size = adjoint_size(self, z, n_parameters)
        index, weights = dataclasses.replace(self, n_parameters=size)._kept()
        rows = xp.reshape(z, (-1, self.dim))
        place = moved(np.minimum(index, size - 1)[:, None], rows)
        spread = backend_of(rows).scatter_add(rows.T, place, self._moved(weights, rows)[:, None], size).T
        return xp.reshape(spread, (*z.shape[:-1], size))

    def error(self, n: int, *, confidence: float = 0.999) -> SketchError:
        """ε for the kernel of n feature rows: it does not depend on n, and is useless unless k is near P."""
        variance = -(-self._bound_size() // self.dim) - 1
        return moment_error(float(variance), n, confidence, theorem="Chebyshev, variance of a stratified sample")

    def columns(self, values: Float[Array, "r b"], start: int) -> Float[Array, "r k"]:
        """Contribution of the coordinates [start, start + b) of every row."""
        index, weights, first, last = self._kept_within(start, start + values.shape[1])
        xp = arrays.namespace(values)
        taken = xp.take(values, moved(index - start, values), axis=1) * self._moved(weights, values)
        count_products(values.shape[0] * (last - first))
        return self._padded(taken, first, last)

    def chunk_width(self, rows: int) -> int:
        """Coordinates whose piece of gradients fits the bound on temporaries."""
        return max(1, CHUNK_ENTRIES // max(1, rows))

    def block(self, block: GradientBlock) -> Float[Array, "q n k"]:
        """Contribution of one gradient block; of a factored one only the coordinates kept are computed."""
        if not isinstance(block, FactoredBlock) or block.bias:
            return block_by_pieces(self, block)
        xp = arrays.namespace(block.inputs)
        index, weights, first, last = self._kept_within(block.offset, block.offset + block.size)
        inputs = block.inputs[None, ...]
        left, right = (inputs, block.cotangents) if block.transposed else (block.cotangents, inputs)
        row, column = np.divmod(index - block.offset, right.shape[3])
        (q, n), t = block.shape, block.inputs.shape[1]
        count_products(2 * q * n * t * (last - first))
        wide = arrays.accumulation_dtype(left)
        pieces = [xp.zeros((q, n, 0), dtype=wide, device=arrays.device_of(left))]
        for start, stop in arrays.spans(last - first, max(1, CHUNK_ENTRIES // max(1, q * n * t))):
            mine = xp.take(left, moved(row[start:stop], left), axis=3)
            theirs = xp.take(right, moved(column[start:stop], right), axis=3)
            pieces.append(xp.astype(xp.sum(mine * theirs, axis=2) * self._moved(weights[start:stop], left), wide))
        return self._padded(xp.concat(pieces, axis=2), first, last)

    def _bound_size(self) -> int:
        if self.n_parameters is None:
            msg = (
                "the ranges of a Mask depend on the number of parameters: pass n_parameters=P, or use the bound sketch "
                "that tangent_features returns as `phi.sketch`."
            )
            raise ValueError(msg)
        return self.n_parameters

    def _kept(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Coordinates kept, ascending, and their weights; of an empty range its edge, with weight zero."""
        padded = -(-self.dim // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
        drawn = words(seed=self.seed, stream="mask", start=0, count=padded)[: self.dim].astype(np.int64)
        edges = np.arange(self.dim + 1, dtype=np.int64) * self._bound_size() // self.dim
        lengths = np.diff(edges)
        return edges[:-1] + np.asarray(integers_of(drawn, lengths)), np.sqrt(lengths)

    def _kept_within(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], int, int]:
        """Coordinates in [start, stop) with their weights, and their range among the k."""
        index, weights = self._kept()
        first, last = (int(i) for i in np.searchsorted(index, [start, stop]))
        return index[first:last], weights[first:last], first, last

    def _padded(self, taken: Float[Array, "*rows kept"], first: int, last: int) -> Float[Array, "*rows k"]:
        xp = arrays.namespace(taken)
        settings = {"dtype": taken.dtype, "device": arrays.device_of(taken)}
        before = xp.zeros((*taken.shape[:-1], first), **settings)
        after = xp.zeros((*taken.shape[:-1], self.dim - last), **settings)
        return xp.concat([before, taken, after], axis=-1)

    def _moved(self, weights: npt.NDArray[np.float64], like: Array) -> Float[Array, " kept"]:
        host = moved(weights.astype(drawing_dtype(like)), like)
        return arrays.namespace(like).astype(host, like.dtype, copy=False)
