"""How points reach the workers: in parts with the tasks, as blocks of Dask arrays, or read there."""

import dataclasses
from typing import Any

import dask
import dask.array

from dntk import arrays
from dntk.ledger import nbytes_of
from dntk.models.nests import is_array, leaves, mapped
from dntk.models.sources import Points, points
from dntk.stores.job import Span
from dntk.types import Array, Inputs
from dntk_dask.witness import of_points


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sent:
    """The sets of points that something is made of.

    Parameters
    ----------
    sides
        The sets.
    with_tasks
        Whether every task brings its points; else workers read them from the sets.
    """

    sides: tuple[Inputs, ...]
    with_tasks: bool

    @staticmethod
    def of(sides: tuple[Inputs, ...]) -> "Sent":
        """Arrays and Dask arrays come in parts; what is read from other sources is read by the workers."""
        parts = [leaf for side in sides for _, leaf in leaves(side)]
        return Sent(sides=sides, with_tasks=all(is_array(part) or is_lazy(part) for part in parts))

    def parts(self, spans: tuple[Span, ...]) -> list[Any] | None:
        """What a task brings."""
        if not self.with_tasks:
            return None
        return [_part(self.sides[side], start, stop) for side, start, stop in spans]

    def nbytes(self, spans: tuple[Span, ...]) -> int:
        """Bytes that travel with a task from here."""
        return sum(self._of_points(side) * (stop - start) for side, start, stop in spans) if self.with_tasks else 0

    @property
    def witness(self) -> str:
        """By which workers that read points themselves know that they are these."""
        return "" if self.with_tasks else of_points(self.sides)

    def _of_points(self, side: int) -> int:
        held = [leaf for _, leaf in leaves(self.sides[side]) if is_array(leaf)]
        return sum(nbytes_of(leaf) // max(1, leaf.shape[0]) for leaf in held)

    @property
    def apart(self) -> tuple[Any, ...]:
        """The sets as workers get them once: nothing where every task brings its points."""
        return (None,) * len(self.sides) if self.with_tasks else self.sides

    @property
    def like(self) -> Any:
        """An array as what is read should be; None where nothing is read."""
        read = (leaf for side in self.sides for _, leaf in leaves(side) if isinstance(leaf, Points))
        return next((leaf.like for leaf in read), None)


def is_lazy(part: Any) -> bool:
    """Whether points are read from a Dask array as it stands."""
    return isinstance(part, Points) and part.collate is None and isinstance(part.source, dask.array.Array)


def _part(side: Inputs, start: int, stop: int) -> Any:
    return mapped(lambda leaf: _block(leaf, start, stop) if is_lazy(leaf) else own(leaf[start:stop, ...]), side)


def _block(leaf: Any, start: int, stop: int) -> Any:
    return dask.delayed(points, pure=False)(leaf.source[start:stop])


def own(part: Array) -> Array:
    """Part of an array in memory of its own: PyTorch sends all of the memory that a view is of."""
    return arrays.namespace(part).asarray(part, copy=True)
