"""Errors of ridge regression on held-out folds, for many ridges at one eigendecomposition a fold."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed
from dntk.random import uniforms
from dntk.solve.normal_equations import statistics_of
from dntk.solve.problem import RidgeProblem, combined, grams
from dntk.types import Array


def fold_of_points(points: int, *, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Number of the fold of every point: a random order of the points, dealt out in turn."""
    check_seed(seed)
    order = np.argsort(uniforms(seed=seed, stream="folds", count=points), kind="stable")
    dealt = np.empty(points, dtype=np.int64)
    dealt[order] = np.arange(points) % folds
    return dealt


def fold_errors(
    problem: RidgeProblem, ridges: Sequence[float], *, folds: int, seed: int
) -> tuple[Float[Array, "g q r"], float]:
    """Mean squared residuals over all points, each by the fit without its fold, and the floor of the ridges.

    Raises
    ------
    ValueError
        Fewer points than folds.
    """
    points = problem.points // problem.together
    if points < folds:
        msg = f"`folds`={folds} of {points} points: pass at most as many folds as points."
        raise ValueError(msg)
    xp, place = arrays.namespace(problem.features), arrays.device_of(problem.features)
    dealt = np.tile(fold_of_points(points, folds=folds, seed=seed), problem.together)  # all rows of a point in one
    order = [xp.asarray([int(i) for i in np.nonzero(dealt == f)[0]], device=place) for f in range(folds)]
    parts = [(xp.take(problem.features, i, axis=1), xp.take(problem.targets, i, axis=1)) for i in order]
    fits = _dual_fits(parts, ridges) if problem.dual else _primal_fits(parts, ridges)
    total: Array | None = None
    floors = []
    for (features, targets), (weights, floor) in zip(parts, fits, strict=True):
        narrow = xp.astype(weights, targets.dtype, copy=False)
        for part in dataclasses.replace(problem, features=features, targets=targets, scale=None).blocks():
            fit = xp.permute_dims(part.features @ narrow, (1, 2, 3, 0))
            wide = arrays.in_float64(xp.sum((part.targets[:, :, :, None] - fit) ** 2, axis=1))
            total = wide if total is None else total + wide
        floors.append(floor)
    assert total is not None
    return total / problem.weight, max(floors)


def _primal_fits(parts: list[tuple[Array, Array]], ridges: Sequence[float]) -> list[tuple[Array, float]]:
    """Weights (r, g, k, q) without each fold, from the sum of the others' statistics."""
    statistics = [statistics_of(*part) for part in parts]
    fits = []
    for left_out in range(len(parts)):
        others = [s for i, s in enumerate(statistics) if i != left_out]
        merged = others[0]
        for other in others[1:]:
            merged = merged.merge(other)
        spectrum = merged.spectrum()
        xp = arrays.namespace(spectrum.values)
        row = xp.asarray(list(ridges), dtype=spectrum.values.dtype, device=arrays.device_of(spectrum.values))
        noise = merged.points * arrays.epsilon(row) * float(xp.max(spectrum.values))
        fits.append((spectrum.weights(row), max(merged.rounding_floor, noise)))
    return fits


def _dual_fits(parts: list[tuple[Array, Array]], ridges: Sequence[float]) -> list[tuple[Array, float]]:
    """The same from the kernel of the other folds' points."""
    fits = []
    for left_out in range(len(parts)):
        xp = arrays.namespace(parts[0][0])
        features = xp.concat([f for i, (f, _) in enumerate(parts) if i != left_out], axis=1)
        targets = xp.concat([y for i, (_, y) in enumerate(parts) if i != left_out], axis=1)
        fits.append(dual_path(features, targets, ridges))
    return fits


def dual_path(
    features: Float[Array, "g n k"], targets: Float[Array, "g n q"], ridges: Sequence[float]
) -> tuple[Float[Array, "r g k q"], float]:
    """Weights Φᵀ(K + λ)⁻¹y of every ridge from one eigendecomposition of K, and the kernel's rounding."""
    xp = arrays.namespace(features)
    values, vectors = xp.linalg.eigh(grams(features))
    values = xp.clip(values, min=0)
    row = xp.asarray(list(ridges), dtype=values.dtype, device=arrays.device_of(values))
    (g, n, q), r = targets.shape, len(ridges)
    shrunk = (vectors.mT @ targets)[:, :, None, :] / (values[:, :, None] + row)[:, :, :, None]
    flat = combined(features, vectors @ xp.reshape(shrunk, (g, n, r * q)))
    weights = xp.permute_dims(xp.reshape(flat, (g, features.shape[2], r, q)), (2, 0, 1, 3))
    return weights, n * arrays.epsilon(values) * float(xp.max(values))
