"""Gaussian processes whose kernel is the tangent kernel: posterior, marginal likelihood, and its maximisation."""

import dataclasses
import math

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_finite
from dntk._progress import task
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.solve._ridge import outputs_of
from dntk.solve.conditioning import Jitter, SolveReport, inverse_factor
from dntk.solve.marginal_likelihood import MarginalLikelihood, most_likely_ridge
from dntk.solve.normal_equations import ROWS
from dntk.solve.problem import RidgeProblem
from dntk.solve.solution import solve
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Posterior:
    """Beliefs about the outputs at some points.

    Parameters
    ----------
    mean
        (n, C).
    variance
        Of the function itself (n, C).
    noise
        Variance that an observation has beside it (C,).
    """

    mean: Float[Array, "n c"]
    variance: Float[Array, "n c"]
    noise: Float[Array, " c"]

    @property
    def predictive_variance(self) -> Float[Array, "n c"]:
        """Variance of an observation."""
        return self.variance + self.noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """f_c ~ GP(0, σ_c²K^c), observed with noise of variance σ_c²λ: its mean is ridge regression with λ.

    Parameters
    ----------
    weights
        Posterior mean of the weights (C, k).
    factor
        L⁻¹ with L Lᵀ = ΨᵀΨ + λI where there are more points than features, else of ΨΨᵀ + λI; per set of features.
    features
        Features of the points (g, n, k) where there are no more of them than features; the primal needs none.
    ridge
        λ.
    signal
        σ_c² (C,).
    log_marginal_likelihood
        log p(y_c) (C,).
    report
        Condition and rounding of the solve.
    """

    weights: Float[Array, "c k"]
    factor: Float[Array, "g m m"]
    features: Float[Array, "g n k"] | None
    ridge: float
    signal: Float[Array, " c"]
    log_marginal_likelihood: Float[Array, " c"]
    report: SolveReport

    def predict(self, phi: TangentFeatures) -> Posterior:
        """Posterior at points given by their features.

        σ²λ‖L⁻¹ψ‖² in the primal, σ²(‖ψ‖² − ‖L⁻¹Ψψ‖²) in the dual; O(k²) or O(n·k + n²) a point.

        Raises
        ------
        ValueError
            The features have another number of outputs or dimensions than those of the fit.
        """
        xp, g = arrays.namespace(self.factor), self.factor.shape[0]
        expected = (g, self.weights.shape[1])
        if (phi.n_outputs, phi.dim) != expected:
            msg = f"`phi` has {phi.n_outputs} outputs of {phi.dim} features: expected {expected[0]} of {expected[1]}."
            raise ValueError(msg)
        shared = g == 1 and self.weights.shape[0] > 1
        means, variances = [], []
        for start, stop in arrays.spans(len(phi), ROWS):
            block = phi.values[:, start:stop, :]
            wide = xp.astype(block, self.factor.dtype, copy=False)
            weights = xp.astype(self.weights, wide.dtype, copy=False)
            mean = wide[0, :, :] @ weights.T if shared else (wide @ weights[:, :, None])[:, :, 0].T
            means.append(mean)
            variances.append(self._variance(wide).T * self.signal)
        dtype = phi.values.dtype
        return Posterior(
            mean=xp.astype(xp.concat(means, axis=0), dtype, copy=False),
            variance=xp.astype(xp.concat(variances, axis=0), dtype, copy=False),
            noise=xp.astype(self.signal * self.ridge, dtype, copy=False),
        )

    def _variance(self, block: Float[Array, "g b k"]) -> Float[Array, "g b"]:
        xp = arrays.namespace(block)
        count(flops=2 * math.prod(block.shape) * self.factor.shape[1])
        if self.features is None:
            scores = block @ self.factor.mT
            return self.ridge * xp.sum(scores * scores, axis=2)
        scores = (block @ xp.astype(self.features, block.dtype, copy=False).mT) @ self.factor.mT
        return xp.clip(xp.sum(block * block, axis=2) - xp.sum(scores * scores, axis=2), min=0)


def gaussian_process(
    features: TangentFeatures,
    targets: Float[Array, "n c"],
    *,
    noise: float | MarginalLikelihood | None = None,
    signal: float | None = None,
    jitter: Jitter | None = None,
) -> GaussianProcess:
    """Gaussian-process regression with the kernel of tangent features, exactly.

    Features of all parameters give the neural tangent kernel's process; those of a model of the last layer,
    ``dntk.as_model(net, parameters="...")``, the last-layer Laplace approximation's, with identity likelihood.

    Parameters
    ----------
    features, targets
        As for :func:`dntk.solve.ridge`.
    noise
        λ, the variance of the noise in units of ``signal``; or :class:`dntk.solve.MarginalLikelihood`, the
        default, which chooses both.
    signal
        σ², the scale of the kernel, for all outputs; default: of largest marginal likelihood at λ, for each.
    jitter
        As for :func:`dntk.solve.ridge`.

    Raises
    ------
    ValueError
        As :func:`dntk.solve.ridge`; a signal that is not positive.

    Notes
    -----
    O(n·k·min(n, k) + min(n, k)³). With d = min(n, k): log p(y) = −½[yᵀ(K + λI)⁻¹y/σ² + n log σ²λ −
    d log λ + log det(G + λI) + n log 2π].

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(40, 8))), rng.normal(size=(40, 1))
    >>> process = dntk.solve.gaussian_process(phi, y, noise=1.0)
    >>> posterior = process.predict(phi)
    >>> posterior.mean.shape, posterior.variance.shape
    ((40, 1), (40, 1))
    >>> np.allclose(posterior.mean, dntk.solve.ridge(phi, y, ridge=1.0).predict(phi))
    True
    """
    if signal is not None:
        signal = positive_finite("signal", signal, remedy="leave it out to have it estimated")
    y, _ = outputs_of(features, targets)
    problem = RidgeProblem.of(features.values, y)
    with task("Gaussian process", total=2) as bar:
        if noise is None or isinstance(noise, MarginalLikelihood):
            ridge = most_likely_ridge(problem, noise or MarginalLikelihood(), signal)
        else:
            ridge = positive_finite("noise", noise, remedy="pass a number, or leave it out to have it estimated")
        bar.advance()
        process = _fit(features, problem, ridge, signal, jitter)
        bar.advance()
    return process


def _fit(
    features: TangentFeatures, problem: RidgeProblem, ridge: float, signal: float | None, jitter: Jitter | None
) -> GaussianProcess:
    xp = arrays.namespace(problem.features)
    solution = solve(problem, ridge, jitter)
    if solution.report.refinements:  # the factor is the preconditioner's, not the system's
        problem = problem.widened()
        solution = solve(problem, ridge, jitter)
    assert solution.factor is not None  # one ridge for all outputs
    total = ridge + solution.report.jitter
    dtype = solution.factor.dtype
    y, w = xp.astype(problem.targets, dtype, copy=False), xp.astype(solution.weights, dtype, copy=False)
    alpha = xp.astype(solution.dual, dtype, copy=False)
    # yᵀ(K + λ)⁻¹y = λ‖α‖² + ‖w‖²: a sum of squares, where yᵀα would cancel; of √λα, where α² may overflow.
    rest = total**0.5 * alpha
    quadratic = xp.reshape(xp.sum(rest * rest, axis=1) + xp.sum(w * w, axis=1), (-1,))
    n, d = problem.points, solution.factor.shape[1]
    scale = quadratic / n if signal is None else xp.full_like(quadratic, signal)
    scale = xp.where(scale > 0, scale, xp.ones_like(scale))
    log_det = 2 * xp.sum(xp.log(xp.linalg.diagonal(solution.factor)), axis=1) - d * math.log(total)
    each = xp.broadcast_to(log_det[:, None], (log_det.shape[0], y.shape[2]))
    likelihood = -0.5 * (
        quadratic / scale + n * xp.log(scale * total) + xp.reshape(each, (-1,)) + n * math.log(2 * math.pi)
    )
    weights = solution.weights[:, :, 0] if y.shape[2] == 1 else solution.weights[0, :, :].T
    return GaussianProcess(
        weights=xp.astype(weights, dtype, copy=False),
        factor=inverse_factor(solution.factor),
        features=features.values if problem.dual else None,
        ridge=total,
        signal=scale,
        log_marginal_likelihood=likelihood,
        report=solution.report,
    )
