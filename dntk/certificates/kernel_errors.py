"""Errors of an approximated kernel: trace, spectral norm, Frobenius norm, and what no span could have avoided.

With Π a projector on a span of features and K_Π = ΦΠΦᵀ (a Nyström approximation where chosen points span it),
R = K − K_Π = Φ(I − Π)Φᵀ ≥ 0 (Löwner order), so that

    tr R = ‖(I − Π)Φᵀ‖_F² exactly,   ‖R‖₂ ≤ ‖R‖_F ≤ √(‖R‖₂ tr R) ≤ tr R,   λ_i(K) − ‖R‖₂ ≤ λ_i(K_Π) ≤ λ_i(K).

Source: Gittens and Mahoney 2016; Chen, Epperly, Tropp and Webber 2025. Rounding: c = 1.9 (order, trace), 3.8 (norms).
The forms K_XS K_SS⁻¹ K_SX with a solve or a pseudo-inverse are not used: on dependent points they are not below K.
No span of s dimensions keeps more of the trace than the s leading eigenvalues (Ky Fan).
"""

import dataclasses
import math

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Bound, Intervals, Kind
from dntk.certificates.approximation import Span
from dntk.certificates.eigenvalues import lehmann
from dntk.certificates.estimators import frobenius_norm, gaussian_probes, semidefinite_norm
from dntk.certificates.products import Multiply, difference, residual_kernel
from dntk.certificates.rounding import allowance
from dntk.certificates.widened import Widened
from dntk.types import Array

BLOCK, STEPS = 8, 5
"""Width and products of the block Krylov spaces that bound norms."""
_LARGEST_TAIL = 64  # features per output up to which the tail's lower end is worth its eigendecomposition


def trace_residual(trace: float, projected: float, *, eps: float, size: int) -> Bound:
    """Bound on tr R from tr K and tr K_Π = ‖ΠΦᵀ‖_F².

    Examples
    --------
    >>> lost = dntk.certificates.trace_residual(10.0, 8.0, eps=2.0**-52, size=40)
    >>> round(float(lost), 9), lost.kind
    (2.0, 'deterministic')
    """
    value = max(0.0, trace - projected) + allowance("trace residual", eps, size, trace)
    return Bound(value=value, theorem="trace residual of a projection")


def frobenius_residual(spectral: Bound, trace: Bound) -> Bound:
    """Bound on ‖R‖_F of a positive semidefinite R: √(‖R‖₂ tr R).

    Examples
    --------
    >>> spectral = dntk.Bound(value=2.0, theorem="known")
    >>> trace = dntk.Bound(value=8.0, theorem="known")
    >>> float(dntk.certificates.frobenius_residual(spectral, trace))
    4.0
    """
    return Bound(
        value=math.sqrt(float(spectral) * float(trace)),
        theorem="‖R‖_F ≤ √(‖R‖₂ tr R)",
        kind=spectral.kind,
        confidence=spectral.confidence,
    )


def eigenvalues_above(
    approximate: Float[Array, " r"],
    spectral: float,
    *,
    norm: float,
    size: int,
    kind: Kind = "deterministic",
    confidence: float = 1.0,
) -> Intervals:
    """Intervals of λ_i(K) from λ_i(K_Π) and ‖R‖₂: one-sided, [λ_i(K_Π), λ_i(K_Π) + ‖R‖₂]."""
    xp = arrays.namespace(approximate)
    slack = allowance("nystrom", arrays.epsilon(approximate), size, norm)
    return Intervals(
        lower=xp.clip(approximate - slack, min=0),
        upper=approximate + spectral + slack,
        theorem="Löwner order",
        kind=kind,
        confidence=confidence,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelErrors:
    """Bounds on K̄ − K̂, as in :class:`dntk.certificates.certificate.Certificate`."""

    trace: Bound
    spectral: Bound
    frobenius: Bound
    pca_tail: Intervals | None = None
    misalignment_gap: Bound | None = None


def span_errors(values: Widened, span: Span, *, failure: float, seed: int) -> KernelErrors:
    """Errors of projections on a span; ``failure`` is that of the spectral norm."""
    _, n, k = values.shape
    scores = values.back(span.basis).mT
    trace = span_trace_error(values, scores)
    spectral = _semidefinite(residual_kernel(values, span.basis), values, trace, failure, seed)
    tail = _tail(values, scores, values.squares, max(n, k))
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


def span_trace_error(values: Widened, scores: Float[Array, "c n s"]) -> Bound:
    """Trace that a projection leaves of the mean kernel, from features and their coordinates in the span."""
    xp = arrays.namespace(scores)
    c, n, k = values.shape
    traces, kept = values.squares, xp.sum(scores**2, axis=(1, 2))
    return trace_residual(
        float(xp.sum(traces)) / c, float(xp.sum(kept)) / c, eps=arrays.epsilon(values.like), size=max(n, k)
    )


def feature_errors(values: Widened, other: Widened, *, failure: float, seed: int) -> KernelErrors:
    """Errors of features in other coordinates: symmetric, of no sign; half the failure for each norm."""
    c, n, k = values.shape
    size, eps = max(n, k, other.shape[2]), arrays.epsilon(values.like)
    error = difference(values, other)
    traces = [float(arrays.namespace(v.squares).sum(v.squares)) / c for v in (values, other)]
    slack = allowance("trace residual", eps, size, max(traces))
    probes = gaussian_probes(n, 2 * BLOCK, seed=seed, stream="certificate-frobenius", like=values.like)
    frobenius = frobenius_norm(error(probes), confidence=1 - failure / 2)
    start = gaussian_probes(n, BLOCK, seed=seed, stream="certificate-spectral", like=values.like)
    squared = semidefinite_norm(lambda block: error(error(block)), start, steps=STEPS, confidence=1 - failure / 2)
    spectral = dataclasses.replace(squared, value=math.sqrt(float(squared)) + slack)
    frobenius = dataclasses.replace(frobenius, value=float(frobenius) + slack)
    if float(frobenius) < float(spectral):
        spectral = dataclasses.replace(frobenius, theorem=f"‖·‖₂ ≤ ‖·‖_F, {frobenius.theorem}")
    difference_of_traces = Bound(value=abs(traces[0] - traces[1]) + slack, theorem="traces, exact")
    return KernelErrors(trace=difference_of_traces, spectral=spectral, frobenius=frobenius)


def _semidefinite(multiply: Multiply, values: Widened, trace: Bound, failure: float, seed: int) -> Bound:
    """‖R‖₂ by block Lanczos, or by the trace where that is smaller or R is rounding."""
    c, n, k = values.shape
    whole = float(arrays.namespace(values.squares).sum(values.squares)) / c
    rounding = allowance("nystrom", arrays.epsilon(values.like), max(n, k), whole)
    by_trace = dataclasses.replace(trace, theorem=f"‖R‖₂ ≤ tr R, {trace.theorem}")
    if float(trace) <= 4 * rounding:
        return by_trace
    start = gaussian_probes(n, BLOCK, seed=seed, stream="certificate-spectral", like=values.like)
    found = semidefinite_norm(multiply, start, steps=STEPS, confidence=1 - failure, rounding=rounding)
    return found if float(found) < float(trace) else by_trace


def _tail(values: Widened, scores: Array, traces: Array, size: int) -> Intervals:
    """Mean over outputs of Σ_{i>s} λ_i(K^c): Ritz values of the range of K_Π above, Lehmann's bound below."""
    xp = arrays.namespace(scores)
    c, n, _ = values.shape
    basis, _ = xp.linalg.qr(_unit(scores))
    image = values.onto(basis.mT).mT
    quotient = image.mT @ image
    slack = allowance("trace", arrays.epsilon(scores), size, float(xp.sum(traces)) / c)
    diagonal = xp.sum(image**2, axis=(1, 2))
    left = xp.clip(traces - diagonal, min=0)
    upper = float(xp.sum(left)) / c + slack
    lower = 0.0
    if basis.shape[2] <= _LARGEST_TAIL and basis.shape[2] < n and upper > 4 * slack:
        residual = values.back(image.mT).mT - basis @ quotient
        leading = lehmann(quotient, residual, left)
        most = xp.sum(xp.clip(leading, min=0), axis=1)
        lower = max(0.0, float(xp.sum(xp.clip(traces - most, min=0))) / c - slack)
    place = {"dtype": scores.dtype, "device": arrays.device_of(scores)}
    return Intervals(
        lower=xp.asarray([lower], **place), upper=xp.asarray([upper], **place), theorem="Ky Fan, with Ritz values"
    )


def _unit(scores: Array) -> Array:
    """Scores scaled so that their squares stay in range; QR does not see the scale."""
    xp = arrays.namespace(scores)
    largest = xp.max(xp.abs(scores), axis=(1, 2), keepdims=True)
    return scores / xp.where(largest > 0, largest, xp.ones_like(largest))
