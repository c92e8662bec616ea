"""Eigenvalues of kernels given as matrices or as features."""

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.random import WORDS_PER_COUNTER, normals
from dntk.types import Array

_EXACT_POINTS = 2048  # up to here one dense factorisation is cheaper than several passes over the features
_OVERSAMPLING = 8
_PASSES = 3


def eigenvalues(kernel: TangentFeatures | Float[Array, "*c n n"], size: int | None = None) -> Float[Array, "*c r"]:
    """Eigenvalues in descending order: of the mean kernel of features, or of a symmetric matrix (or several).

    Parameters
    ----------
    kernel
        Features, whose mean kernel K̄ is meant, or symmetric matrices (..., n, n).
    size
        Keep the leading ``size``; default: all.

    Returns
    -------
    Array
        In float64 where the device has it. From features none is negative, and they come from singular values where
        there is no float64, because a float32 Gram matrix loses those below 3e-4 of the largest singular value.

    Raises
    ------
    ValueError
        A matrix is not square, empty, or not finite.
    """
    if isinstance(kernel, TangentFeatures):
        values = _feature_eigenvalues(kernel.joined())
    else:
        _require_square(kernel)
        xp = arrays.namespace(kernel)
        wide = xp.astype(kernel, arrays.accumulation_dtype(kernel), copy=False)
        values = xp.flip(xp.linalg.eigvalsh((wide + wide.mT) / 2), axis=-1)
    return values if size is None else values[..., :size]


def leading_eigenpairs(
    features: Float[Array, "*c n d"], size: int, *, seed: int = 0
) -> tuple[Float[Array, "*c r"], Float[Array, "*c n r"]]:
    """Leading eigenvalues and orthonormal eigenvectors of F Fᵀ, r = min(size, n), in descending order.

    Up to a few thousand points by a dense eigendecomposition, O(n²d + n³); beyond by randomized subspace iteration
    with oversampling 8 and three passes, O(n·d·size), whose small eigenvalues are slightly underestimated (Halko,
    Martinsson and Tropp 2011). Computed in float64 where the device has it.
    """
    xp = arrays.namespace(features)
    dtype = arrays.accumulation_dtype(features)
    wide = xp.astype(features, dtype, copy=False)
    n, d = features.shape[-2:]
    size = min(size, n)
    if n <= _EXACT_POINTS or 4 * (size + _OVERSAMPLING) > min(n, d):
        count(flops=2 * n * n * d + 9 * n**3)
        values, vectors = xp.linalg.eigh(wide @ wide.mT)
        return (
            xp.clip(xp.flip(values, axis=-1)[..., :size], min=0),
            xp.flip(vectors, axis=-1)[..., :size],
        )
    return _randomized(wide, size, seed)


def _randomized(wide: Array, size: int, seed: int) -> tuple[Array, Array]:
    xp = arrays.namespace(wide)
    n, d = wide.shape[-2:]
    width = size + _OVERSAMPLING
    padded = -(-width // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
    draws = normals(seed=seed, stream="range-finder", start=0, count=d * padded, dtype=np.float64)
    start = backend_of(wide).from_numpy(draws.reshape(d, padded)[:, :width], device=arrays.device_of(wide))
    basis, _ = xp.linalg.qr(wide @ xp.astype(start, wide.dtype))
    for _ in range(_PASSES):
        image, _ = xp.linalg.qr(wide.mT @ basis)
        basis, _ = xp.linalg.qr(wide @ image)
    count(flops=4 * (_PASSES + 1) * n * d * width)
    left, singular, _ = xp.linalg.svd(basis.mT @ wide, full_matrices=False)
    return singular[..., :size] ** 2, (basis @ left)[..., :size]


def _feature_eigenvalues(joined: Float[Array, "n d"]) -> Float[Array, " n"]:
    """All n eigenvalues of F Fᵀ, the trailing ones exactly zero where n exceeds d."""
    xp = arrays.namespace(joined)
    dtype = arrays.accumulation_dtype(joined)
    wide = xp.astype(joined, dtype, copy=False)
    n, d = joined.shape
    count(flops=2 * n * d * min(n, d) + 4 * min(n, d) ** 3)
    if xp.finfo(dtype).bits == 64:
        gram = wide @ wide.T if n <= d else wide.T @ wide
        values = xp.clip(xp.flip(xp.linalg.eigvalsh(gram), axis=0), min=0)
    else:
        values = xp.linalg.svdvals(wide) ** 2
    if values.shape[0] == n:
        return values
    return xp.concat([values, xp.zeros(n - values.shape[0], dtype=dtype, device=arrays.device_of(joined))])


def _require_square(kernel: Array) -> None:
    arrays.require_floating("kernel", kernel)
    if kernel.ndim < 2 or kernel.shape[-1] != kernel.shape[-2] or kernel.shape[-1] == 0:
        msg = f"`kernel` has shape {tuple(kernel.shape)}: expected symmetric matrices (..., n, n), or TangentFeatures."
        raise ValueError(msg)
    arrays.require_finite("kernel", kernel)
