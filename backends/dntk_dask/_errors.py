"""What goes wrong on a cluster, in words that say what to do."""

import contextlib
from collections.abc import Iterator

from distributed import Client
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker


def require_running(client: Client) -> None:
    """Raise ``ConnectionError`` where the scheduler of a client is gone, or the client was closed."""
    if client.status != "running":
        address = str(getattr(client.scheduler, "address", "a scheduler"))
        msg = (
            f"the client of {address} is {client.status}, not running: its scheduler is gone or it was closed. Connect "
            "to one that runs, dask.distributed.Client(address)."
        )
        raise ConnectionError(msg)


@contextlib.contextmanager
def in_our_words(client: Client) -> Iterator[None]:
    """Errors of Dask that users have to act on; all others, those of workers included, as they are.

    Raises
    ------
    ConnectionError
        The scheduler is gone.
    RuntimeError
        Several workers died of the same chunk.
    ImportError
        A worker lacks a package.
    """
    try:
        yield
    except KilledWorker as error:
        msg = (
            f"{error.allowed_failures + 1} workers died while they made the same chunk, the last at "
            f"{getattr(error.last_worker, 'address', error.last_worker)}: out of memory? Pass fewer rows, "
            "dntk.Store(path, rows=...), a smaller memory_limit, or give workers more memory. What is there stays."
        )
        raise RuntimeError(msg) from error
    except (FutureCancelledError, CommClosedError, TimeoutError, OSError) as error:
        if client.status == "running" and not isinstance(error, CommClosedError | FutureCancelledError):
            raise
        msg = (
            "the connection to Dask's scheduler was lost: start the cluster again and repeat the same call, which "
            f"goes on where it was ({error})."
        )
        raise ConnectionError(msg) from error
    except ModuleNotFoundError as error:
        msg = (
            f'a worker lacks the module {error.name!r}: install "dntk[dask]" and what the network needs on all workers.'
        )
        raise ImportError(msg) from error
