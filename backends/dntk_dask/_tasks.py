"""What workers run; each function takes the parcel that they all share."""

import functools
import threading
from collections.abc import Callable
from typing import Any

from dntk.archive import StoreError
from dntk.models import batches
from dntk.stores import Job, Made, StoreFolder, made, manifest
from dntk.stores.clusters import Part
from dntk.stores.job import Reader, Span
from dntk.types import Batch, Inputs
from dntk_dask._memory import pages_kept
from dntk_dask.parcel import Parcel
from dntk_dask.witness import of_points, of_rows, require_alike

_ONE_AT_A_TIME = threading.Lock()
"""A worker makes one chunk at a time, however many threads it has: memory and its device are for one."""


def filled(parcel: Parcel, number: int, spans: tuple[Span, ...], parts: list[Any] | None, *_before: Any) -> Made:
    """One chunk of a folder; ``parts`` are the points of its spans where they are not read here."""
    with _ONE_AT_A_TIME, pages_kept():
        job, witness = parcel.content
        _require_shared(job.folder)
        if parts is None:
            require_alike(parcel, lambda: of_points(job.sides), witness, "points")
        return made(job, number, _reader(job, spans, parts))


def read(parcel: Parcel, parts: list[Part]) -> Any:
    """What is made of some features and of the rows of other arrays that belong to them, of several parts as one."""
    with _ONE_AT_A_TIME, pages_kept():
        features, leaf, merge, witness = parcel.content
        require_alike(parcel, lambda: of_rows(features), witness, "features")
        return functools.reduce(merge, (leaf(features[start:stop], *rows) for start, stop, rows in parts))


def merged(parcel: Parcel, results: list[Any]) -> Any:
    """Several results as one, from the left to the right."""
    with _ONE_AT_A_TIME, pages_kept():
        merge: Callable[[Any, Any], Any] = parcel.content[2]
        return functools.reduce(merge, results)


def _require_shared(folder: StoreFolder) -> None:
    """Raise ``StoreError`` unless the worker sees the folder of the call."""
    stored = manifest.found(folder.folder)
    if stored is None or manifest.owner_of(stored) != folder.owner:
        msg = (
            f"a worker does not see the `store` {folder.folder} of this call: pass a folder on a disk that all workers "
            "share under the same path."
        )
        raise StoreError(msg)


def _reader(job: Job, spans: tuple[Span, ...], parts: list[Any] | None) -> Reader:
    if parts is None:
        return lambda side, start, stop: batches.span(job.sides[side], start, stop)
    like = next(iter(job.model.parameters.values()))
    given = [(span, _checked(part, span, like)) for span, part in zip(spans, parts, strict=True)]

    def found(side: int, start: int, stop: int) -> Batch:
        for (which, first, last), part in given:
            if which == side and first <= start and stop <= last:
                return batches.span(part, start - first, stop - first)
        msg = f"points {start} to {stop} of set {side} are not among those that were sent"
        raise AssertionError(msg)

    return found


def _checked(part: Inputs, span: Span, like: Any) -> Inputs:
    """Points as the network takes them, as many as there should be."""
    _, start, stop = span
    inputs = batches.bound(part, like)
    if batches.count(inputs) != stop - start:
        msg = (
            f"points {start} to {stop - 1} of a Dask array came as {batches.count(inputs)}: its chunks are not of the "
            "sizes that it states, call .compute_chunk_sizes() or state them in map_blocks(chunks=...)."
        )
        raise ValueError(msg)
    return inputs
