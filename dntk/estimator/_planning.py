"""The plan of a fit: its stages at sizes that are measured at once, and what that says of them at their own."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.arrays import itemsize
from dntk.certificates.dropped import FEW, DroppedPoints
from dntk.distill.data import DataSelector, InputSelector, LastLayer
from dntk.distill.data.last_layer import last_layer_features
from dntk.estimator._steps import left_by, reduced, regressed, spectrum_of
from dntk.estimator.points import choosing_bytes, dim_of, require_choosing
from dntk.estimator.search import resized
from dntk.estimator.stages import GRADIENTS, AsGiven, Parts, kept_count
from dntk.features import TangentFeatures
from dntk.ledger import StageCost
from dntk.models import batches
from dntk.models.base import POINTS, outputs_of
from dntk.plan._features import PlannedFeatures, planned_features
from dntk.plan._kernel import planned_kernel
from dntk.plan._measure import added, grown, per_output, per_point, settled
from dntk.plan._standin import outputs_of as standing_outputs
from dntk.plan._standin import reach, stand_in
from dntk.plan._value import Plan, PlannedStage
from dntk.sketch import Sketch, SketchPlan
from dntk.solve.problem import RidgeProblem
from dntk.types import Array

_CHOOSING = 2048
"""Points among which points are chosen where that is measured."""
_ONCE = 2.0
"""Seconds up to which a sketch is chosen twice: the first time a network is looked at as never again."""
_RIDGE = 1e-3
"""λ at which gradients are distilled for measure, in units of the kernel's mean diagonal."""
_NOTHING = StageCost(stage="")


def planned(stages: AsGiven, x: Array, y: Array | None, notes: tuple[str, ...], *, disk: bool) -> Plan:
    """The plan of a fit of checked points; ``disk``: whether stages keep what they made."""
    with task("plan") as running:
        sketch: list[Any] = []
        choice = settled(lambda: sketch.append(stages.sketch(x)), below=_ONCE)
        whole = _Planned(stages, x, y, sketch[0], disk)
        listed = (whole.data(choice), *whole.rest())
        beside = (planned_kernel(stages.parts.model, x, name="exact kernel"),)
        seconds = running.event().seconds
    n, k = batches.count(x), dim_of(sketch[0], stages.parts.model)
    call = f"a fit of {n:,} points: {whole.kept:,} kept, {k:,} features for each of {whole.outputs} outputs"
    return Plan(call=call, stages=listed, beside=beside, notes=notes, seconds=seconds)


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
        return self._features("each")

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
        found = [self.features.stage("features", m, disk=self.disk), self._algebra("ridge", _ridge, needed)]
        if isinstance(self.parts.data, InputSelector) and m < self.points:
            found.append(self._loss(needed))
        return (*found, self._algebra("gradients", _gradients, needed), self._algebra("spectrum", _spectrum, needed))

    def _features(self, outputs: Any) -> PlannedFeatures:
        sketch = self.sketch.sketch if isinstance(self.sketch, SketchPlan) else self.sketch
        limit = self.stages.keep.memory_limit
        return planned_features(self.parts.model, self.x, sketch, outputs=outputs, memory_limit=limit)

    def _chosen(self) -> tuple[StageCost, int, int, str]:
        """Cost, memory, bytes on the disk and basis of choosing points."""
        data, n = self.parts.data, self.points
        if data is None:
            return _NOTHING, 0, 0, "nothing is chosen"
        if isinstance(data, LastLayer):
            model = self.parts.model
            costs = per_point(
                lambda part: last_layer_features(model, part, seed=data.seed).values, self.x, batch=POINTS
            )
            dim = last_layer_features(model, batches.first(self.x, 2), seed=data.seed).dim
            made, basis, disk = costs.at(n), costs.basis(n), 0
        elif isinstance(data, DataSelector):
            require_choosing(self.stages.keep.memory_limit, n, self.dim, self.like)
            stage, dim = self._features("sum").stage("", n, disk=True), self.dim
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
        every = self.parts.model.namespace.arange(self.kept, device=self.parts.model.device)
        sample = DroppedPoints.of(self.parts.model, self.x, every, rows=0, seed=0, least=FEW)
        q = 0 if sample is None else batches.count(sample.x)
        made = self.features.stage("", q, disk=self.disk)
        cost = self._stood(functools.partial(_left, sample=q))
        total = dataclasses.replace(added("loss of points", made.cost, cost), nbytes=0)
        return PlannedStage(cost=total, memory=max(needed, made.memory), disk=made.disk, basis=made.basis)

    def _algebra(self, name: str, run: "_Run", needed: int) -> PlannedStage:
        """A stage that does algebra with the features alone."""
        size, m, k, s = itemsize(self.like) * self.outputs, self.kept, self.dim, self.directions
        kept = {"gradients": size * k * (1 + s)}.get(name, 0)
        left = {"ridge": size * (m + k), "gradients": 2 * size * s * (m + k), "spectrum": 8 * m}[name]
        return PlannedStage(
            cost=dataclasses.replace(self._stood(run), stage=name, nbytes=kept),
            memory=needed,
            disk=left if self.disk else 0,
            basis=self._basis(),
        )

    @functools.cached_property
    def directions(self) -> int:
        """Number s of synthetic gradients per output; 0 where gradients are not distilled."""
        distiller, m, k = self.parts.gradients, self.kept, self.dim
        if distiller is None or isinstance(distiller, str):
            return 0 if distiller is None else min(m, GRADIENTS)
        if isinstance(getattr(distiller, "size", None), int):
            return int(distiller.size)  # type: ignore[attr-defined]
        points = max(1, round(reach(m, k) * m))
        phi = stand_in(self.like, outputs=1, points=points, dim=max(1, round(reach(m, k) * k)))
        grads = _fewer(self.stages, points).gradients(phi, _targets(phi), _RIDGE * _scale(phi))
        return 0 if grads is None else grads.size

    def _stood(self, run: "_Run") -> StageCost:
        """What it costs, from random features of one and of two outputs."""
        m, k = self.kept, self.dim

        def prepare(outputs: int, share: float) -> Callable[[], object]:
            points = max(2, round(share * m)) if m > 1 else 1
            phi = stand_in(self.like, outputs=outputs, points=points, dim=max(2, round(share * k)) if k > 1 else 1)
            return run(_fewer(self.stages, points), phi)

        def cost(outputs: int) -> StageCost:
            return grown(functools.partial(prepare, outputs), reach(m, k))

        return per_output(cost, self.outputs, self._measured)

    @property
    def _measured(self) -> int:
        return standing_outputs(self.outputs, self.kept, self.dim)

    def _basis(self) -> str:
        share = reach(self.kept, self.dim)
        of = "" if self._measured == self.outputs else f"of {self._measured} of {self.outputs} outputs "
        sizes = "" if share == 1 else f", {max(2, round(share * self.kept)):,} points, to the power three"
        return f"random features {of}measured{sizes}"


_Run = Callable[[AsGiven, TangentFeatures], Callable[[], object]]
"""A stage of these parts on these features, ready to run."""


def _fewer(stages: AsGiven, points: int) -> AsGiven:
    """The stages without a folder, and with no more gradients than there are points."""
    gradients = stages.parts.gradients
    size = getattr(gradients, "size", 0)
    if isinstance(size, int) and size > points:
        gradients = resized(gradients, points)
    return AsGiven(dataclasses.replace(stages.parts, gradients=gradients))


def _scale(phi: TangentFeatures) -> float:
    """The mean diagonal of the kernel."""
    xp = arrays.namespace(phi.values)
    return float(xp.sum(phi.values**2)) / (phi.n_outputs * len(phi))


def _targets(phi: TangentFeatures) -> Float[Array, "m c"]:
    return phi.values[:, :, 0].T


def _ridge(stages: AsGiven, phi: TangentFeatures) -> Callable[[], object]:
    return lambda: regressed(stages, phi, _targets(phi))[1].weights


def _gradients(stages: AsGiven, phi: TangentFeatures) -> Callable[[], object]:
    ridge = _RIDGE * _scale(phi)
    return lambda: reduced(stages, phi, _targets(phi), ridge)


def _spectrum(stages: AsGiven, phi: TangentFeatures) -> Callable[[], object]:
    return lambda: spectrum_of(stages, phi)


def _left(_stages: AsGiven, phi: TangentFeatures, *, sample: int) -> Callable[[], object]:
    problem = RidgeProblem.of(phi.values, _targets(phi))
    others = stand_in(phi.values, outputs=phi.n_outputs, points=max(1, sample), dim=phi.dim)
    return lambda: left_by(phi, others, problem)
