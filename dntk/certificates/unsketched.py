"""What a certificate of sketched features says of the kernel without sketch, where the sketch's theorem says enough.

With (1 − w)‖v‖ ≤ ‖Sv‖ for all v in the span of n gradients of an output (a subspace embedding), and Φ̂ the synthetic
gradients, combinations of those,

    ‖(I − Π)φ‖² = min_β ‖φ − Φ̂ᵀβ‖² ≤ ‖φ − Φ̂ᵀβ̂‖² ≤ ‖S(φ − Φ̂ᵀβ̂)‖²/(1 − w)² = ‖(I − Π̂)ψ‖²/(1 − w)²,

β̂ the best coefficients under the sketch: the trace that the span loses without sketch is at most 1/(1 − w)² of what it
loses under it. Eigenvalues: :mod:`dntk.certificates.subspace_embedding`.
"""

import dataclasses
import math

from dntk.bounds import Bound, Intervals
from dntk.certificates.certificate import Certificate
from dntk.certificates.subspace_embedding import exact_eigenvalues
from dntk.features import TangentFeatures
from dntk.sketch.error import SUBSPACE, StatesError


def with_unsketched(certificate: Certificate, phi: TangentFeatures, *, confidence: float) -> Certificate:
    """The certificate with eigenvalues and trace error of the kernel without sketch, as far as theorems reach.

    ``phi``: the reference of the certificate. Both hold together with ``confidence``. Features without sketch are
    left as they are: they are the kernel. So are those of a family without theorem.
    """
    if phi.sketch is None or not isinstance(phi.sketch, StatesError):
        return certificate
    failure = 1 - confidence
    return dataclasses.replace(
        certificate,
        unsketched_eigenvalue_intervals=_eigenvalues(certificate, phi, phi.sketch, failure / 2),
        unsketched_trace_error=_trace_error(certificate.trace_error, phi, phi.sketch, failure / 2),
    )


def _eigenvalues(
    certificate: Certificate, phi: TangentFeatures, sketch: StatesError, failure: float
) -> Intervals | None:
    """From certified intervals of the sketched kernel: its lower ends give lower ends, its upper ends upper ones.

    None where the theorem leaves even the largest eigenvalue between zero and infinity.
    """
    ends = certificate.eigenvalue_intervals
    error = sketch.error(len(phi) * phi.n_outputs, failure / 2)
    low, high = (
        exact_eigenvalues(end, error, outputs=phi.n_outputs, dim=phi.dim, points=len(phi), trace=certificate.trace)
        for end in ends
    )
    if float(low.lower[0]) <= 0 and math.isinf(float(high.upper[0])):
        return None
    return dataclasses.replace(high, lower=low.lower, theorem=f"{high.theorem}; {ends.theorem}")


def _trace_error(sketched: Bound, phi: TangentFeatures, sketch: StatesError, failure: float) -> Bound | None:
    error = sketch.error(len(phi), failure / phi.n_outputs)
    width = math.sqrt(1 + error.value) - 1
    if error.measure != SUBSPACE or width >= 1:
        return None
    return Bound(
        value=float(sketched) / (1 - width) ** 2,
        theorem=f"residuals under a subspace embedding, {error.theorem}",
        kind="empirical" if error.kind == "empirical" else "probabilistic",
        confidence=1 - failure,
    )
