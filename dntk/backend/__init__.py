"""Backends: the protocol, the registry, and a plain one for any array-API namespace."""

from dntk.backend.memory import MemoryBackend, free_memory, is_out_of_memory
from dntk.backend.pairing import PairingBackend, by_images, paired
from dntk.backend.products import expand, symmetric
from dntk.backend.protocol import Backend
from dntk.backend.registry import (
    GROUP,
    BackendEntry,
    BackendStatus,
    backend_for_network,
    backend_of,
    backends,
    entries,
    get_backend,
    root_modules,
)
from dntk.backend.standard import StandardBackend

__all__ = [
    "GROUP",
    "Backend",
    "BackendEntry",
    "BackendStatus",
    "MemoryBackend",
    "PairingBackend",
    "StandardBackend",
    "backend_for_network",
    "backend_of",
    "backends",
    "by_images",
    "entries",
    "expand",
    "free_memory",
    "get_backend",
    "is_out_of_memory",
    "paired",
    "root_modules",
    "symmetric",
]
