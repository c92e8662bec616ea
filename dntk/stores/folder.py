"""The folder of an array on the disk: what is there, what is missing, and how it becomes whole."""

import contextlib
import dataclasses
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dntk._progress import Task
from dntk.archive import Stored, StoreError, collect, expanded, locked, present, read, write, write_whole
from dntk.ledger import count, spent
from dntk.stores import chunk_files, manifest
from dntk.stores._missing import require_none_missing
from dntk.stores.layout import DTYPES, Layout
from dntk.stores.manifest import RECORD, Wanted
from dntk.stores.shards import Shard
from dntk.types import Array

VALUES = "values.zarr"
_UNFINISHED = "values.zarr.part"
_RECORDS = "chunks"


@dataclasses.dataclass(frozen=True)
class StoreFolder:
    """A folder and its manifest.

    The array is ``values.zarr.part`` until all chunks are there, ``values.zarr`` then.
    """

    folder: Path
    stored: Stored

    @staticmethod
    def at(path: str | Path, wanted: Wanted) -> "StoreFolder":
        """The folder of a call, made where it is missing.

        Raises
        ------
        dntk.StoreError
            It is of another call: which part differs is said.
        FileExistsError
            ``path`` is no folder, or one with other files.
        ImportError
            Zarr is not installed.
        """
        chunk_files.zarr()
        folder = expanded(path)
        stored = manifest.found(folder)
        if stored is None:
            stored = manifest.written(folder, wanted)
        manifest.require_same(folder, stored, wanted)
        own = StoreFolder(folder, stored)
        for place in (folder, folder / _RECORDS):
            collect(place)
        own._describe(wanted.names)
        return own

    @staticmethod
    def opened(path: str | Path, kind: str) -> "StoreFolder":
        """The folder of a whole array.

        Raises
        ------
        FileNotFoundError
            There is none.
        dntk.StoreError
            It is something else, or not whole: what is missing is said.
        """
        folder = expanded(path)
        stored = manifest.found(folder) if folder.is_dir() else None
        if stored is None:
            msg = f"there are no stored {kind} in {folder}: pass the folder that was given as `store`."
            raise FileNotFoundError(msg)
        if stored.manifest["kind"] != kind:
            msg = f"{folder} holds a {stored.manifest['kind']}, not {kind}: pass another folder."
            raise StoreError(msg)
        own = StoreFolder(folder, stored)
        if not own.is_whole:
            own.require_all()
            msg = f"{folder} has all its chunks, but they are not joined yet: dntk merge {folder}"
            raise StoreError(msg)
        return own

    @property
    def layout(self) -> Layout:
        """How the array lies on the disk."""
        return manifest.layout_of(self.stored)

    @property
    def batch(self) -> int:
        """Inputs that are differentiated at once."""
        return int(self.stored.manifest["batch"])

    @property
    def is_whole(self) -> bool:
        """Whether all chunks were there, and were joined."""
        return (self.folder / VALUES).is_dir()

    def array(self) -> Any:
        """The whole array, by Zarr; see :class:`dntk.stores._verified.VerifiedArray` for one that is verified."""
        return chunk_files.opened(self.folder / VALUES, self.layout)

    def record(self, number: int) -> Stored | None:
        """The record of a chunk that is there, whole.

        Raises
        ------
        dntk.StoreError
            It is damaged, or of a chunk of another run.
        """
        path = self.folder / _RECORDS / f"{number:07}"
        if not present(path):
            return None
        found = read(path, RECORD)
        if (found.manifest["number"], found.manifest["owner"]) != (number, self.owner):
            msg = f"{path} is of a chunk of another run than {self.folder}: remove it, and run its shard again."
            raise StoreError(msg)
        file = self._file(number)
        there = file.stat().st_size if file.is_file() else 0
        return found if there == self.layout.chunk_nbytes + 4 else None

    @property
    def owner(self) -> str:
        """A short name of the run."""
        return manifest.owner_of(self.stored)

    def alone(self, shard: Shard) -> contextlib.AbstractContextManager[None]:
        """Wait until no other process makes this shard, and let none begin: what one has made, the next one finds."""
        return locked(self.folder / f"shard {shard.index} of {shard.count}")

    def fill(
        self,
        shard: Shard,
        make: Callable[[int], tuple[Array, str]],
        digest: Callable[[int], str],
        bar: Task,
    ) -> list[int]:
        """Make the chunks of a shard that are not there, and return their numbers.

        Parameters
        ----------
        make
            Values of a chunk, and a digest of the data that they are of.
        digest
            That digest alone: chunks that are there have to be of the same data.

        Raises
        ------
        dntk.StoreError
            A chunk was made of other data.
        OSError
            The disk is full or not writable; chunks that are there stay.
        """
        records = {number: self.record(number) for number in shard.numbers(len(self.layout))}
        self._require_space(sum(1 for found in records.values() if found is None))
        new = []
        for number, found in records.items():
            if found is None:
                self._make(number, shard, make)
                new.append(number)
            else:
                self._require_data(number, found, digest(number))
                count(**found.manifest["cost"])
                bar.skip(1)
                continue
            bar.advance()
        return new

    def require_space(self, numbers: Iterable[int]) -> None:
        """Raise ``OSError`` unless the disk has room for those chunks that are not there."""
        self._require_space(sum(1 for number in numbers if self.record(number) is None))

    def require_all(self) -> None:
        """Raise ``StoreError`` unless all chunks are there; shards that lack some are named."""
        require_none_missing(self.folder, self.layout, self._records())

    def _records(self) -> dict[int, Stored]:
        """Records of all chunks that are there; what is listed, not what may be, decides how long it takes."""
        place = self.folder / _RECORDS
        names = [entry.name for entry in os.scandir(place)] if place.is_dir() else []
        numbers = (int(name) for name in names if name.isascii() and name.isdecimal())
        found = {number: self.record(number) for number in numbers if number < len(self.layout)}
        return {number: record for number, record in found.items() if record is not None}

    def finish(self, fresh: Iterable[int] = (), bar: Task | None = None) -> None:
        """Check all chunks against their records, but for ``fresh`` ones, and join them.

        Raises
        ------
        dntk.StoreError
            A chunk is missing, damaged, or of another run.
        """
        if self.is_whole:
            return
        self.verify_all(fresh, bar)
        try:
            os.replace(self.folder / _UNFINISHED, self.folder / VALUES)
        except FileNotFoundError:
            if not self.is_whole:  # another process may have joined them
                raise

    def verify_all(self, known: Iterable[int] = (), bar: Task | None = None) -> None:
        """As :meth:`confirm` for all chunks but those that are ``known``; ``StoreError`` where some are missing."""
        self.require_all()
        sound = set(known)
        for number in range(len(self.layout)):
            if number not in sound:
                self.confirm(number)
            if bar is not None:
                bar.advance()

    def verify(self, number: int) -> None:
        """Raise ``StoreError`` unless the file of a chunk is what its record says; who reads changes nothing."""
        if not self._is_sound(number):
            again = f"let `dntk merge {self.folder}` take out its record, then run the call that made it again."
            msg = f"{self._file(number)} is damaged: {again}"
            raise StoreError(msg)

    def confirm(self, number: int) -> None:
        """As :meth:`verify`, but let a chunk that is damaged count as missing, so that it is made again."""
        if not self._is_sound(number):
            with contextlib.suppress(OSError):  # who may only read cannot take it away
                (self.folder / _RECORDS / f"{number:07}").unlink()
            again = "and counts as missing from now on: run its shard, or the call that made it, again."
            msg = f"{self._file(number)} is damaged, {again}"
            raise StoreError(msg)

    def _is_sound(self, number: int) -> bool:
        found = self.record(number)
        return found is not None and _sha256(self._file(number)) == found.manifest["sha256"]

    def chunk(self, number: int, data: str) -> Any | None:
        """Numbers of a chunk, in NumPy; None unless it is there, is what its record says, and of these data."""
        found = self.record(number)
        if found is None or found.manifest["data"] != data or not self._is_sound(number):
            return None
        array = chunk_files.opened(self._values(), self.layout)
        return chunk_files.from_disk(chunk_files.read(array, self.layout.slices(number)), self.layout.dtype)

    def _describe(self, names: tuple[str, ...]) -> None:
        """Write the description of the array where it is missing or damaged."""
        for name, joined in ((_UNFINISHED, False), (VALUES, True)):
            described = chunk_files.is_described(self.folder / name, self.layout)
            if not described and self.is_whole == joined:  # looked at last: another process may join the chunks
                chunk_files.create(self.folder / name, self.layout, names)

    def _make(self, number: int, shard: Shard, make: Callable[[int], tuple[Array, str]]) -> None:
        with spent() as cost:
            values, data = make(number)
        name, content = chunk_files.encoded(self.layout, number, chunk_files.to_disk(values, self.layout.dtype))
        write_whole(self._values() / name, content)
        record = {
            "number": number,
            "owner": self.owner,
            "sha256": hashlib.sha256(content).hexdigest(),
            "data": data,
            "shard": [shard.index, shard.count],
            "cost": dataclasses.asdict(cost),
        }
        write(self.folder / _RECORDS / f"{number:07}", RECORD, {}, record)

    def _require_data(self, number: int, found: Stored, data: str) -> None:
        if found.manifest["data"] != data:
            part = self.layout.slices(number)
            msg = (
                f"`store` {self.folder} belongs to a call with other points: those of chunk {number} "
                f"([{', '.join(f'{one.start}:{one.stop}' for one in part)}]) are not what it was made of. A source has "
                "to give the same points every time; choose another folder, or remove this one to begin anew."
            )
            raise StoreError(msg)

    def _require_space(self, chunks: int) -> None:
        needed, free = chunks * self.layout.chunk_nbytes, shutil.disk_usage(self.folder).free
        if needed > free:
            narrow = (
                " Store narrower numbers, dntk.Store(path, dtype='bfloat16'), make" if _wide(self.layout) else " Make"
            )
            msg = (
                f"No space left: {chunks} chunks take {needed:,} bytes in {self.folder}, and its disk has {free:,} "
                f"free; what is there stays.{narrow} room, or choose another folder"
            )
            raise OSError(errno.ENOSPC, msg)

    def _values(self) -> Path:
        return self.folder / (VALUES if self.is_whole else _UNFINISHED)

    def _file(self, number: int) -> Path:
        return self._values() / chunk_files.key(self.layout, number)


def _wide(layout: Layout) -> bool:
    return DTYPES[layout.dtype] > 2


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
