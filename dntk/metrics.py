"""Accuracy, fidelity and mean squared error of predictors."""

from jaxtyping import Float, Int, Integer

from dntk import arrays
from dntk._foreign import require_plain_array
from dntk._target_checks import check_classes, check_labels
from dntk.types import Array

__all__ = ["accuracy", "fidelity", "mean_squared_error", "predicted_labels"]


def predicted_labels(outputs: Float[Array, "n c"]) -> Int[Array, " n"]:
    """Class of the largest output, the lower class where two are equal; for one output, whether it is positive."""
    require_outputs("outputs", outputs)
    if outputs.shape[1] > 1:
        return arrays.first_largest(outputs)
    xp = arrays.namespace(outputs)
    return xp.astype(outputs[:, 0] > 0, arrays.first_largest(outputs).dtype)


def accuracy(outputs: Float[Array, "n c"], labels: Integer[Array, " n"]) -> float:
    """Share of points whose predicted class is the label."""
    xp = arrays.require_same_place(outputs=outputs, labels=labels)
    require_outputs("outputs", outputs)
    check_labels("labels", labels, points=outputs.shape[0])
    check_classes("labels", labels, classes=max(2, outputs.shape[1]))
    return float(xp.mean(xp.astype(predicted_labels(outputs) == labels, outputs.dtype)))


def fidelity(outputs: Float[Array, "n c"], network_outputs: Float[Array, "n c"]) -> float:
    """Share of points where predictor and network choose the same class."""
    xp = arrays.require_same_place(outputs=outputs, network_outputs=network_outputs)
    _require_equal_shapes(outputs, network_outputs)
    same = predicted_labels(outputs) == predicted_labels(network_outputs)
    return float(xp.mean(xp.astype(same, outputs.dtype)))


def mean_squared_error(outputs: Float[Array, "n c"], network_outputs: Float[Array, "n c"]) -> float:
    """Mean over points and outputs of the squared difference, in squared units of the outputs."""
    xp = arrays.require_same_place(outputs=outputs, network_outputs=network_outputs)
    _require_equal_shapes(outputs, network_outputs)
    return float(xp.mean((outputs - network_outputs) ** 2))


def require_outputs(name: str, outputs: Array) -> None:
    """Raise unless ``outputs`` is a finite array (n, C) of real numbers."""
    require_plain_array(name, outputs)
    arrays.require_floating(name, outputs)
    if outputs.ndim != 2 or outputs.shape[1] == 0:
        msg = f"`{name}` has shape {tuple(outputs.shape)}: expected (points, outputs), one row per point."
        raise ValueError(msg)
    arrays.require_finite(name, outputs)


def _require_equal_shapes(outputs: Array, network_outputs: Array) -> None:
    require_outputs("outputs", outputs)
    if outputs.shape != network_outputs.shape:
        shapes = f"`outputs` has shape {tuple(outputs.shape)}, `network_outputs` {tuple(network_outputs.shape)}"
        msg = f"{shapes}: pass outputs of the same points and classes."
        raise ValueError(msg)
