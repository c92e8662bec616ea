"""The whole path of ridge solutions at the cost of one factorisation."""

import dataclasses
from collections.abc import Sequence

from jaxtyping import Float

from dntk import arrays
from dntk.features import TangentFeatures
from dntk.solve.choice import check_grid
from dntk.solve.folds import dual_path
from dntk.solve.normal_equations import NormalEquations
from dntk.solve.problem import RidgeProblem
from dntk.solve.ridge import check_weights, outputs_of
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class RidgePath:
    """Solutions of ridge regression for r ridges.

    Parameters
    ----------
    ridges
        λ, absolute, in the order they were asked for.
    weights
        w (r, C, k).
    train_mse
        Mean squared residual on the points (r, C).
    floor
        Ridge below which the solutions carry the rounding of the products they were made from.
    """

    ridges: tuple[float, ...]
    weights: Float[Array, "r c k"]
    train_mse: Float[Array, "r c"]
    floor: float


def ridge_path(
    features: TangentFeatures,
    targets: Float[Array, "n c"],
    ridges: Sequence[float],
    *,
    sample_weights: Float[Array, " n"] | None = None,
) -> RidgePath:
    """Ridge regression for every λ of a grid: one eigendecomposition of min(n, k), then O(k²) a ridge and output.

    Equivalent to :func:`dntk.solve.ridge` at each λ. Cost O(n·k·min(n, k) + min(n, k)³ + r·C·k²).

    Raises
    ------
    ValueError
        As :func:`dntk.solve.ridge`.
    """
    check_grid(ridges)
    y, _ = outputs_of(features, targets)
    scale = None if sample_weights is None else check_weights(sample_weights, features.values)
    problem = RidgeProblem.of(features.values, y, scale)
    weights, floor = _weights(problem, ridges)
    xp = arrays.namespace(weights)
    narrow = xp.astype(weights, problem.features.dtype, copy=False)
    mse = [_mse(problem, narrow[i, ...]) for i in range(len(ridges))]
    (r, g, k, q) = weights.shape
    by_output = xp.reshape(xp.permute_dims(weights, (0, 1, 3, 2)), (r, g * q, k))
    return RidgePath(
        ridges=tuple(float(value) for value in ridges),
        weights=xp.astype(by_output, features.values.dtype, copy=False),
        train_mse=xp.stack(mse),
        floor=floor,
    )


def _weights(problem: RidgeProblem, ridges: Sequence[float]) -> tuple[Float[Array, "r g k q"], float]:
    if problem.dual:
        return dual_path(problem.features, problem.targets, ridges)
    statistics = NormalEquations.of(problem.features, problem.targets)
    spectrum = statistics.spectrum()
    xp = arrays.namespace(spectrum.values)
    row = xp.asarray(list(ridges), dtype=spectrum.values.dtype, device=arrays.device_of(spectrum.values))
    return spectrum.weights(row), statistics.rounding_floor


def _mse(problem: RidgeProblem, weights: Float[Array, "g k q"]) -> Float[Array, " c"]:
    xp = arrays.namespace(weights)
    residual = problem.targets - problem.features @ weights
    return xp.reshape(xp.sum(residual * residual, axis=1), (-1,)) / problem.weight
