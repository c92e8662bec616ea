"""Which points to keep for a tolerance: every way is tried on a few points, and the one that costs least is taken.

Of the points that are tried, a half is chosen among and the other half judges. What m chosen points leave of the
judges' kernel, of all outputs, is known up to all of that half, and beyond it falls on by its last power of m. From n
points a choice is better than from a few, so the numbers are from above for all but random points. The search for the
tolerance begins there, and decides by the loss itself.

Costs are operations, which are counted: seconds would choose otherwise every time.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dntk.arrays import itemsize
from dntk.distill.data import KMeans, LastLayer, Random, RPCholesky
from dntk.distill.data.last_layer import last_layer_features
from dntk.estimator.frame import Frame, energies_of
from dntk.estimator.resumption import Keep
from dntk.features import TangentFeatures
from dntk.ledger import LedgerRecorder
from dntk.models import batches
from dntk.models.base import Model
from dntk.random import uniforms
from dntk.sketch import automatic
from dntk.types import Array

MOST, LEAST = 256, 32
"""Points that are tried: an eighth of all, within these."""
SHARE = 8
_FIRST = 4
"""The smallest number of points whose loss is looked at."""
_SLOWEST = 0.05
"""The least power of m that losses are taken to fall by."""
Selector = Random | LastLayer | RPCholesky


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """A way to choose points: its selector, what it says of itself, and what it was found to need and to cost."""

    selector: Selector | None
    name: str
    points: int
    flops: float


def choose_points(
    model: Model, x: Array, *, tolerance: float, seed: int, keep: Keep, memory: int
) -> tuple[Selector | None, str]:
    """The cheapest way to choose points that leave half of a tolerance, of the size that it needs, and why it is.

    ``None`` stands for all points, whose features are then no more than ``memory`` bytes. Few points are not worth a
    trial: they are chosen by what they leave of one functional's kernel.

    Cost: features of an eighth of the points, 256 at most.
    """
    n = batches.count(x)
    if n < SHARE * LEAST:
        selector = RPCholesky(min(n, 50), seed=seed)
        return selector, f"points: as few as the tolerance allows, {_FUNCTIONAL}; {n:,} are too few to try other ways"
    trial = Trial.of(model, x, seed, keep, memory)
    ways = sorted(trial.ways(tolerance / 2, memory), key=lambda way: way.flops)
    return ways[0].selector, _said(ways, n)


_FUNCTIONAL = "by what they leave of one functional's kernel"
_LAST = "by the inputs of the last layer"
_RANDOM = "at random"


def _said(ways: list[Way], n: int) -> str:
    """What is taken, and what the others would need."""
    best = ways[0]
    others = [f"{_number(way, n)} would take {way.flops / best.flops:.3g} times the operations" for way in ways[1:]]
    return f"points: {_number(best, n)}, the cheapest on trial ({', '.join(others)})"


def _number(way: Way, n: int) -> str:
    return f"all {n:,}" if way.selector is None else f"about {way.points:,} of {n:,} {way.name}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """Features of the points that are tried: those to choose among, and those that judge."""

    model: Model
    points: int
    seed: int
    among: TangentFeatures
    judges: TangentFeatures
    last: TangentFeatures
    features_flops: float
    last_flops: float
    functional_flops: float

    @classmethod
    def of(cls, model: Model, x: Array, seed: int, keep: Keep, memory: int) -> "Trial":
        """Try an eighth of the points; features are of all outputs, and of one functional of a few for its cost."""
        n = batches.count(x)
        tried = min(MOST, n // SHARE)
        order = np.argsort(uniforms(seed=seed, stream="trial-of-points", count=n), kind="stable")[:tried]
        sample, half = batches.take(x, order), tried // 2
        sketch = automatic(model, x, n=tried, seed=seed, memory=memory)
        few = batches.first(sample, min(tried, 16))
        made: dict[str, Any] = {}
        every = _flops(made, "each", lambda: keep.features("tried", model, sample, sketch=sketch))
        chosen = batches.first(sample, half)
        looked = _flops(
            made, "last", lambda: last_layer_features(model, chosen, seed=seed, **keep.limited(last_layer_features))
        )
        pulled = _flops(made, "sum", lambda: keep.features("tried-sum", model, few, sketch=sketch, outputs="sum"))
        return cls(
            model=model,
            points=n,
            seed=seed,
            among=made["each"][np.arange(half)],
            judges=made["each"][np.arange(half, tried)],
            last=made["last"],
            features_flops=every / tried,
            last_flops=looked / half,
            functional_flops=pulled / batches.count(few),
        )

    def ways(self, allowed: float, memory: int) -> list[Way]:
        """All ways that there are, with the points that each needs to leave no more than is allowed."""
        xp, seed = self.model.namespace, self.seed
        total = xp.sum(self.among.values, axis=0, keepdims=True) * self.among.n_outputs**-0.5
        functional = TangentFeatures(total)
        tried: list[tuple[str, float, Callable[[int], Any], Callable[[int], Any]]] = [
            (_RANDOM, 0.0, lambda m: Random(m, seed=seed), lambda m: np.arange(m)),
            (
                _LAST,
                self.last_flops,
                lambda m: LastLayer(KMeans(m, seed=seed), seed=seed),
                lambda m: KMeans(m, seed=seed).select(self.last).indices,
            ),
            (
                _FUNCTIONAL,
                self.functional_flops,
                lambda m: RPCholesky(m, seed=seed),
                lambda m: RPCholesky(m, seed=seed).select(functional).indices,
            ),
        ]
        sizes = [2**i for i in range(int(math.log2(_FIRST)), int(math.log2(len(self.among))) + 1)]
        found = []
        for name, look, make, pick in tried:
            left = np.asarray([self._left(pick(m)) for m in sizes])
            needed = points_needed(np.asarray(sizes), left, allowed, self.points)
            cost = self.points * look + self._kept(needed) + self.points * self.features_flops
            found.append(Way(selector=make(needed), name=name, points=needed, flops=cost))
        if self.points * self.among.n_outputs * self.among.dim * itemsize(self.among.values) <= memory:
            found.append(Way(selector=None, name="", points=self.points, flops=self._kept(self.points)))
        return found

    def _left(self, chosen: Any) -> float:
        """Share of the judges' trace outside the spans of chosen points."""
        frame = Frame.in_order(self.among[chosen])
        energies = energies_of(frame, self.judges, np.arange(len(self.judges)))
        total = float(np.sum(energies.lengths))
        return float(np.sum(energies.outside(None))) / total if total > 0 else 0.0

    def _kept(self, m: int) -> float:
        """Operations of the features of m kept points, and of their coordinates."""
        dim, outputs = self.among.dim, self.among.n_outputs
        return m * self.features_flops + 4.0 * outputs * dim * m * min(m, dim)


def points_needed(sizes: Int[np.ndarray, " r"], left: Float[np.ndarray, " r"], allowed: float, points: int) -> int:
    """The least number of points that leaves no more than is allowed of the trace of all, by a curve of a few sizes.

    Kept points lose nothing, so that m of n leave the share (1 − m/n) of what is left of others. Between sizes the
    curve is a power of m, and beyond the last the power of the last two.
    """
    falling = np.minimum.accumulate(np.clip(left, 1e-12, None))
    logs, values = np.log(sizes), np.log(falling)
    slope = max(_SLOWEST, (values[-2] - values[-1]) / (logs[-1] - logs[-2]))
    every = np.arange(1, points + 1)
    curve = np.interp(np.log(every), logs, values)
    curve = np.where(every > sizes[-1], values[-1] - slope * (np.log(every) - logs[-1]), curve)
    enough = np.flatnonzero((1 - every / points) * np.exp(curve) <= allowed)
    return int(every[enough[0]])


def _flops(made: dict[str, Any], name: str, make: Callable[[], Any]) -> float:
    """Operations of making something, which is put under its name."""
    recorder = LedgerRecorder()
    with recorder.stage(name):
        made[name] = make()
    return float(recorder.ledger().total().flops)
