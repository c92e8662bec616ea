"""Files of data sets: where they are looked for, how they are fetched, and that they are what they should be."""

import dataclasses
import hashlib
import os
import pathlib
import urllib.request
from collections.abc import Sequence

from dntk.archive import written_whole

_CHUNK = 2**20
_PATIENCE_S = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file with the SHA-256 digests of the versions of it that are known, and where it can be fetched.

    ``url`` is empty for a file that has to be given; what is fetched must be the first version.
    """

    name: str
    sha256: tuple[str, ...]
    url: str = ""


def data_directory() -> pathlib.Path:
    """Directory of fetched data: ``$DNTK_DATA``, or ``dntk`` in the user's cache directory."""
    given = os.environ.get("DNTK_DATA")
    if given:
        return pathlib.Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(cache).expanduser() / "dntk"


def places(
    directory: str | os.PathLike[str] | None, subdirectory: str, system: Sequence[str] = ()
) -> tuple[pathlib.Path, ...]:
    """Where to look for a set, in order; fetched files go to the last.

    ``directory`` alone where it is given; else the ``system`` directories, the data directory (for files that were put
    there by hand), and its ``subdirectory``.
    """
    if directory is not None:
        return (pathlib.Path(directory).expanduser(),)
    return (*map(pathlib.Path, system), data_directory(), data_directory() / subdirectory)


def found(file: DataFile, where: Sequence[pathlib.Path]) -> pathlib.Path | None:
    """Path of the file in the first directory that has it, its contents verified; ``None`` where no directory has it.

    Raises
    ------
    ValueError
        The file is there, but is not a known version.
    """
    for directory in where:
        path = directory / file.name
        if path.is_file():
            verify(path, file.sha256)
            return path
    return None


def verify(path: pathlib.Path, sha256: Sequence[str]) -> None:
    """Raise ``ValueError`` unless the digest of the file is one of those given."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest not in sha256:
        msg = (
            f"{path} has the SHA-256 digest {digest}, but {' or '.join(sha256)} is expected: it is damaged or another "
            "version. Delete it and get it again."
        )
        raise ValueError(msg)


def fetch(file: DataFile, directory: pathlib.Path, *, remedy: str) -> pathlib.Path:
    """Path of the file, fetched from its source into ``directory``.

    It appears there only when it is complete and its digest is right.

    Raises
    ------
    FileNotFoundError
        It cannot be fetched or written; the message says why, and ``remedy`` what to do.
    ValueError
        What came has another digest.
    """
    path = directory / file.name
    try:
        with written_whole(path) as target:
            with urllib.request.urlopen(file.url, timeout=_PATIENCE_S) as source:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
            target.flush()
            _verify_fetched(pathlib.Path(target.name), file)
    except OSError as error:  # of the network (urllib's are OSErrors) or of the disc
        msg = f"{file.name} could not be fetched from {file.url} into {directory} ({error}). {remedy}"
        raise FileNotFoundError(msg) from error
    return path


def _verify_fetched(path: pathlib.Path, file: DataFile) -> None:
    try:
        verify(path, file.sha256[:1])
    except ValueError as error:
        msg = f"what {file.url} sent is not {file.name}, or was damaged on the way: {error}"
        raise ValueError(msg) from error
