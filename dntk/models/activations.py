"""Activation functions with their first and second derivatives, in array API.

What the standard lacks, the error function of the exact GELU, comes from the backend.
"""

import dataclasses
from collections.abc import Callable, Mapping

from dntk import arrays
from dntk.backend import backend_of
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Activation:
    """An elementwise function and its two derivatives, all of the value before it.

    Where a derivative jumps, the second one is that of the pieces: zero for the rectifier.
    """

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    second_derivative: Callable[[Array], Array]


def _relu(h: Array) -> Array:
    return arrays.namespace(h).where(h > 0, h, arrays.namespace(h).zeros_like(h))


def _step(h: Array) -> Array:
    xp = arrays.namespace(h)
    return xp.astype(h > 0, h.dtype)


def _tanh(h: Array) -> Array:
    return arrays.namespace(h).tanh(h)


def _gelu(h: Array) -> Array:
    return h * _normal_cdf(h)


def _gelu_derivative(h: Array) -> Array:
    density = arrays.namespace(h).exp(h * h * -0.5) * 0.3989422804014327  # 1/√(2π)
    return _normal_cdf(h) + h * density


def _gelu_second_derivative(h: Array) -> Array:
    density = arrays.namespace(h).exp(h * h * -0.5) * 0.3989422804014327
    return density * (2 - h * h)


def _normal_cdf(h: Array) -> Array:
    return (backend_of(h).erf(h * 0.7071067811865476) + 1) * 0.5


def _gelu_tanh(h: Array) -> Array:
    return h * (_tanh((h + h * h * h * 0.044715) * _ROOT) + 1) * 0.5


def _gelu_tanh_derivative(h: Array) -> Array:
    t = _tanh((h + h * h * h * 0.044715) * _ROOT)
    return (t + 1) * 0.5 + h * (1 - t * t) * (h * h * 0.134145 + 1) * (0.5 * _ROOT)


def _gelu_tanh_second_derivative(h: Array) -> Array:
    t = _tanh((h + h * h * h * 0.044715) * _ROOT)
    slope = (h * h * 0.134145 + 1) * _ROOT  # of the argument of tanh
    return (1 - t * t) * (slope - h * t * slope * slope + h * h * (0.134145 * _ROOT))


_ROOT = 0.7978845608028654  # √(2/π)


def _logistic(h: Array) -> Array:
    return (_tanh(h * 0.5) + 1) * 0.5  # no overflow for large |h|


def _logistic_derivative(h: Array) -> Array:
    value = _logistic(h)
    return value * (1 - value)


def _logistic_second_derivative(h: Array) -> Array:
    value = _logistic(h)
    return value * (1 - value) * (1 - 2 * value)


def _identity(h: Array) -> Array:
    return h


def _zero(h: Array) -> Array:
    return arrays.namespace(h).zeros_like(h)


def _tanh_second_derivative(h: Array) -> Array:
    t = _tanh(h)
    return t * (t * t - 1) * 2


def _one(h: Array) -> Array:
    return arrays.namespace(h).ones_like(h)


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": Activation(value=_relu, derivative=_step, second_derivative=_zero),
    "tanh": Activation(value=_tanh, derivative=lambda h: 1 - _tanh(h) ** 2, second_derivative=_tanh_second_derivative),
    "gelu": Activation(value=_gelu, derivative=_gelu_derivative, second_derivative=_gelu_second_derivative),
    "gelu_tanh": Activation(
        value=_gelu_tanh, derivative=_gelu_tanh_derivative, second_derivative=_gelu_tanh_second_derivative
    ),
    "logistic": Activation(
        value=_logistic, derivative=_logistic_derivative, second_derivative=_logistic_second_derivative
    ),
    "identity": Activation(value=_identity, derivative=_one, second_derivative=_zero),
}
