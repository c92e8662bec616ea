"""How JAX compiles in tests: environment variables, read once when it is imported.

JAX compiles every operation for every shape. On small arrays optimising costs more than it saves, and what one test
process has compiled another can read. Products are of whole float32 numbers, as dntk has it on accelerators.
"""

import pathlib

SETTINGS = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    "JAX_COMPILATION_CACHE_DIR": str(pathlib.Path(__file__).resolve().parents[1] / ".jax_cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
