"""Nearest neighbours in the metric of the mean kernel, by blocks of points."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from dntk import arrays
from dntk.archive.digests import dtype_name
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.types import Array

_PAIRS = 2**22
"""Pairs of points whose distances are on the host at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest points of each of q queries, the nearest first, and how far they are.

    Parameters
    ----------
    indices
        Positions of the points, (q, size).
    distances
        √(K̄(x, x) + K̄(q, q) − 2K̄(x, q)), (q, size).
    """

    indices: Int[Array, "q s"]
    distances: Float[Array, "q s"]


def nearest(blocks: Iterable[tuple[int, Float[Array, "b d"]]], queries: Float[Array, "q d"], size: int) -> Neighbours:
    """The ``size`` nearest rows of blocks with their first positions; of equally near ones the lower index.

    In float64 where the device has it. O(n·q·d) operations; memory O(block·d + q·(size + block)).
    """
    xp, backend, device = arrays.namespace(queries), backend_of(queries), arrays.device_of(queries)
    wide = arrays.in_float64(queries)
    lengths = xp.sum(wide * wide, axis=1)
    squares = np.zeros((queries.shape[0], 0))
    places = np.zeros((queries.shape[0], 0), dtype=np.int64)
    for first, block in blocks:
        for start, stop in arrays.spans(block.shape[0], max(1, _PAIRS // queries.shape[0])):
            part = arrays.in_float64(block[start:stop, :])
            count(flops=2 * part.shape[0] * part.shape[1] * queries.shape[0])
            found = lengths[:, None] + xp.sum(part * part, axis=1)[None, :] - 2 * (wide @ part.T)
            host = np.asarray(backend.to_numpy(found), dtype=np.float64)
            numbers = np.broadcast_to(np.arange(first + start, first + stop), host.shape)
            squares, places = _least(np.hstack([squares, host]), np.hstack([places, numbers]), size)
    distances = np.sqrt(np.maximum(squares, 0)).astype(np.dtype(dtype_name(queries)))
    return Neighbours(
        indices=backend.from_numpy(np.ascontiguousarray(places), device=device),
        distances=backend.from_numpy(distances, device=device),
    )


def _least(
    squares: npt.NDArray[np.float64], places: npt.NDArray[np.int64], size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    order = np.argsort(squares, axis=1, kind="stable")[:, :size]  # earlier points come first
    return np.take_along_axis(squares, order, axis=1), np.take_along_axis(places, order, axis=1)
