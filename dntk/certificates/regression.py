"""How far regressions are from the exact ridge regression on a reference: on its points, in energy, in the objective.

Fitted values f̂ of any predictor, α̂ = (y − f̂)/λ and r = f̂ − Kα̂ (the residual y − Aα̂, A = K + λI) give

    f̂ − f* = λA⁻¹r,   ‖f̂ − f*‖ ≤ ‖r‖ (K2),   ‖f̂ − f*‖² = λ² rᵀA⁻²r,

and any dual α̂, e = α − α̂ (Galerkin's α̂ = U(UᵀAU)⁻¹Uᵀy has the least energy in its span)

    ‖e‖_A² = rᵀA⁻¹r,   ‖r‖²/(λ + ‖K‖) ≤ ‖e‖_A² ≤ ‖r‖²/λ.

Gauss-Radau bounds both forms from above within a factor 1.2 to 1.4 after 40 products, where ‖r‖²/λ is 10 to 20 times
too large. In the span of s columns that are not orthonormal the system is UᵀKU + λUᵀU; with λI the solution depends on
the basis. Fenchel duality, with P(w) = ‖Φw − y‖² + λ‖w‖² and D(α) = 2λ αᵀy − λ αᵀAα, for every w and α:

    ‖Φ(w − w*)‖² + λ‖w − w*‖² = P(w) − P* ≤ P(w) − D(α),

with equality at α* (completing the square). Rounding: that of r is 4c·eps·N·(‖K‖ + λ)‖α̂‖, c = 0.71, and adds ‖Δr‖/√λ to
‖e‖_A; that of squared norms 4c·eps·N of them, c = 0.74; that of the duality gap P(w) + |D(α)|, which the subtraction
loses, and 2‖Φw − y‖‖y‖, as what is squared is rounded as y is.
"""

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
from dntk.certificates.widened import Widened
from dntk.ledger import count
from dntk.types import Array

_TIGHT = 0.8  # of the root mean square
_SMALL = 1e-3  # of the targets' norm


def in_sample_error(residual: Float[Array, "c n"], *, rounding: float = 0.0) -> Bound:
    """K2: bound (C,) on ‖f̂ − f*‖ over the reference points, by the residual r = f̂ − Kα̂ alone."""
    xp = arrays.namespace(residual)
    return Bound(value=xp.sqrt(xp.sum(residual**2, axis=1)) + rounding, theorem="in-sample residual")


def residual_energies(residual: Float[Array, "c n"], *, ridge: float, norm: float) -> tuple[Array, Array]:
    """Lower and upper bounds (C,) of ‖e‖_A² from r alone; ``norm`` is a bound on ‖K‖."""
    xp = arrays.namespace(residual)
    squared = xp.sum(residual**2, axis=1)
    return squared / (ridge + norm), squared / ridge


def energy_error(
    multiply: Apply,
    residual: Float[Array, "c n"],
    *,
    ridge: float,
    trace: float,
    size: int,
    steps: int = 40,
    residual_rounding: float = 0.0,
) -> Bound:
    """Bound (C,) on ‖α − α̂‖_A² by Gauss-Radau, from products with the kernels K^c alone.

    ``trace`` ≥ ‖K‖ and N = ``size`` set the rounding; ``residual_rounding`` is a bound on ‖Δr‖.
    """
    xp = arrays.namespace(residual)
    rounding = allowance("backward", arrays.epsilon(residual), size, trace)
    spaces = lanczos(multiply, residual[:, None, :], steps)
    _, upper = spaces.quadratures(ridge, 1, rounding)
    bound = [min(float(u), float(r) ** 2 / ridge) for u, r in zip(upper[:, 0], spaces.norms[:, 0], strict=True)]
    grow = 1 + allowance("galerkin", arrays.epsilon(residual), size, 1.0)
    value = [(b**0.5 + residual_rounding / ridge**0.5) ** 2 * grow for b in bound]
    return Bound(
        value=xp.asarray(value, dtype=residual.dtype, device=arrays.device_of(residual)),
        theorem=f"Gauss-Radau, {min(steps, residual.shape[1])} products",
    )


def residual_rounding(eps: float, size: int, *, trace: float, ridge: float, dual_norm: float) -> float:
    """Bound on the rounding of r = y − (K + λI)α̂."""
    return allowance("backward", eps, size, (trace + ridge) * dual_norm)


def excess_objective(
    features: Float[Array, "c n k"],
    targets: Float[Array, "n c"],
    weights: Float[Array, "c k"],
    dual: Float[Array, "c n"],
    *,
    ridge: float,
) -> Bound:
    """Bound (C,) on P(w) − P* = ‖Φ(w − w*)‖² + λ‖w − w*‖² of every output; two passes over the features."""
    xp = arrays.namespace(features)
    wide = arrays.accumulation_dtype(features)
    phi, y = xp.astype(features, wide, copy=False), xp.astype(targets, wide, copy=False).T
    w, a = xp.astype(weights, wide, copy=False), xp.astype(dual, wide, copy=False)
    misfit = (phi @ w[:, :, None])[:, :, 0] - y
    image = (phi.mT @ a[:, :, None])[:, :, 0]
    far = xp.sum(misfit**2, axis=1)
    primal = far + ridge * xp.sum(w**2, axis=1)
    # λα has the size of the targets; λ² and α² leave the range of float32 where kernels are large.
    fit = ridge * a
    linear, quadratic = 2 * xp.sum(fit * y, axis=1), ridge * xp.sum(image**2, axis=1) + xp.sum(fit**2, axis=1)
    slack = allowance("galerkin", arrays.epsilon(phi), max(features.shape), 1.0)
    scale = primal + xp.abs(linear) + quadratic + 2 * xp.sqrt(far) * xp.sqrt(xp.sum(y**2, axis=1))
    return Bound(value=xp.clip(primal - linear + quadratic, min=0) + slack * scale, theorem="duality gap")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressionErrors:
    """Root mean squares (C,) over the reference, and excess objectives (C,), the largest over the predictors."""

    prediction: Bound
    energy: Bound


def weights_errors(
    values: Widened, weights: tuple[Array, ...], regression: Regression, *, steps: int
) -> RegressionErrors:
    """Errors of predictors ⟨w, ψ⟩, all in one Lanczos process of at most ``steps`` products."""
    like = values.like
    xp = arrays.namespace(like)
    y = _rows(regression.targets, like)
    w = xp.stack([xp.astype(one, like.dtype, copy=False) for one in weights], axis=1)
    dual = (y - values.back(w)) / regression.ridge
    apart = w - values.onto(dual)  # g/λ
    problem = _Problem.of(values, y, regression, dual, w)
    spaces = lanczos(_each_kernel(values), values.back(apart), steps, problem.tight)
    squares = problem.squares(spaces)
    # gᵀH⁻¹g = ‖g‖²/λ − λ rᵀA⁻¹r, and Gauss bounds rᵀA⁻¹r from below.
    gauss = spaces.quadratures(problem.ridge, 1, problem.rounding)[0]
    length = np.asarray(backend_of(apart).to_numpy(xp.sum(apart**2, axis=2)), dtype=np.float64)
    energy = np.maximum(problem.ridge * (length - gauss), squares)
    energy = (np.sqrt(energy) + problem.error * math.sqrt(1 + problem.trace / problem.ridge)) ** 2
    return problem.bounds(spaces, squares, energy, like)


def fits_errors(values: Widened, fits: Float[Array, "n c"], regression: Regression, *, steps: int) -> RegressionErrors:
    """Errors of fitted values f̂ of any predictor; the excess objective is that of Ψᵀα̂, α̂ = (y − f̂)/λ."""
    y, fitted = _rows(regression.targets, values.like), _rows(fits, values.like)
    dual = (y - fitted) / regression.ridge
    weights = values.onto(dual)
    problem = _Problem.of(values, y, regression, dual, weights)
    spaces = lanczos(_each_kernel(values), fitted - values.back(weights), steps, problem.tight)
    _, energy = spaces.quadratures(problem.ridge, 1, problem.rounding)
    energy = np.minimum(energy, spaces.norms**2 / problem.ridge)
    # ‖w̃ − w*‖² = eᵀKe ≤ ‖e‖_A², and ‖Ψ(w̃ − w*)‖² ≤ ‖K‖ eᵀKe.
    excess = (np.sqrt(energy) + problem.error / math.sqrt(problem.ridge)) ** 2 * (problem.trace + problem.ridge)
    return problem.bounds(spaces, problem.squares(spaces), excess, values.like)


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
    def of(values: Widened, y: Array, regression: Regression, dual: Array, weights: Array) -> "_Problem":
        xp = arrays.namespace(y)
        trace = float(xp.max(values.squares))
        unit = allowance("backward", arrays.epsilon(y), max(values.shape[1:]), 1.0)
        host = backend_of(y).to_numpy
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


def _each_kernel(values: Widened) -> Apply:
    """V → V K^c for the rows of every output."""

    def multiply(rows: Float[Array, "c q n"]) -> Float[Array, "c q n"]:
        c, n, k = values.shape
        count(flops=4 * c * n * k * rows.shape[1])
        return values.through(rows)

    return multiply


def _rows(columns: Float[Array, "n c"], like: Array) -> Float[Array, "c 1 n"]:
    xp = arrays.namespace(like)
    return xp.astype(columns, like.dtype, copy=False).T[:, None, :]
