"""What a model remembers of the first inputs of every shape, so that they are looked at once."""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from dntk.models import batches
from dntk.types import Batch

T = TypeVar("T")

PROBES = 4
"""Inputs that are looked at before a result is believed."""

CROWD = 32
"""Inputs that are run together to see whether an output depends on how many there are."""


@dataclasses.dataclass(frozen=True, eq=False)
class Memo(Generic[T]):
    """What inputs have shown, by shape and dtype of one input, and how many inputs showed it."""

    found: dict[Hashable, tuple[int, T]] = dataclasses.field(default_factory=dict)

    def __call__(self, x: Batch, find: Callable[[], T], *, of: Hashable = (), enough: int = 2) -> T:
        """What ``find`` returned for inputs like ``x``.

        It is called again once more inputs come, until ``enough`` have been seen: one alone cannot show batch
        dependence. ``of`` tells apart what is remembered of the same inputs.
        """
        key, seen = (batches.signature(x), of), min(batches.count(x), PROBES)
        known = self.found.get(key)
        if known is None or known[0] < min(seen, enough):
            known = self.found[key] = (seen, find())
        return known[1]

    def replace(self, x: Batch, value: T, *, of: Hashable = ()) -> None:
        """Remember ``value`` for inputs like ``x``, however many were seen before."""
        self.found[batches.signature(x), of] = (PROBES, value)

    def forget(self, x: Batch, *, of: Hashable = ()) -> None:
        """Look again at the next inputs like ``x``: these have shown nothing."""
        self.found.pop((batches.signature(x), of), None)


LOOKS = 16
"""Times that inputs are looked at which have shown nothing, as of a layer whose gradient is zero for ever."""


@dataclasses.dataclass(frozen=True, eq=False)
class Looks:
    """How often inputs of every shape and dtype were looked at in vain."""

    made: dict[Hashable, int] = dataclasses.field(default_factory=dict)

    def once_more(self, x: Batch, *, of: Hashable = ()) -> bool:
        """Whether the next inputs like ``x`` are to be looked at, too; counts."""
        key = batches.signature(x), of
        self.made[key] = self.made.get(key, 0) + 1
        return self.made[key] < LOOKS


@dataclasses.dataclass(eq=False)
class OutputCount:
    """Number of outputs of a network that tells it only by running; ``latest`` is that of the inputs checked last."""

    memo: Memo[int] = dataclasses.field(default_factory=Memo)
    largest: dict[Hashable, int] = dataclasses.field(default_factory=dict)
    latest: int | None = None

    def look(self, x: Batch, examine: Callable[[], int], *, of: Hashable = ()) -> None:
        """Remember what ``examine`` returns for inputs like ``x``, and ``of`` what, as in :class:`Memo`."""
        # Once more where more inputs come than before, as dependence may begin with some number of them.
        count = batches.count(x)
        crowd = 0 if count <= PROBES else min(count, CROWD).bit_length()
        self.latest = self.memo(x, examine, of=(of, crowd))

    def look_again(self, x: Batch, require: Callable[[], None], *, of: Hashable = ()) -> None:
        """Run ``require`` on a batch that is larger than any that it, or :meth:`look`, was run on."""
        key, count = (batches.signature(x), of), batches.count(x)
        if count > self.largest.get(key, CROWD):
            require()
            self.largest[key] = count

    def known(self, network: str = "network", guess: int | None = None) -> int:
        """The number, or the ``guess`` where no input has told it; ``AttributeError`` without either."""
        count: Any = guess if self.latest is None else self.latest
        if count is None:
            msg = f"the number of outputs is not known before the {network} has seen an input: call model(x) once."
            raise AttributeError(msg)
        return count
