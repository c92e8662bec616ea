"""What every worker needs once: objects without their arrays, and the arrays as an archive.

The objects are pickled by cloudpickle, as everything that Dask sends. Arrays in them, weights first of all, are not:
they stand beside it as one archive in the format of safetensors, and come to life in the library, the type, the layout
and on the kind of device that they had. Memory maps travel as the name of their file. What a network remembers of
inputs that it has seen stays behind.
"""

import dataclasses
import io
import mmap
import pickle
import threading
from collections.abc import Mapping
from typing import Any

import cloudpickle
import numpy as np

from dntk import arrays
from dntk.archive import Format, Stored, packed, schema, unpacked
from dntk.archive.digests import BFLOAT16, dtype_name
from dntk.backend import backend_of, entries, get_backend
from dntk.models.adapter import Memo
from dntk.models.nests import is_array
from dntk_dask.versions import require_same, versions

_FORMAT = Format(name="dntk.Parcel", version=1, kind="parcel of arrays", reader="a worker", fields={"of": schema.text})
_STORED = (
    BFLOAT16,
    *(str(np.dtype(kind)) for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u1", "?")),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Parcel:
    """Objects as bytes: structure and arrays; unpacked once in every process, for as long as the parcel is there.

    Parameters
    ----------
    structure
        Pickle, with arrays left out.
    weights
        The archive of those, uint8.
    versions
        Of Python and of the packages that it was made with, which must be the worker's.
    """

    structure: bytes
    weights: Any
    versions: Mapping[str, str]
    _kept: list[Any] = dataclasses.field(default_factory=list, repr=False)
    _lock: Any = dataclasses.field(default_factory=threading.Lock, repr=False)

    @staticmethod
    def of(content: Any) -> "Parcel":
        """A parcel of an object.

        Raises
        ------
        TypeError
            Something in it cannot be sent, such as an open file.
        """
        stream = io.BytesIO()
        pickler = _WithoutArrays(stream)
        try:
            pickler.dump(content)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            msg = (
                f"the network or its inputs cannot be sent to workers ({error}): pass inputs as an array, a Dask or "
                "Zarr array, a memory map, or a data set that opens its files when it is read."
            )
            raise TypeError(msg) from error
        named = {str(number): value for number, value in enumerate(pickler.found)}
        return Parcel(stream.getvalue(), packed(_FORMAT, named, {"of": "arrays"}), versions(pickler.libraries))

    @property
    def content(self) -> Any:
        """The object; every thread of a process gets the same one.

        Raises
        ------
        ImportError
            This process has other versions.
        """
        with self._lock:
            if not self._kept:
                require_same(self.versions)
                stored = unpacked(self.weights, _FORMAT, name="parcel")
                self._kept.append(_WithArrays(io.BytesIO(self.structure), stored).load())
        return self._kept[0]

    def __sizeof__(self) -> int:
        return len(self.structure) + int(self.weights.nbytes)

    def __reduce__(self) -> Any:
        return Parcel, (self.structure, self.weights, dict(self.versions))


class _WithoutArrays(cloudpickle.Pickler):  # type: ignore[misc]
    """Leaves arrays out, and remembers them."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.found: list[Any] = []
        self.libraries: set[str] = set()
        self._numbers: dict[int, int] = {}
        self._plain: dict[type, bool] = {}
        self._alive: list[Any] = []  # numbers are by identity, which is another's once an object is gone

    def persistent_id(self, value: Any) -> Any:
        """What stands for an array: its number, library, type, order of axes in memory and device; None for others."""
        if isinstance(value, np.memmap):
            return _file_of(value)
        if not self._is_plain(value) or dtype_name(value) not in _STORED:
            return None
        backend, kind = backend_of(value), dtype_name(value)
        self.libraries.add(backend.name)
        order = None if kind == BFLOAT16 else _order(backend.to_numpy(value))
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.found)
            self._alive.append(value)
            self.found.append(value if order is None else np.transpose(backend.to_numpy(value), order))
        return "array", self._numbers[id(value)], backend.name, kind, order, _kind_of_device(value)

    def reducer_override(self, value: Any) -> Any:
        """Memories of earlier inputs are left behind."""
        return (Memo, ()) if type(value) is Memo else super().reducer_override(value)

    def _is_plain(self, value: Any) -> bool:
        """Whether it is of the very class that its library's backend makes of NumPy's arrays."""
        kind = type(value)
        if kind not in self._plain:
            self._plain[kind] = not isinstance(value, type) and is_array(value) and _is_made_by_backend(value)
        return self._plain[kind] and not getattr(value, "requires_grad", False)


def _is_made_by_backend(value: Any) -> bool:
    backend = backend_of(value)
    return backend.name in entries() and type(backend.from_numpy(np.zeros(1, dtype=np.float32))) is type(value)


def _order(host: Any) -> tuple[int, ...] | None:
    """Axes from the longest stride to the shortest where these are not in their usual order."""
    if host.flags.c_contiguous:
        return None
    order = tuple(int(axis) for axis in np.argsort([-abs(stride) for stride in host.strides], kind="stable"))
    return None if order == tuple(range(host.ndim)) else order


def _file_of(value: np.memmap[Any, Any]) -> tuple[Any, ...] | None:
    """Name and place of what a memory map shows; None where it is no contiguous part of its file."""
    root: Any = value
    while isinstance(root.base, np.memmap):
        root = root.base
    if not isinstance(root.base, mmap.mmap) or value.filename is None or not value.flags.c_contiguous:
        return None
    ahead = value.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return "file", str(value.filename), value.dtype.str, value.shape, root.offset + ahead


class _WithArrays(pickle.Unpickler):
    """Puts arrays where they were."""

    def __init__(self, stream: io.BytesIO, stored: Stored) -> None:
        super().__init__(stream)
        self._stored, self._made = stored, dict[int, Any]()

    def persistent_load(self, name: Any) -> Any:
        """The array, or the memory map, that a name stands for."""
        if name[0] == "file":
            _, path, dtype, shape, offset = name
            return np.memmap(path, dtype=dtype, mode="r", shape=shape, offset=offset)
        _, number, library, kind, order, place = name
        if number not in self._made:
            self._made[number] = _placed(self._stored.arrays[str(number)], library, kind, order, place)
        return self._made[number]


def _placed(host: Any, library: str, kind: str, order: tuple[int, ...] | None, place: str) -> Any:
    """The array as it was; on the first device of the kind that it was on, as every worker has one of its own."""
    backend = get_backend(library)
    named = [name for name in backend.devices() if name.partition(":")[0] == place != "cpu"]
    source = host if order is None else np.transpose(host, np.argsort(order))
    value = backend.from_numpy(source, device=named[0] if named else None)
    found = _kind_of_device(value)
    if found != place:
        msg = (
            f"arrays of {library} are on a device {place!r}, and on this worker they would be on {found!r}: start "
            "workers with one device of that kind each, or move the network."
        )
        raise ValueError(msg)
    return value if dtype_name(value) == kind else arrays.namespace(value).astype(value, _dtype(value, kind))


def _kind_of_device(value: Any) -> str:
    return str(arrays.device_of(value)).partition(":")[0]


def _dtype(value: Any, kind: str) -> Any:
    return getattr(arrays.namespace(value), kind)
