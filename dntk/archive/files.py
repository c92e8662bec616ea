"""Files that appear whole or not at all.

A file is written beside its destination under a name that ends in ``.part``, flushed to the disk, and renamed: at every
moment there is the old one or the new one. A full disk or a killed process leaves what was there before, and the next
writer removes the ``.part`` that is left.
"""

import contextlib
import errno
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_UNFINISHED = re.compile(r"-[0-9a-f]+\.part$")
_ABANDONED = 24 * 3600
"""Seconds without a change after which the unfinished file of another machine counts as left behind."""


def expanded(path: str | Path) -> Path:
    """The path with ``~`` replaced by the home directory.

    Raises
    ------
    ValueError
        There is no such home directory, or the file system's encoding, as of ``LC_ALL=C``, lacks a letter of the path.
    """
    try:
        os.fsencode(path)
        return Path(path).expanduser()
    except UnicodeEncodeError as error:
        msg = (
            f"the path {str(path)!a} has letters that the encoding of file names here, {sys.getfilesystemencoding()}, "
            "lacks: set PYTHONUTF8=1 or a locale of UTF-8, as by LC_ALL=C.UTF-8, or take a name in ASCII."
        )
        raise ValueError(msg) from error
    except RuntimeError as error:
        msg = f"the home directory of the path {path} is not known: write it out instead of {Path(path).parts[0]}."
        raise ValueError(msg) from error


def present(path: str | Path) -> bool:
    """Whether there is something at a path to go on from; an empty file, as a full disk may leave, is nothing."""
    place = expanded(path)
    return os.path.lexists(place) and not (place.is_file() and place.stat().st_size == 0)


@contextlib.contextmanager
def written_whole(path: str | Path, *, size: int = 0, replace: bool = True) -> Iterator[BinaryIO]:
    """A stream to a new file that takes the place of ``path`` when the block ends without an error.

    The file is on the disk before it is renamed. It has the permissions of the file that it replaces, new ones those of
    the umask. Where ``path`` is a link, what it leads to is replaced. ``size`` is the number of bytes to come, if
    known. Without ``replace`` the first of several processes that write the same path stays.

    Raises
    ------
    ValueError
        No file can have that name.
    FileExistsError
        Without ``replace``: something that is not empty is at ``path`` by the end of the block; it stays.
    OSError
        The disk is full, for ``size`` before anything is written, or not writable; what was at ``path`` is still there.
    """
    if "\0" in str(path):
        msg = f"`path` has a null character: {str(path)!r}. Pass a path without it."
        raise ValueError(msg)
    destination = Path(os.path.realpath(expanded(path)))
    destination.parent.mkdir(parents=True, exist_ok=True)
    collect(destination.parent, destination.name)
    _require_space(destination, size)
    part, stream = _opened_part(destination)
    try:
        with stream:
            _as_permitted(part, destination)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if fcntl is None:
                stream.close()  # Windows renames no open file
            _put(part, destination, replace=replace)
        _sync_folder(destination.parent)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(error.errno, _no_space(destination, size)) from error
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all, see :func:`written_whole`."""
    with written_whole(path, size=len(content)) as stream:
        stream.write(content)


def _opened_part(destination: Path) -> tuple[Path, BinaryIO]:
    """A new file beside the destination, locked while it is written so that nobody takes it for left behind."""
    while True:
        part = destination.with_name(f".{destination.name}.{_here()}-{secrets.token_hex(8)}.part")
        stream = part.open("xb")
        # Another writer may have locked it to remove it, or have removed it, before it was locked here.
        if _locked(stream) is not False and part.exists():
            return part, stream
        stream.close()


def _as_permitted(part: Path, destination: Path) -> None:
    """Give a new file, before there is anything in it, the permissions of the one that it will replace."""
    with contextlib.suppress(OSError):  # there is none, or the disk has no permissions
        part.chmod(destination.stat().st_mode & 0o777)


def _put(part: Path, destination: Path, *, replace: bool) -> None:
    """Rename a file; without ``replace`` only where nothing is, also where another process is about to put something.

    Nothing but a link looks and names at once.
    """
    if not replace and not os.path.lexists(destination):
        try:
            os.link(part, destination)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links: one look has to do
            pass
        else:
            return
    if not replace and present(destination):
        raise FileExistsError(errno.EEXIST, "another process was first", str(destination))
    os.replace(part, destination)


def collect(folder: Path, name: str = "") -> None:
    """Remove unfinished files of one name in a folder, or of all names, whose writers are gone.

    Writers do so for the file that they write. Who goes on in a folder does it too, as what is there is not written
    again: a writer may have been killed between putting its file in place and taking the other name away.
    """
    start, here = f".{name}." if name else ".", f".{_here()}-"
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.startswith(start)]
    except OSError:
        return
    for part in (folder / each for each in names if _UNFINISHED.search(each)):
        with contextlib.suppress(OSError), part.open("rb+") as stream:
            locked = _locked(stream) if here in part.name[len(start) - 1 :] else None
            if locked or (locked is None and _now(folder) - part.stat().st_mtime > _ABANDONED):
                part.unlink()  # with the lock held: whoever gets it next sees that the file is gone


def _now(folder: Path) -> float:
    """The time by the clock that stamps the files of a folder, which on a shared disk is not that of this machine."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as stream:
        return os.fstat(stream.fileno()).st_mtime
    return time.time()


def collect_below(folder: Path) -> None:
    """Remove unfinished files in a folder and in all folders below it: also of entries that nobody opens again."""
    for place, _, _ in os.walk(folder):
        collect(Path(place))


def collect_beside(path: str | Path) -> None:
    """Remove unfinished files of a path whose writers are gone: for who goes on from it, and may write it no more."""
    destination = Path(os.path.realpath(expanded(path)))
    collect(destination.parent, destination.name)


def _locked(stream: BinaryIO) -> bool | None:
    """Take a lock; False where another process holds it, ``None`` where the system or the disk has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _here() -> str:
    """Name of the machine, as part of a file's."""
    return "".join(c if c.isalnum() else "_" for c in platform.node()[:32]) or "local"


def _require_space(destination: Path, size: int) -> None:
    if size > shutil.disk_usage(destination.parent).free:
        raise OSError(errno.ENOSPC, _no_space(destination, size))


def _no_space(destination: Path, size: int) -> str:
    free, need = shutil.disk_usage(destination.parent).free, f" takes {size:,} bytes" if size else ""
    return (
        f"No space left: {destination}{need}, its disk has {free:,} free; what was there is still there. Make room, or "
        "choose another path"
    )


def _sync_folder(folder: Path) -> None:
    """Bring the renaming to the disk, where folders can be opened."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
