"""Inputs that show a parameter's gradient, without which no form of it can be compared with anything."""

from collections.abc import Callable, Collection

from dntk.models import batches
from dntk.types import Batch


def showing(x: Batch, names: Collection[str], shown: Callable[[Batch], Collection[str]]) -> list[int]:
    """Positions of few inputs of ``x``, at one of which each of ``names`` has a gradient.

    ``shown`` tells which parameters have one at some of the inputs that it is given. A name that has one at all of
    ``x`` and at no input alone, as rounding may have it, is left out. Cost: about two passes of ``x`` a position.
    """
    found, left = [], set(names)
    while left:
        name, start, stop = min(left), 0, batches.count(x)
        while stop - start > 1:
            middle = (start + stop) // 2
            start, stop = (start, middle) if name in shown(batches.span(x, start, middle)) else (middle, stop)
        here = left.intersection(shown(batches.span(x, start, stop)))
        if here:
            found.append(start)
        left -= {name, *here}
    return sorted(found)
