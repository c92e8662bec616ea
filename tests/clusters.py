"""A cluster for tests: two processes of one thread each, as workers are."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def two_workers() -> Iterator[Any]:
    """The client of a cluster that ends with the block."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", env={"DNTK_CHECK": "0"}
        ) as cluster,
        cluster.get_client() as made,
    ):
        yield made
