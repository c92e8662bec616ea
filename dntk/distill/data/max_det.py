"""Greedy maximisation of a determinant: each pick is the point that those chosen say least about."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk._checks import keep, not_negative, positive_integer
from dntk._progress import Task, task
from dntk.distill.data.base import Selection
from dntk.distill.data.feature_rows import FeatureRows
from dntk.distill.data.given import Given, GivenPoints, given_points
from dntk.distill.data.residual_kernel import picked_in_order
from dntk.features import TangentFeatures
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class MaxDet:
    """Points chosen greedily, each of the largest variance given those before it.

    A pick multiplies det(K̄(S, S) + λI) by its variance K̄(x, x) − K̄(x, S)(K̄(S, S) + λI)⁻¹K̄(S, x) and λ, the Schur
    complement: the determinant grows as fast as a greedy choice can make it (P-greedy with noise λ; De Marchi,
    Schaback and Wendland 2005; MaxDet of Holzmüller and others, JMLR 24 (164), 2023). Without λ it is the Cholesky
    factorisation with complete pivoting, and :class:`RPCholesky` its random counterpart, which outliers mislead less.
    Of equal variances the lower index is taken. Where all are rounding, the rest is taken in the order of the data.
    Deterministic; the first points of a larger choice are the smaller one.

    Parameters
    ----------
    size
        Number of points.
    ridge
        Noise variance λ ≥ 0 of a label, in units of the mean kernel.

    Notes
    -----
    Cost O(n · m · C·k + m² · (C·k + m)) and O(g · C·k · min(g, C·k)) for g points given, memory
    O(n · C·k + (m + g) · (C·k + m)); two numbers per pick are read on the host. Of :class:`dntk.StoredFeatures` every
    pick is a pass over the disk.

    Examples
    --------
    >>> phi = dntk.TangentFeatures(np.diag([1.0, 3.0, 2.0]))
    >>> core = dntk.distill.data.MaxDet(2).select(phi)
    >>> core.indices.tolist(), core.residual_trace.round(6).tolist(), core.trace
    ([1, 2], [5.0, 1.0], 14.0)
    """

    size: int
    ridge: float = dataclasses.field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size), ridge=not_negative("ridge", self.ridge))

    def select(self, phi: TangentFeatures, *, given: GivenPoints = None) -> Selection:
        """Chosen points, with the residual trace after each pick, which is that without noise.

        Raises
        ------
        TypeError, ValueError
            More points asked than there are, or than are left of those ``given``; see :func:`given_points`.
        """
        known = given_points(given, phi, self.size)
        with task("largest variance", total=self.size, unit="points") as bar:
            picks = _picked(FeatureRows.of(phi), self, known, bar)
        return picked_in_order(phi, picks, given=known)


def _picked(points: FeatureRows, choice: MaxDet, known: Given | None, bar: Task) -> list[int]:
    """Gram-Schmidt, twice each, of the features with √λ times a unit vector of the pick's own behind them."""
    xp, size, d = arrays.namespace(points.squared), choice.size, points.dim

    def left(rows: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return rows if known is None else known.left(rows, choice.ridge)

    variance = points.of_all(lambda rows: xp.sum(left(rows) ** 2, axis=1))
    place = {"dtype": variance.dtype, "device": arrays.device_of(variance)}
    basis, turns = xp.zeros((size, d + size), **place), xp.arange(size, device=place["device"])
    positions, free = xp.arange(len(points.phi), device=place["device"]), points.free(known)
    picks: list[int] = []
    for step in bar.over(range(size)):
        pick = int(xp.argmax(xp.where(free, variance, -xp.ones_like(variance))))
        if float(variance[pick]) <= points.noise:
            break
        picks.append(pick)
        free = xp.logical_and(free, positions != pick)
        own = xp.where(turns == step, choice.ridge**0.5 * xp.ones(size, **place), xp.zeros(size, **place))
        row = xp.concat([left(points.row(pick)[None, :])[0, :], own])
        for _ in range(2):
            row = row - (basis @ row) @ basis
        row = row / xp.linalg.vector_norm(row)
        basis = xp.where((turns == step)[:, None], row[None, :], basis)
        direction = left(row[None, :d])[0, :]
        variance = xp.clip(variance - points.of_all(lambda rows, u=direction: rows @ u) ** 2, min=0)  # type: ignore[misc]
    return picks + _rest(free, size - len(picks))


def _rest(free: Array, missing: int) -> list[int]:
    """The first points that are free."""
    xp = arrays.namespace(free)
    return [int(i) for i in xp.nonzero(free)[0][:missing]] if missing else []
