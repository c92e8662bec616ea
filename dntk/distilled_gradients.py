"""Synthetic gradients: s linear combinations of the tangent features of m points, and their targets."""

import dataclasses
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk._target_checks import check_targets
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.spectrum._coverage import coverage as energy_coverage
from dntk.spectrum._coverage import weighted_gap
from dntk.spectrum.eigen import eigenpairs_of, leading_eigenpairs, mean_eigenpairs
from dntk.spectrum.holding import eigenpairs_holding, energies, held_by, traces
from dntk.spectrum.rank import rank_holding
from dntk.types import Array

_ALL_POINTS = 2048  # up to here coverage is measured on all eigenvectors
_FIRST_WIDTH, _LAST_WIDTH = 32, 256  # beyond: on as many as hold 95% of the trace, within these limits


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistilledGradients:
    """Synthetic gradients Φ̂^c = UᵀΨ^c with targets ŷ^c = Uᵀy^c, and what the span of them keeps.

    Parameters
    ----------
    directions
        U with orthonormal columns: (m, s) shared by all outputs, or (C, m, s).
    values
        Φ̂, (C, s, k).
    targets
        ŷ, (C, s).
    coverage
        Energy coverage of the leading eigenvectors of the kernel by U: (r,) for shared directions, where r is the
        truncation rank of K̄ at 5%; (C, r) for per-class directions, each against its K^c.
    gap
        Coverage gap: eigenvalue-weighted share of those eigenvectors that U misses.
    trace_residual
        Relative trace residual tr(K − K_Π)/tr K of the reference kernel, all outputs together, where Π projects on
        the span of the synthetic gradients: the part of the kernel that is lost.
    basis
        Orthonormal rows (C, s, k) that span the rows of Φ̂; zero rows where Φ̂ has smaller rank.
    projected
        Reference features in that basis, Z = Ψ·basisᵀ (C, m, s): what the same-span solve and exact leave-one-out
        need, in place of the features themselves.
    reference_targets
        y, (m, C).
    ridge
        The ridge for which the directions were chosen, if they depend on one.
    sketch
        Sketch of the features.
    """

    directions: Float[Array, "m s"] | Float[Array, "c m s"]
    values: Float[Array, "c s k"]
    targets: Float[Array, "c s"]
    coverage: Float[Array, " r"] | Float[Array, "c r"]
    gap: float
    trace_residual: float
    basis: Float[Array, "c s k"]
    projected: Float[Array, "c m s"]
    reference_targets: Float[Array, "m c"]
    ridge: float | None = None
    sketch: Any = None

    @property
    def size(self) -> int:
        """Number s of synthetic gradients per output."""
        return self.values.shape[1]


def distil_along(
    phi: TangentFeatures,
    targets: Float[Array, "m c"],
    directions: Float[Array, "m s"] | Float[Array, "c m s"],
    *,
    ridge: float | None = None,
    spectra: tuple[Array, Array] | None = None,
) -> DistilledGradients:
    """Synthetic gradients along orthonormal ``directions``, with coverage and trace residual measured.

    Cost O(C·m·s·k), and an eigendecomposition of the kernel for the coverage, unless ``spectra`` has it: what
    :func:`coverage_spectra` returns. Directions, features and targets share namespace and device.

    Raises
    ------
    ValueError
        Directions of another number of points or that are not orthonormal; targets of another shape.
    """
    xp = arrays.require_same_place(features=phi.values, directions=directions)
    y = check_targets(targets, phi.values, points=len(phi), outputs=phi.n_outputs)
    u = xp.astype(directions, phi.values.dtype, copy=False)
    _require_orthonormal(u, len(phi))
    values = u.mT @ phi.values
    count(flops=2 * phi.n_outputs * len(phi) * u.shape[-1] * phi.dim)
    basis = row_basis(values)
    projected = phi.values @ basis.mT
    count(flops=2 * phi.n_outputs * len(phi) * u.shape[-1] * phi.dim)
    known = spectra if spectra is not None else coverage_spectra(phi, per_output=u.ndim == 3, size=u.shape[-1])
    covered, gap = _coverage(known, u, phi)
    return DistilledGradients(
        directions=u,
        values=values,
        targets=(u.mT @ y).mT if u.ndim == 2 else (u.mT @ y.T[:, :, None])[:, :, 0],
        coverage=covered,
        gap=gap,
        trace_residual=trace_residual(phi.values, projected),
        basis=basis,
        projected=projected,
        reference_targets=y,
        ridge=ridge,
        sketch=phi.sketch,
    )


def row_basis(values: Float[Array, "c s k"]) -> Float[Array, "c s k"]:
    """Orthonormal rows spanning the rows of each matrix; zero rows in place of directions that rounding made up.

    Needs no s ≤ k: with fewer features than rows the surplus rows are zero. One matrix after another, by QR of its
    transpose and an SVD of the triangle: O(s²·k), and no matrix has a side longer than s but the factor itself.
    """
    xp = arrays.namespace(values)
    outputs = range(values.shape[0])
    with task("bases", total=len(outputs), unit="outputs") as bar:
        found = [_row_basis(values[c, :, :]) for c in bar.over(outputs)]
    return xp.stack(found)


def _row_basis(matrix: Float[Array, "s k"]) -> Float[Array, "s k"]:
    xp = arrays.namespace(matrix)
    s, k = matrix.shape
    wide = arrays.in_float64(matrix)
    # Scale first: squared entries of features near the ends of the range would leave it.
    scale = xp.max(xp.abs(wide))
    wide = wide / xp.where(scale > 0, scale, xp.ones_like(scale))
    count(flops=4 * s * k * min(s, k))
    if s <= k:
        orthogonal, triangle = xp.linalg.qr(wide.T)
        _, singular, turn = xp.linalg.svd(triangle.T, full_matrices=False)
        rows = turn @ orthogonal.T
    else:
        _, singular, rows = xp.linalg.svd(xp.linalg.qr(wide)[1], full_matrices=False)
    # Values carry the rounding of the dtype they are stored in, whatever they are factored in.
    threshold = max(s, k) * arrays.epsilon(matrix) * singular[:1]
    rows = rows * xp.astype(singular > threshold, rows.dtype)[:, None]
    missing = s - rows.shape[0]
    if missing > 0:
        pad = xp.zeros((missing, k), dtype=rows.dtype, device=arrays.device_of(rows))
        rows = xp.concat([rows, pad], axis=0)
    return xp.astype(rows, matrix.dtype, copy=False)


def trace_residual(features: Float[Array, "c m k"], projected: Float[Array, "c m s"]) -> float:
    """1 − Σ‖Z‖²/Σ‖Ψ‖², in [0, 1]; 0 for features that are zero throughout."""
    xp = arrays.namespace(features)
    scale = float(xp.max(xp.abs(features)))
    if scale == 0:
        return 0.0
    return min(1.0, max(0.0, 1 - sum(energies(projected, scale)) / sum(energies(features, scale))))


def coverage_spectra(
    phi: TangentFeatures,
    *,
    per_output: bool,
    size: int,
    seed: int = 0,
    kernels: Float[Array, "c m m"] | None = None,
) -> tuple[Array, Array]:
    """Eigenpairs of the mean kernel, or of every output's, that the coverage of ``size`` directions is measured on.

    All of them up to a few thousand points. Beyond, ``size`` of them, and as many more, up to 256, as hold 95% of
    the trace. ``kernels`` are those of every output, in float64 where the device has it, if they were formed before.
    """
    if len(phi) <= _ALL_POINTS:
        if per_output and kernels is not None:
            return eigenpairs_of(kernels)
        if per_output:
            return leading_eigenpairs(phi.values, len(phi), seed=seed)
        return mean_eigenpairs(phi, len(phi), seed=seed)
    return eigenpairs_holding(
        phi, 0.95, first=max(size, _FIRST_WIDTH), last=_LAST_WIDTH, per_output=per_output, seed=seed
    )


def _coverage(spectra: tuple[Array, Array], u: Array, phi: TangentFeatures) -> tuple[Array, float]:
    """Coverage of the eigenvectors up to the truncation rank (the largest over classes), and its gap."""
    xp = arrays.namespace(u)
    values, vectors = spectra
    stack = values if u.ndim == 3 else values[None, :]
    if values.shape[-1] < len(phi):
        # What the eigenvalues that are known leave of the trace counts as one more.
        totals = traces(phi, per_output=u.ndim == 3)
        rest = [[max(0.0, total - held)] for total, held in zip(totals, held_by(stack), strict=True)]
        stack = xp.concat([stack, xp.asarray(rest, dtype=values.dtype, device=arrays.device_of(values))], axis=1)
    rank = max(1, *(rank_holding(stack[c, :]) for c in range(stack.shape[0])))
    rank = min(rank, values.shape[-1])
    covered = energy_coverage(vectors[..., :rank], xp.astype(u, vectors.dtype, copy=False))
    return covered, weighted_gap(values[..., :rank], covered)


def _require_orthonormal(u: Array, points: int) -> None:
    xp = arrays.namespace(u)
    if u.ndim not in (2, 3) or u.shape[-2] != points or u.shape[-1] == 0:
        msg = f"`directions` has shape {tuple(u.shape)}: expected ({points}, s) or (C, {points}, s), s ≥ 1."
        raise ValueError(msg)
    s = u.shape[-1]
    defect = float(xp.max(xp.abs(u.mT @ u - xp.eye(s, dtype=u.dtype, device=arrays.device_of(u)))))
    if not defect <= 32 * points * arrays.epsilon(u):
        msg = (
            f"`directions` is not orthonormal (largest entry of |UᵀU − I| is {defect:.1e}): the ridge would depend on "
            "the basis. Orthonormalise it first, for example by xp.linalg.qr."
        )
        raise ValueError(msg)
