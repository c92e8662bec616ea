"""The plan of a fit: its stages at sizes that are measured at once, and what that says of them at their own."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from dntk import arrays
from dntk._progress import task
from dntk.arrays import itemsize
from dntk.certificates.dropped import FEW, DroppedPoints
from dntk.distill.data import DataSelector, InputSelector, LastLayer, Random
from dntk.distill.data.last_layer import last_layer_features
from dntk.estimator._rehearsal import Rehearsal, Scene
from dntk.estimator._steps import compared_count
from dntk.estimator.points import choosing_bytes, dim_of, require_choosing
from dntk.estimator.search import resized
from dntk.estimator.stages import AsGiven, Parts, kept_count
from dntk.ledger import StageCost
from dntk.models import batches
from dntk.models.base import POINTS, Model, outputs_of
from dntk.models.batching import block_bytes
from dntk.outputs.functionals import cotangents_for
from dntk.plan._features import PlannedFeatures, planned_features
from dntk.plan._kernel import planned_kernel
from dntk.plan._measure import added, grown, per_point, settled
from dntk.plan._standin import stand_in
from dntk.plan._value import Plan, PlannedStage
from dntk.sketch import Sketch, SketchPlan
from dntk.types import Array

_CHOOSING = 2048
"""Points among which points are chosen where that is measured."""
_ONCE = 2.0
"""Seconds up to which a sketch is chosen twice: the first time a network is looked at as never again."""
_NOTHING = StageCost(stage="")


def planned(stages: AsGiven, x: Array, y: Array | None, notes: tuple[str, ...], *, disk: bool) -> Plan:
    """The plan of a fit of checked points; ``disk``: whether stages keep what they made."""
    with task("plan") as running:
        _look(stages.parts.model, x)
        sketch: list[Any] = []
        choice = settled(lambda: sketch.append(stages.sketch(x)), below=_ONCE)
        whole = _Planned(stages, x, y, sketch[0], disk)
        listed = (whole.data(choice), *whole.rest())
        beside = (whole.certificate(), planned_kernel(stages.parts.model, x, name="exact kernel"))
        seconds = running.event().seconds
    n, k = batches.count(x), dim_of(sketch[0], stages.parts.model)
    call = f"a fit of {n:,} points: {whole.kept:,} kept, {k:,} features for each of {whole.outputs} outputs"
    return Plan(call=call, stages=listed, beside=beside, notes=notes, seconds=seconds)


def _look(model: Model, x: Array) -> None:
    """What a model looks at once, and then knows: so that no stage counts the pass, whichever is the first."""
    dtype = arrays.kernel_dtype(model.namespace, model.dtype)
    block_bytes(model, x, cotangents_for("each", model.n_outputs, xp=model.namespace, dtype=dtype, device=model.device))


@dataclasses.dataclass(frozen=True)
class _Planned:
    """The stages of a fit with a sketch, one method each."""

    stages: AsGiven
    x: Array
    y: Array | None
    sketch: Sketch | SketchPlan | None
    disk: bool

    @property
    def parts(self) -> Parts:
        """What the fit is made of."""
        return self.stages.parts

    @property
    def outputs(self) -> int:
        """Number C of outputs."""
        return self.parts.model.n_outputs

    @property
    def points(self) -> int:
        """Number n of points."""
        return batches.count(self.x)

    @functools.cached_property
    def kept(self) -> int:
        """Number m of points that are kept."""
        return kept_count(self.parts.data, self.points)

    @property
    def dim(self) -> int:
        """Number k of features."""
        return dim_of(self.sketch, self.parts.model)

    @functools.cached_property
    def like(self) -> Array:
        """An array where features are, of their dtype."""
        model = self.parts.model
        dtype = arrays.kernel_dtype(model.namespace, model.dtype)
        return model.namespace.zeros((1,), dtype=dtype, device=model.device)

    @functools.cached_property
    def features(self) -> PlannedFeatures:
        """Features of all outputs."""
        return self._features("each", self.sketch)

    @functools.cached_property
    def regressed(self) -> PlannedFeatures:
        """Features that are regressed on, at the cost of one functional of each point where they are no outputs'."""
        return self.features if self.parts.regression.of_outputs else self._features("sum", self.sketch)

    @functools.cached_property
    def rehearsal(self) -> Rehearsal:
        """The algebra of the stages after features."""
        problems, rows = self.parts.rows(self.kept)
        return Rehearsal(self.stages, self.like, rows, self.dim, problems)

    def data(self, choice: StageCost) -> PlannedStage:
        """Choosing the sketch, which has been done, and points, and the targets at them."""
        m = self.kept
        cost, memory, disk, basis = self._chosen()
        targets = _NOTHING
        if self.y is None:
            model = self.parts.model
            targets = per_point(lambda part: outputs_of(model, part), self.x, batch=POINTS).at(m)
        total = dataclasses.replace(added("data", choice, cost, targets), nbytes=8 * m)
        return PlannedStage(cost=total, memory=memory, disk=disk if self.disk else 0, basis=basis)

    def rest(self) -> tuple[PlannedStage, ...]:
        """The stages after points are chosen."""
        m = self.kept
        needed = self.stages.require_algebra(m, self.dim, self.like)
        found = [self._kept_features(m), self._algebra("ridge", Scene.regression, needed)]
        if isinstance(self.parts.data, InputSelector) and m < self.points:
            found.append(self._loss(needed))
        gradients = self._algebra("gradients", Scene.gradients, needed)
        return (*found, gradients, self._algebra("spectrum", Scene.spectrum, needed))

    def _kept_features(self, m: int) -> PlannedStage:
        """Features of the kept points, and of the few at which the predictor is compared with the network."""
        found = self.regressed.stage("features", m, disk=self.disk)
        if self.parts.regression.of_outputs:
            return found
        compared = self.features.stage("", compared_count(m, self.outputs), disk=self.disk)
        cost = dataclasses.replace(added("features", found.cost, compared.cost), nbytes=found.cost.nbytes)
        return dataclasses.replace(found, cost=cost, disk=found.disk + compared.disk)

    def certificate(self) -> PlannedStage:
        """The certificate: features of a sample of points that are not kept, and algebra."""
        cost = self.rehearsal.cost(Scene.certificate)
        problems, rows = self.parts.rows(self.kept)
        made = self.features.stage("", self._dropped(rows=self.points + problems * rows))
        total = dataclasses.replace(added("certificate", cost, made.cost), nbytes=0)
        needed = self.stages.require_algebra(self.kept, self.dim, self.like)
        basis = f"when first read; {self.rehearsal.basis}"
        return PlannedStage(cost=total, memory=max(needed, made.memory), basis=basis)

    def _dropped(self, **sizes: int) -> int:
        """How many of the points that are not kept a sample has."""
        every = self.parts.model.namespace.arange(self.kept, device=self.parts.model.device)
        sample = DroppedPoints.of(self.parts.model, self.x, every, **{"seed": 0, "rows": 0, **sizes})
        return 0 if sample is None else batches.count(sample.x)

    def _features(self, outputs: Any, given: Sketch | SketchPlan | None) -> PlannedFeatures:
        sketch = given.sketch if isinstance(given, SketchPlan) else given
        limit = self.stages.keep.memory_limit
        return planned_features(self.parts.model, self.x, sketch, outputs=outputs, memory_limit=limit)

    def _chosen(self) -> tuple[StageCost, int, int, str]:
        """Cost, memory, bytes on the disk and basis of choosing points."""
        data, n = self.parts.data, self.points
        if data is None:
            return _NOTHING, 0, 0, "nothing is chosen"
        if isinstance(data, Random):
            return _NOTHING, 0, 0, "drawn, nothing is looked at"
        if isinstance(data, LastLayer):
            model = self.parts.model
            costs = per_point(
                lambda part: last_layer_features(model, part, seed=data.seed).values, self.x, batch=POINTS
            )
            dim = last_layer_features(model, batches.first(self.x, 2), seed=data.seed).dim
            made, basis, disk = costs.at(n), costs.basis(n), 0
        elif isinstance(data, DataSelector):
            among = self.stages.choosing(self.sketch)
            dim = dim_of(among, self.parts.model)
            require_choosing(self.stages.keep.memory_limit, n, dim, self.like)
            stage = self._features("sum", among).stage("", n, disk=True)
            made, basis, disk = stage.cost, stage.basis, stage.disk
        else:
            return _NOTHING, 0, 0, "not foreseen: an objective, or a selector of another kind, takes what it takes"
        choice, needed = self._choice(data, dim), choosing_bytes(n, dim, self.like)
        if choice is None:
            choice, basis = _NOTHING, f"{basis}; what the selector does with features is not foreseen"
        return added("", made, choice), needed, disk, basis

    def _choice(self, selector: Any, dim: int) -> StageCost | None:
        """Cost of choosing among features; None of a selector that cannot choose fewer among fewer."""
        inner = selector.selector if isinstance(selector, LastLayer) else selector
        n, m = self.points, self.kept

        def prepare(share: float) -> Callable[[], object]:
            points = max(2, round(share * n))
            phi = stand_in(self.like, outputs=1, points=points, dim=dim)
            smaller = inner if share == 1 else resized(inner, min(points, max(1, round(share * m))))
            return lambda: smaller.select(phi).indices

        try:
            return grown(prepare, min(1.0, _CHOOSING / n))
        except (TypeError, ValueError, AttributeError):
            return None

    def _loss(self, needed: int) -> PlannedStage:
        """What the kept points leave, from a sample of the others."""
        q = self._dropped(least=FEW)
        made = self.features.stage("", q, disk=self.disk)
        cost = self.rehearsal.cost(lambda scene: scene.loss_of(q))
        total = dataclasses.replace(added("loss of points", made.cost, cost), nbytes=0)
        return PlannedStage(cost=total, memory=max(needed, made.memory), disk=made.disk, basis=made.basis)

    def _algebra(self, name: str, run: Callable[[Scene], object], needed: int) -> PlannedStage:
        """A stage that does algebra with the features alone."""
        problems, m = self.parts.rows(self.kept)
        size, k, s = itemsize(self.like) * problems, self.dim, self.rehearsal.directions
        kept = {"gradients": size * k * (1 + s)}.get(name, 0)
        left = {"ridge": size * (m + k), "gradients": 2 * size * s * (m + k), "spectrum": 8 * m}[name]
        return PlannedStage(
            cost=dataclasses.replace(self.rehearsal.cost(run), stage=name, nbytes=kept),
            memory=needed,
            disk=left if self.disk else 0,
            basis=self.rehearsal.basis,
        )
