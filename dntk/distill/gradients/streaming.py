"""Gradients distilled in one pass over the points, which are never held together."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk._progress import task
from dntk._target_checks import check_targets
from dntk.distill.gradients.frequent_directions import FrequentDirections
from dntk.distill.gradients.streamed import StreamedGradients
from dntk.features import PairedFeatures, TangentFeatures
from dntk.types import Array

Chunks = Iterable[tuple[TangentFeatures | Array, Array]]
"""Features of some points with their targets, (n, C) or for several tasks (T, n, C)."""


@dataclasses.dataclass(frozen=True)
class Streaming:
    """Robust Frequent Directions of every output's features, and the products Ψᵀy: one pass, O(C·s·k) memory.

    The rows B are s combinations of all tangent features seen, with 0 ≤ ΨᵀΨ − BᵀB ≤ ΔI. Regression takes BᵀB + (Δ/2)I
    for ΨᵀΨ, which halves the error that is guaranteed, and Ψᵀy as it is. Without the shift the components of Ψᵀy
    outside the rows would be divided by λ alone, errors of 10⁵ on real networks; the result therefore has no solver
    without it, and is not accepted by :func:`dntk.solve.ridge`.

    Parameters
    ----------
    size
        Number s of rows per output.
    per_output
        Combinations for every output's features on their own, or one set of combinations for all outputs, from the
        joined features of K̄; their shift is that of K̄ times C at most.

    Notes
    -----
    O(n·C·s·k). Accumulated in float64 where the device has it. The pass can be divided, see
    :meth:`StreamedGradients.merged`. Over stored features, ``stream(phi.paired(y))``, every chunk is streamed by itself
    and the results are merged in a fixed order, by one process or by the workers of ``phi.client``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> chunks = ((phi[i : i + 10], y[i : i + 10]) for i in range(0, 40, 10))
    >>> grads = dntk.distill.gradients.Streaming(5).stream(chunks)
    >>> grads.rows.shape
    (2, 5, 8)
    >>> grads.solve(ridge=1.0).predict(phi).shape
    (40, 2)
    """

    size: int
    per_output: bool = True

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size))

    def stream(self, chunks: Chunks) -> StreamedGradients:
        """Distil features that come in chunks, from a generator over batches of inputs, or ``phi.paired(targets)``.

        Raises
        ------
        ValueError
            No chunk; chunks of other outputs, dimensions, sketches or numbers of tasks than the first; targets of
            another shape than their features.
        """
        if isinstance(chunks, PairedFeatures):
            return chunks.folded(self._of_chunk, StreamedGradients.merged, name="streamed gradients")
        found: StreamedGradients | None = None
        with task("streamed gradients", unit="chunks") as bar:
            for given, targets in bar.over(chunks):
                phi = given if isinstance(given, TangentFeatures) else TangentFeatures(given)
                if found is None:
                    found = self._empty(phi, targets)
                found = self._with_chunk(found, phi, targets)
        if found is None:
            msg = "`chunks` is empty: pass at least one pair of features and targets."
            raise ValueError(msg)
        return found

    def _of_chunk(self, phi: TangentFeatures, targets: Array) -> StreamedGradients:
        return self._with_chunk(self._empty(phi, targets), phi, targets)

    def _empty(self, phi: TangentFeatures, targets: Array) -> StreamedGradients:
        xp = arrays.namespace(phi.values)
        c, _, k = phi.values.shape
        tasks = targets.shape[0] if targets.ndim == 3 else 1
        sketches = (
            tuple(FrequentDirections.empty(self.size, k, like=phi.values) for _ in range(c))
            if self.per_output
            else (FrequentDirections.empty(self.size, c * k, like=phi.values),)
        )
        dtype, device = sketches[0].rows.dtype, arrays.device_of(phi.values)
        return StreamedGradients(
            sketches=sketches,
            products=xp.zeros((tasks, c, k), dtype=dtype, device=device),
            energies=xp.zeros(c, dtype=dtype, device=device),
            target_energies=xp.zeros((tasks, c), dtype=dtype, device=device),
            points=0,
            like=TangentFeatures(phi.values[:, :1, :], phi.sketch),
        )

    def _with_chunk(self, found: StreamedGradients, phi: TangentFeatures, targets: Array) -> StreamedGradients:
        found.like.require_comparable(phi, "chunk")
        xp = arrays.namespace(phi.values)
        y = stacked_targets(targets, phi, tasks=found.products.shape[0], dtype=found.products.dtype)
        wide = xp.astype(phi.values, found.products.dtype, copy=False)
        parts: list[Any] = [wide[c, :, :] for c in range(phi.n_outputs)] if self.per_output else [_joined(wide)]
        return dataclasses.replace(
            found,
            sketches=tuple(s.absorbed(part) for s, part in zip(found.sketches, parts, strict=True)),
            products=found.products + (y.mT[:, :, None, :] @ wide[None, :, :, :])[:, :, 0, :],
            energies=found.energies + xp.sum(wide * wide, axis=(1, 2)),
            target_energies=found.target_energies + xp.sum(y * y, axis=1),
            points=found.points + len(phi),
        )


def stacked_targets(targets: Array, phi: TangentFeatures, *, tasks: int, dtype: Any) -> Float[Array, "t n c"]:
    """Targets of every task, checked."""
    xp = arrays.namespace(phi.values)
    stack = [targets] if targets.ndim < 3 else [targets[t, :, :] for t in range(targets.shape[0])]
    if len(stack) != tasks:
        msg = (
            f"`targets` has {len(stack)} tasks in one chunk, but {tasks} in the first: pass all tasks with every chunk."
        )
        raise ValueError(msg)
    checked = [check_targets(y, phi.values, points=len(phi), outputs=phi.n_outputs) for y in stack]
    return xp.astype(xp.stack(checked), dtype, copy=False)


def _joined(wide: Float[Array, "c n k"]) -> Float[Array, "n d"]:
    xp = arrays.namespace(wide)
    c, n, k = wide.shape
    return xp.reshape(xp.permute_dims(wide, (1, 0, 2)), (n, c * k)) * c**-0.5
