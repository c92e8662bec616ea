"""Directions of stored features of more points than columns, by passes over their chunks.

Principal, Krylov and solution directions depend on inner products of the columns [Ψ, y] alone. Few points have the
same: R of [Ψ, y] = QR, which chunks are merged to. Directions are found there and turned by Q.
"""

import dataclasses
from typing import TYPE_CHECKING, TypeGuard

from jaxtyping import Float

from dntk import arrays
from dntk._target_checks import check_targets
from dntk.distill.gradients.orthonormal import extended
from dntk.distilled_gradients import DistilledGradients, row_basis, trace_residual
from dntk.features import StoredFeatures, TangentFeatures
from dntk.features.passes import Joined, added
from dntk.ledger import count
from dntk.spectrum.randomized import normal_matrix
from dntk.types import Array

if TYPE_CHECKING:
    from dntk.distill.gradients.base import GradientDistiller

_NEARLY = 0.5
"""Least eigenvalue of UᵀU at which U has all of its directions, and only rounding is to be taken out."""


def goes_by_chunks(phi: TangentFeatures, size: int, *, per_output: bool) -> TypeGuard[StoredFeatures]:
    """Whether directions are found here: of stored points, more than there are columns of features and targets."""
    if not isinstance(phi, StoredFeatures):
        return False
    columns = (phi.dim + 1) * (1 if per_output else phi.n_outputs)
    return size <= columns < len(phi)


def distilled_by_chunks(
    distiller: "GradientDistiller", phi: StoredFeatures, targets: Float[Array, "m c"], *, per_output: bool
) -> DistilledGradients:
    """What a distiller finds, each output's directions by themselves or all outputs' together: four passes.

    Directions are right to the rounding of the features' singular values, relative to the largest, and orthonormal.
    """
    dtype = phi.sample.values.dtype
    y = check_targets(targets, phi.sample.values, points=len(phi), outputs=phi.n_outputs)
    columns = _Columns(per_output)
    few = _Representatives.of(phi.folded(_Triangle(columns), _merged, name="triangle", along=(y,)), phi, columns)
    found = distiller.distill(few.features, few.targets)
    raw = phi.folded(_Images(columns, few.lifted(found.directions)), Joined(1), name="directions", along=(y,))
    xp = arrays.namespace(raw)
    u = xp.astype(_orthonormal(raw), dtype, copy=False)
    values = xp.astype(phi.folded(_products, added, name="synthetic gradients", along=(u,)), dtype, copy=False)
    basis = row_basis(values)
    projected = phi.folded(_Projected(basis), Joined(1), name="projections")
    count(flops=6 * phi.n_outputs * len(phi) * phi.dim * u.shape[2])
    return dataclasses.replace(
        found,
        directions=u if per_output else u[0, :, :],
        values=values,
        targets=(u.mT @ y.T[:, :, None])[:, :, 0] if per_output else (u[0, :, :].mT @ y).mT,
        trace_residual=trace_residual(few.features.values, few.features.values @ arrays.in_float64(basis).mT),
        basis=basis,
        projected=projected,
        reference_targets=y,
        sketch=phi.sketch,
    )


@dataclasses.dataclass(frozen=True)
class _Columns:
    """Features and targets side by side, [Ψ^c, y_c] of every output or [Ψ^1 … Ψ^C, y_1 … y_C]."""

    per_output: bool

    def __call__(self, part: TangentFeatures, targets: Float[Array, "b c"]) -> Float[Array, "g b d"]:
        x, y = arrays.in_float64(part.values), arrays.in_float64(targets)
        xp = arrays.namespace(x)
        if self.per_output:
            return xp.concat([x, y.T[:, :, None]], axis=2)
        c, b, k = x.shape
        return xp.concat([xp.reshape(xp.permute_dims(x, (1, 0, 2)), (b, c * k)), y], axis=1)[None, :, :]

    def divided(self, rows: Float[Array, "g m d"], outputs: int) -> tuple[Float[Array, "c m k"], Float[Array, "m c"]]:
        """Features and targets of columns side by side."""
        xp = arrays.namespace(rows)
        if self.per_output:
            return rows[:, :, :-1], rows[:, :, -1].T
        _, m, d = rows.shape
        features = xp.reshape(rows[0, :, : d - outputs], (m, outputs, (d - outputs) // outputs))
        return xp.permute_dims(features, (1, 0, 2)), rows[0, :, d - outputs :]


@dataclasses.dataclass(frozen=True)
class _Triangle:
    """R of the columns of a chunk."""

    columns: _Columns

    def __call__(self, part: TangentFeatures, targets: Array) -> Float[Array, "g m d"]:
        rows = self.columns(part, targets)
        return _triangle(rows)


def _triangle(rows: Float[Array, "g m d"]) -> Float[Array, "g r d"]:
    g, m, d = rows.shape
    count(flops=2 * g * m * d * min(m, d))
    triangle: Array = arrays.namespace(rows).linalg.qr(rows)[1]
    return triangle


def _merged(left: Float[Array, "g a d"], right: Float[Array, "g b d"]) -> Float[Array, "g r d"]:
    """R of what two have below each other."""
    return _triangle(arrays.namespace(left).concat([left, right], axis=1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Representatives:
    """As many points as columns with the inner products of all, and Q by which all are made of them.

    ``lift``: Q = [Ψ, y]·lift, zero where columns depend on each other to rounding; the points there are zero, too.
    """

    features: TangentFeatures
    targets: Float[Array, "d c"]
    lift: Float[Array, "g d d"]

    @classmethod
    def of(cls, triangle: Float[Array, "g d d"], phi: TangentFeatures, columns: _Columns) -> "_Representatives":
        """From R = AΣVᵀ: ΣVᵀ has the inner products of R, and Q = [Ψ, y]VΣ⁻¹."""
        xp = arrays.namespace(triangle)
        outputs = phi.n_outputs
        weights = _weights(triangle, 1 if columns.per_output else outputs)
        _, sizes, turn = xp.linalg.svd(triangle * weights, full_matrices=False)
        count(flops=20 * triangle.shape[0] * triangle.shape[2] ** 3)
        sound = sizes > triangle.shape[2] * arrays.epsilon(sizes) * sizes[:, :1]
        kept = xp.where(sound, sizes, xp.zeros_like(sizes))
        inverse = xp.where(sound, 1 / xp.where(sound, sizes, xp.ones_like(sizes)), xp.zeros_like(sizes))
        values, targets = columns.divided(kept[:, :, None] * turn / weights, outputs)
        lift = weights.mT * (turn.mT * inverse[:, None, :])
        return cls(features=TangentFeatures(values), targets=targets, lift=lift)

    def lifted(self, directions: Float[Array, "*g d s"]) -> Float[Array, "g d s"]:
        """By what the columns of all points are multiplied for these directions."""
        turned = directions if directions.ndim == 3 else directions[None, :, :]
        return self.lift @ arrays.namespace(turned).astype(turned, self.lift.dtype, copy=False)


def _weights(triangle: Float[Array, "g d d"], targets: int) -> Float[Array, "g 1 d"]:
    """1 for features, and for targets what makes each as large as they are: rounding is relative to the largest."""
    xp = arrays.namespace(triangle)
    largest = xp.max(xp.abs(triangle), axis=1, keepdims=True)
    features, others = xp.max(largest[:, :, :-targets], axis=2, keepdims=True), largest[:, :, -targets:]
    ones = xp.ones_like(others)
    ratio = xp.where((features > 0) & (others > 0), features / xp.where(others > 0, others, ones), ones)
    return xp.concat([xp.ones_like(largest[:, :, :-targets]), ratio], axis=2)


@dataclasses.dataclass(frozen=True)
class _Images:
    """Columns of a chunk times a matrix."""

    columns: _Columns
    matrix: Float[Array, "g d s"]

    def __call__(self, part: TangentFeatures, targets: Array) -> Float[Array, "g b s"]:
        return self.columns(part, targets) @ self.matrix


def _products(part: TangentFeatures, directions: Float[Array, "g b s"]) -> Float[Array, "c s k"]:
    """UᵀΨ of a chunk."""
    return arrays.in_float64(directions).mT @ arrays.in_float64(part.values)


@dataclasses.dataclass(frozen=True)
class _Projected:
    """Features of a chunk in a basis."""

    basis: Float[Array, "c s k"]

    def __call__(self, part: TangentFeatures) -> Float[Array, "c b s"]:
        return part.values @ self.basis.mT


def _orthonormal(u: Float[Array, "g n s"]) -> Float[Array, "g n s"]:
    """U(UᵀU)^(−1/2); where directions are missing, because the features have none there, random ones for them."""
    xp = arrays.namespace(u)
    g, n, s = u.shape
    values, vectors = xp.linalg.eigh(u.mT @ u)
    if float(xp.min(values)) > _NEARLY:
        return u @ ((vectors / xp.sqrt(values)[:, None, :]) @ vectors.mT)
    others = normal_matrix(u, n, s, seed=0)
    return extended(u[:, :, :0], xp.concat([u, xp.broadcast_to(others, (g, n, s))], axis=2), s)
