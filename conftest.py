"""Keeps the memory of test processes bounded, and what Python and JAX do beside the tests cheap."""

import ctypes
import gc
import os
import pathlib
import sys

import pytest

from tests.cheaper_checks import make_cheaper
from tests.jax_settings import share_contexts

MOST_RESIDENT = 2 * 2**30
"""Bytes that a test process may hold before it lets go of what JAX has compiled: 2 GiB."""

MARGIN = 2**30
"""Bytes that it may grow by before it lets go again, where that did not suffice."""

_limit = MOST_RESIDENT


def pytest_configure() -> None:
    """Before any test asks an array for its namespace."""
    make_cheaper()


def pytest_collection_finish() -> None:
    """Let later collections of garbage pass over what was imported and collected: over a million objects each time."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup() -> None:
    """A test may have been the first to load JAX."""
    share_contexts()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Let go of compiled programs where they have made the process large: the cache on disk has them."""
    global _limit
    jax = sys.modules.get("jax")
    if jax is None or resident() <= _limit:
        return
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":  # free memory goes back to the system
        ctypes.CDLL(None).malloc_trim(0)
    _limit = max(MOST_RESIDENT, resident() + MARGIN)


def resident() -> int:
    """Bytes of memory that the process holds; 0 where the system does not say."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
