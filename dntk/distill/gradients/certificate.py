"""What the regression distilled on some directions can be wrong by, from the synthetic gradients alone."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures
from dntk.solve._ridge import ridge as solve_ridge
from dntk.solve._ridge import ridge_in_span
from dntk.solve._same_span import same_span
from dntk.solve.rules import Ridge
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanCertificate:
    """Upper bounds on the distance from regression on synthetic gradients to regression on all reference points.

    All are deterministic, and hold up to the rounding of the features. With α* = (K + λI)⁻¹y and w* = Ψᵀα*:

    Parameters
    ----------
    ridge
        λ, absolute.
    energy
        Bound ‖r‖/√λ on ‖α* − α̂‖_{K+λI} of the Galerkin solution α̂ (``solve.ridge``) for every output, r = y −
        (K + λI)α̂; zero where the solution lies in the span.
    objective
        Bound on J(ŵ) − J(w*) of the same-span solution ŵ for every output: the duality gap J(ŵ) − D(α̂) with D(α) =
        2λαᵀy − λαᵀ(K + λI)α.
    trace_residual
        Share of the kernels' trace outside the span.
    """

    ridge: float
    energy: Float[Array, " c"]
    objective: Float[Array, " c"]
    trace_residual: float

    def galerkin_bound(self, phi: TangentFeatures) -> Float[Array, "n c"]:
        """Bound on |f*(x) − f̂(x)| of the Galerkin predictor at any points: √κ(x, x) times the energy bound."""
        return _norms(phi) * self.energy[None, :]

    def same_span_bound(self, phi: TangentFeatures) -> Float[Array, "n c"]:
        """Bound on |f*(x) − f̂(x)| of the same-span predictor: ‖ψ(x)‖ √(gap/λ), as gap ≥ λ‖ŵ − w*‖²."""
        xp = arrays.namespace(self.objective)
        return _norms(phi) * xp.sqrt(self.objective / self.ridge)[None, :]


def span_certificate(
    grads: DistilledGradients, targets: Float[Array, "m c"] | None = None, *, ridge: Ridge = "loo"
) -> SpanCertificate:
    """Certify the regressions on synthetic gradients at a ridge, in one pass over what they keep: O(C·m·s).

    Parameters
    ----------
    grads
        From any distiller. Neither the features nor the kernel are needed: on the span they are known.
    targets
        (m, C), default those of the distillation.
    ridge
        As for :func:`dntk.solve.ridge` on synthetic gradients.

    Raises
    ------
    ValueError
        As :func:`dntk.solve.ridge`.
    """
    xp = arrays.namespace(grads.values)
    chosen = ridge_in_span(grads, targets, ridge)
    galerkin, better = solve_ridge(grads, targets, ridge=chosen), same_span(grads, targets, ridge=chosen)
    dtype = arrays.accumulation_dtype(grads.values)
    y = xp.astype(grads.reference_targets if targets is None else targets, dtype, copy=False).T
    basis, projected = (xp.astype(x, dtype, copy=False) for x in (grads.basis, grads.projected))

    def fits(weights: Float[Array, "c k"]) -> Float[Array, "c m"]:
        coordinates = basis @ xp.astype(weights, dtype, copy=False)[:, :, None]
        return (projected @ coordinates)[:, :, 0]

    dual = xp.astype(galerkin.dual, dtype, copy=False)
    residual = y - fits(galerkin.weights) - chosen * dual  # Kα̂ = Ψŵ
    gap = _objective(better.weights, y - fits(better.weights), chosen, dtype) - chosen * (
        2 * xp.sum(dual * y, axis=1) - _square(galerkin.weights, dtype) - chosen * xp.sum(dual**2, axis=1)
    )
    return SpanCertificate(
        ridge=chosen,
        energy=xp.sqrt(xp.sum(residual**2, axis=1)) * chosen**-0.5,
        objective=xp.clip(gap, min=0),
        trace_residual=grads.trace_residual,
    )


def _objective(weights: Array, residual: Float[Array, "c m"], ridge: float, dtype: object) -> Float[Array, " c"]:
    """J(w) = ‖y − Ψw‖² + λ‖w‖²."""
    return arrays.namespace(residual).sum(residual**2, axis=1) + ridge * _square(weights, dtype)


def _square(weights: Float[Array, "c k"], dtype: object) -> Float[Array, " c"]:
    xp = arrays.namespace(weights)
    return xp.sum(xp.astype(weights, dtype, copy=False) ** 2, axis=1)


def _norms(phi: TangentFeatures) -> Float[Array, "n c"]:
    """√κ_c(x, x)."""
    xp = arrays.namespace(phi.values)
    wide = xp.astype(phi.values, arrays.accumulation_dtype(phi.values), copy=False)
    return xp.sqrt(xp.sum(wide**2, axis=2)).T
