"""Distance of predictors from the exact ridge regression on the reference, by a few products with the kernels."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Bound
from dntk.certificates.approximation import Regression
from dntk.certificates.quadrature import Apply, Tridiagonals, lanczos
from dntk.certificates.rounding import allowance
from dntk.ledger import count
from dntk.types import Array

_TIGHT = 0.8  # of the root mean square
_SMALL = 1e-3  # of the targets' norm


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
    y = _rows(regression.targets, values)
    w = xp.stack([xp.astype(one, values.dtype, copy=False) for one in weights], axis=1)
    dual = (y - w @ values.mT) / regression.ridge
    apart = w - dual @ values  # g/λ
    problem = _Problem.of(values, y, regression, dual, w)
    spaces = lanczos(_each_kernel(values), apart @ values.mT, steps, problem.tight)
    squares = problem.squares(spaces)
    # gᵀH⁻¹g = ‖g‖²/λ − λ rᵀA⁻¹r, and Gauss bounds rᵀA⁻¹r from below.
    gauss = spaces.quadratures(problem.ridge, 1, problem.rounding)[0]
    length = np.asarray(backend_of(apart).to_numpy(xp.sum(apart**2, axis=2)), dtype=np.float64)
    energy = np.maximum(problem.ridge * (length - gauss), squares)
    energy = (np.sqrt(energy) + problem.error * math.sqrt(1 + problem.trace / problem.ridge)) ** 2
    return problem.bounds(spaces, squares, energy, values)


def fits_errors(
    values: Float[Array, "c n k"], fits: Float[Array, "n c"], regression: Regression, *, steps: int
) -> RegressionErrors:
    """Errors of fitted values f̂ of any predictor; the excess objective is that of Ψᵀα̂, α̂ = (y − f̂)/λ."""
    y, fitted = _rows(regression.targets, values), _rows(fits, values)
    dual = (y - fitted) / regression.ridge
    weights = dual @ values
    problem = _Problem.of(values, y, regression, dual, weights)
    spaces = lanczos(_each_kernel(values), fitted - weights @ values.mT, steps, problem.tight)
    _, energy = spaces.quadratures(problem.ridge, 1, problem.rounding)
    energy = np.minimum(energy, spaces.norms**2 / problem.ridge)
    # ‖w̃ − w*‖² = eᵀKe ≤ ‖e‖_A², and ‖Ψ(w̃ − w*)‖² ≤ ‖K‖ eᵀKe.
    excess = (np.sqrt(energy) + problem.error / math.sqrt(problem.ridge)) ** 2 * (problem.trace + problem.ridge)
    return problem.bounds(spaces, problem.squares(spaces), excess, values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Problem:
    """Sizes and rounding of one regression: ``error`` (c, q) is what rounding adds to ‖f̂ − f*‖."""

    points: int
    ridge: float
    trace: float
    rounding: float
    error: np.ndarray
    target_norm: float

    @staticmethod
    def of(values: Array, y: Array, regression: Regression, dual: Array, weights: Array) -> "_Problem":
        xp = arrays.namespace(values)
        trace = float(xp.max(xp.sum(values**2, axis=(1, 2))))
        unit = allowance("backward", arrays.epsilon(values), max(values.shape[1:]), 1.0)
        host = backend_of(values).to_numpy
        alpha, w = (np.asarray(host(xp.sqrt(xp.sum(v**2, axis=2))), dtype=np.float64) for v in (dual, weights))
        return _Problem(
            points=y.shape[2],
            ridge=regression.ridge,
            trace=trace,
            rounding=unit * trace,
            error=unit * ((trace + regression.ridge) * alpha + math.sqrt(trace) * w),
            target_norm=float(xp.sqrt(xp.mean(xp.sum(y**2, axis=2)))),
        )

    def squares(self, spaces: Tridiagonals) -> np.ndarray:
        """Bounds (c, q) on ‖f̂ − f*‖² by Gauss-Radau or the residual, without rounding."""
        _, upper = spaces.quadratures(self.ridge, 2, self.rounding)
        return np.minimum(self.ridge**2 * upper, spaces.norms**2)

    def tight(self, spaces: Tridiagonals) -> bool:
        """Whether further products would gain little: upper and lower bounds are near, or the error negligible."""
        lower, upper = spaces.quadratures(self.ridge, 2, self.rounding)
        near = _TIGHT**2 * upper <= lower
        small = self.ridge * np.sqrt(np.minimum(upper, spaces.norms**2 / self.ridge**2)) <= _SMALL * self.target_norm
        return bool(np.all(near | small))

    def bounds(self, spaces: Tridiagonals, squares: np.ndarray, energy: np.ndarray, like: Array) -> RegressionErrors:
        xp = arrays.namespace(like)
        place = {"dtype": like.dtype, "device": arrays.device_of(like)}
        theorem = f"Gauss-Radau, {spaces.steps} products"
        grow = 1 + 4 * arrays.epsilon(like)  # the value is rounded to the dtype of the arrays
        distance = np.max(np.sqrt(squares) + self.error, axis=1) / math.sqrt(self.points) * grow
        excess = np.max(energy, axis=1) * grow
        return RegressionErrors(
            prediction=Bound(value=xp.asarray(distance.tolist(), **place), theorem=theorem),
            energy=Bound(value=xp.asarray(excess.tolist(), **place), theorem=theorem),
        )


def _each_kernel(values: Float[Array, "c n k"]) -> Apply:
    """V → V K^c for the rows of every output."""

    def multiply(rows: Float[Array, "c q n"]) -> Float[Array, "c q n"]:
        c, n, k = values.shape
        count(flops=4 * c * n * k * rows.shape[1])
        return (rows @ values) @ values.mT

    return multiply


def _rows(columns: Float[Array, "n c"], like: Array) -> Float[Array, "c 1 n"]:
    xp = arrays.namespace(like)
    return xp.astype(columns, like.dtype, copy=False).T[:, None, :]
