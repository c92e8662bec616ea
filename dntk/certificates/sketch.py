"""What a sketch does to a kernel, and what sketched features say of the kernel without sketch.

Forth, for Φ of rank r and S with entries N(0, 1/k), σ̂_i the singular values of ΦSᵀ, with probability 1 − δ for all i

    G1   (1 − √(r/k) − t/√k)₊ σ_i ≤ σ̂_i ≤ (1 + √(r/k) + t/√k) σ_i,   t = √(2 ln(2/δ)),
    G2   σ_i (1 − √(i/k) − t₂/√k)₊ ≤ σ̂_i ≤ σ_i (1 + t₂/√k) + (Σ_{j≥i} σ_j²)^{1/2}/√k,   t₂ = √(2 ln(3n/δ)),

the latter for k < n too. Sources: Davidson and Szarek 2001; Courant and Fischer with Chevet's inequality. Constants
hold; k ≥ P does not make a Gaussian sketch an isometry.

Back, a subspace embedding (1 − ε)K ≤ K̂ ≤ (1 + ε)K gives λ_i ∈ [λ̂_i/(1 + ε), λ̂_i/(1 − ε)]; a second moment,
‖K̂ − K‖_F ≤ ε tr K with probability 1 − δ, gives |λ̂_i − λ_i| ≤ ε tr K by Weyl. ε comes from ``sketch.error``. For
random signs, sparse signs and Hadamard transforms the band is that of a Gaussian sketch, inside which they stayed in
all trials: EMPIRICAL, and the theorem's name says so. Kronecker sketches and masks leave that band and have second
moments only, or nothing.

With (1 − w)‖v‖ ≤ ‖Sv‖ for all v in the span of n gradients of an output (a subspace embedding), and Φ̂ the synthetic
gradients, combinations of those,

    ‖(I − Π)φ‖² = min_β ‖φ − Φ̂ᵀβ‖² ≤ ‖φ − Φ̂ᵀβ̂‖² ≤ ‖S(φ − Φ̂ᵀβ̂)‖²/(1 − w)² = ‖(I − Π̂)ψ‖²/(1 − w)²,

β̂ the best coefficients under the sketch: the trace that the span loses without sketch is at most 1/(1 − w)² of what it
loses under it.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Bound, Intervals, check_confidence
from dntk.certificates.certificate import Certificate
from dntk.features import TangentFeatures
from dntk.sketch.error import SUBSPACE, SketchError, StatesError
from dntk.types import Array


def sketch_gains(rank: int, dim: int, *, confidence: float) -> tuple[float, float]:
    """Least and largest factor of G1 on singular values of a matrix of this rank; 0 where the least says nothing."""
    check_confidence(confidence)
    width = (math.sqrt(rank) + math.sqrt(2 * math.log(2 / (1 - confidence)))) / math.sqrt(dim)
    return max(0.0, 1 - width), 1 + width


def sketched_singular_values(singular: Float[Array, " n"], dim: int, *, confidence: float) -> Intervals:
    """Intervals (G2) of the singular values of the sketched matrix, from the exact ones in descending order."""
    check_confidence(confidence)
    xp = arrays.namespace(singular)
    n = singular.shape[0]
    t = math.sqrt(2 * math.log(3 * n / (1 - confidence))) / math.sqrt(dim)
    place = xp.arange(1, n + 1, dtype=singular.dtype, device=arrays.device_of(singular))
    largest = xp.max(singular)
    scaled = singular / xp.where(largest > 0, largest, xp.ones_like(largest))  # squares stay in range
    tail = largest * xp.sqrt(xp.flip(xp.cumulative_sum(xp.flip(scaled**2, axis=0)), axis=0))
    return Intervals(
        lower=singular * xp.clip(1 - xp.sqrt(place / dim) - t, min=0),
        upper=singular * (1 + t) + tail / math.sqrt(dim),
        theorem="Davidson and Szarek, by place",
        kind="probabilistic",
        confidence=confidence,
    )


def exact_upper_factors(count: int, outputs: int, dim: int, *, confidence: float) -> list[float]:
    """Factors f_i with σ_i ≤ f_i σ̂_i for the i-th eigenvalue σ_i² of a mean kernel of ``outputs``, i = 1 … count.

    The lower half of G2 on the i·C features that the i leading eigenvectors combine; infinite where i·C does not fit
    into k.
    """
    check_confidence(confidence)
    t = math.sqrt(2 * math.log(3 * count / (1 - confidence))) / math.sqrt(dim)
    lows = [1 - math.sqrt(i * outputs / dim) - t for i in range(1, count + 1)]
    return [1 / low if low > 0 else math.inf for low in lows]


def exact_eigenvalues(
    sketched: Float[Array, " r"],
    error: SketchError,
    *,
    outputs: int,
    dim: int,
    points: int,
    trace: float | None = None,
) -> Intervals:
    """Intervals of λ_i(K̄) of the unsketched mean kernel, from those of the sketched one in descending order.

    ``error``: of the sketch for n·C feature rows (a subspace embedding) or n (second moments), at half the failure
    probability; the other half goes to the lower end by place. ``trace``: tr K̂, where ``sketched`` are only the
    leading eigenvalues; default: their sum.
    """
    values = np.asarray(backend_of(sketched).to_numpy(sketched), dtype=np.float64)
    values = np.clip(values, 0, None)
    if error.measure == SUBSPACE:
        lower = values / (1 + error.value)
        factors = np.square(np.asarray(exact_upper_factors(len(values), outputs, dim, confidence=error.confidence)))
        whole = 1 / (1 - error.value) if error.value < 1 else math.inf
        upper = _scaled(values, np.minimum(factors, whole))
    else:
        # Kernels' traces differ by ε tr K as well, ‖·‖_F ≤ ε tr K on their diagonal: tr K ≤ tr K̂/(1 − √n ε).
        shrunk = 1 - math.sqrt(points) * error.value
        whole_trace = float(np.sum(values)) if trace is None else trace
        radius = error.value * whole_trace / shrunk if shrunk > 0 else math.inf
        lower, upper = np.clip(values - radius, 0, None), values + radius
    return Intervals(
        lower=_like(lower, sketched),
        upper=_like(upper, sketched),
        theorem=error.theorem + (", an empirical band" if error.kind == "empirical" else ""),
        kind=error.kind,
        confidence=2 * error.confidence - 1,
    )


def with_unsketched(certificate: Certificate, phi: TangentFeatures, *, confidence: float) -> Certificate:
    """The certificate with eigenvalues and trace error of the kernel without sketch, as far as theorems reach.

    ``phi``: the reference of the certificate. ``confidence`` is that of the sketch for both statements together; where
    the certificate's own intervals may fail, that is added. Features without sketch are the kernel, and left as they
    are; so are those of a family without theorem.
    """
    check_confidence(confidence, shared=True)
    if phi.sketch is None or not isinstance(phi.sketch, StatesError):
        return certificate
    failure = 1 - confidence
    return dataclasses.replace(
        certificate,
        unsketched_eigenvalue_intervals=_unsketched_eigenvalues(certificate, phi, phi.sketch, failure / 2),
        unsketched_trace_error=_unsketched_trace_error(certificate.trace_error, phi, phi.sketch, failure / 2),
    )


def _unsketched_eigenvalues(
    certificate: Certificate, phi: TangentFeatures, sketch: StatesError, failure: float
) -> Intervals | None:
    """From certified intervals of the sketched kernel: its lower ends give lower ends, its upper ends upper ones.

    None where the theorem leaves even the largest eigenvalue between zero and infinity.
    """
    ends = certificate.eigenvalue_intervals
    error = sketch.error(len(phi) * phi.n_outputs, confidence=1 - failure / 2)
    low, high = (
        exact_eigenvalues(end, error, outputs=phi.n_outputs, dim=phi.dim, points=len(phi), trace=certificate.trace)
        for end in ends
    )
    if float(low.lower[0]) <= 0 and math.isinf(float(high.upper[0])):
        return None
    return dataclasses.replace(
        high,
        lower=low.lower,
        theorem=f"{high.theorem}; {ends.theorem}",
        confidence=high.confidence + ends.confidence - 1,  # neither the sketch nor the intervals may fail
    )


def _unsketched_trace_error(sketched: Bound, phi: TangentFeatures, sketch: StatesError, failure: float) -> Bound | None:
    error = sketch.error(len(phi), confidence=1 - failure / phi.n_outputs)
    width = math.sqrt(1 + error.value) - 1
    if error.measure != SUBSPACE or width >= 1:
        return None
    return Bound(
        value=float(sketched) / (1 - width) ** 2,
        theorem=f"residuals under a subspace embedding, {error.theorem}",
        kind=error.kind,
        confidence=1 - failure,
    )


def _scaled(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Products in which an infinite factor of a zero eigenvalue is infinite: a sketch may hide what it made zero."""
    return np.where(np.isinf(factors), math.inf, values * np.where(np.isinf(factors), 1, factors))


def _like(x: np.ndarray, like: Array) -> Array:
    xp = arrays.namespace(like)
    return xp.astype(backend_of(like).from_numpy(x, device=arrays.device_of(like)), like.dtype, copy=False)
