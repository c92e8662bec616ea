"""Ridge regression at one λ: dntk, by hand, scikit-learn, linear_operator. Each call gives a predictor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from solve_problems import Problem
from solve_ways import Way, linear

import dntk

Predictor = Callable[[Any], np.ndarray]
CONTEST = ("ridge",)
TOLERANCE = 1e-6
"""Relative residual at which iterations stop."""

_SKLEARN = {"package": "sklearn", "requirement": "pip install scikit-learn"}
_GPYTORCH = {"package": "linear_operator", "requirement": "pip install gpytorch==1.15.2"}


def _dntk_torch(problem: Problem, _: Path) -> Callable[[], Predictor]:
    phi, y = dntk.TangentFeatures(torch.from_numpy(problem.x)), torch.from_numpy(problem.y)
    return lambda: linear(dntk.solve.ridge(phi, y, ridge=problem.ridge).weights)


def _dntk_numpy(problem: Problem, _: Path) -> Callable[[], Predictor]:
    phi = dntk.TangentFeatures(problem.x)
    return lambda: linear(dntk.solve.ridge(phi, problem.y, ridge=problem.ridge).weights)


def _dntk_iterative(problem: Problem, _: Path) -> Callable[[], Predictor]:
    x, y = torch.from_numpy(problem.x)[None], torch.from_numpy(problem.y)[None]
    kernel = dntk.solve.FeatureKernel(x)

    def work() -> Predictor:
        fit = dntk.solve.iterative_ridge(kernel, y, ridge=problem.ridge, tolerance=TOLERANCE)
        return linear((fit.dual.mT @ x)[0])

    return work


def _torch_by_hand(problem: Problem, _: Path) -> Callable[[], Predictor]:
    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)

    def work() -> Predictor:
        system = x.T @ x
        system.diagonal().add_(problem.ridge)
        return linear(torch.cholesky_solve(x.T @ y, torch.linalg.cholesky(system)).T)

    return work


def _scipy_by_hand(dtype: str) -> Callable[[Problem, Path], Callable[[], Predictor]]:
    """Normal equations; NumPy calls BLAS's symmetric product for a matrix and its own transpose."""

    def prepare(problem: Problem, _: Path) -> Callable[[], Predictor]:
        def work() -> Predictor:
            x, y = problem.x.astype(dtype, copy=False), problem.y.astype(dtype, copy=False)
            system = x.T @ x
            system.flat[:: len(system) + 1] += problem.ridge
            factor = scipy.linalg.cho_factor(system, overwrite_a=True)
            return linear(scipy.linalg.cho_solve(factor, x.T @ y).T)

        return work

    return prepare


def _sklearn_ridge(problem: Problem, _: Path) -> Callable[[], Predictor]:
    from sklearn.linear_model import Ridge

    return lambda: Ridge(problem.ridge, solver="cholesky", fit_intercept=False).fit(problem.x, problem.y).predict


def _sklearn_kernel_ridge(problem: Problem, _: Path) -> Callable[[], Predictor]:
    from sklearn.kernel_ridge import KernelRidge

    return lambda: KernelRidge(alpha=problem.ridge, kernel="linear").fit(problem.x, problem.y).predict


def _sklearn_nystroem(problem: Problem, _: Path) -> Callable[[], Predictor]:
    """As many inducing points as features: of a linear kernel they lose nothing but rounding."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    size = min(problem.x.shape)

    def work() -> Predictor:
        ridge = Ridge(problem.ridge, solver="cholesky", fit_intercept=False)
        return (
            make_pipeline(Nystroem("linear", n_components=size, random_state=0), ridge)
            .fit(problem.x, problem.y)
            .predict
        )

    return work


def _linear_operator_cg(problem: Problem, _: Path) -> Callable[[], Predictor]:
    import linear_operator as lo

    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)

    def work() -> Predictor:
        kernel = lo.operators.RootLinearOperator(x).add_diagonal(torch.tensor(problem.ridge))
        with (
            lo.settings.max_cholesky_size(0),
            lo.settings.cg_tolerance(TOLERANCE),
            lo.settings.max_cg_iterations(500),
            lo.settings.min_preconditioning_size(1),
            lo.settings.max_preconditioner_size(100),
        ):
            return linear(kernel.solve(y).T @ x)

    return work


def _linear_operator_woodbury(problem: Problem, _: Path) -> Callable[[], Predictor]:
    import linear_operator as lo

    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)

    def work() -> Predictor:
        noise = lo.operators.ConstantDiagLinearOperator(torch.tensor([problem.ridge]), len(x))
        return linear((lo.operators.LowRankRootLinearOperator(x) + noise).solve(y).T @ x)

    return work


RIDGE = (
    Way(name="dntk ridge", prepare=_dntk_torch, contests=CONTEST),
    Way(name="dntk ridge, NumPy", prepare=_dntk_numpy, contests=CONTEST),
    Way(name="dntk iterative_ridge", prepare=_dntk_iterative, contests=CONTEST),
    Way(name="PyTorch Cholesky by hand", prepare=_torch_by_hand, contests=CONTEST),
    Way(name="SciPy cho_factor by hand", prepare=_scipy_by_hand("f4"), contests=CONTEST),
    Way(name="SciPy cho_factor, float64", prepare=_scipy_by_hand("f8"), contests=CONTEST),
    Way(name="scikit-learn Ridge", prepare=_sklearn_ridge, contests=CONTEST, **_SKLEARN),
    Way(name="scikit-learn KernelRidge", prepare=_sklearn_kernel_ridge, contests=CONTEST, **_SKLEARN),
    Way(name="scikit-learn Nystroem + Ridge", prepare=_sklearn_nystroem, contests=CONTEST, **_SKLEARN),
    Way(name="linear_operator CG", prepare=_linear_operator_cg, contests=CONTEST, **_GPYTORCH),
    Way(name="linear_operator Woodbury", prepare=_linear_operator_woodbury, contests=CONTEST, **_GPYTORCH),
)
