"""Whether a worker reads what the client reads: the same path may be another file on another machine."""

import weakref
from typing import Any

from dntk.archive import StoreError
from dntk.features import TangentFeatures
from dntk.stores.data import ends_digest, joined_digest, part_digest
from dntk.types import Inputs
from dntk_dask.parcel import Parcel

_ALIKE: "weakref.WeakSet[Parcel]" = weakref.WeakSet()
"""Parcels whose content this process has compared."""


def of_points(sides: tuple[Inputs, ...]) -> str:
    """A short digest of the first and the last of every set of points."""
    return joined_digest(map(ends_digest, sides))


def of_rows(source: Any) -> str:
    """The same of the first and the last of some features, or of rows of a kernel."""
    ends = source[:1], source[len(source) - 1 :]
    return joined_digest(part_digest(end.values if isinstance(end, TangentFeatures) else end) for end in ends)


def require_alike(parcel: Parcel, found: Any, expected: str, what: str) -> None:
    """Compare what this process reads, once for every parcel.

    Raises
    ------
    dntk.StoreError
        It is something else than the client reads.
    """
    if parcel in _ALIKE:
        return
    if found() != expected:
        msg = (
            f"a worker reads other {what} than this process: the path or the data set that was passed has something "
            "else there. Put it on a disk that all workers share under the same path, or pass an array."
        )
        raise StoreError(msg)
    _ALIKE.add(parcel)
