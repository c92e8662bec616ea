"""k-means: centres seeded greedily in proportion to squared distances, then moved to the means of their points."""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from dntk import arrays
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.random import uniforms
from dntk.types import Array

PASSES = 25
"""Passes over the points at most; what later ones gain is below a thousandth of the objective."""

GAIN = 1e-4
"""Share of the objective below which another pass is not worth its time."""

SEEDS = 8
"""Points that are looked at for every centre to begin with, when there are so many times more points than centres."""

_BLOCK = 16
"""Distances of a block of points to all centres, in working sets."""


def clusters(
    points: Float[Array, "n d"], size: int, *, seed: int, fixed: Float[Array, "g d"] | None = None
) -> npt.NDArray[np.int64]:
    """Number of the cluster of every point, on the host; clusters may be empty.

    Centres that are ``fixed`` take part and do not move: ``size`` is the number of every point that is nearest to one.

    Greedy k-means++ (Arthur and Vassilvitskii 2007, the best of 2 + ln m proposals a centre) on at most
    ``SEEDS`` · m points, then at most ``PASSES`` passes of Lloyd's. Cost O(n·m·d) a pass and O(m²·d·ln m) for the
    seeds; memory O(n·d). Two numbers a centre and one a pass are read on the host.
    """
    xp = arrays.namespace(points)
    middle = xp.mean(points, axis=0, keepdims=True)  # distances are differences of squared norms
    points = points - middle
    fixed = points[:0, :] if fixed is None else fixed - middle
    first = xp.take(points, _index(chosen_to_seed(points.shape[0], size, seed), points), axis=0)
    centres = xp.concat([seeds(first, size, seed, fixed), fixed])
    free = centres.shape[0] - fixed.shape[0]
    squared = float(xp.sum(points * points))
    labels, near = assigned(points, centres)
    for _ in range(PASSES - 1):
        before = squared - near
        centres = xp.concat([means(points, labels, centres)[:free, :], fixed])
        labels, near = assigned(points, centres)
        if not squared - near < (1 - GAIN) * before:
            break
    found = np.asarray(backend_of(labels).to_numpy(labels), dtype=np.int64)
    return np.where(found < free, found, size)


def means(points: Float[Array, "n d"], labels: Int[Array, " n"], empty: Float[Array, "m d"]) -> Float[Array, "m d"]:
    """Mean of every cluster's points; the row of ``empty`` where it has none."""
    return divided(*sums(points, labels, empty.shape[0]), empty)


def sums(
    points: Float[Array, "n d"], labels: Int[Array, " n"], size: int
) -> tuple[Float[Array, "m d"], Float[Array, "m 1"]]:
    """Sum and number of every cluster's points."""
    xp, backend = arrays.namespace(points), backend_of(points)
    ones = xp.ones((points.shape[0], 1), dtype=points.dtype, device=arrays.device_of(points))
    count(flops=2 * points.shape[0] * points.shape[1])
    sizes = backend.scatter_add(ones, labels[:, None], ones, size)
    return backend.scatter_add(points, labels[:, None], ones, size), sizes


def divided(total: Float[Array, "m d"], sizes: Float[Array, "m 1"], empty: Float[Array, "m d"]) -> Float[Array, "m d"]:
    """Means of sums, in the type of ``empty``, whose row stands where there are no points."""
    xp = arrays.namespace(total)
    found = total / xp.where(sizes > 0, sizes, xp.ones_like(sizes))
    return xp.where(sizes > 0, xp.astype(found, empty.dtype, copy=False), empty)


def assigned(points: Float[Array, "n d"], centres: Float[Array, "m d"]) -> tuple[Int[Array, " n"], float]:
    """Nearest centre of every point, and Σ‖x‖² less the squared distances to them."""
    xp, backend = arrays.namespace(points), backend_of(points)
    half = xp.sum(centres * centres, axis=1) / 2
    labels, near = [], []
    entries = _BLOCK * backend.working_set(points)
    count(flops=2 * points.shape[0] * points.shape[1] * centres.shape[0])
    for start, stop in arrays.spans(points.shape[0], max(1, entries // centres.shape[0])):
        scores = backend.inner(points[start:stop, :], centres) - half
        labels.append(arrays.first_largest(scores))
        near.append(2 * float(xp.sum(xp.max(scores, axis=1))))
    return xp.concat(labels), sum(near)


def chosen_to_seed(points: int, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Points among which centres are looked for to begin with: all of few."""
    if points <= SEEDS * size:
        return np.arange(points)
    order = np.argsort(uniforms(seed=seed, stream="k-means-points", count=points), kind="stable")
    return np.sort(order[: SEEDS * size])


def seeds(points: Float[Array, "n d"], size: int, seed: int, fixed: Float[Array, "g d"]) -> Float[Array, "m d"]:
    """Centres among the points beside those fixed, fewer where all points lie on them, up to rounding."""
    xp, place = arrays.namespace(points), arrays.device_of(points)
    n = points.shape[0]
    proposals = 2 + int(np.log(size))
    drawn = uniforms(seed=seed, stream="k-means-seeds", count=size * proposals).reshape(size, proposals)
    squared = xp.sum(points * points, axis=1)
    noise = 4 * points.shape[1] ** 0.5 * arrays.epsilon(points) * float(xp.max(squared))
    count(flops=2 * n * points.shape[1] * proposals * size)
    nearest, picks = xp.ones((n,), dtype=points.dtype, device=place), list[int]()
    for start, stop in arrays.spans(fixed.shape[0], _BLOCK):
        near = _distances(points, fixed[start:stop, :], squared, noise)
        least = xp.min(near, axis=1)
        nearest = least if start == 0 else xp.minimum(nearest, least)
    for step in range(size):
        cumulated = xp.cumulative_sum(nearest)
        total = float(cumulated[-1])
        if total <= 0:
            break
        shares = drawn[step] * (1 - 2 * arrays.epsilon(points)) * total
        shares = xp.asarray(shares.tolist(), dtype=points.dtype, device=place)
        tried = xp.clip(xp.searchsorted(cumulated, shares, side="right"), max=n - 1)
        distances = _distances(points, xp.take(points, tried, axis=0), squared, noise)
        left = distances if step == 0 and not fixed.shape[0] else xp.minimum(distances, nearest[:, None])
        best = int(xp.argmin(xp.sum(left, axis=0)))
        picks.append(int(tried[best]))
        nearest = left[:, best]
    return xp.take(points, _index(np.asarray(picks), points), axis=0)


def _distances(
    points: Float[Array, "n d"], others: Float[Array, "b d"], squared: Float[Array, " n"], noise: float
) -> Float[Array, "n b"]:
    """Squared distances; what may be rounding is zero."""
    xp = arrays.namespace(points)
    found = squared[:, None] + xp.sum(others * others, axis=1) - 2 * (points @ others.T)
    return xp.where(found > noise, found, xp.zeros_like(found))


def _index(positions: npt.NDArray[np.int64], like: Array) -> Int[Array, " m"]:
    return backend_of(like).from_numpy(positions, device=arrays.device_of(like))
