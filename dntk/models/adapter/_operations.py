"""Operations of a network's passes: what an adapter knows of them, and puts into the ledger."""

import dataclasses
from collections.abc import Callable, Hashable

from dntk.ledger import count, recording
from dntk.models import batches
from dntk.models.adapter._memo import Memo
from dntk.types import Batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operations:
    """Operations that one input takes: ``forward``, and ``backward`` for every functional (or tangent) more."""

    forward: int
    backward: int = 0

    @classmethod
    def measured(cls, of: Callable[[int], int]) -> "Operations":
        """For several functionals, from what ``of`` counts for one input, with two functionals and with three."""
        two, three = of(2), of(3)
        return cls(forward=3 * two - 2 * three, backward=three - two)

    def count(self, inputs: int, functionals: int = 0) -> None:
        """Put a pass of ``inputs`` into the ledger, with ``functionals`` backward passes of each."""
        count(
            forward_passes=inputs,
            backward_passes=inputs * functionals,
            flops=inputs * (self.forward + functionals * self.backward),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Passes:
    """Puts passes into the ledger, where one is kept, by what they take for one input of every shape; found once."""

    found: Memo[Operations] = dataclasses.field(default_factory=Memo)

    def forward(self, x: Batch, find: Callable[[], int]) -> None:
        """A forward pass of the inputs ``x``; ``find`` says what one input takes."""
        self._count(x, 0, "forward", lambda: Operations(forward=find()))

    def backward(self, x: Batch, functionals: int, find: Callable[[int], int], *, of: Hashable) -> None:
        """A forward pass of ``x`` and a backward pass of each functional, in the way ``of``.

        ``find`` says what one input takes with so many functionals. One alone may go another way than several.
        """
        if functionals == 1:
            self._count(x, 1, (of, "one"), lambda: Operations(forward=find(1)))
        else:
            self._count(x, functionals, of, lambda: Operations.measured(find))

    def back(self, x: Batch, find: Callable[[], int], *, of: Hashable) -> None:
        """A backward pass alone, in the way ``of``; ``find`` says what one input takes."""
        if recording():
            each = self.found(x, lambda: Operations(forward=0, backward=find()), of=("back", of), enough=1).backward
            count(backward_passes=batches.count(x), flops=batches.count(x) * each)

    def _count(self, x: Batch, functionals: int, of: Hashable, find: Callable[[], Operations]) -> None:
        if recording():
            self.found(x, find, of=of, enough=1).count(batches.count(x), functionals)
