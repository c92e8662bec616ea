"""Digests of arrays and of networks, equal on every library and device."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dntk import arrays
from dntk.backend import backend_of
from dntk.models.base import Model
from dntk.types import Array

BFLOAT16 = "bfloat16"


def fingerprint(model: Model) -> str:
    """SHA-256 of the names, shapes, types and values of the selected parameters."""
    return checksum(model.parameters)


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
