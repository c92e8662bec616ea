"""Features on the disk with their targets."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from dntk.features.in_memory import TangentFeatures
from dntk.types import Array

P = TypeVar("P")


@dataclasses.dataclass(frozen=True, eq=False)
class PairedFeatures:
    """Stored features and targets (n, C) or (T, n, C), chunk by chunk; from ``phi.paired(targets)``."""

    features: Any
    targets: Array

    def __iter__(self) -> Iterator[tuple[TangentFeatures, Array]]:
        """Features and targets of one chunk after the other."""
        for start, part in self.features.chunks():
            yield part, rows_of(self.targets, start, start + len(part))

    def folded(self, leaf: Callable[[TangentFeatures, Array], P], merge: Callable[[P, P], P], *, name: str) -> P:
        """See :meth:`StoredFeatures.folded`."""
        result: P = self.features.folded(leaf, merge, name=name, along=(self.targets,))
        return result


def rows_of(values: Array, start: int, stop: int) -> Array:
    """Some points of an array that has them on its last axis but one, or on its only one."""
    return values[start:stop] if values.ndim == 1 else values[..., start:stop, :]
