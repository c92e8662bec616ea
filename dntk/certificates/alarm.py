"""A threshold on a score, from points that were held out, that few points of their kind exceed.

With n independent scores in order, s₍₁₎ ≤ … ≤ s₍ₙ₎, the rate of a new score above s₍ₖ₎ is at most a Beta(n − k + 1, k)
variable, exactly that where no two are equal. So it is at most α with probability P(Bin(n, α) > n − k) or more, and k
is the least for which that is at least the confidence, whatever the scores' distribution.

Source: Wilks 1941; Vovk 2012 (conditional validity of inductive conformal predictors, proposition 2a).
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float

from dntk import arrays
from dntk._checks import share
from dntk._foreign import require_plain_array
from dntk.backend import backend_of
from dntk.bounds import check_confidence
from dntk.types import Array

_ROUNDING = 1e-6
"""Relative allowance for the rounding of sums of probabilities."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Threshold:
    """A limit of a score that few points of the held-out kind exceed; made by :func:`threshold`.

    Parameters
    ----------
    value
        The limit: a score of a held-out point. Scores above it raise the alarm.
    false_alarm
        α, the share of such points that raise it at most.
    confidence
        Probability, over the held-out points, with which that is so.
    points
        Held-out points, n.
    allowed
        How many of them may lie above the limit, n − k.
    """

    value: float
    false_alarm: float
    confidence: float
    points: int
    allowed: int

    def __call__(self, scores: Float[Array, " n"]) -> Bool[Array, " n"]:
        """Which scores raise the alarm."""
        _require_scores(scores)
        return scores > self.value

    def __str__(self) -> str:
        return (
            f"above {self.value:.4g}: at most {self.false_alarm:.2%} false alarms, with probability "
            f"{self.confidence:.6g} over {self.points} held-out points"
        )


def threshold(scores: Float[Array, " n"], *, false_alarm: float = 0.05, confidence: float = 0.95) -> Threshold:
    """The lowest held-out score that at most a share ``false_alarm`` of new ones exceed, with this confidence.

    ``scores`` are those of independent draws from the distribution that counts as known, none of which took part in
    the fit; large means strange. Says nothing of how many strangers stay below it. O(n log n), on the host.

    Raises
    ------
    TypeError, ValueError
        No array (n,) of finite real numbers; shares that are not between 0 and 1; too few points for both, with how
        many are needed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.uniform(size=500)  # of points that took no part in the fit
    >>> limit = dntk.certificates.threshold(scores, false_alarm=0.05, confidence=0.95)
    >>> limit.points, limit.allowed, int((scores > limit.value).sum())
    (500, 16, 16)
    """
    _require_scores(scores)
    false_alarm = share("false_alarm", false_alarm, remedy="use for example 0.05")
    check_confidence(confidence)
    n = int(scores.shape[0])
    allowed = _allowed(n, false_alarm, 1 - confidence)
    if allowed < 0:
        needed = _needed(false_alarm, 1 - confidence)
        msg = (
            f"`scores` has {n} points, too few to know a false alarm rate of {false_alarm:.6g} with confidence "
            f"{confidence:.6g}: hold out at least {needed}, or ask for a higher rate or a lower confidence."
        )
        raise ValueError(msg)
    ordered = np.sort(np.asarray(backend_of(scores).to_numpy(scores), dtype=np.float64))
    return Threshold(
        value=float(ordered[n - 1 - allowed]),
        false_alarm=false_alarm,
        confidence=confidence,
        points=n,
        allowed=allowed,
    )


def _allowed(n: int, rate: float, failure: float) -> int:
    """The most r with P(Bin(n, rate) ≤ r) ≤ failure; −1 where there is none. O(n·rate)."""
    most = min(n - 1, int(n * rate) + 1)  # beyond the median more than half fails
    if n == 0 or failure >= 0.5:
        most = n - 1
    r = np.arange(most, dtype=np.float64)
    steps = np.log(n - r) - np.log(r + 1) + math.log(rate) - math.log1p(-rate)
    logs = n * math.log1p(-rate) + np.concatenate([np.zeros(1), np.cumsum(steps)])
    below = np.cumsum(np.exp(logs))
    return int(np.sum(below * (1 + _ROUNDING) <= failure)) - 1


def _needed(rate: float, failure: float) -> int:
    """Fewest points of which none may lie above: (1 − rate)ⁿ ≤ failure."""
    fewest = max(1, math.floor(math.log(failure) / math.log1p(-rate)))
    while _allowed(fewest, rate, failure) < 0:
        fewest += 1
    return fewest


def _require_scores(scores: Array) -> None:
    require_plain_array("scores", scores)
    arrays.require_floating("scores", scores)
    if scores.ndim != 1:
        msg = f"`scores` has shape {tuple(scores.shape)}: expected (n,), one score per point."
        raise ValueError(msg)
    arrays.require_finite("scores", scores)
