"""A look at whether sums of products kept their digits."""

import math

from dntk import arrays
from dntk.solve.normal_equations import NormalEquations


def require_in_range(statistics: NormalEquations, ridge: float | None) -> None:
    """Raise ``ValueError`` where the sums over the points are infinite, or lost digits below the smallest number.

    What underflows of a sum of n products is below n·tiny: nothing beside a sum, or a ridge, of n·tiny/eps. Targets
    so small may have an error that is rounded to zero, but a ridge chosen by such errors would be any.
    """
    gram = statistics.gram
    xp = arrays.namespace(gram)
    largest, squares = float(xp.max(xp.linalg.diagonal(gram))), float(xp.max(statistics.squares))
    products = arrays.largest_magnitude(statistics.cross)
    if not (math.isfinite(largest) and math.isfinite(products) and math.isfinite(squares)):
        msg = f"sums of products of features and targets overflow {gram.dtype}: {arrays.rescaled('down', gram)}."
        raise ValueError(msg)
    least = statistics.points * arrays.least_product(gram)
    if largest < least and products > 0 and (ridge is None or ridge < least):
        found = f"squares of the features add up to {largest:.3g} and underflow {gram.dtype}"
        msg = f"{found}: {arrays.rescaled('up', gram)}."
        raise ValueError(msg)
    if ridge is None and squares < least and products > 0:
        found = f"squares of the targets add up to {squares:.3g} and underflow {gram.dtype}, and no ridge can be chosen"
        msg = f"{found} by them: scale the targets up, or pass `ridge` as a number."
        raise ValueError(msg)
