"""The energy error of an approximate dual: residual bound and Gauss-Radau.

For A = K + λI, α = A⁻¹y, any α̂, r = y − Aα̂ and e = α − α̂:

    ‖e‖_A² = rᵀA⁻¹r,   ‖r‖²/(λ + ‖K‖) ≤ ‖e‖_A² ≤ ‖r‖²/λ,

and for the Galerkin solution α̂ = U(UᵀAU)⁻¹Uᵀy also ‖e‖_A² = yᵀα − yᵀα̂, the least in the span. Gauss-Radau bounds
rᵀA⁻¹r from above within a factor 1.2 to 1.4 after 40 products, where ‖r‖²/λ is 10 to 20 times too large. In the span of
s columns that are not orthonormal the system is UᵀKU + λUᵀU; with λI the solution depends on the basis.

Rounding of r is 4c·eps·N·(‖K‖ + λ)‖α̂‖, c = 0.71; it adds ‖Δr‖/√λ to ‖e‖_A. That of ‖r‖² and of the value itself, in
the dtype of r, is 4c·eps·N of it, c = 0.74.
"""

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound
from dntk.certificates.quadrature import Apply, lanczos
from dntk.certificates.rounding import allowance
from dntk.types import Array


def residual_bounds(residual: Float[Array, "c n"], *, ridge: float, norm: float) -> tuple[Array, Array]:
    """Lower and upper bounds (C,) of ‖e‖_A² from r alone; ``norm`` is a bound on ‖K‖."""
    xp = arrays.namespace(residual)
    squared = xp.sum(residual**2, axis=1)
    return squared / (ridge + norm), squared / ridge


def energy_error(
    multiply: Apply,
    residual: Float[Array, "c n"],
    *,
    ridge: float,
    trace: float,
    size: int,
    steps: int = 40,
    residual_rounding: float = 0.0,
) -> Bound:
    """Bound (C,) on ‖α − α̂‖_A² by Gauss-Radau, from products with the kernels K^c alone.

    ``trace`` ≥ ‖K‖ and N = ``size`` set the rounding; ``residual_rounding`` is a bound on ‖Δr‖.
    """
    xp = arrays.namespace(residual)
    rounding = allowance("backward", arrays.epsilon(residual), size, trace)
    spaces = lanczos(multiply, residual[:, None, :], steps)
    _, upper = spaces.quadratures(ridge, 1, rounding)
    bound = [min(float(u), float(r) ** 2 / ridge) for u, r in zip(upper[:, 0], spaces.norms[:, 0], strict=True)]
    grow = 1 + allowance("galerkin", arrays.epsilon(residual), size, 1.0)
    value = [(b**0.5 + residual_rounding / ridge**0.5) ** 2 * grow for b in bound]
    return Bound(
        value=xp.asarray(value, dtype=residual.dtype, device=arrays.device_of(residual)),
        theorem=f"Gauss-Radau, {min(steps, residual.shape[1])} products",
    )


def residual_rounding(eps: float, size: int, *, trace: float, ridge: float, dual_norm: float) -> float:
    """Bound on the rounding of r = y − (K + λI)α̂."""
    return allowance("backward", eps, size, (trace + ridge) * dual_norm)
