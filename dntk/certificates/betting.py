"""Ends of the mean of a finite population from a sample that grows: betting against it.

Points i carry shares π_i of a whole, Σπ_i = 1, and values f_i ≤ r; their mean is M = Σπ_i f_i. Some are known from the
start, with sum S_0; the others are drawn one after another without replacement, each with probability π_i / π(left). As
E[f_I π(left) + S] = M for the next draw I, S the sum of what is known, whoever starts with 1 and bets

    W_t = Π_{u ≤ t} (1 − λ_u (f_{I_u} π(left) + S_{u−1})),   0 ≤ λ_u ≤ 1/(r π(left) + S⁺_{u−1}),

λ_u set before the draw, wins nothing in expectation if M ≥ 0: P(sup_t W_t ≥ 1/δ) ≤ δ (Ville). M ≥ 0 is rejected where
W reaches 1/δ, whenever one looks. W is the mean over bets λ = c/(r π(left)) with fixed c: it falls as any f rises.

With f = a − τb, 0 ≤ a ≤ b ≤ u and r = (1 − τ)u, Σπa/Σπb < τ is certain but for δ once M ≥ 0 is rejected; W grows with
τ, so that the least τ at which it is rejected is an upper end. The mirrored game gives a lower one for b = 1. Equal
shares are a uniform sample. Draws with replacement, or from a distribution, leave π(left) = 1 and S = 0.

The ends follow the variance of the sample, as empirical Bernstein bounds do, at smaller constants.

Sources: Ville 1939; Waudby-Smith and Ramdas 2024; Shekhar, Xu, Lipton, Liang and Ramdas 2023 for draws by weight.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

_BETS = 2.0 ** -np.arange(8)
"""The c of the bets; their mean costs ln 8 of the logarithm of the wealth at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draws:
    """What was drawn, in order, and what was known before.

    Parameters
    ----------
    part, whole
        a and b of every draw, 0 ≤ a ≤ b ≤ ``reach``.
    shares
        π of every draw; zeros where draws leave the population as it is.
    known_part, known_whole
        Σπa and Σπb of what was known before the first draw.
    left
        Share of the population that was not known before the first draw.
    """

    part: Float[np.ndarray, " q"]
    whole: Float[np.ndarray, " q"]
    shares: Float[np.ndarray, " q"]
    known_part: float = 0.0
    known_whole: float = 0.0
    left: float = 1.0
    reach: float = 1.0

    @property
    def mean(self) -> float:
        """Estimate of Σπa/Σπb."""
        part = self.known_part + self.left * float(np.mean(self.part))
        whole = self.known_whole + self.left * float(np.mean(self.whole))
        return part / whole if whole > 0 else 0.0


def upper_end(draws: Draws, failure: float) -> float:
    """Least τ, to 2⁻⁴⁰, that Σπa/Σπb exceeds with probability ``failure`` at most; 1 where the sample says nothing."""

    def rejected(tau: float) -> bool:
        values = draws.part - tau * draws.whole
        known = draws.known_part - tau * draws.known_whole
        return log_wealth(values, draws.shares, known, draws.left, (1 - tau) * draws.reach) >= -math.log(failure)

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if rejected(middle) else (middle, high)
    return high


def lower_end(draws: Draws, failure: float) -> float:
    """Largest τ, to 2⁻⁴⁰, below which Σπa is with probability ``failure`` at most, where all b are 1; at least 0."""

    def rejected(tau: float) -> bool:
        known = tau * draws.known_whole - draws.known_part
        values = tau * draws.whole - draws.part
        return log_wealth(values, draws.shares, known, draws.left, tau * draws.reach) >= -math.log(failure)

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low


def log_wealth(
    values: Float[np.ndarray, " q"], shares: Float[np.ndarray, " q"], known: float, left: float, reach: float
) -> float:
    """Ln sup_t W_t of the bets that the mean of values ≤ ``reach`` is negative."""
    remaining = np.maximum(left - _before(shares), np.finfo(np.float64).tiny)
    seen = known + _before(shares * values)
    drift = values * remaining + seen
    rates = np.minimum(_BETS[:, None] / (reach * remaining), 1 / (reach * remaining + np.maximum(seen, 0)))
    with np.errstate(divide="ignore"):
        logs = np.cumsum(np.log(np.maximum(1 - rates * drift, 0)), axis=1)
    best = np.max(logs, axis=0)
    with np.errstate(invalid="ignore"):
        spread = np.log(np.mean(np.exp(logs - best), axis=0))
    wealth = np.where(np.isneginf(best), -np.inf, best + spread)
    return float(np.max(wealth, initial=0.0))


def _before(x: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    """Sums of the entries before each."""
    return np.concatenate([[0.0], np.cumsum(x)[:-1]])
