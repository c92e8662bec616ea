"""Costs of much from the measured cost of a little.

Work on points is a line in their number: two numbers of points are run, and passes, rows and operations follow exactly.
Dense algebra has operations that are a polynomial of degree three in its sizes, without constant: where it is too large
to be run, three smaller sizes give it, and the seconds are those of the largest of them, per operation.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dntk.backend import backend_of
from dntk.ledger import COLUMNS, Ledger, LedgerRecorder, StageCost
from dntk.models import batches
from dntk.models.nests import is_array
from dntk.types import Batch, Inputs

SECONDS = 0.8
"""That one measured batch takes, about."""
FEW = 2
"""Points of the smaller batch; one alone may go another way than several."""
AGAIN = 0.25
"""Seconds up to which something is run twice, and the second run counts: the first may compile, and pays for memory."""
_STEPS = 3
"""Measurements of more and more points."""
_SLOW = 1e9
"""Operations a second that algebra reaches everywhere."""
_LONG = 10.0
"""Seconds from which on nothing is run twice."""


def recorded(run: Callable[[], object], name: str = "") -> StageCost:
    """What a call costs."""
    recorder = LedgerRecorder()
    with recorder.stage(name):
        made: Any = run()
        if is_array(made):
            backend_of(made).synchronize(made)
    return recorder.ledger()[name]


def settled(run: Callable[[], object], *, below: float = AGAIN) -> StageCost:
    """What a call costs once all is compiled and looked at: the second run, unless that would take long.

    It is made where the first took fewer seconds than ``below``, or more than its operations can take.
    """
    first = recorded(run)
    other_things = first.flops < _SLOW * first.seconds and first.seconds < _LONG
    return recorded(run) if first.seconds < below or other_things else first


def added(name: str, *costs: StageCost) -> StageCost:
    """The sum of some costs, under a name."""
    return dataclasses.replace(Ledger(stages=costs).total(), stage=name)


def along(one: tuple[float, StageCost], other: tuple[float, StageCost], at: float) -> StageCost:
    """What the line through two costs says; seconds never fall."""
    (a, first), (b, second) = one, other
    found: dict[str, Any] = {}
    for column in COLUMNS:
        low, high = getattr(first, column), getattr(second, column)
        slope = max(0, high - low) / (b - a)
        value = low + slope * (at - a)
        found[column] = value if column == "seconds" else round(value)
    return StageCost(stage="", **found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerPoint:
    """What so many points cost, from two measured numbers of them (one, where there are no more); ``n`` are to come.

    ``batch`` are taken at once. ``least`` are the seconds of the fewest points that were run.
    """

    few: tuple[int, StageCost]
    more: tuple[int, StageCost]
    batch: int
    least: float = math.inf

    def at(self, n: int) -> StageCost:
        """Cost of n points."""
        (a, first), (b, second) = self.few, self.more
        if n == 0:
            return StageCost(stage="")
        if a == b:
            return along((0, StageCost(stage="")), self.few, n)
        share = second.seconds / b
        each = min(share, max(0.0, (second.seconds - first.seconds) / (b - a)))
        # What a batch begins with takes no more than a few points do; two times of a little are not that exact.
        begins = min(b * (share - each), self.least, second.seconds)
        seconds = n * (second.seconds - begins) / b + -(-n // self.batch) * begins
        return dataclasses.replace(along(self.few, self.more, n), flops=self._operations(n), seconds=seconds)

    def _operations(self, n: int) -> int:
        """Batch by batch, as what a batch begins with is done again for the next."""
        whole, rest = divmod(n, self.batch)
        each = along(self.few, self.more, self.batch).flops
        return whole * each + (along(self.few, self.more, rest).flops if rest else 0)

    def basis(self, n: int) -> str:
        """In words."""
        measured = self.more[0]
        return f"{measured:,} measured, {n:,} extrapolated" if n > measured else f"{measured:,} measured"


def per_point(run: Callable[[Batch], object], x: Inputs, *, batch: int) -> PerPoint:
    """What ``run`` costs for points of ``x``, as measured on a few, and on as many as take about a second."""

    def cost(points: int) -> StageCost:
        return recorded(lambda: run(batches.first(x, points)))

    few = min(FEW, batches.count(x))
    cost(few)  # what is looked at once, and compiled
    least = cost(few)
    before, more = measurements(cost, (few, least), min(batches.count(x), batch))
    return PerPoint(few=before, more=more, batch=batch, least=least.seconds)


def measurements(
    cost: Callable[[int], StageCost], first: tuple[int, StageCost], most: int
) -> tuple[tuple[int, StageCost], ...]:
    """Points and cost of two runs: of more and more points until one takes about a second, and of half as many or less.

    A few points, the ``first`` that were run, take more than their part, so that what they take says of fewer than
    there is time for.
    """
    found = [first]
    for _ in range(_STEPS):
        points, known = found[-1]
        reach = min(most, int(points * SECONDS / max(known.seconds, 1e-9)))
        if reach <= points:
            break
        found.append((reach, cost(reach)))
    points, known = found[-1]
    before = next((each for each in reversed(found) if 2 * each[0] <= points), found[0])
    share = points / before[0]
    other_things = known.flops > 1.02 * share * before[1].flops  # looks at what a larger batch is the first to show
    slow = known.seconds > 2 * share * before[1].seconds
    if first[0] < points and known.seconds < _LONG and (other_things or slow or known.seconds < AGAIN):
        known = cost(points)
    return before, (points, known)


def per_output(cost: Callable[[int], StageCost], outputs: int, measured: int = 2) -> StageCost:
    """What so many outputs cost, from one and from two of them, or from all where so many are ``measured``.

    Seconds are those of two, per operation: the difference of two times, nine times over, would be nine times as wrong.
    """
    if outputs <= measured:
        return cost(outputs)
    one, two = cost(1), cost(2)
    found = along((1, one), (2, two), outputs)
    return dataclasses.replace(found, seconds=two.seconds * (found.flops / two.flops if two.flops else outputs / 2))


def grown(prepare: Callable[[float], Callable[[], object]], reach: float) -> StageCost:
    """What something costs whose sizes are scaled by a share up to ``reach`` where it cannot be run as it is.

    ``prepare`` makes a call for a share of all sizes; only the call is measured.
    """
    if reach >= 1:
        return settled(prepare(1.0))
    shares = [reach, reach / 2, reach / 4]
    costs = [settled(prepare(share)) for share in shares]
    powers = np.asarray([[share, share**2, share**3] for share in shares])
    found: dict[str, Any] = {}
    for column in COLUMNS:
        known = np.asarray([getattr(cost, column) for cost in costs], dtype=np.float64)
        # No less than in proportion, whatever rounding of the sizes does to the polynomial.
        found[column] = max(float(np.sum(np.linalg.solve(powers, known))), float(known[0]) / reach)
    rate = found["flops"] / costs[0].flops if costs[0].flops else reach**-2
    counts = {column: round(found[column]) for column in COLUMNS if column != "seconds"}
    return StageCost(stage="", **counts, seconds=costs[0].seconds * rate)
