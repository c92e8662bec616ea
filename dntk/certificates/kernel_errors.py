"""Errors of an approximated mean kernel: trace, spectral norm, Frobenius norm, and what no span could have avoided."""

import dataclasses
import math

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound, Intervals
from dntk.certificates.approximation import OtherFeatures, Span
from dntk.certificates.norm_estimators import frobenius_norm, gaussian_probes, semidefinite_norm
from dntk.certificates.nystrom_order import frobenius_residual, trace_residual
from dntk.certificates.products import Multiply, difference, residual_kernel
from dntk.certificates.ritz import lehmann
from dntk.certificates.rounding import allowance
from dntk.types import Array

BLOCK, STEPS = 8, 5
"""Width and products of the block Krylov spaces that bound norms."""
_LARGEST_TAIL = 64  # features per output up to which the tail's lower end is worth its eigendecomposition


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelErrors:
    """Bounds on K̄ − K̂, as in :class:`dntk.certificates.certificate.Certificate`."""

    trace: Bound
    spectral: Bound
    frobenius: Bound
    pca_tail: Intervals | None = None
    misalignment_gap: Bound | None = None


def span_errors(values: Float[Array, "c n k"], span: Span, *, failure: float, seed: int) -> KernelErrors:
    """Errors of projections on a span; ``failure`` is that of the spectral norm."""
    xp = arrays.namespace(values)
    _, n, k = values.shape
    scores = values @ span.basis.mT
    traces = xp.sum(values**2, axis=(1, 2))
    trace = span_trace_error(values, scores)
    spectral = _semidefinite(residual_kernel(values, span.basis), values, trace, failure, seed)
    tail = _tail(values, scores, traces, max(n, k))
    gap = Bound(
        value=max(0.0, float(trace) - float(tail.lower[0])), theorem="trace residual less the least one (Ky Fan)"
    )
    return KernelErrors(
        trace=trace,
        spectral=spectral,
        frobenius=frobenius_residual(spectral, trace),
        pca_tail=tail,
        misalignment_gap=gap,
    )


def span_trace_error(values: Float[Array, "c n k"], scores: Float[Array, "c n s"]) -> Bound:
    """Trace that a projection leaves of the mean kernel, from features and their coordinates in the span."""
    xp = arrays.namespace(values)
    c, n, k = values.shape
    traces, kept = xp.sum(values**2, axis=(1, 2)), xp.sum(scores**2, axis=(1, 2))
    return trace_residual(
        float(xp.sum(traces)) / c, float(xp.sum(kept)) / c, eps=arrays.epsilon(values), size=max(n, k)
    )


def feature_errors(values: Float[Array, "c n k"], other: OtherFeatures, *, failure: float, seed: int) -> KernelErrors:
    """Errors of features in other coordinates: symmetric, of no sign; half the failure for each norm."""
    xp = arrays.namespace(values)
    c, n, k = values.shape
    size, eps = max(n, k, other.values.shape[2]), arrays.epsilon(values)
    error = difference(values, other.values)
    traces = [float(xp.sum(v**2)) / c for v in (values, other.values)]
    slack = allowance("trace residual", eps, size, max(traces))
    probes = gaussian_probes(n, 2 * BLOCK, seed=seed, stream="certificate-frobenius", like=values)
    frobenius = frobenius_norm(error(probes), failure / 2)
    start = gaussian_probes(n, BLOCK, seed=seed, stream="certificate-spectral", like=values)
    squared = semidefinite_norm(lambda block: error(error(block)), start, steps=STEPS, failure=failure / 2)
    spectral = dataclasses.replace(squared, value=math.sqrt(float(squared)) + slack)
    frobenius = dataclasses.replace(frobenius, value=float(frobenius) + slack)
    if float(frobenius) < float(spectral):
        spectral = dataclasses.replace(frobenius, theorem=f"‖·‖₂ ≤ ‖·‖_F, {frobenius.theorem}")
    difference_of_traces = Bound(value=abs(traces[0] - traces[1]) + slack, theorem="traces, exact")
    return KernelErrors(trace=difference_of_traces, spectral=spectral, frobenius=frobenius)


def _semidefinite(multiply: Multiply, values: Array, trace: Bound, failure: float, seed: int) -> Bound:
    """‖R‖₂ by block Lanczos, or by the trace where that is smaller or R is rounding."""
    xp = arrays.namespace(values)
    c, n, k = values.shape
    whole = float(xp.sum(values**2)) / c
    rounding = allowance("nystrom", arrays.epsilon(values), max(n, k), whole)
    by_trace = dataclasses.replace(trace, theorem=f"‖R‖₂ ≤ tr R, {trace.theorem}")
    if float(trace) <= 4 * rounding:
        return by_trace
    start = gaussian_probes(n, BLOCK, seed=seed, stream="certificate-spectral", like=values)
    found = semidefinite_norm(multiply, start, steps=STEPS, failure=failure, rounding=rounding)
    return found if float(found) < float(trace) else by_trace


def _tail(values: Array, scores: Array, traces: Array, size: int) -> Intervals:
    """Mean over outputs of Σ_{i>s} λ_i(K^c): Ritz values of the range of K_Π above, Lehmann's bound below."""
    xp = arrays.namespace(values)
    c, n, _ = values.shape
    basis, _ = xp.linalg.qr(_unit(scores))
    image = values.mT @ basis
    quotient = image.mT @ image
    slack = allowance("trace", arrays.epsilon(values), size, float(xp.sum(traces)) / c)
    diagonal = xp.sum(image**2, axis=(1, 2))
    left = xp.clip(traces - diagonal, min=0)
    upper = float(xp.sum(left)) / c + slack
    lower = 0.0
    if basis.shape[2] <= _LARGEST_TAIL and basis.shape[2] < n and upper > 4 * slack:
        residual = values @ image - basis @ quotient
        leading = lehmann(quotient, residual, left)
        most = xp.sum(xp.clip(leading, min=0), axis=1)
        lower = max(0.0, float(xp.sum(xp.clip(traces - most, min=0))) / c - slack)
    place = {"dtype": values.dtype, "device": arrays.device_of(values)}
    return Intervals(
        lower=xp.asarray([lower], **place), upper=xp.asarray([upper], **place), theorem="Ky Fan, with Ritz values"
    )


def _unit(scores: Array) -> Array:
    """Scores scaled so that their squares stay in range; QR does not see the scale."""
    xp = arrays.namespace(scores)
    largest = xp.max(xp.abs(scores), axis=(1, 2), keepdims=True)
    return scores / xp.where(largest > 0, largest, xp.ones_like(largest))
