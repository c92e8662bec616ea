"""A certificate in words."""

from typing import TYPE_CHECKING

from dntk import arrays
from dntk.backend import backend_of

if TYPE_CHECKING:
    from dntk.certify.bound import Bound
    from dntk.certify.certificate import Certificate


def verdict(certificate: "Certificate") -> str:
    """Lines of a report, from the kernel to the predictor and the stages."""
    lines = [
        f"certificate of {certificate.points} points, {certificate.outputs} outputs; all statements together with "
        f"probability {certificate.confidence:.6g}",
        f"kernel       trace error at most {_share(certificate.trace_error, certificate.trace)} of the trace; spectral "
        f"error at most {_share(certificate.spectral_error, certificate.largest)} of the largest eigenvalue",
    ]
    tail, gap = certificate.pca_tail, certificate.misalignment_gap
    if tail is not None and gap is not None:
        least = float(arrays.namespace(tail.upper).max(tail.upper))
        lines.append(
            f"             {_ratio(least, certificate.trace)} of the trace no span of this size could keep; misaligned "
            f"at most {_share(gap, certificate.trace)}"
        )
    lines.append(_eigenvalues(certificate))
    if certificate.prediction_error is not None:
        error, norm = float(certificate.prediction_error), certificate.target_norm or 0.0
        lines.append(
            f"predictor    root mean square distance to the exact regression at most {error:.3g}, "
            f"{_ratio(error, norm)} of the targets' ({certificate.prediction_error.theorem})"
        )
    if certificate.held_out_residual is not None:
        lines.append(
            f"held out     mean tangent residual at most {float(certificate.held_out_residual):.2%} "
            f"({certificate.held_out_residual.theorem})"
        )
    lines += [f"{stage.stage:12} {stage.error:.2%} {stage.measure} ({stage.theorem})" for stage in certificate.stages]
    worst = certificate.worst_stage
    if worst is not None:
        lines.append(f"verdict      {worst.stage} lost most: {worst.error:.2%} {worst.measure}")
    return "\n".join(lines)


def _eigenvalues(certificate: "Certificate") -> str:
    host = backend_of(certificate.eigenvalue_intervals.lower).to_numpy
    lower = host(certificate.eigenvalue_intervals.lower)[:10]
    upper = host(certificate.eigenvalue_intervals.upper)[:10]
    widths = [(up - low) / low if low > 0 else float("inf") for low, up in zip(lower, upper, strict=True) if up > 0]
    widest = max(widths, default=0.0)
    return f"eigenvalues  the leading {len(lower)} are known within {widest:.2%}"


def _share(bound: "Bound", whole: float) -> str:
    return _ratio(float(bound), whole)


def _ratio(value: float, whole: float) -> str:
    return f"{value / whole:.2%}" if whole > 0 else f"{value:.3g}"
