"""What CuPy needs before its libraries can be loaded."""

import cupy

OLDEST = 14
"""First version whose arrays have ``mT`` and whose triangular solve takes batches."""


def require_gpu() -> None:
    """Raise ``ImportError`` where CuPy is too old or finds no GPU."""
    if int(cupy.__version__.partition(".")[0]) < OLDEST:
        msg = f"CuPy {cupy.__version__} lacks parts of the array API standard: dntk needs CuPy {OLDEST} or later"
        raise ImportError(msg)
    if not cupy.cuda.is_available():
        msg = f"CuPy {cupy.__version__} finds no NVIDIA GPU here: check the driver with nvidia-smi"
        raise ImportError(msg)
