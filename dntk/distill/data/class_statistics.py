"""Means and variances of what enters layers, class by class, and how far other inputs are from them."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean and variance (biased) of every channel, over ``count`` inputs and all positions."""

    mean: Float[Array, " d"]
    variance: Float[Array, " d"]
    count: int

    def merged(self, other: "Moments") -> "Moments":
        """Moments of both sets together (Chan, Golub and LeVeque 1983)."""
        total = self.count + other.count
        share = other.count / total
        shift = other.mean - self.mean
        variance = self.variance * (1 - share) + other.variance * share + shift * shift * (share * (1 - share))
        return Moments(mean=self.mean + shift * share, variance=variance, count=total)


def moments(values: Float[Array, "n t d"]) -> Moments:
    """Moments of one set."""
    xp = arrays.namespace(values)
    mean = xp.mean(values, axis=(0, 1))
    return Moments(mean=mean, variance=xp.mean((values - mean) ** 2, axis=(0, 1)), count=values.shape[0])


def mismatch(
    values: Float[Array, "n t d"], weights: Float[Array, " n"], expected: Moments
) -> tuple[float, Float[Array, "n t d"]]:
    """‖μ − μ*‖ + ‖v − v*‖ for the weighted moments of some values, and its gradient in them.

    ``weights`` sum to one. The derivatives are μ̂ w/T and 2 (a − μ) v̂ w/T, with unit vectors μ̂ and v̂ along the two
    differences.
    """
    xp = arrays.namespace(values)
    share = (weights / values.shape[1])[:, None, None]
    mean = xp.sum(values * share, axis=(0, 1))
    centred = values - mean
    variance = xp.sum(centred * centred * share, axis=(0, 1))
    first, along_mean = unit(mean - expected.mean)
    second, along_variance = unit(variance - expected.variance)
    return first + second, share * (along_mean + 2 * centred * along_variance)


def unit(difference: Array) -> tuple[float, Array]:
    """Euclidean norm of all entries, and its gradient, zero at zero."""
    xp = arrays.namespace(difference)
    norm = xp.sqrt(xp.sum(difference * difference))
    return float(norm), difference / xp.where(norm > 0, norm, xp.ones_like(norm))
