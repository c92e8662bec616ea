"""The whole path of ridge solutions at the cost of one factorisation."""

import dataclasses
from collections.abc import Sequence

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.features import TangentFeatures
from dntk.solve._ridge import check_weights, outputs_of
from dntk.solve.choice import check_grid
from dntk.solve.folds import dual_path
from dntk.solve.problem import RidgeProblem
from dntk.types import Array

_ENTRIES = 2**22
"""Entries of the residuals (points, targets, ridges) that are held at once."""

_TRUSTED = 1e-3
"""Rounding up to which a mean squared residual is taken from the statistics."""


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
        Mean squared residual on the points (r, C); with more points than features to a thousandth of itself at worst.
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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> path = dntk.solve.ridge_path(phi, y, ridges=(0.1, 1.0, 10.0))
    >>> path.weights.shape, bool(np.all(np.diff(path.train_mse, axis=0) > 0))
    ((3, 2, 8), True)
    """
    check_grid(ridges)
    y, _ = outputs_of(features, targets)
    scale = None if sample_weights is None else check_weights(sample_weights, features.values, len(features))
    problem = RidgeProblem.of(features.values, y, scale)
    with task("ridge path", total=1, unit="decompositions") as bar:
        weights, mse, floor = _dual(problem, ridges) if problem.dual else _primal(problem, ridges)
        bar.advance()
    xp = arrays.namespace(weights)
    (r, g, k, q) = weights.shape
    by_output = xp.reshape(xp.permute_dims(weights, (0, 1, 3, 2)), (r, g * q, k))
    return RidgePath(
        ridges=tuple(float(value) for value in ridges),
        weights=xp.astype(by_output, features.values.dtype, copy=False),
        train_mse=xp.astype(xp.reshape(mse, (r, g * q)), features.values.dtype, copy=False),
        floor=floor,
    )


def _dual(problem: RidgeProblem, ridges: Sequence[float]) -> tuple[Array, Array, float]:
    weights, floor = dual_path(problem.features, problem.targets, ridges)
    squares, _ = _residuals(problem, weights)
    return weights, squares / problem.weight, floor


def _primal(problem: RidgeProblem, ridges: Sequence[float]) -> tuple[Array, Array, float]:
    """Weights and errors from one eigendecomposition; one pass over the points for the error at the smallest sound λ.

    With r₀ = y − Φw₀ and Δ = w − w₀: ‖y − Φw‖² = ‖r₀‖² − 2Δᵀ(Φᵀr₀) + ΔᵀGΔ. From a smaller ridge every term is
    positive but for rounding, so that nothing cancels, as it does in Σy² − 2wᵀb + wᵀGw. Ridges below the rounding of
    G, and those where it could count, ``floor``·‖Δ‖², are measured in a pass, too.
    """
    statistics = problem.statistics
    spectrum, floor = statistics.spectrum(), statistics.rounding_floor
    xp = arrays.namespace(spectrum.values)
    row = xp.asarray(list(ridges), dtype=spectrum.values.dtype, device=arrays.device_of(spectrum.values))
    weights = spectrum.weights(row)
    smallest = min(range(len(ridges)), key=lambda i: (ridges[i] < floor, ridges[i]))
    base, images = _residuals(problem, weights[smallest : smallest + 1, ...])
    # In the basis of eigenvectors, where the matrix is diagonal and all ridges are one product.
    turned = spectrum.products / (spectrum.values[:, :, None] + row[:, None, None, None])
    step = turned - turned[smallest : smallest + 1, ...]
    slope = spectrum.vectors.mT @ images[0, ...]
    squares = base + xp.sum(step * (spectrum.values[:, :, None] * step - 2 * slope), axis=2)
    doubt = xp.max(floor * xp.sum(step * step, axis=2) - _TRUSTED * squares, axis=(1, 2))
    again = [i for i, ridge in enumerate(ridges) if ridge < floor or float(doubt[i]) > 0]
    if again:
        measured, _ = _residuals(problem, xp.stack([weights[i, ...] for i in again]))
        place = {i: position for position, i in enumerate(again)}
        parts = [measured[place[i], ...] if i in place else squares[i, ...] for i in range(len(ridges))]
        squares = xp.stack(parts)
    return weights, xp.clip(squares, min=0) / problem.weight, floor


def _residuals(problem: RidgeProblem, weights: Float[Array, "r g k q"]) -> tuple[Array, Array]:
    """‖y − Φw‖² (r, g, q) and Φᵀ(y − Φw) (r, g, k, q) for all weights at once, a block of points at a time."""
    xp, dtype = arrays.namespace(weights), arrays.accumulation_dtype(problem.features)
    r, g, k, q = weights.shape
    flat = xp.reshape(xp.permute_dims(weights, (1, 2, 0, 3)), (g, k, r * q))
    flat = xp.astype(flat, problem.targets.dtype, copy=False)
    squares, images = None, None
    for part in problem.blocks(_ENTRIES // (r * q)):
        rows, n = part.features, part.points
        fit = xp.reshape(rows @ flat, (g, n, r, q))
        residual = xp.reshape(part.targets[:, :, None, :] - fit, (g, n, r * q))
        wide = xp.astype(residual, dtype, copy=False)
        square = xp.sum(wide * wide, axis=1)
        image = xp.astype((residual.mT @ rows).mT, dtype, copy=False)
        squares = square if squares is None else squares + square
        images = image if images is None else images + image
    assert squares is not None
    assert images is not None
    by_ridge = xp.permute_dims(xp.reshape(images, (g, k, r, q)), (2, 0, 1, 3))
    return xp.permute_dims(xp.reshape(squares, (g, r, q)), (1, 0, 2)), by_ridge
