"""A certificate in words."""

from typing import TYPE_CHECKING, Any

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import trust_in

if TYPE_CHECKING:
    from dntk.bounds import Bound, Intervals
    from dntk.certificates.certificate import Certificate


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
    lines += [*_unsketched(certificate), *_held_out(certificate)]
    lines += [f"{stage.stage:12} {stage.error:.2%} {stage.measure} ({stage.theorem})" for stage in certificate.stages]
    worst = certificate.worst_stage
    if worst is not None:
        lines.append(f"verdict      {worst.stage} lost most: {worst.error:.2%} {worst.measure}")
    if certificate.tolerance is not None:
        lines.append(f"tolerance    {certificate.tolerance}")
    return "\n".join(lines)


def _eigenvalues(certificate: "Certificate") -> str:
    lower, upper = _ends(certificate.eigenvalue_intervals)
    widths = [(up - low) / low if low > 0 else float("inf") for low, up in zip(lower, upper, strict=True) if up > 0]
    widest = max(widths, default=0.0)
    return f"eigenvalues  the leading {len(lower)} are known within {widest:.2%}"


def _unsketched(certificate: "Certificate") -> list[str]:
    """What is known of the kernel without sketch."""
    intervals, error = certificate.unsketched_eigenvalue_intervals, certificate.unsketched_trace_error
    lines = []
    if intervals is not None:
        lower, upper = _ends(intervals)
        lines.append(
            f"unsketched   largest eigenvalue between {lower[0]:.3g} and {upper[0]:.3g}, {trust_in(intervals)} "
            f"({intervals.theorem})"
        )
    if error is not None:
        share = _share(error, certificate.trace)
        lines.append(
            f"             trace error at most {share} of the sketched trace, {trust_in(error)} ({error.theorem})"
        )
    return lines


def _held_out(certificate: "Certificate") -> list[str]:
    """What is known of the points that were not kept."""
    found = certificate.held_out_residual
    if found is None:
        return []
    lower, upper = _ends(found)
    return [
        f"held out     mean tangent residual between {lower[0]:.2%} and {upper[0]:.2%}, {trust_in(found)} "
        f"({found.theorem})"
    ]


def _ends(intervals: "Intervals") -> tuple[Any, Any]:
    """Both ends of the first ten, on the host."""
    host = backend_of(intervals.lower).to_numpy
    return host(intervals.lower)[:10], host(intervals.upper)[:10]


def _share(bound: "Bound", whole: float) -> str:
    return _ratio(float(bound), whole)


def _ratio(value: float, whole: float) -> str:
    return f"{value / whole:.2%}" if whole > 0 else f"{value:.3g}"
