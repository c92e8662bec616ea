"""Backends: the protocol, the registry, and a plain one for any array-API namespace."""

from dntk.backend.memory import MemoryBackend, free_memory, is_out_of_memory
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
    "StandardBackend",
    "backend_for_network",
    "backend_of",
    "backends",
    "entries",
    "expand",
    "free_memory",
    "get_backend",
    "is_out_of_memory",
    "root_modules",
    "symmetric",
]
