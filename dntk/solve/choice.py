"""How λ is chosen: leave-one-out, generalised cross-validation or k folds, over a whole path of ridges."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, integer, keep, kind_of, positive_finite, require_kind, share
from dntk.ledger import count
from dntk.solve.folds import fold_errors
from dntk.solve.leave_one_out import dual_errors, least, primal_errors, totals
from dntk.solve.problem import RidgeProblem
from dntk.types import Array


@runtime_checkable
class RidgeChoice(Protocol):
    """A rule that chooses λ."""

    @property
    def grid(self) -> Sequence[float] | None:
        """Absolute candidates; ``None``: 41 values between 1e-8 and 1e2 times the kernel's mean diagonal."""

    @property
    def per_output(self) -> bool:
        """Whether every output gets a λ of its own."""

    def errors(self, problem: RidgeProblem, ridges: Sequence[float]) -> tuple[Float[Array, "g q r"], float]:
        """Estimated squared error of every ridge, and the ridge below which the estimate is rounding."""


@dataclasses.dataclass(frozen=True)
class LeaveOneOut:
    """Exact leave-one-out error, mean of ((y_i − f_i)/(1 − h_i))² (Allen 1974).

    Of a regression of all outputs together a point is left out with all its rows. One eigendecomposition of min(n, k)
    for the whole grid, and two passes over the features.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(40, 8))), rng.normal(size=(40, 1))
    >>> fit = dntk.solve.ridge(phi, y, ridge=dntk.solve.LeaveOneOut(grid=(0.1, 1.0, 10.0)))
    >>> errors = [dntk.solve.ridge(phi, y, ridge=r).loo_error for r in (0.1, 1.0, 10.0)]
    >>> fit.ridge == (0.1, 1.0, 10.0)[int(np.argmin(errors))]
    True
    """

    grid: Sequence[float] | None = None
    per_output: bool = False

    def __post_init__(self) -> None:
        check_grid(self.grid)

    def errors(self, problem: RidgeProblem, ridges: Sequence[float]) -> tuple[Float[Array, "g q r"], float]:
        """Mean squared left-out residuals."""
        if problem.dual:
            found, floor = dual_errors(problem.gram, problem.targets, ridges, problem.together)
            return found * (problem.points / problem.weight), floor
        return primal_errors(
            problem.features,
            problem.targets,
            problem.statistics,
            ridges,
            weight=problem.weight,
            together=problem.together,
        )


@dataclasses.dataclass(frozen=True)
class GeneralisedCrossValidation:
    """MSE/(1 − d_λ/n)² (Golub, Heath and Wahba 1979): leave-one-out with every leverage replaced by their mean.

    One pass over the features and one eigendecomposition of min(n, k); it does not depend on the basis of the points.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(40, 8))), rng.normal(size=(40, 1))
    >>> rule = dntk.solve.GeneralisedCrossValidation(grid=(0.1, 1.0, 10.0))
    >>> dntk.solve.ridge(phi, y, ridge=rule).ridge in rule.grid
    True
    """

    grid: Sequence[float] | None = None
    per_output: bool = False

    def __post_init__(self) -> None:
        check_grid(self.grid)

    def errors(self, problem: RidgeProblem, ridges: Sequence[float]) -> tuple[Float[Array, "g q r"], float]:
        """GCV scores."""
        xp = arrays.namespace(problem.features)
        if problem.dual:
            return _dual_gcv(problem, ridges)
        statistics = dataclasses.replace(problem.statistics, weight=problem.weight)
        spectrum = statistics.spectrum()
        row = xp.asarray(list(ridges), dtype=spectrum.values.dtype, device=arrays.device_of(spectrum.values))
        noise = problem.points * arrays.epsilon(spectrum.values) * float(xp.max(spectrum.values))
        return xp.permute_dims(spectrum.gcv(row), (1, 2, 0)), max(statistics.rounding_floor, noise)


@dataclasses.dataclass(frozen=True)
class KFold:
    """Mean squared error on folds that the fit has not seen; points are dealt to the folds at random.

    One eigendecomposition per fold for the whole grid. Statistics of the folds are added up, so that ΦᵀΦ costs one
    pass for all of them.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi = dntk.TangentFeatures(rng.normal(size=(40, 8)))
    >>> y = phi.values[0] @ rng.normal(size=(8, 1))  # no noise: the least ridge is best
    >>> rule = dntk.solve.KFold(grid=(0.01, 1.0, 100.0), folds=4, seed=1)
    >>> dntk.solve.ridge(phi, y, ridge=rule).ridge
    0.01
    """

    grid: Sequence[float] | None = None
    folds: int = 5
    seed: int = 0
    per_output: bool = False

    def __post_init__(self) -> None:
        check_grid(self.grid)
        keep(self, folds=integer("folds", self.folds, least=2), seed=check_seed(self.seed))

    def errors(self, problem: RidgeProblem, ridges: Sequence[float]) -> tuple[Float[Array, "g q r"], float]:
        """Mean squared residuals on the held-out folds; ``ValueError`` for fewer points than folds."""
        return fold_errors(problem, ridges, folds=self.folds, seed=self.seed)


@dataclasses.dataclass(frozen=True)
class LargestWithin:
    """The largest λ whose estimated error is within a share of the least that ``rule`` finds.

    Where the error hardly changes over decades of λ, as with a network's own outputs for targets, the least of it says
    nothing, while rounding and every bound on the predictor grow like 1/λ. In the spirit of the one-standard-error rule
    (Breiman, Friedman, Olshen and Stone 1984); ``share`` 0 is the rule itself, but for ties.

    Parameters
    ----------
    rule
        What estimates errors.
    share
        Of the least error, by which it may be exceeded.

    Raises
    ------
    TypeError, ValueError
        ``rule`` is none; ``share`` is negative or not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(40, 8))), rng.normal(size=(40, 1))
    >>> least = dntk.solve.ridge(phi, y, ridge=dntk.solve.LeaveOneOut())
    >>> near = dntk.solve.ridge(phi, y, ridge=dntk.solve.LargestWithin(share=0.05))
    >>> near.ridge >= least.ridge, near.loo_error <= 1.05 * least.loo_error
    (True, True)
    """

    rule: RidgeChoice = dataclasses.field(default_factory=LeaveOneOut)
    share: float = 0.01

    def __post_init__(self) -> None:
        require_kind("rule", self.rule, RidgeChoice, expected="a rule such as dntk.solve.LeaveOneOut()")
        keep(self, share=share("share", self.share, zero=True, remedy="0.01 for example"))

    @property
    def grid(self) -> Sequence[float] | None:
        """Candidates of the rule."""
        return self.rule.grid

    @property
    def per_output(self) -> bool:
        """Whether every output gets a λ of its own."""
        return self.rule.per_output

    def errors(self, problem: RidgeProblem, ridges: Sequence[float]) -> tuple[Float[Array, "g q r"], float]:
        """As the rule estimates them."""
        return self.rule.errors(problem, ridges)


@dataclasses.dataclass(frozen=True)
class PerOutput:
    """Fixed ridges, one for every output.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> dntk.solve.ridge(phi, y, ridge=dntk.solve.PerOutput((0.1, 10.0))).ridge
    (0.1, 10.0)
    """

    ridges: Sequence[float]

    def __post_init__(self) -> None:
        check_grid(self.ridges)


def choose(choice: RidgeChoice, problem: RidgeProblem) -> float | tuple[float, ...]:
    """λ of least estimated error, or one for every output; of :class:`LargestWithin` the largest that is near it.

    Where the best of the sound candidates is the smallest of them, and rounding in float32 hid smaller ones, the
    estimate is repeated in float64.
    """
    ridges = problem.ridges(choice.grid)
    errors, floor = choice.errors(problem, ridges)
    best = _chosen(choice, errors, ridges, floor)
    sound = [r for r in ridges if r >= floor]
    lowest = min(best) if isinstance(best, tuple) else best
    hidden = len(sound) < len(ridges) and (not sound or lowest == min(sound))
    if hidden and not problem.wide:
        errors, floor = choice.errors(problem.widened(), ridges)
    return _chosen(choice, errors, ridges, floor, choice.share if isinstance(choice, LargestWithin) else None)


def _chosen(
    choice: RidgeChoice, errors: Array, ridges: list[float], floor: float, share: float | None = None
) -> float | tuple[float, ...]:
    if not choice.per_output:
        return least(totals(errors), ridges, floor, share)
    g, q, _ = errors.shape
    each = [errors[i : i + 1, j : j + 1, :] for i in range(g) for j in range(q)]
    return tuple(least(totals(one), ridges, floor, share) for one in each)


def check_grid(grid: Any) -> None:
    """Raise ``ValueError`` for an empty grid or a candidate that is not positive."""
    if grid is None:
        return
    if isinstance(grid, str | bytes | Mapping) or not isinstance(grid, Iterable) or getattr(grid, "ndim", 1) != 1:
        msg = f"`ridge` is {kind_of(grid)}: expected a number, a sequence of them, 'loo' or a rule."
        raise TypeError(msg)
    values = list(grid)
    if not values:
        msg = "`ridge` is an empty grid: pass at least one positive number, or 'loo'."
        raise ValueError(msg)
    for value in values:
        check_ridge(value)


def check_ridge(ridge: Any) -> float:
    """λ as a number; ``ValueError`` unless it is positive and finite."""
    remedy = "use a small one such as 1e-6 times the kernel's mean diagonal, or 'loo'"
    return positive_finite("ridge", ridge, remedy=remedy)


def _dual_gcv(problem: RidgeProblem, ridges: Sequence[float]) -> tuple[Array, float]:
    """Residuals in the eigenvectors of K: y − f has components λ/(e + λ)·qᵀy, and n − d_λ = Σ λ/(e + λ)."""
    xp = arrays.namespace(problem.features)
    g, n, _ = problem.features.shape
    count(flops=g * 9 * n**3)
    values, vectors = xp.linalg.eigh(problem.gram)
    values = xp.clip(values, min=0)
    row = xp.asarray(list(ridges), dtype=values.dtype, device=arrays.device_of(values))
    kept = row / (values[:, :, None] + row)
    squares = ((vectors.mT @ problem.targets) ** 2).mT @ kept**2
    score = squares / problem.weight / (xp.sum(kept, axis=1) / n)[:, None, :] ** 2
    return score, n * arrays.epsilon(values) * float(xp.max(values))
