"""Locks among processes and threads, for work that only one of them is to do."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dntk.archive.files import expanded

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


_TRIES = 10_000
"""Times that others may be first; a disk that never knows its files again has no locks."""


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold the lock of this name, once nobody else does.

    A process that ends, in whatever way, lets its locks go. What stands for the lock is a hidden file beside ``path``,
    which is gone afterwards. Nothing is held where the system or the disk has no locks.
    """
    place = expanded(path)
    file = place.with_name(f".{place.name}.lock")
    for last in [False] * _TRIES + [True]:
        with file.open("ab") as stream:
            _take(stream)
            if not last and not _is_file(stream, file):  # removed by who had it
                continue
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    file.unlink()  # with the lock held: who waits for it sees that the file is gone
            return


def _take(stream: BinaryIO) -> None:
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)


def _is_file(stream: BinaryIO, file: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(stream.fileno()), file.stat())
    return False
