"""The chunks of a Zarr array as files that appear whole or not at all.

Zarr encodes and decodes; the files are written here, because they have to be on the disk before their records are.
"""

import functools
import importlib
from pathlib import Path
from typing import Any

import numpy as np

from dntk.archive import StoreError, to_host, write_whole
from dntk.archive.digests import BFLOAT16, is_bfloat16
from dntk.stores.layout import Layout
from dntk.types import Array

_NAN = {BFLOAT16: 0x7FC0}
"""bfloat16 is stored as the 16 bits that it is: Zarr has no such numbers."""

_REWRITE = "it is damaged or was edited. The call that made the store writes it again, and keeps the chunks."
_FACTS = ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "storage_transformers")
"""What decides which numbers are read."""


def zarr() -> Any:
    """The library; ``ImportError`` with what to install where it is missing."""
    try:
        return importlib.import_module("zarr")
    except ImportError as error:
        msg = 'arrays on the disk need zarr, which is not installed: pip install "dntk[zarr]".'
        raise ImportError(msg) from error


def create(folder: Path, layout: Layout, names: tuple[str, ...]) -> None:
    """Write the description of an array without chunks; what no chunk holds reads as NaN."""
    content: dict[str, Any] = {}
    _described(layout, names, content)
    write_whole(folder / "zarr.json", content["zarr.json"].to_bytes())


def opened(folder: Path, layout: Layout) -> Any:
    """The Zarr array of a folder, to be read.

    Raises
    ------
    dntk.StoreError
        Its description is missing, damaged, or of another layout: other numbers would be read.
    """
    array = foreign(folder)
    if _facts(array) != _facts(_described(layout, (), {})):
        msg = f"{folder / 'zarr.json'} describes another array than its store: {_REWRITE}"
        raise StoreError(msg)
    return array


def is_described(folder: Path, layout: Layout) -> bool:
    """Whether there is a sound description of an array of this layout."""
    try:
        opened(folder, layout)
    except StoreError:
        return False
    return True


def foreign(folder: Path) -> Any:
    """Any Zarr array in a folder; ``dntk.StoreError`` where its description is none."""
    library = zarr()
    try:
        return library.open_array(str(folder), mode="r")
    except Exception as error:  # of a damaged description Zarr raises whatever its parser comes upon
        msg = f"{folder / 'zarr.json'} is no description of an array ({error}): {_REWRITE}"
        raise StoreError(msg) from error


def encoded(layout: Layout, number: int, values: Any) -> tuple[str, bytes]:
    """The file of a chunk below the array's folder, and its bytes."""
    content: dict[str, Any] = {}
    array = _described(layout, (), content)
    array[layout.slices(number)] = values
    name = key(layout, number)
    return name, content[name].to_bytes()


def key(layout: Layout, number: int) -> str:
    """The file of a chunk below the array's folder."""
    return "/".join(["c", *(str(i) for i in layout.position(number))])


def to_disk(values: Array, dtype: str) -> Any:
    """A NumPy array of the numbers on the disk, for bfloat16 their 16 bits.

    Raises
    ------
    ValueError
        A number is beyond the largest of the type.
    """
    host = to_host(values)
    if dtype != BFLOAT16:
        with np.errstate(over="ignore"):
            out = host.astype(dtype, copy=False)
        sound = bool(np.all(np.isfinite(out)))
    else:
        bits = host.astype(np.float32, copy=False).view(np.uint32)
        # To the nearest, of two as near the even one; numbers that were bfloat16 are what they were.
        out = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16) if not is_bfloat16(values) else bits >> 16
        out = out.astype(np.uint16)
        sound = bool(np.all(out & 0x7F80 != 0x7F80))
    if not sound:
        largest = float(np.max(np.abs(host)))
        msg = f"the largest number, {largest:.3g}, is beyond {dtype}: store in bfloat16, float32 or as computed."
        raise ValueError(msg)
    return out


def from_disk(values: Any, dtype: str) -> Any:
    """The numbers of what was read, in NumPy: those of bfloat16 in float32."""
    if dtype != BFLOAT16:
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)


def read(array: Any, selection: tuple[slice, ...]) -> Any:
    """Part of a Zarr array as a NumPy array.

    Raises
    ------
    dntk.StoreError
        A chunk is damaged or cannot be read.
    ConnectionError
        It was held by workers, whose scheduler is gone.
    """
    try:
        return np.asarray(array[selection])
    except (StoreError, ConnectionError):
        raise
    except (ValueError, OSError, RuntimeError) as error:
        place = ", ".join(f"{part.start}:{part.stop}" for part in selection)
        msg = f"[{place}] of {array.store_path} cannot be read ({error}): its file is damaged, make it again."
        raise StoreError(msg) from error


def _facts(array: Any) -> dict[str, Any]:
    said = array.metadata.to_dict()
    return {name: said.get(name) for name in _FACTS}


@functools.lru_cache(maxsize=1)
def _codecs() -> list[Any]:
    return [zarr().codecs.Crc32cCodec()]


def _described(layout: Layout, names: tuple[str, ...], content: dict[str, Any]) -> Any:
    """The array of a layout with its files in a mapping."""
    return zarr().create_array(
        store=zarr().storage.MemoryStore(store_dict=content),
        shape=layout.shape,
        chunks=layout.chunks,
        dtype="uint16" if layout.dtype == BFLOAT16 else layout.dtype,
        compressors=_codecs(),
        fill_value=_NAN.get(layout.dtype, float("nan")),
        attributes={"dtype": layout.dtype},
        dimension_names=names or None,
        config={"write_empty_chunks": True},
    )
