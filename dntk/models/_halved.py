"""Work in batches that get smaller where the memory does not suffice."""

import gc
import logging
from collections.abc import Callable

from dntk._progress import Task
from dntk.backend import is_out_of_memory
from dntk.types import Array

_log = logging.getLogger("dntk")


def in_batches(n: int, size: int, work: Callable[[int, int], Array], bar: Task) -> list[Array]:
    """``work(start, stop)`` for consecutive ranges of at most ``size`` that cover n, halved from where one fails.

    A batch that does not fit the memory is made again in halves, and so are all after it; every other error passes.
    The ledger counts what was tried. Results are those of the smaller batches, equal to rounding.

    Raises
    ------
    MemoryError, RuntimeError
        The framework's own, where one input alone does not fit; a note says so.
    """
    pieces: list[Array] = []
    start = 0
    while start < n:
        stop = min(start + size, n)
        try:
            pieces.append(work(start, stop))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if stop - start == 1:
                error.add_note("One input alone does not fit the memory: free some, or pass a smaller sketch.")
                raise
            size = -(-(stop - start) // 2)
            _log.warning("%d inputs at once do not fit the memory: going on with %d.", stop - start, size)
        else:
            bar.advance(stop - start)
            start = stop
            continue
        gc.collect()  # what the failed batch held in circles
    return pieces
