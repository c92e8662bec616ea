"""Merging the results of parts in an order that does not depend on who made them."""

from collections.abc import Callable, Iterable
from typing import TypeVar

P = TypeVar("P")

FAN = 8
"""Neighbours that are merged, from the left to the right, before their result meets its neighbours."""


def merged_in_tree(parts: Iterable[P], merge: Callable[[P, P], P]) -> P:
    """Merge results of parts by a tree of :data:`FAN` branches, in which their number alone decides what meets what.

    They are merged as they come, so that log₈ of their number exist at a time.

    Raises
    ------
    ValueError
        There are none.
    """
    open_branches: list[tuple[P, int] | None] = []
    for part in parts:
        _put(open_branches, part, merge)
    last: P | None = None
    for branch in open_branches:  # what is left over is the last one, and a shorter one, of the level above
        if branch is not None:
            last = branch[0] if last is None else merge(branch[0], last)
    if last is None:
        msg = "there are no parts to merge."
        raise ValueError(msg)
    return last


def _put(open_branches: list[tuple[P, int] | None], part: P, merge: Callable[[P, P], P]) -> None:
    """One part more; branches that are whole become parts of the level above."""
    for depth in range(len(open_branches) + 1):
        if depth == len(open_branches):
            open_branches.append(None)
        branch = open_branches[depth]
        merged, size = (part, 1) if branch is None else (merge(branch[0], part), branch[1] + 1)
        if size < FAN:
            open_branches[depth] = merged, size
            return
        open_branches[depth], part = None, merged
