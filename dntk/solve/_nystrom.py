"""Ridge regression on inducing points: the kernel of all points replaced by what some of them span."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int

from dntk import arrays
from dntk.backend import backend_of
from dntk.distilled_gradients import row_basis
from dntk.features import TangentFeatures, require_kernel_of
from dntk.solve._ridge import ridge
from dntk.solve.conditioning import cholesky
from dntk.solve.ridge_fit import RidgeFit
from dntk.solve.rules import Ridge
from dntk.types import Array


@runtime_checkable
class InducingSpan(Protocol):
    """Rows whose products with features are Nyström features."""

    def rows(self, inducing: Float[Array, "c s k"]) -> Float[Array, "c s k"]:
        """M with K_nys = (ΨMᵀ)(ΨMᵀ)ᵀ."""


@dataclasses.dataclass(frozen=True)
class FeatureProjection:
    """An orthonormal basis of the inducing features, by singular value decomposition: K − K_nys ≥ 0 to rounding."""

    def rows(self, inducing: Float[Array, "c s k"]) -> Float[Array, "c s k"]:
        """Orthonormal rows; zero rows for directions that rounding made up."""
        return row_basis(inducing)


@dataclasses.dataclass(frozen=True)
class ShiftedCholesky:
    """L⁻¹Ψ_S with L Lᵀ = K_SS + νI, ν = s·eps·tr K_SS: cheaper than the projection; the shift only lowers K_nys.

    The inverse or pseudo-inverse of K_SS, as in textbooks, loses K − K_nys ≥ 0 altogether in floating point.
    """

    def rows(self, inducing: Float[Array, "c s k"]) -> Float[Array, "c s k"]:
        """Rows L⁻¹Ψ_S.

        Raises
        ------
        ValueError
            The kernel of the inducing points is not finite.
        """
        xp, s = arrays.namespace(inducing), inducing.shape[1]
        wide = arrays.in_float64(inducing)
        gram = backend_of(wide).gram(wide)
        identity = xp.eye(s, dtype=wide.dtype, device=arrays.device_of(wide))
        parts = []
        for i in range(wide.shape[0]):
            shift = s * arrays.epsilon(wide) * float(xp.sum(xp.linalg.diagonal(gram[i, :, :])))
            lower = cholesky(gram[i, :, :] + (shift if shift > 0 else 1.0) * identity)
            if lower is None:
                msg = "the kernel of the inducing points is not finite: scale the features down."
                raise ValueError(msg)
            parts.append(backend_of(wide).triangular_solve(lower, wide[i, :, :], lower=True))
        return xp.astype(xp.stack(parts), inducing.dtype, copy=False)


def nystrom(
    features: TangentFeatures,
    targets: Float[Array, "n c"],
    points: Int[Array, " s"] | Sequence[int],
    *,
    ridge: Ridge = "loo",
    span: InducingSpan | None = None,
) -> RidgeFit:
    """Ridge regression of all targets with weights in the span of the inducing points' features; O(n·k·s + n·s²).

    Parameters
    ----------
    features, targets, ridge
        As for :func:`dntk.solve.ridge`.
    points
        Indices of the inducing points, for example ``dntk.distill.data.RPCholesky(200).select(phi).indices``.
    span
        :class:`dntk.solve.FeatureProjection` (default) or :class:`dntk.solve.ShiftedCholesky`.

    Returns
    -------
    RidgeFit
        Weights (C, k) on the original features; ``dual`` and ``loo_error`` are those of the regression on the Nyström
        features, whose kernel is K_nys.

    Raises
    ------
    ValueError, IndexError
        As :func:`dntk.solve.ridge`; indices that do not exist.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(40, 8))), rng.normal(size=(40, 1))
    >>> few = dntk.distill.data.RPCholesky(8).select(phi).indices
    >>> fit = dntk.solve.nystrom(phi, y, few, ridge=1.0)
    >>> np.allclose(fit.weights, dntk.solve.ridge(phi, y, ridge=1.0).weights)  # eight span all
    True
    """
    inducing = require_kernel_of("features", features)[points]
    rows = (FeatureProjection() if span is None else span).rows(inducing.values)
    reduced = TangentFeatures(features.values @ rows.mT)
    fit = _ridge(reduced, targets, ridge)
    xp = arrays.namespace(rows)
    weights = fit.weights @ rows[0, :, :] if fit.shared else xp.matmul(fit.weights[:, None, :], rows)[:, 0, :]
    return dataclasses.replace(fit, weights=weights, sketch=features.sketch)


def _ridge(features: TangentFeatures, targets: Array, value: Ridge) -> RidgeFit:
    return ridge(features, targets, ridge=value)
