"""Whether a Gaussian process is honest: likelihood of held-out targets, and coverage of intervals."""

import math
from collections.abc import Sequence

from jaxtyping import Float

from dntk import arrays
from dntk.solve._gaussian_process import Posterior
from dntk.types import Array, Namespace

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Central intervals whose coverage the calibration error is averaged over."""


def negative_log_likelihood(posterior: Posterior, targets: Float[Array, "n c"]) -> float:
    """Mean over points and outputs of ½[log 2πv + (y − μ)²/v], v the variance of an observation.

    Raises
    ------
    ValueError
        Targets of another shape, or a variance of zero.

    Examples
    --------
    >>> zero, one = np.zeros((4, 1)), np.ones((4, 1))
    >>> posterior = dntk.solve.Posterior(mean=zero, variance=one, noise=np.zeros(1))
    >>> round(dntk.solve.negative_log_likelihood(posterior, zero), 4)  # ½ log 2π
    0.9189
    """
    xp = _checked(posterior, targets)
    variance = posterior.predictive_variance
    if float(xp.min(variance)) <= 0:
        msg = "the predictive variance is zero somewhere: a density needs noise, or points that were not fitted."
        raise ValueError(msg)
    terms = xp.log(2 * math.pi * variance) + (targets - posterior.mean) ** 2 / variance
    return 0.5 * float(xp.mean(arrays.in_float64(terms)))


def interval_coverage(
    posterior: Posterior, targets: Float[Array, "n c"], levels: Sequence[float] = LEVELS
) -> tuple[float, ...]:
    """Share of targets inside the central predictive interval of each probability.

    Raises
    ------
    ValueError
        Targets of another shape, or a level outside (0, 1).

    Examples
    --------
    >>> zero, one = np.zeros((4, 1)), np.ones((4, 1))
    >>> posterior = dntk.solve.Posterior(mean=zero, variance=one, noise=np.zeros(1))
    >>> y = np.array([[0.1], [0.5], [1.5], [3.0]])
    >>> dntk.solve.interval_coverage(posterior, y, levels=(0.5, 0.9, 0.99))
    (0.5, 0.75, 0.75)
    """
    from scipy.special import ndtri

    xp = _checked(posterior, targets)
    for level in levels:
        if not 0 < level < 1:
            msg = f"`levels` has {level}: expected probabilities between 0 and 1."
            raise ValueError(msg)
    distance = xp.abs(targets - posterior.mean)
    deviation = xp.sqrt(posterior.predictive_variance)
    widths = [float(ndtri((1 + level) / 2)) for level in levels]
    return tuple(float(xp.mean(xp.astype(distance <= width * deviation, targets.dtype))) for width in widths)


def expected_calibration_error(
    posterior: Posterior, targets: Float[Array, "n c"], levels: Sequence[float] = LEVELS
) -> float:
    """Mean difference between the coverage of predictive intervals and their probability (Kuleshov and others 2018).

    Examples
    --------
    >>> zero, one = np.zeros((4, 1)), np.ones((4, 1))
    >>> posterior = dntk.solve.Posterior(mean=zero, variance=one, noise=np.zeros(1))
    >>> dntk.solve.expected_calibration_error(posterior, zero, levels=(0.5, 0.9))
    0.3
    """
    covered = interval_coverage(posterior, targets, levels)
    return sum(abs(share - level) for share, level in zip(covered, levels, strict=True)) / len(covered)


def _checked(posterior: Posterior, targets: Array) -> Namespace:
    xp = arrays.require_same_place(mean=posterior.mean, targets=targets)
    if targets.shape != posterior.mean.shape:
        msg = f"`targets` has shape {tuple(targets.shape)}: expected {tuple(posterior.mean.shape)}."
        raise ValueError(msg)
    return xp
