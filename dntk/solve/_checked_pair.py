"""Chunks of features and targets, checked as they come."""

from typing import Any

from dntk import arrays
from dntk._checks import kind_of
from dntk.features import TangentFeatures
from dntk.types import Array


def checked_pair(chunk: Any, number: int) -> tuple[Array, Array]:
    """Features and targets of a chunk; raises unless both are finite arrays of one place.

    Tangent features are their array; those of one output are a matrix, which any number of targets shares.
    """
    if not isinstance(chunk, tuple | list) or len(chunk) != 2:
        msg = f"`chunks` gave {kind_of(chunk)} as chunk {number}: expected a pair of arrays, (features, targets)."
        raise TypeError(msg)
    if isinstance(chunk[0], TangentFeatures):
        values = chunk[0].values
        chunk = values[0, :, :] if values.shape[0] == 1 else values, chunk[1]
    named = {f"features of chunk {number}": chunk[0], f"targets of chunk {number}": chunk[1]}
    arrays.require_same_place(**named)
    for name, value in named.items():
        arrays.require_floating(name, value)
        # Of features of several outputs the rows are the points.
        arrays.require_finite(name, value if value.ndim < 3 else arrays.namespace(value).permute_dims(value, (1, 0, 2)))
    if chunk[0].ndim not in (2, 3) or chunk[0].shape[-2] == 0 or chunk[1].shape[:1] != chunk[0].shape[-2:-1]:
        shapes = f"`features of chunk {number}` has shape {tuple(chunk[0].shape)}, its targets {tuple(chunk[1].shape)}"
        msg = f"{shapes}: expected (n, k) or (C, n, k), and one row of targets per point."
        raise ValueError(msg)
    return chunk[0], chunk[1]
