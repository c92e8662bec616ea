"""Inputs of scikit-learn at the place of a network, and results back where the inputs were."""

from typing import Any

import array_api_compat
from sklearn import get_config
from sklearn.utils.validation import validate_data

from dntk import arrays
from dntk.backend import backend_of
from dntk.models.base import Model
from dntk.models.mlp import MLP
from dntk.types import Array

NO_TARGETS = "no_validation"  # scikit-learn's word: None is a target that is missing


def validated(estimator: Any, x: Any, y: Any = NO_TARGETS, *, reset: bool, own: bool, **checks: Any) -> Any:
    """scikit-learn's checks of X, and of y where there is one: names and numbers of columns, finite values.

    Frames and lists become NumPy arrays; so do arrays of other libraries, on whatever device, unless
    ``array_api_dispatch`` is on. Networks of one's ``own`` may take integers and points of several axes.
    """
    checks["dtype"] = "numeric" if own else [_float(x, "float64"), _float(x, "float32")]
    checks["allow_nd"] = own
    x, y = on_host_unless_dispatched(x), on_host_unless_dispatched(y)
    return validate_data(estimator, x, y, reset=reset, **checks)


def on_host_unless_dispatched(values: Any) -> Any:
    """An array as scikit-learn is set to see it: its own where ``array_api_dispatch`` is on, else NumPy's."""
    return values if get_config()["array_api_dispatch"] else on_host(values)


def on_host(values: Any) -> Any:
    """NumPy array of an array of any library; anything else as it is."""
    if not array_api_compat.is_array_api_obj(values) or array_api_compat.is_numpy_array(values):
        return values
    return backend_of(values).to_numpy(values)


def place_of(x: Array) -> tuple[str, str]:
    """Library and device of an array, in words."""
    return backend_of(x).name, str(arrays.device_of(x))


def require_place_of_fit(estimator: Any, x: Array, method: str) -> None:
    """Raise ``ValueError`` for inputs of another library or device than those of ``fit``.

    It is what scikit-learn asks where ``array_api_dispatch`` is on, and the only case in which they can differ.
    """
    fitted, here = estimator._place, place_of(x)
    if fitted != here:
        msg = (
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace and the same device "
            f"as those passed to fit(): they are of {here[0]} on {here[1]}, but fit had {fitted[0]} on {fitted[1]}. "
            "Convert `X`, or call both without array_api_dispatch."
        )
        raise ValueError(msg)


def moved(values: Array, like: Array) -> Array:
    """An array in the library and on the device of another; through host memory where it is not there already."""
    target, device = backend_of(like), arrays.device_of(like)
    if backend_of(values).name == target.name and arrays.device_of(values) == device:
        return values
    return target.from_numpy(on_host(values), device=device)


def at_network(x: Array, model: Model) -> Array:
    """Checked inputs as the network takes them: at its place; in its type, but for integers of one's own network."""
    here = moved(x, next(iter(model.parameters.values())))
    if arrays.is_floating(here) or isinstance(model, MLP):
        return model.namespace.astype(here, model.dtype, copy=False)
    return here


def _float(x: Any, name: str) -> Any:
    """A floating-point type by name: of the array's library where scikit-learn keeps that, else of NumPy."""
    if get_config()["array_api_dispatch"] and array_api_compat.is_array_api_obj(x):
        return getattr(arrays.namespace(x), name)
    return name
