"""Principal directions: leading eigenvectors of the kernel, the best for one kernel."""

import dataclasses

from jaxtyping import Float

from dntk._checks import check_seed, keep, positive_integer
from dntk.distill.gradients._by_chunks import distilled_by_chunks, goes_by_chunks
from dntk.distill.gradients.base import check_size, require_kernel
from dntk.distilled_gradients import DistilledGradients, coverage_spectra, distil_along
from dntk.features import TangentFeatures
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class Principal:
    """The leading eigenvectors of K̄, or of every K^c.

    Among all s-dimensional subspaces they keep most of that one kernel in every unitarily invariant norm, and minimise
    the worst-case error over targets of unit norm (Eckart and Young; Mirsky). They do not look at the targets.

    Shared by several outputs they need not have the least trace residual, which is taken output by output on the span
    of UᵀΨ^c: it is at most Σ_{i>s} λ_i(K̄), and at least the mean over outputs of Σ_{i>s} λ_i(K^c), which
    ``per_output`` attains.

    Parameters
    ----------
    size
        Number s of synthetic gradients.
    per_output
        Directions of each output's own kernel, in place of those of the mean kernel shared by all.
    seed
        Of the randomized eigensolver that is used beyond a few thousand points.

    Notes
    -----
    Matrix-free beyond a few thousand points: O(m·C·k·s) and no (m, m) array, see
    :func:`dntk.spectrum.leading_eigenpairs`. :class:`dntk.StoredFeatures` of more points than k + 1 (shared: C·(k + 1))
    are read by chunks, four times: O(m·C·k²), and coverage is that of all eigenvectors.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> grads = dntk.distill.gradients.Principal(5).distill(phi, y)
    >>> grads.values.shape, grads.targets.shape, grads.directions.shape
    ((2, 5, 8), (2, 5), (40, 5))
    >>> np.allclose(grads.coverage, 1 * (np.arange(len(grads.coverage)) < 5))
    True
    """

    size: int
    per_output: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size), seed=check_seed(self.seed))

    def distill(self, phi: TangentFeatures, targets: Float[Array, "m c"]) -> DistilledGradients:
        """Synthetic gradients along the leading eigenvectors.

        Raises
        ------
        ValueError
            More gradients than points, zero features, or targets of another shape.
        """
        if goes_by_chunks(phi, self.size, per_output=self.per_output):
            return distilled_by_chunks(self, phi, targets, per_output=self.per_output)
        check_size(self.size, phi)
        require_kernel(phi)
        spectra = coverage_spectra(phi, per_output=self.per_output, size=self.size, seed=self.seed)
        return distil_along(phi, targets, spectra[1][..., : self.size], spectra=spectra)
