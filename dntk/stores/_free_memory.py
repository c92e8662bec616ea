"""How much memory there is for arrays that are read from the disk."""

import os

SHARE = 0.5
"""Of the memory that is free, where no limit is given."""

_UNKNOWN = 2**31


def free_memory() -> int:
    """Bytes of memory that may be used where no limit is given: half of what the machine has free, or 1 GiB.

    What the system keeps of files in memory counts as free where it says so.
    """
    return int(SHARE * _available())


def _available() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN
