"""Factors of products scaled by powers of two, where the products, but not their sums, leave the range of numbers."""

import math

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array

_SAFE = 2.0**30
"""Entries of at most this and at least its inverse have products within float32, those 2^-24 as large included."""


def scaled(name: str, x: Float[Array, "g n k"]) -> tuple[Float[Array, "g n k"], int]:
    """x·2^-e and e: exact, and zero unless products would leave the dtype of x but not that of their sum.

    Raises
    ------
    ValueError
        Products that overflow the dtype in which they are added up, or entries that are not finite.
    """
    xp, largest = arrays.namespace(x), arrays.largest_magnitude(x)
    if not math.isfinite(largest):
        arrays.require_finite(name, xp.permute_dims(x, (1, 0, 2)))
    wide = arrays.accumulation_dtype(x)
    place = xp.zeros(1, dtype=wide, device=arrays.device_of(x))
    arrays.require_products(name, place, largest=largest, terms=x.shape[1])
    if x.dtype == wide or largest == 0 or 1 / _SAFE <= largest <= _SAFE:
        return x, 0
    exponent = math.frexp(largest)[1]
    return xp.astype(xp.astype(x, wide) * 2.0**-exponent, x.dtype), exponent


def raised(product: Array, exponent: int) -> Array:
    """product·2^exponent, in float64 where the device has it; the product itself if nothing was scaled."""
    return product if exponent == 0 else arrays.in_float64(product) * 2.0**exponent
