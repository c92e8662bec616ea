"""What a selector of points is, and what it returns."""

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int

from dntk import arrays
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.types import Array

_GRAM_BYTES = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """Chosen points (a coreset).

    Parameters
    ----------
    indices
        Positions of the chosen points, in the order of choice.
    weights
        Weight of each in sums over the data; ones where the selector gives all points equal say.
    residual_trace
        tr(K̄ − K̄_Nyström) after each pick, absolute: what the points chosen so far leave of the kernel.
    trace
        tr K̄ of all points.
    """

    indices: Int[Array, " m"]
    weights: Float[Array, " m"]
    residual_trace: Float[Array, " m"]
    trace: float

    def __len__(self) -> int:
        """Number of chosen points."""
        return self.indices.shape[0]


@runtime_checkable
class DataSelector(Protocol):
    """Chooses points by their tangent features."""

    @property
    def size(self) -> int:
        """Number of points to choose."""

    def select(self, phi: TangentFeatures) -> Selection:
        """Chosen points."""


def check_selection_size(size: int, points: int) -> None:
    """Raise ``ValueError`` unless 1 ≤ size ≤ points."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        msg = f"`size` must be a positive integer, got {size!r}."
        raise ValueError(msg)
    if size > points:
        msg = f"`size`={size} points are asked of {points}: pass a size of at most {points}."
        raise ValueError(msg)


def pivoted_cholesky(phi: TangentFeatures, size: int, pick: Callable[[int, Float[Array, " n"]], int]) -> Selection:
    """Partial Cholesky factorisation of K̄ with pivots from ``pick(step, residual diagonal)``.

    K̄'s columns come from the features, O(n·C·k) each, or from the whole matrix where that is no larger than the
    features. In float64 where the device has it. A pivot whose residual is rounding removes nothing.
    """
    xp = arrays.namespace(phi.values)
    joined = phi.joined()
    joined = xp.astype(joined, arrays.accumulation_dtype(joined), copy=False)
    n, d = joined.shape
    gram = joined @ joined.T if n <= d and 8 * n * n <= _GRAM_BYTES else None
    count(flops=2 * n * d * (n if gram is not None else size))
    residual = xp.sum(joined * joined, axis=1)
    trace, noise = float(xp.sum(residual)), n * arrays.epsilon(joined) * float(xp.max(residual))
    # Rows not reached yet are zero: one shape throughout, which compiling libraries need to be fast.
    factor = xp.zeros((size, n), dtype=joined.dtype, device=arrays.device_of(joined))
    steps = xp.arange(size, device=arrays.device_of(joined))[:, None]
    indices: list[int] = []
    traces: list[Array] = []
    for step in range(size):
        pivot = pick(step, residual)
        indices.append(pivot)
        if float(residual[pivot]) > noise:
            column = gram[:, pivot] if gram is not None else joined @ joined[pivot, :]
            column = (column - factor[:, pivot] @ factor) / xp.sqrt(residual[pivot])
            factor = xp.where(steps == step, column[None, :], factor)
            residual = xp.clip(residual - column * column, min=0)
        # The pivot's own residual is zero, exactly, whatever rounding says.
        residual = xp.where(xp.arange(n, device=arrays.device_of(residual)) == pivot, 0 * residual, residual)
        traces.append(xp.sum(residual))
    device = arrays.device_of(joined)
    return Selection(
        indices=xp.asarray(indices, device=device),
        weights=xp.ones(size, dtype=phi.values.dtype, device=device),
        residual_trace=xp.astype(xp.stack(traces), phi.values.dtype, copy=False),
        trace=trace,
    )
