"""Archives: one file in the format of safetensors, with a manifest and a checksum of everything in its metadata.

Bytes of the file, in order:

- 8: length of the header, lowest byte first;
- the header, JSON: ``{"__metadata__":{"sha256":"…64 digits…","manifest":"…"},"name":{"dtype":"F32","shape":[3],
  "data_offsets":[0,12]},…}``, filled up with spaces to a multiple of 8;
- the arrays one after the other, row by row, the lowest byte of each number first.

The digest is of all bytes but its own 64 digits, which therefore stand at one place in every file.
"""

import dataclasses
import hashlib
import io
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from dntk.archive import schema
from dntk.archive.digests import BFLOAT16, dtype_name, raw_bytes, to_host
from dntk.archive.errors import StoreError
from dntk.archive.files import expanded, written_whole
from dntk.archive.stored import Stored
from dntk.types import Array

Bytes: TypeAlias = Any
"""A stream of bytes: a file, or a buffer in memory, which has no name and no mode."""

_START = b'{"__metadata__":{"sha256":"'
_DIGEST = slice(8 + len(_START), 8 + len(_START) + 64)
_BLOCK = 2**20
_DTYPES = {
    "float64": ("F64", "<f8"),
    "float32": ("F32", "<f4"),
    "float16": ("F16", "<f2"),
    BFLOAT16: ("BF16", "<u2"),
    "int64": ("I64", "<i8"),
    "int32": ("I32", "<i4"),
    "int16": ("I16", "<i2"),
    "int8": ("I8", "|i1"),
    "uint64": ("U64", "<u8"),
    "uint32": ("U32", "<u4"),
    "uint16": ("U16", "<u2"),
    "uint8": ("U8", "|u1"),
    "bool": ("BOOL", "|b1"),
}
_NUMPY = dict(_DTYPES.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """What an archive holds: its name and version in the file, the schema of its manifest, and words for messages.

    ``kind`` says what it is, ``reader`` how it is read, as in "a fit", "dntk.load(path)".
    """

    name: str
    version: int
    fields: Mapping[str, schema.Check]
    kind: str
    reader: str


def write(
    path: str | Path, form: Format, arrays: Mapping[str, Array], manifest: Mapping[str, Any], *, replace: bool = True
) -> None:
    """Write arrays of any library and a manifest, replacing an archive that is at ``path``; whole or not at all.

    Arrays are copied to the host one at a time. Without ``replace`` the first of several processes that write the same
    path stays.

    Raises
    ------
    FileExistsError
        ``path`` exists and is no archive, or, without ``replace``, is there by the end.
    TypeError, ValueError
        A dtype that cannot be stored, or a manifest that the format does not allow.
    OSError
        The disk is full or not writable; what was at ``path`` is still there.
    """
    destination = expanded(path)
    _require_replaceable(destination, form)
    header, order = _described(form, arrays, manifest)
    size = len(header) + sum(math.prod(arrays[name].shape) * _itemsize(arrays[name]) for name in order)
    with written_whole(destination, size=size, replace=replace) as stream:
        _write_to(stream, header, order, arrays)


def packed(form: Format, arrays: Mapping[str, Array], manifest: Mapping[str, Any]) -> Any:
    """The bytes of an archive, a NumPy array of uint8; raises as :func:`write`."""
    stream = io.BytesIO()
    _write_to(stream, *_described(form, arrays, manifest), arrays)
    return np.frombuffer(stream.getbuffer(), dtype=np.uint8)


def _described(form: Format, arrays: Mapping[str, Array], manifest: Mapping[str, Any]) -> tuple[bytes, list[str]]:
    text = json.dumps({"format": form.name, "version": form.version, **manifest})
    _check(json.loads(text), form)
    return _header(arrays, text)


def _write_to(stream: Bytes, header: bytes, order: list[str], arrays: Mapping[str, Array]) -> None:
    digest = hashlib.sha256(header[: _DIGEST.start])
    digest.update(header[_DIGEST.stop :])
    stream.write(header)
    for name in order:
        content = _payload(arrays[name])
        digest.update(content)
        stream.write(content)
    stream.seek(_DIGEST.start)
    stream.write(digest.hexdigest().encode())


def read(path: str | Path, form: Format, *, others: tuple[Format, ...] = ()) -> Stored:
    """What an archive of this format holds; memory for one copy of the arrays.

    The whole file is read while others may replace it: what is returned is one of the two.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    StoreError
        It is damaged, foreign or of another version, or holds something else, maybe one of the ``others``.
    """
    place = expanded(path)
    with _opened(place, form) as stream:
        return _read_from(stream, os.fstat(stream.fileno()).st_size, place, form, others)


def unpacked(content: Any, form: Format, *, name: str) -> Stored:
    """What the bytes of an archive hold; ``name`` is for errors, which are those of :func:`read`."""
    return _read_from(io.BytesIO(memoryview(content)), len(content), Path(name), form, ())


def _read_from(stream: Bytes, size: int, place: Path, form: Format, others: tuple[Format, ...]) -> Stored:
    with stream:
        _verify(stream, place, form)
        manifest, entries, start = _parsed(stream, place, size)
        _require_format(manifest, place, form, others)
        arrays = {name: _array(stream, kind, shape, start + first) for name, kind, shape, first in entries}
    try:
        _check(manifest, form)
    except schema.Misstated as error:
        msg = f"{place} is no sound {form.kind}: {error}; the file was edited, make and save it again."
        raise StoreError(msg) from error
    narrow = frozenset(name for name, kind, _, _ in entries if kind == "BF16")
    content = {name: value for name, value in manifest.items() if name not in ("format", "version")}
    return Stored(path=place, manifest=content, arrays=arrays, narrow=narrow)


def _check(manifest: Any, form: Format) -> None:
    schema.record_of({"format": schema.text, "version": schema.integer(), **form.fields})(manifest, "")


def _header(arrays: Mapping[str, Array], manifest: str) -> tuple[bytes, list[str]]:
    """Header with zeros for the digest, and the order of the arrays: widest numbers first, so that all are aligned."""
    for name, value in arrays.items():
        if dtype_name(value) not in _DTYPES or name == "__metadata__":
            msg = f"cannot store the array {name!r} of dtype {value.dtype}: convert it to one of {', '.join(_DTYPES)}."
            raise TypeError(msg)
    order = sorted(arrays, key=lambda name: -_itemsize(arrays[name]))
    table: dict[str, Any] = {"__metadata__": {"sha256": "0" * 64, "manifest": manifest}}
    first = 0
    for name in order:
        shape = [int(size) for size in arrays[name].shape]
        last = first + math.prod(shape) * _itemsize(arrays[name])
        table[name] = {"dtype": _DTYPES[dtype_name(arrays[name])][0], "shape": shape, "data_offsets": [first, last]}
        first = last
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, order


def _itemsize(value: Array) -> int:
    return np.dtype(_DTYPES[dtype_name(value)][1]).itemsize


def _payload(value: Array) -> Any:
    """The bytes of an array as they stand in the file."""
    host = to_host(value)
    if dtype_name(value) == BFLOAT16:
        host = (np.atleast_1d(host).view(np.uint32) >> 16).astype(np.uint16)
    return raw_bytes(host)


def _opened(place: Path, form: Format) -> BinaryIO:
    try:
        mode = place.stat().st_mode
        if stat.S_ISREG(mode):
            return place.open("rb")
    except FileNotFoundError as error:
        msg = f"there is no file {place}: expected a {form.kind}, as {form.reader} reads."
        raise FileNotFoundError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{place} cannot be read ({error}): pass the path of a {form.kind}."
        raise StoreError(msg) from error
    if stat.S_ISDIR(mode) and (place / "manifest.json").exists():
        msg = f"{place} is a folder of an earlier dntk, which this one does not read: make and save it again."
        raise StoreError(msg)
    msg = (
        f"{place} is a {'folder' if stat.S_ISDIR(mode) else 'device or pipe'}, no {form.kind}: pass the path of a file."
    )
    raise StoreError(msg)


def _verify(stream: Bytes, place: Path, form: Format) -> None:
    """Raise unless the file is an archive with the right digest."""
    try:
        head = stream.read(_DIGEST.stop)
        if not head:
            msg = f"{place} is empty (0 bytes), no {form.kind}: make and save it again."
            raise StoreError(msg)
        if head[8 : _DIGEST.start] != _START:
            msg = f"{place} is no {form.kind}, or its first bytes are damaged: pass what {form.reader} reads."
            raise StoreError(msg)
        digest = hashlib.sha256(head[: _DIGEST.start])
        while block := stream.read(_BLOCK):
            digest.update(block)
    except OSError as error:
        msg = f"{place} cannot be read ({error}): copy it to another disk, or make and save it again."
        raise StoreError(msg) from error
    if digest.hexdigest().encode() != head[_DIGEST]:
        msg = f"{place} is damaged or cut off: its SHA-256 is not that of its writer. Make and save it again."
        raise StoreError(msg)


def _parsed(stream: Bytes, place: Path, size: int) -> tuple[Any, list[tuple[str, str, tuple[int, ...], int]], int]:
    """Manifest, (name, dtype, shape, offset) of every array, and where arrays begin."""
    stream.seek(0)
    length = int.from_bytes(stream.read(8), "little")
    try:
        if 8 + length > size:
            schema.refuse("the header's length", length, f"at most {size - 8}")
        table = json.loads(stream.read(length))
        metadata = table.pop("__metadata__")
        schema.record(sha256=schema.text, manifest=schema.text)(metadata, "__metadata__")
        return json.loads(metadata["manifest"]), list(_entries(table, size - 8 - length)), 8 + length
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        msg = f"{place} has a header that is none ({error}): the file was edited; make and save it again."
        raise StoreError(msg) from error


_ENTRY = schema.record(
    dtype=schema.choice(*_NUMPY),
    shape=schema.items(schema.integer(), most=32),
    data_offsets=schema.items(schema.integer(), least=2, most=2),
)


def _entries(table: Mapping[str, Any], size: int) -> Iterator[tuple[str, str, tuple[int, ...], int]]:
    """Arrays of a header whose sizes are those of their places, without gaps, up to the end of the file."""
    expected = 0
    for name, entry in table.items():
        _ENTRY(entry, name)
        first, last = entry["data_offsets"]
        if first != expected or last - first != math.prod(entry["shape"]) * np.dtype(_NUMPY[entry["dtype"]]).itemsize:
            schema.refuse(f"{name}.data_offsets", entry, f"its size, from {expected} on")
        yield name, entry["dtype"], tuple(entry["shape"]), first
        expected = last
    if expected != size:
        schema.refuse("the size of all arrays", expected, str(size))


def _array(stream: Bytes, kind: str, shape: tuple[int, ...], start: int) -> Any:
    out = np.empty(shape, dtype=_NUMPY[kind])
    stream.seek(start)
    if out.size:
        stream.readinto(out.reshape(-1).view(np.uint8))
    if kind != "BF16":
        return out
    return (out.astype(np.uint32) << 16).view(np.float32).reshape(shape)


def _require_format(manifest: Any, place: Path, form: Format, others: tuple[Format, ...]) -> None:
    found = manifest.get("format") if isinstance(manifest, dict) else None
    other = next((one for one in others if one.name == found), None)
    if other is not None:
        msg = f"{place} holds a {other.kind}, not a {form.kind}: read it with {other.reader}."
        raise StoreError(msg)
    if found != form.name:
        msg = f"{place} holds {found!r}, not a {form.kind} ({form.name!r}): pass the path of what {form.reader} reads."
        raise StoreError(msg)
    version = manifest.get("version")
    if version != form.version:
        msg = (
            f"{place} has format version {version!r}, this dntk reads version {form.version}: upgrade dntk, or make "
            "and save it again."
        )
        raise StoreError(msg)


def _require_replaceable(place: Path, form: Format) -> None:
    """Raise where something is at the path that is neither an archive nor empty."""
    if not place.exists():
        return
    if place.is_file():
        with place.open("rb") as stream:
            head = stream.read(_DIGEST.start)
        if not head or head[8:] == _START:
            return
    msg = f"{place} exists and is not a stored {form.kind}: choose another path, or remove it."
    raise FileExistsError(msg)
