"""Ridge regression on features that are read from the disk chunk by chunk: passes over them, O(k²) of memory."""

import dataclasses
import functools
from collections.abc import Iterator

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.features import StoredFeatures
from dntk.solve.choice import GeneralisedCrossValidation, LeaveOneOut
from dntk.solve.conditioning import Jitter, factorise, inverse_factor
from dntk.solve.leave_one_out import DEFAULT_GRID, least, primal_errors, totals
from dntk.solve.normal_equations import NormalEquations
from dntk.solve.out_of_core import solve_statistics
from dntk.solve.ridge_fit import RidgeFit
from dntk.solve.rules import Relative, Ridge, rule_of
from dntk.types import Array


def goes_by_chunks(features: object, ridge: Ridge) -> bool:
    """Whether a regression is solved here: more stored points than features, and one λ that needs no folds."""
    rule = rule_of(ridge)
    one = isinstance(rule, float | Relative) or (
        isinstance(rule, LeaveOneOut | GeneralisedCrossValidation) and not rule.per_output
    )
    return isinstance(features, StoredFeatures) and len(features) > features.dim and one


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChunkedProblem:
    """Stored features with their targets (n, c), shared by all outputs or not, and weights of the points.

    Products are formed in float64 where the device has it.
    """

    features: StoredFeatures
    targets: Float[Array, "n c"]
    shared: bool = False
    weights: Float[Array, " n"] | None = None

    def chunks(self) -> Iterator[tuple[Float[Array, "g b k"], Float[Array, "g b q"], Array | None]]:
        """Features, targets and roots of the weights of some points after the other; rows scaled by the roots."""
        with task("regression", total=len(self.features), unit="points") as bar:
            for start, part in self.features.chunks():
                stop = start + len(part)
                x, y = arrays.in_float64(part.values), arrays.in_float64(self.targets[start:stop, :])
                y = y[None, :, :] if self.shared or part.n_outputs != y.shape[1] else y.T[:, :, None]
                if self.weights is None:
                    yield x, y, None
                else:
                    root = arrays.namespace(x).sqrt(arrays.in_float64(self.weights[start:stop]))
                    yield x * root[None, :, None], y * root[None, :, None], root
                bar.advance(stop - start)

    @property
    def weight(self) -> float:
        """Sum of the weights of the points."""
        if self.weights is None:
            return float(len(self.features))
        return float(arrays.namespace(self.weights).sum(arrays.in_float64(self.weights)))

    @functools.cached_property
    def statistics(self) -> NormalEquations:
        """ΦᵀΦ, Φᵀy and Σy² of the scaled rows: one pass."""
        total: NormalEquations | None = None
        for x, y, _ in self.chunks():
            total = NormalEquations.of(x, y) if total is None else total.update(x, y)
        assert total is not None
        return dataclasses.replace(total, weight=self.weight)

    def chosen(self, ridge: Ridge) -> float:
        """λ: a number, or of least leave-one-out error (a pass) or GCV score (none) on its grid."""
        rule = rule_of(ridge)
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
            return least(totals(xp.permute_dims(spectrum.gcv(row), (1, 2, 0))), ridges, floor)
        errors = [0.0] * len(ridges)
        for x, y, _ in self.chunks():
            part, _ = primal_errors(x, y, self.statistics, ridges, weight=self.weight, spectrum=spectrum)
            errors = [total + error for total, error in zip(errors, totals(part), strict=True)]
        return least(errors, ridges, floor)

    def left_out(self, ridge: float, weights: Float[Array, "g k q"]) -> float:
        """Mean squared leave-one-out residual: a pass, O(n·k²)."""
        factor, _ = factorise(self.statistics.gram, ridge)
        inverse, total = inverse_factor(factor), 0.0
        for x, y, _ in self.chunks():
            xp = arrays.namespace(x)
            scores = x @ inverse.mT
            slack = xp.clip(1 - xp.sum(scores * scores, axis=2), min=len(self.features) * arrays.epsilon(factor))
            total += float(xp.sum(((y - x @ weights) / slack[:, :, None]) ** 2))
        return total / (self.weight * self.targets.shape[1])

    def dual(self, ridge: float, weights: Float[Array, "g k q"]) -> Float[Array, "c n"]:
        """α = w_i(y − Ψw)/λ of every output: a pass."""
        pieces = []
        for x, y, root in self.chunks():
            found = (y - x @ weights) / ridge
            found = found if root is None else found * root[None, :, None]
            pieces.append(found[:, :, 0] if found.shape[2] == 1 else found[0, :, :].T)
        return arrays.namespace(*pieces).concat(pieces, axis=1)


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
