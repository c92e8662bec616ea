"""Cholesky factors that fail with a reason: condition estimates, and jitter only where it was asked for."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.types import Array

_STEPS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jitter:
    """Permission to raise the ridge of a system that is singular to rounding.

    First by ``relative`` times the largest diagonal entry, then ``growth`` times more, at most ``attempts`` times. What
    was added is in the result's report: the solution is that of the larger ridge.

    Examples
    --------
    >>> phi, y = dntk.TangentFeatures(np.ones((4, 8))), np.ones((4, 1))  # four equal points
    >>> fit = dntk.solve.ridge(phi, y, ridge=1e-30, jitter=dntk.solve.Jitter())
    >>> fit.report.jitter > 0  # without it: an error that says so
    True
    """

    relative: float = 1e-12
    growth: float = 10.0
    attempts: int = 6

    def __post_init__(self) -> None:
        if not (self.relative > 0 and self.growth > 1 and self.attempts >= 1):
            msg = f"expected `relative` > 0, `growth` > 1 and `attempts` ≥ 1, got {self}."
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolveReport:
    """What is known of the accuracy of a solve.

    Parameters
    ----------
    condition
        Estimate (from below, usually within a factor of 2) of the condition number of the system solved, the largest
        over outputs: ΦΦᵀ + λI for n ≤ k, else ΦᵀΦ + λI.
    rounding
        Estimated relative rounding of the products that the system was formed from, ‖δG‖/‖G‖_F.
    forward_error
        Estimate of the relative error of the solution in the system's own norm: condition times rounding, at most 1;
        after refinement that of the residual reached.
    jitter
        What was added to the ridge because the system was singular to rounding; 0 unless jitter was allowed.
    refinements
        Steps of conjugate gradients in float64 that repaired products formed in float32.
    """

    condition: float
    rounding: float
    forward_error: float
    jitter: float = 0.0
    refinements: int = 0


def cholesky(matrix: Float[Array, "m m"]) -> Float[Array, "m m"] | None:
    """Lower factor of a symmetric matrix; ``None`` where it is not positive definite to rounding."""
    xp = arrays.namespace(matrix)
    try:
        factor: Array = xp.linalg.cholesky(matrix)
    except (ValueError, RuntimeError, ArithmeticError):  # what libraries raise for it, where they raise at all
        return None
    return factor if bool(xp.all(xp.isfinite(factor))) else None


def factorise(
    gram: Float[Array, "g m m"], ridge: float, jitter: Jitter | None = None
) -> tuple[Float[Array, "g m m"], float]:
    """Cholesky factors of gram + λI, one set after another, and the jitter that was added to all of them.

    Raises
    ------
    ValueError
        A matrix is not positive definite to rounding and no jitter is allowed, or the jitter allowed does not help.
    """
    xp = arrays.namespace(gram)
    identity = xp.eye(gram.shape[1], dtype=gram.dtype, device=arrays.device_of(gram))
    added = 0.0
    for attempt in range(1 + (0 if jitter is None else jitter.attempts)):
        if attempt and jitter is not None:
            largest = float(xp.max(xp.abs(gram)))
            added = jitter.relative * jitter.growth ** (attempt - 1) * largest
        factors = [cholesky(gram[i, :, :] + (ridge + added) * identity) for i in range(gram.shape[0])]
        sound = [factor for factor in factors if factor is not None]
        if len(sound) == len(factors):
            return xp.stack(sound), added
    msg = (
        f"the system is singular to working precision at `ridge`={ridge:.3g} in {gram.dtype}"
        f"{'' if jitter is None else f', also with {added:.3g} added'}: use a larger ridge, 'loo', float64 features, "
        "or allow jitter=dntk.solve.Jitter()."
    )
    raise ValueError(msg)


def cholesky_solve(factor: Float[Array, "g m m"], rhs: Float[Array, "g m q"]) -> Float[Array, "g m q"]:
    """Solution of L Lᵀx = rhs."""
    backend = backend_of(factor)
    half = backend.triangular_solve(factor, rhs, lower=True)
    return backend.triangular_solve(factor.mT, half, lower=False)


def inverse_factor(factor: Float[Array, "g m m"]) -> Float[Array, "g m m"]:
    """L⁻¹, one set after another."""
    xp = arrays.namespace(factor)
    identity = xp.eye(factor.shape[1], dtype=factor.dtype, device=arrays.device_of(factor))
    backend = backend_of(factor)
    parts = [backend.triangular_solve(factor[i, :, :], identity, lower=True) for i in range(factor.shape[0])]
    return xp.stack(parts)


def condition_estimate(factor: Float[Array, "g m m"]) -> float:
    """κ₂(L Lᵀ) from below by a few steps of power iteration on the matrix and on its inverse; O(m²) a step."""
    xp = arrays.namespace(factor)
    g, m, _ = factor.shape
    index = xp.arange(m, dtype=factor.dtype, device=arrays.device_of(factor))
    # A fixed start without symmetry: signs that change, sizes that grow.
    start = xp.where(index % 2 == 0, xp.ones_like(index), -xp.ones_like(index)) * (1 + index / m)
    top = bottom = xp.broadcast_to(start[None, :, None], (g, m, 1))
    largest = inverse = xp.ones((g, 1, 1), dtype=factor.dtype, device=arrays.device_of(factor))
    for _ in range(_STEPS):
        top, bottom = _unit(top), _unit(bottom)
        up, down = factor @ (factor.mT @ top), cholesky_solve(factor, bottom)
        largest, inverse = _norm(up), _norm(down)
        top, bottom = up, down
    return float(xp.max(largest * inverse))


def _norm(x: Float[Array, "g m 1"]) -> Float[Array, "g 1 1"]:
    xp = arrays.namespace(x)
    scale = xp.max(xp.abs(x), axis=1, keepdims=True)
    scale = xp.where(scale > 0, scale, xp.ones_like(scale))
    return scale * xp.sqrt(xp.sum((x / scale) ** 2, axis=1, keepdims=True))


def _unit(x: Float[Array, "g m 1"]) -> Float[Array, "g m 1"]:
    xp, norm = arrays.namespace(x), _norm(x)
    return x / xp.where(norm > 0, norm, xp.ones_like(norm))
