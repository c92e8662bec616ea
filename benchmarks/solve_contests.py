"""One measured row for every contestant: memory and figures in a process of its own, then paired times in another."""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import in_child, summary
from solve_gp_ways import GP
from solve_path_ways import PATH, STREAM
from solve_problems import ROWS, write_problem, write_stream
from solve_ridge_ways import RIDGE
from solve_ways import Way

ALL = (*RIDGE, *PATH, *GP, *STREAM)
_CHILD = Path(__file__).with_name("solve_child.py")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How often each is timed, and what it may take: seconds and mebibytes of one call."""

    repeats: int = 5
    once_above: float = 10.0
    seconds: float = 120.0
    mebibytes: int = 8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contest:
    """What is to be solved: ``ridge`` at one λ, a ``path`` of 50, a ``gp`` or a ``stream``."""

    kind: str
    points: int
    features: int = 1024
    targets: int = 10
    relative_ridge: float = 1e-4

    def write(self, folder: Path) -> None:
        """The problem, and a small one to warm up on."""
        size = {"features": self.features, "targets": 1 if self.kind == "gp" else self.targets}
        for place, points in ((folder, self.points), (folder / "warm", min(self.points, 2 * self.features))):
            place.mkdir(exist_ok=True)
            if self.kind == "stream":
                write_stream(place, points=max(points, 2 * ROWS), relative_ridge=self.relative_ridge, **size)
            else:
                relative = None if self.kind == "gp" else self.relative_ridge
                write_problem(place, points=points, relative_ridge=relative, **size)

    @property
    def operations(self) -> int:
        """2nk² of the Gram matrix, counted as a general product."""
        return 2 * self.points * self.features**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one contestant, or why it was not.

    ``share``: operations of the Gram matrix a second, as a share of the rate of products in the same process.
    ``figures``: errors and likelihoods.
    """

    contest: str
    points: int
    name: str
    seconds: list[float] = dataclasses.field(default_factory=list)
    peak_mib: float | None = None
    share: float | None = None
    product_rate: float | None = None
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    why_not: str | None = None

    @property
    def median_s(self) -> float | None:
        """Median of the times."""
        return summary(self.seconds)["median_s"] if self.seconds else None


def way_of(name: str) -> Way:
    """The way of a name.

    Raises
    ------
    ValueError
        There is none.
    """
    for way in ALL:
        if way.name == name:
            return way
    msg = f"`name`={name!r}: expected one of {', '.join(way.name for way in ALL)}."
    raise ValueError(msg)


def chosen(words: Sequence[str] | None) -> list[Way]:
    """Ways whose name starts with one of the words, and dntk's; without words all.

    Raises
    ------
    ValueError
        A word begins no name.
    """
    for word in words or ():
        if not any(way.name.startswith(word) for way in ALL):
            msg = f"`ways`: {word!r} begins none of {', '.join(way.name for way in ALL)}."
            raise ValueError(msg)
    return [way for way in ALL if way.name.startswith(("dntk", *words) if words else "")]


def measured(contest: Contest, ways: Sequence[Way], limits: Limits) -> list[Row]:
    """Measure every way that takes part."""
    with tempfile.TemporaryDirectory(prefix="dntk-solve-") as name:
        folder = Path(name)
        contest.write(folder)
        rows = [_admitted(contest, way, folder, limits) for way in ways if contest.kind in way.contests]
        fast = [row.name for row in rows if row.seconds and row.seconds[0] <= limits.once_above]
        command = [sys.executable, str(_CHILD), "time", contest.kind, name, str(limits.repeats), *fast]
        # One call to warm up, and again as many as fit in what the slowest may take.
        found = in_child(command, time_limit=limits.seconds + limits.once_above * (limits.repeats + 1) * len(fast))
    if "why_not" in found:
        print(f"  paired times: {found['why_not']}; each row has the time of its first call", file=sys.stderr)
    return [_timed(row, contest, found) for row in rows]


def _admitted(contest: Contest, way: Way, folder: Path, limits: Limits) -> Row:
    """A row with memory, figures and the time of the first call, if the limits allow it."""
    row = Row(contest=contest.kind, points=contest.points, name=way.name, why_not=way.why_not())
    if row.why_not:
        return row
    command = [sys.executable, str(_CHILD), "memory", contest.kind, str(folder), way.name, str(limits.mebibytes)]
    found = in_child(command, time_limit=limits.seconds)
    print(
        f"  {way.name}: {found.get('why_not') or format(found['seconds'], '.2f') + ' s'}", file=sys.stderr, flush=True
    )
    if "why_not" in found:
        return dataclasses.replace(row, why_not=found["why_not"])
    return dataclasses.replace(row, peak_mib=found["peak_mib"], seconds=[found["seconds"]], figures=found["figures"])


def _timed(row: Row, contest: Contest, found: dict[str, Any]) -> Row:
    """The row with paired times, or that of the first call where there are none."""
    seconds = found.get("seconds", {}).get(row.name) or row.seconds
    rate = found.get("product_rate")
    formed = row.figures and contest.kind in ("ridge", "stream")
    share = contest.operations / summary(seconds)["median_s"] / rate if formed and seconds and rate else None
    return dataclasses.replace(row, seconds=seconds, share=share, product_rate=rate)
