"""Distance of predictors from the exact ridge regression on the reference, by a few products with the kernels."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.certify.approximation import Regression
from dntk.certify.bound import Bound
from dntk.certify.quadrature import Apply, Tridiagonals, lanczos
from dntk.certify.rounding import allowance
from dntk.ledger import count
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressionErrors:
    """Root mean squares (C,) over the reference, and excess objectives (C,), the largest over the predictors."""

    prediction: Bound
    energy: Bound


def weights_errors(
    values: Float[Array, "c n k"], weights: tuple[Array, ...], regression: Regression, *, steps: int
) -> RegressionErrors:
    """Errors of predictors ⟨w, ψ⟩, all in one Lanczos process of at most ``steps`` products."""
    xp = arrays.namespace(values)
    lam, y = regression.ridge, xp.astype(regression.targets, values.dtype, copy=False).T[:, :, None]
    w = xp.stack([xp.astype(one, values.dtype, copy=False) for one in weights], axis=2)
    dual = (y - values @ w) / lam
    apart = w - values.mT @ dual  # g/λ
    problem = _Problem.of(values, y, regression, dual, w, steps)
    spaces = lanczos(_each_kernel(values), values @ apart, problem.steps)
    squares, error = problem.squares(spaces)
    # gᵀH⁻¹g = ‖g‖²/λ − λ rᵀA⁻¹r, from below by Gauss.
    gauss = spaces.quadratures(lam, 1, problem.rounding)[0]
    length = np.asarray(backend_of(apart).to_numpy(xp.sum(apart**2, axis=1)), dtype=np.float64)
    energy = np.maximum(lam * (length - gauss), squares)
    energy = (np.sqrt(energy) + error / math.sqrt(lam) * math.sqrt(problem.trace + lam)) ** 2
    return problem.bounds(np.max(np.sqrt(squares) + error, axis=1), np.max(energy, axis=1), values)


def fits_errors(
    values: Float[Array, "c n k"], fits: Float[Array, "n c"], regression: Regression, *, steps: int
) -> RegressionErrors:
    """Errors of fitted values f̂ of any predictor; the excess objective is that of Ψᵀα̂, α̂ = (y − f̂)/λ."""
    xp = arrays.namespace(values)
    lam, y = regression.ridge, xp.astype(regression.targets, values.dtype, copy=False).T[:, :, None]
    fitted = xp.astype(fits, values.dtype, copy=False).T[:, :, None]
    dual = (y - fitted) / lam
    weights = values.mT @ dual
    problem = _Problem.of(values, y, regression, dual, weights, steps)
    spaces = lanczos(_each_kernel(values), fitted - values @ weights, problem.steps)
    squares, error = problem.squares(spaces)
    _, energy = spaces.quadratures(lam, 1, problem.rounding)
    energy = np.minimum(energy, spaces.norms**2 / lam)
    # ‖w̃ − w*‖² = eᵀKe ≤ ‖e‖_A², and ‖Ψ(w̃ − w*)‖² ≤ ‖K‖ eᵀKe.
    excess = (np.sqrt(energy) + error / math.sqrt(lam)) ** 2 * (problem.trace + lam)
    return problem.bounds(np.max(np.sqrt(squares) + error, axis=1), np.max(excess, axis=1), values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Problem:
    """Sizes and rounding of one regression: ``error`` (c, q) is what rounding adds to ‖f̂ − f*‖."""

    points: int
    ridge: float
    trace: float
    rounding: float
    error: np.ndarray
    steps: int

    @staticmethod
    def of(values: Array, y: Array, regression: Regression, dual: Array, weights: Array, steps: int) -> "_Problem":
        xp = arrays.namespace(values)
        eps, size = arrays.epsilon(values), max(values.shape[1:])
        trace = float(xp.max(xp.sum(values**2, axis=(1, 2))))
        host = backend_of(values).to_numpy
        alpha = np.asarray(host(xp.sqrt(xp.sum(dual**2, axis=1))), dtype=np.float64)
        w = np.asarray(host(xp.sqrt(xp.sum(weights**2, axis=1))), dtype=np.float64)
        unit = allowance("backward", eps, size, 1.0)
        error = unit * ((trace + regression.ridge) * alpha + math.sqrt(trace) * w)
        return _Problem(
            points=y.shape[1],
            ridge=regression.ridge,
            trace=trace,
            rounding=unit * trace,
            error=error,
            steps=min(steps, y.shape[1]),
        )

    def squares(self, spaces: Tridiagonals) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (c, q) on ‖f̂ − f*‖² by Gauss-Radau or the residual, and the rounding beside its root."""
        _, upper = spaces.quadratures(self.ridge, 2, self.rounding)
        return np.minimum(self.ridge**2 * upper, spaces.norms**2), self.error

    def bounds(self, distance: np.ndarray, energy: np.ndarray, like: Array) -> RegressionErrors:
        xp = arrays.namespace(like)
        place = {"dtype": like.dtype, "device": arrays.device_of(like)}
        theorem = f"Gauss-Radau, {self.steps} products"
        grow = 1 + 4 * arrays.epsilon(like)  # the value is rounded to the dtype of the arrays
        return RegressionErrors(
            prediction=Bound(
                value=xp.asarray((distance / math.sqrt(self.points) * grow).tolist(), **place), theorem=theorem
            ),
            energy=Bound(value=xp.asarray((energy * grow).tolist(), **place), theorem=theorem),
        )


def _each_kernel(values: Float[Array, "c n k"]) -> Apply:
    """V → K^c V^c for every output."""

    def multiply(block: Float[Array, "c n q"]) -> Float[Array, "c n q"]:
        c, n, k = values.shape
        count(flops=4 * c * n * k * block.shape[2])
        return values @ (values.mT @ block)

    return multiply
