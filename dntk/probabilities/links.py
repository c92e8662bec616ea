"""The mean of a softmax whose logits are Gaussian: by the probit approximation, or by draws.

Logits are (f + s·σ·ε)/T, with prediction f, deviation σ, scale s and temperature T, ε standard normal and independent
for every output. One output stands for two classes: its logit is that of the second.
"""

import dataclasses
import math
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep, not_negative, positive_finite, positive_integer
from dntk.backend import backend_of
from dntk.metrics import require_outputs
from dntk.random import WORDS_PER_COUNTER, moved, normals
from dntk.types import Array

_NUMBERS = 2**22
"""Most numbers of a block of draws."""


@runtime_checkable
class Link(Protocol):
    """A way from Gaussian outputs to class probabilities, a frozen dataclass."""

    @property
    def scale(self) -> float:
        """Factor s of every deviation: the square root of the prior's scale."""

    @property
    def temperature(self) -> float:
        """Divisor T of the logits."""

    def probabilities(self, mean: Float[Array, "n c"], deviation: Float[Array, "n c"]) -> Float[Array, "n classes"]:
        """Rows that sum to one; two columns where there is one output."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probit:
    """softmax of μ_c/√(1 + πσ_c²/8): no draws; an approximation (MacKay 1992).

    ``scale=0``: the softmax of the prediction alone.

    Examples
    --------
    >>> mean = np.array([[2.0, 0.0], [2.0, 0.0]])
    >>> deviation = np.array([[0.0, 0.0], [9.0, 9.0]])
    >>> p = dntk.probabilities.Probit().probabilities(mean, deviation)
    >>> p.round(2).tolist()  # less sure where the prediction is
    [[0.88, 0.12], [0.59, 0.41]]
    """

    scale: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _keep_scales(self)

    def probabilities(self, mean: Float[Array, "n c"], deviation: Float[Array, "n c"]) -> Float[Array, "n classes"]:
        """The approximation, O(n·C).

        Raises
        ------
        TypeError, ValueError
            Other than finite real arrays (n, C) of one shape; negative deviations.
        """
        check_moments(mean, deviation)
        xp = arrays.namespace(mean)
        spread = deviation * (self.scale * math.sqrt(math.pi / 8))
        larger, smaller = xp.clip(spread, min=self.temperature), xp.clip(spread, max=self.temperature)
        with arrays.checked_afterwards():
            logits = mean / (larger * xp.sqrt(1 + (smaller / larger) ** 2))  # squares stay in range
        return _softmax(logits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonteCarlo:
    """The mean of the softmax over draws, antithetic and the same for every point: standard error below ½/√samples.

    A point's probabilities do not depend on which others it is asked with, nor on the backend but for rounding.

    Examples
    --------
    >>> mean = np.array([[2.0, 0.0], [2.0, 0.0]])
    >>> deviation = np.array([[0.0, 0.0], [9.0, 9.0]])
    >>> p = dntk.probabilities.MonteCarlo(samples=512).probabilities(mean, deviation)
    >>> np.allclose(p.sum(axis=1), 1), bool(p[1, 0] < p[0, 0])
    (True, True)
    """

    samples: int = 512
    seed: int = 0
    scale: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        keep(self, samples=positive_integer("samples", self.samples), seed=check_seed(self.seed))
        _keep_scales(self)

    def probabilities(self, mean: Float[Array, "n c"], deviation: Float[Array, "n c"]) -> Float[Array, "n classes"]:
        """The mean over draws, O(n·C·samples), by blocks of points.

        Raises
        ------
        TypeError, ValueError
            As of :class:`Probit`.
        """
        check_moments(mean, deviation)
        xp, (n, c) = arrays.namespace(mean), mean.shape
        draws = self._draws(mean)
        pieces = []
        for start, stop in arrays.spans(n, max(1, _NUMBERS // (draws.shape[0] * max(2, c)))):
            spread = self.scale * deviation[start:stop, None, :] * draws[None, :, :]
            with arrays.checked_afterwards():
                logits = (mean[start:stop, None, :] + spread) / self.temperature
            flat = _softmax(xp.reshape(logits, (-1, c)))
            total = xp.sum(xp.reshape(flat, (stop - start, draws.shape[0], -1)), axis=1)
            pieces.append(total / xp.sum(total, axis=1, keepdims=True))  # rounding of long sums is in both
        return xp.concat(pieces, axis=0) if pieces else _softmax(mean)

    def _draws(self, like: Float[Array, "n c"]) -> Float[Array, "samples c"]:
        """ε, and −ε: as many as were asked for."""
        c, half = like.shape[1], -(-self.samples // 2)
        padded = -(-half * c // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
        drawn = normals(seed=self.seed, stream="probabilities", start=0, count=padded, dtype=np.float64)
        one = drawn[: half * c].reshape(half, c)
        both = np.concatenate([one, -one])[: self.samples]
        xp = arrays.namespace(like)
        return xp.astype(moved(both.astype(np.float32), like), like.dtype, copy=False)


def check_moments(mean: Array, deviation: Array) -> None:
    """Raise unless both are finite arrays (n, C) of one library and shape, and no deviation is negative."""
    xp = arrays.require_same_place(mean=mean, deviation=deviation)
    require_outputs("mean", mean)
    require_outputs("deviation", deviation)
    if mean.shape != deviation.shape:
        msg = f"`deviation` has shape {tuple(deviation.shape)}, `mean` {tuple(mean.shape)}: pass both of one fit."
        raise ValueError(msg)
    if deviation.shape[0] and float(xp.min(deviation)) < 0:
        msg = "`deviation` has negative entries: pass standard deviations, as fit.uncertainty(x) returns them."
        raise ValueError(msg)


def _softmax(logits: Float[Array, "n c"]) -> Float[Array, "n classes"]:
    xp = arrays.namespace(logits)
    if not bool(xp.all(xp.isfinite(logits))):
        msg = (
            f"outputs over the temperature overflow {logits.dtype}: pass a higher `temperature`, or outputs in float64."
        )
        raise ValueError(msg)
    if logits.shape[1] == 1:
        logits = xp.concat([xp.zeros_like(logits), logits], axis=1)
    weights = xp.exp(logits - xp.max(logits, axis=1, keepdims=True))
    return weights / xp.sum(weights, axis=1, keepdims=True)


def _keep_scales(link: Probit | MonteCarlo) -> None:
    keep(
        link,
        scale=not_negative("scale", link.scale, remedy="0 leaves the uncertainty out"),
        temperature=positive_finite("temperature", link.temperature),
    )
    if not math.isfinite(link.scale):
        msg = f"`scale` must be finite, got {link.scale!r}: 0 leaves the uncertainty out."
        raise ValueError(msg)


def root_mean_square(x: Array) -> float:
    """√ of the mean square, in float64 on the host."""
    host = np.asarray(backend_of(x).to_numpy(x), dtype=np.float64)
    return float(np.sqrt(np.mean(host**2))) if host.size else 0.0
