"""What every training point does to every prediction of a kernel regression, exactly and without refitting.

Without point i, or without a group G, the prediction moves by

    f(x) − f₋ᵢ(x) = h_i(x) r_i/(1 − h_i(x_i)),   f(x) − f₋G(x) = h_G(x)ᵀ(I − H_GG)⁻¹r_G,   r = y − f,

with h the smoother at the same λ (a rank-one, or rank-|G|, change of K + λI). In a span of synthetic gradients all of
it is the same for the regression there, and the distance to that on all features is bounded: h by the smoother's
errors; r by |r_i − r̂_i| = |ψ_iᵀEΨᵀy| ≤ τ_i τ(Ψᵀy); and 1 − h_ii is at most its like in the span, and at least that less
τ_i², and λ/(λ + κ_ii).
"""

import dataclasses
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import require_kind
from dntk.attribution.smoother import Smoother, gaps_of, smoother, smoother_in_span
from dntk.bounds import Bound
from dntk.certificates.rounding import allowance
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures, require_features
from dntk.solve._ridge import outputs_of, ridge_in_span, synthetic_targets
from dntk.solve._ridge import ridge as solve_ridge
from dntk.solve.rules import Ridge
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A kernel regression whose predictions can be told without any of its points; made by :func:`leave_one_out`.

    Parameters
    ----------
    smoother
        h_i(x) of every output; of one set of features where all outputs share it.
    features
        Those of the regression's points.
    targets
        y (C, n).
    dual
        α (C, n), in the span those of the projected problem: the residuals are λα.
    residual_errors
        Bounds (C, n) on |r_i − r̂_i| where gradients were distilled.
    """

    smoother: Smoother
    features: TangentFeatures
    targets: Float[Array, "c n"]
    dual: Float[Array, "c n"]
    residual_errors: Float[Array, "c n"]

    @property
    def ridge(self) -> float:
        """λ, which stays where a point is left out."""
        return self.smoother.ridge

    def predict(self, phi: TangentFeatures) -> Float[Array, "q c"]:
        """f(x) with all points."""
        return arrays.namespace(self.dual).sum(self.contributions(phi), axis=2).T

    def contributions(self, phi: TangentFeatures) -> Float[Array, "c q n"]:
        """h_i(x)·y_i: what the target of each point contributes to the predictions, which are their sums."""
        self.features.require_comparable(phi, "phi")
        return self.smoother.weights(phi) * self.targets[:, None, :]

    def held_out(self) -> Float[Array, "n c"]:
        """f₋ᵢ(x_i): what all other points say of each; exact, O(C·n)."""
        return (self.targets - self._left_out()).T

    def held_out_errors(self) -> Bound:
        """Bound (n, C) on what distillation changed :meth:`held_out` by, from that on all features."""
        return Bound(value=self._left_out_errors().T, theorem="Galerkin orthogonality of the span")

    def change(self, phi: TangentFeatures) -> Float[Array, "c q n"]:
        """f(x) − f₋ᵢ(x): how far each point holds each prediction up; exact, O(C·q·n·d)."""
        self.features.require_comparable(phi, "phi")
        return self.smoother.weights(phi) * self._left_out()[:, None, :]

    def errors(self, phi: TangentFeatures) -> Bound:
        """Bound (C, q, n) on what distillation changed :meth:`change` by, from that on all features."""
        self.features.require_comparable(phi, "phi")
        xp = arrays.namespace(self.dual)
        weights, errors = xp.abs(self.smoother.weights(phi)), self.smoother.errors(phi)
        mine, moved = xp.abs(self._left_out())[:, None, :], self._left_out_errors()[:, None, :]
        return Bound(value=weights * moved + errors * (mine + moved), theorem="Galerkin orthogonality of the span")

    def without(self, phi: TangentFeatures, points: Any) -> Float[Array, "q c"]:
        """f₋G(x): predictions of the regression without these points (indices or a mask), exactly.

        Raises
        ------
        ValueError
            A point is named twice.
        IndexError
            A point that there is not.
        """
        self.features.require_comparable(phi, "phi")
        xp = arrays.namespace(self.dual)
        group = self.features[points]
        places = self.features.positions(points)
        if xp.unique_values(places).shape[0] != places.shape[0]:
            msg = "`points` names a point twice: it can be left out once."
            raise ValueError(msg)
        rows = xp.take(self.smoother.rows, places, axis=1)
        inside = self._coordinates(group) @ rows.mT
        identity = xp.eye(inside.shape[1], dtype=inside.dtype, device=arrays.device_of(inside))
        residuals = self.ridge * xp.take(self.dual, places, axis=1)
        solved = xp.linalg.solve(identity[None, :, :] - inside.mT, residuals[:, :, None])
        moved = (self._coordinates(phi) @ rows.mT) @ solved
        return self.predict(phi) - moved[:, :, 0].T

    def _coordinates(self, phi: TangentFeatures) -> Float[Array, "c m d"]:
        values = arrays.in_float64(phi.values)
        return values if self.smoother.basis is None else values @ self.smoother.basis.mT

    def _left_out(self) -> Float[Array, "c n"]:
        """y_i − f₋ᵢ(x_i)."""
        return self.ridge * self.dual / self.smoother.slacks

    def _left_out_errors(self) -> Float[Array, "c n"]:
        """Bounds on the error of the left-out residuals, by the ends of residual and slack."""
        if self.smoother.loss is None:
            return self.residual_errors
        xp = arrays.namespace(self.dual)
        slacks, gaps = self.smoother.slacks, self.smoother.loss.gaps
        floor = self.ridge / (self.ridge + xp.sum(arrays.in_float64(self.features.values) ** 2, axis=2))
        least = slacks - gaps**2
        least = xp.where(least > floor, least, floor)
        return self.residual_errors / least + self.ridge * xp.abs(self.dual) * (1 / least - 1 / slacks)


def leave_one_out(
    features: TangentFeatures,
    targets: Float[Array, "n c"],
    *,
    ridge: Ridge = "loo",
    gradients: DistilledGradients | None = None,
) -> LeftOut:
    """Kernel regression whose predictions can be told without any of its points.

    Parameters
    ----------
    features
        Of n points, all in memory; C outputs, or one set for all columns of the targets.
    targets
        y (n, C).
    ridge
        As for :func:`dntk.solve.ridge`, one for all outputs.
    gradients
        Distilled from these features: the regression is that in their span, of s coordinates a point, and
        :meth:`LeftOut.errors` bounds what that changed.

    Raises
    ------
    TypeError, ValueError
        As :func:`dntk.solve.ridge`; ridges that differ from output to output; gradients of other features.

    Notes
    -----
    O(C·n·d·min(n, d)) on all features, O(C·n·k·s) in a span. Source of the identities: Allen 1974; Cook and Weisberg
    1982.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> left = dntk.attribution.leave_one_out(phi, y, ridge=1.0)
    >>> query = phi[:1]
    >>> left.change(query).shape  # of every output, query and point
    (2, 1, 40)
    >>> without = dntk.solve.ridge(phi[1:], y[1:], ridge=1.0).predict(query)  # fitted again
    >>> np.allclose(left.without(query, [0]), without)
    True
    """
    require_features("features", features)
    if gradients is None:
        fit = solve_ridge(features, targets, ridge=ridge)
        made = smoother(features.values, _one(fit.ridge))
        dual, y = arrays.in_float64(fit.dual), arrays.in_float64(outputs_of(features, targets)[0]).T
        zeros = arrays.namespace(dual).zeros_like(dual)
        return LeftOut(smoother=made, features=features, targets=y, dual=dual, residual_errors=zeros)
    _require_of(gradients, features)
    y, _ = synthetic_targets(gradients, targets)
    made = smoother_in_span(features.values, gradients.basis, ridge_in_span(gradients, targets, ridge))
    return in_span(made, features, arrays.in_float64(y).T)


def in_span(made: Smoother, features: TangentFeatures, y: Float[Array, "c n"]) -> LeftOut:
    """Regression in the span, from the smoother's own coordinates: those of the gradients are in their own dtype."""
    assert made.basis is not None
    coordinates = arrays.in_float64(features.values) @ made.basis.mT
    weights = made.rows.mT @ y[:, :, None]
    residuals = y - (coordinates @ weights)[:, :, 0]
    return LeftOut(
        smoother=made,
        features=features,
        targets=y,
        dual=residuals / made.ridge,
        residual_errors=_residual_errors(made, features, y),
    )


def _residual_errors(made: Smoother, features: TangentFeatures, y: Float[Array, "c n"]) -> Float[Array, "c n"]:
    """τ_i τ(Ψᵀy), and rounding of the residuals."""
    assert made.loss is not None
    assert made.basis is not None
    xp, wide = arrays.namespace(y), arrays.in_float64(features.values)
    gap = gaps_of(y[:, None, :] @ wide, made.basis, made.loss.coupling, made.ridge)
    trace = float(xp.max(xp.sum(wide**2, axis=(1, 2))))
    unit = allowance("backward", arrays.epsilon(wide), max(wide.shape), 1 + trace / made.ridge)
    return made.loss.gaps * gap + unit * xp.sqrt(xp.sum(y**2, axis=1, keepdims=True))


def _require_of(gradients: DistilledGradients, features: TangentFeatures) -> None:
    require_kind("gradients", gradients, DistilledGradients, expected="DistilledGradients of these features, or None")
    shape, (c, n, _) = tuple(gradients.projected.shape), features.values.shape
    if shape[:2] != (c, n) or gradients.basis.shape[2] != features.dim:
        msg = (
            f"`gradients` are of {shape[0]} outputs of {shape[1]} points, but `features` of {c} outputs of {n} points: "
            "distil these features, for example dntk.distill.gradients.Principal(20).distill(features, targets)."
        )
        raise ValueError(msg)


def _one(ridge: float | tuple[float, ...]) -> float:
    if isinstance(ridge, tuple):
        msg = "`ridge` gives every output its own λ, but here one for all is needed: pass a number or 'loo'."
        raise ValueError(msg)
    return ridge
