"""The array libraries and devices that tests run on, as data."""

import dataclasses
import importlib.util
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Library:
    """An array library on one device, and the way there and back for test data."""

    id: str
    module: str
    device: str | None = None

    def why_not(self) -> str:
        if importlib.util.find_spec(self.module) is None:
            return f"{self.module} is not installed"
        if self.module == "cupy":
            import cupy

            return "" if cupy.cuda.is_available() else "CuPy finds no GPU"
        if self.device == "cuda:0":
            import torch

            return "" if torch.cuda.is_available() else "PyTorch finds no GPU"
        return ""

    @property
    def has_float64(self) -> bool:
        return self.module != "jax"

    def place(self) -> Any:
        if self.module == "array_api_strict":
            import array_api_strict

            return array_api_strict.Device(self.device)
        if self.module == "torch" and self.device is not None:
            import torch

            return torch.device(self.device)
        return self.device

    def array(self, values: Any, dtype: Any = None) -> Any:
        """Array of this library on its device."""
        host = np.asarray(values, dtype=dtype)
        if self.module == "numpy":
            return host
        if self.module == "torch":
            import torch

            return torch.asarray(host.copy(), device=self.device)
        if self.module == "jax":
            import jax.numpy

            return jax.numpy.asarray(host)
        if self.module == "cupy":
            import cupy

            return cupy.asarray(host)
        import array_api_strict

        return array_api_strict.asarray(host, device=self.place())


def host(x: Any) -> np.ndarray:
    """NumPy copy of an array of any library."""
    from dntk.backend import backend_of

    return np.asarray(backend_of(x).to_numpy(x))


def set_working_set(monkeypatch: Any, library: Library, entries: int) -> None:
    """Let the library's backend have temporaries of so many entries."""
    from dntk.backend import backend_of

    monkeypatch.setattr(type(backend_of(library.array([0.0], "float32"))), "working_set", lambda *_: entries)


def interpreted(library: Library) -> None:
    """Skip a library that compiles every operation for every shape, where another test covers it on it."""
    if library.module == "jax":
        import pytest

        pytest.skip("JAX compiles each operation for each shape: it runs what other tests of this file have compiled")


LIBRARIES = [
    Library("numpy", "numpy"),
    Library("torch", "torch"),
    Library("torch-cuda", "torch", "cuda:0"),
    Library("jax", "jax"),
    Library("strict", "array_api_strict", "CPU_DEVICE"),
    Library("strict-device1", "array_api_strict", "device1"),
    Library("cupy", "cupy"),
]
