"""What a fit does with features: its stages after them, each by itself, so that a plan can run them at other sizes."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.certificates import Span
from dntk.certificates.approximation import span_of
from dntk.distill.gradients.base import require_kernel
from dntk.distilled_gradients import DistilledGradients, row_basis
from dntk.estimator.stages import Stages
from dntk.features import TangentFeatures, require_kernel_of
from dntk.solve import RidgeFit, same_span
from dntk.solve._ridge import solved
from dntk.solve.problem import RidgeProblem
from dntk.solve.rules import one_ridge
from dntk.spectrum import eigenvalues
from dntk.spectrum.eigen import gram_eigenvalues
from dntk.types import Array


def regressed(stages: Stages, phi: TangentFeatures, targets: Float[Array, "m c"]) -> tuple[RidgeProblem, RidgeFit]:
    """The regression on all features, with one λ for all outputs."""
    together = stages.parts.rows(1)[1]
    problem = RidgeProblem.of(require_kernel_of("phi", phi).values, targets, together=together)
    fit = stages.keep.regression(phi, lambda: solved(problem, one_ridge(stages.parts.ridge, problem), phi))
    return problem, fit


def left_by(phi: TangentFeatures, others: TangentFeatures, problem: RidgeProblem) -> float:
    """Share of the trace of K̄ over other points that these, with whose ``problem`` a Gram matrix may come, leave.

    k(x, x) − k_xᵀ(K̄ + μI)⁻¹k_x of every other point, with μ as small as the precision of the features lets it be.
    """
    xp = arrays.namespace(phi.values)
    own = xp.mean(arrays.in_float64(xp.sum(others.values**2, axis=2)), axis=0)
    total = float(xp.sum(own))
    require_kernel(phi)
    if total == 0:  # gradients of zero lie in every span
        return 0.0
    gram = xp.mean(problem.gram, axis=0) if problem.dual else arrays.in_float64(phi.kernel())
    damping = 10 * len(phi) * arrays.epsilon(phi.values) * float(xp.mean(xp.linalg.diagonal(gram)))
    factor = xp.linalg.cholesky(gram + damping * xp.eye(len(phi), dtype=gram.dtype, device=arrays.device_of(gram)))
    across = xp.astype(phi.kernel(others), gram.dtype, copy=False)
    half = backend_of(factor).triangular_solve(factor, across, lower=True)
    return float(xp.sum(xp.clip(own - xp.sum(half * half, axis=0), min=0))) / total


def reduced(
    stages: Stages, phi: TangentFeatures, targets: Float[Array, "m c"], ridge: float, problem: RidgeProblem
) -> tuple[DistilledGradients, RidgeFit] | None:
    """Synthetic gradients and the regression in their span at this λ; None where gradients are not distilled."""
    grads = stages.gradients(phi, targets, ridge, problem)
    return None if grads is None else (grads, same_span(grads, ridge=ridge))


def spectrum_of(stages: Stages, phi: TangentFeatures, problem: RidgeProblem) -> Float[Array, " m"]:
    """Eigenvalues of K̄ on the kept points, by the kernels of their regression where those are in float64."""
    return stages.keep.spectrum(phi.values, lambda: _eigenvalues(phi, problem))


def _eigenvalues(phi: TangentFeatures, problem: RidgeProblem) -> Float[Array, " m"]:
    xp = arrays.namespace(phi.values)
    if not problem.dual or xp.finfo(problem.targets.dtype).bits != 64:
        return eigenvalues(phi)
    return gram_eigenvalues(xp.mean(problem.gram, axis=0))


def span_of_features(phi: TangentFeatures) -> Span:
    """The span of all features."""
    basis = row_basis(phi.values)
    return span_of(phi.values, basis[:, : min(len(phi), phi.dim), :], dtype=phi.values.dtype)


def span_of_gradients(grads: DistilledGradients) -> Span:
    """The span of the synthetic gradients."""
    return span_of(grads.values, grads.basis, dtype=grads.values.dtype)


def compared_count(points: int, outputs: int) -> int:
    """Kept points at which a predictor from functionals is compared with the network: a fifth of the fit's rows."""
    return min(points, max(16, points // (5 * outputs)))


def predicted(phi: TangentFeatures, weights: Float[Array, "g k"]) -> Float[Array, "n c"]:
    """⟨w_c, ψ_c(x)⟩, with one w for all outputs where the regression was one."""
    return (phi.values @ weights[:, :, None])[:, :, 0].T


def as_rows(phi: TangentFeatures, problems: int) -> TangentFeatures:
    """Features of all outputs as those of so many problems: themselves, or one after the other."""
    if phi.n_outputs == problems:
        return phi
    c, n, k = phi.values.shape
    stacked = arrays.namespace(phi.values).reshape(phi.values, (1, c * n, k))
    return dataclasses.replace(phi, values=stacked)
