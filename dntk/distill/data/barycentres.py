"""Wasserstein barycentres of one cloud of points: the few points that carry its mass at the least transport cost.

Optimal transport is POT's network simplex, which runs on the host.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dntk._checks import check_seed
from dntk._progress import task
from dntk.random import uniforms

Points = npt.NDArray[np.float64]


@runtime_checkable
class Barycentre(Protocol):
    """A way to summarise points (n, d) by k weighted ones."""

    def summarise(self, points: Points, size: int, *, seed: int) -> tuple[Points, Points]:
        """Support (k, d) and weights (k,) that sum to one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreeSupport:
    """Points that move, of equal weights: ``ot.lp.free_support_barycenter`` from points of the cloud.

    Each is the mean of the mass that optimal transport sends to it (Cuturi and Doucet, ICML 2014).
    """

    iterations: int = 100
    tolerance: float = 1e-7

    def summarise(self, points: Points, size: int, *, seed: int) -> tuple[Points, Points]:
        """Support and equal weights."""
        weights = np.full(size, 1 / size)
        support = _moved(_start(points, size, seed), points, weights, self.iterations, self.tolerance)
        return support, weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightedSupport:
    """Points that move and weights that adapt, in turns (Liu et al., ICCV 2025).

    Weights are those of the least transport cost to the points where they stand: the share of the cloud that is nearest
    to each. The published mirror descent goes there; with its long steps it need not come near. Then the points go the
    share θ = ``damping`` of the way to their barycentre; in the end, all of it.
    """

    rounds: int = 10
    damping: float = 0.2
    tolerance: float = 1e-6
    iterations: int = 100

    def summarise(self, points: Points, size: int, *, seed: int) -> tuple[Points, Points]:
        """Support and weights, none of them zero."""
        support, weights = _start(points, size, seed), np.full(size, 1 / size)
        for number in range(self.rounds):
            before, weights = weights, _nearest_shares(points, support)
            if number and np.linalg.norm(weights - before) < self.tolerance:
                break
            moved = _moved(support, points, weights, self.iterations, 1e-7)
            support = (1 - self.damping) * support + self.damping * moved
        return _moved(support, points, weights, self.iterations, 1e-7), weights


def _nearest_shares(points: Points, support: Points) -> Points:
    """Share of the points that are nearest to each of the support, 1e-9 where none are."""
    nearest = np.argmin(squared_distances(support, points), axis=0)
    shares = np.maximum(np.bincount(nearest, minlength=len(support)) / len(points), 1e-9)
    return shares / shares.sum()


def transport_cost(points: Points, support: Points, weights: Points) -> float:
    """Squared 2-Wasserstein distance between the cloud, of equal masses, and weighted points."""
    transport = require_transport()
    mass = np.full(len(points), 1 / len(points))
    return float(transport.emd2(weights, mass, squared_distances(support, points)))


def require_transport() -> Any:
    """POT; raises ``ImportError`` where it is not installed."""
    try:
        import ot
    except ImportError as error:
        msg = 'Wasserstein barycentres need POT, which is not installed: pip install "dntk[transport]"'
        raise ImportError(msg) from error
    return ot


def squared_distances(left: Points, right: Points) -> Points:
    """Squared Euclidean distances (k, n)."""
    return require_transport().dist(left, right)


def _moved(support: Points, points: Points, weights: Points, iterations: int, tolerance: float) -> Points:
    mass, moved = np.full(len(points), 1 / len(points)), require_transport().lp.free_support_barycenter
    with task("barycentre", total=iterations, unit="iterations") as bar:
        for _ in bar.over(range(iterations)):
            # One at a time, as POT tells nobody how far it is.
            support, log = moved([points], [mass], support, b=weights, numItermax=1, stopThr=tolerance, log=True)
            if log["displacement_square_norms"][-1] <= tolerance:
                break
    return support


def _start(points: Points, size: int, seed: int) -> Points:
    """Points of the cloud, drawn uniformly; some twice where it has fewer than ``size``."""
    check_seed(seed)
    order = np.argsort(uniforms(seed=seed, stream="barycentre", count=len(points)), kind="stable")
    # Equal points would stay equal: part them by little.
    shift = uniforms(seed=seed, stream="barycentre-shift", count=size * points.shape[1]).reshape(size, -1) - 0.5
    spread = points.std(axis=0).mean()
    return points[np.resize(order, size)] + 1e-6 * spread * shift
