"""``dntk.certify``: one certificate from every theorem that applies, in one pass over the features."""

import dataclasses
import math
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, positive_integer
from dntk._progress import Task, task
from dntk.bounds import Bound, Intervals, check_confidence
from dntk.certificates.approximation import OtherFeatures, Regression, Span, as_approximation, regression_on
from dntk.certificates.certificate import Certificate, PointwiseBound
from dntk.certificates.eigenvalues import eigenvalue_intervals, suggested_start
from dntk.certificates.kernel_errors import KernelErrors, feature_errors, span_errors, span_trace_error
from dntk.certificates.reference_weights import ReferenceWeights, errors_from, reference_weights
from dntk.certificates.regression import RegressionErrors, fits_errors, weights_errors
from dntk.certificates.stage_errors import root_mean_square, stage_errors
from dntk.certificates.widened import Widened, widened
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures, require_kernel_of
from dntk.ledger import LedgerRecorder
from dntk.solve._ridge import ridge as solve_ridge
from dntk.types import Array

LEADING = 24
"""Width of the subspace for the leading eigenvalues."""


def certify(
    reference: TangentFeatures,
    approximation: Any,
    targets: Float[Array, "n c"] | None = None,
    ridge: Any = None,
    confidence: float = 0.999,
    *,
    products: int = 40,
    seed: int = 0,
) -> Certificate:
    """Bounds on what an approximation of the reference's kernels lost, each with its theorem.

    Parameters
    ----------
    reference
        Features that are taken as the truth.
    approximation
        ``DistilledGradients`` (their basis spans what was kept; both predictors in it are covered), a ``Selection`` of
        the reference's points (its span, and regression on the selected points alone), ``TangentFeatures`` of the same
        points under another sketch or none, or a fit of a ``DistilledNTK`` (any
        :class:`~dntk.certificates.FittedPredictor`).
    targets
        (n, C); for synthetic gradients made on this reference they are known. Without targets nothing is said of
        predictions.
    ridge
        λ, ``"loo"`` or a grid, as for :func:`dntk.solve.ridge`; default: what the approximation knows, else ``"loo"``.
    confidence
        Probability with which all statements hold together, over the seed.
    products
        Most products with every kernel K^c for the bound on predictions, where no regression is solved.
    seed
        Of the random starts.

    Raises
    ------
    TypeError
        ``approximation`` is none of these.
    ValueError
        Other outputs, dimensions, points or sketch than the reference's; targets of another shape; a confidence outside
        (0, 1) or above 1 − 1e-13; a ridge that is not positive.

    Notes
    -----
    Where d = min(n, k) is at most 2,048 the reference's regression is solved, output by output, O(C·(n·k·d + d³)), and
    predictors are compared with it: bounds are the distances then, whatever the ridge. Elsewhere Gauss-Radau bounds
    them by products, which is loose where λ is far below ‖K‖. O(n·C·k·(s + products)) operations and
    O(n·(C·k + products)) memory. In float64 where the device has it; of features beyond 256 MiB in that, one output at
    a time. Where it has not, λ has to exceed the rounding of the kernel for either to say anything, and the in-sample
    residual takes their place.
    A reference of :class:`dntk.StoredFeatures` is read chunk by chunk, a pass or two for every product, in
    O(n·C·products) of memory; its regression is not solved anew.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> grads = dntk.distill.gradients.Solution(6, ridge=1.0).distill(phi, y)
    >>> certificate = dntk.certify(phi, grads)
    >>> print(certificate)
    certificate of 40 points, 2 outputs; all statements together with probability 0.999
    kernel       trace error at most 12.29% of the trace; ...
    eigenvalues  the leading 10 are known within ...
    predictor    root mean square distance to the exact regression at most ...
    verdict      gradients lost most: 12.29% of the kernel's trace
    """
    require_kernel_of("reference", reference)
    check_confidence(confidence, shared=True)
    positive_integer("products", products)
    seed = check_seed(seed)
    recorder = LedgerRecorder()
    with task("certificate", total=4, unit="parts") as bar, recorder.stage("certificate"):
        found = _certified(reference, approximation, (targets, ridge), confidence, products, seed, bar)
    return dataclasses.replace(found, cost=recorder.ledger()["certificate"])


def _certified(
    reference: TangentFeatures,
    approximation: Any,
    given: tuple[Float[Array, "n c"] | None, Any],
    confidence: float,
    products: int,
    seed: int,
    bar: Task,
) -> Certificate:
    regression = regression_on(reference, approximation, *given)
    found = as_approximation(reference, approximation, regression)
    bar.advance()
    failure = (1 - confidence) / 2
    values = widened(reference)
    scale = values.scale
    scaled = None if regression is None else dataclasses.replace(regression, ridge=regression.ridge / scale**2)
    if isinstance(found, OtherFeatures):
        other = Widened.of(found.values, scale)
        errors = feature_errors(values, other, failure=failure, seed=seed)
        solved = None
        bar.advance()
        start, predicted = found.values, _predicted_by_features(values, found, scaled, products)
    else:
        span = dataclasses.replace(
            found,
            basis=_wide(found.basis),
            squares=found.squares / scale**2,
            weights=tuple(_wide(w) * scale for w in found.weights),
        )
        errors = span_errors(values, span, failure=failure, seed=seed)
        bar.advance()
        start = values.back(span.basis).mT
        predicted, solved = _predicted(values, span.weights, scaled, products)
    bar.advance()
    block = _wide(suggested_start(start, LEADING, seed=seed))
    intervals = eigenvalue_intervals(values, block, failure=failure, seed=seed)
    bar.advance()
    made = assemble(values, reference.sketch, found, errors, intervals, predicted, regression, confidence=confidence)
    return made if solved is None else _with_solved(made, found, solved, scale)


def with_weights(
    certificate: Certificate,
    reference: TangentFeatures,
    weights: Float[Array, "c k"],
    targets: Float[Array, "n c"],
    ridge: float,
    *,
    products: int = 40,
) -> Certificate:
    """The certificate with the errors of one predictor ⟨w, ψ⟩, of its weights as they are stored.

    ``targets`` and ``ridge`` define the regression on the reference that it is compared with. A predictor made of all
    features has no span of its own to be certified in, but its weights are rounded, too.
    """
    values = widened(reference)
    regression = Regression(targets=targets, ridge=ridge / values.scale**2)
    errors, _ = _predicted(values, (_wide(weights) * values.scale,), regression, products)
    assert errors is not None
    norm = float(arrays.namespace(targets).mean(_wide(targets) ** 2)) ** 0.5
    found = dataclasses.replace(
        certificate, prediction_error=errors.prediction, energy_error=errors.energy, ridge=ridge, target_norm=norm
    )
    return dataclasses.replace(found, stages=stage_errors(found, certificate.stages[0].stage))


def _with_solved(certificate: Certificate, found: Any, solved: ReferenceWeights, scale: float) -> Certificate:
    """The certificate whose bounds at single points know the regression on the reference."""
    assert certificate.pointwise is not None
    xp = arrays.namespace(solved.weights)
    apart = xp.stack([_wide(w) - solved.weights / scale for w in found.weights])
    return dataclasses.replace(
        certificate, pointwise=dataclasses.replace(certificate.pointwise, apart=apart, solved=solved.energy)
    )


def certified_trace_loss(reference: TangentFeatures, grads: DistilledGradients) -> float:
    """The certificate's trace error in units of the trace, alone; 0 for features that are zero. Cost O(n·C·k·s)."""
    span = as_approximation(reference, grads, None)
    assert isinstance(span, Span)
    values = widened(reference)
    trace = float(arrays.namespace(values.squares).sum(values.squares)) / values.shape[0]
    return float(span_trace_error(values, values.back(span.basis).mT)) / trace if trace > 0 else 0.0


def assemble(
    values: Widened,
    sketch: Any,
    found: Span | OtherFeatures,
    errors: KernelErrors,
    intervals: Intervals,
    predicted: RegressionErrors | None,
    regression: Regression | None,
    *,
    confidence: float,
) -> Certificate:
    """The certificate in the reference's own units, from parts that were computed in units of ``values.scale``."""
    xp = arrays.namespace(values.squares)
    c, n, _ = values.shape
    area = values.scale**2
    trace = float(xp.sum(values.squares)) / c * area
    intervals = dataclasses.replace(intervals, lower=intervals.lower * area, upper=intervals.upper * area)
    norm = None if regression is None else float(xp.mean(_wide(regression.targets) ** 2)) ** 0.5
    tail = errors.pca_tail
    certificate = Certificate(
        points=n,
        outputs=c,
        confidence=confidence,
        trace=trace,
        largest=float(intervals.lower[0]),
        eigenvalue_intervals=intervals,
        spectral_error=_times(errors.spectral, area),
        frobenius_error=_times(errors.frobenius, area),
        trace_error=_times(errors.trace, area),
        pca_tail=None if tail is None else dataclasses.replace(tail, lower=tail.lower * area, upper=tail.upper * area),
        misalignment_gap=None if errors.misalignment_gap is None else _times(errors.misalignment_gap, area),
        prediction_error=None if predicted is None else predicted.prediction,
        energy_error=None if predicted is None else predicted.energy,
        ridge=None if regression is None else regression.ridge,
        target_norm=norm,
        pointwise=_pointwise(sketch, found, predicted, regression),
    )
    return dataclasses.replace(certificate, stages=stage_errors(certificate, found.stage))


def _predicted(
    values: Widened, weights: tuple[Array, ...], regression: Regression | None, products: int
) -> tuple[RegressionErrors | None, ReferenceWeights | None]:
    """Errors of predictors ⟨w, ψ⟩, and the solution on the reference where there is one.

    By that solution where what is left of its gradient is small beside the bound, or beside the targets; else by
    products, too, and by what is smaller.
    """
    if regression is None or not weights:
        return None, None
    solved = reference_weights(values, regression)
    if solved is None:
        return weights_errors(values, weights, regression, steps=products), None
    found = errors_from(solved, values, weights, regression)
    left = (float(solved.energy) / values.shape[1]) ** 0.5
    size = float(arrays.namespace(regression.targets).mean(_wide(regression.targets) ** 2)) ** 0.5
    if left <= max(0.1 * float(found.prediction), 1e-3 * size):
        return found, solved
    by_products = weights_errors(values, weights, regression, steps=products)
    return min(found, by_products, key=_size), solved


def _size(errors: RegressionErrors) -> float:
    """What is stated of predictions; a number that left its range states nothing."""
    stated = root_mean_square(errors.prediction)
    return math.inf if math.isnan(stated) else stated


def _predicted_by_features(
    values: Widened, other: OtherFeatures, regression: Regression | None, products: int
) -> RegressionErrors | None:
    if regression is None:
        return None
    features = TangentFeatures(_wide(other.values) / values.scale)
    fits = solve_ridge(features, _wide(regression.targets), ridge=regression.ridge).predict(features)
    return fits_errors(values, fits, regression, steps=products)


def _pointwise(
    sketch: Any,
    found: Span | OtherFeatures,
    predicted: RegressionErrors | None,
    regression: Regression | None,
) -> PointwiseBound | None:
    if predicted is None or regression is None or isinstance(found, OtherFeatures):
        return None
    return PointwiseBound(
        basis=found.basis,
        squares=found.squares,
        energy=predicted.energy,
        ridge=regression.ridge,
        sketch=sketch,
    )


def _times(bound: Bound, factor: float) -> Bound:
    return dataclasses.replace(bound, value=bound.value * factor)


def _wide(x: Array) -> Array:
    xp = arrays.namespace(x)
    return xp.astype(x, arrays.accumulation_dtype(x), copy=False)
