"""The ridge solution's own direction, then principal directions: label-aware distillation."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.distill.gradients.base import check_size, require_kernel
from dntk.distilled_gradients import DistilledGradients, coverage_spectra, distil_along
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.solve.preconditioned_cg import Preconditioner, preconditioned_cg
from dntk.solve.ridge import Ridge, feature_ridge
from dntk.targets import check_targets
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class Solution:
    """Per class: the direction of α = (K^c + λI)⁻¹y, then the s − 1 leading eigenvectors of K^c.

    One synthetic gradient along α already reproduces ridge regression on all m points exactly; with the principal
    directions beside it, the kernel lost is at most one principal direction more than the best possible:
    Σ_{i>s} λ_i ≤ tr(K − K_Π) ≤ Σ_{i≥s} λ_i. α is computed by conjugate gradients preconditioned with leading
    eigenpairs, O(C·m·k) a step.

    Parameters
    ----------
    size
        Number s of synthetic gradients per output.
    ridge
        λ as for :func:`dntk.solve.ridge`; it is kept as ``.ridge`` of the result and should be the one used to solve.
        ``"loo"`` costs an eigendecomposition of min(m, k) per output.
    iterations
        Conjugate-gradient steps.
    rank
        Eigenpairs in the preconditioner, at least ``size``.
    seed
        Of the randomized eigensolver that is used beyond a few thousand points.
    """

    size: int
    ridge: Ridge = "loo"
    iterations: int = 30
    rank: int = 40
    seed: int = 0

    def distill(self, phi: TangentFeatures, targets: Float[Array, "m c"]) -> DistilledGradients:
        """Synthetic gradients along the solution and the leading eigenvectors of each output's kernel.

        Raises
        ------
        ValueError
            More gradients than points, zero features, a ridge that is not positive, or targets of another shape.
        """
        check_size(self.size, len(phi))
        require_kernel(phi)
        y = check_targets(targets, phi.values, points=len(phi), outputs=phi.n_outputs)
        ridge = feature_ridge(self.ridge, phi.values, y)
        spectra = coverage_spectra(phi, per_class=True, size=max(self.rank, self.size), seed=self.seed)
        rank = min(len(phi), max(self.rank, self.size))
        values, vectors = spectra[0][..., :rank], spectra[1][..., :rank]
        alpha = self._solve(phi.values, y, ridge, values, vectors)
        directions = _solution_first(alpha, vectors[..., : self.size])
        return distil_along(phi, y, directions, ridge=ridge, spectra=spectra)

    def _solve(self, features: Array, y: Array, ridge: float, values: Array, vectors: Array) -> Float[Array, "c m"]:
        """α by conjugate gradients, in the precision of the eigenvectors."""
        xp = arrays.namespace(features)
        wide = xp.astype(features, vectors.dtype, copy=False)
        c, m, k = features.shape
        # A heuristic: one matrix product runs near the machine's peak, products with vectors wait for memory.
        kernel = wide @ wide.mT if m <= 20 * self.iterations else None
        count(flops=2 * c * m * m * k if kernel is not None else 4 * c * m * k * (self.iterations + 1))

        def multiply(v: Array) -> Array:
            column = v[:, :, None]
            image = kernel @ column if kernel is not None else wide @ (wide.mT @ column)
            return image[:, :, 0] + ridge * v

        preconditioner = Preconditioner(values=values, vectors=vectors, ridge=ridge)
        rhs = xp.astype(y, vectors.dtype, copy=False).T
        return preconditioned_cg(multiply, rhs, preconditioner, iterations=self.iterations).solution


def _solution_first(alpha: Float[Array, "c m"], vectors: Float[Array, "c m s"]) -> Float[Array, "c m s"]:
    """Orthonormal [α, v_1 … v_{s−1}]; v_s in place of an α that lies in the span of the others."""
    xp = arrays.namespace(alpha)
    kept, spare = vectors[..., :-1], vectors[..., -1:]
    norm = xp.sqrt(xp.sum(alpha * alpha, axis=1))[:, None]
    unit = (alpha / xp.where(norm > 0, norm, xp.ones_like(norm)))[:, :, None]
    rest = unit - kept @ (kept.mT @ unit)
    rest = rest - kept @ (kept.mT @ rest)  # once more: the first pass leaves rounding times the part removed
    left = xp.sqrt(xp.sum(rest * rest, axis=1, keepdims=True))
    # A remainder this small is rounding of the eigenvectors, not a direction.
    new = left > 1e-6
    direction = xp.where(new, rest / xp.where(new, left, xp.ones_like(left)), spare)
    return xp.concat([direction, kept], axis=2)
