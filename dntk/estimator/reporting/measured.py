"""What a page measures on held-out points, all from their features and one forward pass."""

from jaxtyping import Float, Integer

from dntk import arrays, metrics
from dntk.archive import to_host
from dntk.certificates import posterior_variance, tangent_residual
from dntk.estimator._steps import predicted
from dntk.estimator.reporting.facts import Reliability, Unseen
from dntk.estimator.state import FittedState
from dntk.features import TangentFeatures
from dntk.probabilities import Link
from dntk.types import Array

_BINS = 20
_SIZES = 24


def measured(
    state: FittedState,
    phi: TangentFeatures,
    outputs: Float[Array, "n c"],
    labels: Integer[Array, " n"] | None,
    link: Link,
) -> Unseen:
    """Fidelity, accuracy, its curve, trust and reliability, of points given by their features; O(C·n·k·s)."""
    predictions = predicted(phi, state.weights)
    trust = to_host(tangent_residual(phi, state.span().basis)).astype("f8")
    counts = [0] * _BINS
    for value in trust.tolist():
        counts[min(int(value * _BINS), _BINS - 1)] += 1
    fidelity = metrics.fidelity(predictions, outputs)
    size = metrics.mean_squared_error(outputs * 0, outputs)
    return Unseen(
        points=len(phi),
        fidelity=fidelity,
        accuracy=None if labels is None else metrics.accuracy(predictions, labels),
        network_accuracy=None if labels is None else metrics.accuracy(outputs, labels),
        distance=(metrics.mean_squared_error(predictions, outputs) / size) ** 0.5 if size > 0 else None,
        curve=(*curve(state, phi, outputs), (int(state.span().basis.shape[1]), fidelity)),
        trust=tuple(counts),
        mean_trust=float(trust.mean()),
        worst_trust=float(trust.max()),
        reliability=None if labels is None else _reliability(state, phi, predictions, labels, link),
    )


def curve(state: FittedState, phi: TangentFeatures, outputs: Float[Array, "n c"]) -> list[tuple[int, float]]:
    """Fidelity of the part of the predictor along the leading directions of the span, for fewer than all of them."""
    span, xp = state.span(), arrays.namespace(phi.values)
    along = span.basis @ state.weights[:, :, None]
    running = xp.cumulative_sum((phi.values @ span.basis.mT) * along.mT, axis=2)
    every = range(1, int(span.basis.shape[1]))
    step = max(1, -(-len(every) // _SIZES))
    return [(s, metrics.fidelity(running[:, :, s - 1].T, outputs)) for s in every[::step]]


def _reliability(
    state: FittedState,
    phi: TangentFeatures,
    predicted: Float[Array, "n c"],
    labels: Integer[Array, " n"],
    link: Link,
) -> Reliability:
    """Of ``link``'s probabilities, from the same features."""
    xp, span = arrays.namespace(phi.values), state.span()
    variance = posterior_variance(phi.values, span.basis, span.squares, ridge=state.ridge)
    deviation = xp.astype(xp.sqrt(variance).T, phi.values.dtype, copy=False)
    p = link.probabilities(predicted, deviation)
    found = metrics.reliability(p, labels, bins=10)
    rows = zip(found.counts.tolist(), found.confidence.tolist(), found.accuracy.tolist(), strict=True)
    return Reliability(
        bins=tuple(rows),
        calibration_error=found.calibration_error,
        negative_log_likelihood=metrics.negative_log_likelihood(p, labels),
        link=repr(link),
    )
