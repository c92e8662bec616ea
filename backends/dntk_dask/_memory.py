"""Memory of a worker while it makes or reads chunks.

Dask's nanny sets ``MALLOC_TRIM_THRESHOLD_=65536``, so that what a worker frees goes back to the system. glibc then
fetches fresh pages for every array above 128 KiB, also for those that a chunk makes thousands of: a quarter to a third
of the seconds of a small network. So pages are kept while a task runs, as in any other process, and go back after it.
"""

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

_TRIM, _MMAP = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h."""

_KEPT_TRIM, _KEPT_MMAP = 2**26, 2**25
"""What both rise to by themselves in a process of 64 bits where nobody sets them."""

_USUAL_MMAP = 2**17
"""What the second one stays at where the first one is set."""


@contextlib.contextmanager
def pages_kept(environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Keep pages that are freed until the end, where Dask has them returned at once; one task at a time."""
    trim = _trim_of(os.environ if environment is None else environment)
    libc = None if trim is None else _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_TRIM, _KEPT_TRIM)
    libc.mallopt(_MMAP, _KEPT_MMAP)
    try:
        yield
    finally:
        libc.mallopt(_TRIM, trim)
        libc.mallopt(_MMAP, _USUAL_MMAP)
        libc.malloc_trim(0)


def _trim_of(environment: Mapping[str, str]) -> int | None:
    """What the environment sets; None where it does not, or sets the other one, too."""
    given = environment.get("MALLOC_TRIM_THRESHOLD_", "")
    return int(given) if given.isdecimal() and "MALLOC_MMAP_THRESHOLD_" not in environment else None


@functools.lru_cache(maxsize=1)
def _glibc() -> Any | None:
    """The C library where it is glibc."""
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
    return libc if hasattr(libc, "gnu_get_libc_version") else None
