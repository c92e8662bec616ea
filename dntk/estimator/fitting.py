"""A fit: the stages one after the other, what each cost and lost, and the certificate of the whole."""

import dataclasses
import functools
import warnings

from jaxtyping import Float

from dntk import arrays
from dntk.certificates import Certificate, HeldOut, Span, certify, span_of, with_held_out, with_unsketched
from dntk.certificates.stages import with_earlier_stages
from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.distilled_gradients import DistilledGradients, row_basis, trace_residual
from dntk.estimator.losses import Losses
from dntk.estimator.points import KeptData
from dntk.estimator.stages import AsGiven, Recipe, expected_sketch_error
from dntk.estimator.state import FittedState
from dntk.estimator.tolerance import WithinTolerance
from dntk.features import TangentFeatures
from dntk.gradient_blocks.dense import itemsize
from dntk.ledger import LedgerRecorder
from dntk.metrics import fidelity
from dntk.models.base import Model, outputs_of
from dntk.sketch import Sketch, SketchPlan
from dntk.solve._ridge import feature_ridge, ridge
from dntk.solve._same_span import same_span
from dntk.solve.ridge_fit import RidgeFit
from dntk.spectrum import condition_number, eigenvalues, truncation_rank
from dntk.targets import check_labels, check_targets, one_hot
from dntk.types import Array

FAILURE = 1e-3
"""Probability with which any statement of a fit's certificate may fail: half for bounds set against the features, a
quarter each for the sketch and for the sample of points that were not kept."""


def fitted(recipe: Recipe, x: Array, y: Array | None) -> FittedState:
    """Run all stages on the points ``x``; see :meth:`dntk.DistilledNTK.fit`."""
    recipe.model.check_inputs(x)
    targets = _targets(recipe.model, x, y)
    recorder = LedgerRecorder()
    if recipe.tolerance is None:
        return _state(recipe, x, y, _run(AsGiven(recipe), recipe, x, y, targets, recorder), recorder, None)
    stages = WithinTolerance(recipe, recipe.tolerance)
    run = _run(stages, recipe, x, y, targets, recorder)
    outcome = stages.outcome()
    if not outcome.met:
        warnings.warn(f"tolerance {outcome}", UserWarning, stacklevel=3)
    return _state(recipe, x, y, run, recorder, outcome)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """What the stages made."""

    points: KeptData
    phi: TangentFeatures
    sketch: Sketch | SketchPlan | None
    ridge: float
    grads: DistilledGradients | None
    fit: RidgeFit
    span: Span
    spectrum: Float[Array, " m"]


def _run(
    stages: AsGiven | WithinTolerance,
    recipe: Recipe,
    x: Array,
    y: Array | None,
    targets: Float[Array, "n c"],
    recorder: LedgerRecorder,
) -> _Run:
    with recorder.stage("data") as cost:
        sketch = stages.sketch(x)
        points = stages.points(x, y, targets, sketch)
        cost.nbytes = points.nbytes
    with recorder.stage("features") as cost:
        phi, sketch = stages.features(points, sketch)
        cost.nbytes = _nbytes(phi.values)
    with recorder.stage("ridge") as cost:
        chosen = feature_ridge(recipe.ridge, phi.values, points.targets)
    with recorder.stage("gradients") as cost:
        grads = stages.gradients(phi, points.targets, chosen)
        fit = _regress(phi, grads, points.targets, chosen)
        span = _span(phi, grads)
        cost.nbytes = _nbytes(span.basis) + _nbytes(fit.weights)
    with recorder.stage("spectrum"):
        spectrum = eigenvalues(phi)
    return _Run(points=points, phi=phi, sketch=sketch, ridge=chosen, grads=grads, fit=fit, span=span, spectrum=spectrum)


def _state(
    recipe: Recipe,
    x: Array,
    y: Array | None,
    run: _Run,
    recorder: LedgerRecorder,
    outcome: ToleranceOutcome | None,
) -> FittedState:
    network = run.points.targets if y is None else recipe.model(run.points.x)
    losses = _losses(run, points=x.shape[0], network=network)
    held_out = _not_kept(recipe, x, run)
    certified = functools.partial(_certified, run, losses, held_out, outcome, seed=recipe.seed)
    return FittedState(
        weights=run.fit.weights,
        basis=_like(run.span.basis, run.phi),
        squares=_like(run.span.squares, run.phi),
        sketch=run.phi.sketch,
        ridge=run.ridge,
        spectrum=run.spectrum,
        indices=run.points.indices,
        losses=losses,
        certified=functools.cache(certified),
        ledger=recorder.ledger(),
        data=run.points.data,
    )


def _losses(run: _Run, *, points: int, network: Float[Array, "m c"]) -> Losses:
    grads, phi = run.grads, run.phi
    return Losses(
        points=points,
        kept_points=len(phi),
        data_trace_residual=run.points.residual,
        sketch_relative_error=expected_sketch_error(run.sketch, phi, run.spectrum),
        gradient_trace_residual=_left_out(phi, run.span) if grads is None else grads.trace_residual,
        coverage_gap=0.0 if grads is None else grads.gap,
        gradients=run.span.basis.shape[1],
        truncation_rank=truncation_rank(run.spectrum),
        condition_number=condition_number(run.spectrum, run.ridge),
        loo_error=run.fit.loo_error,
        fidelity=fidelity(run.fit.predict(phi), network),
    )


def _not_kept(recipe: Recipe, x: Array, run: _Run) -> HeldOut | None:
    """A sample of the points that were not kept; made inputs keep none of them."""
    rows = x.shape[0] + len(run.phi) * run.phi.n_outputs
    return HeldOut.of(recipe.model, x, run.points.indices, rows=rows, seed=recipe.seed)


def _certified(
    run: _Run, losses: Losses, held_out: HeldOut | None, outcome: ToleranceOutcome | None, *, seed: int
) -> Certificate:
    phi, approximation = run.phi, run.phi if run.grads is None else run.grads
    found = certify(phi, approximation, run.points.targets, run.ridge, 1 - FAILURE / 2, seed=seed)
    found = with_unsketched(found, phi, confidence=1 - FAILURE / 4)
    found = with_held_out(found, held_out, _like(run.span.basis, phi), phi.sketch, confidence=1 - FAILURE / 4)
    found = with_earlier_stages(found, losses)
    return dataclasses.replace(found, confidence=1 - FAILURE, tolerance=outcome)


def _targets(model: Model, x: Array, y: Array | None) -> Float[Array, "n c"]:
    outputs = outputs_of(model, x)
    if y is None:
        return outputs
    xp = arrays.require_same_place(outputs=outputs, y=y)
    if xp.isdtype(y.dtype, "integral") and y.ndim == 1:
        check_labels("y", y, points=x.shape[0])
        return one_hot(y, model.n_outputs, like=outputs)
    return check_targets(y, outputs, points=x.shape[0], outputs=model.n_outputs)


def _regress(
    phi: TangentFeatures, grads: DistilledGradients | None, targets: Float[Array, "m c"], chosen: float
) -> RidgeFit:
    fit = ridge(phi, targets, ridge=chosen)
    if grads is None:
        return fit
    distilled = same_span(grads, ridge=chosen)
    # Leaving points out in a span made from their targets would flatter: keep the error of the full features.
    return dataclasses.replace(distilled, left_out=fit.left_out)


def _span(phi: TangentFeatures, grads: DistilledGradients | None) -> Span:
    """What was kept: the span of the synthetic gradients, or of all features."""
    if grads is None:
        basis = row_basis(phi.values)
        return span_of(phi.values, basis[:, : min(len(phi), phi.dim), :])
    return span_of(grads.values, grads.basis)


def _left_out(phi: TangentFeatures, span: Span) -> float:
    return trace_residual(phi.values, phi.values @ _like(span.basis, phi).mT)


def _like(values: Array, phi: TangentFeatures) -> Array:
    cast: Array = arrays.namespace(values).astype(values, phi.values.dtype, copy=False)
    return cast


def _nbytes(x: Array) -> int:
    size = itemsize(x)
    for side in x.shape:
        size *= side
    return size
