"""What JAX arrays need beyond the array API standard."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import jax.scipy.special
import numpy as np
from array_api_compat import array_namespace

from dntk.types import Array, Namespace


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
        array: Array = jax.device_put(x, device)
        return array

    def from_dlpack(self, x: Any) -> Array:
        """Array over the memory of ``x``.

        A copy where that is read-only, has gaps, or is not aligned to 64 bytes; 64-bit numbers become 32-bit ones where
        x64 is off.
        """
        try:
            array: Array = jnp.from_dlpack(x)
        except (BufferError, RuntimeError):
            array = jnp.from_dlpack(array_namespace(x).asarray(x, copy=True))
        return array

    def scatter_add(self, updates: Array, index: Array, weights: Array, size: int) -> Array:
        """``.at[].add``, one nonzero of every update at a time; on GPUs in any order."""
        out = jnp.zeros((size, updates.shape[1]), dtype=updates.dtype)
        for position in range(index.shape[1]):
            out = out.at[index[:, position], :].add(weights[:, position, None] * updates)
        result: Array = out
        return result

    def triangular_solve(self, factor: Array, rhs: Array, *, lower: bool) -> Array:
        """XLA's triangular solve."""
        solution: Array = jax.scipy.linalg.solve_triangular(factor, rhs, lower=lower)
        return solution

    def inner(self, x: Array, y: Array) -> Array:
        """XLA's product, not rounded to fewer bits on accelerators."""
        product: Array = jnp.matmul(x, y.mT, precision="highest")
        return product

    def gram(self, x: Array) -> Array:
        """XLA's general product, made symmetric."""
        product: Array = jnp.matmul(x, x.mT, precision="highest")
        return (product + product.mT) / 2

    def column_gram(self, x: Array) -> Array:
        """XLA's general product, made symmetric."""
        product: Array = jnp.matmul(x.mT, x, precision="highest")
        return (product + product.mT) / 2

    def expand(self, cotangents: Array, inputs: Array) -> Array:
        """One product per input, for all functionals at once."""
        (q, n, t, b), a = cotangents.shape, inputs.shape[2]
        rows = jnp.reshape(jnp.permute_dims(cotangents, (1, 0, 3, 2)), (n, q * b, t))
        expanded: Array = jnp.permute_dims(
            jnp.reshape(jnp.matmul(rows, inputs, precision="highest"), (n, q, b * a)), (1, 0, 2)
        )
        return expanded

    def erf(self, x: Array) -> Array:
        """XLA's error function."""
        values: Array = jax.scipy.special.erf(x)
        return values

    def working_set(self, x: Array) -> int:
        """2¹⁹ entries, a processor's cache; 2²³ on accelerators, where a start costs more than caches save."""
        return 2**19 if _platform(x) == "cpu" else 2**23

    def synchronize(self, x: Array) -> None:
        """Block until ``x`` is ready."""
        jax.block_until_ready(x)

    def as_model(self, net: Any, params: Any, parameters: str | None) -> Any:
        """Model of a function of parameters, or of a flax or equinox module."""
        from dntk_jax.model import JaxModel
        from dntk_jax.modules import adapted

        return JaxModel.of(adapted(net, params, parameters), parameters)


def _platform(x: Any) -> str:
    """``"cpu"``, ``"gpu"`` or ``"tpu"``; where ``x`` is being traced, the default one."""
    place = None if isinstance(x, jax.core.Tracer) else next(iter(x.devices()), None)
    return jax.default_backend() if place is None else str(place.platform)
