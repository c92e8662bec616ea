"""Ridge regression on features that are read from the disk chunk by chunk: passes over them, O(k²) of memory."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jaxtyping import Float

from dntk import arrays
from dntk.features import StoredFeatures, TangentFeatures
from dntk.solve.choice import GeneralisedCrossValidation, LargestWithin, LeaveOneOut
from dntk.solve.conditioning import Jitter, factorise, inverse_factor
from dntk.solve.leave_one_out import DEFAULT_GRID, least, primal_errors, totals
from dntk.solve.normal_equations import NormalEquations
from dntk.solve.out_of_core import solve_statistics
from dntk.solve.ridge_fit import RidgeFit
from dntk.solve.rules import Relative, Ridge, rule_of
from dntk.types import Array

P = TypeVar("P")


def goes_by_chunks(features: object, ridge: Ridge) -> bool:
    """Whether a regression is solved here: more stored points than features, and one λ that needs no folds."""
    rule, _ = _within(rule_of(ridge))
    one = isinstance(rule, float | Relative) or (
        isinstance(rule, LeaveOneOut | GeneralisedCrossValidation) and not rule.per_output
    )
    return isinstance(features, StoredFeatures) and len(features) > features.dim and one


def _within(rule: Any) -> tuple[Any, float | None]:
    """The rule that estimates errors, and by what share λ may exceed the least; None: it is that of the least."""
    return (rule.rule, rule.share) if isinstance(rule, LargestWithin) else (rule, None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChunkedProblem:
    """Stored features with their targets (n, c), shared by all outputs or not, and weights of the points.

    Products are formed in float64 where the device has it.
    """

    features: StoredFeatures
    targets: Float[Array, "n c"]
    shared: bool = False
    weights: Float[Array, " n"] | None = None

    def _folded(self, of: Callable[..., P], merge: Callable[[P, P], P]) -> P:
        """A pass: what ``of(x, y, root)`` makes of scaled rows of every chunk, merged in a fixed order."""
        along = (self.targets,) if self.weights is None else (self.targets, self.weights)
        return self.features.folded(_Leaf(of, self.shared), merge, name="regression", along=along)

    @property
    def weight(self) -> float:
        """Sum of the weights of the points."""
        if self.weights is None:
            return float(len(self.features))
        return float(arrays.namespace(self.weights).sum(arrays.in_float64(self.weights)))

    @functools.cached_property
    def statistics(self) -> NormalEquations:
        """ΦᵀΦ, Φᵀy and Σy² of the scaled rows: one pass."""
        return dataclasses.replace(self._folded(_statistics, NormalEquations.merge), weight=self.weight)

    def chosen(self, ridge: Ridge) -> float:
        """λ: a number, or of least leave-one-out error (a pass) or GCV score (none) on its grid."""
        rule, share = _within(rule_of(ridge))
        if isinstance(rule, float):
            return rule
        gram = self.statistics.gram
        xp, points = arrays.namespace(gram), len(self.features)
        mean = float(xp.mean(xp.sum(xp.linalg.diagonal(gram), axis=1))) / points
        if mean == 0:
            msg = "all tangent features are zero (a dead network?): there is no kernel to choose a ridge for."
            raise ValueError(msg)
        if isinstance(rule, Relative):
            return mean * rule.share
        assert isinstance(rule, LeaveOneOut | GeneralisedCrossValidation)
        ridges = [g * mean for g in DEFAULT_GRID] if rule.grid is None else list(rule.grid)
        spectrum = self.statistics.spectrum()
        noise = points * arrays.epsilon(spectrum.values) * float(xp.max(spectrum.values))
        floor = max(self.statistics.rounding_floor, noise)
        if isinstance(rule, GeneralisedCrossValidation):
            row = xp.asarray(ridges, dtype=spectrum.values.dtype, device=arrays.device_of(spectrum.values))
            return least(totals(xp.permute_dims(spectrum.gcv(row), (1, 2, 0))), ridges, floor, share)
        of = functools.partial(
            _errors, statistics=self.statistics, ridges=ridges, weight=self.weight, spectrum=spectrum
        )
        return least(self._folded(of, _sums), ridges, floor, share)

    def left_out(self, ridge: float, weights: Float[Array, "g k q"]) -> float:
        """Mean squared leave-one-out residual: a pass, O(n·k²)."""
        factor, _ = factorise(self.statistics.gram, ridge)
        floor = len(self.features) * arrays.epsilon(factor)
        of = functools.partial(_left_out, inverse=inverse_factor(factor), weights=weights, floor=floor)
        return self._folded(of, operator.add) / (self.weight * self.targets.shape[1])

    def dual(self, ridge: float, weights: Float[Array, "g k q"]) -> Float[Array, "c n"]:
        """α = w_i(y − Ψw)/λ of every output: a pass."""
        return self._folded(functools.partial(_dual, ridge=ridge, weights=weights), _joined)


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """Features, targets and roots of the weights of a chunk, in float64 where the device has it, to ``of``."""

    of: Callable[..., Any]
    shared: bool

    def __call__(self, part: TangentFeatures, targets: Array, weights: Array | None = None) -> Any:
        x, y = arrays.in_float64(part.values), arrays.in_float64(targets)
        y = y[None, :, :] if self.shared or part.n_outputs != y.shape[1] else y.T[:, :, None]
        if weights is None:
            return self.of(x, y, None)
        root = arrays.namespace(x).sqrt(arrays.in_float64(weights))
        return self.of(x * root[None, :, None], y * root[None, :, None], root)


def _statistics(x: Array, y: Array, _root: Array | None) -> NormalEquations:
    return NormalEquations.of(x, y)


def _errors(x: Array, y: Array, _root: Array | None, **known: Any) -> Sequence[float]:
    return totals(primal_errors(x, y, **known)[0])


def _sums(left: Sequence[float], right: Sequence[float]) -> Sequence[float]:
    return [a + b for a, b in zip(left, right, strict=True)]


def _left_out(x: Array, y: Array, _root: Array | None, *, inverse: Array, weights: Array, floor: float) -> float:
    xp = arrays.namespace(x)
    scores = x @ inverse.mT
    slack = xp.clip(1 - xp.sum(scores * scores, axis=2), min=floor)
    return float(xp.sum(((y - x @ weights) / slack[:, :, None]) ** 2))


def _dual(x: Array, y: Array, root: Array | None, *, ridge: float, weights: Array) -> Array:
    found = (y - x @ weights) / ridge
    found = found if root is None else found * root[None, :, None]
    return found[:, :, 0] if found.shape[2] == 1 else found[0, :, :].T


def _joined(left: Array, right: Array) -> Array:
    return arrays.namespace(left).concat([left, right], axis=1)


def ridge_by_chunks(problem: ChunkedProblem, ridge: Ridge, jitter: Jitter | None) -> RidgeFit:
    """The regression: a pass for the statistics, one for λ by leave-one-out, and one for α.

    Raises
    ------
    ValueError
        As :func:`dntk.solve.ridge`; a ridge below the rounding of the products.
    """
    chosen = problem.chosen(ridge)
    found = solve_statistics(problem.statistics, ridge=chosen, jitter=jitter)
    total = chosen + found.report.jitter
    xp, dtype = arrays.namespace(found.weights), problem.features.sample.values.dtype
    by_set = found.weights.T[None, :, :] if problem.statistics.cross.shape[2] > 1 else found.weights[:, :, None]
    return RidgeFit(
        weights=xp.astype(found.weights, dtype, copy=False),
        dual=xp.astype(problem.dual(total, by_set), dtype, copy=False),
        ridge=chosen,
        left_out=functools.partial(problem.left_out, total, by_set),
        report=found.report,
        sketch=problem.features.sketch,
        shared=problem.shared,
    )
