"""A backend for any array-API namespace that nobody has registered, built on the standard alone.

Slower than a native one where the standard has no operation: scatter-add multiplies by a one-hot matrix.
array-api-strict runs through it, on all its devices.
"""

import dataclasses
import functools
import math
from typing import Any, NoReturn

import numpy as np
from numpy.polynomial import chebyshev

from dntk.arrays import device_of, namespace, spans
from dntk.backend.products import expand, symmetric
from dntk.types import Array, Namespace

_ONE_HOT_ENTRIES = 2**22


@dataclasses.dataclass(frozen=True, kw_only=True)
class StandardBackend:
    """The backend protocol on top of a bare array-API namespace ``xp``; it has no networks to adapt."""

    xp: Namespace
    autodiff: str = ""

    @property
    def name(self) -> str:
        """Root module of the namespace."""
        return str(self.xp.__name__).partition(".")[0]

    @property
    def version(self) -> str:
        """Version of the namespace, where it says."""
        return str(getattr(self.xp, "__version__", ""))

    def devices(self) -> tuple[str, ...]:
        """Devices that the namespace lists."""
        return tuple(str(d) for d in self.xp.__array_namespace_info__().devices())

    def namespace(self) -> Namespace:
        """The namespace itself."""
        return self.xp

    def to_numpy(self, x: Array) -> Any:
        """Copy to host memory through DLPack."""
        return np.array(np.from_dlpack(x))  # type: ignore[arg-type]

    def from_numpy(self, x: Any, *, device: Any = None) -> Array:
        """Array of the namespace on ``device``."""
        return self.xp.asarray(x, device=device)

    def from_dlpack(self, x: Any) -> Array:
        """The namespace's own ``from_dlpack``."""
        return self.xp.from_dlpack(x)

    def scatter_add(self, updates: Array, index: Array, weights: Array, size: int) -> Array:
        """One-hot matrix product, in chunks of updates."""
        xp = namespace(updates, index, weights)
        place = device_of(updates)
        buckets = xp.arange(size, device=place)
        out = xp.zeros((size, updates.shape[1]), dtype=updates.dtype, device=place)
        for start, stop in spans(updates.shape[0], max(1, _ONE_HOT_ENTRIES // max(1, size * index.shape[1]))):
            hits = xp.astype(index[start:stop, :, None] == buckets, updates.dtype)
            one_hot = xp.sum(hits * weights[start:stop, :, None], axis=1)
            out = out + one_hot.T @ updates[start:stop, :]
        return out

    def triangular_solve(self, factor: Array, rhs: Array, *, lower: bool) -> Array:
        """General solve of the masked triangle."""
        xp = namespace(factor, rhs)
        triangle = xp.tril(factor) if lower else xp.triu(factor)
        return xp.linalg.solve(triangle, rhs)

    def inner(self, x: Array, y: Array) -> Array:
        """The product."""
        return x @ y.mT

    def gram(self, x: Array) -> Array:
        """The product, made symmetric: the standard promises no symmetry of rounding."""
        return symmetric(x @ x.mT)

    def column_gram(self, x: Array) -> Array:
        """The product, made symmetric."""
        return symmetric(x.mT @ x)

    def expand(self, cotangents: Array, inputs: Array) -> Array:
        """One product per input, for all functionals at once."""
        return expand(cotangents, inputs)

    def erf(self, x: Array) -> Array:
        """Chebyshev series of log(erfc(z) e^{z²} / t) in t = 2 / (2 + z); below 1 Taylor's, where 1 − erfc cancels.

        Accurate to two units of rounding.
        """
        xp = namespace(x)
        z = xp.abs(x)
        t = 2 / (2 + z)
        u, previous, current = 4 * t - 2, xp.zeros_like(z), xp.zeros_like(z)
        for coefficient in _erfc_coefficients()[:0:-1]:  # Clenshaw's recurrence
            previous, current = current, u * current - previous + coefficient
        series = u / 2 * current - previous + _erfc_coefficients()[0]
        complement = t * xp.exp(series - z * z)
        near, square = xp.zeros_like(z), xp.clip(z, max=1) ** 2
        for coefficient in _TAYLOR:  # Horner's rule
            near = near * square + coefficient
        return xp.where(z < 1, x * near, xp.sign(x) * (1 - complement))

    def working_set(self, x: Array) -> int:
        """2¹⁹ entries: 2 MiB in float32, which a processor's cache holds."""
        del x
        return 2**19

    def synchronize(self, x: Array) -> None:
        """Nothing to wait for: the standard knows no asynchrony."""

    def as_model(self, net: Any, params: Any, parameters: str | None, forward: Any = None) -> NoReturn:
        """Always refused: the standard has no derivatives."""
        del params, parameters, forward
        msg = f"namespace {self.name!r} has no registered backend, so a {type(net).__name__} cannot be a model."
        raise TypeError(msg)


_TAYLOR = tuple(2 / math.sqrt(math.pi) * (-1) ** i / (math.factorial(i) * (2 * i + 1)) for i in range(20, -1, -1))
"""Coefficients of erf(x)/x in x², the highest first; the next is 1e-21."""


@functools.lru_cache(maxsize=1)
def _erfc_coefficients() -> tuple[float, ...]:
    from scipy.special import erfcx

    def target(u: Any) -> Any:
        t = (u + 1) / 2
        with np.errstate(divide="ignore"):
            z = np.where(t > 0, 2 / np.where(t > 0, t, 1) - 2, np.inf)
        return np.log(np.where(t > 0, erfcx(z) / np.where(t > 0, t, 1), 1 / (2 * np.sqrt(np.pi))))

    return tuple(float(c) for c in chebyshev.chebinterpolate(target, 40))
