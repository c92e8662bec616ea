"""Whether a fit met the tolerance that was asked of it, and which stage stopped it where it did not."""

import dataclasses
from typing import Any

from dntk._text import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageShare:
    """What one stage lost, what it may lose, the size that was found for it, and what would help where it lost more."""

    stage: str
    loss: float
    allowed: float
    size: int
    measure: str
    remedy: str = ""

    @property
    def met(self) -> bool:
        """Whether it lost no more than it may."""
        return self.loss <= self.allowed

    @printable
    def __str__(self) -> str:
        text = f"{self.stage} ({self.loss:.3g} {self.measure}, at most {self.allowed:.3g} allowed)"
        return text if self.met else f"{text}: {self.remedy}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToleranceOutcome:
    """What a search for the smallest sizes within a tolerance found.

    Parameters
    ----------
    tolerance
        Largest share of the kernel's trace that points and gradients may lose together, and largest relative error of
        the sketched kernel.
    shares
        Every stage that was looked at, in order: its size is m points, k features or s gradients.
    """

    tolerance: float
    shares: tuple[StageShare, ...]

    @property
    def met(self) -> bool:
        """Whether every stage lost no more than it may."""
        return not self.stopped_by

    @property
    def stopped_by(self) -> tuple[StageShare, ...]:
        """The stages that lost more than they may, in order."""
        return tuple(share for share in self.shares if not share.met)

    @printable
    def __str__(self) -> str:
        """A verdict in words."""
        sizes = ", ".join(f"{share.size} {_UNITS[share.stage]}" for share in self.shares)
        if self.met:
            return f"{self.tolerance:.3g} met by {sizes}"
        return f"{self.tolerance:.3g} not met; stopped by: {'; '.join(str(share) for share in self.stopped_by)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings; see :meth:`from_dict`."""
        return {"tolerance": self.tolerance, "shares": [dataclasses.asdict(share) for share in self.shares]}

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> "ToleranceOutcome":
        """What :meth:`to_dict` described."""
        shares = tuple(StageShare(**share) for share in stored["shares"])
        return ToleranceOutcome(tolerance=float(stored["tolerance"]), shares=shares)


_UNITS = {"data": "points", "sketch": "features", "gradients": "gradients"}
