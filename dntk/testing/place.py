"""Where the numbers of a case go: the arrays of a backend, on one device."""

import dataclasses
import functools
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dntk.backend import Backend, backend_of, get_backend
from dntk.types import Array


@runtime_checkable
class Destination(Protocol):
    """Whatever makes arrays of host arrays: a :class:`Place`, or a fixture of yours."""

    def array(self, values: Any, dtype: Any = None) -> Array:
        """An array of ``values``, of ``dtype`` if one is given."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A backend's arrays on one device.

    Parameters
    ----------
    backend
        A backend, for example ``dntk.backend.get_backend("torch")`` or your own.
    device
        As its ``from_numpy`` takes it; ``None``: the default one.
    """

    backend: Backend
    device: Any = None

    @staticmethod
    def called(name: str, device: Any = None) -> "Place":
        """The place of a registered backend; raises as :func:`dntk.backend.get_backend`."""
        return Place(get_backend(name), device)

    def array(self, values: Any, dtype: Any = None) -> Array:
        """An array here of ``values``."""
        return self.backend.from_numpy(np.array(values, dtype=dtype), device=self.device)

    @functools.cached_property
    def dtypes(self) -> tuple[str, ...]:
        """float32, and float64 where the device has it."""
        found = self.backend.namespace().__array_namespace_info__().dtypes(device=self.device, kind="real floating")
        return tuple(name for name in ("float32", "float64") if name in found)


def host(x: Array) -> npt.NDArray[Any]:
    """Host copy of an array of any library."""
    return np.asarray(backend_of(x).to_numpy(x))


def host64(x: Array) -> npt.NDArray[np.float64]:
    """Host copy in float64."""
    return host(x).astype(np.float64)
