"""What JAX arrays need beyond the array API standard."""

import dataclasses
import functools
from collections.abc import Hashable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import jax.scipy.special
import numpy as np
from array_api_compat import array_namespace

from dntk.backend import expand, symmetric
from dntk.types import Array, Namespace
from dntk_jax._modules import adapted
from dntk_jax.model import JaxModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class JaxBackend:
    """Backend protocol for JAX arrays; float64 only where ``jax_enable_x64`` is set."""

    name: str = "jax"
    version: str = jax.__version__
    autodiff: str = "functions of a pytree of parameters, flax and equinox modules, dntk.MLP on JAX arrays"

    def devices(self) -> tuple[str, ...]:
        """Devices of the default platform."""
        return tuple(str(d) for d in jax.devices())

    def namespace(self) -> Namespace:
        """``jax.numpy``, which follows the array API itself."""
        return jnp

    def to_numpy(self, x: Array) -> Any:
        """Copy to the host."""
        return np.asarray(x)

    def from_numpy(self, x: Any, *, device: Any = None) -> Array:
        """Array on ``device``; 64-bit numbers become 32-bit ones where x64 is off."""
        return jax.device_put(x, device)

    def from_dlpack(self, x: Any) -> Array:
        """Array over the memory of ``x``.

        A copy where that is read-only, has gaps, or is not aligned to 64 bytes; 64-bit numbers become 32-bit ones where
        x64 is off.
        """
        try:
            return jnp.from_dlpack(x)
        except (BufferError, RuntimeError):
            return jnp.from_dlpack(array_namespace(x).asarray(x, copy=True))

    def scatter_add(self, updates: Array, index: Array, weights: Array, size: int) -> Array:
        """``.at[].add``, one nonzero of every update at a time; on GPUs in any order."""
        out: Any = jnp.zeros((size, updates.shape[1]), dtype=updates.dtype)
        for position in range(index.shape[1]):
            out = out.at[index[:, position], :].add(weights[:, position, None] * updates)
        return out

    def triangular_solve(self, factor: Array, rhs: Array, *, lower: bool) -> Array:
        """XLA's triangular solve."""
        return jax.scipy.linalg.solve_triangular(factor, rhs, lower=lower)

    def inner(self, x: Array, y: Array) -> Array:
        """XLA's product, not rounded to fewer bits on accelerators."""
        return _product(x, y.mT)

    def gram(self, x: Array) -> Array:
        """XLA's general product, made symmetric."""
        return symmetric(_product(x, x.mT))

    def column_gram(self, x: Array) -> Array:
        """XLA's general product, made symmetric."""
        return symmetric(_product(x.mT, x))

    def expand(self, cotangents: Array, inputs: Array) -> Array:
        """One product per input, for all functionals at once."""
        return expand(cotangents, inputs, _product)

    def erf(self, x: Array) -> Array:
        """XLA's error function."""
        return jax.scipy.special.erf(x)

    def working_set(self, x: Array) -> int:
        """2¹⁹ entries, a processor's cache; 2²³ on accelerators, where a start costs more than caches save."""
        return 2**19 if _platform(x) == "cpu" else 2**23

    def marks(self, values: Sequence[Array]) -> Hashable:
        """The arrays themselves: their values cannot change."""
        return tuple(_Same(value) for value in values)

    def free_memory(self, x: Array) -> int | None:
        """What the device's allocator may still take; None where it keeps no account, as on the host."""
        if isinstance(x, jax.core.Tracer):
            return None
        stats: Any = next(iter(cast(Any, x).devices())).memory_stats() or {}
        limit, used = stats.get("bytes_limit"), stats.get("bytes_in_use")
        return None if limit is None or used is None else int(limit) - int(used)

    def out_of_memory(self, error: BaseException) -> bool:
        """XLA's error of this status."""
        return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)

    def synchronize(self, x: Array) -> None:
        """Block until ``x`` is ready."""
        jax.block_until_ready(x)

    def as_model(self, net: Any, params: Any, parameters: str | None, forward: Any = None) -> Any:
        """Model of a function of parameters, or of a flax or equinox module."""
        return JaxModel.of(adapted(net, params, parameters, forward), parameters)


_product = functools.partial(jnp.matmul, precision="highest")


def _platform(x: Any) -> str:
    """``"cpu"``, ``"gpu"`` or ``"tpu"``; where ``x`` is being traced, the default one."""
    place = None if isinstance(x, jax.core.Tracer) else next(iter(x.devices()), None)
    return jax.default_backend() if place is None else str(place.platform)


@dataclasses.dataclass(frozen=True, eq=False)
class _Same:
    """An array that is equal to itself alone."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)
