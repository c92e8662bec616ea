"""Points drawn in proportion to their ridge leverage scores."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer
from dntk._progress import task
from dntk.backend import backend_of
from dntk.distill.data.base import Selection
from dntk.distill.data.given import Given, GivenPoints, given_points
from dntk.distill.data.residual_kernel import accumulated, picked_in_order
from dntk.features import StoredFeatures, TangentFeatures
from dntk.features.passes import added, folded, of_points
from dntk.ledger import count
from dntk.random import uniforms
from dntk.sketch import SparseSign
from dntk.types import Array

_SMALLEST_DIM = 256


@dataclasses.dataclass(frozen=True)
class Leverage:
    """Points drawn one after another, without replacement, in proportion to their ridge leverage scores.

    ℓ_i = (K̄ (K̄ + λI)⁻¹)_ii = φ_iᵀ (FᵀF + λI)⁻¹ φ_i, in feature space: no n × n matrix. Where the features have more
    coordinates than ``dim`` they are first sketched to that many (sparse signs), which changes the scores by a
    factor near 1 ± √(d_λ/dim), d_λ = Σ ℓ_i the effective dimension. Points of score zero are drawn last.
    With points given the scores are those of what they leave of the kernel.

    Parameters
    ----------
    size
        Number of points.
    seed
        Of the draws and of the sketch.
    ridge
        λ > 0, in units of the mean kernel. Default: a ``size``-th of what the best approximation of rank ``size``
        leaves of the trace (Musco and Musco 2017), so that the effective dimension is at most 2 · ``size``.
    dim
        Coordinates of the sketch; default 4 · ``size``, at least 256.

    Notes
    -----
    The weights are importance weights, 1/ℓ_i scaled to a mean of 1 (zero where ℓ_i is). Cost O(n · C·k · nonzeros +
    n · dim² + dim³), memory O(n · (C·k + dim)), of stored features a chunk and three passes. The first points of a
    larger choice are the smaller one at the same seed, ``ridge`` and ``dim``.

    Examples
    --------
    >>> phi = dntk.TangentFeatures(np.diag([3.0, 1.0, 0.0]))
    >>> leverage = dntk.distill.data.Leverage(2, ridge=1.0)
    >>> leverage.scores(phi).round(6).tolist()  # 9/10, 1/2, 0
    [0.9, 0.5, 0.0]
    >>> sorted(leverage.select(phi).indices.tolist())
    [0, 1]
    """

    size: int
    seed: int = 0
    ridge: float | None = dataclasses.field(default=None, kw_only=True)
    dim: int | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size), seed=check_seed(self.seed))
        if self.ridge is not None and not 0 < self.ridge < float("inf"):
            msg = f"`ridge` must be a positive number, got {self.ridge!r}: leave it out for one that fits `size`."
            raise ValueError(msg)
        if self.dim is not None:
            keep(self, dim=positive_integer("dim", self.dim))

    def select(self, phi: TangentFeatures, *, given: GivenPoints = None) -> Selection:
        """Drawn points, with the residual trace after each pick.

        Raises
        ------
        TypeError, ValueError
            More points asked than there are, or than are left of those ``given``; see :func:`given_points`.
        """
        known = given_points(given, phi, self.size)
        with task("leverage scores", total=1, unit="decompositions") as bar:
            scores = self._scores(phi, known)
            bar.advance()
        xp = arrays.namespace(scores)
        host = np.asarray(backend_of(scores).to_numpy(scores), dtype=np.float64)
        # The smallest of exponential variables with rates ℓ_i is i with probability ℓ_i / Σℓ, and so on for the rest.
        uniform = uniforms(seed=self.seed, stream="leverage", count=len(phi)) + 2.0**-33
        waiting = -np.log(uniform)
        times = np.where(host > 0, waiting / np.where(host > 0, host, 1), np.inf)
        order = np.lexsort((waiting, times))
        picks = order[: self.size] if known is None else order[~np.isin(order, known.positions)][: self.size]
        weights = _importance(host[picks])
        moved = xp.asarray(weights.tolist(), dtype=scores.dtype, device=arrays.device_of(scores))
        return picked_in_order(phi, picks.tolist(), moved, given=known)

    def scores(self, phi: TangentFeatures) -> Float[Array, " n"]:
        """Ridge leverage scores of all points, in [0, 1]; exact where the features have at most ``dim`` coordinates.

        Raises
        ------
        ValueError
            More points asked than there are.
        """
        return self._scores(phi, given_points(None, phi, self.size))

    def _scores(self, phi: TangentFeatures, known: Given | None) -> Float[Array, " n"]:
        xp, reduced = arrays.namespace(phi.sample.values), self._reduction(phi, known)
        largest = folded(phi, lambda part: float(xp.max(xp.abs(reduced(part)))), max, name="largest feature")
        if largest == 0:
            return of_points(phi, lambda part: xp.sum(reduced(part), axis=1), name="leverage scores")
        gram = folded(phi, lambda part: _products(reduced(part) / largest), added, name="products of features")
        q = gram.shape[0]
        count(flops=4 * len(phi) * q**2 + 10 * q**3)
        values, vectors = xp.linalg.eigh(gram)
        values = xp.clip(values, min=0)
        floor = len(phi) * arrays.epsilon(gram) * float(values[-1])
        if self.ridge is None:
            tail = float(xp.sum(values[: max(0, q - self.size)])) if q > self.size else 0.0
            ridge = max(tail / self.size, floor)
        else:
            ridge = max(float(self.ridge) / float(largest) ** 2, floor)

        def score(part: TangentFeatures) -> Float[Array, " b"]:
            return xp.sum((reduced(part) / largest @ vectors) ** 2 / (values + ridge), axis=1)

        return xp.clip(of_points(phi, score, name="leverage scores"), min=0, max=1)

    def _reduction(self, phi: TangentFeatures, known: Given | None) -> Callable[[TangentFeatures], Float[Array, "b q"]]:
        """Reduced features of a part; what those given leave of them. Of features in memory they are made once."""

        def reduced(part: TangentFeatures) -> Float[Array, "b q"]:
            rows = accumulated(part)
            return self._reduced(rows if known is None else _beside(known, rows))

        if isinstance(phi, StoredFeatures):
            return reduced
        whole = reduced(phi)
        return lambda _: whole

    def _reduced(self, features: Float[Array, "n d"]) -> Float[Array, "n q"]:
        dim = max(_SMALLEST_DIM, 4 * self.size) if self.dim is None else self.dim
        return features if features.shape[1] <= dim else SparseSign(dim, seed=self.seed).apply(features)


def _products(rows: Float[Array, "b q"]) -> Float[Array, "q q"]:
    return rows.T @ rows


def _beside(known: Given, rows: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """What given points leave of features; zero where it is rounding, of which the scores would be made."""
    xp, left = arrays.namespace(rows), known.left(rows)
    least = known.points * arrays.epsilon(rows) * xp.sum(rows * rows, axis=1, keepdims=True)
    return xp.where(xp.sum(left * left, axis=1, keepdims=True) > least, left, 0 * left)


def _importance(scores: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Weights 1/ℓ with a mean of 1 over the positive scores; ones where none is."""
    positive = scores > 0
    if not np.any(positive):
        return np.ones_like(scores)
    inverse = np.where(positive, np.min(scores[positive]) / np.where(positive, scores, 1), 0)
    return inverse / np.mean(inverse[positive])
