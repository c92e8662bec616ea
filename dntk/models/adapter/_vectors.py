"""The flattened parameter vector: where every parameter lies in it."""

import itertools
import math
from collections.abc import Mapping

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array


def size_of(value: Array) -> int:
    """Number of entries."""
    return math.prod(value.shape)


def total_size(parameters: Mapping[str, Array]) -> int:
    """Number P of entries of all parameters."""
    return sum(size_of(value) for value in parameters.values())


def offsets_of(parameters: Mapping[str, Array]) -> dict[str, int]:
    """First coordinate of every parameter in the flattened vector."""
    sizes = [size_of(value) for value in parameters.values()]
    return dict(zip(parameters, itertools.accumulate(sizes[:-1], initial=0), strict=True))


def split(vectors: Float[Array, "*lead p"], parameters: Mapping[str, Array]) -> dict[str, Array]:
    """Vectors (..., P) as arrays (..., *shape) by parameter, in its dtype; views where the library has them."""
    xp, pieces = arrays.namespace(vectors), {}
    for name, start in offsets_of(parameters).items():
        value = parameters[name]
        piece = xp.reshape(vectors[..., start : start + size_of(value)], (*vectors.shape[:-1], *value.shape))
        pieces[name] = piece if piece.dtype == value.dtype else xp.astype(piece, value.dtype)
    return pieces
