"""What a certificate states of stages, as relative errors that stand beside each other."""

from dntk import arrays
from dntk.bounds import Bound
from dntk.certificates.certificate import Certificate, StageError


def stage_errors(certificate: Certificate, stage: str) -> tuple[StageError, ...]:
    """The stage that was certified, and the regression after it, as relative errors."""
    trace = certificate.trace_error
    out = [
        StageError(
            stage=stage,
            error=float(trace) / certificate.trace if certificate.trace > 0 else 0.0,
            measure="of the kernel's trace",
            theorem=trace.theorem,
            kind=trace.kind,
        )
    ]
    error = certificate.prediction_error
    if error is not None and certificate.target_norm:
        out.append(
            StageError(
                stage="solve",
                error=root_mean_square(error) / certificate.target_norm,
                measure="of the targets' root mean square",
                theorem=error.theorem,
                kind=error.kind,
            )
        )
    return tuple(out)


def root_mean_square(error: Bound) -> float:
    """Over outputs, of a bound with one value per output."""
    xp = arrays.namespace(error.value)
    return float(xp.mean(error.value**2)) ** 0.5
