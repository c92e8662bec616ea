"""Leading eigenpairs of a sum of Gram matrices by randomized subspace iteration, without forming any of them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk.ledger import count
from dntk.random import WORDS_PER_COUNTER, drawing_dtype, moved, normals
from dntk.types import Array

OVERSAMPLING = 8
_PASSES = 3


def randomized_eigenpairs(
    parts: Sequence[Float[Array, "n _"]], size: int, *, seed: int
) -> tuple[Float[Array, " r"], Float[Array, "n r"]]:
    """Leading eigenpairs of Σ_c F_c F_cᵀ; the parts are never joined.

    Products are in the parts' own precision; between them a QR factorisation in float64 (where there is one) keeps
    the block orthonormal, and a last pass in float64 finds the eigenvalues in its span. O(n·d·size) for d columns in
    all, memory O((n + d)·size) beside one part widened (Halko, Martinsson and Tropp 2011, Algorithm 4.4).
    """
    xp = arrays.namespace(*parts)
    n, narrow, dtype = parts[0].shape[0], parts[0].dtype, arrays.accumulation_dtype(parts[0])
    width = min(size + OVERSAMPLING, n)
    columns = [part.shape[1] for part in parts]
    images = _split(normal_matrix(parts[0], sum(columns), width, seed=seed), columns)
    basis = _range_of(parts, images, dtype)
    for _ in range(_PASSES):
        left = xp.astype(basis, narrow, copy=False)
        image = xp.concat([xp.astype(part.T @ left, dtype, copy=False) for part in parts], axis=0)
        images = _split(xp.astype(xp.linalg.qr(image)[0], narrow, copy=False), columns)
        basis = _range_of(parts, images, dtype)
    count(flops=4 * (_PASSES + 1) * n * sum(columns) * width)
    # Rayleigh and Ritz: QᵀKQ from projections in full precision, added part by part.
    gram = xp.zeros((width, width), dtype=dtype, device=arrays.device_of(basis))
    for part in parts:
        projection = xp.astype(part, dtype, copy=False).T @ basis
        gram = gram + projection.T @ projection
    values, vectors = xp.linalg.eigh(gram)
    leading = xp.flip(vectors, axis=-1)[:, :size]
    return xp.clip(xp.flip(values, axis=-1)[:size], min=0), basis @ leading


def normal_matrix(like: Array, rows: int, columns: int, *, seed: int) -> Float[Array, "rows columns"]:
    """Standard normal numbers of the type of ``like`` where it is, the same on every backend."""
    padded = -(-columns // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
    draws = normals(seed=seed, stream="range-finder", start=0, count=rows * padded, dtype=drawing_dtype(like))
    near = moved(draws.reshape(rows, padded)[:, :columns].copy(), like)
    return arrays.namespace(like).astype(near, like.dtype, copy=False)


def _range_of(
    parts: Sequence[Float[Array, "n _"]], images: Sequence[Float[Array, "_ w"]], dtype: Any
) -> Float[Array, "n w"]:
    """Orthonormal basis of the columns of Σ_c F_c X_c."""
    xp = arrays.namespace(*parts)
    total = xp.astype(parts[0] @ images[0], dtype, copy=False)
    for part, image in zip(parts[1:], images[1:], strict=True):
        total = total + xp.astype(part @ image, dtype, copy=False)
    return xp.linalg.qr(total)[0]


def _split(rows: Float[Array, "d w"], sizes: Sequence[int]) -> list[Float[Array, "_ w"]]:
    stops = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    return [rows[start:stop, :] for start, stop in pairwise(stops)]
