"""A folder in which a long call keeps what is done, so that the same call goes on after an interruption.

Every entry appears whole or not at all, with its checksum. What is returned is what was written, whether it was made
now or by an earlier run: the two cannot differ in a bit.
"""

import contextlib
import dataclasses
import errno
import hashlib
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from dntk import arrays
from dntk.archive import (
    Format,
    Stored,
    StoreError,
    checksum,
    collect_below,
    expanded,
    present,
    read,
    schema,
    to_host,
    write,
)
from dntk.archive.digests import is_bfloat16
from dntk.archive.stored import UNSOUND
from dntk.backend import backend_of
from dntk.identity import Identity, outputs_differ
from dntk.ledger import Spent, count, spent
from dntk.types import Array

FORMAT = Format(
    name="dntk.Checkpoints",
    version=1,
    kind="part of a checkpoint",
    reader="the call that it is of",
    fields={
        "name": schema.text,
        "owner": schema.text,
        "values": schema.mapping(schema.plain),
        "cost": schema.fields_of(Spent),
    },
)
_CALL = "call"
_REMEDY = "Choose another folder, or remove it to begin anew."
_MOST = 1000
"""Entries that an array is kept in at most."""

Entry: TypeAlias = tuple[Mapping[str, Array], Mapping[str, Any]]
"""Arrays and plain values by name."""


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The folder of one call; :meth:`at` makes it or finds it. Entries bear their name and a digest of the call."""

    folder: Path
    owner: str

    @staticmethod
    def at(path: str | Path, owner: Mapping[str, str]) -> "Checkpoints":
        """The folder of the call that ``owner`` describes: digests or texts by what they are of.

        Raises
        ------
        dntk.StoreError
            The folder is of another call: which part differs is said.
        FileExistsError
            ``path`` is no folder, or one with other files.
        """
        folder = expanded(path)
        if folder.exists() and not folder.is_dir():
            msg = f"`checkpoint` {folder} is a file: pass a folder, which is made where it is missing."
            raise FileExistsError(msg)
        # Looked at before its call: another process may begin the folder in between, with its call first.
        filled = folder.exists() and any(not each.name.startswith(".") and present(each) for each in folder.iterdir())
        if not present(folder / _CALL):
            if filled:
                msg = f"`checkpoint` {folder} has files that are no checkpoint: pass an empty or a new folder."
                raise FileExistsError(msg)
            manifest = {"name": _CALL, "owner": digest(owner), "values": dict(owner)}
            with contextlib.suppress(FileExistsError):  # another process was first: it may be of the same call
                write(folder / _CALL, FORMAT, {}, manifest | {"cost": dataclasses.asdict(Spent())}, replace=False)
        known = read(folder / _CALL, FORMAT).manifest["values"]
        other = [part for part in owner if known.get(part) != owner[part]]
        if other:
            msg = f"`checkpoint` {folder} belongs to a call with another {' and another '.join(other)}. {_REMEDY}"
            raise StoreError(msg)
        collect_below(folder)
        return Checkpoints(folder, digest(owner))

    def require_network(self, network: Identity, rounding: float) -> None:
        """Raise ``StoreError`` where a network of the same parameters has other outputs, beyond some ``rounding``."""
        found, plain = self.kept(
            "outputs", lambda: ({"outputs": network.outputs}, {"place": network.place}), network.outputs
        )
        with self.building("outputs"):
            difference = outputs_differ(
                to_host(network.outputs),
                to_host(found["outputs"]),
                rounding=rounding,
                same_place=plain["place"] == network.place,
            )
        if difference:
            msg = f"`checkpoint` {self.folder} belongs to a call with another network: {difference}. {_REMEDY}"
            raise StoreError(msg)

    def holds(self, name: str) -> bool:
        """Whether an entry is there."""
        return present(self.folder / name)

    def kept(self, name: str, make: Callable[[], Entry], like: Array) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """The entry of a name, made where it is not there yet; arrays of the library and on the device of ``like``.

        What it cost is in the ledger in either case. Where several processes make it at once, all of them go on from
        that of the first: what they make may differ in rounding, and no two entries of a folder are of different runs.

        Raises
        ------
        dntk.StoreError
            The entry is damaged.
        OSError
            The disk is full or not writable; what was there is still there.
        """
        if self.holds(name):
            stored = self._read(name)
            count(**stored.manifest["cost"])
        else:
            with spent() as cost:
                made, values = make()
            manifest = {"name": name, "owner": self.owner, "values": dict(values), "cost": dataclasses.asdict(cost)}
            narrow = frozenset(key for key, value in made.items() if is_bfloat16(value))
            hosts = {key: to_host(value) for key, value in made.items()}
            try:
                write(self.folder / name, FORMAT, hosts | {key: made[key] for key in narrow}, manifest, replace=False)
                stored = Stored(path=self.folder / name, manifest=manifest, arrays=hosts, narrow=narrow)
            except FileExistsError:
                stored = self._read(name)
        backend, device = backend_of(like), arrays.device_of(like)
        return {key: stored.place(key, backend, device=device) for key in stored.arrays}, stored.manifest["values"]

    def kept_array(self, name: str, key: str, make: Callable[[], Array], like: Array) -> Array:
        """The only array of an entry, made where it is not there.

        Raises
        ------
        StoreError
            The entry has none of that name.
        """
        found, _ = self.kept(name, lambda: ({key: make()}, {}), like)
        if key not in found:
            msg = f"{self.folder / name} has no array {key!r}: remove it, and it is made again."
            raise StoreError(msg)
        return found[key]

    def _read(self, name: str) -> Stored:
        stored = read(self.folder / name, FORMAT)
        if (stored.manifest["name"], stored.manifest["owner"]) != (name, self.owner):
            msg = f"{stored.path} is of another call, or of another part of this one: remove it, and it is made again."
            raise StoreError(msg)
        return stored

    @contextlib.contextmanager
    def building(self, name: str) -> Iterator[None]:
        """Errors of what is made of an entry as errors of its file."""
        try:
            yield
        except UNSOUND as error:
            msg = f"{self.folder / name} describes what cannot be ({error}): remove it, and it is made again."
            raise StoreError(msg) from error

    def part(self, name: str) -> Path:
        """Where something that keeps checkpoints of its own puts them."""
        return self.folder / name

    def require_space(self, nbytes: int, what: str) -> None:
        """Raise ``OSError`` where the disk cannot take so many bytes more."""
        free = shutil.disk_usage(self.folder).free
        if nbytes > free:
            msg = (
                f"No space left: {what} take {nbytes:,} bytes in {self.folder}, and its disk has {free:,} free; "
                "make room, or choose another folder"
            )
            raise OSError(errno.ENOSPC, msg)


@dataclasses.dataclass(frozen=True)
class KeptRows:
    """An array (q, n, k) that is kept some of its n rows at a time, under a name of its own."""

    checkpoints: Checkpoints
    name: str

    def of_batches(self, size: int) -> "KeptRows":
        """The same made in batches of a size: rounding may depend on it."""
        return KeptRows(self.checkpoints, f"{self.name}-{size}")

    def spans(self, n: int, batch: int) -> Iterator[tuple[int, int]]:
        """Rows that are kept together: a batch, or several where there would be more than a thousand entries."""
        return arrays.spans(n, batch * max(1, math.ceil(n / (batch * _MOST))))

    def holds(self, start: int, stop: int) -> bool:
        """Whether these rows are there."""
        return self.checkpoints.holds(self._entry(start, stop))

    def rows(self, start: int, stop: int, make: Callable[[], Array], like: Array) -> Array:
        """Rows of the array, made where they are not there."""
        entry = self._entry(start, stop)
        rows = self.checkpoints.kept_array(entry, "rows", make, like)
        if rows.ndim != 3 or rows.shape[1] != stop - start:
            found = f"rows of shape {tuple(rows.shape)}, not of {stop - start} points"
            msg = f"{self.checkpoints.folder / entry} has {found}: remove it, and it is made again."
            raise StoreError(msg)
        return rows

    def require_space(self, n: int, batch: int, row_bytes: int) -> None:
        """Raise ``OSError`` where the disk cannot take the rows that are not there."""
        missing = sum(stop - start for start, stop in self.spans(n, batch) if not self.holds(start, stop))
        self.checkpoints.require_space(missing * row_bytes, "tangent features")

    def _entry(self, start: int, stop: int) -> str:
        return f"{self.name}/{start:09}-{stop:09}"


def described(value: Any) -> str:
    """A text that tells settings apart, the same in every process: fields of dataclasses, digests of arrays."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (f"{f.name}={described(getattr(value, f.name))}" for f in dataclasses.fields(value) if f.init)
        return f"{type(value).__qualname__}({', '.join(fields)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {described(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(described(item) for item in value)}]"
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type):
        return f"array {checksum({'': value})}"
    # Where an object lies in memory is no part of what it is.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def digest(*parts: Any) -> str:
    """A short name of settings."""
    return hashlib.sha256("\n".join(described(part) for part in parts).encode()).hexdigest()[:16]
