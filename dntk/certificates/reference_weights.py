"""The ridge regression on the reference itself, solved anew, with what is left of its gradient.

A predictor's distance from f* at a point is then known but for the distance of this solution w̃, which the gradient
g̃ = Φᵀ(Φw̃ − y) + λw̃ bounds:

    |⟨ψ, w − w*⟩| ≤ |⟨ψ, w − w̃⟩| + √(v(x)/λ)·√(g̃ᵀH⁻¹g̃),   g̃ᵀH⁻¹g̃ ≤ ‖g̃‖²/λ.

Cauchy and Schwarz lose nothing on the first term, which is the whole of it where λ is above the rounding of the kernel.
Over the reference points, and in the norm ‖u‖_H² = ‖Φu‖² + λ‖u‖² of the objective, P(w) − P* = ‖w − w*‖_H²,

    ‖Φ(w − w*)‖ ≤ ‖Φ(w − w̃)‖ + √(g̃ᵀH⁻¹g̃),   ‖w − w*‖_H ≤ ‖w − w̃‖_H + √(g̃ᵀH⁻¹g̃),

since w̃ − w* = H⁻¹g̃ and ΦᵀΦ ≤ H. Quadratures, which need no solution, end far above them where ‖K‖/λ is large.
"""

import dataclasses
import math

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound
from dntk.certificates.approximation import Regression
from dntk.certificates.regression import RegressionErrors
from dntk.certificates.widened import StoredWidened, Widened
from dntk.ledger import count
from dntk.solve.conditioning import cholesky_solve
from dntk.solve.problem import RidgeProblem
from dntk.solve.solution import solve
from dntk.types import Array

LARGEST = 2048
"""Side of the largest system that is solved: of more points and more features products have to do."""
REFINEMENTS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReferenceWeights:
    """w̃ (C, k), and a bound on g̃ᵀH⁻¹g̃ (C,)."""

    weights: Float[Array, "c k"]
    energy: Bound


def reference_weights(values: Widened, regression: Regression) -> ReferenceWeights | None:
    """Solution on the reference, in units of its scale.

    None where the system is larger than ``LARGEST``, the features are on the disk, or λ drowns in rounding.

    Rounding: with m = Φw̃ − y, off by δ, ‖δ‖ ≤ k·eps·(‖Φ‖_F‖w̃‖ + ‖y‖), g̃ as computed lacks Φᵀδ, whose H⁻¹-norm is at
    most ‖δ‖ as ΦH⁻¹Φᵀ ≤ I, and the rounding of Φᵀm + λw̃, n·eps·‖Φ‖_F‖m‖ + 2·eps·λ‖w̃‖ at most; eps is twice the unit
    roundoff. Cost O(C·(n·k·d + d³)), d = min(n, k).
    """
    if min(values.shape[1:]) > LARGEST or isinstance(values, StoredWidened):
        return None
    found = []
    for c, part in enumerate(values.parts()):
        one = _solved(part[None, :, :], regression.targets[:, c : c + 1], regression.ridge)
        if one is None:
            return None
        found.append(one)
    xp = arrays.namespace(values.values)
    weights, energies = (xp.concat(parts, axis=0) for parts in zip(*found, strict=True))
    bound = Bound(value=energies, theorem="gradient at the reference's solution")
    return ReferenceWeights(weights=weights, energy=bound)


def errors_from(
    solved: ReferenceWeights, values: Widened, weights: tuple[Array, ...], regression: Regression
) -> RegressionErrors:
    """Errors of predictors ⟨w, ψ⟩ by their distance from the solution; one product.

    Rounding: of w in the reference's units ‖Φ‖_F·eps·‖w‖, of Φ(w − w̃) ‖Φ‖_F·(k + 1)·eps·‖w − w̃‖, and of sums of
    squares as many eps of them as there are terms.
    """
    xp = arrays.namespace(values.like)
    _, n, k = values.shape
    eps = arrays.epsilon(values.like)
    w = xp.stack([xp.astype(one, values.like.dtype, copy=False) for one in weights], axis=1)
    apart = w - solved.weights[:, None, :]
    length, norm = _lengths(apart), xp.sqrt(values.squares)[:, None]
    inside = eps * norm * ((k + 1) * length + _lengths(w))
    misfit = (_lengths(values.back(apart)) + inside) * (1 + n * eps)
    whole = xp.sqrt(misfit**2 + regression.ridge * length**2) * (1 + k * eps)
    left = xp.sqrt(solved.energy.value)[:, None]
    return RegressionErrors(
        prediction=dataclasses.replace(solved.energy, value=xp.max(misfit + left, axis=1) / math.sqrt(n)),
        energy=dataclasses.replace(solved.energy, value=xp.max(whole + left, axis=1) ** 2),
    )


def _solved(
    values: Float[Array, "1 n k"], targets: Float[Array, "n 1"], ridge: float
) -> tuple[Float[Array, "1 k"], Float[Array, " 1"]] | None:
    """w̃ and the bound of one output."""
    xp = arrays.namespace(values)
    y = xp.astype(targets, values.dtype, copy=False)
    try:
        problem = RidgeProblem.of(values, y)
        solution = solve(problem, ridge)
    except ValueError:  # singular to working precision
        return None
    assert solution.factor is not None
    factor = xp.astype(solution.factor, values.dtype, copy=False)
    weights = xp.astype(solution.weights, values.dtype, copy=False)
    for _ in range(REFINEMENTS):
        step = _gradient(values, weights, y, ridge)[0]
        if problem.dual:  # H⁻¹g = (g − Φᵀ(K + λI)⁻¹Φg)/λ, as exact as a refinement needs
            count(flops=4 * math.prod(values.shape))
            step = (step - values.mT @ cholesky_solve(factor, values @ step)) / ridge
        else:
            step = cholesky_solve(factor, step)
        weights = weights - step
    gradient, misfit = _gradient(values, weights, y, ridge)
    _, n, k = values.shape
    eps, norm, length = arrays.epsilon(values), xp.sqrt(xp.sum(values**2, axis=(1, 2))), _norms(weights)
    inside = k * eps * (norm * length + _norms(y.T[:, :, None]))
    outside = n * eps * norm * _norms(misfit) + 2 * eps * ridge * length
    energy = ((_norms(gradient) + outside) / ridge**0.5 + inside) ** 2
    return weights[:, :, 0], energy


def _gradient(values: Array, weights: Array, y: Array, ridge: float) -> tuple[Array, Array]:
    """Φᵀ(Φw − y) + λw (C, k, 1), and Φw − y."""
    count(flops=4 * math.prod(values.shape))
    misfit = values @ weights - y.T[:, :, None]
    return values.mT @ misfit + ridge * weights, misfit


def _lengths(rows: Float[Array, "c q k"]) -> Float[Array, "c q"]:
    xp = arrays.namespace(rows)
    return xp.sqrt(xp.sum(rows**2, axis=2))


def _norms(columns: Float[Array, "c k 1"]) -> Float[Array, " c"]:
    xp = arrays.namespace(columns)
    return xp.sqrt(xp.sum(columns**2, axis=(1, 2)))
