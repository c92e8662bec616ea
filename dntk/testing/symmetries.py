"""Pairs of features between which a distiller must not tell a difference."""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from dntk.testing.allowances import eps
from dntk.testing.features import FeatureCase
from dntk.testing.place import Place
from dntk.testing.spectrum_cases import Host, orthogonal

SYMMETRIES = {
    "permutation": "points in another order give the same directions in that order",
    "scaling": "features scaled by a power of two give the same directions",
    "basis": "features in another orthonormal basis give the same directions",
}

FACTORS = (2.0**-20, 0.25, 2.0, 2.0**20)


@dataclasses.dataclass(frozen=True)
class Twins:
    """Features with eigenvalues that fall by 4 from one to the next, equal eigenvectors in all outputs, and a twin.

    ``order`` is where the twin's points come from. The tolerance is √eps: rounding is amplified by relative gaps of
    3/4 and by whatever a distiller does, which must leave half of the digits.
    """

    kind: str
    outputs: int
    points: int
    dtype: str
    seed: int

    @property
    def case(self) -> FeatureCase:
        """The first of the two."""
        rng = np.random.default_rng(self.seed)
        left = orthogonal(rng, self.points)
        right = [orthogonal(rng, self.points + 2)[:, : self.points] for _ in range(self.outputs)]
        values = np.stack([(left * 2.0 ** -np.arange(self.points)) @ turn.T for turn in right])
        targets = rng.standard_normal((self.points, self.outputs))
        return FeatureCase(values.astype(self.dtype), targets.astype(self.dtype), repr(self))

    @property
    def order(self) -> Host:
        """Positions of the twin's points among the first's."""
        if self.kind == "permutation":
            return np.random.default_rng([self.seed, 1]).permutation(self.points)
        return np.arange(self.points)

    @property
    def twin(self) -> FeatureCase:
        """The second."""
        case, rng = self.case, np.random.default_rng([self.seed, 2])
        values = case.wide[:, self.order]
        if self.kind == "scaling":
            values = values * rng.choice(FACTORS)
        if self.kind == "basis":
            values = values @ orthogonal(rng, values.shape[2])
        return FeatureCase(values.astype(self.dtype), case.targets[self.order], f"twin of {self!r}")

    @property
    def tolerance(self) -> float:
        """Half the digits."""
        return float(eps(self.dtype)) ** 0.5


def twins(kind: str, size: int, place: Place) -> st.SearchStrategy[Twins]:
    """Pairs of one kind, of two to eight points where ``size`` allows so few: gaps stay above rounding."""
    return st.builds(
        Twins,
        kind=st.just(kind),
        outputs=st.integers(1, 3),
        points=st.integers(max(2, size), max(8, size)),
        dtype=st.sampled_from(place.dtypes),
        seed=st.integers(0, 2**32 - 1),
    )
