"""Ridge regression on features that do not fit in memory: one pass over chunks, resumed after a kill."""

import dataclasses
import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import folder, kind_of
from dntk._progress import task
from dntk.backend import backend_of
from dntk.features import TangentFeatures
from dntk.random import moved
from dntk.solve._checked_pair import checked_pair
from dntk.solve._range import require_in_range
from dntk.solve.checkpoint import (
    digest_of,
    digests_of,
    require_same_chunk,
    restored,
    stored_checkpoint,
    write_checkpoint,
)
from dntk.solve.choice import RidgeChoice, check_grid, check_ridge
from dntk.solve.conditioning import Jitter, SolveReport, cholesky_solve, condition_estimate, factorise
from dntk.solve.leave_one_out import DEFAULT_GRID, least, totals
from dntk.solve.normal_equations import NormalEquations
from dntk.types import Array

Chunk: TypeAlias = tuple[Array | TangentFeatures, Array]
"""Features, an array (n, k) or (C, n, k) or tangent features, and targets (n, C), of some points."""

Chunks: TypeAlias = Iterable[Chunk] | Callable[[int], Iterable[Chunk]]
"""Chunks in a fixed order, or a function that gives them from the one of a number on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamedFit:
    """Ridge regression from statistics alone.

    Parameters
    ----------
    weights
        w (C, k).
    ridge
        λ, absolute.
    train_mse, gcv
        Mean squared residual on all points and generalised cross-validation score, per output (C,); known up to the
        rounding of Σy².
    report
        Condition and rounding of the solve.
    statistics
        What the chunks added up to: merge, update and solve again.
    """

    weights: Float[Array, "c k"]
    ridge: float
    train_mse: Float[Array, " c"]
    gcv: Float[Array, " c"]
    report: SolveReport
    statistics: NormalEquations


@dataclasses.dataclass(frozen=True)
class StreamedGCV:
    """λ of least generalised cross-validation score on a grid; ``None``: 41 values relative to the mean diagonal.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows, y = rng.normal(size=(40, 8)), rng.normal(size=(40, 1))
    >>> rule = dntk.solve.StreamedGCV(grid=(0.1, 1.0, 10.0))
    >>> dntk.solve.ridge_out_of_core([(rows, y)], ridge=rule).ridge in rule.grid
    True
    """

    grid: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_grid(self.grid)


def accumulate(chunks: Chunks, *, checkpoint: str | Path | None = None, verify_all: bool = True) -> NormalEquations:
    """Statistics of all chunks, O(k²) of memory; with a checkpoint, from the last whole chunk of an earlier run on.

    Parameters
    ----------
    chunks
        Pairs of features and targets, the same ones in the same order in every run, as ``phi.paired(targets)`` gives
        them; or a function of the number of the first chunk wanted. Features are arrays or tangent features.
    checkpoint
        File, rewritten after every chunk, by a rename, so that a kill at any moment leaves a whole one. It holds a
        digest of every chunk.
    verify_all
        Whether a run that goes on makes all chunks that are done and compares them with their digests. ``False``, for
        chunks that are dear: only the first and the last of them, where ``chunks`` is a function.

    Raises
    ------
    ValueError
        No chunks, chunks of different shapes, or one that is not finite: the checkpoint stays as it was before it.
    dntk.StoreError
        The checkpoint is damaged, foreign, or of other chunks.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows, y = rng.normal(size=(40, 8)), rng.normal(size=(40, 1))
    >>> chunks = ((rows[i : i + 10], y[i : i + 10]) for i in range(0, 40, 10))
    >>> statistics = dntk.solve.accumulate(chunks)
    >>> statistics.points, statistics.gram.shape
    (40, (1, 8, 8))
    >>> np.allclose(statistics.gram[0], rows.T @ rows)
    True
    """
    path = None if checkpoint is None else folder("checkpoint", checkpoint)
    stored = stored_checkpoint(path)
    digests = [] if stored is None else digests_of(stored)
    done, total = len(digests), None
    with task("statistics", unit="chunks") as bar:
        bar.skip(done)
        for number, chunk in _numbered(chunks, done, verify_all=verify_all):
            features, targets = checked_pair(chunk, number)
            if number < done:
                require_same_chunk(stored, number, features, targets)
                total = restored(stored, features) if number == done - 1 else None
                continue
            total = _added(total, features, targets)
            if path is not None:
                digests.append(digest_of(features, targets))
                write_checkpoint(path, total, digests)
            bar.advance()
    if total is None:
        msg = "`chunks` gave no chunk: pass at least one pair of features and targets."
        if done:
            msg = f"`chunks` gave fewer than the {done} that are in {path}: pass the same ones, or remove the file."
        raise ValueError(msg)
    return total


def _added(total: NormalEquations | None, features: Array, targets: Array) -> NormalEquations:
    """The sums with one checked chunk more."""
    x, y = _sets(features, targets)
    return NormalEquations.of(x, y) if total is None else total.update(x, y)


def _numbered(chunks: Chunks, done: int, *, verify_all: bool) -> Iterator[tuple[int, Chunk]]:
    """Chunks with their numbers: those that are done to be compared, then the others."""
    if isinstance(chunks, type) or (
        not callable(chunks)
        and (not isinstance(chunks, Iterable) or isinstance(chunks, str | bytes | Mapping) or hasattr(chunks, "dtype"))
    ):
        found = f"`chunks` is {kind_of(chunks)}"
        msg = f"{found}: expected pairs of arrays, (features, targets), or a function of a number."
        raise TypeError(msg)
    if not callable(chunks):
        yield from enumerate(chunks)
    elif verify_all or done == 0:
        yield from enumerate(chunks(0))
    else:
        for number in sorted({0, done - 1}):
            yield from zip([number], chunks(number), strict=False)
        yield from enumerate(chunks(done), start=done)


def zarr_chunks(features: Any, targets: Any, *, rows: int | None = None, like: Array | None = None) -> Any:
    """Chunks of two Zarr arrays (or paths of them), read as they are asked for.

    Parameters
    ----------
    features, targets
        Zarr arrays, or paths of stored ones: (n, k) or (C, n, k), and (n, C).
    rows
        Points of one chunk; default: as the features are stored.
    like
        An array of the library and on the device where the chunks shall be; default: NumPy.

    Raises
    ------
    ImportError
        Zarr is not installed.
    ValueError
        Different numbers of points.

    Examples
    --------
    >>> import zarr
    >>> rng = np.random.default_rng(0)
    >>> rows = zarr.create_array("rows.zarr", data=rng.normal(size=(40, 8)), chunks=(16, 8))
    >>> chunks = dntk.solve.zarr_chunks("rows.zarr", rng.normal(size=(40, 1)))
    >>> dntk.solve.ridge_out_of_core(chunks, ridge=1.0).weights.shape
    (1, 8)
    """
    x, y = _opened(features), _opened(targets)
    axis = x.ndim - 2
    points, size = x.shape[axis], rows or int(x.chunks[axis])
    if y.ndim != 2 or y.shape[0] != points:
        msg = f"`targets` has shape {tuple(y.shape)}: expected ({points}, outputs), as there are {points} points."
        raise ValueError(msg)

    def place(block: Any) -> Array:
        return block if like is None else moved(np.asarray(block), like)

    def chunks(first: int) -> Iterator[Chunk]:
        for start in range(first * size, points, size):
            stop = min(start + size, points)
            yield place(x[start:stop, :] if axis == 0 else x[:, start:stop, :]), place(y[start:stop, :])

    return chunks


def solve_statistics(
    statistics: NormalEquations, *, ridge: float | StreamedGCV = StreamedGCV(), jitter: Jitter | None = None
) -> StreamedFit:
    """Ridge regression from accumulated statistics; with a grid, one eigendecomposition for all of it.

    Raises
    ------
    ValueError
        A ridge that is not positive, or below the rounding of the statistics; features that are zero; sums that
        overflow, or underflow beside the ridge.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows, y = rng.normal(size=(40, 8)), rng.normal(size=(40, 1))
    >>> statistics = dntk.solve.accumulate([(rows, y)])  # once, for any ridges
    >>> fit = dntk.solve.solve_statistics(statistics, ridge=1.0)
    >>> whole = dntk.solve.ridge(dntk.TangentFeatures(rows), y, ridge=1.0)
    >>> np.allclose(fit.weights, whole.weights)
    True
    """
    gram, cross = statistics.gram, statistics.cross
    chosen = _chosen(statistics, ridge)
    if jitter is None and chosen < statistics.rounding_floor:
        msg = (
            f"`ridge`={chosen:.3g} is below the rounding of the statistics, {statistics.rounding_floor:.3g}: "
            "accumulate float64 features, use a larger ridge, or allow jitter=dntk.solve.Jitter()."
        )
        raise ValueError(msg)
    factor, added = factorise(gram, chosen, jitter)
    weights = cholesky_solve(factor, cross)
    condition = condition_estimate(factor)
    xp = arrays.namespace(weights)
    # tr (G + λ)⁻¹G = k − λ tr (G + λ)⁻¹, per set
    identity = xp.broadcast_to(xp.eye(gram.shape[1], dtype=gram.dtype, device=arrays.device_of(gram)), gram.shape)
    inverse = backend_of(factor).triangular_solve(factor, identity, lower=True)
    used = gram.shape[1] - (chosen + added) * xp.sum(inverse * inverse, axis=(1, 2))
    mse = statistics.train_mse(weights)
    slack = xp.clip(1 - used / statistics.points, min=statistics.rounding)[:, None]
    return StreamedFit(
        weights=_by_output(weights),
        ridge=chosen,
        train_mse=xp.reshape(mse, (-1,)),
        gcv=xp.reshape(mse / slack**2, (-1,)),
        report=SolveReport(
            condition=condition,
            rounding=statistics.rounding,
            forward_error=min(1.0, condition * statistics.rounding),
            jitter=added,
        ),
        statistics=statistics,
    )


def ridge_out_of_core(
    chunks: Chunks,
    *,
    ridge: float | StreamedGCV = StreamedGCV(),
    checkpoint: str | Path | None = None,
    verify_all: bool = True,
    jitter: Jitter | None = None,
) -> StreamedFit:
    """Ridge regression on chunks of features: one pass, O(n·k²) operations, O(k²) of memory beside one chunk.

    Parameters
    ----------
    chunks, checkpoint, verify_all
        As for :func:`dntk.solve.accumulate`; see :func:`dntk.solve.zarr_chunks` for stored features.
    ridge
        λ, or :class:`dntk.solve.StreamedGCV`: leave-one-out needs a second pass, generalised cross-validation does not.
    jitter
        As for :func:`dntk.solve.ridge`.

    Raises
    ------
    ValueError, dntk.StoreError
        As :func:`dntk.solve.accumulate` and :func:`dntk.solve.solve_statistics`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows, y = rng.normal(size=(40, 8)), rng.normal(size=(40, 1))
    >>> def chunks(first):
    ...     for i in range(10 * first, 40, 10):  # as read from a file
    ...         yield rows[i : i + 10], y[i : i + 10]
    >>> fit = dntk.solve.ridge_out_of_core(chunks, ridge=1.0, checkpoint="sums")
    >>> whole = dntk.solve.ridge(dntk.TangentFeatures(rows), y, ridge=1.0)
    >>> np.allclose(fit.weights, whole.weights)
    True
    """
    return solve_statistics(
        accumulate(chunks, checkpoint=checkpoint, verify_all=verify_all), ridge=ridge, jitter=jitter
    )


def _chosen(statistics: NormalEquations, ridge: float | StreamedGCV) -> float:
    if not isinstance(ridge, StreamedGCV):
        if isinstance(ridge, RidgeChoice | str):
            msg = f"`ridge`={ridge!r} needs the features again: pass a number or dntk.solve.StreamedGCV()."
            raise ValueError(msg)
        given = check_ridge(float(ridge))
        require_in_range(statistics, given)
        return given
    require_in_range(statistics, None)
    xp = arrays.namespace(statistics.gram)
    mean = float(xp.mean(xp.sum(xp.linalg.diagonal(statistics.gram), axis=1))) / statistics.weight
    if mean == 0:
        msg = "all tangent features are zero (a dead network?): there is no kernel to choose a ridge for."
        raise ValueError(msg)
    ridges = [g * mean for g in DEFAULT_GRID] if ridge.grid is None else list(ridge.grid)
    spectrum = statistics.spectrum()
    row = xp.asarray(ridges, dtype=spectrum.values.dtype, device=arrays.device_of(spectrum.values))
    scores = totals(xp.permute_dims(spectrum.gcv(row), (1, 2, 0)))
    return least(scores, ridges, statistics.rounding_floor)


def _by_output(weights: Float[Array, "g k q"]) -> Float[Array, "c k"]:
    return weights[:, :, 0] if weights.shape[2] == 1 else weights[0, :, :].T


def _sets(features: Array, targets: Array) -> tuple[Array, Array]:
    """Features (g, n, k) and targets (g, n, q): a matrix is shared by all targets."""
    if features.ndim == 2:
        return features[None, :, :], (targets[:, None] if targets.ndim == 1 else targets)[None, :, :]
    if features.ndim != 3 or targets.ndim != 2 or targets.shape[1] != features.shape[0]:
        msg = (
            f"a chunk has features {tuple(features.shape)} and targets {tuple(targets.shape)}: expected (n, k) with "
            "(n, C), or (C, n, k) with (n, C)."
        )
        raise ValueError(msg)
    return features, targets.T[:, :, None]


def _opened(source: Any) -> Any:
    if not isinstance(source, str | Path):
        return source
    try:
        zarr = importlib.import_module("zarr")
    except ImportError as error:
        msg = 'stored features are read by zarr, which is not installed: pip install "dntk[zarr]".'
        raise ImportError(msg) from error
    return zarr.open_array(os.path.expanduser(source), mode="r")
