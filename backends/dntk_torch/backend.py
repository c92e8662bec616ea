"""What PyTorch tensors need beyond the array API standard."""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch
from array_api_compat import array_namespace

from dntk.types import Array, Namespace
from dntk_torch import products, state
from dntk_torch._scatter import scatter_add
from dntk_torch.model import TorchModel

_NO_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")

_HOST = 1  # kDLCPU in DLPack's list of devices


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchBackend:
    """Backend protocol for PyTorch."""

    name: str = "torch"
    version: str = torch.__version__
    autodiff: str = "torch.nn.Module, dntk.MLP on tensors"

    def devices(self) -> tuple[str, ...]:
        """The CPU and every accelerator in sight."""
        cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        mps = ["mps"] if torch.backends.mps.is_available() else []
        return ("cpu", *cuda, *mps)

    def namespace(self) -> Namespace:
        """PyTorch through array-api-compat."""
        return xp

    def to_numpy(self, x: Any) -> Any:
        """Copy to the host."""
        return x.detach().cpu().numpy()

    def from_numpy(self, x: Any, *, device: Any = None) -> Array:
        """Tensor on ``device``."""
        # A copy: the tensor must neither write into the array's memory nor follow its changes.
        return torch.from_numpy(np.array(x)).to("cpu" if device is None else device)

    def from_dlpack(self, x: Any) -> Array:
        """Tensor over the memory of ``x``; a copy of what runs backwards, which no tensor can."""
        return torch.from_dlpack(_forwards(x))

    def scatter_add(self, updates: Any, index: Any, weights: Any, size: int) -> Array:
        """Rows in the order of where they go; the same to the last bit at every call."""
        return scatter_add(updates, index, weights, size)

    def triangular_solve(self, factor: Any, rhs: Any, *, lower: bool) -> Array:
        """PyTorch's batched triangular solve."""
        return torch.linalg.solve_triangular(factor, rhs, upper=not lower)

    def inner(self, x: Any, y: Any) -> Array:
        """PyTorch's product, or oneDNN's where that is faster."""
        return products.inner(x, y)

    def gram(self, x: Any) -> Array:
        """Half the product, mirrored."""
        return products.gram(x)

    def column_gram(self, x: Any) -> Array:
        """Half the product, by blocks of rows that fit the processor's cache."""
        return products.column_gram(x)

    def expand(self, cotangents: Any, inputs: Any) -> Array:
        """One product per input, for all functionals at once."""
        return products.expand(cotangents, inputs)

    def paired(self, cotangents: Any, matrices: Any, inputs: Any) -> Array:
        """Images of one input after the other where cotangents have their positions last in memory."""
        return products.paired(cotangents, matrices, inputs)

    def erf(self, x: Any) -> Array:
        """PyTorch's error function."""
        return torch.erf(x)

    def working_set(self, x: Any) -> int:
        """2¹⁹ entries, a processor's cache; 2²³ on accelerators, where a start costs more than caches save."""
        return 2**19 if x.device.type == "cpu" else 2**23

    def marks(self, values: Sequence[Any]) -> Hashable:
        """A token that differs where one of the tensors changed."""
        return state.marks_of(values)

    def free_memory(self, x: Any) -> int | None:
        """What the driver has free, and what PyTorch holds of it unused; None for the host."""
        if x.device.type != "cuda":
            return None
        held = torch.cuda.memory_reserved(x.device) - torch.cuda.memory_allocated(x.device)
        return int(torch.cuda.mem_get_info(x.device)[0]) + held

    def out_of_memory(self, error: BaseException) -> bool:
        """CUDA's error has a class of its own, the host's allocator only a text."""
        if isinstance(error, torch.OutOfMemoryError):
            return True
        return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)

    def synchronize(self, x: Any) -> None:
        """Wait for the tensor's device."""
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)

    def as_model(self, net: Any, params: Any, parameters: str | None, forward: Any = None) -> Any:
        """Model of a ``torch.nn.Module``."""
        if params is not None:
            msg = "for PyTorch pass the module itself: dntk.as_model(module); functions of parameters are for JAX."
            raise TypeError(msg)
        return TorchModel.of(net, parameters, forward)


def _forwards(x: Any) -> Any:
    """``x``, or a copy where a stride is negative: PyTorch's import of such memory ends the process."""
    backwards = any(step < 0 for step in getattr(_seen_from_host(x), "strides", ()))
    return array_namespace(x).asarray(x, copy=True) if backwards else x


def _seen_from_host(x: Any) -> Any:
    """NumPy's view, which every library's strides can be read from; ``x`` where NumPy has no such device or dtype."""
    if x.__dlpack_device__()[0] != _HOST:
        return x
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError):
        return x
