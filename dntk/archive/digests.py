"""Digests of arrays and of networks, equal on every library and device."""

import hashlib
import zlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dntk import arrays
from dntk.backend import backend_of
from dntk.models.base import Model
from dntk.models.state import state_of, structure_of
from dntk.types import Array

BFLOAT16 = "bfloat16"


def fingerprint(model: Model) -> str:
    """SHA-256 of all arrays of a network, buffers included, and of the names of the selected parameters."""
    selected = "\0".join(model.parameters)
    return hashlib.sha256(f"{selected}\0{checksum(state_of(model))}".encode()).hexdigest()


@runtime_checkable
class MarksArrays(Protocol):
    """A backend that knows a cheaper way than to read all values whether arrays are what they were."""

    def marks(self, values: Sequence[Array]) -> Hashable:
        """A token that differs where one of the arrays may have changed; compared within one process only."""


def mark(model: Model) -> Hashable:
    """A token that differs where the arrays or the structure of a network may have changed; reads its arrays once."""
    state = state_of(model)
    values = list(state.values())
    backend = backend_of(values[0])
    marks = backend.marks(values) if isinstance(backend, MarksArrays) else tuple(crc32(to_host(v)) for v in values)
    return tuple(state), tuple(model.parameters), structure_of(model), marks


def crc32(host: Any) -> int:
    """CRC of a NumPy array's bytes, which read as fast as memory does and notices any single change."""
    return zlib.crc32(raw_bytes(host))


def checksum(arrays: Mapping[str, Array]) -> str:
    """SHA-256 of the names, shapes, types and values of arrays of any library."""
    digest = hashlib.sha256()
    for name, value in arrays.items():
        host = to_host(value)
        kind = dtype_name(value) if is_bfloat16(value) else host.dtype.newbyteorder("<").str
        digest.update(f"{name}:{host.shape}:{kind}".encode())
        digest.update(raw_bytes(host))
    return digest.hexdigest()


def to_host(value: Array) -> Any:
    """Contiguous NumPy copy; of bfloat16, which NumPy has not, the same numbers in float32."""
    if is_bfloat16(value):
        xp = arrays.namespace(value)
        value = xp.astype(value, xp.float32)
    return np.ascontiguousarray(backend_of(value).to_numpy(value)).reshape(tuple(value.shape))


def dtype_name(value: Array) -> str:
    """Name of an array's dtype, the same in every library."""
    return str(value.dtype).rpartition(".")[2]


def is_bfloat16(value: Array) -> bool:
    """Whether an array holds bfloat16 numbers."""
    return dtype_name(value) == BFLOAT16


def raw_bytes(host: Any) -> Any:
    """Bytes of a NumPy array, the lowest of each number first, without a copy where they lie so."""
    little = host.astype(host.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8)
