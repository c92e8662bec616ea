"""What is asked of kernels that are given as matrices, or as their eigenvalues."""

import math

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array

_TERMS = 2**24
"""Products that an entry of a kernel is a sum of, in the largest networks that rounding is allowed for."""
_ROUNDING = 2 * math.sqrt(_TERMS) * 2.0**-24
"""2⁻¹¹. Two sums of N products of x_i and x_j, in any order, differ by 2√N·u·‖x_i‖‖x_j‖ where errors of rounding are
independent (Higham and Mary 2019); u is that of float32, in which kernels are computed before they are widened."""
_ENTRIES = 2**22
"""Entries that are compared at once."""


def symmetrised(name: str, kernel: Float[Array, "*c n n"]) -> Float[Array, "*c n n"]:
    """(K + Kᵀ)/2, in float64 where the device has it, of matrices that are symmetric up to rounding.

    Raises
    ------
    ValueError
        They are not: what would be computed of the symmetric part is not of what was passed.
    """
    require_symmetric(name, kernel)
    wide = arrays.in_float64(kernel)
    return (wide + wide.mT) / 2


def require_symmetric(name: str, kernel: Float[Array, "*c n n"]) -> None:
    """Raise ``ValueError`` unless matrices are symmetric up to rounding, 2⁻¹¹ + eps of the largest entry of each."""
    xp, n = arrays.namespace(kernel), kernel.shape[-1]
    matrices = xp.reshape(kernel, (-1, n, n))
    for number in range(matrices.shape[0]):
        matrix = matrices[number, :, :]
        largest, found = arrays.largest_magnitude(matrix), asymmetry(matrix)
        if found > (_ROUNDING + arrays.epsilon(matrix)) * largest:
            share = f"{found / largest:.2g}" if math.isfinite(found) else "more than 1"
            msg = (
                f"`{name}` is not symmetric: K[i, j] and K[j, i] differ by up to {share} of the largest entry, which "
                f"rounding does not explain. Pass a kernel of points with themselves; where the difference has no "
                f"meaning, ({name} + {name}.mT) / 2."
            )
            raise ValueError(msg)


def asymmetry(matrix: Float[Array, "n n"]) -> float:
    """Largest |K_ij − K_ji|; some rows and columns are compared at a time."""
    xp, n = arrays.namespace(matrix), matrix.shape[0]
    worst = 0.0
    for start, stop in arrays.spans(n, max(1, _ENTRIES // n)):
        rows = arrays.in_float64(matrix[start:stop, :])
        columns = arrays.in_float64(matrix[:, start:stop])
        worst = max(worst, float(xp.max(xp.abs(rows - columns.mT))))
    return worst


def require_descending(name: str, values: Float[Array, " n"]) -> None:
    """Raise ``ValueError`` unless these are the eigenvalues of a kernel: numbers, in descending order."""
    arrays.require_floating(name, values)
    arrays.require_finite(name, values)
    if values.shape[0] > 1 and bool(arrays.namespace(values).any(values[1:] > values[:-1])):
        msg = f"`{name}` has eigenvalues that are not in descending order: pass xp.flip(xp.sort(values))."
        raise ValueError(msg)
