"""A Dask cluster as a place where chunks are made and read."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import dask
from distributed import Client, as_completed
from distributed.client import Future

from dntk._checks import kind_of
from dntk.stores import FAN, Job, Layout, Made
from dntk.stores.clusters import Part
from dntk.stores.rows import MadeRows, PointRows, Points
from dntk.types import Inputs
from dntk_dask import _tasks
from dntk_dask._errors import in_our_words, require_running
from dntk_dask.held import HeldChunks, HeldPart
from dntk_dask.inputs import Sent, own
from dntk_dask.parcel import Parcel
from dntk_dask.witness import of_rows

P = TypeVar("P")
T = TypeVar("T")

_AT_ONCE = 2**28
"""Bytes of points that wait on the scheduler at a time: 256 MiB."""


@dataclasses.dataclass(frozen=True, eq=False)
class DaskCluster:
    """Workers that a client talks to; see :class:`dntk.stores.Cluster`."""

    client: Client

    @staticmethod
    def of(client: Any) -> "DaskCluster":
        """The cluster behind a client.

        Raises
        ------
        TypeError
            It is no client, or an asynchronous one.
        ConnectionError
            Its scheduler is gone, or it was closed.
        """
        if not isinstance(client, Client) or client.asynchronous:
            kind = "an asynchronous Client" if isinstance(client, Client) else kind_of(client)
            msg = f"`client` is {kind}: pass a dask.distributed.Client, Client(address) or LocalCluster().get_client()."
            raise TypeError(msg)
        require_running(client)
        return DaskCluster(client)

    def fill(self, job: Job) -> Iterator[Made]:
        """Make the chunks of a folder that all workers share; each is told of when it is there."""
        sent = Sent.of(job.sides)
        content = dataclasses.replace(job, sides=sent.apart), sent.witness  # type: ignore[type-var]
        with in_our_words(self.client), self._parcel(content) as parcel:
            known: dict[int, Future] = {}
            try:
                for numbers in _rounds(job, sent):
                    new = self._compute([self._task(job, sent, parcel, number, known) for number in numbers])
                    known |= dict(zip(numbers, new, strict=True))
                    for _, found in self._as_they_come(new):
                        yield _sound(found)
            finally:
                self._cancel(known.values())

    def fold(self, source: Any, leaf: Callable[..., P], merge: Callable[[P, P], P], parts: Sequence[Part]) -> P:
        """Merge what ``leaf`` makes of every part, a branch of neighbours at a time; results stay on the workers."""
        read, merged = dask.delayed(_tasks.read, pure=False), dask.delayed(_tasks.merged, pure=False)
        witness = "" if source is None else of_rows(source)
        with in_our_words(self.client), self._parcel((source, leaf, merge, witness)) as parcel:
            # Whole branches, where there are enough of them; what workers hold is read by the worker that holds it.
            size = FAN if source is not None and len(parts) >= 2 * FAN * self._workers() else 1
            sent = [(start, stop, tuple(map(_travelling, rows))) for start, stop, rows in parts]
            level = [read(parcel, sent[i : i + size]) for i in range(0, len(sent), size)]
            while len(level) > 1:
                level = [merged(parcel, level[i : i + FAN]) for i in range(0, len(level), FAN)]
            (root,) = self._compute(level)
            try:
                result: P = root.result().taken()
                return result
            finally:
                self._cancel([root])

    def rows(self, rows: PointRows, x: Inputs, parts: Sequence[Points]) -> Iterator[MadeRows]:
        """The rows of every part of the points, each told of when it is there."""
        with in_our_words(self.client), self._making(rows, x) as (sent, parcel):
            make, todo = dask.delayed(_tasks.rows, pure=False), list(enumerate(parts))
            for some in _within(todo, lambda one: sent.nbytes(((0, *one[1]),))):
                new = self._compute([make(parcel, (0, *part), sent.parts(((0, *part),))) for _, part in some])
                numbers = {future.key: number for future, (number, _) in zip(new, some, strict=True)}
                try:
                    for future, found in self._as_they_come(new):
                        made = _sound(found)
                        yield MadeRows(numbers[future.key], made.value.content, made.cost)
                        new.remove(future)  # a worker forgets what is here
                finally:
                    self._cancel(new)

    def hold(self, rows: PointRows, x: Inputs, layout: Layout, told: Callable[[int], None]) -> HeldChunks:
        """Rows that stay in the workers' memory, a part for every chunk of the layout; all are made on return."""
        spans = [(0, part.start, part.stop) for part in (layout.slices(number)[1] for number in range(len(layout)))]
        make, cost = dask.delayed(_tasks.held, pure=False), dask.delayed(_tasks.cost_of, pure=False)
        held: list[Future] = []
        with in_our_words(self.client), self._making(rows, x) as (sent, parcel):
            try:
                for some in _within(spans, lambda span: sent.nbytes((span,))):
                    new = self._compute([make(parcel, span, sent.parts((span,))) for span in some])
                    held += new
                    costs = self._compute([cost(future) for future in new])
                    points = {future.key: stop - start for future, (_, start, stop) in zip(costs, some, strict=True)}
                    for future, found in self._as_they_come(costs):
                        _sound(found).taken()
                        told(points[future.key])
            except BaseException:
                self._cancel(held)
                raise
        return HeldChunks(self.client, layout, tuple(held))

    @contextlib.contextmanager
    def _making(self, rows: PointRows, x: Inputs) -> Iterator[tuple[Sent, Future]]:
        """How points travel, and what every worker needs once to make rows of them."""
        sent = Sent.of((x,))
        with self._parcel((rows, sent.apart, sent.like, sent.witness)) as parcel:
            yield sent, parcel

    def _task(self, job: Job, sent: Sent, parcel: Future, number: int, known: dict[int, Future]) -> Any:
        spans, before = job.spans(number), job.before(number)
        waits = [] if before is None else [known[before]]
        return dask.delayed(_tasks.filled, pure=False)(parcel, number, spans, sent.parts(spans), *waits)

    @contextlib.contextmanager
    def _parcel(self, content: Any) -> Iterator[Future]:
        """The parcel on the cluster: a task's result, which is made again where all workers that had it are lost."""
        parcel = Parcel.of(content)
        with _large_graphs():
            sent = self.client.submit(_itself, parcel, pure=False)
        try:
            yield sent
        finally:
            self._cancel([sent])

    def _workers(self) -> int:
        return max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))

    def _compute(self, wanted: list[Any]) -> list[Future]:
        with _large_graphs():
            return list(self.client.compute(wanted, optimize_graph=True))

    def _as_they_come(self, futures: list[Future]) -> Iterator[tuple[Future, Any]]:
        """Futures and their results; of this client, which need not be Dask's default one."""
        yield from as_completed(futures, with_results=True, loop=self.client.loop)

    def _cancel(self, futures: Iterable[Future]) -> None:
        left = [future for future in futures if future.status != "finished"]
        if left and self.client.status == "running":
            self.client.cancel(left)


def _itself(parcel: Parcel) -> Parcel:
    return parcel


def _sound(found: Any) -> Any:
    """The result of a task; raises where it was cancelled: the scheduler is gone."""
    if isinstance(found, BaseException):
        raise found
    return found


def _travelling(row: Any) -> Any:
    return row.sent if isinstance(row, HeldPart) else own(row)


def _rounds(job: Job, sent: Sent) -> Iterator[list[int]]:
    """Chunks whose points are sent together: those that others are copied from come first."""
    numbers = range(len(job.folder.layout))
    for copied in (False, True):
        some = [number for number in numbers if (job.before(number) is not None) == copied]
        yield from _within(some, lambda number: sent.nbytes(job.spans(number)))


def _within(items: Iterable[T], nbytes: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in groups whose points may wait on the scheduler together."""
    current: list[T] = []
    held = 0
    for item in items:
        more = nbytes(item)
        if current and held + more > _AT_ONCE:
            yield current
            current, held = [], 0
        current.append(item)
        held += more
    if current:
        yield current


@contextlib.contextmanager
def _large_graphs() -> Iterator[None]:
    """Without Dask's warning of large graphs: what travels is one copy of each thing, as it should."""
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
        yield
