"""What the regression distilled on some directions can be wrong by, from the synthetic gradients alone."""

import dataclasses
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound
from dntk.certificates.regression import excess_objective, residual_energies, residual_rounding
from dntk.certificates.rounding import allowance
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

    All are deterministic; the reference is what the synthetic gradients store of it, in its own precision. With
    α* = (K + λI)⁻¹y and w* = Ψᵀα*:

    Parameters
    ----------
    ridge
        λ, absolute.
    energy
        Bound (C,) ‖r‖/√λ on ‖α* − α̂‖_{K+λI} of the Galerkin solution α̂ (``solve.ridge``) for every output, r = y −
        (K + λI)α̂; rounding where the solution lies in the span.
    objective
        Bound (C,) on J(ŵ) − J(w*) of the same-span solution ŵ for every output: the duality gap J(ŵ) − D(α̂) with
        D(α) = 2λαᵀy − λαᵀ(K + λI)α.
    trace_residual
        Bound on the share of the kernels' trace outside the span.
    """

    ridge: float
    energy: Bound
    objective: Bound
    trace_residual: Bound

    def galerkin_bound(self, phi: TangentFeatures) -> Bound:
        """Bound (n, C) on |f*(x) − f̂(x)| of the Galerkin predictor at any points: √κ(x, x) times the energy bound."""
        return _at_points(phi, self.energy, self.energy.value)

    def same_span_bound(self, phi: TangentFeatures) -> Bound:
        """Bound (n, C) on |f*(x) − f̂(x)| of the same-span predictor: ‖ψ(x)‖ √(gap/λ), as gap ≥ λ‖ŵ − w*‖²."""
        xp = arrays.namespace(self.objective.value)
        return _at_points(phi, self.objective, xp.sqrt(self.objective.value / self.ridge))


def span_certificate(
    grads: DistilledGradients, targets: Float[Array, "m c"] | None = None, *, ridge: Ridge = "loo"
) -> SpanCertificate:
    """Certify the regressions on synthetic gradients at a ridge, in a few passes over what they keep: O(C·m·s).

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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> grads = dntk.distill.gradients.Principal(6).distill(phi, y)
    >>> made = dntk.certificates.span_certificate(grads, ridge=1.0)
    >>> exact, few = dntk.solve.ridge(phi, y, ridge=1.0), dntk.solve.same_span(grads, ridge=1.0)
    >>> change = np.abs(exact.predict(phi) - few.predict(phi))
    >>> bool(np.all(change <= made.same_span_bound(phi).value))
    True
    """
    chosen = ridge_in_span(grads, targets, ridge)
    galerkin, better = solve_ridge(grads, targets, ridge=chosen), same_span(grads, targets, ridge=chosen)
    y = _wide(grads.reference_targets if targets is None else targets)
    basis, projected, dual = _wide(grads.basis), _wide(grads.projected), _wide(galerkin.dual)
    # Coordinates in the span: Ψw = Zb for w = Bᵀb, ‖w‖ = ‖b‖, and ΨᵀUa has the coordinates Zᵀα̂.
    coordinates = (basis @ _wide(better.weights)[:, :, None])[:, :, 0]
    return SpanCertificate(
        ridge=chosen,
        energy=_galerkin_energy(projected, y, (basis @ _wide(galerkin.weights)[:, :, None])[:, :, 0], dual, chosen),
        objective=excess_objective(projected, y, coordinates, dual, ridge=chosen),
        trace_residual=Bound(
            value=grads.trace_residual + allowance("trace residual", arrays.epsilon(basis), max(projected.shape), 1.0),
            theorem="trace residual of a projection",
        ),
    )


def _galerkin_energy(
    projected: Float[Array, "c m s"],
    y: Float[Array, "m c"],
    coordinates: Array,
    dual: Float[Array, "c m"],
    ridge: float,
) -> Bound:
    """‖r‖/√λ with Kα̂ = Ψŵ, and what rounding adds to r."""
    xp = arrays.namespace(projected)
    residual = y.T - (projected @ coordinates[:, :, None])[:, :, 0] - ridge * dual
    rounding = residual_rounding(
        arrays.epsilon(projected),
        max(projected.shape),
        trace=float(xp.max(xp.sum(projected**2, axis=(1, 2)))),
        ridge=ridge,
        dual_norm=float(xp.max(xp.sqrt(xp.sum(dual**2, axis=1)))),
    )
    _, energy = residual_energies(residual, ridge=ridge, norm=0.0)
    return Bound(value=xp.sqrt(energy) + rounding * ridge**-0.5, theorem="residual of the Galerkin solution")


def _at_points(phi: TangentFeatures, source: Bound, factors: Any) -> Bound:
    """√κ_c(x, x) times the factors (C,)."""
    xp = arrays.namespace(phi.values)
    norms = xp.sqrt(xp.sum(_wide(phi.values) ** 2, axis=2)).T
    grow = 1 + allowance("galerkin", arrays.epsilon(norms), phi.dim, 1.0)
    return dataclasses.replace(source, value=norms * factors[None, :] * grow)


def _wide(x: Array) -> Array:
    return arrays.namespace(x).astype(x, arrays.accumulation_dtype(x), copy=False)
