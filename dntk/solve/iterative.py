"""Kernel ridge regression by preconditioned conjugate gradients, in mixed precision where float64 is asked for."""

import dataclasses
import warnings

from jaxtyping import Float

from dntk import arrays
from dntk.solve._preconditioned_cg import CGResult, Preconditioner, preconditioned_cg
from dntk.solve.choice import check_ridge
from dntk.solve.kernel_operator import FeatureKernel, KernelOperator, MatrixKernel, wide_product
from dntk.solve.low_rank import PreconditionerRule, RandomizedNystrom
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class IterativeFit:
    """Dual solution, and how it was reached.

    Parameters
    ----------
    dual
        α_c of (K^c + λI)α_c = y_c, (C, n); (C, n, q) for several right-hand sides per output.
    cg
        Iterations, residuals, convergence; of mixed precision, of the last round.
    rank
        Rank of the preconditioner.
    rounds
        Rounds of refinement: 1 without.
    """

    dual: Float[Array, "c n *q"]
    cg: CGResult
    rank: int
    rounds: int


def iterative_ridge(
    kernel: KernelOperator,
    rhs: Float[Array, "c n *q"],
    *,
    ridge: float,
    preconditioner: PreconditionerRule | None = None,
    tolerance: float = 1e-6,
    iterations: int = 500,
) -> IterativeFit:
    """Solve (K^c + λI)α_c = y_c by products with K only, for kernels too large to factorise.

    With right-hand sides in float64 and a kernel in float32 the iteration runs in float32, and residuals are
    recomputed in float64 from the float32 numbers of the kernel (iterative refinement): the result has the accuracy of
    float64 for little more than the cost of float32.

    Parameters
    ----------
    kernel
        :class:`dntk.solve.FeatureKernel`, :class:`dntk.solve.MatrixKernel`, or your own operator.
    rhs
        (C, n), or (C, n, q) for a block.
    ridge
        λ, absolute.
    preconditioner
        Default ``RandomizedNystrom()``.
    tolerance
        Relative residual at which to stop. Not reaching it is no error: see ``.cg.converged``. Not reaching half the
        digits of the right-hand sides either is warned of.
    iterations
        At most so many steps in all.

    Raises
    ------
    ValueError
        A ridge that is not positive; right-hand sides of another shape.

    Warns
    -----
    UserWarning
        Neither the tolerance nor half the digits are reached: what is returned is not the solution.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(2, 40))
    >>> fit = dntk.solve.iterative_ridge(dntk.solve.FeatureKernel(phi.values), y, ridge=1.0)
    >>> fit.dual.shape, bool(np.all(fit.cg.converged))
    ((2, 40), True)
    >>> exact = dntk.solve.ridge(phi, y.T, ridge=1.0)
    >>> np.allclose(fit.dual, exact.dual, atol=1e-5)
    True
    """
    check_ridge(ridge)
    if rhs.ndim not in (2, 3) or tuple(rhs.shape[:2]) != tuple(kernel.shape):
        msg = f"`rhs` has shape {tuple(rhs.shape)}: expected {kernel.shape} or {kernel.shape} with a third axis."
        raise ValueError(msg)
    xp = arrays.namespace(rhs)
    block = rhs[:, :, None] if rhs.ndim == 2 else rhs
    low = _dtype_of(kernel, block)
    rule = RandomizedNystrom() if preconditioner is None else preconditioner
    built = rule.build(kernel, ridge, xp.astype(block, low, copy=False))
    if low == block.dtype:
        found = _run(kernel, block, ridge, built, iterations, tolerance)
        fit = IterativeFit(dual=found.solution, cg=found, rank=built.rank, rounds=1)
    else:
        fit = _mixed(kernel, block, ridge, built, iterations, tolerance)
    _warn_unless_converged(fit, ridge, tolerance, mixed=low != block.dtype)
    return fit if rhs.ndim == 3 else _columns_only(fit)


def _warn_unless_converged(fit: IterativeFit, ridge: float, tolerance: float, *, mixed: bool) -> None:
    """Float32 cannot reach every tolerance, and is right for many uses at half its digits."""
    worst = float(arrays.namespace(fit.dual).max(fit.cg.relative_residual))
    if worst <= max(tolerance, arrays.epsilon(fit.dual) ** 0.5):
        return
    precision = "" if mixed else ", right-hand sides in float64"
    msg = (
        f"conjugate gradients stopped at a relative residual of {worst:.2g} after {fit.cg.iterations} steps, above "
        f"`tolerance`={tolerance:.2g}: `dual` is not the solution at `ridge`={ridge:.3g}. Pass a larger ridge, more "
        f"`iterations`, a preconditioner of higher rank (here {fit.rank}){precision}, or use dntk.solve.ridge."
    )
    warnings.warn(msg, UserWarning, stacklevel=3)


def _dtype_of(kernel: KernelOperator, like: Array) -> object:
    return kernel.values.dtype if isinstance(kernel, FeatureKernel | MatrixKernel) else like.dtype


def _run(
    kernel: KernelOperator, rhs: Array, ridge: float, built: Preconditioner, iterations: int, tolerance: float
) -> CGResult:
    return preconditioned_cg(
        lambda v: kernel.multiply(v) + ridge * v, rhs, built, iterations=iterations, tolerance=tolerance
    )


def _mixed(
    kernel: KernelOperator, rhs: Array, ridge: float, built: Preconditioner, iterations: int, tolerance: float
) -> IterativeFit:
    """Rounds of float32 iterations on the residual of the last, measured in float64."""
    assert isinstance(kernel, FeatureKernel | MatrixKernel)
    xp = arrays.namespace(rhs)
    low = kernel.values.dtype
    norm = xp.sqrt(xp.sum(rhs * rhs, axis=1))
    safe = xp.where(norm > 0, norm, xp.ones_like(norm))
    solution, residual, steps, rounds = xp.zeros_like(rhs), rhs, 0, 0
    relative, history = norm / safe, [float(xp.max(norm / safe))]
    while steps < iterations and history[-1] > tolerance:
        scale = xp.sqrt(xp.sum(residual * residual, axis=1, keepdims=True))
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        part = _run(kernel, xp.astype(residual / scale, low), ridge, built, iterations - steps, 1e-4)
        solution = solution + scale * xp.astype(part.solution, rhs.dtype)
        residual = rhs - wide_product(kernel, solution) - ridge * solution
        relative = xp.sqrt(xp.sum(residual * residual, axis=1)) / safe
        steps, rounds = steps + max(1, part.iterations), rounds + 1
        history.append(float(xp.max(relative)))
        if history[-1] > 0.5 * history[-2]:  # float32 cannot tell this system from a singular one
            break
    result = CGResult(
        solution=solution,
        relative_residual=relative,
        iterations=steps,
        converged=relative <= tolerance,
        history=tuple(history),
    )
    return IterativeFit(dual=solution, cg=result, rank=built.rank, rounds=rounds)


def _columns_only(fit: IterativeFit) -> IterativeFit:
    cg = dataclasses.replace(
        fit.cg,
        solution=fit.cg.solution[:, :, 0],
        relative_residual=fit.cg.relative_residual[:, 0],
        converged=fit.cg.converged[:, 0],
    )
    return dataclasses.replace(fit, dual=fit.dual[:, :, 0], cg=cg)
