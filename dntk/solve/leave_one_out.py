"""Exact leave-one-out errors of ridge regression for many ridges at the cost of one eigendecomposition.

With K = Q diag(e) Qᵀ, residual y − f = Q λ/(e + λ) Qᵀy and 1 − h_i = Σ_j q_ij² λ/(e_j + λ); the residual of point i
when it is left out is (y_i − f_i)/(1 − h_i) (Allen 1974). The primal form, for more points than features, uses the
eigenvectors of ΦᵀΦ. Many ridges are two matrix products more. Of points with several rows all are left out together.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.ledger import count
from dntk.solve._points_left_out import dual_errors_of_points, pieces_of_points, primal_left_out_of_points
from dntk.solve.normal_equations import NormalEquations, rows_at_once
from dntk.solve.normal_spectrum import NormalSpectrum
from dntk.types import Array

DEFAULT_GRID = tuple(float(g) for g in np.logspace(-8, 2, 41))
"""Ridges tried by ``"loo"``, in units of the kernel's mean diagonal."""

_ENTRIES = 2**22
"""Entries of the residuals (points, targets, ridges) that are held at once."""


def choose_kernel_ridge(
    kernel: Float[Array, "c n n"], targets: Float[Array, "n c"], grid: Sequence[float] | None = None
) -> float:
    """Ridge of least leave-one-out error, summed over outputs, from ``grid`` (absolute) or the default grid.

    Computed in float64 where the device has it; ridges below the rounding of the kernel are left out. One
    eigendecomposition per output.

    Raises
    ------
    ValueError
        The kernel is zero.
    """
    xp = arrays.namespace(kernel)
    wide, y = arrays.in_float64(kernel), arrays.in_float64(targets).T[:, :, None]
    diagonal = float(xp.mean(xp.linalg.diagonal(wide)))
    if diagonal == 0:
        msg = "the kernel is zero (a dead network?): there is nothing to choose a ridge for."
        raise ValueError(msg)
    ridges = [g * diagonal for g in DEFAULT_GRID] if grid is None else list(grid)
    errors, floor = dual_errors(wide, y, ridges)
    return least(totals(errors), ridges, floor)


def totals(errors: Float[Array, "g q r"]) -> list[float]:
    """Mean error over the outputs, for each ridge, on the host."""
    xp = arrays.namespace(errors)
    mean = xp.mean(errors, axis=(0, 1))
    return [float(mean[i]) for i in range(mean.shape[0])]


def least(errors: Sequence[float], ridges: Sequence[float], floor: float, share: float | None = None) -> float:
    """Ridge of least error among those above the rounding of the kernel; with ``share`` the largest so near to it."""
    sound = [(error, ridge) for error, ridge in zip(errors, ridges, strict=True) if ridge >= floor]
    if not sound:
        return max(ridges)
    smallest, best = min(sound)
    near = [] if share is None else [ridge for error, ridge in sound if error <= (1 + share) * smallest]
    return max(near, default=best)


def dual_errors(
    kernel: Float[Array, "g n n"], y: Float[Array, "g n q"], ridges: Sequence[float], together: int = 1
) -> tuple[Float[Array, "g q r"], float]:
    """Mean squared left-out residuals, and the ridge below which the kernel is rounding; O(n³ + n²·q·r).

    With so many rows of a point ``together`` O(n²·together·r) more.
    """
    xp = arrays.namespace(kernel)
    g, n, _ = kernel.shape
    count(flops=9 * g * n**3)
    values, vectors = xp.linalg.eigh(kernel)
    values = xp.clip(values, min=0)
    coefficients = vectors.mT @ y
    kept = _row(ridges, values) / (values[:, :, None] + _row(ridges, values))
    residual = _all_ridges(vectors, coefficients, kept)
    floor = n * arrays.epsilon(values) * float(xp.max(values))
    if together > 1:
        return dual_errors_of_points(vectors, kept, residual, together), floor
    left_out = residual / ((vectors * vectors) @ kept)[:, :, None, :]
    return xp.mean(left_out * left_out, axis=1), floor


def primal_errors(
    features: Float[Array, "g n k"],
    y: Float[Array, "g n q"],
    statistics: NormalEquations,
    ridges: Sequence[float],
    *,
    weight: float | None = None,
    spectrum: NormalSpectrum | None = None,
    together: int = 1,
) -> tuple[Float[Array, "g q r"], float]:
    """The same from their statistics, for more points than features: O(n·k² + k³ + n·k·q·r), by blocks of points.

    Rows may be scaled by the roots of sample weights that add up to ``weight``; ``spectrum`` of the statistics where it
    is known. With so many rows of a point ``together`` O(n·k·together·r) more.
    """
    xp = arrays.namespace(features)
    g, n, k = features.shape
    spectrum = statistics.spectrum() if spectrum is None else spectrum
    inverse = 1 / (spectrum.values[:, :, None] + _row(ridges, spectrum.values))
    vectors = xp.astype(spectrum.vectors, y.dtype, copy=False)
    total = xp.zeros((g, y.shape[2], len(ridges)), dtype=inverse.dtype, device=arrays.device_of(inverse))
    count(flops=2 * g * n * k * (k + len(ridges) * (1 + y.shape[2])))
    most = min(rows_at_once(features, y.dtype), _ENTRIES // max(1, y.shape[2] * len(ridges)))
    for rows, targets in pieces_of_points(features, y, together, max(1, most)):
        scores = xp.astype(rows, y.dtype, copy=False) @ vectors
        residual = targets[:, :, :, None] - _all_ridges(scores, spectrum.products, inverse)
        gains = xp.astype(inverse, scores.dtype, copy=False)
        # A point that alone spans a direction has leverage one up to rounding: its left-out residual is its target.
        rounding = n * arrays.epsilon(spectrum.values)
        if together > 1:
            left_out = primal_left_out_of_points(scores, gains, residual, together, rounding)
        else:
            left_out = residual / xp.clip(1 - (scores * scores) @ gains, min=rounding)[:, :, None, :]
        total = total + xp.sum(xp.astype(left_out, total.dtype, copy=False) ** 2, axis=1)
    floor = max(statistics.rounding_floor, n * arrays.epsilon(total) * float(xp.max(spectrum.values)))
    return total / (n if weight is None else weight), floor


def _row(ridges: Sequence[float], like: Array) -> Float[Array, "1 1 r"]:
    xp = arrays.namespace(like)
    return xp.asarray(list(ridges), dtype=like.dtype, device=arrays.device_of(like))[None, None, :]


def _all_ridges(
    basis: Float[Array, "g n k"], coefficients: Float[Array, "g k q"], gains: Float[Array, "g k r"]
) -> Float[Array, "g n q r"]:
    """Σ_j basis_nj·coefficient_jq·gain_jr by one matrix product."""
    xp = arrays.namespace(basis)
    (g, k, q), r = coefficients.shape, gains.shape[2]
    flat = xp.reshape(coefficients[:, :, :, None] * gains[:, :, None, :], (g, k, q * r))
    return xp.reshape(basis @ xp.astype(flat, basis.dtype, copy=False), (g, basis.shape[1], q, r))
