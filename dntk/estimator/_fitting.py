"""A fit: the stages one after the other, and what each cost and lost."""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from jaxtyping import Float

from dntk._progress import Task, task
from dntk.certificates import DroppedPoints, Span
from dntk.certificates.dropped import FEW
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator._steps import (
    as_rows,
    compared_count,
    left_by,
    predicted,
    reduced,
    regressed,
    span_of_features,
    span_of_gradients,
    spectrum_of,
)
from dntk.estimator.certification import Evidence
from dntk.estimator.defaults import cost_of_everything
from dntk.estimator.losses import Losses, expected_sketch_error
from dntk.estimator.once import Once
from dntk.estimator.points import KeptPoints, Targets, checked_targets
from dntk.estimator.reporting._versions import versions
from dntk.estimator.stages import Parts, Stages
from dntk.estimator.state import FittedState
from dntk.features import TangentFeatures
from dntk.identity import Watch
from dntk.ledger import LedgerRecorder, nbytes_of
from dntk.metrics import fidelity
from dntk.models import batches
from dntk.models.base import outputs_of
from dntk.sketch import Sketch, SketchPlan
from dntk.solve import RidgeFit
from dntk.solve.problem import RidgeProblem
from dntk.spectrum import condition_number, truncation_rank
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """What the stages made; ``phi`` are the features of the rows that were regressed on, with their ``goals``."""

    points: KeptPoints
    phi: TangentFeatures
    goals: Float[Array, "r g"]
    compared: TangentFeatures
    sketch: Sketch | SketchPlan | None
    grads: DistilledGradients | None
    fit: RidgeFit
    ridge: float
    span: Once[Span]
    spectrum: Float[Array, " r"]


def fitted(
    stages: Stages, x: Array, y: Array | None, choices: tuple[str, ...], recorder: LedgerRecorder
) -> FittedState:
    """Run all stages on the checked points ``x``; see :meth:`dntk.DistilledNTK.fit`."""
    parts = stages.parts
    watch = Watch.of(parts.model, x)
    with task("fit", total=6, unit="stages") as bar:
        run = _run(stages, x, y, checked_targets(parts.model, x, y), functools.partial(_stage, recorder, bar))
        bar.advance(6 - bar.done)  # a loss that is known takes no stage
    outcome = stages.outcome()
    if outcome is not None and not outcome.met:
        warnings.warn(f"tolerance {outcome}", UserWarning, stacklevel=3)
    watch.require_same(parts.model)
    q = len(run.compared)
    network = run.points.targets[:q, :] if y is None else outputs_of(parts.model, batches.first(run.points.x, q))
    losses = _losses(run, points=batches.count(x), network=network)
    evidence = Evidence(
        phi=run.phi,
        grads=run.grads,
        weights=run.fit.weights,
        targets=run.goals,
        ridge=run.ridge,
        span=run.span,
        dropped=_not_kept(parts, x, run, stages.keep.memory_limit),
        losses=losses,
        tolerance=outcome,
        seed=parts.seed,
        rows_of=None if run.phi is run.compared else run.points.targets.shape[0],
    )
    return FittedState(
        weights=run.fit.weights,
        span=run.span,
        sketch=run.phi.sketch,
        ridge=run.ridge,
        spectrum=run.spectrum,
        indices=run.points.indices,
        data=run.points.data,
        losses=losses,
        ledger=recorder.ledger(),
        tolerance=outcome,
        certificate=Once(evidence.certificate),
        memory_limit=stages.keep.memory_limit,
        network=watch,
        made_by=_made_by(parts, choices),
    )


def _made_by(parts: Parts, choices: tuple[str, ...]) -> dict[str, str]:
    """The parts in words, and what they ran on."""
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    words = {name: repr(getattr(parts, name)) for name in ("data", "gradients", "sketch", "regression", "seed")}
    return {**words, "rule of the ridge": repr(parts.ridge), "choices": "; ".join(choices), "versions": used}


def _run(stages: Stages, x: Array, y: Array | None, targets: Targets, stage: Callable[[str], Any]) -> _Run:
    with stage("data") as cost:
        sketch = stages.sketch(x)
        points = stages.points(x, y, targets, sketch)
        cost.nbytes = points.nbytes
    _say_what_everything_costs(stages, x, sketch)
    with stage("features") as cost:
        made, sketch = stages.features(points, sketch)
        phi, goals = stages.parts.regression.rows(made, points.targets)
        compared = _compared(stages, points, made)
        cost.nbytes = nbytes_of(phi.values)
    with stage("ridge"):
        problem, fit = regressed(stages, phi, goals)
    if points.residual is None:
        with stage("loss of points"):
            measure = functools.partial(_measured, stages, x, points, phi, problem)
            points = dataclasses.replace(points, residual=stages.keep.number("loss of points", phi.values, measure))
    with stage("gradients") as cost:
        grads, fit, span = _distilled(stages, phi, goals, fit, problem)
        cost.nbytes = nbytes_of(fit.weights) + (0 if grads is None else nbytes_of(grads.basis))
    with stage("spectrum"):
        spectrum = spectrum_of(stages, phi, problem)
    return _Run(
        points=points,
        phi=phi,
        goals=goals,
        compared=compared,
        sketch=sketch,
        grads=grads,
        fit=fit,
        ridge=_number(fit.ridge),
        span=span,
        spectrum=spectrum,
    )


def _number(ridge: float | tuple[float, ...]) -> float:
    assert isinstance(ridge, float)  # one for all outputs
    return ridge


def _distilled(
    stages: Stages, phi: TangentFeatures, goals: Float[Array, "r g"], fit: RidgeFit, problem: RidgeProblem
) -> tuple[DistilledGradients | None, RidgeFit, Once[Span]]:
    """Synthetic gradients, the regression in their span, and that span; those of all features without them."""
    smaller = reduced(stages, phi, goals, _number(fit.ridge), problem)
    if smaller is None:
        return None, fit, Once(functools.partial(span_of_features, phi))
    grads, inside = smaller
    # Leaving points out in a span made from their targets would flatter: keep the error of all features.
    return grads, dataclasses.replace(inside, left_out=fit.left_out), Once.made(span_of_gradients(grads))


def _compared(stages: Stages, points: KeptPoints, made: TangentFeatures) -> TangentFeatures:
    """Features of all outputs at the first of the kept points: all of them, where those are what was made."""
    parts = stages.parts
    if parts.regression.of_outputs:
        return made
    number = compared_count(batches.count(points.x), parts.model.n_outputs)
    return stages.keep.features("compared", parts.model, batches.first(points.x, number), sketch=made.sketch)


@contextlib.contextmanager
def _stage(recorder: LedgerRecorder, fit: Task, name: str) -> Iterator[Any]:
    """A stage of the fit: timed, counted, and told of as it begins."""
    with task(name, total=1, unit="stage", announced=True) as bar, recorder.stage(name) as cost:
        yield cost
        bar.advance()
    fit.advance()


def _losses(run: _Run, *, points: int, network: Float[Array, "m c"]) -> Losses:
    grads, phi = run.grads, run.phi
    return Losses(
        points=points,
        kept_points=run.points.targets.shape[0],
        data_trace_residual=run.points.residual or 0.0,
        sketch_relative_error=expected_sketch_error(run.sketch, phi, run.spectrum),
        gradient_trace_residual=0.0 if grads is None else grads.trace_residual,
        coverage_gap=0.0 if grads is None else grads.gap,
        gradients=min(len(phi), phi.dim) if grads is None else grads.size,
        truncation_rank=truncation_rank(run.spectrum),
        condition_number=condition_number(run.spectrum, run.ridge),
        loo_error=run.fit.loo_error,
        together=run.phi is not run.compared,
        fidelity=fidelity(predicted(run.compared, run.fit.weights), network),
    )


def _not_kept(parts: Parts, x: Array, run: _Run, limit: int | None) -> DroppedPoints | None:
    """A sample of the points that were not kept; made inputs keep none of them."""
    rows = batches.count(x) + len(run.phi) * run.phi.n_outputs
    dropped = DroppedPoints.of(parts.model, x, run.points.indices, rows=rows, seed=parts.seed)
    return None if dropped is None else dataclasses.replace(dropped, memory_limit=limit)


def _measured(stages: Stages, x: Array, points: KeptPoints, phi: TangentFeatures, problem: RidgeProblem) -> float:
    """Share of the trace of K̄ that the kept points leave, from a sample of 64 of the others."""
    parts = stages.parts
    sample = DroppedPoints.of(parts.model, x, points.indices, rows=0, seed=parts.seed, least=FEW)
    if sample is None:
        return 0.0
    others = as_rows(stages.keep.features("measured", parts.model, sample.x, sketch=phi.sketch), phi.n_outputs)
    return left_by(phi, others, problem) * sample.population / batches.count(x)


def _say_what_everything_costs(stages: Stages, x: Array, sketch: Sketch | SketchPlan | None) -> None:
    """Warn before features of all of many points are made."""
    if stages.parts.data is not None:
        return
    plain = sketch.sketch if isinstance(sketch, SketchPlan) else sketch
    cost = cost_of_everything(stages.parts.model, x, plain, stages.keep.memory_limit)
    if cost:
        warnings.warn(cost, UserWarning, stacklevel=5)
