"""What the tangent features of some inputs leave of those of others, and its derivative."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.types import Array


def damped(gram: Float[Array, "m m"], ridge: float) -> tuple[Float[Array, "m m"], float]:
    """K + μI with μ = ridge · tr(K)/m, and that share of the trace; at least what rounding asks for."""
    xp = arrays.namespace(gram)
    m = gram.shape[0]
    share = max(ridge, 8 * m * arrays.epsilon(gram)) / m
    identity = xp.eye(m, dtype=gram.dtype, device=arrays.device_of(gram))
    return gram + share * xp.linalg.trace(gram) * identity, share


def residual(points: Float[Array, "n d"], inducing: Float[Array, "m d"], *, ridge: float) -> float:
    """Share Σ‖(I − Π)f‖² / Σ‖f‖² of features outside the span of the inducing ones, from above.

    Π is damped: K_Π = F F̃ᵀ (F̃F̃ᵀ + μI)⁻¹ F̃ Fᵀ, which is below the undamped one.
    """
    return Inducing.of(inducing, ridge).left(Goal.of(points))


def residual_gradient(
    points: Float[Array, "n d"], inducing: Float[Array, "m d"], *, ridge: float
) -> tuple[float, Float[Array, "m d"]]:
    """The residual share and its gradient in the inducing features."""
    return Inducing.of(inducing, ridge).slope(Goal.of(points))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Goal:
    """Features F of points to be explained and the sum of squares of which a share is left: ‖F‖² or more.

    More where the rows are leading directions of points (:mod:`leading_directions`): what these lack counts as left.
    """

    rows: Float[Array, "n d"]
    trace: Float[Array, ""]

    @classmethod
    def of(cls, rows: Float[Array, "n d"]) -> "Goal":
        """Of all points."""
        xp = arrays.namespace(rows)
        norms = arrays.in_float64(xp.linalg.vector_norm(rows, axis=1))
        return cls(rows=rows, trace=xp.sum(norms * norms))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inducing:
    """Features F̃ and their damped Gram matrix F̃F̃ᵀ + μI, in float64 where the device has it; μ = μ' tr(F̃F̃ᵀ)."""

    features: Float[Array, "m d"]
    matrix: Float[Array, "m m"]
    share: float

    @classmethod
    def of(cls, features: Float[Array, "m d"], ridge: float) -> "Inducing":
        """One Gram matrix for all that is asked of the span."""
        # Products with features are rounded in their own dtype, which less damping would blow up.
        ridge = max(ridge, arrays.epsilon(features))
        matrix, share = damped(backend_of(features).gram(arrays.in_float64(features)), ridge)
        count(flops=2 * features.shape[0] ** 2 * features.shape[1])
        return cls(features=features, matrix=matrix, share=share)

    def left(self, goal: Goal) -> float:
        """The residual share of the goal."""
        return _left(goal, *self._solved(goal))

    def slope(self, goal: Goal) -> tuple[float, Float[Array, "m d"]]:
        """The residual share and its gradient in F̃.

        With T = F̃Fᵀ and Z = (F̃F̃ᵀ + μI)⁻¹ T, the derivative of −tr(TᵀZ) is −2 (Z F − Z Zᵀ F̃), plus 2 μ' ‖Z‖² F̃ as the
        damping moves too.
        """
        xp = arrays.namespace(goal.rows)
        solved, across = self._solved(goal)
        identity = xp.eye(solved.shape[0], dtype=solved.dtype, device=arrays.device_of(solved))
        own = solved @ solved.T + self.share * xp.sum(solved * solved) * identity
        scale = 2 / _nonzero(goal.trace)  # into the small factors: the large ones would be copied
        narrow = [xp.astype(scale * factor, goal.rows.dtype, copy=False) for factor in (solved, own)]
        m, (n, d) = self.features.shape[0], goal.rows.shape
        count(flops=2 * m * d * (n + m))
        return _left(goal, solved, across), narrow[1] @ self.features - narrow[0] @ goal.rows

    def _solved(self, goal: Goal) -> tuple[Float[Array, "m n"], Float[Array, "m n"]]:
        """Z and T, the latter rounded in the dtype of the features."""
        across = arrays.in_float64(backend_of(self.features).inner(self.features, goal.rows))
        count(flops=2 * across.shape[0] * across.shape[1] * goal.rows.shape[1])
        return arrays.namespace(across).linalg.solve(self.matrix, across), across


def _left(goal: Goal, solved: Float[Array, "m n"], across: Float[Array, "m n"]) -> float:
    """1 − tr(TᵀZ)/trace."""
    xp = arrays.namespace(across)
    return float((goal.trace - xp.sum(solved * across)) / _nonzero(goal.trace))


def _nonzero(total: Float[Array, ""]) -> Float[Array, ""]:
    xp = arrays.namespace(total)
    return xp.where(total > 0, total, xp.ones_like(total))
