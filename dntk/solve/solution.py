"""The solution of one ridge problem at one λ: dual, primal, or in one pass with refinement."""

import dataclasses
import functools
from collections.abc import Callable

from jaxtyping import Float

from dntk import arrays
from dntk.ledger import count
from dntk.solve._points_left_out import dual_left_out_of_points, pieces_of_points, primal_left_out_of_points
from dntk.solve._preconditioned_cg import preconditioned_cg
from dntk.solve.conditioning import (
    Jitter,
    SolveReport,
    cholesky_solve,
    condition_estimate,
    factorise,
    inverse_factor,
)
from dntk.solve.normal_equations import rows_at_once
from dntk.solve.problem import RidgeProblem, combined
from dntk.types import Array

_TRUSTED = 1e-3
"""Rounding of the products relative to λ up to which their solution is taken as it is."""

_REFINEMENTS = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution:
    """w (g, k, q) and α (g, n, q) of the scaled rows, and how to get the leave-one-out error (mean of squares).

    ``factor`` is Cholesky's of the system whose size is the smaller of n and k, at the ridge asked for and the jitter.
    """

    weights: Float[Array, "g k q"]
    dual: Float[Array, "g n q"]
    left_out: Callable[[], float]
    report: SolveReport
    factor: Float[Array, "g m m"] | None = None


def solve(problem: RidgeProblem, ridge: float, jitter: Jitter | None = None) -> Solution:
    """Solve by the cheapest sound way for the shape.

    Raises
    ------
    ValueError
        The system is singular to working precision.
    """
    if problem.dual:
        return _dual(problem, ridge, jitter)
    return _primal(problem, ridge, jitter)


def _require_regular(gram: Float[Array, "g m m"], ridge: float) -> None:
    """Raise where K + λI, of the same trace as ΦᵀΦ + λI, cannot be told from a singular matrix in the precision."""
    xp = arrays.namespace(gram)
    trace = float(xp.max(xp.sum(xp.linalg.diagonal(gram), axis=1)))
    if trace > 0 and ridge < arrays.epsilon(gram) * trace:
        msg = (
            f"`ridge`={ridge:.3g} is below the rounding of a kernel of trace {trace:.3g} in {gram.dtype}: the "
            "system is singular to working precision. Use a larger ridge, 'loo', or float64 features."
        )
        raise ValueError(msg)


def _dual(problem: RidgeProblem, ridge: float, jitter: Jitter | None) -> Solution:
    xp, features = arrays.namespace(problem.features), problem.features
    g, n, k = features.shape
    count(flops=g * n**3)
    gram = problem.gram
    if jitter is None:
        _require_regular(gram, ridge)
    factor, added = factorise(gram, ridge, jitter)
    inverse = inverse_factor(factor)
    dual = cholesky_solve(factor, problem.targets)
    if problem.together > 1:
        left_out = dual_left_out_of_points(inverse, dual, problem.together)
    else:
        left_out = dual / xp.sum(inverse * inverse, axis=1)[:, :, None]
    return Solution(
        weights=combined(features, dual),
        dual=dual,
        left_out=functools.partial(_mean_square, left_out, problem.weight * problem.outputs),
        report=_report(factor, max(n, k) * arrays.epsilon(gram), added),
        factor=factor,
    )


def _primal(problem: RidgeProblem, ridge: float, jitter: Jitter | None) -> Solution:
    """ΦᵀΦ in one pass; where its rounding is not small beside λ, its factor preconditions float64 products."""
    count(flops=problem.features.shape[0] * problem.features.shape[2] ** 3 // 3)
    statistics = problem.statistics
    if jitter is None:
        _require_regular(statistics.gram, ridge)
    floor = 0.0 if problem.wide else statistics.rounding_floor
    shift = max(ridge, floor)
    factor, added = factorise(statistics.gram, shift, jitter)
    total = ridge + added
    weights = cholesky_solve(factor, statistics.cross)
    report = _report(factor, statistics.rounding, added)
    if floor > _TRUSTED * ridge:
        report = dataclasses.replace(report, condition=report.condition * shift / ridge)
        weights, report = _refined(problem, total, factor, report)
    residual = problem.targets - problem.fits(weights)
    exact = problem.widened() if shift > ridge else problem
    return Solution(
        weights=weights,
        dual=residual / total,
        left_out=lambda: _primal_left_out(exact, total, residual, None if shift > ridge else factor),
        report=report,
        factor=factor,
    )


def _refined(problem: RidgeProblem, ridge: float, factor: Array, report: SolveReport) -> tuple[Array, SolveReport]:
    """Conjugate gradients on (ΦᵀΦ + λI)w = Φᵀy with products in float64, preconditioned by the factor."""
    xp, dtype = arrays.namespace(problem.features), factor.dtype
    features, targets = problem.features, problem.targets

    def over_rows(term: Callable[[Array, Array], Array]) -> Array:
        parts = arrays.spans(problem.points, rows_at_once(features, dtype))
        total = None
        for start, stop in parts:
            block = xp.astype(features[:, start:stop, :], dtype, copy=False)
            rows = term(block, xp.astype(targets[:, start:stop, :], dtype, copy=False))
            piece = (rows.mT @ block).mT
            total = piece if total is None else total + piece
        assert total is not None
        return total

    found = preconditioned_cg(
        lambda v: over_rows(lambda block, _: block @ v) + ridge * v,
        over_rows(lambda _, y: y),
        lambda r: cholesky_solve(factor, r),
        iterations=_REFINEMENTS,
        # The error of the solution is at most the condition times the residual.
        tolerance=max(arrays.epsilon(features) / report.condition, 10 * arrays.epsilon(factor)),
    )
    residual = float(xp.max(found.relative_residual))
    error = min(1.0, report.condition * residual)
    return found.solution, dataclasses.replace(report, forward_error=error, refinements=found.iterations)


def _primal_left_out(problem: RidgeProblem, ridge: float, residual: Array, factor: Array | None) -> float:
    """Leverages h_i = ‖L⁻¹φ_i‖², a block of points at a time."""
    xp = arrays.namespace(problem.features)
    if factor is None:
        factor, _ = factorise(problem.statistics.gram, ridge)
    g, n, k = problem.features.shape
    count(flops=2 * g * n * k * k)
    inverse = xp.astype(inverse_factor(factor), problem.targets.dtype, copy=False)
    rounding, parts, gains = n * arrays.epsilon(factor), [], xp.ones_like(inverse[:, :, :1])
    for rows, own in pieces_of_points(problem.features, residual, problem.together, problem.at_once):
        scores = xp.astype(rows, inverse.dtype, copy=False) @ inverse.mT
        left = xp.astype(own, inverse.dtype, copy=False)[:, :, :, None]
        if problem.together > 1:
            left = primal_left_out_of_points(scores, gains, left, problem.together, rounding)
        else:
            left = left / xp.clip(1 - xp.sum(scores * scores, axis=2), min=rounding)[:, :, None, None]
        parts.append(left[:, :, :, 0])
    return _mean_square(xp.concat(parts, axis=1), problem.weight * problem.outputs)


def _mean_square(left_out: Float[Array, "g n q"], weight: float) -> float:
    xp = arrays.namespace(left_out)
    wide = arrays.in_float64(left_out)
    return float(xp.sum(wide * wide)) / weight


def _report(factor: Array, rounding: float, jitter: float) -> SolveReport:
    condition = condition_estimate(factor)
    return SolveReport(
        condition=condition, rounding=rounding, forward_error=min(1.0, condition * rounding), jitter=jitter
    )
