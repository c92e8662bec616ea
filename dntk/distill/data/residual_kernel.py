"""What chosen points leave of the kernel: a partial Cholesky factorisation of the features' Gram matrix, by blocks."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from dntk import arrays
from dntk._progress import task
from dntk.backend import backend_of
from dntk.distill.data.base import Selection
from dntk.distill.data.given import Given
from dntk.features import StoredFeatures, TangentFeatures
from dntk.features.passes import of_rows
from dntk.ledger import count
from dntk.random import drawing_dtype, moved
from dntk.types import Array

BLOCK = 64
"""Picks whose columns are computed by one product where their order is known beforehand."""


class ResidualKernel:
    """R = K̄ − K̄_Nyström of the points picked so far, for up to ``size`` picks.

    Holds the features F (n, d) with K̄ = F Fᵀ, the factor L of K̄_Nyström = L Lᵀ, and ``diagonal``, the diagonal of R;
    no n × n matrix exists. In float64 where the device has it. A pick whose residual is rounding, at most
    ``noise`` = n · eps · max K̄_ii, removes nothing but itself.

    Cost of m picks O(n · m · (d + m)), in matrix products of as many columns as are picked at once; memory
    O(n · (d + m)). Points ``given`` count as picked before: the features held are what they leave.
    """

    def __init__(self, phi: TangentFeatures, size: int, given: Given | None = None) -> None:
        self.features = accumulated(phi)
        xp, device = arrays.namespace(self.features), arrays.device_of(self.features)
        n = self.features.shape[0]
        self.diagonal: Array = xp.sum(self.features * self.features, axis=1)
        self.trace = float(xp.sum(self.diagonal))
        self.noise = n * arrays.epsilon(self.features) * float(xp.max(self.diagonal))
        if given is not None:
            self.features = given.left(self.features)
            left = xp.sum(self.features * self.features, axis=1)
            self.diagonal = xp.where(given.mask(left), 0 * left, left)
        self.indices: list[int] = []
        self._dtype = phi.values.dtype
        self._traces: list[Array] = []
        self._positions = xp.arange(n, device=device)
        # Rows not reached yet are zero: one shape throughout, which compiling libraries need to be fast.
        self._factor: Array = xp.zeros((size, n), dtype=self.features.dtype, device=device)

    def block(self, points: Sequence[int]) -> npt.NDArray[np.float64]:
        """R at some points, on the host."""
        where, xp = self._array(points), arrays.namespace(self.features)
        rows, factor = xp.take(self.features, where, axis=0), xp.take(self._factor, where, axis=1)
        count(flops=2 * len(points) ** 2 * (rows.shape[1] + factor.shape[0]))
        return _host(rows @ rows.T - factor.T @ factor)

    def add(self, picks: Sequence[int]) -> None:
        """Pick points, in this order."""
        xp = arrays.namespace(self.features)
        # Repeating the last pick up to a power of two keeps the number of shapes small.
        width = 1 << (len(picks) - 1).bit_length()
        where = self._array([*picks, *[picks[-1]] * (width - len(picks))])
        count(flops=2 * self.features.shape[0] * width * (self.features.shape[1] + self._factor.shape[0] + width))
        columns = self.features @ xp.take(self.features, where, axis=0).T
        columns = columns - self._factor.T @ xp.take(self._factor, where, axis=1)
        combine, _ = eliminate(_host(xp.take(columns, where, axis=0))[: len(picks), : len(picks)], self.noise)
        padded = np.zeros((width, width), dtype=drawing_dtype(columns))
        padded[: len(picks), : len(picks)] = combine
        new = columns @ moved(padded, columns)
        self._append(new, len(picks))
        self.remove(new, picks)

    def remove(self, new: Float[Array, "n b"], picks: Sequence[int]) -> None:
        """Take new columns of the factor, one for each pick, off the residual."""
        xp = arrays.namespace(new)
        for j, pick in enumerate(picks):
            left = xp.clip(self.diagonal - new[:, j] ** 2, min=0)
            # The pick's own residual is zero, exactly, whatever rounding says.
            self.diagonal = xp.where(self._positions == pick, 0 * left, left)
            self._traces.append(xp.sum(self.diagonal))
        self.indices.extend(picks)

    def selection(self, weights: Float[Array, " m"] | None = None) -> Selection:
        """The picks so far, of equal weights or those given."""
        xp, device = arrays.namespace(self.features), arrays.device_of(self.features)
        ones = xp.ones(len(self.indices), dtype=self._dtype, device=device)
        return Selection(
            indices=self._array(self.indices),
            weights=ones if weights is None else xp.astype(weights, self._dtype, copy=False),
            residual_trace=xp.astype(xp.stack(self._traces), self._dtype, copy=False),
            trace=self.trace,
        )

    def _append(self, columns: Float[Array, "n b"], picked: int) -> None:
        """Write new columns of L into the rows that are next."""
        xp, size, done = arrays.namespace(columns), self._factor.shape[0], len(self.indices)
        rows = np.arange(size)
        rows[done : done + picked] = size + np.arange(picked)
        self._factor = xp.take(xp.concat([self._factor, columns.T], axis=0), moved(rows, columns), axis=0)

    def _array(self, points: Sequence[int]) -> Int[Array, " m"]:
        return moved(np.asarray(points, dtype=np.int64), self.features)


class StoredResidualKernel(ResidualKernel):
    """The same of features on the disk: a pass over the chunks for all columns that are computed at once.

    The factor is not held: its columns are products FB with orthonormal combinations B of the picks' features. Memory
    O(n·block + m·d).
    """

    def __init__(self, phi: StoredFeatures, given: Given | None = None) -> None:
        self._phi, self._dtype = phi, phi.sample.values.dtype
        self.features = accumulated(phi.sample)  # for library, device and type
        xp, n = arrays.namespace(self.features), len(phi)
        self.diagonal = self._of_all(lambda rows: xp.sum(rows * rows, axis=1))
        self.trace = float(xp.sum(self.diagonal))
        self.noise = n * arrays.epsilon(self.features) * float(xp.max(self.diagonal))
        self.indices = []
        self._traces = []
        self._positions = xp.arange(n, device=arrays.device_of(self.features))
        self._spanned: Array = self.features[:0, :]
        if given is not None:
            self._spanned = given.axes[0]
            left = self._of_all(lambda rows: xp.sum(given.left(rows) ** 2, axis=1))
            self.diagonal = xp.where(given.mask(left), 0 * left, left)

    def block(self, points: Sequence[int]) -> npt.NDArray[np.float64]:
        """R at some points, on the host."""
        left = self._left(points)
        return _host(left @ left.T)

    def add(self, picks: Sequence[int]) -> None:
        """Pick points, in this order; one pass."""
        xp, left = arrays.namespace(self.features), self._left(picks)
        combine, _ = eliminate(_host(left @ left.T), self.noise)
        new = moved(combine.astype(drawing_dtype(left)), left).T @ left
        columns = self._of_all(lambda rows: rows @ new.T)
        self._spanned = xp.concat([self._spanned, new], axis=0)
        self.remove(columns, picks)

    def _left(self, points: Sequence[int]) -> Float[Array, "b d"]:
        """What the picks so far leave of the features of some points; projected twice, as rounding asks for."""
        rows = accumulated(self._phi[np.asarray(points, dtype=np.int64)])
        for _ in range(2):
            rows = rows - (rows @ self._spanned.T) @ self._spanned
        return rows

    def _of_all(self, make: Callable[[Array], Array]) -> Array:
        """Something of every point, chunk by chunk."""
        count(flops=2 * len(self._phi) * self.features.shape[1])
        return of_rows(self._phi, make, name="pass over features")


def residual_kernel(phi: TangentFeatures, size: int, given: Given | None = None) -> ResidualKernel:
    """The residual kernel of some features for up to ``size`` picks beside those given."""
    return StoredResidualKernel(phi, given) if isinstance(phi, StoredFeatures) else ResidualKernel(phi, size, given)


def eliminate(
    block: Float[np.ndarray, "b b"],
    noise: float,
    accept: Callable[[int, float], bool] = lambda _, __: True,
) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Cholesky factorisation of a residual block that passes over some of its points.

    Points come in order. One whose residual d, after those taken before it, is at most ``noise``, or which
    ``accept(position, d)`` refuses, is passed over.

    Returns
    -------
    Combinations W (b, b) with which the residual's columns R give the new columns R W of the factor, zero for points
    passed over; and the positions that were taken.
    """
    b = block.shape[0]
    combine, factor = np.zeros((b, b)), np.zeros((b, b))
    taken: list[int] = []
    for j in range(b):
        row = factor[j, :j]
        left = float(block[j, j] - row @ row)
        if left > noise and accept(j, left):
            root = math.sqrt(left)  # correctly rounded at every scale, as a power is not
            combine[:, j] = -(combine[:, :j] @ row) / root
            combine[j, j] += 1 / root
            factor[:, j] = (block[:, j] - factor[:, :j] @ row) / root
            taken.append(j)
    return combine, taken


def picked_in_order(
    phi: TangentFeatures,
    order: Sequence[int],
    weights: Float[Array, " m"] | None = None,
    *,
    given: Given | None = None,
) -> Selection:
    """Selection of points whose order is known beforehand; what they leave is what those given leave with them."""
    kernel = residual_kernel(phi, len(order), given)
    with task("what points leave", total=len(order), unit="points") as bar:
        for start, stop in bar.spans(len(order), BLOCK):
            kernel.add(order[start:stop])
    return kernel.selection(weights)


def accumulated(phi: TangentFeatures) -> Float[Array, "n d"]:
    """Features F with K̄ = F Fᵀ, in float64 where the device has it."""
    return arrays.in_float64(phi.joined())


def _host(x: Array) -> npt.NDArray[np.float64]:
    return np.asarray(backend_of(x).to_numpy(x), dtype=np.float64)
