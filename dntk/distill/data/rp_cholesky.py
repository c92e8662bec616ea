"""Randomly pivoted Cholesky: points drawn in proportion to what the others leave of the kernel."""

import dataclasses

import numpy as np
import numpy.typing as npt

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer
from dntk._progress import task
from dntk.backend import backend_of
from dntk.distill.data.base import Selection
from dntk.distill.data.given import GivenPoints, given_points
from dntk.distill.data.residual_kernel import BLOCK, ResidualKernel, eliminate, residual_kernel
from dntk.features import TangentFeatures
from dntk.random import WORDS_PER_COUNTER, uniforms, words


@dataclasses.dataclass(frozen=True)
class RPCholesky:
    """Points drawn one after another with probability proportional to the diagonal of R = K̄ − K̄_Nyström.

    Many are proposed at once, in proportion to the diagonal as it is. Each is then accepted with probability
    d / R_ii, d its residual after those accepted before it: the accepted points have the same law as points drawn one
    by one, and their columns are one matrix product (accelerated RPCholesky; Epperly, Tropp and Webber,
    arXiv 2410.03969).

    The expected residual trace is within 1 + ε of the best rank-r approximation's after about r/ε + r ln(1/(εη))
    picks, η the relative error of rank r (Chen, Epperly, Tropp and Webber 2025). A point whose residual is rounding,
    at most n · eps · max K̄_ii, is not drawn: where that holds of all before ``size`` picks, the rest is drawn
    uniformly from the points not chosen yet. Points given count as picked before. The first points of a larger choice
    are the smaller one at the same seed and block, the law of the points does not depend on the block.

    Parameters
    ----------
    size
        Number of points.
    seed
        Of the draws.
    block
        Points proposed at once. The more, the fewer passes over the features, but the more are refused.

    Notes
    -----
    Cost O(n·m·(C·k + m)) and O(block²·(C·k + m)) per round, memory O(n·(C·k + m)): no n × n matrix. Each round reads
    about block² numbers on the host.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi = dntk.TangentFeatures(rng.normal(size=(40, 8)))
    >>> core = dntk.distill.data.RPCholesky(8, seed=0).select(phi)
    >>> len(core.indices), bool(np.all(np.diff(core.residual_trace) <= 0))
    (8, True)
    >>> bool(core.residual_trace[-1] < 1e-9 * core.trace)  # eight points span eight features
    True
    """

    size: int
    seed: int = 0
    block: int = dataclasses.field(default=BLOCK, kw_only=True)

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size), seed=check_seed(self.seed))
        keep(self, block=positive_integer("block", self.block))

    def select(self, phi: TangentFeatures, *, given: GivenPoints = None) -> Selection:
        """Chosen points, with the residual trace after each pick.

        Raises
        ------
        TypeError, ValueError
            More points asked than there are, or than are left of those ``given``; see :func:`given_points`.
        """
        known = given_points(given, phi, self.size)
        kernel = residual_kernel(phi, self.size, known)
        turn = 0
        with task("drawing points", total=self.size, unit="points") as bar:
            while len(kernel.indices) < self.size:
                uniform = self._uniforms(turn)
                proposals = _propose(kernel, uniform[: self.block])
                if not proposals:
                    break
                kernel.add(_accepted(kernel, proposals, uniform[self.block :])[: self.size - len(kernel.indices)])
                bar.advance(len(kernel.indices) - bar.done)
                turn += 1
        missing = self.size - len(kernel.indices)
        if missing:
            rest = self._rest(len(phi), {*kernel.indices, *([] if known is None else known.positions.tolist())})[
                :missing
            ]
            for start, stop in arrays.spans(missing, BLOCK):
                kernel.add(rest[start:stop])
        return kernel.selection()

    def _uniforms(self, turn: int) -> npt.NDArray[np.float64]:
        """One number per proposal for its draw, then one for its acceptance."""
        each = -(-2 * self.block // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
        drawn = words(seed=self.seed, stream="rp-cholesky", start=turn * each, count=each)
        return drawn[: 2 * self.block].astype(np.float64) * 2.0**-32

    def _rest(self, points: int, chosen: set[int]) -> list[int]:
        order = np.argsort(uniforms(seed=self.seed, stream="rp-cholesky-rest", count=points), kind="stable")
        return [int(i) for i in order if int(i) not in chosen]


def _propose(kernel: ResidualKernel, uniform: npt.NDArray[np.float64]) -> list[int]:
    """Points drawn in proportion to their residual, with repetition; none where all residuals are rounding."""
    diagonal = kernel.diagonal
    xp, device = arrays.namespace(diagonal), arrays.device_of(diagonal)
    weights = xp.where(diagonal > kernel.noise, diagonal, 0 * diagonal)
    cumulated = xp.cumulative_sum(weights)
    total = float(cumulated[-1])
    if total <= 0:
        return []
    # Below the total, so that the last point with a residual is the last that can be drawn.
    shares = xp.asarray(
        (uniform * (1 - 2 * arrays.epsilon(diagonal)) * total).tolist(), dtype=diagonal.dtype, device=device
    )
    drawn = xp.clip(xp.searchsorted(cumulated, shares, side="right"), max=diagonal.shape[0] - 1)
    # Sums in parallel may fall by rounding where weights are zero.
    sure = backend_of(drawn).to_numpy(xp.take(weights, drawn)) > 0
    proposals = [int(i) for i in np.asarray(backend_of(drawn).to_numpy(drawn))[np.asarray(sure)]]
    return proposals or [int(xp.argmax(weights))]


def _accepted(kernel: ResidualKernel, proposals: list[int], uniform: npt.NDArray[np.float64]) -> list[int]:
    """Proposals that are accepted, in order: a repeated one has no residual left and is not."""
    block = kernel.block(proposals)
    _, taken = eliminate(block, kernel.noise, lambda j, left: float(uniform[j]) * block[j, j] < left)
    # The first is accepted with certainty, but for rounding.
    return [proposals[j] for j in taken] or proposals[:1]
