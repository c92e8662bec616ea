"""The work on a folder: which points a chunk is made of, and how."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from dntk._progress import task
from dntk.ledger import LedgerRecorder
from dntk.models import batches
from dntk.stores.folder import StoreFolder
from dntk.stores.shards import Shard
from dntk.types import Array, Batch, Inputs

Span: TypeAlias = tuple[int, int, int]
"""Points of one of the sets of points: which set, the first, and the one after the last."""

Reader: TypeAlias = Callable[[int, int, int], Batch]
"""The points of a span."""


@runtime_checkable
class Job(Protocol):
    """The chunks of one folder; a value that can be sent to another process."""

    @property
    def folder(self) -> StoreFolder:
        """Where they go."""

    @property
    def sides(self) -> tuple[Inputs, ...]:
        """The sets of points that they are made of."""

    @property
    def model(self) -> Any:
        """The network."""

    def spans(self, number: int) -> tuple[Span, ...]:
        """The points that a chunk is made of."""

    def before(self, number: int) -> int | None:
        """A chunk that this one is copied from where it is there."""

    def make(self, number: int, read: Reader) -> tuple[Array, str]:
        """Values of a chunk, and a digest of its points."""

    def data(self, number: int, read: Reader) -> str:
        """That digest alone."""


@dataclasses.dataclass(frozen=True)
class Made:
    """A chunk that is there, and what it cost; seconds are those of an earlier run that made it."""

    number: int
    cost: Mapping[str, Any]


def reader_of(sides: tuple[Inputs, ...]) -> Reader:
    """Reads points of sets of points."""
    return lambda side, start, stop: batches.span(sides[side], start, stop)


def made(job: Job, number: int, read: Reader) -> Made:
    """One chunk, as the shard that holds it alone makes it; one that is there is compared with its record and points.

    Raises
    ------
    dntk.StoreError
        The chunk was made of other points, or is damaged.
    OSError
        The disk is full or not writable.
    """
    folder, recorder = job.folder, LedgerRecorder()
    shard = Shard(number, len(folder.layout))
    with recorder.stage("chunk") as cost, task("chunk", total=1, unit="chunks") as bar:
        fresh = folder.fill(shard, lambda one: job.make(one, read), lambda one: job.data(one, read), bar)
    if not fresh:
        folder.confirm(number)
    return Made(number, dataclasses.asdict(cost))
