"""What the tangent features of some inputs leave of those of others, and its derivative."""

from jaxtyping import Float

from dntk import arrays
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
    xp = arrays.namespace(points)
    solved, across = _solved(points, inducing, ridge)[:2]
    total = xp.sum(points * points)
    return float((total - xp.sum(solved * across)) / xp.where(total > 0, total, xp.ones_like(total)))


def residual_gradient(
    points: Float[Array, "n d"], inducing: Float[Array, "m d"], *, ridge: float
) -> tuple[float, Float[Array, "m d"]]:
    """The residual share and its gradient in the inducing features F̃.

    With T = F̃Fᵀ and Z = (F̃F̃ᵀ + μI)⁻¹ T, the derivative of −tr(TᵀZ) is −2 Z (F − ZᵀF̃), plus 2 μ' ‖Z‖² F̃ as the
    damping μ = μ' tr(F̃F̃ᵀ) moves too.
    """
    xp = arrays.namespace(points)
    solved, across, share = _solved(points, inducing, ridge)
    left = points - solved.T @ inducing
    gradient = -2 * (solved @ left) + (2 * share * xp.sum(solved * solved)) * inducing
    count(flops=4 * points.shape[0] * inducing.shape[0] * points.shape[1])
    total = xp.sum(points * points)
    total = xp.where(total > 0, total, xp.ones_like(total))
    return float((total - xp.sum(solved * across)) / total), gradient / total


def _solved(
    points: Float[Array, "n d"], inducing: Float[Array, "m d"], ridge: float
) -> tuple[Float[Array, "m n"], Float[Array, "m n"], float]:
    xp = arrays.namespace(points)
    across = inducing @ points.T
    matrix, share = damped(inducing @ inducing.T, ridge)
    count(flops=2 * inducing.shape[0] * points.shape[1] * (points.shape[0] + inducing.shape[0]))
    return xp.linalg.solve(matrix, across), across, share
