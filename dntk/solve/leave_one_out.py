"""Exact leave-one-out errors of ridge regression for many ridges at the cost of one eigendecomposition.

With K = Q diag(e) Qᵀ, residual y − f = Q λ/(e + λ) Qᵀy and 1 − h_i = Σ_j q_ij² λ/(e_j + λ); the residual of point i
when it is left out is (y_i − f_i)/(1 − h_i) (Allen 1974). The primal form, for more points than features, uses the
eigenvectors of ΦᵀΦ.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.ledger import count
from dntk.types import Array

DEFAULT_GRID = tuple(float(g) for g in np.logspace(-8, 2, 41))
"""Ridges tried by ``"loo"``, in units of the kernel's mean diagonal."""


def choose_ridge(
    features: Float[Array, "c n k"], targets: Float[Array, "n c"], grid: Sequence[float] | None = None
) -> float:
    """Ridge of least leave-one-out error, summed over outputs, from ``grid`` (absolute) or the default grid.

    Computed in float64 where the device has it; ridges below the rounding of the kernel are left out. One
    eigendecomposition of min(n, k) per output.

    Raises
    ------
    ValueError
        All features are zero.
    """
    xp = arrays.namespace(features)
    dtype = arrays.accumulation_dtype(features)
    wide, y = xp.astype(features, dtype, copy=False), xp.astype(targets, dtype, copy=False).T
    diagonal = float(xp.mean(xp.sum(wide * wide, axis=2)))
    if diagonal == 0:
        msg = "all tangent features are zero (a dead network?): there is no kernel to choose a ridge for."
        raise ValueError(msg)
    ridges = [g * diagonal for g in DEFAULT_GRID] if grid is None else list(grid)
    if wide.shape[1] <= wide.shape[2]:
        count(flops=2 * wide.shape[0] * wide.shape[1] ** 2 * wide.shape[2])
        errors, floor = _dual_errors(wide @ wide.mT, y, ridges)
    else:
        errors, floor = _primal_errors(wide, y, ridges)
    return _least(errors, ridges, floor)


def choose_kernel_ridge(
    kernel: Float[Array, "c n n"], targets: Float[Array, "n c"], grid: Sequence[float] | None = None
) -> float:
    """As :func:`choose_ridge`, from the kernels themselves."""
    xp = arrays.namespace(kernel)
    dtype = arrays.accumulation_dtype(kernel)
    wide, y = xp.astype(kernel, dtype, copy=False), xp.astype(targets, dtype, copy=False).T
    diagonal = float(xp.mean(xp.linalg.diagonal(wide)))
    if diagonal == 0:
        msg = "the kernel is zero (a dead network?): there is nothing to choose a ridge for."
        raise ValueError(msg)
    ridges = [g * diagonal for g in DEFAULT_GRID] if grid is None else list(grid)
    errors, floor = _dual_errors(wide, y, ridges)
    return _least(errors, ridges, floor)


def _least(errors: Sequence[float], ridges: Sequence[float], floor: float) -> float:
    """Ridge of least error among those above the rounding of the kernel."""
    sound = [(error, ridge) for error, ridge in zip(errors, ridges, strict=True) if ridge >= floor]
    return min(sound)[1] if sound else max(ridges)


def _dual_errors(
    kernel: Float[Array, "c n n"], y: Float[Array, "c n"], ridges: Sequence[float]
) -> tuple[list[float], float]:
    xp = arrays.namespace(kernel)
    c, n, _ = kernel.shape
    count(flops=9 * c * n**3)
    values, vectors = xp.linalg.eigh(kernel)
    values = xp.clip(values, min=0)
    coefficients = (vectors.mT @ y[:, :, None])[:, :, 0]
    squares = vectors * vectors
    errors = []
    for ridge in ridges:
        kept = ridge / (values + ridge)
        residual = (vectors @ (kept * coefficients)[:, :, None])[:, :, 0]
        left_out = residual / (squares @ kept[:, :, None])[:, :, 0]
        errors.append(float(xp.mean(left_out * left_out)))
    return errors, n * arrays.epsilon(values) * float(xp.max(values))


def _primal_errors(features: Array, y: Float[Array, "c n"], ridges: Sequence[float]) -> tuple[list[float], float]:
    xp = arrays.namespace(features)
    c, n, k = features.shape
    count(flops=c * (4 * n * k * k + 9 * k**3))
    values, vectors = xp.linalg.eigh(features.mT @ features)
    values = xp.clip(values, min=0)
    scores = features @ vectors
    products = (scores.mT @ y[:, :, None])[:, :, 0]
    squares = scores * scores
    errors = []
    for ridge in ridges:
        inverse = 1 / (values + ridge)
        residual = y - (scores @ (inverse * products)[:, :, None])[:, :, 0]
        leverage = (squares @ inverse[:, :, None])[:, :, 0]
        # A point that alone spans a direction has leverage one up to rounding: its left-out residual is its target.
        slack = xp.clip(1 - leverage, min=n * arrays.epsilon(values))
        errors.append(float(xp.mean((residual / slack) ** 2)))
    return errors, n * arrays.epsilon(values) * float(xp.max(values))
