"""What workers run; each function takes the parcel that they all share."""

import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any

from dntk._progress import task
from dntk.archive import StoreError, to_host
from dntk.models import batches
from dntk.stores import Made, StoreFolder, made, manifest
from dntk.stores.clusters import Part
from dntk.stores.job import Reader, Span
from dntk.types import Batch, Inputs
from dntk_dask._counted import Counted
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
        like = next(iter(job.model.parameters.values()))
        return made(job, number, _reader(job.sides, like, spans, parts))


def read(parcel: Parcel, parts: list[Part]) -> Counted:
    """What is made of some features and of the rows of other arrays that belong to them, of several parts as one."""
    with _ONE_AT_A_TIME, pages_kept():
        features, leaf, merge, witness = parcel.content
        if features is None:
            given = ([cut(row) if isinstance(row, tuple) else row for row in rows] for _, _, rows in parts)
            return Counted.of(lambda: functools.reduce(merge, (leaf(*rows) for rows in given)))
        require_alike(parcel, lambda: of_rows(features), witness, "features")
        return Counted.of(
            lambda: functools.reduce(merge, (leaf(features[start:stop], *rows) for start, stop, rows in parts))
        )


def merged(parcel: Parcel, results: list[Counted]) -> Counted:
    """Several results as one, from the left to the right."""
    with _ONE_AT_A_TIME, pages_kept():
        merge: Callable[[Any, Any], Any] = parcel.content[2]
        return Counted.of(lambda: functools.reduce(merge, (one.value for one in results)), results)


def rows(parcel: Parcel, span: Span, parts: list[Any] | None) -> Counted:
    """Rows of some points, as a parcel: in the library and on the kind of device that they are made on."""
    made = _rows(parcel, span, parts)
    return dataclasses.replace(made, value=Parcel.of(made.value))


def held(parcel: Parcel, span: Span, parts: list[Any] | None) -> Counted:
    """Rows of some points in NumPy, which stay on a worker."""
    made = _rows(parcel, span, parts)
    return dataclasses.replace(made, value=to_host(made.value))


def cost_of(made: Counted) -> Counted:
    """What a result cost, without the result."""
    return Counted(None, made.cost)


def cut(part: tuple[Counted, int, int]) -> Any:
    """Some rows of a chunk that a worker holds."""
    made, first, last = part
    return made.value[:, first:last, :]


def _rows(parcel: Parcel, span: Span, parts: list[Any] | None) -> Counted:
    with _ONE_AT_A_TIME, pages_kept():
        wanted, sides, like, witness = parcel.content
        if parts is None:
            require_alike(parcel, lambda: of_points(sides), witness, "points")
        side, start, stop = span
        read = functools.partial(_reader(sides, like, (span,), parts), side)
        with task("rows", total=stop - start, unit="points") as bar:
            return Counted.of(lambda: wanted.of(read, (start, stop), bar))


def _require_shared(folder: StoreFolder) -> None:
    """Raise ``StoreError`` unless the worker sees the folder of the call."""
    stored = manifest.found(folder.folder)
    if stored is None or manifest.owner_of(stored) != folder.owner:
        msg = (
            f"a worker does not see the `store` {folder.folder} of this call: pass a folder on a disk that all workers "
            "share under the same path."
        )
        raise StoreError(msg)


def _reader(sides: tuple[Inputs, ...], like: Any, spans: tuple[Span, ...], parts: list[Any] | None) -> Reader:
    if parts is None:
        return lambda side, start, stop: batches.span(sides[side], start, stop)
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
