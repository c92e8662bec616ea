"""Dask: chunks of features and kernels made, and read, by the workers of a cluster.

No scheduler, no collective and no retry of its own: those are Dask's. What a worker does is what a process does that
was given one chunk as its shard, so the bits are those of one process.
"""

from typing import Any

from dntk.stores import Cluster


def entry(client: Any) -> Cluster:
    """The cluster behind a ``dask.distributed.Client``; ``ConnectionError`` where its scheduler is gone."""
    from dntk_dask.cluster import DaskCluster

    return DaskCluster.of(client)
