"""Gaussian processes of one output: log marginal likelihood, and posterior at new points. Each call gives `Beliefs`."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from solve_problems import Problem
from solve_ways import Way

import dntk

CONTEST = ("gp",)
TUNED = "dntk, noise and scale chosen"
STEPS = 50
"""Adam steps by which GPyTorch chooses noise and scale, at a rate of 0.1."""

_GPYTORCH = {"package": "gpytorch", "requirement": "pip install gpytorch==1.15.2"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beliefs:
    """Posterior of the function at the new points, variance of the noise, and log p(y)."""

    mean: Any
    variance: Any
    noise: float
    log_likelihood: float


def _dntk(*, tuned: bool) -> Callable[[Problem, Path], Callable[[], Beliefs]]:
    def prepare(problem: Problem, _: Path) -> Callable[[], Beliefs]:
        phi, y = dntk.TangentFeatures(torch.from_numpy(problem.x)), torch.from_numpy(problem.y)
        query = dntk.TangentFeatures(torch.from_numpy(problem.query))
        given = {} if tuned else {"noise": problem.ridge, "signal": 1.0}

        def work() -> Beliefs:
            process = dntk.solve.gaussian_process(phi, y, **given)
            found = process.predict(query)
            return Beliefs(
                mean=found.mean[:, 0],
                variance=found.variance[:, 0],
                noise=float(found.noise[0]),
                log_likelihood=float(process.log_marginal_likelihood[0]),
            )

        return work

    return prepare


def primal(x: Any, y: Any, query: Any, ridge: float) -> Beliefs:
    """By hand, from ΦᵀΦ in the precision of the arguments: log det(K + λ) = log det(ΦᵀΦ + λ) + (n − k) log λ."""
    n, k = x.shape
    system = x.T @ x
    system.flat[:: k + 1] += ridge
    lower = np.linalg.cholesky(system)
    weights = scipy.linalg.cho_solve((lower, True), x.T @ y)
    spread = scipy.linalg.solve_triangular(lower, query.T, lower=True)
    fitted = np.sum((y - x @ weights) ** 2) / ridge + np.sum(weights**2)
    determinant = 2 * np.sum(np.log(np.diagonal(lower))) + (n - k) * math.log(ridge)
    likelihood = -0.5 * (float(fitted + determinant) + n * math.log(2 * math.pi))
    variance = ridge * np.sum(spread**2, axis=0)
    return Beliefs(mean=(query @ weights)[:, 0], variance=variance, noise=ridge, log_likelihood=likelihood)


def _by_hand(problem: Problem, _: Path) -> Callable[[], Beliefs]:
    return lambda: primal(problem.x, problem.y, problem.query, problem.ridge)


def _sklearn(problem: Problem, _: Path) -> Callable[[], Beliefs]:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import DotProduct

    def work() -> Beliefs:
        kernel = DotProduct(sigma_0=0.0, sigma_0_bounds="fixed")
        process = GaussianProcessRegressor(kernel, alpha=problem.ridge, optimizer=None)
        process.fit(problem.x, problem.y[:, 0])
        mean, spread = process.predict(problem.query, return_std=True)
        return Beliefs(
            mean=mean,
            variance=spread**2,
            noise=problem.ridge,
            log_likelihood=float(process.log_marginal_likelihood_value_),
        )

    return work


def _exact_gp(problem: Problem, kernel: Any) -> tuple[Any, Any]:
    """GPyTorch's model of mean zero, and its likelihood, at the problem's noise and scale 1."""
    import gpytorch

    class Model(gpytorch.models.ExactGP):
        def __init__(self, x: Any, y: Any, likelihood: Any) -> None:
            super().__init__(x, y, likelihood)
            self.mean, self.kernel = gpytorch.means.ZeroMean(), kernel

        def forward(self, x: Any) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))

    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    likelihood.noise = problem.ridge
    model = Model(torch.from_numpy(problem.x), torch.from_numpy(problem.y[:, 0].copy()), likelihood)
    return model, likelihood


def _linear_kernel() -> Any:
    """GPyTorch's own, which keeps the features and solves in their dimension."""
    import gpytorch

    kernel = gpytorch.kernels.LinearKernel()
    kernel.variance = 1.0
    return kernel


def _dense_kernel() -> Any:
    """The same as a matrix, as an exact NTK is given."""
    import gpytorch

    class Dense(gpytorch.kernels.Kernel):
        def forward(self, x1: Any, x2: Any, diag: bool = False, **_: Any) -> Any:
            return (x1 * x2).sum(-1) if diag else x1 @ x2.mT

    return Dense()


def _gpytorch(
    make: Callable[[], Any], *, cholesky: bool = False, steps: int = 0
) -> Callable[[Problem, Path], Callable[[], Beliefs]]:
    def prepare(problem: Problem, _: Path) -> Callable[[], Beliefs]:
        import gpytorch

        query = torch.from_numpy(problem.query)
        size = 10**6 if cholesky else gpytorch.settings.max_cholesky_size.value()

        def work() -> Beliefs:
            model, likelihood = _exact_gp(problem, make())
            marginal = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
            with gpytorch.settings.max_cholesky_size(size):
                model.train()
                _trained(model, marginal, steps)
                with torch.no_grad():
                    n = len(problem.x)
                    evidence = n * marginal(model(*model.train_inputs), model.train_targets).item()
                    model.eval()
                    found = model(query)
                    return Beliefs(
                        mean=found.mean,
                        variance=found.variance,
                        noise=likelihood.noise.item(),
                        log_likelihood=evidence,
                    )

        return work

    return prepare


def _trained(model: Any, marginal: Any, steps: int) -> None:
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        (-marginal(model(*model.train_inputs), model.train_targets)).backward()
        optimiser.step()


GP = (
    Way(name="dntk gaussian_process", prepare=_dntk(tuned=False), contests=CONTEST),
    Way(name="SciPy by hand", prepare=_by_hand, contests=CONTEST),
    Way(
        name="scikit-learn GaussianProcessRegressor",
        prepare=_sklearn,
        contests=CONTEST,
        package="sklearn",
        requirement="pip install scikit-learn",
    ),
    Way(name="GPyTorch LinearKernel", prepare=_gpytorch(_linear_kernel), contests=CONTEST, **_GPYTORCH),
    Way(
        name="GPyTorch dense, Cholesky",
        prepare=_gpytorch(_dense_kernel, cholesky=True),
        contests=CONTEST,
        **_GPYTORCH,
    ),
    Way(name="GPyTorch dense, as it comes", prepare=_gpytorch(_dense_kernel), contests=CONTEST, **_GPYTORCH),
    Way(name=TUNED, prepare=_dntk(tuned=True), contests=CONTEST),
    Way(
        name=f"GPyTorch LinearKernel, {STEPS} Adam steps",
        prepare=_gpytorch(_linear_kernel, steps=STEPS),
        contests=CONTEST,
        **_GPYTORCH,
    ),
)
