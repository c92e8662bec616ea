"""Accuracy, fidelity and mean squared error of predictors; how right class probabilities are; agreement of ranks."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int, Integer

from dntk import arrays
from dntk._checks import positive_integer
from dntk._foreign import require_plain_array
from dntk._target_checks import check_classes, check_labels
from dntk.backend import backend_of
from dntk.types import Array

__all__ = [
    "Reliability",
    "accuracy",
    "brier_score",
    "calibration_error",
    "fidelity",
    "kendall_tau",
    "mean_squared_error",
    "negative_log_likelihood",
    "predicted_labels",
    "reliability",
]


def predicted_labels(outputs: Float[Array, "n c"]) -> Int[Array, " n"]:
    """Class of the largest output, the lower class where two are equal; for one output, whether it is positive.

    Examples
    --------
    >>> dntk.metrics.predicted_labels(np.array([[0.1, 2.0], [3.0, -1.0], [5.0, 5.0]])).tolist()
    [1, 0, 0]
    >>> dntk.metrics.predicted_labels(np.array([[0.5], [-0.5]])).tolist()  # one output
    [1, 0]
    """
    require_outputs("outputs", outputs)
    if outputs.shape[1] > 1:
        return arrays.first_largest(outputs)
    xp = arrays.namespace(outputs)
    return xp.astype(outputs[:, 0] > 0, arrays.first_largest(outputs).dtype)


def accuracy(outputs: Float[Array, "n c"], labels: Integer[Array, " n"]) -> float:
    """Share of points whose predicted class is the label.

    Examples
    --------
    >>> outputs = np.array([[0.1, 2.0], [3.0, -1.0], [0.2, 0.4], [0.9, 0.3]])
    >>> dntk.metrics.accuracy(outputs, np.array([1, 0, 0, 0]))
    0.75
    """
    xp = arrays.require_same_place(outputs=outputs, labels=labels)
    require_outputs("outputs", outputs)
    check_labels("labels", labels, points=outputs.shape[0])
    check_classes("labels", labels, classes=max(2, outputs.shape[1]))
    return float(xp.mean(xp.astype(predicted_labels(outputs) == labels, outputs.dtype)))


def fidelity(outputs: Float[Array, "n c"], network_outputs: Float[Array, "n c"]) -> float:
    """Share of points where predictor and network choose the same class.

    Examples
    --------
    >>> network = np.array([[0.1, 2.0], [3.0, -1.0], [0.2, 0.4], [0.9, 0.3]])
    >>> dntk.metrics.fidelity(2 * network, network)
    1.0
    >>> dntk.metrics.fidelity(np.flip(network, axis=1), network)
    0.0
    """
    xp = arrays.require_same_place(outputs=outputs, network_outputs=network_outputs)
    _require_equal_shapes(outputs, network_outputs)
    same = predicted_labels(outputs) == predicted_labels(network_outputs)
    return float(xp.mean(xp.astype(same, outputs.dtype)))


def mean_squared_error(outputs: Float[Array, "n c"], network_outputs: Float[Array, "n c"]) -> float:
    """Mean over points and outputs of the squared difference, in squared units of the outputs.

    Examples
    --------
    >>> dntk.metrics.mean_squared_error(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    2.0
    """
    xp = arrays.require_same_place(outputs=outputs, network_outputs=network_outputs)
    _require_equal_shapes(outputs, network_outputs)
    return float(xp.mean((outputs - network_outputs) ** 2))


def negative_log_likelihood(probabilities: Float[Array, "n c"], labels: Integer[Array, " n"]) -> float:
    """Mean of −log p of the right class; infinite where a right class has none.

    Examples
    --------
    >>> probabilities = np.array([[0.5, 0.5], [0.5, 0.5]])
    >>> round(dntk.metrics.negative_log_likelihood(probabilities, np.array([0, 1])), 4)  # log 2
    0.6931
    >>> dntk.metrics.negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1]))
    inf
    """
    chosen = _of_labels(probabilities, labels)
    xp = arrays.namespace(chosen)
    return math.inf if float(xp.min(chosen)) <= 0 else -float(xp.mean(xp.log(chosen)))


def brier_score(probabilities: Float[Array, "n c"], labels: Integer[Array, " n"]) -> float:
    """Mean over points of Σ_c(p_c − 1[c is right])², from 0 to 2.

    Examples
    --------
    >>> dntk.metrics.brier_score(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0, 1]))
    0.25
    """
    chosen = _of_labels(probabilities, labels)
    xp = arrays.namespace(chosen)
    return float(xp.mean(xp.sum(probabilities**2, axis=1) - chosen**2 + (1 - chosen) ** 2))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often the predicted class is right, by the probability that it was given; NumPy, one entry per bin.

    Parameters
    ----------
    counts
        Points of each bin of equal width in [0, 1].
    confidence
        Their mean largest probability; 0 for empty bins.
    accuracy
        Share of them whose predicted class is right; 0 for empty bins.

    Examples
    --------
    >>> probabilities = np.array([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.75, 0.25]])
    >>> found = dntk.metrics.reliability(probabilities, np.array([0, 0, 0, 1]), bins=2)
    >>> found.calibration_error  # sure to 0.75, right in three of four
    0.0
    """

    counts: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]

    @property
    def calibration_error(self) -> float:
        """Σ_b n_b/n·|accuracy − confidence|, the expected calibration error (Naeini and others 2015)."""
        return float(np.sum(self.counts * np.abs(self.accuracy - self.confidence)) / np.sum(self.counts))


def reliability(probabilities: Float[Array, "n c"], labels: Integer[Array, " n"], *, bins: int = 15) -> Reliability:
    """Points by the largest of their probabilities, in bins (b/B, (b + 1)/B]: what a reliability plot shows.

    Examples
    --------
    >>> probabilities = np.array([[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
    >>> found = dntk.metrics.reliability(probabilities, np.array([0, 1, 1, 0]), bins=2)
    >>> found.counts.tolist(), found.accuracy.round(2).tolist()
    ([1, 3], [1.0, 0.67])
    >>> found.confidence.tolist()
    [0.5, 0.75]
    """
    _of_labels(probabilities, labels)
    bins = positive_integer("bins", bins)
    host = backend_of(probabilities).to_numpy
    p = np.asarray(host(probabilities), dtype=np.float64)
    largest, right = np.max(p, axis=1), np.argmax(p, axis=1) == np.asarray(host(labels))
    places = np.clip(np.ceil(largest * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    sums = [np.bincount(places, weights=part, minlength=bins) for part in (largest, right.astype(np.float64))]
    confidence, share = (part / np.maximum(counts, 1) for part in sums)
    return Reliability(counts=counts, confidence=confidence, accuracy=share)


def calibration_error(probabilities: Float[Array, "n c"], labels: Integer[Array, " n"], *, bins: int = 15) -> float:
    """Expected calibration error: mean distance of the largest probability from how often it is right, by bins.

    Examples
    --------
    >>> probabilities = np.array([[0.75, 0.25], [0.75, 0.25]])
    >>> dntk.metrics.calibration_error(probabilities, np.array([0, 0]))  # right always
    0.25
    """
    return reliability(probabilities, labels, bins=bins).calibration_error


def kendall_tau(outputs: Float[Array, "n c"], network_outputs: Float[Array, "n c"]) -> Float[Array, " c"]:
    """Kendall's τ-b of every output: whether predictor and network put points in the same order.

    1 where they do, −1 for the opposite order, NaN where an output is the same for all points. By SciPy, on the host.

    Examples
    --------
    >>> network = np.array([[0.0, 3.0], [1.0, 2.0], [2.0, 1.0]])
    >>> outputs = np.array([[0.0, 0.0], [5.0, 1.0], [6.0, 2.0]])
    >>> dntk.metrics.kendall_tau(outputs, network).round(6).tolist()
    [1.0, -1.0]
    """
    xp = arrays.require_same_place(outputs=outputs, network_outputs=network_outputs)
    _require_equal_shapes(outputs, network_outputs)
    from scipy.stats import kendalltau  # what most calls of this module do without

    ours, theirs = (backend_of(outputs).to_numpy(values) for values in (outputs, network_outputs))
    tau = [float(kendalltau(a, b).statistic) for a, b in zip(ours.T, theirs.T, strict=True)]
    return xp.asarray(tau, dtype=outputs.dtype, device=arrays.device_of(outputs))


def _of_labels(probabilities: Array, labels: Array) -> Float[Array, " n"]:
    """Probability of the right class, of checked probabilities and labels."""
    xp = arrays.require_same_place(probabilities=probabilities, labels=labels)
    require_outputs("probabilities", probabilities)
    n, c = probabilities.shape
    check_labels("labels", labels, points=n)
    check_classes("labels", labels, classes=c)
    if n == 0:
        msg = "`probabilities` has no rows: pass at least one point."
        raise ValueError(msg)
    off = float(xp.max(xp.abs(xp.sum(probabilities, axis=1) - 1)))
    if c < 2 or float(xp.min(probabilities)) < 0 or off > 1e-3:
        msg = (
            f"`probabilities` has shape {(n, c)}, least entry {float(xp.min(probabilities)):.3g} and rows that sum to "
            f"1 within {off:.3g}: expected class probabilities, two columns or more, as of fit.predict_proba(x)."
        )
        raise ValueError(msg)
    columns = xp.arange(c, dtype=labels.dtype, device=arrays.device_of(probabilities))
    chosen = columns[None, :] == labels[:, None]
    return xp.sum(xp.where(chosen, probabilities, xp.zeros_like(probabilities)), axis=1)


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
