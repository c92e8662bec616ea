"""What is measured of a kernel at a checkpoint, from weighted features, and how a sample of points stands for all.

Points of weight w stand for Ψᵀdiag(w)Ψ = Σ_i w_i ψ_i ψ_iᵀ: their kernel is √w_i K̄_ij √w_j, their targets √w_i y_i;
combinations of them (:mod:`dntk.trajectories.interpolation`) for the kernel that these have. A quantity Q of all n
points at checkpoint t is estimated by the ratio

    Q_t = Q_r · q_t/q_r,

q of the sample, r the checkpoint at which all points are known: what the sample misses at r, it mostly misses at t.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.features import TangentFeatures
from dntk.spectrum import effective_dimension, eigenvalues
from dntk.types import Array

DIMENSION, ALIGNMENT = -3, -2
"""Where the effective dimension and the alignment stand among the measures."""

_ENTRIES = 2**22
"""Entries of each kernel that are held at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measures:
    """What a kernel is asked for.

    Parameters
    ----------
    size
        Number of leading eigenvalues.
    ridge
        λ of the effective dimension, in units of the kernel's trace.
    """

    size: int
    ridge: float

    def of(
        self,
        phi: TangentFeatures,
        first: TangentFeatures,
        weights: Float[Array, " n"],
        targets: Float[Array, "n c"] | None,
    ) -> Float[np.ndarray, " q"]:
        """Eigenvalues, effective dimension, alignment (NaN without targets), drift from ``first``; on the host.

        O(n·C·k·min(n, C·k)), and for the drift O(n²·C·k) by blocks of rows.
        """
        values = eigenvalues(_weighted(phi, weights))
        trace = float(arrays.namespace(values).sum(values))
        leading = [float(values[i]) if i < values.shape[0] else 0.0 for i in range(self.size)]
        dimension = effective_dimension(values, self.ridge * trace) if trace > 0 else 0.0
        return np.asarray([*leading, dimension, *_ratios(_pair_sums(phi, first, weights, targets))])


def calibrated(
    sample: Float[np.ndarray, " q"],
    at_reference: Float[np.ndarray, " q"] | None,
    everywhere: Float[np.ndarray, " q"] | None,
) -> Float[np.ndarray, " q"]:
    """Q_r·q_t/q_r of all but the drift, which is a ratio itself; as they are where nothing is known at r."""
    if at_reference is None or everywhere is None:
        return sample
    known = at_reference > np.finfo(np.float32).eps * np.nanmax(np.abs(at_reference[:-3]))
    known[-3:] = at_reference[-3:] != 0
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(known, everywhere * sample / np.where(known, at_reference, 1), sample)
    moved[-1] = sample[-1]
    return moved


def _weighted(phi: TangentFeatures, weights: Float[Array, " n"]) -> TangentFeatures:
    xp = arrays.namespace(phi.values)
    root = xp.sqrt(xp.astype(weights, phi.values.dtype, copy=False))
    return TangentFeatures(phi.values * root[None, :, None], phi.sketch)


def _pair_sums(
    phi: TangentFeatures, first: TangentFeatures, weights: Array, targets: Array | None
) -> Float[np.ndarray, " q"]:
    """Σ_ij over all pairs of points of K∘YYᵀ, K∘K, YYᵀ∘YYᵀ, (K − K_0)², K_0², from weighted ones, by blocks of rows.

    Pairs of a point with itself are as many as points, all others as many as n(n − 1): a U-statistic, which is unbiased
    for uniform samples. Kernels are in units of their largest diagonal entries.
    """
    xp = arrays.namespace(phi.values)
    mine, theirs = _unit(phi), _unit(first)
    scale = _largest(phi) / _largest(first) if _largest(first) else 1.0
    w = arrays.in_float64(weights)
    y = arrays.in_float64(xp.zeros_like(mine[:, :1]) if targets is None else targets)
    total, same = np.zeros(5), np.zeros(5)
    for start, stop in arrays.spans(len(phi), max(1, _ENTRIES // len(phi))):
        kernel, before = mine[start:stop, :] @ mine[start:, :].T, theirs[start:stop, :] @ theirs[start:, :].T
        labels = y[start:stop, :] @ y[start:, :].T
        pairs = (kernel * labels, kernel**2, labels**2, (kernel * scale**2 - before) ** 2, before**2)
        left, width = w[start:stop], stop - start
        both = xp.concat([left, 2 * w[stop:]])  # pairs of these rows with later ones count twice: kernels are symmetric
        for i, part in enumerate(pairs):
            total[i] += float(xp.sum(part * left[:, None] * both[None, :]))
            own = xp.linalg.diagonal(part[:, :width])
            same[i] += float(xp.sum(own * left))
            total[i] -= float(xp.sum(own * left**2))
    points, squares = float(xp.sum(w)), float(xp.sum(w**2))
    others = points**2 - squares
    return same + (total * (points * (points - 1) / others) if others > 0 else 0.0)


def _ratios(sums: Float[np.ndarray, " q"]) -> tuple[float, float]:
    """Alignment, NaN where it has no meaning, and drift, infinite where only the first kernel is zero."""
    product, kernel, labels, moved, before = (float(value) for value in sums)
    aligned = product / (kernel * labels) ** 0.5 if kernel > 0 and labels > 0 else float("nan")
    if before <= 0:
        return aligned, 0.0 if moved <= 0 else float("inf")
    return aligned, (max(moved, 0.0) / before) ** 0.5


def _largest(phi: TangentFeatures) -> float:
    return arrays.largest_magnitude(phi.values)


def _unit(phi: TangentFeatures) -> Float[Array, "n d"]:
    """Joined features in float64 with a largest entry of one: products of kernels stay in range."""
    return arrays.in_float64(phi.joined()) / (_largest(phi) or 1.0)
