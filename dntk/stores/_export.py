"""Arrays on the disk as one plain file."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dntk.archive import expanded, present, written_whole


def export(path: str | Path, dtype: Any, shape: tuple[int, ...], pieces: Iterable[Any]) -> Path:
    """Write a ``.npy`` file from pieces in C order, one at a time in memory, and return its path.

    Raises
    ------
    FileExistsError
        There is something at the path.
    OSError
        The disk is full or not writable; nothing is left at the path.
    """
    place, kind = expanded(path), np.dtype(dtype)
    if present(place):
        msg = f"{place} exists: choose another path, or remove it."
        raise FileExistsError(msg)
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with written_whole(place, size=math.prod(shape) * kind.itemsize) as stream:
        np.lib.format.write_array_header_2_0(stream, header)
        for piece in pieces:
            stream.write(np.ascontiguousarray(piece, dtype=kind).tobytes())
    return place
