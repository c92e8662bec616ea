"""Eigenvalues of kernels given as matrices or as features."""

from collections.abc import Iterator

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk._foreign import require_plain_array
from dntk._kernel_checks import symmetrised
from dntk._progress import task
from dntk.backend import backend_of
from dntk.features import TangentFeatures, require_kernel_of
from dntk.ledger import count
from dntk.spectrum.randomized import OVERSAMPLING, normal_matrix, randomized_eigenpairs
from dntk.types import Array

_PIECE = 2**24
"""Numbers that are widened at once."""
_EXACT_POINTS = 2048  # up to here one dense factorisation is cheaper than several passes over the features


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
        A matrix is not square, empty, not finite, or not symmetric beyond rounding: by more than 5e-4 of its largest
        entry.

    Examples
    --------
    >>> phi = dntk.TangentFeatures(np.diag([1.0, 3.0, 2.0]))
    >>> dntk.spectrum.eigenvalues(phi).round(6).tolist()  # squared singular values
    [9.0, 4.0, 1.0]
    >>> dntk.spectrum.eigenvalues(phi.kernel(), size=1).round(6).tolist()
    [9.0]
    """
    with task("eigenvalues", total=1, unit="decompositions") as bar:
        if isinstance(kernel, TangentFeatures):
            values = _feature_eigenvalues(kernel)
        else:
            _require_square(kernel)
            xp = arrays.namespace(kernel)
            values = xp.flip(xp.linalg.eigvalsh(symmetrised("kernel", kernel)), axis=-1)
        bar.advance()
    return values if size is None else values[..., : positive_integer("size", size)]


def leading_eigenpairs(
    features: Float[Array, "*c n d"], size: int, *, seed: int = 0
) -> tuple[Float[Array, "*c r"], Float[Array, "*c n r"]]:
    """Leading eigenvalues and orthonormal eigenvectors of F Fᵀ, r = min(size, n), in descending order.

    Up to a few thousand points by a dense eigendecomposition, O(n²d + n³); beyond by randomized subspace iteration
    with oversampling 8 and three passes, O(n·d·size), whose small eigenvalues are slightly underestimated (Halko,
    Martinsson and Tropp 2011), or where the size is near d by the triangular factor of F, O(n·d²). Computed in
    float64 where the device has it; randomized passes multiply in the features' own precision, and one last pass
    finds the eigenvalues of the subspace in float64. Of several matrices one at a time is widened.

    Examples
    --------
    >>> values, vectors = dntk.spectrum.leading_eigenpairs(np.diag([1.0, 3.0, 2.0]), 2)
    >>> values.round(6).tolist(), vectors.shape
    ([9.0, 4.0], (3, 2))
    >>> np.abs(vectors[:, 0]).round(6).tolist()
    [0.0, 1.0, 0.0]
    """
    _require_matrices("features", features)
    xp = arrays.namespace(features)
    n, d = features.shape[-2:]
    size = min(positive_integer("size", size), n)
    if features.ndim == 3:
        outputs = range(features.shape[0])
        with task("eigenvectors", total=len(outputs), unit="outputs") as bar:
            pairs = [leading_eigenpairs(features[c, :, :], size, seed=seed) for c in bar.over(outputs)]
        return xp.stack([values for values, _ in pairs]), xp.stack([vectors for _, vectors in pairs])
    if n > _EXACT_POINTS and 4 * (size + OVERSAMPLING) <= min(n, d):
        return randomized_eigenpairs([features], size, seed=seed)
    wide = arrays.in_float64(features)
    if n > max(_EXACT_POINTS, 2 * d):
        return _from_triangular_factor(wide, size, seed)
    count(flops=2 * n * n * d + 9 * n**3)
    return _leading(backend_of(wide).gram(wide), size)


def eigenpairs_of(kernels: Float[Array, "c n n"]) -> tuple[Float[Array, "c n"], Float[Array, "c n n"]]:
    """All eigenpairs of Gram matrices that exist already, as :func:`leading_eigenpairs` has those of features."""
    xp = arrays.namespace(kernels)
    outputs, n = range(kernels.shape[0]), kernels.shape[-1]
    count(flops=9 * len(outputs) * n**3)
    with task("eigenvectors", total=len(outputs), unit="outputs") as bar:
        pairs = [_leading(kernels[c, :, :], n) for c in bar.over(outputs)]
    return xp.stack([values for values, _ in pairs]), xp.stack([vectors for _, vectors in pairs])


def mean_eigenpairs(
    features: TangentFeatures, size: int, *, seed: int = 0
) -> tuple[Float[Array, " r"], Float[Array, "n r"]]:
    """Leading eigenpairs of K̄, as :func:`leading_eigenpairs` of the joined features, which are formed where small.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi = dntk.TangentFeatures(rng.normal(size=(2, 40, 8)))
    >>> values, vectors = dntk.spectrum.mean_eigenpairs(phi, 5)
    >>> values.shape, vectors.shape
    ((5,), (40, 5))
    >>> np.allclose(phi.kernel() @ vectors, vectors * values)
    True
    """
    c, n, k = require_kernel_of("features", features).values.shape
    size = positive_integer("size", size)
    if n > _EXACT_POINTS and 4 * (size + OVERSAMPLING) <= min(n, c * k):
        values, vectors = randomized_eigenpairs([features.values[i, :, :] for i in range(c)], min(size, n), seed=seed)
        return values / c, vectors
    if n > min(_EXACT_POINTS, c * k):
        return leading_eigenpairs(features.joined(), size, seed=seed)
    count(flops=2 * n * n * c * k + 9 * n**3)
    with task("eigenvectors", total=1, unit="decompositions") as bar:
        pairs = _leading(_mean_gram(features), min(size, n))
        bar.advance()
    return pairs


def _leading(gram: Float[Array, "n n"], size: int) -> tuple[Array, Array]:
    """The largest eigenvalues of a Gram matrix, none negative, and their eigenvectors."""
    xp = arrays.namespace(gram)
    values, vectors = xp.linalg.eigh(gram)
    return xp.clip(xp.flip(values, axis=-1)[:size], min=0), xp.flip(vectors, axis=-1)[:, :size]


def _from_triangular_factor(wide: Float[Array, "n d"], size: int, seed: int) -> tuple[Array, Array]:
    """By F = QR and the singular values of R: linear in n, and small eigenvalues are not squared away.

    Beyond the d eigenvectors that F has, random orthonormal ones of the eigenvalue zero.
    """
    xp = arrays.namespace(wide)
    n, d = wide.shape
    count(flops=4 * n * d * d + 20 * d**3)
    basis, triangle = xp.linalg.qr(wide)
    left, singular, _ = xp.linalg.svd(triangle, full_matrices=False)
    values, vectors = singular[:size] ** 2, basis @ left[:, :size]
    if size <= d:
        return values, vectors
    more, _ = xp.linalg.qr(xp.concat([basis, normal_matrix(wide, n, size - d, seed=seed)], axis=1))
    zeros = xp.zeros(size - d, dtype=values.dtype, device=arrays.device_of(wide))
    return xp.concat([values, zeros]), xp.concat([vectors, more[:, d:]], axis=1)


def gram_eigenvalues(gram: Float[Array, "n n"]) -> Float[Array, " n"]:
    """All eigenvalues of a Gram matrix in float64, descending, none negative."""
    xp = arrays.namespace(gram)
    count(flops=4 * gram.shape[0] ** 3)
    return xp.clip(xp.flip(xp.linalg.eigvalsh(gram), axis=0), min=0)


def _feature_eigenvalues(phi: TangentFeatures) -> Float[Array, " n"]:
    """All n eigenvalues of K̄, the trailing ones exactly zero where n exceeds C·k.

    By a matrix of the smaller side: K̄ or the joined features' ΨᵀΨ in float64, or a triangular factor where there is
    none. Neither the joined features nor all of them in float64 exist.
    """
    xp = arrays.namespace(phi.values)
    c, n, k = phi.values.shape
    dtype, device = arrays.accumulation_dtype(phi.values), arrays.device_of(phi.values)
    count(flops=2 * n * c * k * min(n, c * k) + 4 * min(n, c * k) ** 3)
    if xp.finfo(dtype).bits != 64:
        values = xp.linalg.svdvals(_triangle(phi)) ** 2 / c
    elif n <= c * k:
        values = xp.clip(xp.flip(xp.linalg.eigvalsh(_mean_gram(phi)), axis=0), min=0)
    else:
        joined = arrays.in_float64(phi.joined())  # no more numbers than n²
        values = xp.clip(xp.flip(xp.linalg.eigvalsh(backend_of(joined).column_gram(joined)), axis=0), min=0)
    missing = n - values.shape[0]
    return values if missing <= 0 else xp.concat([values, xp.zeros(missing, dtype=dtype, device=device)])


def _pieces(phi: TangentFeatures) -> Iterator[Float[Array, "n b"]]:
    """Columns of the features of one output after another, in float64 where there is one."""
    c, n, k = phi.values.shape
    for output in range(c):
        for start, stop in arrays.spans(k, max(n, _PIECE // n)):
            yield arrays.in_float64(phi.values[output, :, start:stop])


def _mean_gram(phi: TangentFeatures) -> Float[Array, "n n"]:
    """K̄ in float64."""
    total: Array | None = None
    for piece in _pieces(phi):
        product = backend_of(piece).gram(piece)
        total = product if total is None else total + product
    assert total is not None
    return total / phi.n_outputs


def _triangle(phi: TangentFeatures) -> Float[Array, "r n"]:
    """R with RᵀR = C·K̄, by QR of one piece after another below what those before left.

    Singular values of wide matrices ask JAX for the square of the longer side; of R they need n² numbers.
    """
    xp = arrays.namespace(phi.values)
    triangle: Array | None = None
    for piece in _pieces(phi):
        stacked = piece.T if triangle is None else xp.concat([triangle, piece.T], axis=0)
        triangle = xp.linalg.qr(stacked)[1]
    assert triangle is not None
    return triangle


def _require_matrices(name: str, features: Array) -> None:
    require_plain_array(name, features)
    arrays.require_floating(name, features)
    if features.ndim not in (2, 3) or 0 in features.shape:
        msg = f"`{name}` has shape {tuple(features.shape)}: expected (points, features), or one such for each output."
        raise ValueError(msg)
    arrays.require_finite(name, features)


def _require_square(kernel: Array) -> None:
    require_plain_array("kernel", kernel)
    arrays.require_floating("kernel", kernel)
    if kernel.ndim < 2 or kernel.shape[-1] != kernel.shape[-2] or kernel.shape[-1] == 0:
        msg = f"`kernel` has shape {tuple(kernel.shape)}: expected symmetric matrices (..., n, n), or TangentFeatures."
        raise ValueError(msg)
    arrays.require_finite("kernel", kernel)
