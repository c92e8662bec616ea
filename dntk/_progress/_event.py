"""What is said of a task that runs."""

import dataclasses

from dntk._text import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgressEvent:
    """How far one task of a call is.

    Parameters
    ----------
    task
        Its name, such as ``"tangent features"``.
    parents
        Names of the tasks that it is part of, the call itself first; empty for the call.
    done, total
        In ``unit``; ``total`` is None where it is not known.
    unit
        What is counted: points, steps, products, stages, ….
    seconds
        Since the task began.
    skipped
        Of ``done``, what an earlier run had done; it does not count in the rate.
    """

    task: str
    parents: tuple[str, ...]
    done: int
    total: int | None
    unit: str
    seconds: float
    skipped: int = 0

    @property
    def rate(self) -> float:
        """Units a second; 0 before the first."""
        return (self.done - self.skipped) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None where nothing is done yet, or the total is not known."""
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate

    @printable
    def __str__(self) -> str:
        """``fit: tangent features 120 of 500 points, 40 points/s, 9.5 s left``."""
        total = "" if self.total is None else f" of {self.total:,}"
        text = f"{': '.join((*self.parents, self.task))} {self.done:,}{total} {self.unit}"
        if self.rate > 0:
            text += f", {self.rate:.3g} {self.unit}/s"
        return text if self.seconds_left is None else f"{text}, {self.seconds_left:.3g} s left"
