"""Kernel herding: points whose mean feature follows that of all points."""

import dataclasses

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk._progress import Task, task
from dntk.distill.data.base import Selection
from dntk.distill.data.given import Given, GivenPoints, given_points
from dntk.distill.data.residual_kernel import accumulated, picked_in_order
from dntk.features import TangentFeatures
from dntk.ledger import count


@dataclasses.dataclass(frozen=True)
class Herding:
    """Distinct points chosen greedily so that their mean tangent feature is that of all points.

    With μ the mean of all features φ, pick t + 1 minimises ‖μ − (φ(x) + Σ_{i ≤ t} φ(x_i)) / (t + 1)‖², the squared
    maximum mean discrepancy of the mean kernel; where all features have one norm, that is the herding of Chen, Welling
    and Smola (2010). Of equal values the lower index is taken. Deterministic; the first points of a larger choice are
    the smaller one. Points given count as chosen before.

    Cost O(n · m · C·k), memory O(n · (C·k + m)); one number per pick is read on the host.

    Examples
    --------
    >>> phi = dntk.TangentFeatures(np.array([[0.0], [1.0], [2.0], [9.0]]))  # mean 3
    >>> dntk.distill.data.Herding(2).select(phi).indices.tolist()
    [2, 1]
    """

    size: int

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size))

    def select(self, phi: TangentFeatures, *, given: GivenPoints = None) -> Selection:
        """Chosen points, with the residual trace after each pick.

        Raises
        ------
        TypeError, ValueError
            More points asked than there are, or than are left of those ``given``; see :func:`given_points`.
        """
        known = given_points(given, phi, self.size)
        with task("herding", total=self.size, unit="points") as bar:
            picks = _herded(phi, self.size, known, bar)
        return picked_in_order(phi, picks, given=known)


def _herded(phi: TangentFeatures, size: int, known: Given | None, bar: Task) -> list[int]:
    features = accumulated(phi)
    xp, device = arrays.namespace(features), arrays.device_of(features)
    n, d = features.shape
    count(flops=2 * n * d * (size + 1))
    positions, taken = xp.arange(n, device=device), xp.zeros(n, dtype=xp.bool, device=device)
    half_norms = xp.sum(features * features, axis=1) / 2
    mean = xp.mean(features, axis=0)
    wanted, picks = mean, []
    if known is not None:
        taken = known.mask(mean)
        wanted = (known.rows.shape[0] + 1) * mean - xp.sum(known.rows, axis=0)
    for _ in bar.over(range(size)):
        # ‖wanted − φ‖² = ‖wanted‖² − 2(⟨wanted, φ⟩ − ‖φ‖²/2), wanted = (t + 1)μ − Σ φ(x_i)
        gain = features @ wanted - half_norms
        pick = int(xp.argmax(xp.where(taken, xp.full_like(gain, -float("inf")), gain)))
        picks.append(pick)
        taken = taken | (positions == pick)
        wanted = wanted + mean - features[pick, :]
    return picks
