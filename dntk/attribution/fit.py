"""Scores of training points for queries: all, the largest, sums over groups, and of the points themselves."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jaxtyping import Float, Int, Integer

from dntk import arrays
from dntk._checks import positive_integer
from dntk._progress import task
from dntk._target_checks import check_labels
from dntk.attribution.smoother import Smoother
from dntk.bounds import Bound
from dntk.features import TangentFeatures, require_comparable, require_features, tangent_features
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.sketch import Sketch
from dntk.types import Array, Inputs

_ENTRIES = 2**24
"""Scores that are held at once where not all are asked for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranking:
    """The training points of the largest scores, or of the smallest.

    Parameters
    ----------
    indices
        Positions among the training points (q, k), the most extreme first.
    scores
        Their scores (q, k).
    """

    indices: Int[Array, "q k"]
    scores: Float[Array, "q k"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge:
    """One model: the functional whose gradients are compared, its sketch, and the smoother of the training points."""

    model: Model
    sketch: Sketch | None
    dim: int
    smoother: Smoother

    def features(self, x: Inputs, memory_limit: int | None) -> TangentFeatures:
        """Features of queries."""
        x = checked_inputs(self.model, x, "test")
        return tangent_features(self.model, x, sketch=self.sketch, memory_limit=memory_limit)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AttributionFit:
    """Scores of training points for any queries; made by :meth:`dntk.attribution.Attribution.fit`.

    Queries are inputs with the labels that are asked about, ``dntk.outputs.labelled(x, y)``, or a list of features,
    one for every model. The score of a training point is positive where it raised the margin of a query's label, or
    lowered its loss.
    """

    judges: tuple[Judge, ...]
    pulls: Float[Array, " n"]
    memory_limit: int | None = None

    def __len__(self) -> int:
        """Number n of training points."""
        return int(self.pulls.shape[0])

    def __repr__(self) -> str:
        """Points, models and what is kept of each point."""
        kept = ", ".join(f"{judge.smoother.rows.shape[2]:,}" for judge in self.judges)
        return f"AttributionFit({len(self):,} training points, {len(self.judges)} models, {kept} numbers a point)"

    def scores(self, test: Inputs | Sequence[TangentFeatures]) -> Float[Array, "q n"]:
        """Scores of all training points for every query; O(q·n·k) and a Jacobian of the queries for each model."""
        return self._scores(self._queries(test))

    def top(self, test: Inputs | Sequence[TangentFeatures], size: int, *, largest: bool = True) -> Ranking:
        """The ``size`` training points of largest score for every query, or of smallest; never all q × n scores.

        Raises
        ------
        ValueError
            More points are asked for than there are.
        """
        if positive_integer("size", size) > len(self):
            msg = f"`size`={size} points are asked of {len(self)} training points: pass a size of at most that."
            raise ValueError(msg)

        def best(scores: Float[Array, "q n"]) -> tuple[Array, Array]:
            xp = arrays.namespace(scores)
            order = xp.argsort(scores, axis=1, descending=largest)[:, :size]
            return order, xp.take_along_axis(scores, order, axis=1)

        indices, found = self._by_blocks(test, best)
        return Ranking(indices=indices, scores=found)

    def groups(
        self, test: Inputs | Sequence[TangentFeatures], groups: Integer[Array, " n"], count: int | None = None
    ) -> Float[Array, "q g"]:
        """Sums of scores over groups of training points, 0 … count − 1; never all q × n scores."""
        check_labels("groups", groups, points=len(self))
        xp = arrays.require_same_place(pulls=self.pulls, groups=groups)
        least, most = int(xp.min(groups)), int(xp.max(groups))
        number = most + 1 if count is None else positive_integer("count", count)
        if least < 0 or most >= number:
            msg = f"`groups` has numbers from {least} to {most}: expected 0 to {number - 1}."
            raise ValueError(msg)
        every = xp.arange(number, dtype=groups.dtype, device=arrays.device_of(groups))
        member = groups[:, None] == every[None, :]
        (sums,) = self._by_blocks(test, lambda scores: (scores @ xp.astype(member, scores.dtype),))
        return sums

    def self_influence(self) -> Float[Array, " n"]:
        """Score of every training point for itself, h_i(x_i)·q_i: large for points that nothing else explains.

        Mislabelled points are among the largest. Needs no gradients beyond the fit.
        """
        xp = arrays.namespace(self.pulls)
        own = xp.mean(xp.stack([1 - judge.smoother.slacks[0, :] for judge in self.judges]), axis=0)
        return xp.astype(own, self.pulls.dtype, copy=False) * self.pulls

    def errors(self, test: Inputs | Sequence[TangentFeatures]) -> Bound:
        """Bound (q, n) on what distilling gradients changed every score by, from those on all features.

        Raises
        ------
        ValueError
            No gradients were distilled.
        """
        if any(judge.smoother.loss is None for judge in self.judges):
            msg = "nothing was distilled, so that nothing was lost: pass `gradients` to Attribution, as Principal(100)."
            raise ValueError(msg)
        xp = arrays.namespace(self.pulls)
        features = self._queries(test)
        every = [j.smoother.errors(phi)[0, :, :] for j, phi in zip(self.judges, features, strict=True)]
        mean = xp.mean(xp.stack(every), axis=0)
        value = mean * xp.astype(xp.abs(self.pulls), mean.dtype, copy=False)[None, :]
        return Bound(value=value * (1 + 4 * arrays.epsilon(self.pulls)), theorem="Galerkin orthogonality of the span")

    def _scores(self, features: Sequence[TangentFeatures]) -> Float[Array, "q n"]:
        xp = arrays.namespace(self.pulls)
        every = [j.smoother.weights(phi)[0, :, :] for j, phi in zip(self.judges, features, strict=True)]
        total = every[0]
        for more in every[1:]:
            total = total + more
        return total * xp.astype(self.pulls, total.dtype, copy=False)[None, :] / len(every)

    def _queries(self, test: Inputs | Sequence[TangentFeatures]) -> list[TangentFeatures]:
        """Features of the queries for every model, made or checked."""
        if not _are_features(test):
            return [judge.features(test, self.memory_limit) for judge in self.judges]
        if len(test) != len(self.judges):
            msg = f"`test` has features of {len(test)} models, but there are {len(self.judges)}: pass one for each."
            raise ValueError(msg)
        for judge, phi in zip(self.judges, test, strict=True):
            require_features("test", phi)
            place = arrays.namespace(self.pulls).zeros((1, 1, judge.dim), device=arrays.device_of(self.pulls))
            require_comparable(place, judge.sketch, phi, "test")
        return list(test)

    def _by_blocks(
        self, test: Inputs | Sequence[TangentFeatures], reduce: Callable[[Array], tuple[Array, ...]]
    ) -> tuple[Array, ...]:
        """What ``reduce`` makes of the scores of some queries after another, put together."""
        xp = arrays.namespace(self.pulls)
        with task("attributions", unit="blocks") as bar:
            parts = [reduce(self._scores(block)) for block in bar.over(self._blocks(test))]
        return tuple(xp.concat(list(pieces), axis=0) for pieces in zip(*parts, strict=True))

    def _blocks(self, test: Any) -> Iterator[list[TangentFeatures]]:
        size = max(1, _ENTRIES // len(self))
        if _are_features(test):
            features = self._queries(test)
            for start, stop in arrays.spans(len(features[0]), size):
                yield [phi[start:stop] for phi in features]
            return
        x = checked_inputs(self.judges[0].model, test, "test")
        for start, stop in arrays.spans(batches.count(x), size):
            yield self._queries(batches.span(x, start, stop))


def _are_features(test: Any) -> bool:
    return isinstance(test, list | tuple) and len(test) > 0 and isinstance(test[0], TangentFeatures)
