"""Conjugate gradients on (K + λI)α = y with a preconditioner from leading eigenpairs."""

import dataclasses
from collections.abc import Callable

from jaxtyping import Bool, Float

from dntk import arrays
from dntk._progress import task
from dntk.ledger import count_product
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preconditioner:
    """P⁻¹ = V diag((θ_r + λ)/(θ + λ)) Vᵀ + (I − VVᵀ): deflates leading eigenpairs (θ, V) of K.

    The preconditioned system has condition number about (λ_{r+1} + λ)/λ (Frangella, Tropp and Udell 2023).
    """

    values: Float[Array, "c r"]
    vectors: Float[Array, "c n r"]
    ridge: float

    def __call__(self, residual: Float[Array, "c n *q"]) -> Float[Array, "c n *q"]:
        """P⁻¹ applied to one vector per output, or to several."""
        block = residual[:, :, None] if residual.ndim == 2 else residual
        count_product(self.vectors.mT, block)
        count_product(self.vectors.mT, block)
        gain = (self.values[:, -1:] + self.ridge) / (self.values + self.ridge) - 1
        block = block + self.vectors @ (gain[:, :, None] * (self.vectors.mT @ block))
        return block[:, :, 0] if residual.ndim == 2 else block

    @property
    def rank(self) -> int:
        """Number r of eigenpairs."""
        return self.values.shape[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CGResult:
    """What the iteration reached.

    Parameters
    ----------
    solution
        α, of the shape of the right-hand sides.
    relative_residual
        ‖y − (K + λI)α‖/‖y‖ of every right-hand side, measured, not the recurrence's; 0 for y = 0.
    iterations
        Steps taken.
    converged
        Whether each residual is within the tolerance asked for; for a fixed number of steps, whether it is within 100
        roundings of the dtype.
    history
        Largest relative residual by the recurrence before each step; empty for a fixed number of steps.
    """

    solution: Float[Array, "c n *q"]
    relative_residual: Float[Array, "*c_q"]
    iterations: int
    converged: Bool[Array, "*c_q"]
    history: tuple[float, ...] = ()


def preconditioned_cg(
    multiply: Callable[[Float[Array, "c n *q"]], Float[Array, "c n *q"]],
    rhs: Float[Array, "c n *q"],
    precondition: Callable[[Float[Array, "c n *q"]], Float[Array, "c n *q"]],
    *,
    iterations: int,
    tolerance: float | None = None,
) -> CGResult:
    """Preconditioned conjugate-gradient steps, all right-hand sides of all outputs at once.

    ``multiply`` applies the positive definite matrices K^c + λI. Columns that have converged to rounding stop
    moving. Without ``tolerance`` exactly ``iterations`` steps are taken and none waits for the device; with it the
    largest relative residual is read after every step, and the iteration ends below it. Not converging is not an
    error: the result says how far it came.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scales, rhs = np.linspace(1.0, 100.0, 40), rng.normal(size=(1, 40))
    >>> def solve(precondition):
    ...     return dntk.solve.preconditioned_cg(
    ...         lambda v: scales * v, rhs, precondition, iterations=100, tolerance=1e-9
    ...     )
    >>> found = solve(lambda v: v / scales)  # the perfect preconditioner
    >>> found.iterations, found.iterations < solve(lambda v: v).iterations
    (1, True)
    >>> np.allclose(found.solution, rhs / scales)
    True
    """
    xp = arrays.namespace(rhs)
    tiny = xp.finfo(rhs.dtype).smallest_normal
    x, r = xp.zeros_like(rhs), rhs
    z = precondition(r)
    p = z
    rho = xp.sum(r * z, axis=1)
    floor = rho * arrays.epsilon(rhs) ** 2
    norm = xp.sqrt(xp.sum(rhs * rhs, axis=1))
    norm = xp.where(norm > 0, norm, xp.ones_like(norm))
    history: list[float] = []
    steps = 0
    with task("conjugate gradients", total=iterations) as bar:
        while steps < iterations:
            if tolerance is not None:
                history.append(float(xp.max(xp.sqrt(xp.sum(r * r, axis=1)) / norm)))
                if history[-1] <= tolerance:
                    break
            image = multiply(p)
            curvature = xp.sum(p * image, axis=1)
            active = (rho > floor) & (curvature > tiny)
            step = _ratio(active, rho, curvature)
            x, r = x + step[:, None, ...] * p, r - step[:, None, ...] * image
            z = precondition(r)
            previous, rho = rho, xp.sum(r * z, axis=1)
            p = z + _ratio(active, rho, previous)[:, None, ...] * p
            steps += 1
            bar.advance()
    true_residual = rhs - multiply(x)  # the recurrence's own residual drifts from it
    relative = xp.sqrt(xp.sum(true_residual**2, axis=1)) / norm
    within = 100 * arrays.epsilon(rhs) if tolerance is None else tolerance * (1 + 1e-3)
    return CGResult(
        solution=x,
        relative_residual=relative,
        iterations=steps,
        converged=relative <= within,
        history=tuple(history),
    )


def _ratio(active: Array, numerator: Array, denominator: Array) -> Array:
    """Quotient where active, else 0."""
    xp = arrays.namespace(numerator)
    return xp.where(active, numerator / xp.where(active, denominator, xp.ones_like(denominator)), 0 * numerator)
