"""What a call will cost, said before it runs: a value that is compared with the ledger stage by stage."""

import dataclasses

from dntk._text import printable
from dntk.ledger import Ledger, StageCost

_HEADER = ("stage", "forward", "backward", "rows", "GFLOP", "MiB kept", "MiB needed", "MiB on disk", "seconds", "from")
_MIB = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """What one stage will cost.

    Parameters
    ----------
    cost
        As the ledger will have it.
    memory
        Bytes that the stage holds at most, beside the network and its inputs: an estimate from sizes.
    disk
        Bytes that it leaves on the disk, where it keeps something there.
    basis
        What was measured, and from how much the rest is extrapolated.
    """

    cost: StageCost
    memory: int = 0
    disk: int = 0
    basis: str = ""

    @property
    def stage(self) -> str:
        """Its name."""
        return self.cost.stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Costs of a call that has not run; ``print`` shows them as a table.

    Parameters
    ----------
    call
        What is planned, in words.
    stages
        The stages of the call, in order.
    beside
        What is no part of the call: the exact kernel of the same points, and what is made when it is first read.
    notes
        What was chosen where it was left open, and what the numbers do not hold.
    seconds
        That the plan took.
    """

    call: str
    stages: tuple[PlannedStage, ...]
    beside: tuple[PlannedStage, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def ledger(self) -> Ledger:
        """The ledger that is foreseen."""
        return Ledger(stages=tuple(stage.cost for stage in self.stages))

    def total(self) -> StageCost:
        """Sum over stages."""
        return self.ledger.total()

    @property
    def memory(self) -> int:
        """Bytes of the stage that needs most."""
        return max((stage.memory for stage in self.stages), default=0)

    @property
    def disk(self) -> int:
        """Bytes that all stages leave on the disk."""
        return sum(stage.disk for stage in self.stages)

    def __getitem__(self, stage: str) -> PlannedStage:
        """The stage called ``stage``, of the call or beside it."""
        every = (*self.stages, *self.beside)
        for found in every:
            if found.stage == stage:
                return found
        msg = f"no stage {stage!r} in the plan; it has: {', '.join(found.stage for found in every)}."
        raise KeyError(msg)

    @printable
    def __str__(self) -> str:
        """A table of the stages, their total, and what stands beside them."""
        total = PlannedStage(cost=self.total(), memory=self.memory, disk=self.disk)
        rows = [_HEADER, *map(_cells, self.stages)]
        if len(self.stages) > 1:
            rows.append(_cells(total))
        rows += map(_cells, self.beside)
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
        lines = [f"plan of {self.call}, made in {self.seconds:.2g} s"]
        lines += ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, *self.notes])


def _cells(stage: PlannedStage) -> tuple[str, ...]:
    cost = stage.cost
    return (
        cost.stage,
        f"{cost.forward_passes:,}",
        f"{cost.backward_passes:,}",
        f"{cost.jacobian_rows:,}",
        f"{cost.flops / 1e9:,.3g}" if cost.flops < 1e12 else f"{cost.flops / 1e9:,.0f}",
        f"{cost.nbytes / _MIB:,.1f}",
        f"{stage.memory / _MIB:,.1f}",
        f"{stage.disk / _MIB:,.1f}",
        f"{cost.seconds:,.3g}" if cost.seconds < 1000 else f"{cost.seconds:,.0f}",
        stage.basis,
    )


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Words to the left, numbers to the right."""
    last = len(row) - 1
    return [
        cell.ljust(width) if place in (0, last) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
