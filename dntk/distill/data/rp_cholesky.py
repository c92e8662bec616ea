"""Randomly pivoted Cholesky: points drawn in proportion to what the others leave of the kernel."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.distill.data.base import Selection, check_selection_size, pivoted_cholesky
from dntk.features import TangentFeatures
from dntk.random import check_seed, uniforms
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class RPCholesky:
    """Points drawn one after another with probability proportional to the diagonal of K̄ − K̄_Nyström.

    The expected residual trace is within 1 + ε of the best rank-r approximation's after about r/ε + r ln(1/(εη))
    picks, η the relative error of rank r (Chen, Epperly, Tropp and Webber 2025). Where the kernel is exhausted before
    ``size`` picks, the rest is drawn uniformly from the points not chosen yet.

    Cost O(n·m² + the kernel's columns); reads one number per pick on the host.
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def select(self, phi: TangentFeatures) -> Selection:
        """Chosen points, with the residual trace after each pick.

        Raises
        ------
        ValueError
            More points asked than there are.
        """
        check_selection_size(self.size, len(phi))
        draws = uniforms(seed=self.seed, stream="rp-cholesky", count=self.size)
        chosen: list[int] = []

        def pick(step: int, residual: Float[Array, " n"]) -> int:
            chosen.append(_draw(residual, float(draws[step]), chosen))
            return chosen[-1]

        return pivoted_cholesky(phi, self.size, pick)


def _draw(residual: Float[Array, " n"], uniform: float, chosen: list[int]) -> int:
    """Index at which the cumulated residual passes a uniform share of its total."""
    xp = arrays.namespace(residual)
    cumulated = xp.cumulative_sum(residual)
    total = float(cumulated[-1])
    if total > 0:
        index = int(xp.sum(xp.astype(cumulated <= uniform * total, xp.int32)))
        index = min(index, residual.shape[0] - 1)
        if float(residual[index]) > 0:
            return index
    taken = set(chosen)
    rest = [i for i in range(residual.shape[0]) if i not in taken]
    return rest[int(uniform * len(rest))]
