"""Which points of the fit hold predictions up, and how much of the kernel's leading part the span keeps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.archive import to_host
from dntk.attribution._leave_one_out import LeftOut, in_span
from dntk.attribution.smoother import smoother_in_span
from dntk.certificates import tangent_residual
from dntk.estimator.reporting.facts import Influence, InfluentialPoint
from dntk.estimator.state import FittedState
from dntk.features import TangentFeatures
from dntk.metrics import predicted_labels
from dntk.spectrum.eigen import leading_eigenpairs
from dntk.types import Array

_LEADING = 50
_SHOWN = 5
_SAME = 0.01
"""Root mean square, as a share, that rounding may set two solutions of the same regression apart in float32."""


def coverage(state: FittedState, phi: TangentFeatures) -> tuple[float, ...]:
    """Share uᵀK̂u/λ of the leading eigenvalues λ of K̄ that the span keeps, from features of the kept points.

    Those below rounding of the largest are left out. O(C·m²·k).
    """
    xp = arrays.namespace(phi.values)
    values, vectors = leading_eigenpairs(phi.joined(), min(_LEADING, len(phi)))
    inside = arrays.in_float64(phi.values) @ arrays.in_float64(state.span().basis).mT
    parts = arrays.in_float64(vectors).mT[None, :, :] @ inside
    held = to_host(xp.mean(xp.sum(parts**2, axis=2), axis=0)).tolist()
    every = to_host(values).tolist()
    least = len(phi) * arrays.epsilon(phi.values) * max(every[0], 0.0)
    return tuple(min(1.0, part / value) for part, value in zip(held, every, strict=True) if value > least)


def left_out(state: FittedState, phi: TangentFeatures, targets: Float[Array, "m c"]) -> LeftOut:
    """The regression of the fit, from features and targets of its kept points, as one whose points can be left out.

    Raises
    ------
    ValueError
        It is not the regression of the fit: the targets or the points are others.
    """
    smoother = smoother_in_span(phi.values, state.span().basis, state.ridge)
    found = in_span(smoother, phi, arrays.in_float64(targets).T)
    apart = _apart(found.predict(phi), (phi.values @ state.weights[:, :, None])[:, :, 0].T)
    if apart > _SAME:
        msg = (
            f"`points` with `targets` give a regression that is {apart:.2g} of its size away from that of the fit: "
            "pass the x and the y that the fit was made with, report(..., points=x, targets=y)."
        )
        raise ValueError(msg)
    return found


def influences(
    state: FittedState,
    left: LeftOut,
    phi: TangentFeatures,
    outputs: Float[Array, "q c"],
    queries: Sequence[int],
) -> list[Influence]:
    """The kept points that contribute most to the predicted class of every query; positions are among the kept."""
    predictions = (phi.values @ state.weights[:, :, None])[:, :, 0].T
    predicted, network = (to_host(predicted_labels(each)).tolist() for each in (predictions, outputs))
    owners = to_host(predicted_labels(left.targets.T)).tolist()
    contributions, change = to_host(left.contributions(phi)), to_host(left.change(phi))
    trust, values = to_host(tangent_residual(phi, state.span().basis)).tolist(), to_host(predictions)
    found = []
    for place, query in enumerate(queries):
        output = predicted[place] if len(change) > 1 else 0
        mine = contributions[output, place]
        order = np.argsort(-abs(mine), kind="stable")[:_SHOWN].tolist()
        found.append(
            Influence(
                query=query,
                predicted=predicted[place],
                network=network[place],
                output=float(values[place, output]),
                trust=trust[place],
                points=tuple(
                    InfluentialPoint(
                        position=point,
                        label=owners[point],
                        contribution=float(mine[point]),
                        change=float(change[output, place, point]),
                    )
                    for point in order
                ),
            )
        )
    return found


def _apart(found: Float[Array, "n c"], expected: Float[Array, "n c"]) -> float:
    xp = arrays.namespace(expected)
    size = float(xp.sum(expected**2))
    return (float(xp.sum((found - xp.astype(expected, found.dtype, copy=False)) ** 2)) / size) ** 0.5 if size else 0.0
