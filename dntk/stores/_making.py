"""All chunks of a folder, or those of one part, made here or by a cluster."""

from typing import Any

from dntk._progress import task
from dntk.ledger import count
from dntk.stores.clusters import cluster_of
from dntk.stores.job import Job, reader_of
from dntk.stores.place import StoredShard
from dntk.stores.shards import WHOLE, shard_of


def make_chunks(job: Job, *, shard: Any, client: Any, name: str, unit: str) -> StoredShard | None:
    """Make the chunks of this process's part, or by a client all of them; ``None`` where all are there and joined.

    Raises
    ------
    ValueError
        ``shard`` beside ``client``, or a ``shard`` that is none.
    """
    if client is not None:
        _by_cluster(job, shard, client, name, unit)
        return None
    folder, part, read = job.folder, shard_of(shard), reader_of(job.sides)
    numbers = part.numbers(len(folder.layout))
    with folder.alone(part):
        with task(name, total=len(numbers), unit=unit) as bar:
            fresh = folder.fill(part, lambda one: job.make(one, read), lambda one: job.data(one, read), bar)
        if part.count > 1 and not folder.is_whole:
            ends = (_first(job, numbers[0])[0], _first(job, numbers[-1])[1]) if numbers else (0, 0)
            return StoredShard(folder.folder, part, ends)
        folder.finish(fresh)
    return None


def _first(job: Job, number: int) -> tuple[int, int]:
    _, start, stop = job.spans(number)[0]
    return start, stop


def _by_cluster(job: Job, shard: Any, client: Any, name: str, unit: str) -> None:
    if shard is not None:
        msg = f"`shard`={shard!r} beside `client`: a cluster divides the work by itself, leave one of them out."
        raise ValueError(msg)
    cluster, folder = cluster_of(client), job.folder
    numbers = range(len(folder.layout))
    with folder.alone(WHOLE):
        folder.require_space(numbers)
        with task(name, total=len(numbers), unit=unit) as bar:
            for chunk in cluster.fill(job):
                count(**chunk.cost)
                bar.advance()
        folder.finish(numbers)
