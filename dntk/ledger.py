"""The cost ledger: Jacobian rows, floating-point operations, bytes and seconds, per stage.

Work is counted where it is done: inside a stage, networks, kernels, sketches and solvers call :func:`count`. Operations
are counted from the sizes of the products that are run (two per multiply-add), not measured by hardware counters. Every
pass of a network is among them, whatever asks for it: those for targets and for the inputs of a layer, those through
layers whose parameters are not differentiated, and the probes before a number is believed. What networks do element by
element (activations, norms, pooling) is not.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar

from dntk.arrays import itemsize
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageCost:
    """What one stage cost.

    ``jacobian_rows``: per-sample gradients of one output functional that were evaluated; ``forward_passes``: inputs
    that went through the network; ``backward_passes``: functionals of inputs that were pulled back, and tangents that
    were pushed forward; ``flops``: operations counted; ``nbytes``: bytes of what the stage keeps for the next;
    ``seconds``: wall clock. Probes, a few inputs for each network and shape, are counted in operations only.
    """

    stage: str
    jacobian_rows: int = 0
    forward_passes: int = 0
    backward_passes: int = 0
    flops: int = 0
    nbytes: int = 0
    seconds: float = 0.0


COLUMNS = tuple(field.name for field in dataclasses.fields(StageCost) if field.name != "stage")
"""What is known of a stage."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ledger:
    """Costs of the stages of a run, in order."""

    stages: tuple[StageCost, ...] = ()

    def total(self) -> StageCost:
        """Sum over stages."""
        return StageCost(
            stage="total",
            **{column: sum(getattr(cost, column) for cost in self.stages) for column in COLUMNS},
        )

    def __getitem__(self, stage: str) -> StageCost:
        """Cost of the stage called ``stage``."""
        for cost in self.stages:
            if cost.stage == stage:
                return cost
        msg = f"no stage {stage!r} in the ledger; it has: {', '.join(s.stage for s in self.stages)}."
        raise KeyError(msg)


class LedgerRecorder:
    """Collects stage costs while a run goes on; :meth:`ledger` is the result."""

    def __init__(self) -> None:
        self._stages: list[StageCost] = []

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator["_Counter"]:
        """Time a stage and attribute to it all that is counted inside, by other recorders' stages as well.

        Bytes kept are those of this stage alone.
        """
        counter = _Counter()
        token = _current.set(counter)
        start = time.perf_counter()
        try:
            yield counter
        finally:
            seconds = time.perf_counter() - start + counter.seconds
            _current.reset(token)
            count(**{**dataclasses.asdict(counter), "nbytes": 0})
            self._stages.append(StageCost(stage=name, **{**dataclasses.asdict(counter), "seconds": seconds}))

    def ledger(self) -> Ledger:
        """The costs so far."""
        return Ledger(stages=tuple(self._stages))


@dataclasses.dataclass
class _Counter:
    jacobian_rows: int = 0
    forward_passes: int = 0
    backward_passes: int = 0
    flops: int = 0
    nbytes: int = 0
    seconds: float = 0.0


_current: ContextVar[_Counter | None] = ContextVar("dntk_ledger", default=None)


@dataclasses.dataclass
class Spent:
    """What some part of a stage cost."""

    jacobian_rows: int = 0
    flops: int = 0
    seconds: float = 0.0


@contextlib.contextmanager
def spent() -> Iterator[Spent]:
    """What the block costs, known when it ends; rows and operations only inside a stage."""
    counter, cost, start = _current.get() or _Counter(), Spent(), time.perf_counter()
    rows, flops, restored = counter.jacobian_rows, counter.flops, counter.seconds
    yield cost
    cost.jacobian_rows, cost.flops = counter.jacobian_rows - rows, counter.flops - flops
    cost.seconds = time.perf_counter() - start + counter.seconds - restored


def count(
    *,
    jacobian_rows: int = 0,
    forward_passes: int = 0,
    backward_passes: int = 0,
    flops: int = 0,
    nbytes: int = 0,
    seconds: float = 0.0,
) -> None:
    """Add work to the stage that is being recorded, if any; ``seconds`` are those of an earlier run."""
    counter = _current.get()
    if counter is not None:
        counter.jacobian_rows += jacobian_rows
        counter.forward_passes += forward_passes
        counter.backward_passes += backward_passes
        counter.flops += flops
        counter.nbytes += nbytes
        counter.seconds += seconds


def count_product(left: Array, right: Array) -> None:
    """Add the matrix products ``left @ right``."""
    rows, inner = left.shape[-2:]
    stacks = max(math.prod(left.shape[:-2]), math.prod(right.shape[:-2]))
    count(flops=2 * stacks * rows * inner * right.shape[-1])


def recording() -> bool:
    """Whether a stage is being recorded: what costs time to count is not counted otherwise."""
    return _current.get() is not None


def nbytes_of(x: Array) -> int:
    """Bytes of an array."""
    return math.prod(x.shape) * itemsize(x)
