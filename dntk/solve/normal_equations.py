"""Sufficient statistics of ridge regression: ΦᵀΦ, Φᵀy and Σy², which add up over chunks, passes and machines."""

import dataclasses
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.solve._scaled import raised, scaled
from dntk.solve.compensated import Total
from dntk.solve.normal_spectrum import NormalSpectrum
from dntk.types import Array

ROWS = 4096
"""Points whose products are formed at once, in the precision of the features."""

ENTRIES = 2**23
"""Entries of features that are widened at once: 64 MiB in float64."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NormalEquations:
    """Σ_i w_i φ_i φ_iᵀ, Σ_i w_i φ_i y_iᵀ and Σ_i w_i y_i² of the points seen so far, for g sets of features.

    A value: :meth:`update` and :meth:`merge` return new ones, and the order of chunks matters to rounding only. Memory
    O(g·k²), whatever the number of points. Products are formed in the precision of the features, of 16 bits as float32,
    and added up in float64, or with compensation where the device has none. Features and targets far from one are
    scaled by powers of two first, so that no product leaves the range of float32 where float64 has room for the sums.

    Parameters
    ----------
    gram_total, cross_total, square_total
        Running sums (g, k, k), (g, k, q) and (g, q).
    points
        Number of points n.
    weight
        Sum of the sample weights; n without weights.
    rounding
        Estimate of ‖δG‖/‖G‖_F, the relative rounding of the products, measured on the first rows: a ridge below
        ``rounding_floor`` needs products in float64, or refinement.
    """

    gram_total: Total
    cross_total: Total
    square_total: Total
    points: int
    weight: float
    rounding: float

    @classmethod
    def of(
        cls,
        features: Float[Array, "g n k"],
        targets: Float[Array, "g n q"],
        sample_weights: Float[Array, " n"] | None = None,
    ) -> "NormalEquations":
        """Statistics of some points.

        Raises
        ------
        ValueError
            Features and targets with other numbers of points or sets, that are not finite, or whose products overflow.
        """
        _check(features, targets, sample_weights)
        total: NormalEquations | None = None
        for start, stop in arrays.spans(features.shape[1], ROWS):
            weights = None if sample_weights is None else sample_weights[start:stop]
            piece = (features[:, start:stop, :], targets[:, start:stop, :])
            total = _first(*piece, weights) if total is None else _added(total, *piece, weights)
        assert total is not None
        return total

    def update(
        self,
        features: Float[Array, "g n k"],
        targets: Float[Array, "g n q"],
        sample_weights: Float[Array, " n"] | None = None,
    ) -> "NormalEquations":
        """Statistics with some points more; cost O(g·n·k²).

        Raises
        ------
        ValueError
            Another number of sets, features or targets than before.
        """
        _check(features, targets, sample_weights)
        expected = (self.cross_total.value.shape[0], *self.cross_total.value.shape[1:])
        found = (features.shape[0], features.shape[2], targets.shape[2])
        if found != expected:
            msg = f"the points have (sets, features, targets) {found}, those before had {expected}: pass the same."
            raise ValueError(msg)
        total = self
        for start, stop in arrays.spans(features.shape[1], ROWS):
            weights = None if sample_weights is None else sample_weights[start:stop]
            total = _added(total, features[:, start:stop, :], targets[:, start:stop, :], weights)
        return total

    def merge(self, other: "NormalEquations") -> "NormalEquations":
        """Statistics of both sets of points together.

        Raises
        ------
        ValueError
            They are of other numbers of sets, features or targets.
        """
        mine, theirs = self.cross_total.value.shape, other.cross_total.value.shape
        if mine != theirs:
            msg = f"statistics of (sets, features, targets) {mine} and {theirs} cannot be merged."
            raise ValueError(msg)
        return NormalEquations(
            gram_total=self.gram_total.merge(other.gram_total),
            cross_total=self.cross_total.merge(other.cross_total),
            square_total=self.square_total.merge(other.square_total),
            points=self.points + other.points,
            weight=self.weight + other.weight,
            rounding=max(self.rounding, other.rounding),
        )

    @property
    def gram(self) -> Float[Array, "g k k"]:
        """ΦᵀΦ."""
        return self.gram_total.result()

    @property
    def cross(self) -> Float[Array, "g k q"]:
        """Φᵀy."""
        return self.cross_total.result()

    @property
    def squares(self) -> Float[Array, "g q"]:
        """Σ y²."""
        return self.square_total.result()

    @property
    def rounding_floor(self) -> float:
        """Ridge below which the rounding of the products counts, ``rounding``·max ‖G‖_F."""
        gram = self.gram
        xp = arrays.namespace(gram)
        largest = float(xp.max(xp.abs(gram)))
        if largest == 0:
            return 0.0
        return self.rounding * largest * float(xp.max(xp.sqrt(xp.sum((gram / largest) ** 2, axis=(1, 2)))))

    def train_mse(self, weights: Float[Array, "g k q"]) -> Float[Array, "g q"]:
        """Mean squared residual of any weights on the points, (Σy² − 2wᵀb + wᵀGw)/Σw_i.

        Known up to the cancellation in it: about ``rounding``·Σy²/Σw_i.
        """
        xp = arrays.namespace(weights)
        w = xp.astype(weights, self.cross.dtype, copy=False)
        residual = self.squares - xp.sum(w * (2 * self.cross - self.gram @ w), axis=1)
        return xp.clip(residual, min=0) / self.weight

    def spectrum(self) -> NormalSpectrum:
        """Eigendecomposition of ΦᵀΦ, after which any number of ridges is cheap; O(g·k³)."""
        xp, gram = arrays.namespace(self.gram_total.value), self.gram
        count(flops=9 * gram.shape[0] * gram.shape[1] ** 3)
        values, vectors = xp.linalg.eigh(gram)
        return NormalSpectrum(
            values=xp.clip(values, min=0),
            vectors=vectors,
            products=vectors.mT @ self.cross,
            squares=self.squares,
            points=self.points,
            weight=self.weight,
            rounding=self.rounding,
        )


def rows_at_once(features: Float[Array, "g n k"], dtype: Any) -> int:
    """Points whose products in ``dtype`` are formed at once: fewer where their features have to be widened first."""
    if features.dtype == dtype:
        return ROWS
    return max(1, min(ROWS, ENTRIES // (features.shape[0] * features.shape[2])))


def statistics_of(features: Float[Array, "g n k"], targets: Float[Array, "g n q"]) -> NormalEquations:
    """Statistics with products in the type of the targets; features of another are widened a block at a time."""
    xp, total = arrays.namespace(features), None
    for start, stop in arrays.spans(features.shape[1], rows_at_once(features, targets.dtype)):
        block = xp.astype(features[:, start:stop, :], targets.dtype, copy=False)
        y = targets[:, start:stop, :]
        total = NormalEquations.of(block, y) if total is None else total.update(block, y)
    assert total is not None
    return total


def _check(features: Array, targets: Array, sample_weights: Array | None) -> None:
    if features.ndim != 3 or targets.ndim != 3 or features.shape[:2] != targets.shape[:2] or features.shape[1] == 0:
        msg = (
            f"`features` has shape {tuple(features.shape)} and `targets` {tuple(targets.shape)}: expected "
            "(sets, points, features) and (sets, points, targets) with at least one point."
        )
        raise ValueError(msg)
    if sample_weights is not None and sample_weights.shape != (features.shape[1],):
        msg = f"`sample_weights` has shape {tuple(sample_weights.shape)}: expected one number for each point, "
        msg += f"({features.shape[1]},)."
        raise ValueError(msg)


def _products(features: Array, targets: Array, weights: Array | None) -> tuple[Array, Array, Array, float]:
    xp = arrays.namespace(features, targets)
    g, n, k = features.shape
    features, targets = arrays.widened(features), arrays.widened(targets)
    count(flops=g * n * k * (k + 2 * targets.shape[2]))
    if weights is not None:
        root = xp.sqrt(xp.astype(weights, features.dtype, copy=False))[None, :, None]
        features, targets = features * root, targets * root
    total = float(n) if weights is None else float(xp.sum(arrays.in_float64(weights)))
    x, e = scaled("features", features)
    y, f = scaled("targets", targets)
    gram = backend_of(x).column_gram(x)
    # The few targets on the left: BLAS is many times slower where the wide factor is the transposed one.
    cross = (y.mT @ x).mT
    wide = arrays.in_float64(y)
    return raised(gram, 2 * e), raised(cross, e + f), raised(xp.sum(wide * wide, axis=1), 2 * f), total


def _first(features: Array, targets: Array, weights: Array | None) -> NormalEquations:
    gram, cross, squares, weight = _products(features, targets, weights)
    if weights is not None:
        features = features * arrays.namespace(features).sqrt(weights)[None, :, None]
    x, e = scaled("features", arrays.widened(features))
    return NormalEquations(
        gram_total=Total.of(gram),
        cross_total=Total.of(cross),
        square_total=Total.of(squares),
        points=features.shape[1],
        weight=weight,
        rounding=_rounding(x, raised(gram, -2 * e)),
    )


def _added(total: NormalEquations, features: Array, targets: Array, weights: Array | None) -> NormalEquations:
    gram, cross, squares, weight = _products(features, targets, weights)
    return NormalEquations(
        gram_total=total.gram_total + gram,
        cross_total=total.cross_total + cross,
        square_total=total.square_total + squares,
        points=total.points + features.shape[1],
        weight=total.weight + weight,
        rounding=total.rounding,
    )


def _rounding(features: Array, gram: Array) -> float:
    """Estimate of ‖δG‖₂/‖G‖_F from two probes of signs, at least k·eps of the sums.

    For a probe z the norm of δG·z is about ‖δG‖_F, and the spectral norm of a matrix of independent errors is about
    2/√k of that; three leave a margin. Where there is no wider type, √rows·eps of the features' type stands for it.
    """
    xp, k = arrays.namespace(features), features.shape[2]
    dtype = arrays.accumulation_dtype(features)
    least = k * arrays.epsilon(xp.zeros(1, dtype=dtype, device=arrays.device_of(features)))
    if features.dtype == dtype:
        return least if xp.finfo(dtype).bits == 64 else max(least, features.shape[1] ** 0.5 * arrays.epsilon(features))
    place = arrays.device_of(features)
    ones = xp.ones((k, 1), dtype=dtype, device=place)
    index = xp.arange(k, dtype=xp.int64, device=place)[:, None]
    probes = xp.concat([ones, xp.astype(1 - 2 * (index % 2), dtype)], axis=1) / k**0.5
    wide, found = xp.astype(features, dtype), xp.astype(gram, dtype)
    scale = xp.max(xp.abs(found))
    if float(scale) == 0:
        return least
    error = (((wide @ probes).mT @ wide).mT - found @ probes) / scale
    norm = xp.sqrt(xp.sum((found / scale) ** 2, axis=(1, 2)))
    worst = xp.max(xp.sqrt(xp.sum(error * error, axis=1)), axis=1)
    ratio = xp.where(norm > 0, worst / xp.where(norm > 0, norm, xp.ones_like(norm)), xp.zeros_like(norm))
    return max(least, 3 * float(xp.max(ratio)))
