"""How λ is given: a number, a rule, or a convenience form of one; and what it comes to for a problem."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, cast

from jaxtyping import Float

from dntk._checks import keep, positive_finite, real, require_kind
from dntk.solve.choice import LeaveOneOut, PerOutput, RidgeChoice, check_grid, check_ridge, choose
from dntk.solve.problem import RidgeProblem
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class Relative:
    """λ in units of the kernel's mean diagonal, tr K̄/n: the same rule for networks of any scale.

    Examples
    --------
    >>> phi, y = dntk.TangentFeatures(2 * np.eye(4)), np.ones((4, 1))  # mean diagonal 4
    >>> dntk.solve.ridge(phi, y, ridge=dntk.solve.Relative(0.25)).ridge
    1.0
    """

    share: float

    def __post_init__(self) -> None:
        keep(self, share=positive_finite("share", self.share, remedy="0.1 for example"))

    def of(self, problem: RidgeProblem) -> float:
        """λ; ``ValueError`` where all features are zero."""
        return problem.mean_diagonal * self.share


Ridge: TypeAlias = float | Literal["loo"] | Sequence[float] | RidgeChoice | PerOutput | Relative


def rule_of(ridge: Ridge) -> float | RidgeChoice | PerOutput | Relative:
    """A number or a rule, from the convenience forms."""
    if isinstance(ridge, str):
        if ridge != "loo":
            msg = (
                f"`ridge`={ridge!r}: expected a positive number, a sequence of them, 'loo', or a rule such as "
                "dntk.solve.GeneralisedCrossValidation()."
            )
            raise ValueError(msg)
        return LeaveOneOut()
    if ridge is None or isinstance(ridge, bool) or real(ridge) is not None:
        return check_ridge(ridge)
    if isinstance(ridge, type):
        require_kind("ridge", ridge, RidgeChoice, expected="a number, a sequence of them, 'loo' or a rule")
    if isinstance(ridge, PerOutput | RidgeChoice | Relative):
        return ridge
    check_grid(ridge)
    return LeaveOneOut([float(value) for value in cast(Sequence[float], ridge)])


def resolve(ridge: Ridge, problem: RidgeProblem) -> float | tuple[float, ...]:
    """λ for a problem, or one for each of its outputs."""
    rule = rule_of(ridge)
    if isinstance(rule, float):
        return rule
    if isinstance(rule, Relative):
        return rule.of(problem)
    if not isinstance(rule, PerOutput):
        return choose(rule, problem)
    if len(rule.ridges) != problem.outputs:
        msg = f"`ridge` has {len(rule.ridges)} values for {problem.outputs} outputs: pass one for each."
        raise ValueError(msg)
    return tuple(float(value) for value in rule.ridges)


def one_ridge(ridge: Ridge, problem: RidgeProblem) -> float:
    """λ for a problem, one for all outputs; ``ValueError`` for a rule that gives each its own."""
    chosen = resolve(ridge, problem)
    if isinstance(chosen, tuple):
        msg = f"`ridge`={ridge!r} gives every output its own λ, but here one for all is needed."
        raise ValueError(msg)
    return chosen


def feature_ridge(ridge: Ridge, features: Float[Array, "c n k"], targets: Float[Array, "n c"]) -> float:
    """λ for a regression on features, one for all outputs."""
    return one_ridge(ridge, RidgeProblem.of(features, targets))


def resolve_ridge(ridge: Ridge, choose: Callable[[Sequence[float] | None], float]) -> float:
    """λ as a positive number; ``choose`` finds it on a grid, or on the default one, by leave-one-out."""
    rule = rule_of(ridge)
    if isinstance(rule, float):
        return rule
    if not isinstance(rule, LeaveOneOut) or rule.per_output:
        msg = f"`ridge`={ridge!r}: expected a positive number, a grid, or 'loo', chosen for all outputs together."
        raise ValueError(msg)
    return choose(rule.grid)
