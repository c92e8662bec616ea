"""A regression as the solvers see it: sets of features, targets, and whether to work per point or per feature."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.solve.leave_one_out import DEFAULT_GRID
from dntk.solve.normal_equations import ROWS, NormalEquations, rows_at_once, statistics_of
from dntk.types import Array

ONE_PASS_POINTS = 10_000
"""Beyond so many points (and more of them than features) products are formed in the features' own precision."""

_ENTRIES = 2**24
"""Entries of one set of features that are widened at once where its kernel is formed: 128 MiB in float64."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RidgeProblem:
    """Minimise Σ_i w_i(⟨w_gq, φ_gi⟩ − y_giq)² + λ‖w_gq‖² for g sets of features with q targets each.

    One set per output with one target, or one set that all outputs share. Rows are scaled by the roots of the sample
    weights already.

    Parameters
    ----------
    features, targets
        (g, n, k) and (g, n, q). Products are formed in the type of the targets: float64 up to 10⁴ points, where the
        device has it. Features stay in their own type and are widened by blocks, so that no second copy of all of
        them exists; sample weights make one.
    weight
        Sum of the sample weights; n without.
    scale
        Roots of the sample weights (n,), if any.
    together
        Rows of a point, which are left out together: row c·n/together + i is the c-th of point i.
    """

    features: Float[Array, "g n k"]
    targets: Float[Array, "g n q"]
    weight: float
    scale: Float[Array, " n"] | None = None
    together: int = 1

    @classmethod
    def of(
        cls,
        features: Float[Array, "g n k"],
        targets: Float[Array, "n c"],
        sample_weights: Array | None = None,
        together: int = 1,
    ) -> "RidgeProblem":
        """Problem for checked features and targets."""
        xp = arrays.namespace(features)
        _, n, k = features.shape
        dtype = features.dtype if n > max(ONE_PASS_POINTS, k) else arrays.accumulation_dtype(features)
        per_output = features.shape[0] == targets.shape[1]
        y = xp.astype(targets, dtype, copy=False)
        y = y.T[:, :, None] if per_output else y[None, :, :]
        if sample_weights is None:
            return cls(features=features, targets=y, weight=float(features.shape[1]), together=together)
        root = xp.sqrt(xp.astype(sample_weights, dtype, copy=False))
        column = root[None, :, None]
        scaled = xp.astype(features, dtype, copy=False) * column
        weight = float(xp.sum(root * root))
        return cls(features=scaled, targets=y * column, weight=weight, scale=root, together=together)

    @property
    def points(self) -> int:
        """Number n of points."""
        return self.features.shape[1]

    @property
    def dual(self) -> bool:
        """Whether there are no more points than features."""
        return self.features.shape[1] <= self.features.shape[2]

    @property
    def outputs(self) -> int:
        """Number of outputs, g·q."""
        return self.features.shape[0] * self.targets.shape[2]

    @property
    def wide(self) -> bool:
        """Whether products are formed in the widest type that the device has."""
        return bool(self.targets.dtype == arrays.accumulation_dtype(self.features))

    @functools.cached_property
    def statistics(self) -> NormalEquations:
        """ΦᵀΦ, Φᵀy and Σy² of the scaled rows: one pass, when first read, for the choice of λ and for the solution."""
        return statistics_of(self.features, self.targets)

    @functools.cached_property
    def gram(self) -> Float[Array, "g n n"]:
        """K = ΦΦᵀ of the scaled rows, when first read, for the choice of λ and for the solution."""
        return grams(self.features)

    @property
    def at_once(self) -> int:
        """Rows whose products are formed at once."""
        return rows_at_once(self.features, self.targets.dtype)

    def widened(self) -> "RidgeProblem":
        """The same with products in float64, where the device has it."""
        xp, dtype = arrays.namespace(self.targets), arrays.accumulation_dtype(self.features)
        return dataclasses.replace(self, targets=xp.astype(self.targets, dtype, copy=False))

    def blocks(self, most: int = ROWS) -> Iterator["RidgeProblem"]:
        """The problems of at most so many points after each other, widened, no more at once than fit memory well."""
        xp, dtype = arrays.namespace(self.features), self.targets.dtype
        for start, stop in arrays.spans(self.points, max(1, min(most, self.at_once))):
            part = self.rows(start, stop)
            yield dataclasses.replace(part, features=xp.astype(part.features, dtype, copy=False))

    def fits(self, weights: Float[Array, "g k q"]) -> Float[Array, "g n q"]:
        """Φw in the type of the targets."""
        xp = arrays.namespace(self.targets)
        narrow = xp.astype(weights, self.targets.dtype, copy=False)
        return xp.concat([part.features @ narrow for part in self.blocks()], axis=1)

    @property
    def mean_diagonal(self) -> float:
        """Mean diagonal entry of the kernel, in units of which ridges are tried; ``ValueError`` for zero features."""
        xp = arrays.namespace(self.features)
        rows = xp.concat([xp.sum(part.features * part.features, axis=2) for part in self.blocks()], axis=1)
        diagonal = float(xp.mean(xp.astype(rows, arrays.accumulation_dtype(rows))))
        if diagonal == 0:
            msg = "all tangent features are zero (a dead network?): there is no kernel to choose a ridge for."
            raise ValueError(msg)
        return diagonal

    def ridges(self, grid: Sequence[float] | None) -> list[float]:
        """``grid``, or the default one in units of the kernel's mean diagonal; ``ValueError`` for zero features."""
        diagonal = self.mean_diagonal
        return [g * diagonal for g in DEFAULT_GRID] if grid is None else list(grid)

    def rows(self, start: int, stop: int) -> "RidgeProblem":
        """The problem of some rows alone."""
        scale = None if self.scale is None else self.scale[start:stop]
        features, targets = self.features[:, start:stop, :], self.targets[:, start:stop, :]
        return dataclasses.replace(self, features=features, targets=targets, scale=scale, together=1)


def grams(features: Float[Array, "g n k"]) -> Float[Array, "g n n"]:
    """ΦΦᵀ of every set in float64 where the device has it, one set after another."""
    xp, backend = arrays.namespace(features), backend_of(features)
    g, n, k = features.shape
    count(flops=2 * g * n * n * k)

    def gram(one: Float[Array, "n k"]) -> Float[Array, "n n"]:
        total = None
        for start, stop in arrays.spans(k, max(1, _ENTRIES // n)):
            part = backend.gram(arrays.in_float64(one[:, start:stop]))
            total = part if total is None else total + part
        assert total is not None
        return total

    return xp.stack([gram(features[i, :, :]) for i in range(g)])


def combined(features: Float[Array, "g n k"], rows: Float[Array, "g n m"]) -> Float[Array, "g k m"]:
    """Φᵀ R of every set in the type of ``rows``, one set after another."""
    xp = arrays.namespace(features)
    g, n, k = features.shape

    def pulled(i: int) -> Float[Array, "k m"]:
        parts = arrays.spans(k, max(1, _ENTRIES // n))
        wide = (xp.astype(features[i, :, start:stop], rows.dtype, copy=False) for start, stop in parts)
        return xp.concat([part.T @ rows[i, :, :] for part in wide])

    return xp.stack([pulled(i) for i in range(g)])
