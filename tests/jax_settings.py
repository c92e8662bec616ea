"""How JAX compiles in tests: environment variables, read once when it is imported, and one context for many programs.

JAX compiles every operation for every shape. On small arrays optimising costs more than it saves, and what one test
process has compiled another can read. Products are of whole float32 numbers, as dntk has it on accelerators.
"""

import functools
import importlib.metadata
import pathlib
import sys
import threading
from collections.abc import Callable
from typing import Any

PROGRAMS_OF_A_CONTEXT = 500
"""So many programs are written in one context: it keeps every type, place and constant that it has seen."""


def flags() -> str:
    """XLA's: without most optimisations, and without the slower way to write single operations as programs."""
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    try:
        version = importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return flags
    tried = version.startswith("0.10.")  # XLA ends the process where it does not know a flag
    return flags + " --xla_cpu_use_fusion_emitters=false" if tried else flags


SETTINGS = {
    "XLA_FLAGS": flags(),
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    "JAX_COMPILATION_CACHE_DIR": str(pathlib.Path(__file__).resolve().parents[1] / ".jax_cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",  # nobody reads which lines asked for an operation
}


def share_contexts() -> None:
    """Write many programs in one MLIR context where JAX is loaded: it makes one for each, a quarter of compiling.

    Programs stay as they are. JAX without the private function that makes contexts is left alone.
    """
    mlir = sys.modules.get("jax._src.interpreters.mlir")
    make = getattr(mlir, "make_ir_context", None)
    if make is not None and not hasattr(make, "__wrapped__"):
        setattr(mlir, "make_ir_context", shared(make))  # noqa: B010 - it may be missing


def shared(make: Callable[[], Any]) -> Callable[[], Any]:
    """What makes a context now and then and gives the last one in between, to every thread its own."""
    local = threading.local()

    @functools.wraps(make)
    def give() -> Any:
        if getattr(local, "left", 0) == 0:
            local.context, local.left = make(), PROGRAMS_OF_A_CONTEXT
        local.left -= 1
        return local.context

    return give
