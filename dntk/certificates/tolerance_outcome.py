"""Whether a fit met the tolerance that was asked of it, and which stage stopped it where it did not."""

import dataclasses
from typing import Any

from dntk._text import printable
from dntk.bounds import Bound, trust_in


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageShare:
    """What one stage lost, the size that was found for it, and what would help where it stopped the search.

    ``loss`` of ``"data"`` and ``"gradients"`` are estimates of what each adds to the one loss of the outcome; that of
    ``"sketch"`` is what it is expected to change the kernel by, in the Frobenius norm.
    """

    stage: str
    loss: float
    size: int
    measure: str
    remedy: str = ""

    @property
    def met(self) -> bool:
        """Whether it did not stop the search."""
        return not self.remedy

    @printable
    def __str__(self) -> str:
        text = f"{self.stage} ({self.loss:.3g} {self.measure})"
        return text if self.met else f"{text}: {self.remedy}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToleranceOutcome:
    """What a search for the smallest sizes within a tolerance found.

    Parameters
    ----------
    tolerance
        Largest share of the trace that may be lost, and largest relative error of the sketched kernel.
    loss
        Upper end of the one quantity that is promised: the share of the trace of K̄, the mean kernel of all outputs, as
        sketched, over all training points, that lies outside the span that was kept. Deterministic where all points
        were read; else with its confidence, over the sample. Nothing is said of points that were not given.
    mean
        Estimate of it; the same number where all points were read.
    shares
        Every stage that was looked at, in order: its size is m points, k features or s gradients.
    """

    tolerance: float
    loss: Bound
    mean: float
    shares: tuple[StageShare, ...]

    @property
    def met(self) -> bool:
        """Whether the upper end of the loss is within the tolerance, and what the sketch is expected to change is."""
        return not self.stopped_by

    @property
    def stopped_by(self) -> tuple[StageShare, ...]:
        """The stages that lost more than they may, in order."""
        return tuple(share for share in self.shares if not share.met)

    @printable
    def __str__(self) -> str:
        """A verdict in words."""
        sizes = ", ".join(f"{share.size} {_UNITS[share.stage]}" for share in self.shares)
        lost = (
            f"at most {float(self.loss):.3g} of the trace of all training points lost, {trust_in(self.loss)} "
            f"(estimate {self.mean:.3g}; {self.loss.theorem})"
        )
        sketch = "".join(f"; {share}" for share in self.shares if share.stage == "sketch" and share.loss and share.met)
        if self.met:
            return f"{self.tolerance:.3g} met by {sizes}: {lost}{sketch}"
        stopped = "; ".join(str(share) for share in self.stopped_by)
        return f"{self.tolerance:.3g} not met; stopped by: {stopped}; with {sizes} {lost}{sketch}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings; see :meth:`from_dict`."""
        return {
            "tolerance": self.tolerance,
            "loss": self.loss.to_dict(),
            "mean": self.mean,
            "shares": [dataclasses.asdict(share) for share in self.shares],
        }

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> "ToleranceOutcome":
        """What :meth:`to_dict` described."""
        return ToleranceOutcome(
            tolerance=float(stored["tolerance"]),
            loss=Bound(**stored["loss"]),
            mean=float(stored["mean"]),
            shares=tuple(StageShare(**share) for share in stored["shares"]),
        )


_UNITS = {"data": "points", "sketch": "features", "gradients": "gradients"}
