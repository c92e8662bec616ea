"""A Dask cluster as a place where chunks are made and read."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import dask
from distributed import Client, as_completed
from distributed.client import Future

from dntk._checks import kind_of
from dntk.stores import FAN, Job, Made
from dntk.stores.clusters import Part
from dntk_dask import _tasks
from dntk_dask._errors import in_our_words
from dntk_dask.inputs import Sent, own
from dntk_dask.parcel import Parcel
from dntk_dask.witness import of_rows

P = TypeVar("P")

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
        if client.status != "running":
            msg = (
                f"the client of {_address(client)} is {client.status}, not running: its scheduler is gone or it was "
                "closed. Connect to one that runs, dask.distributed.Client(address)."
            )
            raise ConnectionError(msg)
        return DaskCluster(client)

    def fill(self, job: Job) -> Iterator[Made]:
        """Make the chunks of a folder that all workers share; each is told of when it is there."""
        sent = Sent.of(job)
        with in_our_words(self.client), self._parcel((sent.without_points(job), sent.witness)) as parcel:
            known: dict[int, Future] = {}
            try:
                for numbers in _rounds(job, sent):
                    new = self._compute([self._task(job, sent, parcel, number, known) for number in numbers])
                    known |= dict(zip(numbers, new, strict=True))
                    for _, found in as_completed(new, with_results=True):
                        if isinstance(found, BaseException):  # of a task that was cancelled: the scheduler is gone
                            raise found
                        yield found
            finally:
                self._cancel(known.values())

    def fold(self, source: Any, leaf: Callable[..., P], merge: Callable[[P, P], P], parts: Sequence[Part]) -> P:
        """Merge what ``leaf`` makes of every part, a branch of neighbours at a time; results stay on the workers."""
        read, merged = dask.delayed(_tasks.read, pure=False), dask.delayed(_tasks.merged, pure=False)
        with in_our_words(self.client), self._parcel((source, leaf, merge, of_rows(source))) as parcel:
            size = FAN if len(parts) >= 2 * FAN * self._workers() else 1  # whole branches, where there are enough
            sent = [(start, stop, tuple(map(own, rows))) for start, stop, rows in parts]
            level = [read(parcel, sent[i : i + size]) for i in range(0, len(sent), size)]
            while len(level) > 1:
                level = [merged(parcel, level[i : i + FAN]) for i in range(0, len(level), FAN)]
            (root,) = self._compute(level)
            try:
                result: P = root.result()
                return result
            finally:
                self._cancel([root])

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

    def _cancel(self, futures: Iterable[Future]) -> None:
        left = [future for future in futures if future.status != "finished"]
        if left and self.client.status == "running":
            self.client.cancel(left)


def _itself(parcel: Parcel) -> Parcel:
    return parcel


def _rounds(job: Job, sent: Sent) -> Iterator[list[int]]:
    """Chunks whose points are sent together: those that others are copied from come first."""
    numbers = sorted(range(len(job.folder.layout)), key=lambda number: job.before(number) is not None)
    current: list[int] = []
    held, copied = 0, False
    for number in numbers:
        more = sent.nbytes(job.spans(number))
        later = job.before(number) is not None
        if current and (held + more > _AT_ONCE or later != copied):
            yield current
            current, held = [], 0
        current.append(number)
        held, copied = held + more, later
    yield current


@contextlib.contextmanager
def _large_graphs() -> Iterator[None]:
    """Without Dask's warning of large graphs: what travels is one copy of each thing, as it should."""
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
        yield


def _address(client: Client) -> str:
    return str(getattr(client.scheduler, "address", "a scheduler"))
