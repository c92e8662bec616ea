"""Conjugate gradients on (K + λI)α = y with a preconditioner from leading eigenpairs."""

import dataclasses
from collections.abc import Callable

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preconditioner:
    """P⁻¹ = V diag((θ_r + λ)/(θ + λ)) Vᵀ + (I − VVᵀ): deflates leading eigenpairs (θ, V) of K.

    The preconditioned system has condition number about (λ_{r+1} + λ)/λ (Frangella, Tropp and Udell 2023).
    """

    values: Float[Array, "c r"]
    vectors: Float[Array, "c n r"]
    ridge: float

    def __call__(self, residual: Float[Array, "c n"]) -> Float[Array, "c n"]:
        """P⁻¹ applied to one vector per output."""
        components = (self.vectors.mT @ residual[:, :, None])[:, :, 0]
        gain = (self.values[:, -1:] + self.ridge) / (self.values + self.ridge) - 1
        return residual + (self.vectors @ (gain * components)[:, :, None])[:, :, 0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CGResult:
    """What the iteration reached: the solution and ‖y − (K + λI)α‖/‖y‖ per output (0 for y = 0)."""

    solution: Float[Array, "c n"]
    relative_residual: Float[Array, " c"]
    iterations: int


def preconditioned_cg(
    multiply: Callable[[Float[Array, "c n"]], Float[Array, "c n"]],
    rhs: Float[Array, "c n"],
    precondition: Callable[[Float[Array, "c n"]], Float[Array, "c n"]],
    *,
    iterations: int,
) -> CGResult:
    """A fixed number of preconditioned conjugate-gradient steps, all outputs at once.

    ``multiply`` applies the positive definite matrices K^c + λI. Columns that have converged to rounding stop
    moving, so that no step waits for the device. Not converging is not an error: the result says how far it came.
    """
    xp = arrays.namespace(rhs)
    tiny = xp.finfo(rhs.dtype).smallest_normal
    x, r = xp.zeros_like(rhs), rhs
    z = precondition(r)
    p = z
    rho = xp.sum(r * z, axis=1)
    floor = rho * arrays.epsilon(rhs) ** 2
    for _ in range(iterations):
        image = multiply(p)
        curvature = xp.sum(p * image, axis=1)
        active = (rho > floor) & (curvature > tiny)
        step = xp.where(active, rho / xp.where(active, curvature, xp.ones_like(curvature)), xp.zeros_like(rho))
        x, r = x + step[:, None] * p, r - step[:, None] * image
        z = precondition(r)
        previous, rho = rho, xp.sum(r * z, axis=1)
        ratio = xp.where(active, rho / xp.where(active, previous, xp.ones_like(previous)), xp.zeros_like(rho))
        p = z + ratio[:, None] * p
    true_residual = rhs - multiply(x)  # the recurrence's own residual drifts from it
    norm = xp.sqrt(xp.sum(rhs * rhs, axis=1))
    relative = xp.sqrt(xp.sum(true_residual**2, axis=1)) / xp.where(norm > 0, norm, xp.ones_like(norm))
    return CGResult(solution=x, relative_residual=relative, iterations=iterations)
