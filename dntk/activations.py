"""Activation functions with their derivatives, in array API.

What the standard lacks, the error function of the exact GELU, comes from the backend.
"""

import dataclasses
from collections.abc import Callable, Mapping

from dntk import arrays
from dntk.backend import backend_of
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Activation:
    """An elementwise function and its derivative, both of the value before it."""

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def _relu(h: Array) -> Array:
    return arrays.namespace(h).where(h > 0, h, arrays.namespace(h).zeros_like(h))


def _step(h: Array) -> Array:
    xp = arrays.namespace(h)
    return xp.astype(h > 0, h.dtype)


def _tanh(h: Array) -> Array:
    tanh: Array = arrays.namespace(h).tanh(h)
    return tanh


def _gelu(h: Array) -> Array:
    return h * _normal_cdf(h)


def _gelu_derivative(h: Array) -> Array:
    density = arrays.namespace(h).exp(h * h * -0.5) * 0.3989422804014327  # 1/√(2π)
    return _normal_cdf(h) + h * density


def _normal_cdf(h: Array) -> Array:
    return (backend_of(h).erf(h * 0.7071067811865476) + 1) * 0.5


def _gelu_tanh(h: Array) -> Array:
    return h * (_tanh((h + h * h * h * 0.044715) * _ROOT) + 1) * 0.5


def _gelu_tanh_derivative(h: Array) -> Array:
    t = _tanh((h + h * h * h * 0.044715) * _ROOT)
    return (t + 1) * 0.5 + h * (1 - t * t) * (h * h * 0.134145 + 1) * (0.5 * _ROOT)


_ROOT = 0.7978845608028654  # √(2/π)


def _logistic(h: Array) -> Array:
    return (_tanh(h * 0.5) + 1) * 0.5  # no overflow for large |h|


def _logistic_derivative(h: Array) -> Array:
    value = _logistic(h)
    return value * (1 - value)


def _identity(h: Array) -> Array:
    return h


def _one(h: Array) -> Array:
    ones: Array = arrays.namespace(h).ones_like(h)
    return ones


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": Activation(value=_relu, derivative=_step),
    "tanh": Activation(value=_tanh, derivative=lambda h: 1 - _tanh(h) ** 2),
    "gelu": Activation(value=_gelu, derivative=_gelu_derivative),
    "gelu_tanh": Activation(value=_gelu_tanh, derivative=_gelu_tanh_derivative),
    "logistic": Activation(value=_logistic, derivative=_logistic_derivative),
    "identity": Activation(value=_identity, derivative=_one),
}
