"""Kernels that can be multiplied with: of features, or given as matrices."""

import dataclasses
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int

from dntk import arrays
from dntk._foreign import require_plain_array
from dntk._kernel_checks import require_symmetric
from dntk.ledger import count
from dntk.types import Array

_ENTRIES = 2**22
"""Entries that are held in a wider type at once."""


@runtime_checkable
class KernelOperator(Protocol):
    """One positive semidefinite matrix per output, known by its products, columns and diagonal."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of outputs and of points."""

    def multiply(self, v: Float[Array, "c n q"]) -> Float[Array, "c n q"]:
        """K^c v_c."""

    def columns(self, points: Int[Array, " s"]) -> Float[Array, "c n s"]:
        """Columns of K^c."""

    def diagonal(self) -> Float[Array, "c n"]:
        """Diagonals of K^c."""


@dataclasses.dataclass(frozen=True)
class FeatureKernel:
    """K^c = Ψ^c Ψ^cᵀ, never formed: a product costs O(n·k).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, v = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(2, 40, 1))
    >>> kernel = dntk.solve.FeatureKernel(phi.values)
    >>> kernel.shape, np.allclose(kernel.multiply(v), phi.kernel(outputs="each") @ v)
    ((2, 40), True)
    """

    values: Float[Array, "c n k"]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of outputs and of points."""
        return self.values.shape[0], self.values.shape[1]

    def multiply(self, v: Float[Array, "c n q"]) -> Float[Array, "c n q"]:
        """Ψ(Ψᵀv)."""
        c, n, k = self.values.shape
        count(flops=4 * c * n * k * v.shape[2])
        return self.values @ (self.values.mT @ v)

    def columns(self, points: Int[Array, " s"]) -> Float[Array, "c n s"]:
        """ΨΨ_Sᵀ."""
        return self.values @ arrays.namespace(self.values).take(self.values, points, axis=1).mT

    def diagonal(self) -> Float[Array, "c n"]:
        """Squared norms of the features."""
        return arrays.namespace(self.values).sum(self.values * self.values, axis=2)


@dataclasses.dataclass(frozen=True)
class MatrixKernel:
    """K^c as matrices (C, n, n): a product costs O(n²).

    Raises
    ------
    ValueError
        They are not square, finite, and symmetric but for rounding: conjugate gradients would not converge to a
        solution.

    Examples
    --------
    >>> kernel = dntk.solve.MatrixKernel(2 * np.eye(3)[None, :, :])
    >>> kernel.shape, kernel.diagonal().tolist()
    ((1, 3), [[2.0, 2.0, 2.0]])
    """

    values: Float[Array, "c n n"]

    def __post_init__(self) -> None:
        require_plain_array("values", self.values)
        arrays.require_floating("values", self.values)
        if self.values.ndim != 3 or self.values.shape[1] != self.values.shape[2] or 0 in self.values.shape:
            msg = f"`values` has shape {tuple(self.values.shape)}: expected (outputs, points, points), none 0."
            raise ValueError(msg)
        arrays.require_finite("values", self.values)
        require_symmetric("values", self.values)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of outputs and of points."""
        return self.values.shape[0], self.values.shape[1]

    def multiply(self, v: Float[Array, "c n q"]) -> Float[Array, "c n q"]:
        """K v."""
        count(flops=2 * self.values.shape[0] * self.values.shape[1] ** 2 * v.shape[2])
        return self.values @ v

    def columns(self, points: Int[Array, " s"]) -> Float[Array, "c n s"]:
        """Columns of the matrices."""
        return arrays.namespace(self.values).take(self.values, points, axis=2)

    def diagonal(self) -> Float[Array, "c n"]:
        """Diagonals of the matrices."""
        return arrays.namespace(self.values).linalg.diagonal(self.values)


def wide_product(kernel: FeatureKernel | MatrixKernel, v: Float[Array, "c n q"]) -> Float[Array, "c n q"]:
    """K^c v_c in the type of v, wider than the kernel's own, by blocks of rows: its numbers are never copied whole."""
    xp, (c, n, k) = arrays.namespace(v), kernel.values.shape
    spans = list(arrays.spans(n, max(1, _ENTRIES // (c * k))))

    def rows(start: int, stop: int) -> Array:
        return xp.astype(kernel.values[:, start:stop, :], v.dtype, copy=False)

    count(flops=(4 if isinstance(kernel, FeatureKernel) else 2) * c * n * k * v.shape[2])
    right = v
    if isinstance(kernel, FeatureKernel):
        right = xp.zeros((c, k, v.shape[2]), dtype=v.dtype, device=arrays.device_of(v))
        for start, stop in spans:
            right = right + (v[:, start:stop, :].mT @ rows(start, stop)).mT
    return xp.concat([rows(start, stop) @ right for start, stop in spans], axis=1)
