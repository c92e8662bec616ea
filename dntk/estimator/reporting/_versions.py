"""Versions of what runs."""

import platform
import sys

_LIBRARIES = ("dntk", "numpy", "torch", "jax", "cupy", "array_api_compat")


def versions() -> dict[str, str]:
    """Of Python and of the libraries that are loaded."""
    loaded = {name: str(getattr(sys.modules[name], "__version__", "")) for name in _LIBRARIES if name in sys.modules}
    return {"python": platform.python_version(), "machine": platform.machine(), **loaded}
