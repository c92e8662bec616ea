"""What the tangent features of some inputs leave of those of others, and its derivative."""

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
    return _left(points, *_solved(points, inducing, ridge)[:2])


def residual_gradient(
    points: Float[Array, "n d"], inducing: Float[Array, "m d"], *, ridge: float
) -> tuple[float, Float[Array, "m d"]]:
    """The residual share and its gradient in the inducing features F̃.

    With T = F̃Fᵀ and Z = (F̃F̃ᵀ + μI)⁻¹ T, the derivative of −tr(TᵀZ) is −2 (Z F − Z Zᵀ F̃), plus 2 μ' ‖Z‖² F̃ as the
    damping μ = μ' tr(F̃F̃ᵀ) moves too.
    """
    xp = arrays.namespace(points)
    solved, across, share = _solved(points, inducing, ridge)
    identity = xp.eye(solved.shape[0], dtype=solved.dtype, device=arrays.device_of(solved))
    own = solved @ solved.T + share * xp.sum(solved * solved) * identity
    narrow = [xp.astype(factor, points.dtype, copy=False) for factor in (solved, own)]
    gradient = 2 * (narrow[1] @ inducing - narrow[0] @ points)
    count(flops=2 * inducing.shape[0] * points.shape[1] * (points.shape[0] + inducing.shape[0]))
    total = _nonzero(xp.astype(_trace(points), points.dtype, copy=False))
    return _left(points, solved, across), gradient / total


def _solved(
    points: Float[Array, "n d"], inducing: Float[Array, "m d"], ridge: float
) -> tuple[Float[Array, "m n"], Float[Array, "m n"], float]:
    """Z, T and μ'. T in the dtype of the features; F̃F̃ᵀ and the solve in float64 where the device has it."""
    across = arrays.in_float64(backend_of(inducing).inner(inducing, points))
    # T is rounded in its own dtype, which less damping would blow up.
    ridge = max(ridge, arrays.epsilon(points))
    matrix, share = damped(backend_of(inducing).gram(arrays.in_float64(inducing)), ridge)
    count(flops=2 * inducing.shape[0] * points.shape[1] * (points.shape[0] + inducing.shape[0]))
    return arrays.namespace(points).linalg.solve(matrix, across), across, share


def _left(points: Float[Array, "n d"], solved: Float[Array, "m n"], across: Float[Array, "m n"]) -> float:
    """1 − tr(TᵀZ)/tr(FFᵀ)."""
    xp, total = arrays.namespace(points), _trace(points)
    return float((total - xp.sum(solved * across)) / _nonzero(total))


def _trace(points: Float[Array, "n d"]) -> Float[Array, ""]:
    """‖F‖²."""
    xp = arrays.namespace(points)
    norms = arrays.in_float64(xp.linalg.vector_norm(points, axis=1))
    return xp.sum(norms * norms)


def _nonzero(total: Float[Array, ""]) -> Float[Array, ""]:
    xp = arrays.namespace(total)
    return xp.where(total > 0, total, xp.ones_like(total))
