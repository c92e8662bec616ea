"""How much memory a device has free, and which errors say that there was not enough."""

import os
import sys
from pathlib import Path
from typing import Protocol, runtime_checkable

from dntk.backend.registry import backend_of, entries, get_backend
from dntk.types import Array


@runtime_checkable
class MemoryBackend(Protocol):
    """A backend that knows its devices' memory and its framework's errors; others are taken to live in the host's."""

    def free_memory(self, x: Array) -> int | None:
        """Bytes that can still be allocated on the device of ``x``; None where that is the host, or unknown."""

    def out_of_memory(self, error: BaseException) -> bool:
        """Whether the framework says by this error that an allocation failed."""


def free_memory(x: Array) -> int | None:
    """Bytes that can be allocated on the device of ``x``, as far as it says; None where nothing is known."""
    backend = backend_of(x)
    known = backend.free_memory(x) if isinstance(backend, MemoryBackend) else None
    return _host() if known is None else known


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed, in any framework that is loaded."""
    if isinstance(error, MemoryError):
        return True
    loaded = [get_backend(name) for name, entry in entries().items() if _is_loaded(name, entry.missing())]
    return any(isinstance(backend, MemoryBackend) and backend.out_of_memory(error) for backend in loaded)


def _is_loaded(name: str, missing: tuple[str, ...]) -> bool:
    return name in sys.modules and not missing


def _host() -> int | None:
    """The least of what the machine has available, what the process's group may take, and its own limit."""
    known = [amount for amount in (_available(), _left_of_group(), _left_of_limit()) if amount is not None]
    return max(0, min(known)) if known else None


def _available() -> int | None:
    """Memory of the machine that can be had without swapping; elsewhere than on Linux its free pages, if it says."""
    found = _lines("/proc/meminfo").get("MemAvailable:")
    if found is not None:
        return 1024 * int(found.split()[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _left_of_group() -> int | None:
    """What a container's limit leaves; pages of files that it counts can be had back."""
    limit, used = _text("/sys/fs/cgroup/memory.max"), _text("/sys/fs/cgroup/memory.current")
    if not (limit.isdigit() and used.isdigit()):
        return None
    files = _lines("/sys/fs/cgroup/memory.stat").get("inactive_file", "0")
    return int(limit) - int(used) + int(files)


def _left_of_limit() -> int | None:
    """What ``ulimit -v`` leaves of the address space."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _lines("/proc/self/status").get("VmSize:")
    if limit == resource.RLIM_INFINITY or used is None:
        return None
    return limit - 1024 * int(used.split()[0])


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _lines(path: str) -> dict[str, str]:
    """First words of lines, with the rest of each."""
    pairs = (line.split(maxsplit=1) for line in _text(path).splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
