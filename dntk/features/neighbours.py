"""Nearest neighbours in the metric of the mean kernel, by blocks of points."""

import dataclasses
from typing import Any

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """The nearest of the first so many ``points``: squared distances and positions (q, up to size), on the host."""

    squares: npt.NDArray[np.float64]
    places: npt.NDArray[np.int64]
    points: int


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """A search for the ``size`` points nearest to each of some queries; of equally near ones the lower index.

    In float64 where the device has it. O(n·q·d) operations; memory O(block·d + q·(size + block)).
    """

    queries: Float[Array, "q d"]
    size: int

    def __call__(self, phi: Any) -> Found:
        """Those among the points of some features."""
        return self.among(phi.joined())

    def among(self, block: Float[Array, "b d"]) -> Found:
        """Those among some rows."""
        xp, backend = arrays.namespace(self.queries), backend_of(self.queries)
        wide = arrays.in_float64(self.queries)
        lengths = xp.sum(wide * wide, axis=1)
        nearest = Found(
            squares=np.zeros((wide.shape[0], 0)), places=np.zeros((wide.shape[0], 0), dtype=np.int64), points=0
        )
        for start, stop in arrays.spans(block.shape[0], max(1, _PAIRS // self.queries.shape[0])):
            part = arrays.in_float64(block[start:stop, :])
            count(flops=2 * part.shape[0] * part.shape[1] * self.queries.shape[0])
            found = lengths[:, None] + xp.sum(part * part, axis=1)[None, :] - 2 * (wide @ part.T)
            host = np.asarray(backend.to_numpy(found), dtype=np.float64)
            places = np.broadcast_to(np.arange(stop - start), host.shape)
            nearest = self.merged(nearest, Found(squares=host, places=places, points=stop - start))
        return nearest

    def merged(self, left: Found, right: Found) -> Found:
        """The nearest of both; points of the right one come after those of the left one."""
        squares = np.hstack([left.squares, right.squares])
        places = np.hstack([left.places, right.places + left.points])
        return Found(**_least(squares, places, self.size), points=left.points + right.points)

    def neighbours(self, found: Found) -> Neighbours:
        """What was found, in the library and on the device of the queries."""
        backend, device = backend_of(self.queries), arrays.device_of(self.queries)
        distances = np.sqrt(np.maximum(found.squares, 0)).astype(np.dtype(dtype_name(self.queries)))
        return Neighbours(
            indices=backend.from_numpy(np.ascontiguousarray(found.places), device=device),
            distances=backend.from_numpy(distances, device=device),
        )


def _least(squares: npt.NDArray[np.float64], places: npt.NDArray[np.int64], size: int) -> dict[str, npt.NDArray[Any]]:
    order = np.argsort(squares, axis=1, kind="stable")[:, :size]  # earlier points come first
    return {"squares": np.take_along_axis(squares, order, axis=1), "places": np.take_along_axis(places, order, axis=1)}
