"""What a page is asked to show, checked."""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any

from jaxtyping import Integer

from dntk._checks import is_integer, require_kind
from dntk._foreign import require_plain_array
from dntk._target_checks import check_classes, check_labels
from dntk.estimator.state import FittedState
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.plan import Plan
from dntk.probabilities import Link
from dntk.types import Array, Inputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """The arguments of :meth:`dntk.Fit.report` that say what its page shows."""

    x: Inputs | None
    y: Integer[Array, " n"] | None
    points: Inputs | None
    targets: Array | None
    queries: Sequence[int] | None
    classes: Sequence[str] | None
    image_shape: tuple[int, ...] | None
    plan: Plan | None
    link: Link | None

    def checked(self, model: Model, state: FittedState) -> "Asked":
        """The same with inputs that the model takes.

        Raises
        ------
        TypeError, ValueError
            Inputs, labels, queries, names or a plan that do not go together; the argument is named.
        """
        require_kind("plan", self.plan, Plan | None, expected="what DistilledNTK(...).plan(x) returns, or None")
        require_kind("link", self.link, Link | None, expected="Probit(...) or MonteCarlo(...), or None")
        self._check_pairs()
        x = None if self.x is None else checked_inputs(model, self.x)
        points = None if self.points is None else checked_inputs(model, self.points, "points")
        if points is not None and batches.count(points) != state.losses.points:
            msg = f"`points` has {batches.count(points)} inputs: pass the {state.losses.points} that were fitted."
            raise ValueError(msg)
        if self.y is not None:
            require_plain_array("y", self.y)
            check_labels("y", self.y, points=batches.count(x))
            check_classes("y", self.y, classes=max(2, model.n_outputs))
        found: dict[str, Any] = {"x": x, "points": points}
        if self.queries is not None:
            _require_separate(state)
            found["queries"] = tuple(_position(query, batches.count(x)) for query in self.queries)
        if self.classes is not None:
            found["classes"] = _names(self.classes, max(2, model.n_outputs))
        return dataclasses.replace(self, **found)

    def _check_pairs(self) -> None:
        """Raise where an argument needs another that is not there."""
        for name, needs in (("y", "x"), ("link", "y"), ("targets", "points"), ("queries", "x"), ("queries", "points")):
            if getattr(self, name) is not None and getattr(self, needs) is None:
                msg = f"`{name}` is given without `{needs}`: pass both, or neither."
                raise ValueError(msg)


def _require_separate(state: FittedState) -> None:
    """Raise where influences of points are asked of a fit that has none for single points."""
    if state.is_joint:
        msg = (
            "`queries` are explained by separate regressions, and this fit has one for all outputs: leave them out, or "
            "fit with regression=dntk.solve.Separate()."
        )
        raise ValueError(msg)


def _position(query: Any, points: int) -> int:
    if not is_integer(query) or not 0 <= operator.index(query) < points:
        msg = f"`queries` has {query!r}: expected positions in `x`, integers from 0 to {points - 1}."
        raise ValueError(msg)
    return operator.index(query)


def _names(classes: Any, count: int) -> tuple[str, ...]:
    names = tuple(classes) if not isinstance(classes, str) else ()
    if len(names) != count or not all(isinstance(name, str) for name in names):
        msg = f"`classes` is {classes!r:.80}: expected the names of {count} classes, a string each."
        raise ValueError(msg)
    return names
