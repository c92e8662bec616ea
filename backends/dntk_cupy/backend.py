"""What CuPy arrays need beyond the array API standard."""

import dataclasses
from typing import Any, NoReturn

import array_api_compat.cupy as xp
import cupy
import cupyx.scipy.linalg
import cupyx.scipy.special

from dntk.backend import expand, symmetric
from dntk.types import Array, Namespace
from dntk_cupy._scatter import added_in_order


@dataclasses.dataclass(frozen=True, kw_only=True)
class CupyBackend:
    """Backend protocol for CuPy 14 or later, on a machine with a GPU."""

    name: str = "cupy"
    version: str = cupy.__version__
    autodiff: str = "dntk.MLP on CuPy arrays, models of other libraries through dntk.bridge"

    def devices(self) -> tuple[str, ...]:
        """Every GPU in sight."""
        return tuple(f"cuda:{i}" for i in range(cupy.cuda.runtime.getDeviceCount()))

    def namespace(self) -> Namespace:
        """CuPy through array-api-compat."""
        return xp

    def to_numpy(self, x: Any) -> Any:
        """Copy to the host."""
        return cupy.asnumpy(x)

    def from_numpy(self, x: Any, *, device: Any = None) -> Array:
        """Copy on ``device``: a ``cupy.cuda.Device``, its number, a name of :meth:`devices`, or the current one."""
        with _device(device):
            return cupy.array(x)

    def from_dlpack(self, x: Any) -> Array:
        """Array over the memory of ``x``, which must be on a GPU."""
        return cupy.from_dlpack(x)

    def scatter_add(self, updates: Any, index: Any, weights: Any, size: int) -> Array:
        """Sums over the nonzeros of every row in their order: the same to the last bit at every call."""
        with updates.device:
            return added_in_order(updates, index, weights, size)

    def triangular_solve(self, factor: Any, rhs: Any, *, lower: bool) -> Array:
        """Triangular solve of cuBLAS, of batches too."""
        with rhs.device:
            return cupyx.scipy.linalg.solve_triangular(factor, rhs, lower=lower)

    def inner(self, x: Any, y: Any) -> Array:
        """CuBLAS's product."""
        with x.device:
            return x @ y.mT

    def gram(self, x: Any) -> Array:
        """CuBLAS's product, made symmetric."""
        with x.device:
            return symmetric(x @ x.mT)

    def column_gram(self, x: Any) -> Array:
        """CuBLAS's product, made symmetric."""
        with x.device:
            return symmetric(x.mT @ x)

    def expand(self, cotangents: Any, inputs: Any) -> Array:
        """One product per input, for all functionals at once."""
        with inputs.device:
            return expand(cotangents, inputs)

    def erf(self, x: Any) -> Array:
        """CUDA's error function."""
        with x.device:
            return cupyx.scipy.special.erf(x)

    def working_set(self, x: Any) -> int:
        """2²³ entries: a start costs more than caches save."""
        del x
        return 2**23

    def free_memory(self, x: Any) -> int | None:
        """What the driver has free, and what CuPy's pool holds of it unused."""
        with x.device:
            return int(cupy.cuda.runtime.memGetInfo()[0]) + int(cupy.get_default_memory_pool().free_bytes())

    def out_of_memory(self, error: BaseException) -> bool:
        """CuPy's own error, which is a ``MemoryError``, too."""
        return isinstance(error, cupy.cuda.memory.OutOfMemoryError)

    def synchronize(self, x: Any) -> None:
        """Wait for the array's device."""
        x.device.synchronize()

    def as_model(self, net: Any, params: Any, parameters: str | None, forward: Any = None) -> NoReturn:
        """Refused: CuPy has no derivatives, other libraries' models are bridged."""
        del params, parameters, forward
        msg = (
            f"a {type(net).__name__} with CuPy arrays cannot be differentiated, as CuPy has no automatic "
            "differentiation: make the model in PyTorch or JAX on the same GPU, model = dntk.as_model(net.cuda()), "
            'then dntk.bridge(model, "cupy") takes and returns CuPy arrays without copies. dntk.MLP takes CuPy weights.'
        )
        raise TypeError(msg)


def _device(device: Any) -> Any:
    """Context manager of a device."""
    if device is None:
        return cupy.cuda.Device()
    if isinstance(device, cupy.cuda.Device):
        return device
    return cupy.cuda.Device(int(str(device).removeprefix("cuda:")))
