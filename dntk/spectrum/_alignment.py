"""How well a kernel is aligned with targets."""

from jaxtyping import Float

from dntk import arrays
from dntk._kernel_checks import require_symmetric
from dntk.types import Array


def alignment(kernel: Float[Array, "n n"], targets: Float[Array, " n *c"]) -> float:
    """Kernel-target alignment ⟨K, YYᵀ⟩_F / (‖K‖_F ‖YYᵀ‖_F), in [0, 1] for a positive semidefinite K.

    Source: Cristianini, Shawe-Taylor, Elisseeff and Kandola, NIPS 2001. Nothing is centred.

    Raises
    ------
    ValueError
        Another number of targets than points, a kernel that is not symmetric beyond rounding, or a kernel or targets
        that are zero throughout.

    Examples
    --------
    >>> y = np.array([[1.0], [-1.0], [1.0]])
    >>> round(dntk.spectrum.alignment(y @ y.T, y), 6)
    1.0
    >>> round(dntk.spectrum.alignment(np.eye(3), y), 6)  # 1/√3
    0.57735
    """
    xp = arrays.require_same_place(kernel=kernel, targets=targets)
    for name, value in (("kernel", kernel), ("targets", targets)):
        arrays.require_floating(name, value)
        arrays.require_finite(name, value)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or targets.ndim not in (1, 2) or 0 in targets.shape:
        shapes = f"`kernel` has shape {tuple(kernel.shape)}, `targets` {tuple(targets.shape)}"
        msg = f"{shapes}: expected a square matrix (n, n) and targets (n,) or (n, C)."
        raise ValueError(msg)
    if kernel.dtype != targets.dtype:
        kernel, targets = arrays.in_float64(kernel), arrays.in_float64(targets)
    columns = targets[:, None] if targets.ndim == 1 else targets
    if columns.shape[0] != kernel.shape[0]:
        found = f"`targets` has {columns.shape[0]} rows, but the kernel has {kernel.shape[0]} points"
        msg = f"{found}: pass one row per point."
        raise ValueError(msg)
    require_symmetric("kernel", kernel)
    # Alignment has no scale: without one, squares stay within the range of the dtype.
    kernel, columns = _unit(kernel), _unit(columns)
    norm = float(xp.linalg.matrix_norm(kernel)) * float(xp.linalg.matrix_norm(columns.T @ columns))
    if norm == 0:
        msg = "the alignment of a zero kernel or of zero targets is not defined."
        raise ValueError(msg)
    return float(xp.sum(columns * (kernel @ columns))) / norm


def _unit(x: Array) -> Array:
    """``x`` with a largest entry of magnitude one; zeros stay zeros."""
    xp = arrays.namespace(x)
    largest = xp.max(xp.abs(x))
    return x / xp.where(largest > 0, largest, xp.ones_like(largest))
