"""Fifty ridges at once, and regression on features beyond memory. Calls give weights (r, C, k), or a predictor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from solve_problems import Problem, read_chunks
from solve_ways import Way, linear

import dntk

ONE_SOLVE = "dntk ridge, one solve"
_SKLEARN = {"package": "sklearn", "requirement": "pip install scikit-learn"}


def _one(problem: Problem, _: Path) -> Callable[[], Any]:
    phi, y = dntk.TangentFeatures(torch.from_numpy(problem.x)), torch.from_numpy(problem.y)

    def work() -> None:
        dntk.solve.ridge(phi, y, ridge=problem.ridge)

    return work


def _path(problem: Problem, _: Path) -> Callable[[], Any]:
    phi, y = dntk.TangentFeatures(torch.from_numpy(problem.x)), torch.from_numpy(problem.y)
    return lambda: dntk.solve.ridge_path(phi, y, problem.grid).weights


def _leave_one_out(problem: Problem, _: Path) -> Callable[[], Any]:
    phi, y = dntk.TangentFeatures(torch.from_numpy(problem.x)), torch.from_numpy(problem.y)

    def work() -> None:
        dntk.solve.ridge(phi, y, ridge=problem.grid)

    return work


def _eigh_by_hand(problem: Problem, _: Path) -> Callable[[], Any]:
    x, y, grid = problem.x, problem.y, np.asarray(problem.grid)

    def work() -> Any:
        values, vectors = scipy.linalg.eigh((x.T @ x).astype("f8"), driver="evd")
        shrunk = (vectors.T @ (x.T @ y))[None] / (values[None, :] + grid[:, None])[:, :, None]
        return np.swapaxes(vectors @ shrunk, 1, 2)

    return work


def _cholesky_by_hand(problem: Problem, _: Path) -> Callable[[], Any]:
    x, y = problem.x, problem.y

    def work() -> Any:
        gram, cross, found = x.T @ x, x.T @ y, []
        for ridge in problem.grid:
            system = gram.copy()
            system.flat[:: len(system) + 1] += ridge
            found.append(scipy.linalg.cho_solve(scipy.linalg.cho_factor(system, overwrite_a=True), cross).T)
        return np.stack(found)

    return work


def _ridge_cv(problem: Problem, _: Path) -> Callable[[], Any]:
    from sklearn.linear_model import RidgeCV

    def work() -> None:
        RidgeCV(problem.grid, fit_intercept=False).fit(problem.x, problem.y)

    return work


def _streamed(problem: Problem, folder: Path) -> Callable[[], Any]:
    """Chunks of NumPy arrays become tensors without a copy."""

    def chunks() -> Any:
        return ((torch.from_numpy(x), torch.from_numpy(y)) for x, y in read_chunks(folder))

    return lambda: linear(dntk.solve.ridge_out_of_core(chunks(), ridge=problem.ridge).weights)


def _streamed_numpy(problem: Problem, folder: Path) -> Callable[[], Any]:
    return lambda: linear(dntk.solve.ridge_out_of_core(read_chunks(folder), ridge=problem.ridge).weights)


def _loop_by_hand(problem: Problem, folder: Path) -> Callable[[], Any]:
    """Products in float32, added up in float64."""

    def work() -> Any:
        gram = cross = 0.0
        for x, y in read_chunks(folder):
            gram, cross = gram + (x.T @ x).astype("f8"), cross + (x.T @ y).astype("f8")
        system = gram + problem.ridge * np.eye(len(gram))
        return linear(scipy.linalg.cho_solve(scipy.linalg.cho_factor(system), cross).T)

    return work


def _reading(_: Problem, folder: Path) -> Callable[[], Any]:
    def work() -> None:
        for _ in read_chunks(folder):
            pass

    return work


PATH = (
    Way(name=ONE_SOLVE, prepare=_one, contests=("path",)),
    Way(name="dntk ridge_path", prepare=_path, contests=("path",)),
    Way(name="dntk ridge, leave-one-out", prepare=_leave_one_out, contests=("path",)),
    Way(name="SciPy eigh by hand", prepare=_eigh_by_hand, contests=("path",)),
    Way(name="SciPy 50 × cho_factor by hand", prepare=_cholesky_by_hand, contests=("path",)),
    Way(name="scikit-learn RidgeCV", prepare=_ridge_cv, contests=("path",), **_SKLEARN),
)
STREAM = (
    Way(name="dntk ridge_out_of_core", prepare=_streamed, contests=("stream",)),
    Way(name="dntk ridge_out_of_core, NumPy", prepare=_streamed_numpy, contests=("stream",)),
    Way(name="NumPy loop by hand", prepare=_loop_by_hand, contests=("stream",)),
    Way(name="reading alone", prepare=_reading, contests=("stream",)),
)
