"""Ridge regression on tangent features, primal or dual by shape, with exact leave-one-out."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.solve.leave_one_out import choose_ridge
from dntk.targets import check_targets
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class RidgeFit:
    """Solution of ridge regression, one independent problem per output.

    Parameters
    ----------
    weights
        w (C, k): the prediction of output c at x is ⟨w_c, ψ_c(x)⟩.
    dual
        α (C, n) with w_c = Ψ^cᵀ α_c.
    ridge
        λ, absolute, shared by the outputs.
    loo_error
        Mean squared leave-one-out residual over points and outputs, in squared units of the targets. For synthetic
        gradients: over the reference points, of the regression in the same span.
    sketch
        Sketch of the features.
    """

    weights: Float[Array, "c k"]
    dual: Float[Array, "c n"]
    ridge: float
    loo_error: float
    sketch: Any = None

    def predict(self, phi: TangentFeatures) -> Float[Array, "n c"]:
        """Predictions ⟨w_c, ψ_c(x)⟩ at points given by their features.

        Raises
        ------
        ValueError
            The features have another number of outputs or dimensions, or were made by another sketch.
        """
        fitted = TangentFeatures(self.weights[:, None, :], self.sketch)
        fitted.require_comparable(phi, "phi")
        return (phi.values @ self.weights[:, :, None])[:, :, 0].T


Ridge = float | Literal["loo"] | Sequence[float]


def ridge(
    features: TangentFeatures | DistilledGradients,
    targets: Float[Array, "n c"] | Float[Array, "c s"] | None = None,
    *,
    ridge: Ridge = "loo",
) -> RidgeFit:
    """Minimise ‖Ψ^c w − y^c‖² + λ‖w‖² for every output c; equivalent to scikit-learn's ``KernelRidge`` on K^c.

    Parameters
    ----------
    features
        Tangent features, or synthetic gradients: those are regressed on their own targets, which is the Galerkin
        projection of (K + λI)α = y on the span of their directions (the paper's predictor). See
        :func:`dntk.solve.same_span` for the better solution in the same span.
    targets
        (n, C). For synthetic gradients optional: (m, C) targets of the reference points, or (C, s) synthetic ones.
    ridge
        λ in units of squared features; ``"loo"`` chooses it by exact leave-one-out from 41 values between 1e-8 and
        1e2 times the kernel's mean diagonal; a sequence is a grid of absolute values to choose from. For synthetic
        gradients the points left out are the reference points and the predictor the one in the same span; where the
        directions were made from these targets, ``"loo"`` is the ridge that the distiller chose on the features.

    Returns
    -------
    RidgeFit
        In the dtype of the features; solved in float64 where the device has it.

    Raises
    ------
    ValueError
        A ridge that is not positive or so small that the system is singular to rounding, features that are zero
        throughout, targets of another shape or not finite.

    Notes
    -----
    Dual Cholesky O(n²k + n³/3) for n ≤ k, else primal O(nk² + k³/3), per output. ``"loo"`` adds an
    eigendecomposition of min(n, k). Leave-one-out: (y_i − f_i)/(1 − h_i).
    """
    if isinstance(features, DistilledGradients):
        return _on_synthetic_gradients(features, targets, ridge)
    if targets is None:
        msg = "`targets` is missing: pass one row per point and one column per output."
        raise ValueError(msg)
    y = check_targets(targets, features.values, points=len(features), outputs=features.n_outputs)
    chosen = feature_ridge(ridge, features.values, y)
    return _fit(features.values, y, chosen, features.sketch)


def resolve_ridge(ridge: Ridge, choose: Callable[[Sequence[float] | None], float]) -> float:
    """λ as a positive number; ``choose`` finds it on a grid, or on the default one, by leave-one-out."""
    if isinstance(ridge, str):
        if ridge != "loo":
            msg = f"`ridge`={ridge!r}: expected a positive number, a sequence of them, or 'loo'."
            raise ValueError(msg)
        return choose(None)
    if isinstance(ridge, int | float):
        check_ridge(float(ridge))
        return float(ridge)
    grid = [float(value) for value in ridge]
    if not grid:
        msg = "`ridge` is an empty grid: pass at least one positive number, or 'loo'."
        raise ValueError(msg)
    for value in grid:
        check_ridge(value)
    return choose(grid)


def feature_ridge(ridge: Ridge, features: Float[Array, "c n k"], targets: Float[Array, "n c"]) -> float:
    """λ for a regression on features."""
    return resolve_ridge(ridge, lambda grid: choose_ridge(features, targets, grid))


def check_ridge(ridge: float) -> None:
    """Raise ``ValueError`` unless λ is positive and finite."""
    if not (ridge > 0 and math.isfinite(ridge)):
        msg = (
            f"`ridge` must be positive and finite, got {ridge}: use a small one such as 1e-6 times the kernel's mean "
            "diagonal, or 'loo'."
        )
        raise ValueError(msg)


def _on_synthetic_gradients(grads: DistilledGradients, targets: Array | None, ridge: Ridge) -> RidgeFit:
    """Galerkin solution; leave-one-out refers to the reference points in the same span."""
    xp = arrays.namespace(grads.values)
    reference, synthetic = synthetic_targets(grads, targets)
    chosen = ridge_in_span(grads, targets, ridge)
    fit = _fit(grads.values, synthetic.T, chosen, grads.sketch)
    in_span = _fit(grads.projected, reference, chosen, None)
    # w = Φ̂ᵀa = ΨᵀU a: the dual over the reference points is U a.
    a = fit.dual[:, :, None]
    dual = xp.matmul(grads.directions, a)[:, :, 0]
    return dataclasses.replace(fit, dual=dual, loo_error=in_span.loo_error)


def ridge_in_span(grads: DistilledGradients, targets: Array | None, ridge: Ridge) -> float:
    """λ for synthetic gradients.

    Leave-one-out in a span that was made from the very targets is too optimistic: there ``"loo"`` means the ridge
    that the distiller chose by leave-one-out on the features.
    """
    if isinstance(ridge, str) and ridge == "loo" and targets is None and grads.ridge is not None:
        return grads.ridge
    return feature_ridge(ridge, grads.projected, synthetic_targets(grads, targets)[0])


def synthetic_targets(
    grads: DistilledGradients, targets: Array | None
) -> tuple[Float[Array, "m c"], Float[Array, "c s"]]:
    """Targets of the reference points and of the synthetic gradients, from either or from the stored ones."""
    if targets is None:
        return grads.reference_targets, grads.targets
    c, m, s = grads.projected.shape
    if tuple(targets.shape) == (c, s) and (m, c) != (c, s):
        arrays.require_same_place(gradients=grads.values, targets=targets)
        arrays.require_finite("targets", targets)
        return grads.reference_targets, targets
    y = check_targets(targets, grads.values, points=m, outputs=c)
    xp = arrays.namespace(y)
    return y, xp.matmul(grads.directions.mT, y.T[:, :, None])[:, :, 0]


def _fit(features: Float[Array, "c n k"], targets: Float[Array, "n c"], ridge: float, sketch: Any) -> RidgeFit:
    xp = arrays.namespace(features)
    dtype = arrays.accumulation_dtype(features)
    wide, y = xp.astype(features, dtype, copy=False), xp.astype(targets, dtype, copy=False).T
    _require_regular(wide, ridge)
    solve = _dual if wide.shape[1] <= wide.shape[2] else _primal
    weights, dual, left_out = solve(wide, y, ridge)
    return RidgeFit(
        weights=xp.astype(weights, features.dtype, copy=False),
        dual=xp.astype(dual, features.dtype, copy=False),
        ridge=ridge,
        loo_error=float(xp.mean(left_out**2)),
        sketch=sketch,
    )


def _require_regular(features: Float[Array, "c n k"], ridge: float) -> None:
    """Raise where K + λI cannot be told from a singular matrix in the precision at hand."""
    xp = arrays.namespace(features)
    trace = float(xp.max(xp.sum(features * features, axis=(1, 2))))
    size = min(features.shape[1:])
    if trace > 0 and ridge < size * arrays.epsilon(features) * trace / max(1, size):
        msg = (
            f"`ridge`={ridge:.3g} is below the rounding of a kernel of trace {trace:.3g} in {features.dtype}: the "
            "system is singular to working precision. Use a larger ridge, 'loo', or float64 features."
        )
        raise ValueError(msg)


def _dual(features: Array, y: Float[Array, "c n"], ridge: float) -> tuple[Array, Array, Array]:
    """Weights, dual coefficients and leave-one-out residuals from K + λI."""
    xp = arrays.namespace(features)
    c, n, k = features.shape
    count(flops=c * (2 * n * n * k + 2 * n**3))
    inverse = inverse_factor(features @ features.mT, ridge)
    dual = (inverse.mT @ (inverse @ y[:, :, None]))[:, :, 0]
    weights = (features.mT @ dual[:, :, None])[:, :, 0]
    return weights, dual, dual / xp.sum(inverse * inverse, axis=1)


def _primal(features: Array, y: Float[Array, "c n"], ridge: float) -> tuple[Array, Array, Array]:
    """The same from ΦᵀΦ + λI, for more points than features."""
    xp = arrays.namespace(features)
    c, n, k = features.shape
    count(flops=c * (4 * n * k * k + 2 * k**3))
    inverse = inverse_factor(features.mT @ features, ridge)
    products = (features.mT @ y[:, :, None])[:, :, 0]
    weights = (inverse.mT @ (inverse @ products[:, :, None]))[:, :, 0]
    residual = y - (features @ weights[:, :, None])[:, :, 0]
    scores = features @ inverse.mT
    slack = xp.clip(1 - xp.sum(scores * scores, axis=2), min=n * arrays.epsilon(features))
    return weights, residual / ridge, residual / slack


def inverse_factor(gram: Float[Array, "c n n"], ridge: float) -> Float[Array, "c n n"]:
    """L⁻¹ of the Cholesky factors of gram + λI, one output after another."""
    xp = arrays.namespace(gram)
    identity = xp.eye(gram.shape[1], dtype=gram.dtype, device=arrays.device_of(gram))
    backend = backend_of(gram)
    factors = []
    for c in range(gram.shape[0]):
        factor = xp.linalg.cholesky(gram[c, :, :] + ridge * identity)
        factors.append(backend.triangular_solve(factor, identity, lower=True))
    return xp.stack(factors)
