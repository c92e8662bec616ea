"""Targets of kept points in closed form: with them their regression is the best in their span for all points."""

import dataclasses
import functools

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_finite
from dntk._target_checks import check_targets
from dntk.features import TangentFeatures, require_comparable, require_features, require_kernel_of
from dntk.features.passes import added, folded
from dntk.ledger import count
from dntk.types import Array

_REFINEMENTS = 4
"""Solutions of Zᵀα = ŵ, of what those before left: in float32 a singular value at the floor is known to a quarter."""

_FLOOR = 4
"""Units of rounding below which no direction is held."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedTargets:
    """Soft labels of kept points.

    Parameters
    ----------
    targets
        ỹ (m, C), for a regression of the kept points with λ = ``ridge``.
    ridge
        λ, absolute, of both regressions.
    weights
        ŵ (C, k) of that regression.
    objective
        J(ŵ) = Σ_c ‖Φ^c ŵ_c − y_c‖² + λ‖ŵ_c‖² over the reference points, of these very weights.
    """

    targets: Float[Array, "m c"]
    ridge: float
    weights: Float[Array, "c k"]
    objective: float


def fitted_targets(
    phi: TangentFeatures, reference: TangentFeatures, targets: Float[Array, "n c"], *, ridge: float
) -> FittedTargets:
    """Targets ỹ with which ridge regression on kept points minimises the objective on all reference points.

    With Z = UΣVᵀ the kept features of an output and Φ the reference's: ŵ = Vβ, β = (VᵀΦᵀΦV + λI)⁻¹VᵀΦᵀy, minimises
    J(w) = ‖Φw − y‖² + λ‖w‖² over the span of Z, and ỹ = Zŵ + λα, Zᵀα = ŵ, are the targets of which
    (ZᵀZ + λI)⁻¹Zᵀỹ = ŵ.
    Since J(w) − J(w*) = ‖w − w*‖² in the norm of ΦᵀΦ + λI, ŵ is nearest in that norm to the regression w* on all
    reference points, and is w* where the span holds it.

    Parameters
    ----------
    phi
        Features of the m kept points (C, m, k), or of distilled inputs.
    reference
        Features of all n points, or of a sample of them, by the same sketch.
    targets
        y (n, C), targets of the reference points.
    ridge
        λ, absolute.

    Raises
    ------
    TypeError, ValueError
        Features that do not belong together, targets of other shapes, a ridge that is not positive.

    Notes
    -----
    Cost: the reference's n·C Jacobian rows, once; O(C(n m k + m² k)) operations, by chunks where n are on the disk,
    which are read twice.
    Directions below rounding of the kept features are left out. In float64 where the device has it. Source: subset of
    regressors (Smola and Schölkopf 2000), read as labels.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference, y = dntk.TangentFeatures(rng.normal(size=(40, 8))), rng.normal(size=(40, 1))
    >>> kept = reference[:10]  # their features span all eight directions
    >>> soft = dntk.distill.data.fitted_targets(kept, reference, y, ridge=1.0)
    >>> on_ten = dntk.solve.ridge(kept, soft.targets, ridge=1.0)
    >>> np.allclose(on_ten.weights, dntk.solve.ridge(reference, y, ridge=1.0).weights)
    True
    """
    require_features("phi", phi)
    require_kernel_of("reference", reference)
    require_comparable(phi.values, phi.sketch, reference, "reference")
    ridge = positive_finite("ridge", ridge, remedy="that of the regression on the kept points")
    y = arrays.in_float64(check_targets(targets, phi.values, points=len(reference), outputs=phi.n_outputs))
    xp, kept = arrays.namespace(phi.values), arrays.in_float64(phi.values)
    u, s, vt = xp.linalg.svd(kept, full_matrices=False)
    floor = _FLOOR * max(kept.shape[1:]) * arrays.epsilon(phi.values) * xp.max(s, axis=1, keepdims=True)
    held = s > floor
    basis = xp.where(held[:, :, None], vt, xp.zeros_like(vt))
    gram, right = _statistics(basis, reference, y)
    identity = xp.eye(gram.shape[1], dtype=gram.dtype, device=arrays.device_of(gram))
    beta = xp.linalg.solve(gram + ridge * identity, right[:, :, None])
    wanted = basis.mT @ beta
    back = xp.where(held, 1.0 / xp.where(held, s, xp.ones_like(s)), xp.zeros_like(s))[:, :, None]
    dual = xp.zeros_like(u[:, :, :1])
    for _ in range(_REFINEMENTS):
        dual = dual + u @ (back * (basis @ (wanted - kept.mT @ dual)))
    weights = kept.mT @ dual
    own = (kept @ weights + ridge * dual)[:, :, 0]
    dtype = phi.values.dtype
    return FittedTargets(
        targets=xp.astype(own.T, dtype, copy=False),
        ridge=ridge,
        weights=xp.astype(weights[:, :, 0], dtype, copy=False),
        objective=_objective(weights[:, :, 0], reference, y) + ridge * float(xp.sum(weights * weights)),
    )


def _statistics(
    basis: Float[Array, "c r k"], reference: TangentFeatures, y: Float[Array, "n c"]
) -> tuple[Float[Array, "c r r"], Float[Array, "c r"]]:
    """VᵀΦᵀΦV and VᵀΦᵀy, chunk by chunk."""
    c, r, k = basis.shape
    count(flops=2 * c * len(reference) * r * (k + r))
    of = functools.partial(_of_chunk, basis)
    found: tuple[Array, Array] = folded(reference, of, _sums, name="statistics", along=(y,))
    return found


def _objective(weights: Float[Array, "c k"], reference: TangentFeatures, y: Float[Array, "n c"]) -> float:
    """Σ_c ‖Φ^c w_c − y_c‖², chunk by chunk.

    What the statistics say of it is of the span of V, from which these weights may be apart by rounding of the largest
    kept features: where points are of very different sizes, more than what is left.
    """
    count(flops=2 * len(reference) * weights.shape[0] * weights.shape[1])
    found = folded(reference, functools.partial(_distances_of_chunk, weights), added, name="objective", along=(y,))
    return float(found)


def _distances_of_chunk(weights: Array, part: TangentFeatures, goals: Float[Array, "n c"]) -> Array:
    xp = arrays.namespace(goals)
    left = (arrays.in_float64(part.values) @ weights[:, :, None])[:, :, 0].T - goals
    return xp.sum(left * left)


def _of_chunk(basis: Array, part: TangentFeatures, goals: Float[Array, "n c"]) -> tuple[Array, Array]:
    inside = arrays.in_float64(part.values) @ basis.mT
    return inside.mT @ inside, (inside.mT @ goals.T[:, :, None])[:, :, 0]


def _sums(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
    return left[0] + right[0], left[1] + right[1]
